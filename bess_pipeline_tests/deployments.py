"""What end-to-end tests do with a deployment: run it, look into it, compare it with another."""

from pathlib import Path

import polars as pl
import pytest

from bess_pipeline.defs import operate
from bess_pipeline.defs.operate import Outcome
from bess_pipeline.defs.resources import Home
from bess_pipeline.lake.store import Lake
from bess_pipeline.tables import catalog

#: Columns that say when and by which run a row was written, and what a scan saw of a file on disk.
_CIRCUMSTANCES = ("run_id", "modified_ns")


class Unwatched:
    """Progress that nobody watches."""

    def begin(self, what: str, parts: int) -> None:
        """Start a wave."""

    def advance(self) -> None:
        """Make a part."""


def run(**options: object) -> Outcome:
    """`bess run` on the deployment that the environment names."""
    return operate.run(Home(), Unwatched(), **options)


def run_at(root: Path, **environment: str) -> Outcome:
    """`bess run` on the deployment of a folder."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"BESS_HOME": str(root), **environment}.items():
            patch.setenv(name, value)
        return run()


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
