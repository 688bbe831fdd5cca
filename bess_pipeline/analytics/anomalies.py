"""Anomalies: what the lanes raised, as events with a life."""

from __future__ import annotations

import hashlib
import json
from datetime import timedelta

import polars as pl

from bess_pipeline.analytics.advice import next_steps
from bess_pipeline.analytics.lanes import ALARMS, LANE_BY_NAME, LANES, THRESHOLDS, WARNS, scores, with_scores
from bess_pipeline.tables.anomalies import SEVERITIES, AnomalyEvent
from bess_pipeline.tables.keys import BATTERY, BATTERY_DAY

#: Data without alarm after which an event has ended.
QUIET = timedelta(days=21)
#: Limit episodes of one code closer than this are one event.
LIMIT_QUIET = timedelta(days=7)
#: Days before the detection whose values travel with an event.
SHOWN = timedelta(days=60)

_STREAM = (*BATTERY, "component", "family", "stream")


def anomaly_events(signals: pl.DataFrame, episodes: pl.DataFrame, features: pl.DataFrame) -> pl.DataFrame:
    """Events of all lanes that are on, each with the instant from which on it could be known.

    * What any lane raises of one battery, component and family is one event, until 21 days
      pass without. The lane that raised first is its detector; it is named by what that lane
      saw most of. Signals that are no more than info never mix with the others; those of the data
      are an event for each kind.
    * Limit episodes of one code less than a week apart are one event of family ``limit``.

    Whatever days follow, an event keeps its identity and its instant of detection; only its
    end and a rise of its severity can change.

    Args:
        signals: `AnomalySignal` rows.
        episodes: `LimitEpisode` rows.
        features: `DailyFeature` rows, for how long each battery was heard, and what its values were before.

    Returns:
        `AnomalyEvent` rows by detection and identity.
    """
    lanes = [_raised_events(signals, features), _limit_events(episodes)]
    return (
        pl.concat(lanes)
        .with_columns(component=pl.when(pl.col("component") != "").then("component"))
        .with_columns(detected_on=pl.col("detected_at").dt.date(), next_step=next_steps("family", "kind"))
        .with_columns(event_id=_identity())
        .select(AnomalyEvent.column_names())
        .sort("detected_at", "event_id")
    )


def _identity() -> pl.Expr:
    """Hash of what an event keeps; streams tell apart what one instant can raise in one family."""
    parts = pl.struct(*_STREAM, pl.col("detected_at").to_physical())

    def digest(row: dict[str, object]) -> str:
        return hashlib.blake2b(json.dumps(list(row.values())).encode(), digest_size=8).hexdigest()

    return parts.map_elements(digest, return_dtype=pl.String)


def _raised_events(signals: pl.DataFrame, features: pl.DataFrame) -> pl.DataFrame:
    on = [lane.name for lane in LANES if lane.is_on and lane.name != THRESHOLDS]
    stream = (
        pl.when(pl.col("family") == "data")
        .then(pl.col("kind"))
        .when(pl.col("severity") == "info")
        .then(pl.lit("info"))
        .otherwise(pl.lit("battery"))
    )
    raised = with_scores(signals.filter(pl.col("lane").is_in(on), pl.col("raised_at").is_not_null())).with_columns(
        stream=stream
    )
    last = features.group_by(BATTERY).agg(last_date=pl.col("date").max())
    rows = raised.join(last, on=BATTERY, how="left").sort(
        *_STREAM, "date", "raised_at", "score", "statistic", "lane", "feature", "direction",
        descending=[False] * 7 + [True, True] + [False] * 3,
    )  # fmt: skip
    pause = pl.col("date") - pl.col("date").shift(1).over(_STREAM)
    numbered = rows.with_columns(event=(pause.is_null() | (pause > QUIET)).cast(pl.Int64).cum_sum()).with_columns(
        fresh=pl.col("date") == pl.col("date").min().over("event")
    )
    over = pl.col("last_date").first() - pl.col("date").max() > QUIET
    evidence = pl.struct("lane", "feature", "direction", "value", "z", "peers", "statistic")
    events = numbered.group_by("event", *_STREAM, maintain_order=True).agg(
        pl.col("kind", "score", "feature", "date").first(),
        detector=pl.col("lane").first(),
        severity=pl.col("severity").cast(pl.Enum(SEVERITIES)).max().cast(pl.String),
        started_at=pl.col("started_at").filter("fresh").min(),
        ended_at=pl.when(over).then(pl.col("raised_at").max()),
        detected_at=pl.col("raised_at").first(),
        features=evidence.filter("fresh"),
    )
    return events.join(
        _series(events, _values(signals, features)), on="event", how="left", maintain_order="left"
    ).select(
        *_STREAM,
        "kind",
        "detector",
        "severity",
        "started_at",
        "ended_at",
        "detected_at",
        "score",
        evidence=pl.struct("features", "series").map_elements(_as_json, return_dtype=pl.String),
    )


