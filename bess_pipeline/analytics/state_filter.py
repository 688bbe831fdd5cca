"""The state of a battery, row by row: a Kalman filter with a fixed-lag smoother, compiled."""

from __future__ import annotations

import numpy as np
from numba import njit

from bess_pipeline.analytics.filter_states import (
    ACTIVE,
    BIAS,
    BIAS_POINTS,
    CAPACITY,
    CURVE_SIGMA,
    FADE,
    FIRST_SIGMA,
    FIRST_SOC,
    GAP_VOLT,
    GROSS,
    HYSTERESIS,
    LEAP,
    LEAP_SIGMA,
    LOWER,
    NET,
    NEW,
    OFFSET,
    OHM,
    SILENT,
    SIZE,
    SLOW,
    SOC,
    VOLT,
)
from bess_pipeline.analytics.filter_voltage import MOST_SURPRISE, TABLE_SIGMA, linearized, open_circuit, reach
from bess_pipeline.arrays import Floats, Ints

#: Standard errors at the beginning: offset [C], capacity, resistances (logarithms), hysteresis (share).
PRIOR_OFFSET, PRIOR_CAPACITY, PRIOR_OHM, PRIOR_GAP = 0.0015, 0.025, 0.4, 0.7
#: Cells hold a little more than their rating when new, and have lost a little when data begin; its standard error.
FIRST_CAPACITY, FIRST_LOSS, PRIOR_LOSS = 0.01, 0.01, 0.012
#: Whose the lower end of the curve is, in standard errors of what its shape says.
FIRST_LOWER, PRIOR_LOWER = 0.0, 1.0
#: Neighbouring points of the bias of a curve are alike: their correlation falls by e over so many points.
BIAS_REACH = 1.5
#: What another make's curve errs by beyond that: this share of its variance is the same everywhere, the rest is local;
#: and where it errs by a volt it errs by so much along the state of charge [1/V], for empty and full are elsewhere.
BIAS_COMMON, CURVE_ALONG = 0.7, 1.0
#: Cells fade fast when new, for what they lose grows with the square root of time; within so many days the rate comes
#: to what is usual in the long run [1/a].
FIRST_FADE, PRIOR_FADE, LONG_FADE, FADE_DAYS = 0.07, 0.06, 0.025, 90.0
#: How much each may wander: of charge moved, and in a day.
WALK_SOC, WALK_OFFSET, WALK_CAPACITY, WALK_OHM, WALK_GAP, WALK_BIAS = 0.002, 4e-5, 4e-4, 5e-3, 1e-5, 1e-4
WALK_FADE = 0.003
#: Where surprises stay this large, the state of charge and the capacity are opened again by so much.
LOST, REOPEN_SOC, REOPEN_CAPACITY = 20.0, 0.10, 0.01
#: A battery is not as the model says where a larger share of its rows than this, of about so many, surprise by more
#: than this mean square. Of one that is, less than a hundredth do.
MISFIT_SHARE, MISFIT_ROWS, MISFIT_SIZE = 0.15, 1000.0, 0.3
#: Its capacity is not known better than by this times the root of the share beyond; what is known better is doubted
#: within so many days.
MISFIT_SIGMA, MISFIT_DAYS = 0.15, 3.0
#: Where the voltage does not follow a current at all, nothing is known of the charge that was counted either.
UNBELIEVED = 10.0
#: The capacity not again so soon after: in hours, and in charge moved either way over rated.
REOPEN_HOURS, REOPEN_CHARGE = 72.0, 2.0
#: Logarithms of capacities that are possible.
LEAST_CAPACITY, MOST_CAPACITY = -1.6, 0.3
#: Beyond these no battery can be [1]: a count that leaves them has lost its current, and begins anew at the end.
BELOW_EMPTY, ABOVE_FULL, END = -0.05, 1.05, 0.02
_SURPRISE_ROWS = 48.0

