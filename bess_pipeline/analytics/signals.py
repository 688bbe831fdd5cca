"""Signals: what the lanes that rest on daily rows saw on each day."""

from __future__ import annotations

import polars as pl

from bess_pipeline.analytics.lanes import AGEING, ALARMS, THRESHOLDS, WARNS
from bess_pipeline.tables.anomalies import AnomalySignal
from bess_pipeline.tables.keys import BATTERY, BATTERY_DAY

_SIGNAL = AnomalySignal.column_names()
_WHOLE = pl.lit("").alias("component")


def anomaly_signals(episodes: pl.DataFrame, degradation: pl.DataFrame, *others: pl.DataFrame) -> pl.DataFrame:
    """What every lane saw.

    Args:
        episodes: `LimitEpisode` rows.
        degradation: `Degradation` rows.
        others: `AnomalySignal` rows of the lanes that do not rest on these.

    Returns:
        `AnomalySignal` rows.
    """
    return pl.concat([limit_signals(episodes), ageing_signals(degradation), *others])


def limit_signals(episodes: pl.DataFrame) -> pl.DataFrame:
    """Days that a battery spent outside a limit of its nameplate.

    Args:
        episodes: `LimitEpisode` rows.

    Returns:
        `AnomalySignal` rows of family ``limit`` by battery, day and code; the statistic is 1 for a warning, 2 for an
        alarm. They are raised when the episode is detected, on later days when these begin.
    """
    alarm = pl.col("code").str.ends_with("ALARM")
    until = pl.coalesce(pl.col("ended_at") - pl.duration(microseconds=1), "detected_at")
    days = episodes.with_columns(date=pl.date_ranges(pl.col("started_at").dt.date(), until.dt.date())).explode("date")
    return in_order(
        days.sort(*BATTERY_DAY, "code", "started_at")
        .unique([*BATTERY_DAY, "code"], keep="first", maintain_order=True)
        .select(
            *BATTERY_DAY,
            pl.lit(THRESHOLDS).alias("lane"),
            feature="code",
            direction=pl.when(pl.col("code").str.starts_with("OVER")).then(pl.lit("up")).otherwise(pl.lit("down")),
            statistic=pl.when(alarm).then(ALARMS).otherwise(WARNS),
            family=pl.lit("limit"),
            kind="code",
            severity=pl.when(alarm).then(pl.lit("critical")).otherwise(pl.lit("warning")),
            started_at="started_at",
            raised_at=pl.max_horizontal("detected_at", start_of("date")),
            value="extreme",
            z=pl.lit(None, pl.Float64),
            peers=pl.lit(None, pl.Int64),
        )
    )


def ageing_signals(degradation: pl.DataFrame) -> pl.DataFrame:
    """Knees of the capacity's trend, each on the day on which it was told.

    Args:
        degradation: `Degradation` rows.

    Returns:
        `AnomalySignal` rows of family ``capacity`` by battery and day.
    """
    knees = degradation.drop_nulls("knee_detected_on").sort(*BATTERY, "as_of")
    return in_order(
        knees.unique([*BATTERY, "knee_detected_on"], keep="first", maintain_order=True).select(
            *BATTERY,
            pl.lit(AGEING).alias("lane"),
            date="knee_detected_on",
            feature=pl.lit("knee"),
            direction=pl.lit("down"),
            statistic=pl.lit(1.0),
            family=pl.lit("capacity"),
            kind=pl.lit("knee"),
            severity=pl.lit("warning"),
            started_at=start_of("knee_date"),
            raised_at=start_of("knee_detected_on") + pl.duration(days=1),
            value="degradation_percent_per_year",
            z=pl.lit(None, pl.Float64),
            peers=pl.lit(None, pl.Int64),
        )
    )


def in_order(rows: pl.DataFrame) -> pl.DataFrame:
    """Signals of batteries as a whole, in order."""
    return rows.with_columns(_WHOLE).select(_SIGNAL).sort(*BATTERY_DAY, "lane", "feature", "direction")


def start_of(name: str) -> pl.Expr:
    """The first instant of a day."""
    return pl.col(name).cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
