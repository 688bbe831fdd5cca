"""Have a Ray cluster on loopback make fleets, and kill one of its nodes: `python -m bess_pipeline_tests.on_ray FOLDER`.

    python -m bess_pipeline_tests.on_ray FOLDER [--fleets 8] [--days 60] [--workers 1 2] [--no-kill] [--local-lake]

The head does no run; each worker node does one at a time. The lake is on an object store (an S3 server on loopback).
Fleets are put into the landing zone of an empty home, the daemon does the rest; then with two nodes, one of which is
killed with all that works on it while runs go on, and comes back half a minute later. All tables have to be those that
`bess run` makes of the same files without a cluster. It needs the extra `ray`.
"""

from __future__ import annotations

import argparse
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
from ray.cluster_utils import Cluster
from ray.job_submission import JobStatus, JobSubmissionClient
from rich.console import Console
from rich.table import Table

from bess_pipeline.config import Settings
from bess_pipeline.defs.deployment import prepared
from bess_pipeline.sources.simulate import Plan, simulate, write_fleet
from bess_pipeline_tests.deployments import differing
from bess_pipeline_tests.faults.homes import NotRecoveredError, Place, named_by
from bess_pipeline_tests.faults.services import running
from bess_pipeline_tests.faults.storage import BUCKET, free_port, started

_LONGEST_SECONDS = 3600


@contextmanager
def cluster(place: Place, workers: int) -> Iterator[tuple[Cluster, list[Any]]]:
    """A head that does nothing and nodes that do a run each, in the environment of a home; the nodes."""
    port = free_port()
    place.more["BESS_RAY_ADDRESS"] = f"http://127.0.0.1:{port}"
    with named_by(place.environment):
        usual = {"num_gpus": 0, "object_store_memory": 100 * 2**20}
        head = {"num_cpus": 0, "include_dashboard": True, "dashboard_port": port, "dashboard_host": "127.0.0.1"}
        whole = Cluster(initialize_head=True, head_node_args=usual | head)
        try:
            yield whole, [whole.add_node(num_cpus=1, **usual) for _ in range(workers)]
        finally:
            whole.shutdown()


def delivered(files: Path, place: Place) -> None:
    """Put everything into an empty home."""
    for name in ("fleets", "landing"):
        shutil.copytree(files / name, place.root / name, dirs_exist_ok=True)


def made_by_daemon(files: Path, place: Place, befall: Callable[[], None] = lambda: None) -> float:
    """Have the daemon make everything; seconds from the files' being there to the published warehouse."""
    place.root.mkdir(parents=True)
    with named_by(place.environment):
        prepared(Settings(home=place.root))
    with running(place) as services:
        while not services.answers():
            time.sleep(1)
        begun = time.monotonic()
        delivered(files, place)
        befall()
        place.settle(within=_LONGEST_SECONDS)
        return time.monotonic() - begun


@contextmanager
def lake_of(place: Place, *, is_local: bool) -> Iterator[None]:
    """An object store for the lake of a home; each has its own."""
    if is_local:
        yield
        return
    with started() as storage:
        place.more.update(storage.environment, BESS_LAKE_URI=f"s3://{BUCKET}/lake")
        yield


def main() -> None:
    """Make all of it each way, and tell how long it took and whether the tables are the same."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--fleets", type=int, default=8)
    parser.add_argument("--days", type=int, default=60)
    parser.add_argument("--workers", type=int, nargs="*", default=[1, 2])
    parser.add_argument("--no-kill", action="store_true")
    parser.add_argument("--local-lake", action="store_true", help="the lake in a folder of this machine")
    given = parser.parse_args()
    shutil.rmtree(given.folder, ignore_errors=True)
    files, console = given.folder / "files", Console()
    for number in range(given.fleets):
        plan = Plan(f"fleet{number}", batteries=2, days=given.days, seed=number, interval_seconds=300,
                    start=date(2026, 3, 1))  # fmt: skip
        write_fleet(simulate(plan), files)
    usual = {"BESS_DAYS_PER_RUN": "30", "BESS_FIRST_DAY": "2026-01-01", "BESS_CONCURRENT_RUNS": "2"}
    grid = Table("way", "s", "tables")
    expected = _expected(given.folder / "alone", files, usual)
    for workers in given.workers:
        place = Place(given.folder / f"nodes-{workers}", dict(usual))
        with lake_of(place, is_local=given.local_lake), cluster(place, workers):
            took = made_by_daemon(files, place)
            grid.add_row(f"{workers} nodes", f"{took:.0f}", _verdict(expected, place))
        console.print(grid)
    if not given.no_kill:
        place = Place(given.folder / "killed", dict(usual))
        with lake_of(place, is_local=given.local_lake), cluster(place, 2) as (whole, nodes):
            took = made_by_daemon(files, place, lambda: _kill(whole, nodes, place.more["BESS_RAY_ADDRESS"], console))
            grid.add_row("2 nodes, one killed", f"{took:.0f}", _verdict(expected, place))
        console.print(grid)


def _expected(root: Path, files: Path, usual: dict[str, str]) -> dict[str, pl.DataFrame]:
    """The tables that `bess run` makes of the files."""
    place = Place(root, dict(usual))
    root.mkdir(parents=True)
    delivered(files, place)
    code, told = place.bess("run")
    if code:
        raise RuntimeError(f"`bess run` does not work on these files: {told}")
    return place.tables()


def _kill(whole: Cluster, nodes: list[Any], address: str, console: Console) -> None:
    """Kill a node that works on a run, with everything on it, and bring another half a minute later."""
    jobs = JobSubmissionClient(address)
    working: list[Any] = []
    while not working:
        time.sleep(1)
        at = {job.driver_node_id for job in jobs.list_jobs() if job.status == JobStatus.RUNNING}
        working = [node for node in nodes if node.node_id in at]
    # The job's shell is there at once, its run a few seconds later.
    time.sleep(6)
    whole.remove_node(working[0], allow_graceful=False)
    console.print("a node was killed while it worked on a run")
    time.sleep(30)
    whole.add_node(num_cpus=1, num_gpus=0, object_store_memory=100 * 2**20)
    console.print("another one came")


def _verdict(expected: dict[str, pl.DataFrame], place: Place) -> str:
    other = differing(expected, place.tables())
    if other:
        raise NotRecoveredError(f"these tables differ: {', '.join(other)}")
    return f"all {len(expected)} equal"


if __name__ == "__main__":
    main()