def _values(signals: pl.DataFrame, features: pl.DataFrame) -> pl.DataFrame:
    """Values by day of the features, and of what only signals know: single cells, hours."""
    of_battery = features.select(*BATTERY_DAY, pl.lit("").alias("component"), "feature", "value", "adjusted")
    own = signals.join(features.select("feature").unique(), on="feature", how="anti").unique(
        [*BATTERY_DAY, "component", "feature"], keep="first", maintain_order=True
    )
    return pl.concat([of_battery, own.select(of_battery.columns[:-1])], how="diagonal")


def _series(events: pl.DataFrame, values: pl.DataFrame) -> pl.DataFrame:
    """The values behind each event on the days before, its own and the median of its peers."""
    before = (
        events.select("event", *BATTERY, "component", "feature", found="date")
        .join(values, on=[*BATTERY, "component", "feature"])
        .filter(pl.col("date").is_between(pl.col("found") - SHOWN, pl.col("found")))
        .sort("event", "date")
    )
    usual = pl.when(pl.col("adjusted") != pl.col("value")).then(pl.col("value") - pl.col("adjusted"))
    return before.group_by("event", maintain_order=True).agg(
        series=pl.struct(
            pl.col("feature").first().alias("feature"),
            pl.col("date").cast(pl.String).implode().alias("days"),
            pl.col("value").implode().alias("values"),
            usual.implode().alias("peers"),
        ).first()
    )


def _as_json(row: dict[str, object]) -> str:
    """What an event rests on, as JSON, numbers to six digits."""

    def rounded(item: object) -> object:
        match item:
            case float():
                return round(item, 6)
            case dict():
                return {name: rounded(value) for name, value in item.items()}
            case list():
                return [rounded(value) for value in item]
            case _:
                return item

    return json.dumps({name: rounded(value) for name, value in row.items() if value is not None})


def _limit_events(episodes: pl.DataFrame) -> pl.DataFrame:
    ordered = episodes.sort(*BATTERY, "code", "started_at")
    group = (*BATTERY, "code")
    pause = pl.col("started_at") - pl.col("ended_at").shift(1).over(group)
    alarm = pl.col("code").str.ends_with("ALARM")
    score = {
        code: float(scores(LANE_BY_NAME[THRESHOLDS], pl.Series([size]).to_numpy())[0])
        for code, size in ((True, ALARMS), (False, WARNS))
    }
    events = (
        ordered.with_columns(event=(pause.is_null() | (pause >= LIMIT_QUIET)).cast(pl.Int64).cum_sum())
        .group_by("event", *group, maintain_order=True)
        .agg(
            started_at=pl.col("started_at").first(),
            ended_at=pl.col("ended_at").last(),
            detected_at=pl.col("detected_at").first(),
            limit=pl.col("limit").first(),
            extreme=pl.when(pl.col("code").first().str.starts_with("OVER"))
            .then(pl.col("extreme").max())
            .otherwise(pl.col("extreme").min()),
            episodes=pl.len(),
        )
    )
    return events.select(
        *BATTERY,
        pl.lit("").alias("component"),
        pl.lit("limit").alias("family"),
        pl.col("code").alias("stream"),
        pl.col("code").alias("kind"),
        pl.lit(THRESHOLDS).alias("detector"),
        pl.when(alarm).then(pl.lit("critical")).otherwise(pl.lit("warning")).alias("severity"),
        "started_at",
        "ended_at",
        "detected_at",
        pl.when(alarm).then(score[True]).otherwise(score[False]).alias("score"),
        evidence=pl.struct("limit", "extreme", "episodes").map_elements(json.dumps, return_dtype=pl.String),
    )
