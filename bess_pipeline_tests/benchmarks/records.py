"""What Dagster's records cost: in SQLite and in PostgreSQL, as Dagster keeps them and with files and connections open.

    python -m bess_pipeline_tests.benchmarks.records [--batteries 2] [--days 60] [--interval 300] [--repeats 1]

A fleet is simulated. On each kind of records `bess run` makes all days but the last (a backfill), then the last arrives
and it runs again (a night), each in a process of its own. Calls of the records are timed within; what is within
another call is counted once. Computing is that of the process, and of the server where there is one; waiting is
included in the seconds that passed. PostgreSQL waits for its disk (`fsync = on`), as in operation; its server is on
the same machine, behind a socket. The start of a run is the time from its creation to its first step, without and with
the process in which Dagster's daemon would start it; that process loads the code location.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table as Grid

from bess_pipeline_tests.postgres_server import PostgresServer, postgres_server

FLEET = "fleet"
KINDS = {
    "sqlite own": "SQLite, Dagster's own",
    "sqlite open": "SQLite, files kept open",
    "postgres own": "PostgreSQL, Dagster's own",
    "postgres open": "PostgreSQL, connections kept open",
}
_HEADINGS = (
    "records", "seconds", "computing", "of it server", "records: seconds", "computing", "share", "events",
    "ms an event", "ms a part", "start of a run",
)  # fmt: skip


@dataclass
class Meter:
    """Seconds and calls of what it is put around; a call within a call is part of it."""

    calls: int = 0
    passed: float = 0.0
    computed: float = 0.0
    _depth: int = field(default=0, repr=False)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Measure for a while."""
        self._depth += 1
        if self._depth > 1:
            try:
                yield
            finally:
                self._depth -= 1
            return
        passed, computed = time.perf_counter(), time.process_time()
        try:
            yield
        finally:
            self._depth -= 1
            self.calls += 1
            self.passed += time.perf_counter() - passed
            self.computed += time.process_time() - computed

    def around(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """The same function, measured."""

        @functools.wraps(call)
        def measured(*given: object, **named: object) -> object:
            with self.running():
                return call(*given, **named)

        return measured


def _put_around_records(meter: Meter) -> None:
    """Measure every method of the storages of runs and events, as classes of Dagster and of ours define them."""
    from dagster._core.storage.event_log.base import EventLogStorage  # noqa: PLC0415
    from dagster._core.storage.runs.base import RunStorage  # noqa: PLC0415

    from bess_pipeline.defs import postgres_records, records  # noqa: F401, PLC0415 - so that their classes are there

    def below(kind: type) -> Iterator[type]:
        yield kind
        for child in kind.__subclasses__():
            yield from below(child)

    for kind in {*below(EventLogStorage), *below(RunStorage)}:
        for name, member in list(vars(kind).items()):
            if callable(member) and not name.startswith("_") and not isinstance(member, type | classmethod):
                setattr(kind, name, meter.around(member))


def measured_run(kind: str) -> dict[str, float]:
    """`bess run` on the deployment of the environment, in this process, and what its records cost."""
    from dagster._core.instance.ref import InstanceRef  # noqa: PLC0415

    from bess_pipeline.defs import instance, jobs, operate, records  # noqa: PLC0415
    from bess_pipeline.defs.resources import Home  # noqa: PLC0415
    from bess_pipeline_tests.deployments import Unwatched  # noqa: PLC0415

    meter = Meter()
    _put_around_records(meter)
    if kind.endswith("own"):
        records.ref_of = lambda home: InstanceRef.from_dir(str(home))
    passed, computed = time.perf_counter(), time.process_time()
    outcome = operate.run(Home(), Unwatched())
    found = {"passed": time.perf_counter() - passed, "computed": time.process_time() - computed}
    if outcome.failures:
        raise RuntimeError(outcome.failures)
    found |= {"calls": meter.calls, "records_passed": meter.passed, "records_computed": meter.computed}
    started = []
    events = 0
    with instance.instance_of(Home().settings) as opened:
        for record in opened.get_run_records(limit=4):  # of this `bess run`: landing, days, fleet, warehouse
            logs = opened.all_logs(record.dagster_run.run_id)
            events += len(logs)
            first = next(
                log.timestamp for log in logs if log.is_dagster_event and log.get_dagster_event().is_step_start
            )
            created = min(log.timestamp for log in logs)
            started.append(first - created)
    days = sum(outcome.days.values())
    parts = days * len(jobs.DAY_TABLES) + len(jobs.FLEET_TABLES) + len(jobs.INDEX_TABLES) + 1
    return found | {"started": statistics.median(started), "events": events, "parts": parts}


def _server_computed(server: PostgresServer | None) -> float:
    """Seconds of computing of a server so far: of its processes, and of those that have ended."""
    if server is None:
        return 0.0
    main = psutil.Process(server.pid)
    ended = main.cpu_times()
    living = [child.cpu_times() for child in main.children()]
    return sum(times.user + times.system for times in [ended, *living]) + ended.children_user + ended.children_system


def _in_process(kind: str, environment: dict[str, str], server: PostgresServer | None) -> dict[str, float]:
    before = _server_computed(server)
    command = [sys.executable, "-m", __spec__.name, "--one", kind]
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    found["server"] = _server_computed(server) - before
    return found


def _own_postgres(home: Path) -> None:
    """Settings with Dagster's own storage in PostgreSQL; ours name a class of ours."""
    text = (home / "dagster_home" / "dagster.yaml").read_text().partition("\n# Records in PostgreSQL")[0]
    storage = "\nstorage:\n  postgres:\n    postgres_url:\n      env: BESS_DAGSTER_STORAGE\n"
    (home / "dagster_home" / "dagster.yaml").write_text(text + storage)


def backfill_and_night(kind: str, files: Path) -> dict[str, dict[str, float]]:
    """Both runs on one kind of records, from an empty home."""
    from bess_pipeline.config import Settings  # noqa: PLC0415
    from bess_pipeline.defs.instance import prepare  # noqa: PLC0415

    with (
        tempfile.TemporaryDirectory(prefix="bess-bench-") as name,
        postgres_server() if kind.startswith("postgres") else nullcontext() as server,
    ):
        home = Path(name) / "home"
        shutil.copytree(files, home)
        os.environ["BESS_HOME"] = str(home)
        os.environ["BESS_DAGSTER_STORAGE"] = "sqlite"
        if server is not None:
            os.environ["BESS_DAGSTER_STORAGE"] = server.url().replace("postgresql:", "postgresql+psycopg2:")
        prepare(Settings())
        if kind == "postgres own":
            _own_postgres(home)
        last = max((home / "landing" / FLEET).glob("*"))
        held = last.rename(Path(name) / last.name)
        found = {"backfill": _in_process(kind, dict(os.environ), server)}
        held.rename(last)
        return found | {"night": _in_process(kind, dict(os.environ), server)}


def launch() -> dict[str, float]:
    """What a process costs that only loads the code location, as each run of the daemon does."""
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([sys.executable, "-c", "from bess_pipeline.definitions import defs"], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    computed = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"passed": time.perf_counter() - begun, "computed": computed}


def main() -> None:
    """Measure, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batteries", type=int, default=2)
    parser.add_argument("--days", type=int, default=60)
    parser.add_argument("--interval", type=int, default=300, help="seconds from sample to sample")
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--one", choices=KINDS, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        print(json.dumps(measured_run(given.one)))  # noqa: T201 - for the process that asked
        return
    from bess_pipeline.sources.simulate import Plan, simulate, write_fleet  # noqa: PLC0415

    console = Console()
    with tempfile.TemporaryDirectory(prefix="bess-bench-") as name:
        days = given.days + 1
        plan = Plan(FLEET, batteries=given.batteries, days=days, seed=5, interval_seconds=given.interval)
        write_fleet(simulate(plan), Path(name))
        found = {
            kind: [backfill_and_night(kind, Path(name), given) for _ in range(given.repeats)] for kind in given.kinds
        }
    for what, of_days in (("backfill", given.days), ("night", 1)):
        grid = Grid(*_HEADINGS)
        grid.title = f"{what}: {of_days} days of {given.batteries} batteries"
        for kind, runs in found.items():
            middle = {key: statistics.median(run[what][key] for run in runs) for key in runs[0][what]}
            computed = middle["records_computed"] + middle["server"]
            whole = middle["computed"] + middle["server"]
            grid.add_row(
                KINDS[kind],
                f"{middle['passed']:.1f}",
                f"{whole:.1f}",
                f"{middle['server']:.1f}",
                f"{middle['records_passed']:.1f}",
                f"{computed:.1f}",
                f"{computed / whole:.0%}",
                f"{middle['events']:.0f}",
                f"{computed / middle['events'] * 1e3:.1f}",
                f"{computed / middle['parts'] * 1e3:.1f}",
                f"{middle['started'] * 1e3:.0f} ms",
            )
        console.print(grid)
    alone = launch()
    console.print(
        f"a process that loads the code location: {alone['passed']:.1f} s, {alone['computed']:.1f} s computing"
    )
    console.print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")


if __name__ == "__main__":
    main()
