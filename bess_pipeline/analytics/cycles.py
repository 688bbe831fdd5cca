"""Rainflow cycles of the state of charge, the same under any cut of the history."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl
from numba import njit

from bess_pipeline.tables.cycles import Cycle, CycleHistogram

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_KEY = ["fleet_id", "battery_id"]

#: Widths of the bins of a histogram: depth and middle of the cycles [percent].
DEPTH_BIN_PERCENT, MEAN_SOC_BIN_PERCENT = 5.0, 10.0

#: Ranges below this are noise of the estimate rather than use of the battery [percent].
SMALLEST_PERCENT = 0.5


@njit(cache=True)
def _turning(series: Ints, value: Floats) -> npt.NDArray[np.bool_]:
    """First, reversals and last of each series; of equal neighbours the first stands for all."""
    n = len(value)
    keep = np.zeros(n, dtype=np.bool_)
    i = 0
    while i < n:
        end = i
        while end < n and series[end] == series[i]:
            end += 1
        keep[i] = True
        candidate, direction = i, 0
        for j in range(i + 1, end):
            if value[j] == value[candidate]:
                continue
            step = 1 if value[j] > value[candidate] else -1
            if direction == -step:
                keep[candidate] = True
            direction, candidate = step, j
        keep[candidate] = True
        i = end
    return keep


@njit(cache=True)
def _counted(series: Ints, value: Floats) -> tuple[Ints, Ints, Floats]:
    """ASTM E1049-85, 5.4.4: pairs of turning points that span a cycle, and whether it is whole or half."""
    n = len(value)
    first, second, count = np.empty(2 * n, np.int64), np.empty(2 * n, np.int64), np.empty(2 * n, np.float64)
    found = 0
    stack = np.empty(n, np.int64)
    i = 0
    while i < n:
        end = i
        while end < n and series[end] == series[i]:
            end += 1
        top = 0
        for j in range(i, end):
            stack[top] = j
            top += 1
            while top >= 3:
                newest = abs(value[stack[top - 1]] - value[stack[top - 2]])
                before = abs(value[stack[top - 2]] - value[stack[top - 3]])
                if newest < before:
                    break
                first[found], second[found] = stack[top - 3], stack[top - 2]
                if top == 3:
                    count[found] = 0.5
                    stack[0], stack[1] = stack[1], stack[2]
                    top = 2
                else:
                    count[found] = 1.0
                    stack[top - 3] = stack[top - 1]
                    top -= 2
                found += 1
        for k in range(top - 1):
            first[found], second[found], count[found] = stack[k], stack[k + 1], 0.5
            found += 1
        i = end
    return first[:found], second[:found], count[:found]


def turning_points(soc: pl.DataFrame) -> pl.DataFrame:
    """The first, the reversals and the last of each battery's state of charge.

    Turning points of parts, put one after another, have the turning points of the whole.

    Args:
        soc: Columns fleet_id, battery_id, timestamp, soc_percent; unknown values are passed over.

    Returns:
        Those rows of ``soc`` that are turning points, sorted by fleet, battery and instant.
    """
    known = _in_order(soc)
    return known.filter(_turning(_series(known), known["soc_percent"].to_numpy()))


def cycles(soc: pl.DataFrame, *, smallest_percent: float = SMALLEST_PERCENT) -> pl.DataFrame:
    """Count the rainflow cycles of each battery's state of charge.

    Every cycle is counted first and those below ``smallest_percent`` are left out
    afterwards, so that leaving out changes no other cycle.

    Args:
        soc: Columns fleet_id, battery_id, timestamp, soc_percent over the whole history, or its turning points.
        smallest_percent: Least range of a cycle that is told [percent].

    Returns:
        `Cycle` rows, sorted by fleet, battery and start. What is not closed yet counts half. Temperature and C-rate
        are null: see `with_loads`.

    References:
        ASTM E1049-85 (2017), Standard Practices for Cycle Counting in Fatigue Analysis, section 5.4.4.

    Examples:
        >>> from datetime import datetime, timedelta, UTC
        >>> points = [-2.0, 1, -3, 5, -1, 3, -4, 4, -2]
        >>> soc = pl.DataFrame({
        ...     "fleet_id": "f", "battery_id": "b",
        ...     "timestamp": [datetime(2026, 1, 1, hour, tzinfo=UTC) for hour in range(len(points))],
        ...     "soc_percent": points,
        ... }).with_columns(pl.col("timestamp").dt.cast_time_unit("us"))
        >>> found = cycles(soc).group_by("depth_percent").agg(pl.col("count").sum()).sort("depth_percent")
        >>> found.rows()
        [(3.0, 0.5), (4.0, 1.5), (6.0, 0.5), (8.0, 1.0), (9.0, 0.5)]
    """
    points = turning_points(soc)
    value = points["soc_percent"].to_numpy()
    first, second, count = _counted(_series(points), value)
    return (
        pl.DataFrame(
            {
                "fleet_id": points["fleet_id"][first.tolist()],
                "battery_id": points["battery_id"][first.tolist()],
                "started_at": points["timestamp"][first.tolist()],
                "ended_at": points["timestamp"][second.tolist()],
                "depth_percent": np.abs(value[first] - value[second]),
                "mean_soc_percent": (value[first] + value[second]) / 2,
                "count": count,
            },
        )
        .filter(pl.col("depth_percent") >= smallest_percent)
        .with_columns(pl.lit(None, pl.Float64).alias(name) for name in _LOADS)
        .sort("fleet_id", "battery_id", "started_at", "ended_at")
        .select(Cycle.column_names())
    )


def with_loads(found: pl.DataFrame, telemetry: pl.DataFrame, batteries: pl.DataFrame) -> pl.DataFrame:
    """Add what each cycle asked of the battery: mean temperature, mean and largest C-rate.

    They are those of the 5-minute rows that begin from the first of the two turning
    points on and before the second. A closed cycle is there and back; its span is the
    way there, as rainflow counting knows no way back of its own.

    Args:
        found: `Cycle` rows.
        telemetry: `Telemetry5min` rows of the same batteries, any order.
        batteries: `Battery` rows.

    Returns:
        The same rows; null where nothing is known of a cycle's span, sorted.
    """
    plates = batteries.select(*_KEY, "rated_capacity_ah").sort(_KEY).with_row_index("series")
    rate = pl.col("current_ampere").abs() / pl.col("rated_capacity_ah")
    rows = (
        telemetry.select(*_KEY, "timestamp", "temperature_celsius", "current_ampere")
        .join(plates, on=_KEY, how="inner")
        .sort(*_KEY, "timestamp")
        .with_columns(rate=rate)
    )
    spans = found.sort(*_KEY, "started_at", "ended_at").join(plates, on=_KEY, how="left", maintain_order="left")
    offsets = np.searchsorted(rows["series"].to_numpy(), np.arange(plates.height + 1)).astype(np.int64)
    loads = _loads(
        spans["series"].cast(pl.Int64).fill_null(-1).to_numpy(),
        spans["started_at"].to_physical().to_numpy(),
        spans["ended_at"].to_physical().to_numpy(),
        offsets,
        rows["timestamp"].to_physical().to_numpy(),
        rows["temperature_celsius"].fill_null(np.nan).to_numpy(),
        rows["rate"].fill_null(np.nan).to_numpy(),
    )
    return (
        spans.with_columns(pl.Series(name, loads[:, at]).fill_nan(None) for at, name in enumerate(_LOADS))
        .select(Cycle.column_names())
        .pipe(Cycle.validate)
    )


def cycle_histogram(found: pl.DataFrame) -> pl.DataFrame:
    """Count cycles by the day in which they ended, their depth and their middle.

    Args:
        found: `Cycle` rows.

    Returns:
        `CycleHistogram` rows, sorted; bins without a cycle have none. A half cycle that is closed later
        becomes a whole one, so that days are final only once all cycles that began before have closed.
    """

    def lower(column: str, width: float) -> pl.Expr:
        return (pl.col(column) / width).floor() * width

    depth, middle = "depth_lower_percent", "mean_soc_lower_percent"
    bins = [*_KEY, "date", depth, middle]
    return (
        found.with_columns(
            lower("depth_percent", DEPTH_BIN_PERCENT).alias(depth),
            lower("mean_soc_percent", MEAN_SOC_BIN_PERCENT).alias(middle),
            date=pl.col("ended_at").dt.date(),
        )
        .group_by(bins)
        .agg(pl.col("count").sum())
        .with_columns(
            depth_upper_percent=pl.col(depth) + DEPTH_BIN_PERCENT,
            mean_soc_upper_percent=pl.col(middle) + MEAN_SOC_BIN_PERCENT,
        )
        .select(CycleHistogram.column_names())
        .sort(bins)
        .pipe(CycleHistogram.validate)
    )


_LOADS = ("temperature_mean_celsius", "c_rate_mean", "c_rate_max")


@njit(cache=True)
def _loads(
    series: Ints, started: Ints, ended: Ints, offsets: Ints, time: Ints, celsius: Floats, rate: Floats
) -> Floats:
    """Mean of ``celsius``, mean and largest of ``rate`` over each span's own rows; NaN where none is known."""
    out = np.full((len(started), 3), np.nan)
    for k in range(len(started)):
        if series[k] < 0:
            continue
        begin, end = offsets[series[k]], offsets[series[k] + 1]
        first = begin + np.searchsorted(time[begin:end], started[k])
        last = begin + np.searchsorted(time[begin:end], ended[k])
        warmth = rates = largest = 0.0
        warm = rated = 0
        for i in range(first, last):
            if not np.isnan(celsius[i]):
                warmth += celsius[i]
                warm += 1
            if not np.isnan(rate[i]):
                rates += rate[i]
                largest = max(largest, rate[i])
                rated += 1
        if warm:
            out[k, 0] = warmth / warm
        if rated:
            out[k, 1], out[k, 2] = rates / rated, largest
    return out


def _in_order(soc: pl.DataFrame) -> pl.DataFrame:
    return (
        soc.select("fleet_id", "battery_id", "timestamp", "soc_percent")
        .drop_nulls("soc_percent")
        .sort("fleet_id", "battery_id", "timestamp")
    )


def _series(rows: pl.DataFrame) -> Ints:
    numbers: Ints = rows.select(pl.struct("fleet_id", "battery_id").rle_id().cast(pl.Int64)).to_series().to_numpy()
    return numbers
