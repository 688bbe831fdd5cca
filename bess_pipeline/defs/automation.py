"""What starts runs by itself: a nightly look at every fleet, and a sensor that does what there is to do.

The sensor asks `plan` what is due, every half minute, and requests it unless it is at work already or has
failed a moment ago. It remembers nothing that matters: an answer that was lost, with the process or
with the power, is given again. See docs/decisions/0015-what-is-due-is-read-off-the-lake.md.
"""

import json
import logging
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from functools import cache

import dagster as dg

from bess_pipeline.config import Settings
from bess_pipeline.defs import attempts, jobs, liveness, plan
from bess_pipeline.defs.attempts import Attempts
from bess_pipeline.defs.partitions import FLEETS
from bess_pipeline.defs.plan import FLEET_TAG, Work
from bess_pipeline.defs.resources import Home
from bess_pipeline.lake.store import Lake

_PRIORITY = "dagster/priority"
#: What waits in the queue goes in this order.
NIGHTLY, PUBLISH, INDEX, FLEET, DAYS, BACKFILL = (str(priority) for priority in (10, 5, 4, 3, 0, -10))

#: Jobs after which the warehouse may be behind, and what people launch in the UI.
_WAVES = {job.name for job in (jobs.LANDING, jobs.TELEMETRY, jobs.FLEET, jobs.PUBLISH)} | {"__ASSET_JOB"}

_LOOK_SECONDS = Settings().look_every_seconds
#: A look at the fleets ends after so long, and the next goes on with the fleet that would have come [s].
_LONGEST_LOOK_SECONDS = 30.0
#: A file that never comes to rest is read after so long all the same [s].
_LONGEST_WAIT_SECONDS = 600.0
#: A warehouse is not held back for longer by fleets that are never all at rest [s].
_LONGEST_BEHIND_SECONDS = 3600.0


@dg.schedule(
    job=jobs.LANDING,
    cron_schedule="30 0 * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
)
def nightly(context: dg.ScheduleEvaluationContext, home: dg.ResourceParam[Home]) -> Iterator[dg.RunRequest]:
    """Half past midnight UTC: look at every fleet's landing folder; yesterday and what else is due then follows."""
    night = context.scheduled_execution_time.date()
    for fleet_id in _joined(context.instance, home):
        work = plan.index_of(fleet_id, night)
        yield dg.RunRequest(run_key=f"{fleet_id}/{night}", tags=work.tags | {_PRIORITY: NIGHTLY})


@dg.schedule(
    job=jobs.CHECKS,
    cron_schedule="0 6 * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
)
def daily_checks(context: dg.ScheduleEvaluationContext, home: dg.ResourceParam[Home]) -> Iterator[dg.RunRequest]:
    """Six o'clock UTC: judge every fleet as of today, also those of which nothing came."""
    morning = context.scheduled_execution_time.date()
    for fleet_id in _joined(context.instance, home):
        if not home.ledger.signatures(fleet_id, plan.MADE):
            continue
        yield dg.RunRequest(run_key=f"{fleet_id}/{morning}", partition_key=fleet_id, tags={FLEET_TAG: fleet_id})


@dataclass
class Memory:
    """What one look leaves to the next; losing it costs a look.

    Attributes:
        go_on_with: Fleet with which to begin, where the last look ran out of time.
        unsettled: Fleet → when files of it were first found that are still written to [s since 1970].
        suspected: Runs that nobody seems to work on.
        restless_since: Since when something has always been at work or due [s since 1970]; 0 at rest.
    """

    go_on_with: str = ""
    unsettled: dict[str, float] = field(default_factory=dict)
    suspected: list[str] = field(default_factory=list)
    restless_since: float = 0.0

    @classmethod
    def of_text(cls, text: str | None) -> "Memory":
        """What a cursor holds."""
        return cls(**json.loads(text)) if text else cls()

    def to_text(self) -> str:
        """The memory as a cursor."""
        return json.dumps(asdict(self))


@dg.sensor(
    jobs=[jobs.LANDING, jobs.TELEMETRY, jobs.FLEET, jobs.PUBLISH],
    minimum_interval_seconds=_LOOK_SECONDS,
    default_status=dg.DefaultSensorStatus.RUNNING,
)
def up_to_date(context: dg.SensorEvaluationContext, home: dg.ResourceParam[Home]) -> dg.SensorResult:
    """Keep every fleet and the warehouse up to date: new fleets, late and changed files, what follows, what died."""
    memory = Memory.of_text(context.cursor)
    memory.suspected = liveness.bury(context.instance, memory.suspected)
    look = _Look(home, context.instance, memory, context.log, time.time())
    requests = list(look.requests())
    return dg.SensorResult(run_requests=requests, cursor=memory.to_text())


