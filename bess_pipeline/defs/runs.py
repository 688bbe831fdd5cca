"""Runs launched from the command line: real Dagster runs, in this process, that the UI shows and can repeat."""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import dagster as dg
from dagster._core.definitions.reconstruct import ReconstructableRepository
from dagster._core.errors import DagsterAssetCheckFailedError
from dagster._core.execution.api import execute_run_iterator
from dagster._core.remote_origin import (
    ManagedGrpcPythonEnvCodeLocationOrigin,
    RemoteJobOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin

from bess_pipeline.defs import attempts
from bess_pipeline.defs.instance import COMMAND, LAUNCHED_BY
from bess_pipeline.defs.partitions import FLEETS

MODULE = "bess_pipeline.definitions"
_CONSOLE_QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@dataclass(frozen=True)
class RunResult:
    """How one Dagster run ended.

    Attributes:
        run_id: The run, as the UI knows it.
        failures: What went wrong, one line per failed step or check; empty when all went well.
        remarks: What checks have to say that is no failure, one line each.
    """

    run_id: str
    failures: tuple[str, ...]
    remarks: tuple[str, ...]


class Launcher:
    """Runs jobs of the code location in this process, as runs of the code location.

    Args:
        instance: Dagster's records.
        on_materialization: Called once for each partition of each asset that was made.
    """

    def __init__(self, instance: dg.DagsterInstance, on_materialization: Callable[[], None]) -> None:
        self._instance = instance
        self._advance = on_materialization
        self._repository = ReconstructableRepository.for_module(MODULE, "defs")
        target = LoadableTargetOrigin(executable_path=sys.executable, module_name=MODULE)
        self._origin = RemoteRepositoryOrigin(
            ManagedGrpcPythonEnvCodeLocationOrigin(target, location_name=MODULE), "__repository__"
        )

    def add_fleet(self, fleet_id: str) -> None:
        """Make a fleet known as a partition."""
        self._instance.add_dynamic_partitions(str(FLEETS.name), [fleet_id])

    def at_work(self, fleet_id: str) -> str:
        """The jobs of a fleet on which others are at work, or nothing."""
        return ", ".join(sorted(attempts.at_work(self._instance, fleet_id, now=time.time())))

    def run(self, job: str, tags: dict[str, str]) -> RunResult:
        """Run one job to its end.

        Args:
            job: Name of the job.
            tags: Tags of the run: its partition or range of partitions, the fleet that it works on.

        Raises:
            KeyboardInterrupt: If the process was told to end while the run went on; Dagster would keep that to the run.
        """
        recon = self._repository.get_reconstructable_job(job)
        run = self._instance.create_run_for_job(
            job_def=recon.get_definition(),
            run_config=_CONSOLE_QUIET,
            tags={**tags, LAUNCHED_BY: COMMAND},
            remote_job_origin=RemoteJobOrigin(self._origin, job),
            job_code_origin=recon.get_python_origin(),
        )
        failures: list[str] = []
        remarks: list[str] = []
        interrupted = False
        for event in execute_run_iterator(recon, run, self._instance):
            if event.is_step_materialization:
                self._advance()
            elif event.event_type == dg.DagsterEventType.ASSET_CHECK_EVALUATION:
                verdict = event.asset_check_evaluation_data
                if not verdict.passed:
                    (failures if verdict.severity == dg.AssetCheckSeverity.ERROR else remarks).append(_remark(verdict))
            elif event.is_step_failure and not _is_of(event, DagsterAssetCheckFailedError):
                interrupted |= _is_of(event, dg.DagsterExecutionInterruptedError)
                failures.append(f"{event.step_key}: {_reason(event)}")
            elif event.is_failure and not failures:
                failures.append(event.message or "the run failed")
        if interrupted:
            raise KeyboardInterrupt
        return RunResult(run.run_id, tuple(failures), tuple(remarks))


def _is_of(event: dg.DagsterEvent, kind: type[BaseException]) -> bool:
    """Whether a step failed by an error of this kind."""
    error = event.step_failure_data.error
    return error is not None and error.cls_name == kind.__name__


def _remark(verdict: dg.AssetCheckEvaluation) -> str:
    return f"{verdict.check_name}: {verdict.description}"


def _reason(event: dg.DagsterEvent) -> str:
    error = event.step_failure_data.error
    while error is not None and error.cause is not None:
        error = error.cause
    if error is None:
        return str(event.message)
    line = error.message.strip().partition("\n")[0]
    kind, _, said = line.partition(": ")
    return said if said and kind.startswith("bess_pipeline.") and kind.endswith(f".{error.cls_name}") else line
