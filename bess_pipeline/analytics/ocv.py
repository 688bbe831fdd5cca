"""Open-circuit voltage: from voltage at rest to state of charge, and how far that can be trusted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numba import njit

from bess_pipeline.arrays import Floats, Ints
from bess_pipeline.tables.chemistry import CHEMISTRY
from bess_pipeline.tables.keys import BATTERY

#: Points per percent of state of charge in the tables that are searched.
_PER_PERCENT = 10
_POINTS = 100 * _PER_PERCENT + 1
#: Beyond its ends a curve goes on with its mean slope over the outermost percent.
_END = _PER_PERCENT


@dataclass(frozen=True)
class OcvTable:
    """Open-circuit voltages of one cell over a common grid of the state of charge.

    Attributes:
        soc_percent: Grid, shape (points,) [%].
        volt: Never falling along the grid, shape (batteries, points) [V].
    """

    soc_percent: Floats
    volt: Floats


@dataclass(frozen=True)
class RestedCharge:
    """State of charge from voltages at rest, elementwise.

    Attributes:
        soc_percent: Below 0 or above 100 where the voltage leaves the curve [%].
        slope_volt_per_percent: Slope of the curve there [V/%].
        sigma_percent: What the error of the voltage means for the state of charge [%].
    """

    soc_percent: Floats
    slope_volt_per_percent: Floats
    sigma_percent: Floats


def ocv_table(batteries: pl.DataFrame, curves: pl.DataFrame) -> OcvTable:
    """The curves of all batteries on one grid, in the order of the batteries sorted by name.

    A battery without a curve gets that of its chemistry. Where a curve falls, which
    measured curves do by a few tenths of a millivolt, it is held level instead.

    Args:
        batteries: `Battery` rows.
        curves: `OcvPoint` rows.
    """
    grid = np.arange(_POINTS) / _PER_PERCENT
    asked = curves.join(batteries, on=BATTERY, how="semi")
    own = {
        key: (points["soc_percent"].to_numpy(), points["ocv_volt"].to_numpy())
        for key, points in asked.sort(*BATTERY, "soc_percent").partition_by(BATTERY, as_dict=True).items()
    }
    volt = np.empty((batteries.height, _POINTS))
    plates = batteries.sort(BATTERY).select(*BATTERY, "chemistry").rows()
    for index, (fleet, battery, chemistry) in enumerate(plates):
        soc, points = own.get((fleet, battery), tuple(np.array(CHEMISTRY[chemistry].ocv).T))
        volt[index] = np.maximum.accumulate(np.interp(grid, soc, points))
    return OcvTable(grid, volt)


def rested_charge(volt: Floats, battery: Ints, table: OcvTable, *, sigma_volt: Floats) -> RestedCharge:
    """Read the state of charge off the open-circuit curve, with its error.

    The error is the largest change that one, or half of that which two, standard
    errors of the voltage more or less would make: on a plateau, and near its edge,
    that says how little is known, where the error over the local slope would promise
    too much.

    Args:
        volt: Open-circuit voltage of one cell, NaN where unknown [V].
        battery: Row of `table` that belongs to each voltage.
        table: Curves.
        sigma_volt: Standard error of each voltage [V].

    Examples:
        >>> table = OcvTable(np.arange(1001) / 10, np.linspace(3.0, 4.0, 1001)[None, :])
        >>> found = rested_charge(np.array([3.5]), np.array([0]), table, sigma_volt=np.array([0.02]))
        >>> round(found.soc_percent.item(), 6), round(found.sigma_percent.item(), 6)
        (50.0, 2.0)
    """
    soc, slope, sigma = np.empty(len(volt)), np.empty(len(volt)), np.empty(len(volt))
    _invert(volt, battery, table.volt, sigma_volt, soc, slope, sigma)
    return RestedCharge(soc, slope, sigma)


@njit(cache=True)
def soc_at(curve: Floats, volt: float) -> float:
    """State of charge at an open-circuit voltage on one curve of an `OcvTable` [%]; continues beyond its ends."""
    if np.isnan(volt):
        return np.nan
    last = _POINTS - 1
    if volt <= curve[0]:
        slope = max((curve[_END] - curve[0]) / _END, 1e-6)
        return float((volt - curve[0]) / slope / _PER_PERCENT)
    if volt >= curve[last]:
        slope = max((curve[last] - curve[last - _END]) / _END, 1e-6)
        return float(100.0 + (volt - curve[last]) / slope / _PER_PERCENT)
    above = np.searchsorted(curve, volt, side="right")
    below = above - 1
    return float((below + (volt - curve[below]) / (curve[above] - curve[below])) / _PER_PERCENT)


@njit(cache=True)
def soc_sigma_at(curve: Floats, volt: float, sigma_volt: float) -> float:
    """What an error of the open-circuit voltage means for the state of charge [%]."""
    here = soc_at(curve, volt)
    once = max(soc_at(curve, volt + sigma_volt) - here, here - soc_at(curve, volt - sigma_volt))
    twice = max(soc_at(curve, volt + 2 * sigma_volt) - here, here - soc_at(curve, volt - 2 * sigma_volt))
    return max(once, twice / 2)


@njit(cache=True)
def _invert(
    volt: Floats, battery: Ints, curves: Floats, sigma_volt: Floats, soc: Floats, slope: Floats, sigma: Floats
) -> None:
    for k in range(len(volt)):
        curve = curves[battery[k]]
        soc[k] = soc_at(curve, volt[k])
        sigma[k] = soc_sigma_at(curve, volt[k], sigma_volt[k])
        if np.isnan(soc[k]):
            slope[k] = np.nan
            continue
        at = min(max(int(soc[k] * _PER_PERCENT), 0), _POINTS - 2)
        slope[k] = (curve[at + 1] - curve[at]) * _PER_PERCENT
