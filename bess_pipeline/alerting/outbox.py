"""What waits and what was sent: the state of the outbox, as questions to its two tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import polars as pl

from bess_pipeline.alerting.occasions import Occasion
from bess_pipeline.tables.alerts import Alert, AlertDelivery
from bess_pipeline.tables.anomalies import SEVERITIES

#: A channel that failed is left alone for half a minute, then twice as long each time, up to a quarter of an hour.
_FIRST_PAUSE, _LONGEST_PAUSE = timedelta(seconds=30), timedelta(minutes=15)

#: Most alerts that are folded into one message: what Slack and Teams can show.
MOST_IN_DIGEST = 40


@dataclass(frozen=True)
class Failure:
    """Why a channel did not take a message.

    Attributes:
        text: What went wrong, without addresses and passwords.
        refused: Whether the channel answered and did not want this very message.
        retry_after: How long it asked to be left alone.
    """

    text: str
    refused: bool = False
    retry_after: timedelta = timedelta(0)


def fresh(occasions: Iterable[Occasion], known: pl.DataFrame, *, quiet: timedelta) -> list[Occasion]:
    """Occasions of which there is no alert yet, neither of the same nor of the same thing soon before or after.

    Args:
        occasions: What is worth an alert.
        known: `Alert` rows there are.
        quiet: Occasions about the same within this time are the same alert.
    """
    ids = set(known["alert_id"])
    times: dict[str, list[datetime]] = {}
    for about, occurred in known.select("about_id", "occurred_at").iter_rows():
        times.setdefault(about, []).append(occurred)
    found = []
    for one in sorted(occasions, key=lambda occasion: (occasion.occurred_at, occasion.alert_id)):
        before = times.setdefault(one.about_id, [])
        if one.alert_id in ids or any(abs(one.occurred_at - time) < quiet for time in before):
            continue
        ids.add(one.alert_id)
        before.append(one.occurred_at)
        found.append(one)
    return found


def raised(occasions: Sequence[Occasion], channels: Mapping[str, str], *, now: datetime) -> pl.DataFrame:
    """Alerts of occasions.

    Args:
        occasions: What is worth an alert.
        channels: Name of each channel → least severity that goes to it.
        now: The present.

    Returns:
        `Alert` rows.
    """
    rows = [
        {
            "alert_id": one.alert_id,
            "fleet_id": one.fleet_id,
            "about_id": one.about_id,
            "kind": one.kind,
            "severity": one.severity,
            "battery_id": one.battery_id,
            "subject": one.subject,
            "message": one.message,
            "link": one.link,
            "occurred_at": one.occurred_at,
            "raised_at": now,
            "channels": ",".join(
                name for name, least in channels.items() if SEVERITIES.index(one.severity) >= SEVERITIES.index(least)
            ),
        }
        for one in occasions
    ]
    return pl.DataFrame(rows, schema=Alert.create_empty().schema)


def undelivered(alerts: pl.DataFrame, deliveries: pl.DataFrame) -> pl.DataFrame:
    """What waits, over all channels.

    Args:
        alerts: `Alert` rows.
        deliveries: `AlertDelivery` rows.

    Returns:
        `Alert` rows with `channel`, `attempts`, `next_attempt_at`, `refused` and `error`, one for each channel that an
        alert is to go to and has not gone to.
    """
    return (
        alerts.with_columns(channel=pl.col("channels").str.split(","))
        .explode("channel")
        .filter(pl.col("channel") != "")
        .join(deliveries.drop("fleet_id"), on=["alert_id", "channel"], how="left")
        .filter(pl.col("delivered_at").is_null())
        .with_columns(pl.col("attempts").fill_null(0), pl.col("refused").fill_null(value=False))
    )


def due(waiting: pl.DataFrame, channel: str, *, now: datetime) -> pl.DataFrame:
    """What is to be sent over a channel now, the worst first, and the oldest of these.

    Args:
        waiting: Rows of `undelivered`.
        channel: Name of the channel.
        now: The present.

    Returns:
        The rows; none while the channel is left alone, because it failed.
    """
    here = waiting.filter(pl.col("channel") == channel)
    if here.filter(~pl.col("refused"), pl.col("next_attempt_at") > now).height:
        return here.clear()
    rank = pl.col("severity").replace_strict({name: rank for rank, name in enumerate(SEVERITIES)})
    # What was refused once goes last: it may be refused for good.
    return here.filter(pl.col("next_attempt_at").is_null() | (pl.col("next_attempt_at") <= now)).sort(
        "refused", rank, "raised_at", "alert_id", descending=[False, True, False, False]
    )


def batches(rows: pl.DataFrame, *, single: int) -> list[pl.DataFrame]:
    """Messages to send over a channel in one tick: one for each alert, or one for many of them.

    What was refused goes alone, because it may be the one that makes a message bad.

    Args:
        rows: What is due.
        single: Most alerts that are sent one by one.
    """
    good, bad = rows.filter(~pl.col("refused")), rows.filter("refused")
    folded = [good.head(MOST_IN_DIGEST)] if good.height > single else good.iter_slices(1)
    return [*folded, *bad.head(single).iter_slices(1)]


def attempted(batch: pl.DataFrame, failure: Failure | None, *, now: datetime) -> pl.DataFrame:
    """What became of sending a message.

    Args:
        batch: The rows that it told of.
        failure: What went wrong; nothing when it was delivered.
        now: The present.

    Returns:
        `AlertDelivery` rows, one for each alert of the message.
    """
    most = max(batch["attempts"].to_list()) + 1
    again = None if failure is None else now + max(pause(most), failure.retry_after)
    return batch.select(
        "fleet_id",
        "alert_id",
        "channel",
        attempts=pl.col("attempts") + 1,
        last_attempt_at=pl.lit(now),
        delivered_at=pl.lit(now if failure is None else None),
        next_attempt_at=pl.lit(again),
        refused=pl.lit(failure is not None and failure.refused),
        in_digest=pl.lit(batch.height > 1),
        error=pl.lit(None if failure is None else failure.text),
    ).cast(AlertDelivery.create_empty().schema)


def pause(attempts: int) -> timedelta:
    """How long a channel is left alone after it failed so many times.

    Examples:
        >>> [pause(attempts).total_seconds() for attempts in (1, 2, 3, 5, 6, 1000)]
        [30.0, 60.0, 120.0, 480.0, 900.0, 900.0]
    """
    return min(_FIRST_PAUSE * (1 << min(attempts - 1, 10)), _LONGEST_PAUSE)
