"""What the voltage of a row says of the state of a battery: a straight line through what charge is likely given it."""

from __future__ import annotations

import numpy as np
from numba import njit

from bess_pipeline.analytics.ageing_ocv import LOSS_HIGH, LOSS_LOW, LOSS_POINTS, SOC_POINTS
from bess_pipeline.analytics.filter_states import (
    ACTIVE,
    BIAS,
    BIAS_POINTS,
    BRANCH,
    CAPACITY,
    CURVE_SIGMA,
    FAST_VOLT,
    HEAT,
    HYSTERESIS,
    LOWER,
    NET,
    NEW,
    OFFSET,
    OHM,
    RATE,
    SIZE,
    SLOW,
    SLOW_RATE,
    SLOW_VOLT,
    SOC,
    VOLT,
)
from bess_pipeline.arrays import Floats

#: Standard error of a cell voltage [V], and of what the model says of polarization, of the drop, and of hysteresis.
VOLT_SIGMA, SLOW_SHARE, DROP_SHARE, BRANCH_SHARE = 0.006, 0.15, 0.05, 0.35
#: Cells of a string differ in their state of charge, and curves in where they turn: the error along the curve [1].
ALONG_SIGMA = 0.02
#: Errors of the model last: so many neighbouring rows count as one.
ALIKE_ROWS = 12.0
#: Standard error of a curve that is the cell's own [V].
TABLE_SIGMA = 0.0035
#: A surprise of more standard errors than this is cut to it.
MOST_SURPRISE = 2.5
_LOSS_STEP = 0.01
#: How far to either side the curve is looked at to tell whether a voltage surprises, least and most [1].
_NEAREST, _WIDEST = 0.005, 0.04
#: A tangent will do where the standard error of the charge [1] and the squared surprise are less than this.
_SURE, _USUAL = 0.01, 1.0
#: A curve that rises by more [V] between these states of charge [1] has no plateau: a tangent points the right way.
_FLAT_VOLT, _FLAT_FROM, _FLAT_TO = 0.15, 0.3, 0.9
#: States of charge that are weighed: standard errors to either side where a voltage surprises and where it does not,
#: least and most [1], finest and coarsest step [points of the curve].
_REACH, _NEAR_REACH, _LEAST, _MOST, _FINE, _COARSE = 3.0, 2.5, -0.03, 1.04, 2, 8
#: Squared standard errors beyond which nothing is less likely.
_FARTHEST = 400.0


@njit(cache=True)
def _loss_row(loss: float) -> tuple[int, float]:
    """The row of the curves below a loss of lithium, and the share of the one above."""
    across = (min(max(loss, LOSS_LOW), LOSS_HIGH) - LOSS_LOW) / (LOSS_HIGH - LOSS_LOW) * (LOSS_POINTS - 1)
    row = min(int(across), LOSS_POINTS - 2)
    return row, across - row


@njit(cache=True)
def _between(curves: Floats, lower: float, column: int, row: int, part: float) -> float:
    volt = curves[0, row, column] + part * (curves[0, row + 1, column] - curves[0, row, column])
    doubt = curves[1, row, column] + part * (curves[1, row + 1, column] - curves[1, row, column])
    return float(volt + lower * doubt)


@njit(cache=True)
def _at_column(curves: Floats, lower: float, column: int, row: int, part: float) -> float:
    """Voltage at a point of the curve [V], or at one beyond its ends."""
    inside = min(max(column, 0), SOC_POINTS - 1)
    volt = _between(curves, lower, inside, row, part)
    if column != inside:
        step = 1 if column < 0 else -1
        volt += (column - inside) * step * (_between(curves, lower, inside + step, row, part) - volt)
    return volt


@njit(cache=True)
def open_circuit(curves: Floats, lower: float, soc: float, loss: float) -> float:
    """Voltage at a state of charge and a loss of lithium [V]; beyond the ends the curve goes on as steeply as there."""
    row, part = _loss_row(loss)
    along = soc * (SOC_POINTS - 1)
    column = min(max(int(along), 0), SOC_POINTS - 2)
    low = _between(curves, lower, column, row, part)
    return low + (along - column) * (_between(curves, lower, column + 1, row, part) - low)


@njit(cache=True)
def reach(matrix: Floats, vector: Floats, product: Floats) -> float:
    """Fill ``product`` with a symmetric matrix times ``vector``; returns the quadratic form."""
    product[:] = 0.0
    # Three columns at a time, of which there are three times seven: twice as fast as one.
    for j in range(0, SIZE - 2, 3):
        one, two, three = vector[j], vector[j + 1], vector[j + 2]
        for i in range(SIZE):
            product[i] += matrix[j, i] * one + matrix[j + 1, i] * two + matrix[j + 2, i] * three
    for j in range(SIZE - SIZE % 3, SIZE):
        for i in range(SIZE):
            product[i] += matrix[j, i] * vector[j]
    form = 0.0
    for i in range(SIZE):
        form += vector[i] * product[i]
    return form