#: All that the filter carries from row to row: mean square of surprises, when the capacity was last opened [h], charge
#: moved since over rated, until when no voltage is believed [h], share of large surprises lately, the state, and one
#: triangle of its covariance.
RUNNING, OPENED, MOVED, SETTLED, MISFIT, STATE = range(6)
CARRIED = STATE + SIZE + SIZE * (SIZE + 1) // 2
#: No voltage is believed for this long after a silence of so much [h].
SETTLING_HOURS, LONG_SILENCE_HOURS = 0.5, 0.25
#: A voltage is weighed again, up to so often, where the charge has moved by more [1].
_ROUNDS, _STAYS = 3, 0.002


@njit(cache=True)
def begun(plate: Floats, curves: Floats, x: Floats, p: Floats) -> None:
    """Fill state and covariance with what is known before the first row."""
    x[:] = 0.0
    p[:] = 0.0
    x[SOC], x[HYSTERESIS] = plate[FIRST_SOC], plate[GAP_VOLT]
    x[CAPACITY], x[NEW] = FIRST_CAPACITY, FIRST_CAPACITY + FIRST_LOSS
    p[SOC, SOC] = plate[FIRST_SIGMA] ** 2
    p[OFFSET, OFFSET] = PRIOR_OFFSET**2
    p[CAPACITY, CAPACITY] = p[CAPACITY, NEW] = p[NEW, CAPACITY] = PRIOR_CAPACITY**2
    p[NEW, NEW] = PRIOR_CAPACITY**2 + PRIOR_LOSS**2
    p[OHM, OHM] = p[SLOW, SLOW] = PRIOR_OHM**2
    x[LOWER], p[LOWER, LOWER] = FIRST_LOWER, PRIOR_LOWER**2
    x[FADE], p[FADE, FADE] = FIRST_FADE, PRIOR_FADE**2
    p[HYSTERESIS, HYSTERESIS] = (PRIOR_GAP * plate[GAP_VOLT]) ** 2 + 1e-10
    steep = np.empty(BIAS_POINTS)
    for i in range(BIAS_POINTS):
        low, high = max(i - 1, 0) / (BIAS_POINTS - 1), min(i + 1, BIAS_POINTS - 1) / (BIAS_POINTS - 1)
        rise = open_circuit(curves, 0.0, high, 0.0) - open_circuit(curves, 0.0, low, 0.0)
        steep[i] = CURVE_ALONG * rise / (high - low)
    strange = max(plate[CURVE_SIGMA] ** 2 - TABLE_SIGMA**2, 0.0)
    for i in range(BIAS_POINTS):
        for j in range(BIAS_POINTS):
            alike = np.exp(-abs(i - j) / BIAS_REACH)
            apart = BIAS_COMMON + (1.0 - BIAS_COMMON + steep[i] * steep[j]) * alike
            p[BIAS + i, BIAS + j] = TABLE_SIGMA**2 * alike + strange * apart


@njit(cache=True)
def corrected(
    x: Floats, p: Floats, row: Floats, plate: Floats, curves: Floats, slope: Floats, gain: Floats
) -> tuple[float, float, float]:
    """Correct state and covariance by the voltage of a row; fills ``slope`` and ``gain``.

    Returns:
        The surprise [V], its variance as used, and its square over its variance by the curve near the state alone.
    """
    before = x.copy()
    surprise = variance = size = 0.0
    for turn in range(_ROUNDS):
        volt, lacking, square = linearized(x, p, row, plate, curves, slope)
        size = square if turn == 0 else size
        surprise = row[VOLT] - volt
        for i in range(SIZE):
            surprise -= slope[i] * (before[i] - x[i])
        variance = max(lacking + reach(p, slope, gain), surprise**2 / MOST_SURPRISE**2)
        last = x[SOC]
        for i in range(SIZE):
            gain[i] /= variance
            x[i] = before[i] + gain[i] * surprise
        if abs(x[SOC] - last) < _STAYS:
            break
    for i in range(SIZE):
        for j in range(SIZE):
            p[i, j] -= gain[i] * gain[j] * variance
    x[CAPACITY] = min(max(x[CAPACITY], LEAST_CAPACITY), MOST_CAPACITY)
    return surprise, variance, size


