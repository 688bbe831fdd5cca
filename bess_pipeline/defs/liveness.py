"""Runs whose process died: each run holds a lock while it lives, and the system lets go of it however it ends."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
from dagster._core.execution.context.system import PlanOrchestrationContext
from dagster._core.execution.plan.plan import ExecutionPlan
from dagster._core.execution.retries import RetryMode
from dagster._core.executor.in_process import InProcessExecutor
from dagster._core.launcher.base import WorkerStatus
from filelock import FileLock, Timeout

from bess_pipeline.config import Settings
from bess_pipeline.defs.mapped_once import mapped_once

#: A look at a lock takes a moment: a run waits so long for it at most [s].
_LOOK_SECONDS = 30
#: How a run stands that a process works on.
WORKING = [dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]
_DIED = "The process that worked on this run died. What it was to do is done again."


def _lock(run_id: str) -> FileLock:
    return FileLock(_folder() / run_id)


def _folder() -> Path:
    return Settings().dagster_home / "alive"


@contextmanager
def _alive(run_id: str) -> Iterator[None]:
    _folder().mkdir(parents=True, exist_ok=True)
    lock = _lock(run_id)
    with lock.acquire(timeout=_LOOK_SECONDS):
        yield
        Path(lock.lock_file).unlink(missing_ok=True)


class LivingExecutor(InProcessExecutor):
    """Steps one after the other in the process of the run, which holds a lock as long as it lives."""

    def execute(
        self, plan_context: PlanOrchestrationContext, execution_plan: ExecutionPlan
    ) -> Iterator[dg.DagsterEvent]:
        """Execute the steps of a run."""
        with _alive(plan_context.run_id), mapped_once():
            yield from super().execute(plan_context, execution_plan)


@dg.executor(name="living")
def living_executor(_: dg.InitExecutorContext) -> LivingExecutor:
    """The executor of all jobs; see `LivingExecutor`."""
    return LivingExecutor(retries=RetryMode.ENABLED)


def is_held(run_id: str) -> bool:
    """Whether a process of this machine works on a run."""
    _folder().mkdir(parents=True, exist_ok=True)
    lock = _lock(run_id)
    try:
        with lock.acquire(timeout=0):
            Path(lock.lock_file).unlink(missing_ok=True)
    except Timeout:
        return True
    return False


def _is_lost(instance: dg.DagsterInstance, run: dg.DagsterRun) -> bool:
    """Whether whoever was to begin a run knows that it never will."""
    launcher = instance.run_launcher
    return (
        launcher.supports_check_run_worker_health
        and launcher.check_run_worker_health(run).status is WorkerStatus.FAILED
    )


def bury(instance: dg.DagsterInstance, suspected: Collection[str]) -> list[str]:
    """Mark runs as failed whose process died, and tell of which it is suspected.

    A run lets go of its lock a moment before it is recorded that it ended, and takes it a moment
    after it started: so a run is dead that nobody held at two looks in a row. One that has not begun
    is dead if the cluster that it was handed to says so twice: its node may have died first.

    Args:
        instance: Dagster's records.
        suspected: Run ids that the last look told.

    Returns:
        Run ids that nobody holds and that are not marked yet.
    """
    found = []
    for run in instance.get_runs(dg.RunsFilter(statuses=[*WORKING, dg.DagsterRunStatus.STARTING])):
        has_begun = run.status in WORKING
        if is_held(run.run_id) if has_begun else not _is_lost(instance, run):
            continue
        if run.run_id in suspected:
            instance.report_run_failed(run, message=_DIED)
        else:
            found.append(run.run_id)
    return found
