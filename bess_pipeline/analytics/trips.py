"""Trips: out of a battery and back in, between two instants of equal charge."""

from __future__ import annotations

import numpy as np
import polars as pl
from numba import njit

from bess_pipeline.analytics.traces import numbered
from bess_pipeline.arrays import Floats, Ints
from bess_pipeline.tables.keys import BATTERY
from bess_pipeline.units import US_PER_DAY

#: Least depth of a trip [%], and how long a battery may take to come back [days].
LEAST_DEPTH_PERCENT, LONGEST_DAYS = 10.0, 3.0
#: A battery turns when it has fallen by so much from its highest charge since its lowest [%].
_TURN_PERCENT = 1.0

_US_PER_WEEK = 7 * US_PER_DAY
_VALUES = ("soc", "soc_next", "into", "out", "charged", "discharged")


def trips(rows: pl.DataFrame) -> pl.DataFrame:
    """Find the trips of each battery: from a charge down, and up again to that charge.

    From a summit of the charge on, a trip closes when the charge is back there, or
    turns down again below it, by a point: then it goes from where the charge fell
    through that lower level. It needs 10 points of depth. After a trip, after three
    days, with each week (of seven days since 1970) and at a row that does not count the search
    begins anew: trips never overlap.
    The rows in which they begin and end count as far as they belong to them.

    Args:
        rows: Columns fleet_id, battery_id, timestamp, and of each row `soc`, `soc_next` (at its start and end [%]),
            `into`, `out` [Wh], `charged`, `discharged` [Ah, may be null]; any order.

    Returns:
        Columns fleet_id, battery_id, started_at, ended_at (start of its last row), depth_percent, and the same four
        amounts, sorted by battery and start.
    """
    ordered = rows.select(*BATTERY, "timestamp", *_VALUES).sort(*BATTERY, "timestamp")
    series = numbered(ordered)
    found = _trips(
        series,
        ordered["timestamp"].to_physical().to_numpy(),
        # Of a single row columns lie as rows do, and code would be compiled for that, too.
        np.ascontiguousarray(ordered.select(pl.col(_VALUES).fill_null(np.nan)).to_numpy()),
    )
    first, last = found[:, 0].astype(np.int64).tolist(), found[:, 1].astype(np.int64).tolist()
    names = ("depth_percent", *_VALUES[2:])
    begun: pl.DataFrame = ordered.select(*BATTERY, started_at="timestamp")[first]
    return begun.with_columns(
        ordered["timestamp"][last].alias("ended_at"),
        *(pl.Series(name, found[:, at], dtype=pl.Float64).fill_nan(None) for at, name in enumerate(names, start=2)),
    )


@njit(cache=True)
def _trips(series: Ints, time: Ints, rows: Floats) -> Floats:
    """Rows of first row, last row, depth, and the amounts; rows of a series are in order of time."""
    out = np.empty((len(time), 7))
    found = 0
    start, top = -1, -1
    low = high = 0.0
    k = 0
    while k < len(time):
        soc, ahead = rows[k, 0], rows[k, 1]
        counts = not np.isnan(soc + ahead + rows[k, 2] + rows[k, 3])
        if start >= 0 and (
            series[k] != series[start]
            or time[k] - time[start] > LONGEST_DAYS * US_PER_DAY
            or time[k] // _US_PER_WEEK != time[start] // _US_PER_WEEK
        ):
            start = -1
        if not counts:
            start = -1
            k += 1
            continue
        if start < 0:
            start, top, low, high = k, k, soc, soc
        if ahead <= high - _TURN_PERCENT and high - low >= LEAST_DEPTH_PERCENT:
            _close(rows, start, top, high, low, out[found])
            found += 1
            start, k = -1, top + 1
            continue
        if ahead < low:
            top, low, high = k, ahead, ahead
        elif ahead > high:
            top, high = k, ahead
        if ahead >= rows[start, 0]:
            if rows[start, 0] - low >= LEAST_DEPTH_PERCENT:
                _close(rows, start, k, rows[start, 0], low, out[found])
                found += 1
            start = -1
        k += 1
    return out[:found]


@njit(cache=True)
def _close(rows: Floats, start: int, top: int, level: float, low: float, out: Floats) -> None:
    """Fill in the trip from where the charge first falls below a level to where row ``top`` has it back there."""
    first = start
    while rows[first, 1] >= level:
        first += 1
    out[0], out[1], out[2], out[3:] = first, top, level - low, 0.0
    for k in range(first, top + 1):
        share = 1.0
        if k == first and rows[k, 0] > level:
            share = (level - rows[k, 1]) / (rows[k, 0] - rows[k, 1])
        if k == top and rows[k, 1] > level:
            share = (level - rows[k, 0]) / (rows[k, 1] - rows[k, 0])
        out[3:] += share * rows[k, 2:]
