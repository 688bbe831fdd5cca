"""Have a Ray cluster on loopback make fleets, and kill one of its nodes: `python -m bess_pipeline_tests.on_ray FOLDER`.

    python -m bess_pipeline_tests.on_ray FOLDER [--fleets 8] [--days 60] [--workers 1 2] [--no-kill] [--local-lake]

The head does no run; each worker node does one at a time. The lake is on an object store (an S3 server on loopback).
Fleets are put into the landing zone of an empty home, the daemon does the rest; then with two nodes, one of which is
killed with all that works on it in the middle of making the tables of a fleet, and comes back half a minute later. All
tables have to be those that `bess run` makes of the same files without a cluster. It needs the extra `ray`.
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

import dagster as dg
import polars as pl
import psutil
from dagster_ray.core.run_launcher import get_job_submission_id_from_run_id
from ray.cluster_utils import Cluster
from ray.job_submission import JobStatus, JobSubmissionClient
from rich.console import Console
from rich.table import Table

from bess_pipeline.config import Settings
from bess_pipeline.defs import jobs
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
            took = made_by_daemon(files, place, lambda: _kill(whole, nodes, place, console))
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


def _kill(whole: Cluster, nodes: list[Any], place: Place, console: Console) -> None:
    """Kill a node in the middle of a run, with everything on it, and bring another half a minute later."""
    begun = time.monotonic()
    working: list[Any] = []
    while not working:
        if time.monotonic() - begun > _LONGEST_SECONDS:
            raise NotRecoveredError("no node made the tables of a fleet")
        time.sleep(1)
        at = _at_work_on_fleets(place)
        working = [node for node in nodes if node.node_id in at]
    # It is said to have begun before it has made anything.
    time.sleep(6)
    run_id = at[working[0].node_id]
    of_run = _processes_of(run_id)
    whole.remove_node(working[0], allow_graceful=False)
    # A machine that is gone takes the run along; without its node alone, the run would go on to its end.
    killed = [process for process in of_run if process.is_running()]
    for process in killed:
        process.kill()
    if not killed:
        raise NotRecoveredError(f"run {run_id} was over before its node was killed")
    console.print(f"a node was killed while it worked on run {run_id}, with {len(killed)} processes of the run")
    time.sleep(30)
    whole.add_node(num_cpus=1, num_gpus=0, object_store_memory=100 * 2**20)
    console.print("another one came")


def _processes_of(run_id: str) -> list[psutil.Process]:
    """The processes that work on a run, and what they started."""
    named = [one for one in psutil.process_iter(["cmdline"]) if run_id in " ".join(one.info["cmdline"] or [])]
    return list({*named, *(child for one in named for child in one.children(recursive=True))})


def _at_work_on_fleets(place: Place) -> dict[str, str]:
    """The nodes on which runs that make the tables of fleets have begun, and which runs these are."""
    asked = dg.RunsFilter(job_name=jobs.FLEET.name, statuses=[dg.DagsterRunStatus.STARTED])
    folder = str(place.root / "dagster_home")
    with named_by(place.environment), dg.DagsterInstance.from_config(folder) as instance:
        run_ids = [run.run_id for run in instance.get_runs(asked)]
    # Landing files are indexed within a second or two: a node that did that would be idle again when it is killed.
    of_jobs = {get_job_submission_id_from_run_id(run_id): run_id for run_id in run_ids}
    return {
        job.driver_node_id: of_jobs[job.submission_id]
        for job in JobSubmissionClient(place.more["BESS_RAY_ADDRESS"]).list_jobs()
        if job.status == JobStatus.RUNNING and job.submission_id in of_jobs and job.driver_node_id
    }


def _verdict(expected: dict[str, pl.DataFrame], place: Place) -> str:
    other = differing(expected, place.tables())
    if other:
        raise NotRecoveredError(f"these tables differ: {', '.join(other)}")
    return f"all {len(expected)} equal"


if __name__ == "__main__":
    main()