@njit(cache=True)
def _fading(hours: float) -> tuple[float, float]:
    """Years from row to row, and the share of an unusual rate of fade that is left after them."""
    return hours / (24.0 * 365.25), np.exp(-hours / (24.0 * FADE_DAYS))


@njit(cache=True)
def advanced(x: Floats, p: Floats, row: Floats, hours: float, misfit: float) -> tuple[float, float]:
    """Carry state and covariance to the start of the next row.

    ``misfit`` is the share of large surprises lately.

    Returns:
        How the next state of charge depends on the offset and on the capacity.
    """
    q = np.exp(x[CAPACITY])
    silent = row[SILENT]
    change = (row[NET] - x[OFFSET] * row[ACTIVE]) / q
    on_offset, on_capacity = -row[ACTIVE] / q, -change
    x[SOC] += change + (row[LEAP] if silent > 0 else 0.0)
    if x[SOC] < BELOW_EMPTY or x[SOC] > ABOVE_FULL:
        end = 1.0 + END if x[SOC] > ABOVE_FULL else -END
        p[SOC, SOC] += (x[SOC] - end) ** 2
        x[SOC] = end
    for j in range(SIZE):
        p[SOC, j] += on_offset * p[OFFSET, j] + on_capacity * p[CAPACITY, j]
    for i in range(SIZE):
        p[i, SOC] += on_offset * p[i, OFFSET] + on_capacity * p[i, CAPACITY]
    days = hours / 24.0
    years, kept = _fading(hours)
    x[CAPACITY] -= x[FADE] * years
    x[FADE] = LONG_FADE + (x[FADE] - LONG_FADE) * kept
    for j in range(SIZE):
        p[CAPACITY, j] -= years * p[FADE, j]
        p[FADE, j] *= kept
    for i in range(SIZE):
        p[i, CAPACITY] -= years * p[i, FADE]
        p[i, FADE] *= kept
    # The same but for its last digit, of which one is carried on.
    p[CAPACITY, FADE] = p[FADE, CAPACITY]
    p[SOC, SOC] += (WALK_SOC * row[GROSS]) ** 2 + (row[LEAP_SIGMA] ** 2 if silent > 0 else 0.0) + 1e-12
    p[OFFSET, OFFSET] += WALK_OFFSET**2 * days
    p[CAPACITY, CAPACITY] += WALK_CAPACITY**2 * days
    doubt = MISFIT_SIGMA**2 * max(misfit - MISFIT_SHARE, 0.0) - p[CAPACITY, CAPACITY]
    p[CAPACITY, CAPACITY] += max(doubt, 0.0) * min(days / MISFIT_DAYS, 1.0)
    p[FADE, FADE] += WALK_FADE**2 * days
    p[OHM, OHM] += WALK_OHM**2 * days
    p[SLOW, SLOW] += WALK_OHM**2 * days
    p[HYSTERESIS, HYSTERESIS] += WALK_GAP**2 * days
    for i in range(BIAS_POINTS):
        p[BIAS + i, BIAS + i] += WALK_BIAS**2 * days
    return on_offset, on_capacity


@njit(cache=True)
def fresh(plate: Floats, curves: Floats, first_hours: float) -> Floats:
    """What is carried into a battery's first row, which starts at so many hours: shape (CARRIED,)."""
    x, p = np.empty(SIZE), np.empty((SIZE, SIZE))
    begun(plate, curves, x, p)
    carried = np.array([0.0, -1e9, 0.0, first_hours, 0.0])
    return _packed(carried, x, p)


