"""How often something has been tried, and when it may be tried again: read off Dagster's records of runs."""

from collections.abc import Sequence
from dataclasses import dataclass

import dagster as dg

from bess_pipeline.defs.liveness import WORKING, is_held
from bess_pipeline.defs.plan import FLEET_TAG, WORK_TAG

UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]

#: A daemon that was not heard of for so long is taken for gone [s].
DAEMON_SILENT_SECONDS = 120.0
#: Wait after the first failure [s]; it doubles with each further one, up to the longest.
FIRST_WAIT_SECONDS = 30.0
LONGEST_WAIT_SECONDS = 6 * 3600.0
#: What follows does not wait for longer than that for what has failed [s].
WORTH_WAITING_SECONDS = 300.0
#: What a person has cancelled is left alone for so long, or until its inputs change [s].
CANCELLED_WAIT_SECONDS = 24 * 3600.0
#: More failures than that wait the longest in any case.
_MOST = 12


@dataclass(frozen=True)
class Attempts:
    """The runs that were to do one piece of work.

    Attributes:
        statuses: How they ended, the newest first.
        ended: When the newest ended [s since 1970]; none if it has not.
        count: How many there were in all.
    """

    statuses: tuple[dg.DagsterRunStatus, ...]
    ended: float | None
    count: int

    @property
    def wait_seconds(self) -> float:
        """How long to wait after the newest attempt.

        A run that went well and whose work is due all the same counts as one that failed: what
        does not come to rest is not repeated every half minute.
        """
        if not self.statuses:
            return 0.0
        if self.statuses[0] == dg.DagsterRunStatus.CANCELED:
            return CANCELLED_WAIT_SECONDS
        in_a_row = next(
            (k for k, status in enumerate(self.statuses) if status == dg.DagsterRunStatus.CANCELED), len(self.statuses)
        )
        return float(min(FIRST_WAIT_SECONDS * 2 ** (in_a_row - 1), LONGEST_WAIT_SECONDS))

    @property
    def is_worth_waiting_for(self) -> bool:
        """Whether it is at work, or failed so seldom that what rests on it had better wait for the next attempt."""
        if not self.statuses:
            return False
        return self.statuses[0] in UNFINISHED or self.wait_seconds <= WORTH_WAITING_SECONDS

    def may_start(self, now: float) -> bool:
        """Whether another attempt may start.

        Args:
            now: The current time [s since 1970]; one before the last attempt ended tells that the clock was set back.
        """
        if not self.statuses:
            return True
        if self.statuses[0] in UNFINISHED or self.ended is None:
            return False
        return not 0 <= now - self.ended < self.wait_seconds


def of(instance: dg.DagsterInstance, key: str) -> Attempts:
    """What was tried of a piece of work.

    Args:
        instance: Dagster's records.
        key: Fingerprint of the work.
    """
    wanted = dg.RunsFilter(tags={WORK_TAG: key})
    records = instance.get_run_records(wanted, limit=_MOST)
    if not records:
        return Attempts((), None, 0)
    ended = records[0].end_time
    return Attempts(
        tuple(record.dagster_run.status for record in records),
        records[0].update_timestamp.timestamp() if ended is None else ended,
        len(records) if len(records) < _MOST else instance.get_runs_count(wanted),
    )


def at_work(instance: dg.DagsterInstance, fleet_id: str, *, now: float) -> set[str]:
    """Names of the jobs of a fleet on which somebody works, or which a daemon that lives is going to start.

    Args:
        instance: Dagster's records.
        fleet_id: The fleet.
        now: The current time [s since 1970].
    """
    runs = instance.get_runs(dg.RunsFilter(statuses=UNFINISHED, tags={FLEET_TAG: fleet_id}))
    beats = instance.get_daemon_heartbeats().values()
    is_served = any(0 <= now - beat.timestamp < DAEMON_SILENT_SECONDS for beat in beats)
    return {run.job_name for run in runs if is_held(run.run_id) or (is_served and run.status not in WORKING)}


def unfinished(instance: dg.DagsterInstance, fleet_id: str | None = None) -> set[str]:
    """Names of the jobs that are at work or wait for it, of one fleet or of all."""
    tags: dict[str, str | Sequence[str]] = {} if fleet_id is None else {FLEET_TAG: fleet_id}
    return {run.job_name for run in instance.get_runs(dg.RunsFilter(statuses=UNFINISHED, tags=tags))}
