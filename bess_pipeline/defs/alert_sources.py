"""Where alerts come from: Dagster's records of runs and checks, the index of what came, the events of batteries."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta

import dagster as dg
import polars as pl
from dagster._core.event_api import PartitionKeyFilter
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecord as CheckRecord
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus as CheckStatus

from bess_pipeline.alerting.occasions import (
    FailedCheck,
    Occasion,
    Pages,
    StepError,
    of_check,
    of_early_notices,
    of_events,
    of_missing_data,
    of_register,
    of_run,
    of_warranty_events,
    one_line,
)
from bess_pipeline.analytics.verdicts import days_late
from bess_pipeline.defs.partitions import FLEET_DAYS, day_of
from bess_pipeline.defs.resources import Home
from bess_pipeline.lake.feedback import events
from bess_pipeline.tables import catalog
from bess_pipeline.tables.alerts import NO_FLEET
from bess_pipeline.tables.anomalies import SEVERITIES

#: Records are looked at once more for so long, because several machines write them and their clocks differ.
_OVERLAP = timedelta(minutes=10)
_OVERLAP_RECORDS = 100
_RECORDS_AT_ONCE = 200
#: Runs that are looked at in one tick; the next one goes on from there.
_RUNS_AT_ONCE = 200
_STEPS_TOLD = 3
#: So far back it is looked whether a notice is new; days without telemetry have none.
_SAID_BEFORE = timedelta(days=60)
_ANSWERED = {CheckStatus.FAILED, CheckStatus.SUCCEEDED}


@dataclass(frozen=True)
class Seen:
    """How far Dagster's records have been looked at.

    Attributes:
        runs_until: Runs that failed later than this are still to be seen, ISO 8601; null at the very beginning.
        checks_until: Number of the last record of a check.
    """

    runs_until: str | None = None
    checks_until: int | None = None

    @classmethod
    def from_cursor(cls, cursor: str | None) -> "Seen":
        """As a sensor keeps it."""
        return cls() if cursor is None else cls(**json.loads(cursor))

    def to_cursor(self) -> str:
        """For a sensor to keep."""
        return json.dumps(asdict(self))


def pages_of(home: Home) -> Pages:
    """Addresses for links."""
    return Pages(home.settings.dagster_pages, home.settings.pages_url)


def history(home: Home, now: datetime) -> datetime:
    """What happened before this and is found only now is history, and worth no alert."""
    return now - timedelta(days=home.settings.alert_history_days)


@dataclass(frozen=True)
class Found:
    """What a source has found, and how far it has come."""

    occasions: list[Occasion]
    seen: Seen


def failed_runs(home: Home, instance: dg.DagsterInstance, seen: Seen, *, now: datetime) -> Found:
    """Runs that failed since the last look, however long ago that was; at the very first, those that are no history."""
    since = history(home, now) if seen.runs_until is None else datetime.fromisoformat(seen.runs_until)
    filters = dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE], updated_after=since)
    records = instance.get_run_records(filters, limit=_RUNS_AT_ONCE, order_by="update_timestamp", ascending=True)
    occasions = [
        of_run(
            record.dagster_run.run_id,
            record.dagster_run.job_name,
            record.dagster_run.tags,
            _errors(instance, record.dagster_run.run_id),
            ended_at=datetime.fromtimestamp(record.end_time or record.update_timestamp.timestamp(), UTC),
            pages=pages_of(home),
        )
        for record in records
    ]
    caught_up = len(records) < _RUNS_AT_ONCE
    until = max(since, now - _OVERLAP) if caught_up else records[-1].update_timestamp
    return Found(occasions, Seen(until.isoformat(), seen.checks_until))


def _errors(instance: dg.DagsterInstance, run_id: str) -> list[StepError]:
    """The first steps that failed, and why."""
    logs = instance.get_records_for_run(run_id, of_type=dg.DagsterEventType.STEP_FAILURE, limit=_STEPS_TOLD)
    found = []
    for record in logs.records:
        event = record.event_log_entry.get_dagster_event()
        error = event.step_failure_data.error
        while error is not None and error.cause is not None:
            error = error.cause
        kind = "Failure" if error is None else error.cls_name or "Failure"
        lines = [] if error is None else error.message.strip().splitlines()
        reason = (lines[0] if lines else event.message or "").removeprefix(f"{kind}: ")
        found.append(StepError(str(event.step_key), kind, one_line(reason, longest=300)))
    return found


def failed_checks(
    home: Home, instance: dg.DagsterInstance, checks: Sequence[dg.AssetCheckKey], seen: Seen, *, now: datetime
) -> Found:
    """Checks whose newest answer, since the last look, is that all is not well.

    Args:
        home: The deployment.
        instance: Dagster's records.
        checks: The checks there are.
        seen: How far they have been looked at.
        now: The present.
    """
    after = None if seen.checks_until is None else max(seen.checks_until - _OVERLAP_RECORDS, 0)
    infos = instance.event_log_storage.get_asset_check_partition_info(list(checks), after_storage_id=after)
    occasions = []
    for key in checks:
        own = [info for info in infos if info.check_key == key]
        for record in _newest(
            instance,
            key,
            failed={info.partition_key for info in own if info.latest_execution_status == CheckStatus.FAILED},
            asked={info.partition_key for info in own if info.latest_execution_status == CheckStatus.PLANNED},
        ):
            failed = _failed(instance, key, record)
            if failed is not None and failed.evaluated_at >= history(home, now):
                occasions.append(of_check(failed, pages=pages_of(home)))
    numbers = [info.latest_check_event_storage_id for info in infos]
    return Found(
        [one for one in occasions if one is not None],
        Seen(seen.runs_until, max([seen.checks_until or 0, *numbers])),
    )


def _newest(
    instance: dg.DagsterInstance, key: dg.AssetCheckKey, *, failed: set[str | None], asked: set[str | None]
) -> Iterator[CheckRecord]:
    """The newest answer for partitions that failed, and for those that are being asked again and may have failed."""
    left, cursor = failed | asked, None
    while left:
        records = instance.event_log_storage.get_asset_check_execution_history(
            key, limit=_RECORDS_AT_ONCE, cursor=cursor, status=_ANSWERED
        )
        for record in records:
            if record.partition in left:
                left.remove(record.partition)
                yield record
        if len(records) < _RECORDS_AT_ONCE or not left & failed:
            return
        cursor = records[-1].id


def _failed(instance: dg.DagsterInstance, key: dg.AssetCheckKey, record: CheckRecord) -> FailedCheck | None:
    entry = record.event
    if record.status != CheckStatus.FAILED or entry is None:
        return None
    verdict = entry.get_dagster_event().asset_check_evaluation_data
    if verdict.passed:
        return None
    partition = "" if record.partition is None else record.partition
    of_day = "|" in partition
    day_key = FLEET_DAYS.get_partition_key_from_str(partition) if of_day else None
    is_error = verdict.severity == dg.AssetCheckSeverity.ERROR
    if day_key is not None and not is_error:
        return None
    well = instance.event_log_storage.get_asset_check_execution_history(
        key, limit=1, status={CheckStatus.SUCCEEDED}, partition_filter=PartitionKeyFilter(key=record.partition)
    )
    return FailedCheck(
        asset=key.asset_key.to_user_string(),
        check=key.name,
        fleet_id=day_key.keys_by_dimension["fleet"] if day_key is not None else partition or NO_FLEET,
        day=None if day_key is None else day_of(day_key),
        is_error=is_error,
        summary=verdict.description or "",
        evaluated_at=datetime.fromtimestamp(entry.timestamp, UTC),
        since=str(well[0].id) if well else "ever",
    )


def missing_data(home: Home, *, now: datetime) -> list[Occasion]:
    """Fleets of which something came once, and for too long nothing has."""
    found = []
    newest = (
        home.lake.scan(catalog.LANDING_DAYS)
        .filter(pl.col("rows") > 0)
        .group_by("fleet_id")
        .agg(pl.col("date").max())
        .sort("fleet_id")
        .collect()
    )
    known = home.register().fleets
    for fleet_id, day in newest.filter(pl.col("fleet_id").is_in(list(known))).iter_rows():
        late = days_late(day, today=now.date())
        if late > home.settings.alert_late_days:
            found.append(of_missing_data(fleet_id, day, late, now=now, pages=pages_of(home)))
    return found


def register_mistakes(home: Home, *, now: datetime) -> list[Occasion]:
    """Files of the fleet register that cannot be used."""
    mistakes = home.register().mistakes
    return [of_register(file, lines, now=now, pages=pages_of(home)) for file, lines in mistakes.items()]


def anomaly_events(home: Home, *, now: datetime) -> list[Occasion]:
    """New events that matter, after what people said of them."""
    since = history(home, now)
    recent = home.lake.scan(catalog.ANOMALY_EVENTS).filter(
        pl.col("detected_at") >= since, pl.col("severity") != SEVERITIES[0]
    )
    fleets = recent.select(pl.col("fleet_id").unique().sort()).collect()["fleet_id"]
    return [one for fleet in fleets for one in of_events(events(home.lake, fleet), since=since, pages=pages_of(home))]


def warranty(home: Home, *, now: datetime) -> list[Occasion]:
    """Terms of warranties that are newly not kept, and batteries that newly lose capacity too fast."""
    since, pages = history(home, now), pages_of(home)
    broken = home.lake.scan(catalog.WARRANTY_EVENTS).filter(pl.col("started_at") >= since).collect()
    told = of_warranty_events(broken, since=since, pages=pages)
    # Days before tell whether what is said now was said already.
    days = home.lake.scan(catalog.WARRANTY_DAILY).filter(pl.col("date") >= since.date() - _SAID_BEFORE).collect()
    return told + of_early_notices(days, since=since, pages=pages)
