"""The counts behind capacity tests, from mark to mark and from day to day, compiled."""

from __future__ import annotations

import numpy as np
from numba import njit

from bess_pipeline.analytics.capacity_marks import (
    BOTTOM,
    CHARGE,
    CROSSING,
    DISCHARGE,
    IDLE_RATE,
    SAME_END_SHARE,
    TAPERED_RATE,
    TOP,
    moved,
    since_crossing,
)
from bess_pipeline.arrays import Floats, Ints
from bess_pipeline.tables.capacity import TESTS
from bess_pipeline.units import US_PER_DAY, US_PER_HOUR

#: A current is constant up to this standard deviation over its mean; ramps at both ends count.
CONSTANT_SHARE = 0.1
#: After a silence longer than this the voltage at rest must say that a battery is still full, or empty [µs].
_SILENT_US = 3_600_000_000
#: After so long without data nothing is known of what was full or empty before [µs]; longest test [days].
_FORGOTTEN_US, LONGEST_DAYS = 3 * US_PER_DAY, 7

_FULL_OUT, _CONSTANT_OUT, _FULL_IN, _CONSTANT_IN = range(len(TESTS))

#: What is carried from day to day: the four counts, when each began [µs], the voltage at rest then, whether it goes on,
#: the least current at either end, whether there was a day before, its clock and its amounts.
_COUNTS, _STARTS, _RESTED, _ALIVE, _TAPER = slice(0, 16), slice(16, 20), slice(20, 24), slice(24, 28), slice(28, 30)
#: A current at which nothing has ended [A].
_UNTAPERED = 1e30
_HAD_DAY, _CLOCK, _AMOUNT = 30, slice(31, 38), slice(38, 45)
CARRIED = 45


def nothing() -> Floats:
    """What is carried into the first day of a battery."""
    carried = np.zeros(CARRIED)
    carried[_RESTED] = np.nan
    carried[_TAPER] = _UNTAPERED
    return carried