@njit(cache=True)
def bias_at(soc: float) -> tuple[int, float]:
    """The point of the bias below a state of charge, and the share of the one above."""
    along = min(max(soc, 0.0), 1.0) * (BIAS_POINTS - 1)
    low = min(int(along), BIAS_POINTS - 2)
    return low, along - low


@njit(cache=True)
def _sloped(
    x: Floats, row: Floats, curves: Floats, soc: float, steep: float, drops: tuple[float, float], slope: Floats
) -> None:
    """Fill ``slope`` with derivatives by all but the bias, where the curve is so steep; ``drops`` are volts at 1 C."""
    q, left = np.exp(x[CAPACITY]), np.exp(x[CAPACITY] - x[NEW])
    more = open_circuit(curves, x[LOWER], soc, 1.0 - left + _LOSS_STEP)
    less = open_circuit(curves, x[LOWER], soc, 1.0 - left - _LOSS_STEP)
    shift = (more - less) / (2 * _LOSS_STEP)
    half = 0.5 * (row[NET] - x[OFFSET] * row[ACTIVE]) / q
    flows = 1.0 if row[ACTIVE] > 0 else 0.0
    slope[:] = 0.0
    slope[SOC] = steep
    slope[OFFSET] = -0.5 * steep * row[ACTIVE] / q - flows * drops[0]
    slope[CAPACITY], slope[NEW] = -steep * half - shift * left, shift * left
    slope[OHM], slope[SLOW] = drops[0] * (row[RATE] - x[OFFSET] * flows), drops[1] * row[SLOW_RATE]
    slope[HYSTERESIS] = row[BRANCH]
    slope[LOWER] = open_circuit(curves, 1.0, soc, 1.0 - left) - open_circuit(curves, 0.0, soc, 1.0 - left)


