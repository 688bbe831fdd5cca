"""Where events begin, and all that is known of them from then on: what raised them, and the values behind it."""

from __future__ import annotations

import json
from datetime import timedelta

import polars as pl

from bess_pipeline.analytics.lanes import LANES, THRESHOLDS, with_scores
from bess_pipeline.tables.anomalies import EventOnset
from bess_pipeline.tables.keys import BATTERY, BATTERY_DAY

#: Data without alarm after which an event has ended.
QUIET = timedelta(days=21)
#: Days before the detection whose values travel with an event.
SHOWN = timedelta(days=60)
#: What signals have in common that may be of one event.
STREAM = (*BATTERY, "component", "family", "stream")


def in_streams(signals: pl.DataFrame) -> pl.DataFrame:
    """What lanes raise, by stream and day.

    Args:
        signals: `AnomalySignal` rows.

    Returns:
        The raised ones of lanes that make events, with `stream`, and whether an event `begins` with the row: 21 days
        went by without.
    """
    on = [lane.name for lane in LANES if lane.is_on and lane.name != THRESHOLDS]
    stream = (
        pl.when(pl.col("family") == "data")
        .then(pl.col("kind"))
        .when(pl.col("severity") == "info")
        .then(pl.lit("info"))
        .otherwise(pl.lit("battery"))
    )
    raised = signals.filter(pl.col("lane").is_in(on), pl.col("raised_at").is_not_null())
    rows = raised.with_columns(stream=stream).sort(*STREAM, "date", maintain_order=True)
    pause = pl.col("date") - pl.col("date").shift(1).over(STREAM)
    return rows.with_columns(begins=pause.is_null() | (pause > QUIET))


def event_onsets(signals: pl.DataFrame, features: pl.DataFrame) -> pl.DataFrame:
    """Where events begin: an event is named by what the lane that raised first saw most of.

    Args:
        signals: `AnomalySignal` rows.
        features: `DailyFeature` rows.

    Returns:
        `EventOnset` rows, sorted. A day rests on those of the 60 days before.
    """
    rows = in_streams(signals)
    first = rows.join(rows.filter("begins"), on=[*STREAM, "date"], how="semi")
    ordered = with_scores(first).sort(
        *STREAM, "date", "raised_at", "score", "statistic", "lane", "feature", "direction",
        descending=[False] * 7 + [True, True] + [False] * 3,
    )  # fmt: skip
    begun = ordered.group_by(*STREAM, "date", maintain_order=True).agg(
        pl.col("kind", "score", "feature").first(),
        detector=pl.col("lane").first(),
        started_at=pl.col("started_at").min(),
        detected_at=pl.col("raised_at").first(),
        features=pl.struct("lane", "feature", "direction", "value", "z", "peers", "statistic"),
    )
    behind = _values_behind(begun, signals, features)
    return (
        begun.join(behind, on=[*STREAM, "date"], how="left", maintain_order="left")
        .with_columns(evidence=pl.struct("features", "series").map_elements(_as_json, return_dtype=pl.String))
        .select(EventOnset.column_names())
        .sort(*BATTERY_DAY, "component", "family", "stream")
        .pipe(EventOnset.validate)
    )


def _values_behind(begun: pl.DataFrame, signals: pl.DataFrame, features: pl.DataFrame) -> pl.DataFrame:
    """By stream and day on which an event begins, its `series`: the battery's values before, and its peers' medians."""
    values = _values(signals, features)
    before = (
        begun.select(*STREAM, "feature", found="date")
        .join(values, on=[*BATTERY, "component", "feature"])
        .filter(pl.col("date").is_between(pl.col("found") - SHOWN, pl.col("found")))
        .sort(*STREAM, "found", "date")
    )
    usual = pl.when(pl.col("adjusted") != pl.col("value")).then(pl.col("value") - pl.col("adjusted"))
    return (
        before.group_by(*STREAM, "found", maintain_order=True)
        .agg(pl.col("feature").first(), days=pl.col("date").cast(pl.String), values="value", peers=usual)
        .select(*STREAM, date="found", series=pl.struct("feature", "days", "values", "peers"))
    )


def _values(signals: pl.DataFrame, features: pl.DataFrame) -> pl.DataFrame:
    """Values by day of the features, and of what only signals know: single cells, hours."""
    of_battery = features.select(*BATTERY_DAY, pl.lit("").alias("component"), "feature", "value", "adjusted")
    own = signals.join(features.select("feature").unique(), on="feature", how="anti").unique(
        [*BATTERY_DAY, "component", "feature"], keep="first", maintain_order=True
    )
    return pl.concat([of_battery, own.select(of_battery.columns[:-1])], how="diagonal")


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
