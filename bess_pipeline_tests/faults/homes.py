"""Two homes over the same fleets: an undisturbed one that tells what every table has to be, and copies to disturb."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import dagster as dg
import polars as pl

from bess_pipeline.defs import attempts, plan
from bess_pipeline.defs.resources import Home
from bess_pipeline.lake.store import Lake
from bess_pipeline.lake.warehouse import Warehouse
from bess_pipeline.sources.simulate import Plan, simulate, write_fleet
from bess_pipeline.tables import catalog
from bess_pipeline_tests.deployments import differing, tables

FLEETS = ("alpha", "beta")
_PLANS = [
    Plan(fleet_id=name, batteries=1, days=4, seed=seed, interval_seconds=300, start=date(2026, 3, 1))
    for seed, name in enumerate(FLEETS, start=3)
]
#: What comes at first; the others come when a fault is near, the second day of them late.
_AT_FIRST = ("2026-03-01", "2026-03-03")
#: The daemon looks so often in the harness [s].
_HASTE = {"BESS_LOOK_EVERY_SECONDS": "2", "BESS_SETTLE_SECONDS": "1", "BESS_DAYS_PER_RUN": "1"}


class NotRecoveredError(AssertionError):
    """After a fault the tables are not those of the undisturbed home."""


@contextmanager
def named_by(environment: Mapping[str, str]) -> Iterator[Home]:
    """The deployment that an environment names, in this process, for the length of a block."""
    before = dict(os.environ)
    os.environ.update(environment)
    try:
        yield Home()
    finally:
        os.environ.clear()
        os.environ.update(before)


@dataclass
class Place:
    """One home and the processes that work on it.

    Attributes:
        root: Its folder.
        more: Settings beyond those that every home of the harness has.
    """

    root: Path
    more: dict[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        """What its processes find in their environment."""
        return {"BESS_HOME": str(self.root), "DAGSTER_HOME": str(self.root / "dagster_home"), **_HASTE, **self.more}

    @property
    def lake(self) -> str:
        """The address of its lake."""
        return self.more.get("BESS_LAKE_URI", str(self.root / "lake"))

    def begin(self, *command: str, wrapped_by: tuple[str, ...] = ()) -> subprocess.Popen[str]:
        """Start a `bess` command."""
        whole = [*wrapped_by, sys.executable, "-m", "bess_pipeline", *command]
        environment = {**os.environ, **self.environment}
        return subprocess.Popen(
            whole, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        )

    def bess(self, *command: str, wrapped_by: tuple[str, ...] = ()) -> tuple[int, str]:
        """Run a `bess` command to its end; its exit code, and the errors that it told."""
        process = self.begin(*command, wrapped_by=wrapped_by)
        return ended(process)

    def due(self) -> list[str]:
        """What there is to do, by the pipeline's own plan, and what is at work."""
        with named_by(self.environment) as home:
            works = []
            for fleet_id in home.register().fleets:
                works += [plan.indexing(home, fleet_id), *plan.making_days(home, fleet_id)]
                works += [plan.making_fleet(home, fleet_id)]
            works.append(plan.publishing(home))
            with dg.DagsterInstance.from_config(str(home.settings.dagster_home)) as instance:
                at_work = sorted(attempts.unfinished(instance))
        return [work.what for work in works if work is not None] + [f"at work: {job}" for job in at_work]

    def settle(self, *, within: float) -> float:
        """Wait until nothing is due any more; how long that took [s].

        Raises:
            NotRecoveredError: If something is due after ``within`` seconds.
        """
        begun = time.monotonic()
        while (left := self.due()) and time.monotonic() - begun < within:
            time.sleep(1)
        if left:
            raise NotRecoveredError(f"after {within:.0f} s there is still to do: {', '.join(left)}")
        return time.monotonic() - begun

    def tables(self) -> dict[str, pl.DataFrame]:
        """Every table of the lake."""
        with named_by(self.environment):
            return tables(self.lake)

    def deliver(self, bench: Bench, fleet_id: str | None = None) -> list[Path]:
        """Put the files there that come second; which they are."""
        put = []
        for file in sorted(path for path in (bench.files / "landing").rglob("*") if path.is_file()):
            target = self.root / file.relative_to(bench.files)
            if (fleet_id is None or fleet_id in file.parts) and not target.exists():
                shutil.copy2(file, target)
                put.append(target)
        return put


def ended(process: subprocess.Popen[str], within: float = 900) -> tuple[int, str]:
    """Wait for a `bess` command; its exit code, and the errors that it told."""
    _, told = process.communicate(timeout=within)
    lines = [line for line in told.splitlines() if line.startswith("error")]
    return process.returncode, "\n".join(lines or told.strip().splitlines()[-1:])


@dataclass(frozen=True)
class Bench:
    """What faults are tried on.

    Attributes:
        root: Folder of all homes.
        expected: The tables of the undisturbed home.
    """

    root: Path
    expected: dict[str, pl.DataFrame]
    seconds: float

    @property
    def files(self) -> Path:
        """Everything that is ever delivered."""
        return self.root / "files"

    @classmethod
    def at(cls, root: Path) -> Bench:
        """Simulate the fleets and run the undisturbed home, first with what comes first and then with all."""
        files, calm, before = root / "files", Place(root / "calm"), root / "before"
        for fleet in _PLANS:
            write_fleet(simulate(fleet), files)
        shutil.copytree(files, calm.root)
        for file in (calm.root / "landing").rglob("*"):
            if file.is_file() and not any(day in file.name for day in _AT_FIRST):
                file.unlink()
        _require_well(calm.bess("run"))
        shutil.copytree(calm.root, before)
        bench = cls(root, {}, 0.0)
        calm.deliver(bench)
        begun = time.monotonic()
        _require_well(calm.bess("run"))
        return cls(root, calm.tables(), time.monotonic() - begun)

    def place(self, name: str, **more: str) -> Place:
        """A home that has run on what came first."""
        root = self.root / name
        shutil.rmtree(root, ignore_errors=True)
        shutil.copytree(self.root / "before", root, dirs_exist_ok=True)
        return Place(root, more)

    def require_equal(self, place: Place) -> None:
        """Hold a home against the undisturbed one.

        Raises:
            NotRecoveredError: If a table differs, rows are lost or doubled, or the warehouse is not the lake.
        """
        found = place.tables()
        other = differing(self.expected, found)
        if other:
            raise NotRecoveredError(f"these tables differ: {', '.join(other)}")
        received = found["landing_files"]["rows_received"].sum()
        accounted = found["row_accounts"]["rows"].sum()
        if received != accounted:
            raise NotRecoveredError(f"{received} rows came, {accounted} are accounted for")
        with named_by(place.environment) as home:
            warehouse, lake = Warehouse(home.settings.warehouse), Lake(place.lake)
            for table in catalog.PUBLISHED:
                shown = warehouse.query(f"FROM {table.name}")
                order = ("fleet_id", *table.sort)
                if not shown.sort(order).equals(lake.read(table).sort(order)):
                    raise NotRecoveredError(f"{table.name} of the warehouse is not that of the lake")


def _require_well(outcome: tuple[int, str]) -> None:
    code, told = outcome
    if code:
        raise RuntimeError(f"the undisturbed home does not run: {told}")
