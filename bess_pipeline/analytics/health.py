"""State of health: capacity and resistance of each battery, day by day, with what they rest on."""

from __future__ import annotations

import numpy as np
import polars as pl
from numba import njit
from numpy.typing import NDArray

from bess_pipeline.analytics.anchors import charge_anchors
from bess_pipeline.analytics.capacity import GAIN_ERROR, capacity_observations
from bess_pipeline.analytics.resistance import normalized_resistance
from bess_pipeline.analytics.traces import Floats, Ints, floats
from bess_pipeline.tables.health import OBSERVABILITY, StateOfHealth

__all__ = ["capacity_observations", "charge_anchors", "state_of_health"]

_KEY = ["fleet_id", "battery_id"]
_US_PER_DAY = 86_400 * 1_000_000
_FULL, _WIDE, _NARROW = range(3)

#: Observations that an estimate rests on: the last ones, none older than the newest by more than this.
_WINDOW_DAYS, _WINDOW_OBSERVATIONS = 90.0, 40
#: How fast capacity may change unseen, as one standard error: per day, and per equivalent full cycle [of rated].
_CHANGE_PER_DAY, _CHANGE_PER_CYCLE = 1e-4, 3e-4
#: What is believed of the slope before seeing it: no more than the fastest cells of the NASA ageing set lose.
_SLOPE_PER_CYCLE = 1.5e-3
#: Where Huber's loss turns from square to linear [standard errors].
_HUBER, _ITERATIONS = 1.345, 12
#: Share of an observation's variance that all observations of a battery have in common: curve, sensors.
_COMMON_SHARE = 0.5
#: Neighbouring observations share an anchor, so that n of them count for n / 2.
_CORRELATION = 2.0
#: Weight, in observations, of the belief that their stated errors are right.
_BELIEF = 4.0
_NORMAL_90 = 1.6448536269514722
_WIDE_PERCENT = 60.0
_METHOD = "anchors"


def state_of_health(observations: pl.DataFrame, intervals: pl.DataFrame, batteries: pl.DataFrame) -> pl.DataFrame:
    """Estimate capacity and resistance at the end of each day, from data up to then.

    Capacity is the level, at the newest observation, of a robust straight line
    through the last 40 observations of 90 days: Huber's loss, weights by each
    observation's error, and a slope that is believed to be 0 ± (1e-4 per day + 1.5e-3
    per equivalent full cycle). The interval (90 %) adds to the error of that level,
    as scattered as the observations are: half of an observation's variance, which
    open-circuit curve and sensors put into all of them alike; the gain error of 0.4 %;
    and what may have changed since the newest observation (1e-4 per day + 3e-4 per
    cycle).

    Observability: `full` when in most of the last three 30-day windows an
    observation began or ended at full charge; `wide` when one spanned 60 points in
    90 days; else `narrow`. The usable capacity needs cell estimates and stays unknown.

    Args:
        observations: `CapacityObservation` rows.
        intervals: `Interval5min` rows with midnights closed.
        batteries: `Battery` rows.

    Returns:
        `StateOfHealth` rows: one per day from a battery's first observation to the last day of the fleet's
        data. A battery without any observation has none.

    References:
        P. J. Huber (1964), Ann. Math. Statist. 35, 73, doi:10.1214/aoms/1177703732. Slopes of field systems:
        J. Figgener et al. (2024), Nature Energy 9, 1438, doi:10.1038/s41560-024-01620-9.
    """
    plates = batteries.sort(_KEY).with_row_index("battery_index")
    found = (
        observations.join(plates.select(*_KEY, "battery_index", "rated_capacity_ah"), on=_KEY, how="inner")
        .with_columns(date=pl.col("ended_at").dt.date())
        .sort("battery_index", "ended_at", "started_at")
    )
    days = _days(found, intervals)
    counted = _cycles_so_far(days, intervals, batteries)
    estimates = _estimates(
        found["battery_index"].to_numpy().astype(np.int64),
        found["ended_at"].dt.epoch("us").to_numpy().astype(np.int64),
        np.stack(
            [
                floats(found["capacity_ah"] / found["rated_capacity_ah"]),
                floats(found["capacity_sigma_ah"] / found["rated_capacity_ah"]),
                floats(found["soc_change_percent"]),
            ],
            axis=1,
        ),
        found["method"].str.contains("full").to_numpy().astype(np.bool_),
        days["battery_index"].to_numpy().astype(np.int64),
        days["date"].to_physical().to_numpy().astype(np.int64),
        counted,
    )
    level, sigma = pl.Series(estimates[:, 0]), pl.Series(estimates[:, 1])
    words = np.array(OBSERVABILITY, dtype=object)[estimates[:, 3].astype(np.int64)]
    return (
        days.join(plates.select(*_KEY, "rated_capacity_ah"), on=_KEY, how="left", maintain_order="left")
        .select(
            *_KEY,
            "date",
            capacity_ah=level * pl.col("rated_capacity_ah"),
            soh_percent=100 * level,
            soh_lower_percent=100 * (level - _NORMAL_90 * sigma),
            soh_upper_percent=100 * (level + _NORMAL_90 * sigma),
            soh_usable_percent=pl.lit(None, pl.Float64),
            observability=pl.Series(words, dtype=pl.String),
            observations=pl.Series(estimates[:, 2]).cast(pl.Int64),
            method=pl.lit(_METHOD),
        )
        .join(normalized_resistance(intervals, days), on=[*_KEY, "date"], how="left")
        .select(list(StateOfHealth.columns()))
        .sort(*_KEY, "date")
        .pipe(StateOfHealth.validate)
    )


