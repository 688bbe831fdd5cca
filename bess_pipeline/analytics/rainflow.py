"""Rainflow counting row by row, compiled: what is carried on is the turning points that no cycle has closed yet."""

from __future__ import annotations

import numpy as np
from numba import njit

from bess_pipeline.arrays import Floats, Ints

#: Loads between two instants: sum and number of the known temperatures [°C], of the magnitudes of the current [C], and
#: the largest of these.
WARMTH, WARM, RATES, RATED, LARGEST = range(5)
LOADS = 5

#: A cycle: its two turning points as instant [µs] and value, whole or half, the row that made it certain [µs], loads.
STARTED, FIRST, ENDED, SECOND, COUNT, COUNTED = range(6)
CYCLE = 6 + LOADS

#: What is carried from row to row: whether there was any value, direction in which it goes, the latest extreme as
#: instant and value, loads up to it from the turning point before and after it, and the turning points that are open,
#: each with its instant, its value, and the loads since the one before.
BEGUN, DIRECTION, EXTREME_AT, EXTREME, TO_EXTREME = range(5)
AFTER = TO_EXTREME + LOADS
HEADER = AFTER + LOADS
POINT = 2 + LOADS


@njit(cache=True)
def nothing() -> Floats:
    """What is carried into the first row of a battery."""
    return np.zeros(HEADER)


@njit(cache=True)
def _add(into: Floats, more: Floats) -> None:
    """Loads of two spans that follow on another."""
    into[:LARGEST] += more[:LARGEST]
    into[LARGEST] = max(into[LARGEST], more[LARGEST])


@njit(cache=True)
def _tell(cycle: Floats, a: Floats, b: Floats, count: float, counted_us: float) -> None:
    """Fill in the cycle between two turning points."""
    cycle[STARTED], cycle[FIRST], cycle[ENDED], cycle[SECOND] = a[0], a[1], b[0], b[1]
    cycle[COUNT], cycle[COUNTED] = count, counted_us
    cycle[6:] = b[2:]


@njit(cache=True)
def _pushed(points: Floats, top: int, header: Floats, counted_us: float, cycles: Floats, found: int) -> tuple[int, int]:
    """Take the latest extreme as a turning point, and count what it closes; returns open points and cycles found.

    ASTM E1049-85, 5.4.4: a range that is not smaller than the one before it closes it, as a half cycle where it
    begins the series.
    """
    points[top, 0], points[top, 1] = header[EXTREME_AT], header[EXTREME]
    points[top, 2:] = header[TO_EXTREME:AFTER]
    top += 1
    while top >= 3:
        newest = abs(points[top - 1, 1] - points[top - 2, 1])
        before = abs(points[top - 2, 1] - points[top - 3, 1])
        if newest < before:
            break
        if top == 3:
            _tell(cycles[found], points[0], points[1], 0.5, counted_us)
            points[0], points[1] = points[1].copy(), points[2].copy()
            top = 2
        else:
            _tell(cycles[found], points[top - 3], points[top - 2], 1.0, counted_us)
            loads = points[top - 3, 2:].copy()
            _add(loads, points[top - 2, 2:])
            _add(loads, points[top - 1, 2:])
            points[top - 3] = points[top - 1].copy()
            points[top - 3, 2:] = loads
            top -= 2
        found += 1
    return top, found


@njit(cache=True)
def _packed(header: Floats, points: Floats, top: int) -> Floats:
    out = np.empty(HEADER + POINT * top)
    out[:HEADER] = header
    out[HEADER:] = points[:top].ravel()
    return out


@njit(cache=True)
def counted(  # type: ignore[no-untyped-def]  # noqa: ANN201
    time_us: Ints, value: Floats, celsius: Floats, rate: Floats, carried: Floats, keep_at: Ints
):
    """Count the cycles of one battery.

    Args:
        time_us: Instants of its rows, ascending [µs].
        value: What cycles; NaN is passed over.
        celsius: Temperature of each row [°C]; NaN where unknown.
        rate: Magnitude of the current of each row [C]; NaN where unknown.
        carried: What is carried into the first row.
        keep_at: Numbers of rows, ascending, after which it is asked what is carried on.

    Returns:
        The cycles, shape (cycles, CYCLE), those that are certain first, the others with NaN as COUNTED; and a list of
        what is carried on after each of the numbers of rows asked for.
    """
    n = len(time_us)
    header = carried[:HEADER].copy()
    top = (len(carried) - HEADER) // POINT
    points = np.empty((top + n + 2, POINT))
    points[:top] = carried[HEADER:].reshape(top, POINT)
    cycles = np.empty((2 * (top + n) + 4, CYCLE))
    kept = [header.copy() for _ in range(0)]
    found = next_kept = len(kept)  # of a literal 0 each function that it is handed to would be compiled once more
    load = np.empty(LOADS)
    for k in range(n + 1):
        while next_kept < len(keep_at) and keep_at[next_kept] == k:
            kept.append(_packed(header, points, top))
            next_kept += 1
        if k == n:
            break
        if not np.isnan(value[k]):
            top, found = _gone_on(header, points, top, float(time_us[k]), value[k], cycles, found)
        if header[BEGUN] > 0:
            load[WARM] = 0.0 if np.isnan(celsius[k]) else 1.0
            load[RATED] = 0.0 if np.isnan(rate[k]) else 1.0
            load[WARMTH] = celsius[k] if load[WARM] > 0 else 0.0
            load[RATES] = load[LARGEST] = rate[k] if load[RATED] > 0 else 0.0
            _add(header[AFTER:], load)
    if header[DIRECTION] != 0:
        top, found = _pushed(points, top, header, np.nan, cycles, found)
    for k in range(top - 1):
        _tell(cycles[found], points[k], points[k + 1], 0.5, np.nan)
        found += 1
    return cycles[:found], kept


@njit(cache=True)
def _gone_on(
    header: Floats, points: Floats, top: int, time_us: float, value: float, cycles: Floats, found: int
) -> tuple[int, int]:
    """Take the next known value; returns open points and cycles found."""
    if header[BEGUN] == 0:
        header[BEGUN], header[EXTREME_AT], header[EXTREME] = 1.0, time_us, value
        return _pushed(points, top, header, time_us, cycles, found)
    if value == header[EXTREME]:
        return top, found
    direction = 1.0 if value > header[EXTREME] else -1.0
    if header[DIRECTION] == -direction:
        top, found = _pushed(points, top, header, time_us, cycles, found)
        header[TO_EXTREME:AFTER] = 0.0
    _add(header[TO_EXTREME:AFTER], header[AFTER:HEADER])
    header[AFTER:HEADER] = 0.0
    header[DIRECTION], header[EXTREME_AT], header[EXTREME] = direction, time_us, value
    return top, found
