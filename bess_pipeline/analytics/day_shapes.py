"""Day shapes: the lane that asks whether a day ran as any of the battery's days before."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import polars as pl
from numba import njit

from bess_pipeline.analytics.feature_evidence import PEERS
from bess_pipeline.analytics.lanes import SHAPES
from bess_pipeline.analytics.traces import floats, numbered
from bess_pipeline.arrays import Floats, Ints
from bess_pipeline.tables.anomalies import AnomalySignal
from bess_pipeline.tables.keys import BATTERY, BATTERY_DAY

#: Days among which the nearest is looked for: how long ago at least and at most, and how many there have to be.
RECENT, OLDEST, FEWEST = timedelta(days=8), timedelta(days=97), 20
#: Over which past distances are usual, up to a week ago; how many there have to be; how far back it may be looked up.
PAST, SINCE, FEWEST_PAST, _TOLERANCE = timedelta(days=60), timedelta(days=7), 20, timedelta(days=7)
#: Days whose median stands for a day: a shape that is odd once is somebody's dispatch.
LATELY = timedelta(days=3)
#: Days before a day on which its signals rest.
BEFORE = OLDEST + PAST + SINCE + _TOLERANCE + LATELY
#: Intervals of 5 minutes that an hour needs, and hours that two days have to share.
KNOWN, SHARED = 4, 18
#: Distance over the usual one at which an alarm begins: 0.25 false alarms a battery-year of development fleets.
LEVEL = 1.36
#: How much of an alarm is told.
LEAST = 0.9

_HOURS = 24


@dataclass(frozen=True)
class Course:
    """What runs through a day.

    Attributes:
        column: Column of the hours.
        family: Part of the system.
        kind: What another course looks like.
    """

    column: str
    family: str
    kind: str


COURSES: tuple[Course, ...] = (
    Course("hot_spot_kelvin", "thermal", "hot_spot_at_other_hours"),
    Course("temperature_celsius", "thermal", "warm_at_other_hours"),
    Course("cell_below_volt", "cell", "low_cell_at_other_hours"),
)


def shape_signals(hours: pl.DataFrame) -> pl.DataFrame:
    """Days whose course is like that of no day before.

    A day is 24 hourly values less their mean. Its distance to the nearest of the battery's days 8 to 97
    days before (root of the mean square over the hours that both know) is the left matrix profile of whole days. It is
    held against the median of these distances over the 60 days up to a week ago, less what the fleet's median day
    shows, where there are five batteries; the median of three days counts.

    Args:
        hours: `HourlyEvidence` rows.

    Returns:
        `AnomalySignal` rows by battery, day and course, the statistic over that of an alarm.

    References:
        C.-C. M. Yeh et al., Matrix profile I, ICDM 2016, doi:10.1109/ICDM.2016.0179.
    """
    known = hours.filter(pl.col("intervals") >= KNOWN).sort(*BATTERY, "timestamp")
    days = known.select(BATTERY_DAY).unique(maintain_order=True)
    place = (numbered(known, BATTERY_DAY), known["timestamp"].dt.hour().to_numpy())
    told = []
    for course in COURSES:
        values = np.full((days.height, _HOURS), np.nan)
        values[place] = floats(known[course.column])
        told.append(_told(days, values, course))
    until = hours.group_by(BATTERY_DAY).agg(pl.col("observed_until").max())
    start = pl.col("date").cast(pl.Datetime("us")).dt.replace_time_zone("UTC") - LATELY + timedelta(days=1)
    return (
        pl.concat(told)
        .filter(pl.col("statistic") >= LEAST)
        .join(until, on=BATTERY_DAY, how="left")
        .with_columns(
            lane=pl.lit(SHAPES),
            component=pl.lit(""),
            direction=pl.lit("up"),
            severity=pl.lit("warning"),
            started_at=start,
            raised_at=pl.when(pl.col("statistic") >= 1.0).then("observed_until"),
            z=pl.lit(None, pl.Float64),
            peers=pl.lit(None, pl.Int64),
        )
        .select(AnomalySignal.column_names())
        .sort(*BATTERY_DAY, "feature")
    )


def _told(days: pl.DataFrame, values: Floats, course: Course) -> pl.DataFrame:
    """Distance of each day, and how unusual that is.

    Args:
        days: Days of each battery, in order.
        values: Of each its hours, NaN where unknown: shape (days, hours).
        course: What they are of.
    """
    distances = nearest_distances(
        numbered(days),
        days["date"].to_physical().cast(pl.Int64).to_numpy(),
        values,
        np.array([RECENT.days, OLDEST.days, FEWEST, SHARED], np.int64),
    )
    rows = days.select(BATTERY_DAY).with_columns(value=pl.Series(distances).fill_nan(None)).drop_nulls("value")
    usual = pl.col("value").rolling_median_by("date", PAST, min_samples=FEWEST_PAST).over(BATTERY)
    past = rows.select(*BATTERY, pl.col("date") + SINCE, usual=usual).drop_nulls("usual").sort("date")
    ratio = pl.col("value") / pl.col("usual")
    shared = pl.when(pl.len().over("fleet_id", "date") >= PEERS).then(pl.col("ratio").median().over("fleet_id", "date"))
    return (
        rows.sort("date")
        .join_asof(past, on="date", by=list(BATTERY), tolerance=_TOLERANCE, check_sortedness=False)
        .filter(pl.col("usual") > 0)
        .with_columns(ratio=ratio)
        .with_columns(pl.col("ratio") / shared.fill_null(1.0).clip(lower_bound=1.0))
        .sort(BATTERY_DAY)
        .with_columns(statistic=pl.col("ratio").rolling_median_by("date", LATELY).over(BATTERY) / LEVEL)
        .select(
            *BATTERY_DAY,
            "value",
            "statistic",
            pl.lit(course.column).alias("feature"),
            pl.lit(course.family).alias("family"),
            pl.lit(course.kind).alias("kind"),
        )
    )


@njit(cache=True)
def nearest_distances(series: Ints, day: Ints, values: Floats, window: Ints) -> Floats:
    """Distance of each row to the nearest of its series in a window of days before it.

    Args:
        series: Number of the series of each row; rows of one are together, in order of days.
        day: Day of each row.
        values: Its values, NaN where unknown: shape (rows, hours).
        window: Least and largest age of the others [days], how many of them there have to be, how many hours both
            have to know.

    Returns:
        Root of the mean square of what is left when each row's mean over the shared hours is taken off; NaN where
        there are too few.
    """
    youngest, oldest, fewest, shared = window
    out = np.full(len(day), np.nan)
    for i in range(len(day)):
        best, found = np.inf, 0
        j = i - 1
        while j >= 0 and series[j] == series[i] and day[i] - day[j] <= oldest:
            if day[i] - day[j] >= youngest:
                total, squares, count = 0.0, 0.0, 0
                for hour in range(values.shape[1]):
                    apart = values[i, hour] - values[j, hour]
                    if not np.isnan(apart):
                        total += apart
                        squares += apart * apart
                        count += 1
                if count >= shared:
                    found += 1
                    best = min(best, max(squares / count - (total / count) ** 2, 0.0))
            j -= 1
        if found >= fewest:
            out[i] = np.sqrt(best)
    return out