@njit(cache=True)
def _fitted(  # noqa: PLR0913, PLR0917 - what is known before the voltage, and what it is
    x: Floats, p: Floats, curves: Floats, middle: float, loss: float, seen: float, size: float, noise: float,
    doubt: float, shared: Floats, bias: Floats,
) -> tuple[float, float, float, float]:  # fmt: skip
    """Least squares through the curve, each state of charge weighed by how likely it is given the voltage.

    Args:
        x: State at the start of the row.
        p: Its covariance.
        curves: Open-circuit voltage and the doubt about it [V].
        middle: State of charge in the middle of the row that was believed before.
        loss: Loss of lithium.
        seen: Voltage without drops and hysteresis [V].
        size: Squared surprise: where nothing surprises, fewer states of charge will do.
        noise: Variance of the voltage, were the charge and the bias known [V²].
        doubt: The same and what else is not known [V²].
        shared: Covariance of the drops and the hysteresis with the state [V], shape (SIZE,).
        bias: Filled with the weight of each point of the bias, shape (BIAS_POINTS,).

    Returns:
        Mean state of charge from `middle` on, mean voltage [V], slope [V], and the variance about the line [V²].
    """
    variance = max(p[SOC, SOC], 0.0) + ALONG_SIGMA**2
    width, per = np.sqrt(variance), 1.0 / variance
    finer, reaching, most = (0.33, _REACH, _COARSE // 2) if size >= _USUAL else (0.5, _NEAR_REACH, _COARSE)
    stride = min(max(int(finer * width * (SOC_POINTS - 1)), _FINE), most)
    step = stride / (SOC_POINTS - 1)
    first = int(np.ceil(min(max(middle - reaching * width, _LEAST), _MOST) / step))
    count = max(int(np.floor(min(max(middle + reaching * width, _LEAST), _MOST) / step)) - first + 1, 1)
    volts, likely = np.empty(count), np.empty(count)
    row, part = _loss_row(loss)
    total = mean = level = along = across = both = near = 0.0
    for i in range(count):
        off = (first + i) * step - middle
        low, b = bias_at(off + middle)
        a, j = 1.0 - b, BIAS + low
        volts[i] = _at_column(curves, x[LOWER], (first + i) * stride, row, part) + a * x[j] + b * x[j + 1]
        common = (shared[SOC] + a * p[SOC, j] + b * p[SOC, j + 1]) * per
        more = doubt + a * (a * p[j, j] + 2 * shared[j]) + b * (b * p[j + 1, j + 1] + 2 * shared[j + 1])
        sure = 1.0 / max(more + 2 * a * b * p[j, j + 1] - common**2 * variance, noise)
        far = (seen - volts[i] - common * off) ** 2 * sure
        if far > MOST_SURPRISE**2:
            far = min(MOST_SURPRISE * (2 * np.sqrt(far) - MOST_SURPRISE), _FARTHEST)
        likely[i] = np.exp(-0.5 * (far + min(off**2 * per, _FARTHEST))) * np.sqrt(sure)
        bias[low] += likely[i] * a
        bias[low + 1] += likely[i] * b
        total += likely[i]
        mean += likely[i] * off
        level += likely[i] * volts[i]
    mean, level = mean / total, level / total
    for i in range(count):
        off, rise = (first + i) * step - middle - mean, volts[i] - level
        along += likely[i] * off**2
        across += likely[i] * rise**2
        both += likely[i] * off * rise
        near += likely[i] * (volts[min(i + 1, count - 1)] - volts[max(i - 1, 0)])
    along, across, both, near = along / total, across / total, both / total, near / (total * 2 * step)
    for i in range(BIAS_POINTS):
        bias[i] /= total
    # A point stands for all around it: where one alone is likely, its neighbours tell how steep the curve is.
    steep = max((both + step**2 * near) / (along + step**2), 0.0)
    return mean, level, steep, max(across - 2 * steep * both + steep**2 * along, 0.0)


@njit(cache=True)
def linearized(
    x: Floats, p: Floats, row: Floats, plate: Floats, curves: Floats, slope: Floats
) -> tuple[float, float, float]:
    """Straight line through the voltages of a row that are likely: fills ``slope`` with derivatives.

    A curve has a plateau and steep ends, so that a tangent where the battery was believed to be
    may point anywhere. So each state of charge that is possible is weighed by how likely it was
    and by how likely it makes the voltage that was measured, everything else unknown being
    averaged out; the line is that of least squares through the curve so weighed, and what the
    curve departs from it is error. Where it would fall, the voltage says nothing of the charge.
    Where the curve is the cell's own or has no plateau, and where the charge is well known and
    nothing surprises, the tangent will do.

    Args:
        x: State at the start of the row.
        p: Its covariance.
        row: One row, see `filter_states.ACTIVE` and the following.
        plate: What is known of the battery.
        curves: Open-circuit voltage and the doubt about it, shape (2, LOSS_POINTS, SOC_POINTS) [V].
        slope: Filled, shape (SIZE,).

    Returns:
        The line at the state [V], the variance of the voltage about it [V²], and the square of the surprise over its
        variance by the curve near the state alone.

    References:
        Á. F. García-Fernández et al. (2015), IEEE Trans. Signal Process. 63, 5561, doi:10.1109/TSP.2015.2454485.
    """
    loss = 1.0 - np.exp(x[CAPACITY] - x[NEW])
    middle = x[SOC] + 0.5 * (row[NET] - x[OFFSET] * row[ACTIVE]) / np.exp(x[CAPACITY])
    fast = row[HEAT] * plate[FAST_VOLT] * np.exp(x[OHM])
    slow = row[HEAT] * plate[SLOW_VOLT] * np.exp(x[SLOW])
    rate = row[RATE] - (x[OFFSET] if row[ACTIVE] > 0 else 0.0)
    rest = x[HYSTERESIS] * row[BRANCH] + fast * rate + slow * row[SLOW_RATE]
    noise = VOLT_SIGMA**2 + (SLOW_SHARE * slow * row[SLOW_RATE]) ** 2 + (DROP_SHARE * fast * rate) ** 2
    noise += (BRANCH_SHARE * x[HYSTERESIS] * (1.0 - abs(row[BRANCH]))) ** 2

    spread = np.sqrt(max(p[SOC, SOC], 0.0))
    wide = min(max(0.5 * spread, _NEAREST), _WIDEST)
    here = open_circuit(curves, x[LOWER], middle, loss)
    above = open_circuit(curves, x[LOWER], middle + wide, loss)
    below = open_circuit(curves, x[LOWER], middle - wide, loss)
    low, share = bias_at(middle)
    rise = x[BIAS + low + 1] - x[BIAS + low]
    volt = rest + here + x[BIAS + low] + share * rise
    steep, bent = (above - below) / (2 * wide), 0.5 * (above + below) - here
    if 0.0 < middle < 1.0:
        steep += rise * (BIAS_POINTS - 1)
    is_own = plate[CURVE_SIGMA] <= TABLE_SIGMA
    if not is_own:
        steep = max(steep, 0.0)
    lacking = noise + bent**2 + (ALONG_SIGMA * steep) ** 2
    size = (row[VOLT] - volt) ** 2 / lacking
    risen = open_circuit(curves, 0.0, _FLAT_TO, loss) - open_circuit(curves, 0.0, _FLAT_FROM, loss)
    if is_own or risen > _FLAT_VOLT or (spread < _SURE and size < _USUAL):
        _sloped(x, row, curves, middle, steep, (fast, slow), slope)
        slope[BIAS + low], slope[BIAS + low + 1] = 1.0 - share, share
        return volt, ALIKE_ROWS * lacking, size

    _sloped(x, row, curves, middle, 0.0, (fast, slow), slope)
    shared, bias = np.empty(SIZE), np.zeros(BIAS_POINTS)
    least = ALIKE_ROWS * noise
    doubt = least + reach(p, slope, shared)
    mean, level, steep, left = _fitted(
        x, p, curves, middle, loss, row[VOLT] - rest, size, least, doubt, shared, bias
    )  # fmt: skip
    _sloped(x, row, curves, middle + mean, steep, (fast, slow), slope)
    slope[BIAS:] = bias
    lacking = noise + left + (ALONG_SIGMA * steep) ** 2
    return rest + level - steep * mean, ALIKE_ROWS * lacking, size