@njit(cache=True)
def _packed(header: Floats, x: Floats, p: Floats) -> Floats:
    out = np.empty(CARRIED)
    out[:STATE] = header
    out[STATE : STATE + SIZE] = x
    at = STATE + SIZE
    for i in range(SIZE):
        for j in range(i + 1):
            out[at] = p[i, j]
            at += 1
    return out


@njit(cache=True)
def _unpacked(carried: Floats, x: Floats, p: Floats) -> None:
    x[:] = carried[STATE : STATE + SIZE]
    at = STATE + SIZE
    for i in range(SIZE):
        for j in range(i + 1):
            p[i, j] = p[j, i] = carried[at]
            at += 1


@njit(cache=True)
def _opened_where_lost(header: Floats, p: Floats, size: float, hours: float) -> None:
    """Open state of charge and capacity again where surprises stay large."""
    header[MISFIT] += ((1.0 if size > MISFIT_SIZE else 0.0) - header[MISFIT]) / MISFIT_ROWS
    header[RUNNING] += (min(size, 10 * LOST) - header[RUNNING]) / _SURPRISE_ROWS
    if header[RUNNING] > LOST:
        p[SOC, SOC] += REOPEN_SOC**2
        header[RUNNING] = 0.0
        if hours - header[OPENED] >= REOPEN_HOURS or header[MOVED] >= REOPEN_CHARGE:
            p[CAPACITY, CAPACITY] += REOPEN_CAPACITY**2
            header[OPENED], header[MOVED] = hours, 0.0


@njit(cache=True)
def estimated(  # noqa: PLR0913, PLR0917 - what is known, and what is to be filled
    rows: Floats, start_hours: Floats, block: Ints, plate: Floats, curves: Floats, carried: Floats,
    keep_at: Ints, smooth: Floats, passed: Floats,
) -> Floats:  # fmt: skip
    """Estimate the state of one battery over its rows.

    Args:
        rows: Shape (rows, ROW_COLUMNS), in order of time.
        start_hours: Start of each row [h].
        block: Number of the block of days that each row is in; rows of a block are smoothed by the next block, too.
        plate: What is known of the battery.
        curves: Open-circuit voltage and the doubt about it, shape (2, LOSS_POINTS, SOC_POINTS) [V].
        carried: What is carried into the first row, shape (CARRIED,): see `fresh`.
        keep_at: Rows, ascending, of which is asked what is carried into them.
        smooth: Filled: state of charge at the start of each row given also later rows, and its variance.
        passed: Filled: the first `BIAS` states after each row's correction, and their variances.

    Returns:
        What is carried into the rows that are asked for, shape (asked, CARRIED).
    """
    n = len(rows)
    x, p = np.empty(SIZE), np.empty((SIZE, SIZE))
    _unpacked(carried, x, p)
    header = carried[:STATE].copy()
    kept = np.empty((len(keep_at), CARRIED))
    next_kept = 0
    slope, gain = np.empty((n, SIZE)), np.empty((n, SIZE))
    before = np.empty((n, SIZE))
    surprise, variance = np.zeros(n), np.zeros(n)
    on, prior = np.zeros((n, 3)), np.empty(n)
    first = 0
    for k in range(n):
        while next_kept < len(keep_at) and keep_at[next_kept] == k:
            kept[next_kept] = _packed(header, x, p)
            next_kept += 1
        size = 0.0
        prior[k] = x[SOC]
        before[k] = p[SOC]
        if not np.isnan(rows[k, VOLT]) and start_hours[k] >= header[SETTLED]:
            surprise[k], variance[k], size = corrected(x, p, rows[k], plate, curves, slope[k], gain[k])
            _opened_where_lost(header, p, size, start_hours[k])
        for i in range(BIAS):
            passed[k, i], passed[k, BIAS + i] = x[i], p[i, i]
        if k + 1 == n:
            break
        header[MOVED] += rows[k, GROSS]
        if rows[k, SILENT] > LONG_SILENCE_HOURS:
            header[SETTLED] = start_hours[k + 1] + SETTLING_HOURS
        on[k, 2] = start_hours[k + 1] - start_hours[k]
        on[k, 0], on[k, 1] = advanced(x, p, rows[k], on[k, 2], header[MISFIT])
        if size > UNBELIEVED:
            p[SOC, SOC] += rows[k, GROSS] ** 2
        if block[k + 1] > block[first] + 1:
            first = _looked_back(first, k + 1, block, prior, before, slope, gain, surprise, variance, on, smooth)
    while first < n:
        first = _looked_back(first, n, block, prior, before, slope, gain, surprise, variance, on, smooth)
    return kept


