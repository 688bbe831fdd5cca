"""Lanes: the ways in which a battery is watched, and the one scale on which they say how unusual a day was."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import polars as pl

from bess_pipeline.arrays import Floats
from bess_pipeline.tables.keys import BATTERY_DAY

STATISTICS, THRESHOLDS, DATA_CHECKS = "statistics", "thresholds", "data_checks"
MODELS, FOREST, SHAPES = "models", "isolation_forest", "shapes"
SAFETY, CELLS, AGEING = "safety", "cells", "ageing"

#: What a limit episode of a warning and of an alarm gathers.
WARNS, ALARMS = 1.0, 2.0


@dataclass(frozen=True)
class Lane:
    """One way of watching.

    Attributes:
        name: Name in the tables.
        about: What it does.
        scale: Statistics, ascending, and the share of healthy battery-days on which the lane gathers that much or more.
        is_on: Whether its alarms become events. A lane that finds less than one without effort at the same
            false alarms only writes scores.
    """

    name: str
    about: str
    scale: tuple[tuple[float, float], ...]
    is_on: bool = True


#: The scales are shares of 67,825 healthy battery-days of fleets of two simulators, see docs/methods/anomalies.md;
#: lanes that neither can raise, for want of cells or of knees in healthy batteries, have those of their design.
LANES: tuple[Lane, ...] = (
    Lane(
        STATISTICS,
        "two-sided CUSUM of each feature, beside the peers and against the battery's own past",
        ((3.0, 0.019), (10.0, 4e-3), (20.0, 2.7e-3)),
    ),
    Lane(MODELS, "fortnights that principal components do not reconstruct", ((0.5, 0.014), (1.0, 4.5e-3), (4.0, 4e-4))),
    Lane(
        FOREST,
        "fortnights that an isolation forest parts from the others soon",
        ((0.75, 0.14), (1.0, 5e-4)),
        is_on=False,
    ),
    Lane(SHAPES, "days that run like none before", ((0.9, 7e-3), (1.0, 1.4e-3), (1.25, 3e-4)), is_on=False),
    Lane(SAFETY, "hour by hour: the lowest cell and the hottest probe", ((0.5, 1.2e-4), (1.0, 6e-5))),
    Lane(CELLS, "each cell and probe against the others of its pack", ((0.5, 1e-2), (1.0, 1e-3))),
    Lane(AGEING, "knees of the capacity's trend", ((1.0, 1e-4),)),
    Lane(THRESHOLDS, "limits of the nameplate", ((WARNS, 0.025), (ALARMS, 9e-3))),
    Lane(DATA_CHECKS, "data that cannot be the battery's", ((1.0, 0.022), (20.0, 8e-3))),
)
LANE_BY_NAME: dict[str, Lane] = {lane.name: lane for lane in LANES}


def scores(lane: Lane, statistic: Floats) -> Floats:
    """The share of healthy battery-days that gather less.

    Between the points of the scale the logarithm of the share that gathers more is linear in
    the statistic, as the tail of a CUSUM is; before the first it falls from 1, beyond the last
    it goes on as before.

    Args:
        lane: The lane.
        statistic: What it gathered, at least 0.

    Returns:
        Scores from 0 to 1.

    References:
        D. Siegmund, Sequential Analysis, Springer 1985, doi:10.1007/978-1-4757-1862-1: the tail of
        the maximum of a random walk with drift is exponential.

    Examples:
        >>> lane = Lane("example", "", ((2.0, 0.1), (4.0, 0.01)))
        >>> scores(lane, np.array([0.0, 2.0, 3.0, 4.0, 6.0])).round(4)
        array([0.    , 0.9   , 0.9684, 0.99  , 0.999 ])
    """
    points = ((0.0, 1.0), *lane.scale)
    at = np.array([point for point, _ in points])
    log_share = np.array([math.log(share) for _, share in points])
    slope = (log_share[-1] - log_share[-2]) / (at[-1] - at[-2])
    inside = np.interp(statistic, at, log_share)
    beyond = log_share[-1] + slope * (statistic - at[-1])
    return np.asarray(0.0 - np.expm1(np.where(statistic > at[-1], beyond, inside)))


def with_scores(signals: pl.DataFrame) -> pl.DataFrame:
    """Signals with their `score`."""
    parts = [
        rows.with_columns(score=pl.Series(scores(LANE_BY_NAME[str(name)], rows["statistic"].to_numpy())))
        for (name,), rows in signals.partition_by("lane", as_dict=True, maintain_order=True).items()
    ]
    return pl.concat(parts) if parts else signals.with_columns(score=pl.lit(None, pl.Float64))


def anomaly_scores(signals: pl.DataFrame, features: pl.DataFrame) -> pl.DataFrame:
    """How unusual each day was, by lane: that of the most unusual thing that the lane saw, 0 where it saw nothing.

    What is harmless does not count, but for what the data checks saw.

    Args:
        signals: `AnomalySignal` rows.
        features: `DailyFeature` rows: their days, and those of signals, are the days with scores.

    Returns:
        `AnomalyScore` rows by battery, day and lane.
    """
    days = pl.concat([features.select(BATTERY_DAY), signals.select(BATTERY_DAY)]).unique()
    grid = days.join(pl.DataFrame({"detector": [lane.name for lane in LANES]}), how="cross")
    counts = (pl.col("severity") != "info") | (pl.col("lane") == DATA_CHECKS)
    most = with_scores(signals.filter(counts)).group_by(*BATTERY_DAY, detector="lane").agg(pl.col("score").max())
    return (
        grid.join(most, on=[*BATTERY_DAY, "detector"], how="left")
        .with_columns(pl.col("score").fill_null(0.0))
        .sort(*BATTERY_DAY, "detector")
    )
