"""What end-to-end tests do with a deployment: run it, look into it, compare it with another."""

import os
import subprocess
import sys
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from bess_pipeline.defs import operate, records
from bess_pipeline.defs.operate import Outcome
from bess_pipeline.defs.resources import Home
from bess_pipeline.lake.store import Lake
from bess_pipeline.tables import catalog

#: Columns that say when and by which run a row was written, what a scan saw of a file on disk, and when.
_CIRCUMSTANCES = (
    *("run_id", "modified_ns", "first_seen_at", "last_seen_at", "changed_at"),
    *("first_delay_hours", "last_delay_hours", "usual_delay_hours", "late_after_hours", "is_late"),
)


class Unwatched:
    """Progress that nobody watches."""

    def begin(self, what: str, parts: int) -> None:
        """Start a wave."""

    def advance(self) -> None:
        """Make a part."""


def run(**options: object) -> Outcome:
    """`bess run` on the deployment that the environment names."""
    return operate.run(Home(), Unwatched(), **options)


def run_at(root: Path, **options: object) -> Outcome:
    """`bess run` on the deployment of a folder, in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BESS_HOME", str(root))
        return run(**options)


def run_from(root: Path, first_day: str) -> None:
    """`bess run` on the deployment of a folder, in a process of its own: Dagster's days are those from its start."""
    environment = {**os.environ, "BESS_HOME": str(root), "BESS_FIRST_DAY": first_day}
    command = [sys.executable, "-m", "bess_pipeline", "run"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def records_at(dagster_home: Path) -> dg.DagsterInstance:
    """Dagster's records of a folder, whichever deployment the environment names."""
    return dg.DagsterInstance.from_ref(records.ref_of(dagster_home))


def tables(
    lake_folder: Path, *, without: tuple[str, ...] = tuple(table.name for table in catalog.NOTES)
) -> dict[str, pl.DataFrame]:
    """Every table of a lake, in its order, without the circumstances of writing it."""
    lake = Lake(str(lake_folder))
    return {
        name: lake.read(table).drop(_CIRCUMSTANCES, strict=False)
        for name, table in catalog.TABLES.items()
        if name not in without
    }


def differing(left: dict[str, pl.DataFrame], right: dict[str, pl.DataFrame]) -> list[str]:
    """Names of tables that are not equal, row for row."""
    return [name for name in left if not left[name].equals(right[name])]