@njit(cache=True)
def _back_in_time(pull: Floats, weight: Floats, on_offset: float, on_capacity: float, hours: float) -> None:
    """From the start of the next row to the end of this: charge rests on offset and capacity, that on the fade."""
    years, kept = _fading(hours)
    pull[FADE] = kept * pull[FADE] - years * pull[CAPACITY]
    for j in range(SIZE):
        weight[FADE, j] = kept * weight[FADE, j] - years * weight[CAPACITY, j]
    for i in range(SIZE):
        weight[i, FADE] = kept * weight[i, FADE] - years * weight[i, CAPACITY]
    pull[OFFSET] += on_offset * pull[SOC]
    pull[CAPACITY] += on_capacity * pull[SOC]
    for j in range(SIZE):
        weight[OFFSET, j] += on_offset * weight[SOC, j]
        weight[CAPACITY, j] += on_capacity * weight[SOC, j]
    for i in range(SIZE):
        weight[i, OFFSET] += on_offset * weight[i, SOC]
        weight[i, CAPACITY] += on_capacity * weight[i, SOC]


@njit(cache=True)
def _back_through(
    pull: Floats, weight: Floats, slope: Floats, gain: Floats, surprise: float, variance: float, along: Floats
) -> None:
    """From after a correction to before it: by C = 1 - gain slope', and what the voltage itself said."""
    twice = reach(weight, gain, along)
    push = 0.0
    for i in range(SIZE):
        push += gain[i] * pull[i]
    for i in range(SIZE):
        pull[i] -= slope[i] * (push + surprise / variance)
    for i in range(SIZE):
        for j in range(SIZE):
            weight[i, j] += slope[i] * slope[j] * (twice + 1.0 / variance) - slope[i] * along[j] - along[i] * slope[j]


@njit(cache=True)
def _looked_back(  # noqa: PLR0913, PLR0917 - what the pass forward has kept
    first: int, end: int, block: Ints, prior: Floats, before: Floats, slope: Floats, gain: Floats,
    surprise: Floats, variance: Floats, on: Floats, smooth: Floats,
) -> int:  # fmt: skip
    """Smooth the rows of one block by all rows before ``end``; returns the first row of the next block.

    The backward pass of Bryson and Frazier: ``pull`` and ``weight`` are the gradient and the curvature of the
    likelihood of all later rows by the state. ``on`` is how the next row's charge depends on offset and capacity, and
    after how many hours it begins.
    """
    last = first
    while last < end and block[last] == block[first]:
        last += 1
    pull, weight = np.zeros(SIZE), np.zeros((SIZE, SIZE))
    along = np.empty(SIZE)
    for k in range(end - 1, first - 1, -1):
        if k < end - 1:
            _back_in_time(pull, weight, on[k, 0], on[k, 1], on[k, 2])
        if variance[k] > 0:
            _back_through(pull, weight, slope[k], gain[k], surprise[k], variance[k], along)
        if k < last:
            less = reach(weight, before[k], along)
            shift = 0.0
            for i in range(SIZE):
                shift += before[k, i] * pull[i]
            smooth[k, 0] = prior[k] - shift
            smooth[k, 1] = max(before[k, SOC] - less, 0.0)
    return last