@njit(cache=True)
def tests_of(  # type: ignore[no-untyped-def]  # noqa: ANN201, C901, PLR0912, PLR0913, PLR0915, PLR0917
    clock: Ints,
    amount: Floats,
    first_mark: Ints,
    mark: Ints,
    value: Floats,
    bounds: Floats,
    carried: Floats,
    keep_at: Ints,
    kept: Floats,
):
    """Count charge between the ends of one battery's voltage, day by day.

    Each of four counts (in, out, square, unobserved) begins anew with what it counts
    from: the last full end, the discharge from it, the last empty end, the charge from it.

    Args:
        clock: Of each day first and last sample, longest gap, hold [µs], whether a mean, midnight, unobserved [µs].
        amount: Of each day charge in and out [Ah], square of the current [A²h], first and last current [A], lowest and
            highest cell voltage of the last sample [V].
        first_mark: Number of the first mark of each day, and that of all marks.
        mark: Kind, time, unobserved, time since the crossing [µs].
        value: Amounts of each mark.
        bounds: Rated capacity [Ah], lower limit, voltages at rest of full, still full and still empty [V].
        carried: What is carried into the first day.
        keep_at: Numbers of days after which it is asked what is carried on.
        kept: Filled with that, shape (asked, CARRIED).

    Returns:
        Kind of each test; start, end, time since the crossing and unobserved [µs]; net charge, charge since the
        crossing and of the last step [Ah], variation of the current, voltage at rest before it and at its end [V].
    """
    full, going, empty, coming = range(4)
    size = next_kept = 0
    most = len(mark) + 1
    row, times, found = np.empty(most, np.int64), np.empty((most, 4), np.int64), np.empty((most, 6))
    count = carried[_COUNTS].copy().reshape(4, 4)
    start, rested = carried[_STARTS].copy().astype(np.int64), carried[_RESTED].copy()
    alive = carried[_ALIVE] > 0
    taper = carried[_TAPER].copy()
    had_day = carried[_HAD_DAY] > 0
    before_clock, before = carried[_CLOCK].copy().astype(np.int64), carried[_AMOUNT].copy()
    here, begin = np.zeros(4), np.zeros(4)
    rated, low_limit, rest_full, still_full, still_empty = bounds
    n = len(clock)
    for k in range(n + 1):
        while next_kept < len(keep_at) and keep_at[next_kept] == k:
            into = kept[next_kept]
            into[_COUNTS], into[_STARTS], into[_RESTED] = count.ravel(), start.astype(np.float64), rested
            into[_ALIVE], into[_TAPER] = alive.astype(np.float64), taper
            into[_HAD_DAY] = 1.0 if had_day else 0.0
            into[_CLOCK], into[_AMOUNT] = before_clock.astype(np.float64), before
            next_kept += 1
        if k == n:
            break
        first, last, is_mean = clock[k, 0], clock[k, 1], clock[k, 4]
        follows = had_day and first - before_clock[1] <= _FORGOTTEN_US
        goes_on_soon = k + 1 < n and clock[k + 1, 0] - last <= _FORGOTTEN_US
        joined = False
        bridge = np.zeros(4)
        if follows:
            bridge, joined = _bridge(before_clock, before, first, amount[k, 3])
            day = np.array([before[0], before[1], before[2], float(before_clock[6])])
            count += day + bridge
        else:
            alive[:] = False
            taper[:] = _UNTAPERED
        for m in range(first_mark[k], first_mark[k + 1]):
            kind, at, missed, since_us = mark[m]
            here[:] = (value[m, 0], value[m, 1], value[m, 2], float(missed))
            current, volt = value[m, 3], value[m, 4]
            at_first = at == first and follows and joined and abs(amount[k, 3]) > IDLE_RATE * rated
            begin[:] = here
            began, rest = at, volt
            if at_first and kind in (DISCHARGE, CHARGE):
                # It begins with the last sample of the day before.
                begin[:] = -bridge
                began = before_clock[1]
                resting = abs(before[4]) <= IDLE_RATE * rated
                rest = (before[6] if kind == DISCHARGE else before[5]) if resting else np.nan
            if kind in (TOP, BOTTOM) and at == last and goes_on_soon:
                # A day ends, but perhaps not the charge or the discharge.
                _, goes_on = _bridge(clock[k], amount[k], clock[k + 1, 0], amount[k + 1, 3])
                onwards = amount[k + 1, 3] if kind == TOP else -amount[k + 1, 3]
                if goes_on and onwards > IDLE_RATE * rated:
                    continue
            if kind in (TOP, BOTTOM):
                end = full if kind == TOP else empty
                side = 0 if kind == TOP else 1
                flowed = count[end] + here
                apart = not alive[end] or flowed[1 - side] >= SAME_END_SHARE * rated
                if kind == TOP and alive[coming]:
                    tapered = current <= TAPERED_RATE * rated
                    last_of_data = at == last and not goes_on_soon
                    total = count[coming] + here
                    constant = _variation(total[0] + total[1], total[2], (at - start[coming]) / US_PER_HOUR)
                    if not last_of_data and (tapered or constant <= CONSTANT_SHARE):
                        row[size] = _FULL_IN if tapered else _CONSTANT_IN
                        times[size] = (start[coming], at, 0, int(total[3]))
                        found[size] = (total[0] - total[1], 0.0, 0.0, constant, rested[coming], np.nan)
                        size += 1
                        alive[coming] = False
                if apart or abs(current) < taper[side]:
                    taper[side] = abs(current)
                    alive[end], alive[end + 1] = True, False
                    count[end] = -here
                if kind == BOTTOM:
                    alive[full] = alive[going] = False
            elif kind == DISCHARGE:
                if not alive[going] or rest >= rest_full:
                    alive[going] = True
                    start[going], rested[going] = began, rest
                    count[going] = -begin
                    # Whether what was full before is full still.
                    since = count[full] + begin
                    silent = since[3] > _SILENT_US and not rest >= still_full
                    if alive[full] and (silent or since[1] > SAME_END_SHARE * rated):
                        alive[full] = False
            elif kind == CHARGE:
                if not alive[coming]:
                    since = count[empty] + begin
                    silent = since[3] > _SILENT_US and not rest <= still_empty
                    if alive[empty] and not silent and since[0] <= SAME_END_SHARE * rated:
                        alive[coming] = True
                        start[coming], rested[coming] = began, rest
                        count[coming] = -begin
            elif kind == CROSSING:
                since_ah, step = value[m, 5], value[m, 6]
                if at_first:
                    step = bridge[1]
                    above = before[5]
                    if is_mean == 0 and above > low_limit:
                        share = (above - low_limit) / (above - volt)
                        since_us, since_ah = since_crossing(before[4], current, at - before_clock[1], share)
                if alive[going]:
                    total = count[going] + here
                    constant = _variation(total[0] + total[1], total[2], (at - start[going]) / US_PER_HOUR)
                    from_full = (alive[full] and taper[0] <= TAPERED_RATE * rated) or rested[going] >= rest_full
                    if from_full or (alive[full] and constant <= CONSTANT_SHARE):
                        row[size] = _FULL_OUT if from_full else _CONSTANT_OUT
                        times[size] = (start[going], at, since_us, int(total[3]))
                        found[size] = (total[1] - total[0], since_ah, step, constant, rested[going], volt)
                        size += 1
                alive[going] = alive[full] = False
        had_day = True
        before_clock[:], before[:] = clock[k], amount[k]
    return row[:size], times[:size], found[:size]


@njit(cache=True)
def _bridge(clock: Ints, amount: Floats, first: int, current: float):  # type: ignore[no-untyped-def]  # noqa: ANN202
    """What flows between the last sample of a day and the next day's first, and whether they are joined."""
    last, gap, hold, is_mean, midnight = clock[1], clock[2], clock[3], clock[4], clock[5]
    silence = first - last
    joined = silence <= gap
    held, counted = 0, 0
    if is_mean == 1:
        held = max(min(last + hold, first) - midnight, 0)
        counted = min(hold, midnight - last)
    elif joined:
        held = silence
    into, out, square = moved(amount[4], current, held, is_mean)
    return np.array([into, out, square, float(max(silence - held - counted, 0))]), joined


@njit(cache=True)
def _variation(moved_ah: float, square: float, hours: float) -> float:
    """Standard deviation of a current over its mean."""
    if moved_ah <= 0.0 or hours <= 0.0:
        return 0.0
    mean = moved_ah / hours
    return float(np.sqrt(max(square / hours - mean * mean, 0.0)) / mean)
