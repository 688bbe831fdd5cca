"""Where events begin, and the values behind them on the days before."""

from __future__ import annotations

from datetime import timedelta

import polars as pl

from bess_pipeline.analytics.lanes import LANES, THRESHOLDS, with_scores
from bess_pipeline.tables.anomalies import EventSeries
from bess_pipeline.tables.keys import BATTERY, BATTERY_DAY

#: Data without alarm after which an event has ended.
QUIET = timedelta(days=21)
#: Days before the detection whose values travel with an event.
SHOWN = timedelta(days=60)
#: What signals have in common that may be of one event.
STREAM = (*BATTERY, "component", "family", "stream")


def in_streams(signals: pl.DataFrame) -> pl.DataFrame:
    """What lanes raise, by stream and day, those that raised first and are surest first.

    Args:
        signals: `AnomalySignal` rows.

    Returns:
        The raised ones of lanes that make events, with `score`, `stream`, and whether an event `begins` there: 21 days
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
    raised = with_scores(signals.filter(pl.col("lane").is_in(on), pl.col("raised_at").is_not_null()))
    rows = raised.with_columns(stream=stream).sort(
        *STREAM, "date", "raised_at", "score", "statistic", "lane", "feature", "direction",
        descending=[False] * 7 + [True, True] + [False] * 3,
    )  # fmt: skip
    pause = pl.col("date") - pl.col("date").shift(1).over(STREAM)
    return rows.with_columns(begins=pause.is_null() | (pause > QUIET))


def event_series(signals: pl.DataFrame, features: pl.DataFrame) -> pl.DataFrame:
    """The values behind each event on the days before, the battery's own and the median of its peers.

    Args:
        signals: `AnomalySignal` rows.
        features: `DailyFeature` rows.

    Returns:
        `EventSeries` rows, sorted. A day rests on those of the 60 days before.
    """
    begun = in_streams(signals).filter("begins").select(*STREAM, "feature", found="date")
    values = _values(signals, features)
    before = (
        begun.join(values, on=[*BATTERY, "component", "feature"])
        .filter(pl.col("date").is_between(pl.col("found") - SHOWN, pl.col("found")))
        .sort(*STREAM, "found", "date")
    )
    usual = pl.when(pl.col("adjusted") != pl.col("value")).then(pl.col("value") - pl.col("adjusted"))
    return (
        before.group_by(*STREAM, "found", maintain_order=True)
        .agg(pl.col("feature").first(), days="date", values="value", peers=usual)
        .rename({"found": "date"})
        .select(EventSeries.column_names())
        .sort(*BATTERY_DAY, "component", "family", "stream")
        .pipe(EventSeries.validate)
    )


def _values(signals: pl.DataFrame, features: pl.DataFrame) -> pl.DataFrame:
    """Values by day of the features, and of what only signals know: single cells, hours."""
    of_battery = features.select(*BATTERY_DAY, pl.lit("").alias("component"), "feature", "value", "adjusted")
    own = signals.join(features.select("feature").unique(), on="feature", how="anti").unique(
        [*BATTERY_DAY, "component", "feature"], keep="first", maintain_order=True
    )
    return pl.concat([of_battery, own.select(of_battery.columns[:-1])], how="diagonal")
