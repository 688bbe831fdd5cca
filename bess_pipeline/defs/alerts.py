"""Alerts: one sensor puts down what is worth one, another sends what waits. What was put down is never lost."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TypeVar

import dagster as dg
import polars as pl
from filelock import FileLock, Timeout

from bess_pipeline.alerting import outbox
from bess_pipeline.alerting.channels import Channel, channels, least_severities
from bess_pipeline.alerting.messages import told
from bess_pipeline.alerting.occasions import Occasion
from bess_pipeline.config import Settings
from bess_pipeline.defs import alert_sources
from bess_pipeline.defs.alert_sources import Seen
from bess_pipeline.defs.resources import Home
from bess_pipeline.lake.slices import Slice
from bess_pipeline.tables import catalog

_EVERY_SECONDS = Settings().look_every_seconds
#: No message is begun later than this in a tick, which Dagster gives up on after 60 s [s].
_LONGEST_SECONDS = 30.0

T = TypeVar("T")


@dataclass
class EachOnItsOwn:
    """Things that are done one after the other, each of which may fail without keeping the others from being done."""

    errors: list[Exception] = field(default_factory=list)

    def at(self, what: Callable[[], T]) -> T | None:
        """Do one; nothing when it failed."""
        try:
            return what()
        except Exception as error:  # noqa: BLE001 - raised again by `settle`, once the others are done
            self.errors.append(error)
            return None

    def settle(self, what: str) -> None:
        """Say what failed.

        Raises:
            ExceptionGroup: If anything did.
        """
        if self.errors:
            raise ExceptionGroup(what, self.errors)


@dataclass(frozen=True)
class Looked:
    """How many alerts are new, and how far Dagster's records have been looked at."""

    new: int
    seen: Seen


def _now() -> datetime:
    return datetime.now(UTC)


@dg.sensor(minimum_interval_seconds=_EVERY_SECONDS, default_status=dg.DefaultSensorStatus.RUNNING)
def alerts_raised(context: dg.SensorEvaluationContext, home: dg.ResourceParam[Home]) -> dg.SkipReason:
    """Put down what a person should know of and has not been told: failed runs and checks, late data, events."""
    if context.repository_def is None:
        raise dg.DagsterInvariantViolationError("alerts_raised has to know the checks of its code location")
    checks = sorted(context.repository_def.asset_graph.asset_check_keys, key=str)
    looked = look(home, context.instance, checks, Seen.from_cursor(context.cursor), now=_now())
    context.update_cursor(looked.seen.to_cursor())
    return dg.SkipReason(f"{looked.new} new alerts")


def look(
    home: Home, instance: dg.DagsterInstance, checks: Sequence[dg.AssetCheckKey], seen: Seen, *, now: datetime
) -> Looked:
    """Look at every source, and put down what is worth an alert; what one source cannot tell, others do.

    Args:
        home: The deployment.
        instance: Dagster's records.
        checks: The checks there are.
        seen: How far Dagster's records have been looked at before.
        now: The present.

    Raises:
        ExceptionGroup: If a source could not be read. What the others told has been put down, and all is looked at
            again from the same point on.
    """
    each = EachOnItsOwn()
    events = each.at(partial(alert_sources.anomaly_events, home, now=now)) or []
    terms = each.at(partial(alert_sources.warranty, home, now=now)) or []
    runs = each.at(partial(alert_sources.failed_runs, home, instance, seen, now=now))
    answers = each.at(partial(alert_sources.failed_checks, home, instance, checks, seen, now=now))
    late = each.at(partial(alert_sources.missing_data, home, now=now)) or []
    mistaken = each.at(partial(alert_sources.register_mistakes, home, now=now)) or []
    of_records = [occasion for found in (runs, answers) if found for occasion in found.occasions]
    new = put_down(home, [*events, *terms, *of_records, *late, *mistaken], now=now)
    each.settle("some sources of alerts cannot be read")
    runs_until = runs.seen.runs_until if runs else seen.runs_until
    return Looked(new, Seen(runs_until, answers.seen.checks_until if answers else seen.checks_until))


def put_down(home: Home, occasions: list[Occasion], *, now: datetime) -> int:
    """Keep alerts of what there is none of yet, for the channels that there are now.

    Returns:
        How many are new.
    """
    if not occasions:
        return 0
    known = home.lake.read(catalog.ALERTS)
    fresh = outbox.fresh(occasions, known, quiet=timedelta(hours=home.settings.alert_quiet_hours))
    new = outbox.raised(fresh, least_severities(home.settings), now=now)
    for fleet_id in new["fleet_id"].unique().sort():
        part = Slice(fleet_id)
        home.lake.replace(catalog.ALERTS, pl.concat([known.filter(part.rows()), new.filter(part.rows())]), part)
    return new.height


@dg.sensor(minimum_interval_seconds=_EVERY_SECONDS, default_status=dg.DefaultSensorStatus.RUNNING)
def alerts_sent(home: dg.ResourceParam[Home]) -> dg.SkipReason:
    """Send what waits, channel by channel, and keep what became of each message right after it."""
    with _alone(home) as alone:
        if not alone:
            return dg.SkipReason("another tick is still sending")
        sent = send_waiting(home, channels(home.settings))
    return dg.SkipReason(f"{sent} messages delivered")


@contextmanager
def _alone(home: Home) -> Iterator[bool]:
    """Whether nobody else sends: Dagster gives up on a long tick, and does not end it."""
    lock = FileLock(home.settings.root / "alerts-sending.lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


def waiting(home: Home) -> pl.DataFrame:
    """What has not gone to each channel that it was to go to; see `outbox.undelivered`."""
    return outbox.undelivered(home.lake.read(catalog.ALERTS), home.lake.read(catalog.ALERT_DELIVERIES))


def send_waiting(home: Home, ways: Sequence[Channel], *, clock: Callable[[], datetime] = _now) -> int:
    """Send what is due over each of these channels; one that fails does not keep the others from getting theirs.

    Args:
        home: The deployment.
        ways: The channels.
        clock: Tells the present.

    Returns:
        How many messages were delivered.
    """
    rows = waiting(home)
    if rows.is_empty():
        return 0
    until, each = time.monotonic() + _LONGEST_SECONDS, EachOnItsOwn()
    sent = [each.at(partial(_sent_over, home, way, rows, until=until, clock=clock)) or 0 for way in ways]
    each.settle("some channels cannot be used")
    return sum(sent)


def _sent_over(home: Home, way: Channel, rows: pl.DataFrame, *, until: float, clock: Callable[[], datetime]) -> int:
    """Messages that a channel took; the first that it fails at is the last for now."""
    sent = 0
    due = outbox.due(rows, way.name, now=clock())
    for batch in outbox.batches(due, single=home.settings.alert_single_messages):
        if time.monotonic() > until:
            break
        failure = way.send(told(batch), now=clock())
        _keep(home, outbox.attempted(batch, failure, now=clock()))
        sent += failure is None
        if failure is not None and not failure.refused:
            break
    return sent


def _keep(home: Home, fresh: pl.DataFrame) -> None:
    """Keep what became of a message, in place of what was known of these alerts and this channel before."""
    for fleet_id in fresh["fleet_id"].unique().sort():
        part = Slice(fleet_id)
        held = home.lake.read(catalog.ALERT_DELIVERIES, part)
        kept = held.join(fresh, on=["alert_id", "channel"], how="anti")
        home.lake.replace(catalog.ALERT_DELIVERIES, pl.concat([kept, fresh.filter(part.rows())]), part)
