"""Rainflow cycles of the state of charge, the same under any cut of the history."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl
from numba import njit

from bess_pipeline.tables.cycles import Cycle

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

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
        `Cycle` rows, sorted by fleet, battery and start. What is not closed yet counts half.

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
        .sort("fleet_id", "battery_id", "started_at", "ended_at")
        .select(Cycle.column_names())
    )


def _in_order(soc: pl.DataFrame) -> pl.DataFrame:
    return (
        soc.select("fleet_id", "battery_id", "timestamp", "soc_percent")
        .drop_nulls("soc_percent")
        .sort("fleet_id", "battery_id", "timestamp")
    )


def _series(rows: pl.DataFrame) -> Ints:
    numbers: Ints = rows.select(pl.struct("fleet_id", "battery_id").rle_id().cast(pl.Int64)).to_series().to_numpy()
    return numbers
