"""What Dagster's records cost: in SQLite and in PostgreSQL, as Dagster keeps them and with files and connections open.

    python -m bess_pipeline_tests.benchmarks.records [--days 30] [--tables 7] [--kinds KIND ...] [--runs --batteries 2]
        [--of FOLDER]

A run over some days of some tables whose functions do nothing: all of it is Dagster. With `--runs` a fleet is
simulated, `bess run` makes all days but the last (a backfill), the last arrives and it runs again (a night); with
`--of` it makes everything of fleets whose `fleets` and `landing` are in a folder. Each is in a process of its own;
before the run that does nothing, a short one does what a process does once.
Calls of the records are timed within; a call within a call is counted once. Computing is that of the process and of the
server, where there is one; seconds are those that passed, waiting and other work of the machine included.
PostgreSQL is on the same machine, behind a socket, and waits for its disk (`fsync = on`), as in operation.
"""

from __future__ import annotations

import argparse
import functools
import json
import logging
import os
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import psutil
from dagster._core.instance.ref import InstanceRef
from dagster._core.storage.event_log.base import EventLogStorage
from dagster._core.storage.runs.base import RunStorage
from rich.console import Console
from rich.table import Table as Grid

from bess_pipeline.config import Settings
from bess_pipeline.defs import instance, postgres_records, records
from bess_pipeline.defs.partitions import FLEET_DAYS, FLEETS, RANGES
from bess_pipeline.defs.plan import range_tags
from bess_pipeline.sources.simulate import Plan, simulate, write_fleet
from bess_pipeline.window import Window
from bess_pipeline_tests.postgres_server import postgres_server

FLEET = "fleet"
FIRST = date(2026, 3, 1)
KINDS = {
    "sqlite-own": "SQLite, Dagster's own",
    "sqlite-open": "SQLite, files kept open",
    "postgres-own": "PostgreSQL, Dagster's own",
    "postgres-open": "PostgreSQL, connections kept open",
}
_HEADINGS = (
    "records", "seconds", "computing", "records: seconds", "computing", "of it server", "share", "events",
    "ms an event", "ms a part",
)  # fmt: skip