def _joined(instance: dg.DagsterInstance, home: Home) -> list[str]:
    """The fleets of the register, each of them known as a partition from now on."""
    fleets = list(home.register().fleets)
    missing = set(fleets) - set(instance.get_dynamic_partitions(str(FLEETS.name)))
    if missing:
        instance.add_dynamic_partitions(str(FLEETS.name), sorted(missing))
    return fleets


@cache
def _fit(lake: Lake) -> None:
    """Create what is not there yet and fit what an earlier version left, once in the life of this process."""
    lake.create()


@dataclass(frozen=True)
class _Look:
    home: Home
    instance: dg.DagsterInstance
    memory: Memory
    log: logging.Logger
    now: float
    #: Fleets of which something is at work, or soon tried again: what ends during the look may make more of them due.
    awaited: set[str] = field(default_factory=set)

    def requests(self) -> Iterator[dg.RunRequest]:
        """What is to be started now: of each fleet what comes first, and the warehouse once the fleets are at rest."""
        _fit(self.home.lake)
        for name, lines in self.home.register().mistakes.items():
            self.log.error("%s: %s", name, "; ".join(lines))
        fleets = _joined(self.instance, self.home)
        for gone in self.memory.unsettled.keys() - set(fleets):
            del self.memory.unsettled[gone]
        requested = 0
        is_whole = True
        failed: list[Exception] = []
        begin = next((at for at, name in enumerate(fleets) if name >= self.memory.go_on_with), 0)
        self.memory.go_on_with = ""
        begun = time.monotonic()
        for fleet_id in fleets[begin:] + fleets[:begin]:
            if time.monotonic() - begun > _LONGEST_LOOK_SECONDS:
                self.memory.go_on_with, is_whole = fleet_id, False
                break
            try:
                due = self._due(fleet_id)
            except Exception as error:
                self.log.exception("%s cannot be looked at", fleet_id)
                failed.append(error)
                continue
            requested += len(due)
            yield from due
        if failed and len(failed) == len(fleets):
            raise failed[0]
        at_work = attempts.unfinished(self.instance) & _WAVES
        is_at_rest = is_whole and not (requested or at_work or self.awaited or self.memory.unsettled)
        self.memory.restless_since = 0.0 if is_at_rest else self.memory.restless_since or self.now
        if not requested:
            yield from self._publication(at_work, is_at_rest=is_at_rest)

    def _due(self, fleet_id: str) -> list[dg.RunRequest]:
        """The first of a fleet's waves of which something can start, unless an earlier one is soon tried again."""
        for works, priority in self._waves(fleet_id):
            tried = [(work, attempts.of(self.instance, work.key)) for work in works]
            ready = [_request(work, attempt, priority) for work, attempt in tried if attempt.may_start(self.now)]
            if ready:
                return ready
            if any(attempt.is_worth_waiting_for for _, attempt in tried):
                self.awaited.add(fleet_id)
                break
        return []

    def _waves(self, fleet_id: str) -> Iterator[tuple[list[Work], str]]:
        """Index, days, fleet tables: what is due of each, with its priority, as long as the fleet is at rest."""
        at_work = attempts.unfinished(self.instance, fleet_id)
        since = self.memory.unsettled.pop(fleet_id, self.now)
        index = plan.indexing(self.home, fleet_id)
        if index is not None and jobs.LANDING.name not in at_work:
            if self._is_settled(index, since):
                yield [index], INDEX
            else:
                self.memory.unsettled[fleet_id] = since
        if at_work:
            self.awaited.add(fleet_id)
            return
        days = plan.making_days(self.home, fleet_id)
        is_backfill = sum(len(work.days or ()) for work in days) > self.home.settings.days_per_run
        yield days, BACKFILL if is_backfill else DAYS
        made = plan.making_fleet(self.home, fleet_id)
        if made is not None:
            yield [made], FLEET

    def _is_settled(self, index: Work, since: float) -> bool:
        """Whether no changed file of a fleet was written to a moment ago, or one has been for long."""
        is_at_rest = self.now - index.written_at >= self.home.settings.settle_seconds
        return is_at_rest or not 0 <= self.now - since < _LONGEST_WAIT_SECONDS

    def _publication(self, at_work: set[str], *, is_at_rest: bool) -> list[dg.RunRequest]:
        """The warehouse, once per wave of changes: when all fleets are at rest, or have not been for long."""
        file = self.home.warehouse.path
        since = max(file.stat().st_mtime, self.memory.restless_since) if file.exists() else self.now
        is_old = self.now - since > _LONGEST_BEHIND_SECONDS
        if jobs.PUBLISH.name in at_work or not (is_at_rest or is_old):
            return []
        work = plan.publishing(self.home)
        if work is None:
            return []
        tried = attempts.of(self.instance, work.key)
        return [_request(work, tried, PUBLISH)] if tried.may_start(self.now) else []


def _request(work: Work, tried: Attempts, priority: str) -> dg.RunRequest:
    return dg.RunRequest(run_key=f"{work.key}/{tried.count}", job_name=work.job, tags=work.tags | {_PRIORITY: priority})
