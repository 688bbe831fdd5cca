"""Resistance from 5-minute means: what the voltage owes to the current, its past, the curve and the hysteresis."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numba import njit

from bess_pipeline.analytics.ocv import ocv_table
from bess_pipeline.analytics.traces import floats
from bess_pipeline.arrays import Bools, Floats, Ints
from bess_pipeline.tables.chemistry import CHEMISTRY
from bess_pipeline.tables.fleet import OcvPoint
from bess_pipeline.tables.telemetry import INTERVAL_US

#: What may move the mean voltage of a cell from one row to the next: the change of the current [C], that of the slow
#: drop which follows it [C], the charge that flowed [1], the same along the slope of the open-circuit curve [V] and by
#: how full the battery is [1], the change of the branch of the hysteresis [1].
TURN, LINGERING, FLOW, CURVE, BENT_FLOW, BRANCH = range(6)
CAUSES = ("turn", "lingering", "flow", "curve", "bent_flow", "branch")

#: Time in which the slow drop follows the current [rows], and the rows after which nothing of it is left to see.
_SLOW_ROWS, _HISTORY = 3.0, 12
_ROWS_PER_HOUR = 12.0
#: A row is known when current and voltage were observed for this share of it.
_OBSERVED = 0.9
#: The slope of the open-circuit curve is that between points so far to either side [%]; curves change with age.
_SPAN = 2.5
#: Charge after which the branch of the hysteresis has changed [share of rated].
_BRANCH_CHARGE = 0.04
#: Rows count so near to a step [rows]: further off they tell of the open-circuit curve alone.
_NEAR = 5
#: A change of the current from one mean to the next is a step from so much on [C].
STEP_RATE = 0.05
#: A step falls into a row if at least this share of it is on either side, and no more than this share came before.
_SPLIT, _STILL = 0.1, 0.2
#: Scatter of a cell's mean voltage from row to row: at least, and before any is seen [V].
_VOLT_SIGMA = 0.001
#: The number of rows that this belief is worth, and the causes that a day's rows tell without it.
_BELIEF, _TOLD = 3.0, 3.0
#: What is believed of the causes before any row, as standard errors: that the slope is that of the curve [1], and what
#: a curve that is wrong leaves of it [V], also by how full the battery is [V].
_CURVE_SIGMA, _FLOW_SIGMA, _BENT_SIGMA = 0.3, 0.1, 0.5


@dataclass(frozen=True)
class Slopes:
    """Regressions of cell voltage on its causes, one an element.

    Attributes:
        volt_per_rate: Voltage over current: the resistance times 1 C [V].
        relative_variance: Variance of that share of itself which row-to-row scatter explains [1].
    """

    volt_per_rate: Floats
    relative_variance: Floats


def moves(placed: pl.DataFrame, batteries: pl.DataFrame) -> pl.DataFrame:
    """What moved the mean voltage of a cell to each row from the one before, or the one before that.

    Args:
        placed: 5-minute rows sorted by `battery_index` and time, with `rated_capacity_ah`, state of charge `soc` [%],
            null where unknown.
        batteries: `Battery` rows, sorted; `battery_index` is the place in them.

    Returns:
        The rows with `CAUSES`, the change `volt` of the cell's voltage [V], and whether a row `tells` of the
        resistance (see `drives`).
    """
    least = _OBSERVED * INTERVAL_US
    known = (pl.col("voltage_observed_us") >= least) & (pl.col("current_observed_us") >= least)
    index = placed["battery_index"].to_numpy().astype(np.int64)
    rate = np.nan_to_num(floats(placed["current_ampere"]) / floats(placed["rated_capacity_ah"]))
    volt = floats(placed["voltage_volt"]) / cells(batteries)[index]
    drive = drives(
        index,
        placed["date"].to_physical().to_numpy().astype(np.int64),
        placed["timestamp"].dt.epoch("us").to_numpy() // INTERVAL_US,
        rate,
        placed.select(known & pl.col("voltage_volt").is_not_null() & pl.col("current_ampere").is_not_null())
        .to_series()
        .fill_null(value=False)
        .to_numpy(),
    )
    is_long = drive[:, 4] > 0

    def since(values: Floats) -> Floats:
        """Change of values since the row that a row is compared with."""
        return values - np.where(is_long, _before(_before(values)), _before(values))

    flow = (rate + _before(rate)) / 2 / _ROWS_PER_HOUR
    flow += np.where(is_long, _before(flow), 0.0)
    soc = floats(placed["soc"])
    between = np.clip(np.nan_to_num(soc - since(soc) / 2, nan=50.0), 0.0, 100.0)
    table = ocv_table(batteries, OcvPoint.create_empty())
    last = len(table.soc_percent) - 1
    low, high = (np.clip(np.rint((between + side) / 100 * last), 0, last).astype(np.int64) for side in (-_SPAN, _SPAN))
    slope = (table.volt[index, high] - table.volt[index, low]) / np.maximum(high - low, 1) * last
    columns = {
        "turn": drive[:, 0],
        "lingering": drive[:, 1],
        "flow": flow,
        "curve": flow * slope,
        "bent_flow": flow * (between / 100 - 0.5),
        "branch": drive[:, 2],
        "volt": since(volt),
    }
    return placed.with_columns(
        **{name: pl.Series(values, dtype=pl.Float64) for name, values in columns.items()},
        tells=pl.Series(drive[:, 3] > 0),
    )


def cells(batteries: pl.DataFrame) -> Floats:
    """Cells in series of each battery; where unknown, those that its rated voltage takes."""
    nominal = batteries["chemistry"].replace_strict(
        {name: chemistry.nominal_cell_volt for name, chemistry in CHEMISTRY.items()}, return_dtype=pl.Float64
    )
    rated = floats(batteries["rated_energy_wh"]) / floats(batteries["rated_capacity_ah"])
    own = floats(batteries["cells_in_series"])
    return np.where(own > 0, own, rated / nominal.to_numpy())


def _before(values: Floats) -> Floats:
    """The value of the row before; NaN at the first."""
    return np.concatenate([[np.nan], values[:-1]]) if len(values) else values


@njit(cache=True)
def drives(battery: Ints, day: Ints, row: Ints, rate: Floats, is_known: Bools) -> Floats:
    """How the current moves the voltage, from each row to the next, and whether a row can tell of it.

    A row counts when it and the hour before it are known without a gap, and when a step of its own
    day is within 25 minutes. A row within which a step falls does not count: its voltage drifts
    for a part of it only. The row after it is compared with the row before it. The branch of the
    hysteresis is followed from the day before on, so that no day rests on more than the day before it.

    Args:
        battery: Number of the battery of each row, neighbours together.
        day: Day number of each row, rising within a battery.
        row: Number of the 5 minutes of each row, rising within a battery.
        rate: Mean current, 0 where unknown [C].
        is_known: Whether current and voltage were observed.

    Returns:
        Shape (rows, 5): change of the current [C], of the slow drop [C], of the branch of the hysteresis [1], 1
        where the row counts, else 0, and 1 where the changes are those over two rows, else 0.
    """
    out = np.zeros((len(rate), 5))
    unbroken = _followed(battery, day, row, rate, is_known, out)
    _count(battery, day, row, unbroken, out)
    return out


@njit(cache=True)
def _followed(battery: Ints, day: Ints, row: Ints, rate: Floats, is_known: Bools, out: Floats) -> Ints:
    """Fill in the changes of current, slow drop and branch; for how many rows each has been known without a gap."""
    followed = 1.0 - (1.0 - np.exp(-1.0 / _SLOW_ROWS)) * _SLOW_ROWS * np.exp(-np.arange(_HISTORY) / _SLOW_ROWS)
    unbroken = np.zeros(len(rate), dtype=np.int64)
    # Two branches run side by side: one followed from the day before on, and one that begins with this day.
    since_before = since_today = middle_before = middle_today = 0.0
    for k in range(len(rate)):
        same = k > 0 and battery[k] == battery[k - 1]
        if not same or day[k] != day[k - 1]:
            is_next = same and day[k] == day[k - 1] + 1
            since_before, middle_before = (since_today, middle_today) if is_next else (0.0, 0.0)
            since_today = middle_today = 0.0
        keep, side = np.exp(-abs(rate[k]) / _ROWS_PER_HOUR / _BRANCH_CHARGE), np.sign(rate[k])
        ahead, begun = side + (since_before - side) * keep, side + (since_today - side) * keep
        middle = 0.5 * (since_before + ahead)
        if same and row[k] == row[k - 1] + 1 and is_known[k] and is_known[k - 1]:
            unbroken[k] = unbroken[k - 1] + 1
            out[k, 0] = rate[k] - rate[k - 1]
            out[k, 2] = middle - middle_before
        middle_before, middle_today = middle, 0.5 * (since_today + begun)
        since_before, since_today = ahead, begun
        if unbroken[k] >= _HISTORY:
            previous = 0.0
            for j in range(_HISTORY):
                out[k, 1] += (followed[j] - previous) * (rate[k - j] - rate[k - j - 1])
                previous = followed[j]
    return unbroken


@njit(cache=True)
def _count(battery: Ints, day: Ints, row: Ints, unbroken: Ints, out: Floats) -> None:
    """Fill in which rows count, and which are compared with the row before the one before."""
    n = len(row)
    is_step = (np.abs(out[:, 0]) >= STEP_RATE) & (unbroken >= _HISTORY)
    for k in range(n - 1, 0, -1):
        if unbroken[k] > _HISTORY and _is_split(out[k - 2 : k + 1, 0]):
            out[k, :3] += out[k - 1, :3]
            out[k, 4] = 1.0
            is_step[k] = True
    for k in range(n):
        holds_step = k + 1 < n and out[k + 1, 4] > 0 and day[k + 1] == day[k]
        if unbroken[k] < _HISTORY or holds_step:
            continue
        for j in range(max(k - _NEAR, 0), min(k + _NEAR + 1, n)):
            if is_step[j] and battery[j] == battery[k] and day[j] == day[k] and abs(row[j] - row[k]) <= _NEAR:
                out[k, 3] = 1.0


@njit(cache=True)
def _is_split(turns: Floats) -> bool:
    """Whether the last two changes of the current are one step, of a current that stood still before."""
    step = abs(turns[1] + turns[2])
    least = min(turns[1] / (turns[1] + turns[2]), turns[2] / (turns[1] + turns[2])) if step > 0 else 0.0
    return bool(step >= STEP_RATE and least >= _SPLIT and abs(turns[0]) <= _STILL * step)


def slopes(products: Floats, rows: Floats, gap: Floats) -> Slopes:
    """Regress, day by day, the change of a cell's mean voltage on its causes.

    Bayesian in all but the current and the slow drop: a day of a single step does not tell
    the slope of the curve, the hysteresis and the resistance from each other, so that the
    first two begin with what is known of them.

    Args:
        products: Sums of products over the rows of each day, shape (days, 7, 7): of the causes, in order, and of the
            change of the voltage [V].
        rows: Number of rows of each day.
        gap: Half gap of the hysteresis [V]; it is believed to within itself.

    References:
        D. V. Lindley, A. F. M. Smith (1972), J. R. Stat. Soc. B 34, 1, doi:10.1111/j.2517-6161.1972.tb00885.x.
    """
    count = len(products)
    causes, voltage = products[:, :6, :6], products[:, :6, 6]
    believed = np.zeros((count, 6))
    believed[:, CURVE], believed[:, BRANCH] = 1.0, gap
    weight = np.zeros((count, 6))
    weight[:, FLOW], weight[:, CURVE], weight[:, BENT_FLOW] = _FLOW_SIGMA**-2, _CURVE_SIGMA**-2, _BENT_SIGMA**-2
    weight[:, BRANCH] = gap**-2
    # So little that it only decides where the day says nothing.
    weight[:, [TURN, LINGERING]] = 1e-3
    normal = causes / _VOLT_SIGMA**2 + weight[:, :, None] * np.eye(6)
    inverse = np.linalg.inv(normal) if count else normal
    found = np.einsum("kij,kj->ki", inverse, voltage / _VOLT_SIGMA**2 + weight * believed)
    left = products[:, 6, 6] - 2 * (found * voltage).sum(axis=1) + np.einsum("ki,kij,kj->k", found, causes, found)
    scatter = (_BELIEF + np.maximum(left, 0.0) / _VOLT_SIGMA**2) / (_BELIEF + np.maximum(rows - _TOLD, 0.0))
    with np.errstate(divide="ignore", invalid="ignore"):
        variance = np.maximum(scatter, 1.0) * inverse[:, TURN, TURN] / found[:, TURN] ** 2
    return Slopes(found[:, TURN], variance)
