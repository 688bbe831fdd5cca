"""Open-circuit voltage of cells that have lost lithium: the curve of a new cell, shifted as its electrodes shift."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import polars as pl

from bess_pipeline.arrays import Floats, Ints
from bess_pipeline.tables.chemistry import CHEMISTRY
from bess_pipeline.tables.electrodes import graphite_chen, graphite_safari
from bess_pipeline.tables.keys import BATTERY

#: Grid of the state of charge, and of the lithium lost: points, first and last.
SOC_POINTS, LOSS_POINTS = 401, 25
LOSS_LOW, LOSS_HIGH = -0.06, 0.42

#: Chemistries whose anode is graphite.
_ON_GRAPHITE = frozenset({"LFP", "NMC", "NCA", "LCO"})
#: Among them those whose cathode has a plateau: all but the rise beyond this state of charge is the anode's.
_ON_PLATEAU = frozenset({"LFP"})
_PLATEAU_END = 0.94
#: Chemistries whose curve belongs to the cathode, for the anode has a plateau from end to end.
_ON_CATHODE = frozenset({"LTO"})
#: Lithiation of graphite in an empty and in a full new cell that is tried.
_EMPTY_LITHIATION = np.arange(0.0, 0.065, 0.01)
_FULL_LITHIATION = np.arange(0.70, 0.97, 0.02)
#: State of charge within which the cathode is smooth: beyond it curves are steep.
_SMOOTH = (0.20, 0.95)
#: Lithiation of graphite in an empty new cell: published cells lie between 0 and 0.03.
_USUAL_EMPTY, _EMPTY_SIGMA = 0.015, 0.015
#: A cathode is less likely by e where its bends add up to so much more [V]: by so much they differ by chance in tables
#: that err by a few millivolts.
_ROUGHER = 3.5e-4
#: Windows less likely than this share of the likeliest are none.
_LEAST_LIKELY = 0.01
#: State of charge over which the cathode goes on as a straight line towards empty; below it is the lower end.
_TREND = (0.20, 0.40)


@dataclass(frozen=True)
class AgeingCurves:
    """Open-circuit voltages of one cell over state of charge and loss of lithium.

    Attributes:
        volt: Shape (curves, LOSS_POINTS, SOC_POINTS) [V]: even grids, state of charge 0 to 1 of the capacity that is
            left, loss `LOSS_LOW` to `LOSS_HIGH` of the lithium that a new cell cycles.
        doubt: What the voltage would be more if graphite held one standard error more lithium in the empty cell than is
            likely, so that the steep lower end were the cathode's rather than the anode's [V]: shape as of `volt`.
        of_battery: Which curve each battery has, in the order of the batteries sorted by name.
    """

    volt: Floats
    doubt: Floats
    of_battery: Ints


def ageing_curves(batteries: pl.DataFrame, curves: pl.DataFrame) -> AgeingCurves:
    """The open-circuit voltage of each battery's cells, as it shifts when lithium is lost.

    A cell that has lost lithium fills its anode less and empties its cathode less. What
    the anode contributes stays where it was in charge counted from empty, what the
    cathode contributes in charge counted from full:

        U(s, loss) = Uc(1 − (1 − s)(1 − loss)) − Ua(s(1 − loss))

    The anode of LFP, NMC, NCA and LCO cells is graphite: one of two published potentials, and
    a window that a cell may use of it. Windows that leave a smooth cathode are likely. The rest
    of the curve, with whatever the maker's table knows better, is the cathode's; but that of LFP
    has a plateau, so all that is seen between its steep ends is the anode's. How
    much lithium graphite holds in an empty cell says whose the steep lower end is: a discharge
    ends where the anode runs out of lithium, or where the cathode is full. A few millivolts of error in the
    table hide it, so all likely windows are averaged, and `doubt` is how the curve moves with it. LTO cells
    have a flat anode; lead-acid curves do not shift.

    Args:
        batteries: `Battery` rows.
        curves: `OcvPoint` rows; a battery without a curve gets that of its chemistry.

    References:
        C. R. Birkl et al. (2017), J. Power Sources 341, 373, doi:10.1016/j.jpowsour.2016.12.011.
    """
    own = {
        key: tuple(points.select("soc_percent", "ocv_volt").rows())
        for key, points in curves.sort(*BATTERY, "soc_percent").partition_by(BATTERY, as_dict=True).items()
    }
    known: dict[tuple[str, tuple[tuple[float, float], ...]], int] = {}
    of_battery = []
    for fleet, battery, chemistry in batteries.sort(BATTERY).select(*BATTERY, "chemistry").rows():
        points = own.get((fleet, battery), CHEMISTRY[chemistry].ocv)
        of_battery.append(known.setdefault((chemistry, points), len(known)))
    both = np.stack([_shifted(chemistry, np.array(points)) for chemistry, points in known])
    return AgeingCurves(both[:, 0].copy(), both[:, 1].copy(), np.array(of_battery, dtype=np.int64))


def _shifted(chemistry: str, points: Floats) -> Floats:
    """One curve over loss and state of charge, and the doubt about it."""
    from scipy.interpolate import PchipInterpolator

    grid = np.linspace(0.0, 1.0, SOC_POINTS)
    soc, volt = points[:, 0] / 100, np.maximum.accumulate(points[:, 1])
    new = PchipInterpolator(soc, volt, extrapolate=False)(np.clip(grid, soc[0], soc[-1]))
    left = 1.0 - np.linspace(LOSS_LOW, LOSS_HIGH, LOSS_POINTS)[:, None]
    if chemistry not in _ON_GRAPHITE | _ON_CATHODE:
        left = np.ones_like(left)
    in_full, in_empty = 1.0 - (1.0 - grid) * left, grid * left
    anodes = _anodes(chemistry, grid, new)
    curves = np.stack([_beyond(grid, new + of, in_full) - _beyond(grid, of, in_empty) for of in anodes.potential])
    mean = np.tensordot(anodes.weight, curves, axes=1)
    off = anodes.empty - anodes.weight @ anodes.empty
    variance = anodes.weight @ off**2
    doubt = np.tensordot(anodes.weight * off, curves, axes=1) / np.sqrt(variance) if variance > 0 else 0 * mean
    return np.stack([mean, doubt])


def _beyond(grid: Floats, values: Floats, at: Floats) -> Floats:
    """Values between the points of a grid, and beyond its ends along the outermost percent."""
    step = max(1, len(grid) // 100)
    low = (values[step] - values[0]) / (grid[step] - grid[0])
    high = (values[-1] - values[-1 - step]) / (grid[-1] - grid[-1 - step])
    inside = np.interp(at, grid, values)
    out: Floats = inside + np.minimum(at - grid[0], 0.0) * low + np.maximum(at - grid[-1], 0.0) * high
    return out


def _lower_end(grid: Floats, cathode: Floats) -> Floats:
    """What a cathode does near empty beyond going on as straight as before [V]."""
    middle = (grid >= _TREND[0]) & (grid <= _TREND[1])
    trend = np.polyval(np.polyfit(grid[middle], cathode[middle], 1), grid)
    first = np.argmax(middle)
    return np.where(grid < grid[first], cathode - trend - (cathode - trend)[first], 0.0)


class _Anodes(NamedTuple):
    """Potentials that an anode may have over the state of charge of a new cell.

    Attributes:
        potential: Shape (windows, SOC_POINTS) [V].
        empty: Lithiation in the empty cell, shape (windows,).
        weight: How likely each is, shape (windows,); they add up to 1.
    """

    potential: Floats
    empty: Floats
    weight: Floats


def _anodes(chemistry: str, grid: Floats, new: Floats) -> _Anodes:
    if chemistry not in _ON_GRAPHITE:
        return _Anodes(np.zeros((1, len(grid))), np.zeros(1), np.ones(1))
    graphite = _graphites(grid, new)
    if chemistry not in _ON_PLATEAU:
        return graphite
    rise = np.minimum(new, new[np.searchsorted(grid, _PLATEAU_END)])
    falls = [np.minimum(_lower_end(grid, new + of), 0.0) for of in graphite.potential]
    return graphite._replace(potential=np.stack(falls) - rise)


def _graphites(grid: Floats, new: Floats) -> _Anodes:
    """Potentials of graphite that leave a smooth cathode."""
    smooth = ((grid > _SMOOTH[0]) & (grid < _SMOOTH[1]))[8:-8:8]
    tried = [
        (empty, graphite(empty + (full - empty) * grid))
        for graphite in (graphite_safari, graphite_chen)
        for empty in _EMPTY_LITHIATION
        for full in _FULL_LITHIATION
    ]
    # Bends over two percent, for tables are rounded to tenths of millivolts.
    rough = np.array([np.abs(np.diff((new + anode)[::8], 2)[smooth]).sum() for _, anode in tried])
    empty = np.array([window for window, _ in tried])
    unlikely = (rough - rough.min()) / _ROUGHER + ((empty - _USUAL_EMPTY) / _EMPTY_SIGMA) ** 2 / 2
    weight = np.exp(unlikely.min() - unlikely)
    kept = np.flatnonzero(weight >= _LEAST_LIKELY)
    return _Anodes(np.stack([tried[k][1] for k in kept]), empty[kept], weight[kept] / weight[kept].sum())