@dataclass
class Meter:
    """Seconds of what it is put around; a call within a call is part of it."""

    passed: float = 0.0
    computed: float = 0.0
    _depth: int = field(default=0, repr=False)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Measure for a while."""
        passed, computed = time.perf_counter(), time.process_time()
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1
            if not self._depth:
                self.passed += time.perf_counter() - passed
                self.computed += time.process_time() - computed

    def around(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """The same function, measured."""

        @functools.wraps(call)
        def measured(*given: object, **named: object) -> object:
            with self.running():
                return call(*given, **named)

        return measured

    def reset(self) -> None:
        """Begin again."""
        self.passed = self.computed = 0.0


def _below(kind: type) -> Iterator[type]:
    yield kind
    for child in kind.__subclasses__():
        yield from _below(child)


def metered(kind: str) -> Meter:
    """A meter around every method of the storages of runs and events, as classes of Dagster and of ours define them."""
    meter = Meter()
    assert postgres_records.PostgresRecords  # its classes are there
    for storage in {*_below(EventLogStorage), *_below(RunStorage)}:
        for name, member in list(vars(storage).items()):
            if callable(member) and not name.startswith("_") and not isinstance(member, type | classmethod):
                setattr(storage, name, meter.around(member))
    if kind.endswith("own"):
        records.ref_of = lambda home: InstanceRef.from_dir(str(home))
    return meter


def _server_computed(server: int | None) -> float:
    """Seconds of computing of a server so far: of its processes, and of those that have ended."""
    if server is None:
        return 0.0
    main = psutil.Process(server)
    ended = main.cpu_times()
    living = [child.cpu_times() for child in main.children()]
    return sum(times.user + times.system for times in [ended, *living]) + ended.children_user + ended.children_system


@contextmanager
def _measured(meter: Meter, server: int | None) -> Iterator[dict[str, float]]:
    """Fills a dictionary with what passes and is computed meanwhile."""
    meter.reset()
    found: dict[str, float] = {}
    passed, computed, served = time.perf_counter(), time.process_time(), _server_computed(server)
    yield found
    found["seconds"] = time.perf_counter() - passed
    found["computing"] = time.process_time() - computed
    found["server"] = _server_computed(server) - served
    found["records_seconds"], found["records_computing"] = meter.passed, meter.computed


def _table(number: int) -> dg.AssetsDefinition:
    @dg.asset(name=f"table{number}", partitions_def=FLEET_DAYS, backfill_policy=RANGES)
    def made() -> dg.MaterializeResult[None]:
        return dg.MaterializeResult(metadata={"dagster/row_count": 288})

    return made


def run_that_makes_nothing(kind: str, server: int | None, *, days: int, tables: int) -> dict[str, float]:
    """All of it is Dagster."""
    meter = metered(kind)
    assets = [_table(number) for number in range(tables)]
    job = dg.Definitions(assets=assets, jobs=[dg.define_asset_job("empty", assets)]).resolve_job_def("empty")
    logging.disable(logging.CRITICAL)
    with instance.instance_of(Settings()) as opened:
        opened.add_dynamic_partitions(str(FLEETS.name), [FLEET])
        for length in (2, days):
            tags = range_tags(FLEET, Window(FIRST, FIRST + timedelta(days=length)))
            with _measured(meter, server) as found:
                run = job.execute_in_process(instance=opened, tags=tags)
        return found | {"events": len(opened.all_logs(run.run_id)), "parts": days * tables}


def bess_run(kind: str, server: int | None) -> dict[str, float]:
    """`bess run` on the deployment of the environment."""
    from bess_pipeline.defs import jobs, operate  # noqa: PLC0415 - after the meter was put around what they import
    from bess_pipeline.defs.resources import Home  # noqa: PLC0415
    from bess_pipeline_tests.deployments import Unwatched  # noqa: PLC0415

    with instance.instance_of(Settings()) as opened:
        known = set(opened.get_run_ids())
    with _measured(metered(kind), server) as found:
        outcome = operate.run(Home(), Unwatched())
    if outcome.failures:
        raise RuntimeError(outcome.failures)
    with instance.instance_of(Settings()) as opened:
        runs = [record for record in opened.get_run_records() if record.dagster_run.run_id not in known]
        events = sum(len(opened.all_logs(record.dagster_run.run_id)) for record in runs)
    fleet_parts = len(outcome.days) * (len(jobs.FLEET_TABLES) + len(jobs.INDEX_TABLES)) + 1
    return found | {"events": events, "parts": sum(outcome.days.values()) * len(jobs.DAY_TABLES) + fleet_parts}


@contextmanager
def deployment(kind: str) -> Iterator[Callable[..., dict[str, float]]]:
    """An empty home with one kind of records, and what measures on it in a process of its own."""
    with (
        tempfile.TemporaryDirectory(prefix="bess-bench-") as home,
        postgres_server() if kind.startswith("postgres") else nullcontext() as server,
    ):
        storage = "sqlite" if server is None else server.url().replace("postgresql:", "postgresql+psycopg2:")
        os.environ |= {"BESS_HOME": home, "BESS_DAGSTER_STORAGE": storage, "BESS_DAYS_PER_RUN": "366"}
        instance.prepare(Settings())
        if kind.endswith("own"):  # as Dagster documents it; our own settings name a class of ours
            file = Path(home) / "dagster_home" / "dagster.yaml"
            others, begins, _ = file.read_text().partition("\n# Records in ")
            if not begins:
                raise RuntimeError(f"{file} says nothing of records")
            where = f"postgres: {{postgres_url: {{env: {instance.STORAGE_VARIABLE}}}}}"
            if server is None:
                where = f"sqlite: {{base_dir: {home}/dagster_home}}"
            file.write_text(f"{others}\nstorage: {{{where}}}\n")

        def measured(*words: str) -> dict[str, float]:
            told = ["--one", kind, *(["--server", str(server.pid)] if server else []), *words]
            done = subprocess.run([sys.executable, "-m", __spec__.name, *told], check=True, stdout=subprocess.PIPE)
            found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
            return found

        yield measured


def loading() -> dict[str, float]:
    """What a process costs that only loads the code location, as each run of the daemon does."""
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([sys.executable, "-c", "from bess_pipeline.definitions import defs"], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    computed = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"seconds": time.perf_counter() - begun, "computing": computed}


def show(title: str, found: dict[str, dict[str, float]]) -> None:
    """A table, a row per kind of records."""
    grid = Grid(*_HEADINGS, title=title)
    for kind, of in found.items():
        kept, whole = of["records_computing"] + of["server"], of["computing"] + of["server"]
        grid.add_row(
            KINDS[kind],
            f"{of['seconds']:.1f}",
            f"{whole:.2f}",
            f"{of['records_seconds']:.1f}",
            f"{kept:.2f}",
            f"{of['server']:.2f}",
            f"{kept / whole:.0%}",
            f"{of['events']:.0f}",
            f"{kept / of['events'] * 1e3:.2f}",
            f"{kept / of['parts'] * 1e3:.1f}",
        )
    Console().print(grid)


def main() -> None:
    """Measure, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--tables", type=int, default=7)
    parser.add_argument("--runs", action="store_true", help="also a backfill and a night of `bess run`")
    parser.add_argument("--batteries", type=int, default=2)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--of", type=Path, help="a folder with fleets and landing: everything of them, from nothing")
    parser.add_argument("--one", choices=KINDS, help=argparse.SUPPRESS)
    parser.add_argument("--server", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        nothing = functools.partial(run_that_makes_nothing, days=given.days, tables=given.tables)
        print(json.dumps((bess_run if given.runs else nothing)(given.one, given.server)))  # noqa: T201 - to who asked
        return
    empty, backfill, night = {}, {}, {}
    for kind in given.kinds:
        with deployment(kind) as measured:
            empty[kind] = measured("--days", str(given.days), "--tables", str(given.tables))
    show(f"a run of {given.days} days of {given.tables} tables that makes nothing", empty)
    if given.runs:
        fleet = simulate(Plan(FLEET, batteries=given.batteries, days=given.days + 1, seed=5, interval_seconds=300))
        for kind in given.kinds:
            with deployment(kind) as measured, tempfile.TemporaryDirectory() as aside:
                home = Settings().root
                write_fleet(fleet, home)
                last = max((home / "landing" / FLEET).glob("*"))
                held = Path(shutil.move(last, aside))
                backfill[kind] = measured("--runs")
                shutil.move(held, last)
                night[kind] = measured("--runs")
        show(f"bess run: {given.days} days of {given.batteries} batteries", backfill)
        show(f"bess run: one more day of {given.batteries} batteries", night)
    if given.of:
        whole = {}
        for kind in given.kinds:
            with deployment(kind) as measured:
                for name in ("fleets", "landing"):
                    shutil.copytree(given.of / name, Settings().root / name, symlinks=True, dirs_exist_ok=True)
                whole[kind] = measured("--runs")
        show(f"bess run: {given.of.name}, from nothing", whole)
    alone = loading()
    Console().print(f"loading the code location: {alone['seconds']:.1f} s, {alone['computing']:.1f} s computing")
    Console().print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")


if __name__ == "__main__":
    main()