def _days(found: pl.DataFrame, intervals: pl.DataFrame) -> pl.DataFrame:
    """Battery-days from each battery's first observation to the last day of the fleet's data."""
    last = intervals.group_by("fleet_id").agg(last=pl.col("date").max())
    return (
        found.group_by(*_KEY, "battery_index")
        .agg(first=pl.col("date").min())
        .join(last, on="fleet_id")
        .with_columns(date=pl.date_ranges("first", pl.max_horizontal("first", "last")))
        .explode("date")
        .select(*_KEY, "battery_index", "date")
        .sort("battery_index", "date")
    )


def _cycles_so_far(days: pl.DataFrame, intervals: pl.DataFrame, batteries: pl.DataFrame) -> Floats:
    """Equivalent full cycles of the battery up to the end of each of the days, from when the days begin."""
    moved = pl.col("charging_capacity_ah").fill_null(0) + pl.col("discharging_capacity_ah").fill_null(0)
    throughput = (
        intervals.sort(*_KEY, "timestamp").group_by(*_KEY, "date", maintain_order=True).agg(moved_ah=moved.sum())
    )
    rated = batteries.select(*_KEY, "rated_capacity_ah")
    return floats(
        days.join(throughput, on=[*_KEY, "date"], how="left", maintain_order="left")
        .join(rated, on=_KEY, how="left", maintain_order="left")
        .select((pl.col("moved_ah").fill_null(0) / (2 * pl.col("rated_capacity_ah"))).cum_sum().over(_KEY))
        .to_series()
    )


@njit(cache=True)
def _estimates(
    battery: Ints,
    ended_us: Ints,
    observed: Floats,
    full: NDArray[np.bool_],
    day_battery: Ints,
    day: Ints,
    cycles: Floats,
) -> Floats:
    """Level, error, count and observability at the end of each battery-day."""
    out = np.empty((len(day), 4))
    value, sigma, change = observed[:, 0].copy(), observed[:, 1].copy(), observed[:, 2].copy()
    begin = end = 0
    first_day = 0
    for k in range(len(day)):
        b = day_battery[k]
        if k == 0 or day_battery[k - 1] != b:
            while end < len(battery) and battery[end] != b:
                end += 1
            begin = end
            first_day = k
        closes = (day[k] + 1) * _US_PER_DAY
        while end < len(battery) and battery[end] == b and ended_us[end] < closes:
            end += 1
        newest = ended_us[end - 1]
        low = end - 1
        while (
            low > begin
            and end - low < _WINDOW_OBSERVATIONS
            and newest - ended_us[low - 1] <= _WINDOW_DAYS * _US_PER_DAY
        ):
            low -= 1
        at = first_day + newest // _US_PER_DAY - day[first_day]
        since = max(at - int(_WINDOW_DAYS), first_day)
        per_day = (cycles[at] - cycles[since]) / max(at - since, 1)
        age = (ended_us[low:end] - newest) / _US_PER_DAY
        believed = _CHANGE_PER_DAY + _SLOPE_PER_CYCLE * per_day
        level, variance = _level(age, value[low:end], sigma[low:end], believed)
        common = _COMMON_SHARE * max(np.median(sigma[low:end]) ** 2 - GAIN_ERROR**2, 0.0) + GAIN_ERROR**2
        drift = _CHANGE_PER_DAY * (closes - newest) / _US_PER_DAY + _CHANGE_PER_CYCLE * (cycles[k] - cycles[at])
        out[k, 0] = level
        out[k, 1] = np.sqrt(variance + common + drift**2)
        out[k, 2] = end - low
        out[k, 3] = _observability(ended_us, change, full, begin, end, closes)
    return out


@njit(cache=True)
def _level(age: Floats, value: Floats, sigma: Floats, drift: float) -> tuple[float, float]:
    """Level at age 0 of a robust line with a slope of 0 ± drift, and its variance."""
    level, slope, scale = float(np.median(value)), 0.0, 1.0
    variance = 0.0
    n = len(value)
    for _ in range(_ITERATIONS):
        a00 = a01 = r0 = r1 = 0.0
        a11 = 1 / drift**2
        for i in range(n):
            error = sigma[i] * scale
            off = abs(value[i] - level - slope * age[i]) / error
            weight = min(1.0, _HUBER / max(off, 1e-12)) / error**2 / min(_CORRELATION, n)
            a00 += weight
            a01 += weight * age[i]
            a11 += weight * age[i] ** 2
            r0 += weight * value[i]
            r1 += weight * age[i] * value[i]
        determinant = a00 * a11 - a01 * a01
        level, slope = (a11 * r0 - a01 * r1) / determinant, (a00 * r1 - a01 * r0) / determinant
        variance = a11 / determinant
        spread = 1.4826 * np.median(np.abs(value - level - slope * age) / sigma)
        scale = np.sqrt((_BELIEF + n * spread**2) / (_BELIEF + n))
    return level, variance


@njit(cache=True)
def _observability(ended_us: Ints, change: Floats, full: NDArray[np.bool_], begin: int, end: int, closes: int) -> int:
    window = 30 * _US_PER_DAY
    known = min((closes - ended_us[begin]) // window + 1, 3)
    reached = np.zeros(3, np.bool_)
    widest = 0.0
    for i in range(end - 1, begin - 1, -1):
        which = (closes - 1 - ended_us[i]) // window
        if which >= 3:
            break
        reached[which] |= full[i]
        widest = max(widest, abs(change[i]))
    if 2 * reached.sum() > known:
        return _FULL
    return _WIDE if widest >= _WIDE_PERCENT else _NARROW
