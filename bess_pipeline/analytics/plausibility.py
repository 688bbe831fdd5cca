"""What in the 5-minute rows cannot be: temperatures in Fahrenheit, channels that stand still, spikes."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import numpy.typing as npt
import polars as pl
from numba import njit

from bess_pipeline.tables.chemistry import CHEMISTRY

_BATTERY = ("fleet_id", "battery_id")

#: Temperatures that a battery short of a fire can show [°C].
TEMPERATURES = (-45.0, 120.0)

#: Furthest that a reading may be from its predecessor and still continue it in the other unit [K].
_UNIT_TOLERANCE = 4.0
#: Least change from one interval to the next that is taken for a change of unit rather than heat [K].
_UNIT_JUMP = 15.0
#: The unit that a temperature had is forgotten after this long without readings.
_UNIT_MEMORY = timedelta(days=2)
#: Readings in a row that may leap without being believed: an interval across the change mixes both units.
_ASTRAY_INTERVALS = 3
_CREDIBLE, _FAHRENHEIT, _ASTRAY = 0, 1, 2
#: Intervals that a channel must stand still for while another says that it cannot.
_STILL_INTERVALS = 6


@njit(cache=True)
def _units(
    series: npt.NDArray[np.int64], times: npt.NDArray[np.int64], values: npt.NDArray[np.float64], memory: int
) -> npt.NDArray[np.int8]:
    out = np.zeros(len(values), dtype=np.int8)
    fahrenheit = False
    last = before = np.nan
    last_time = 0
    astray = 0
    for i in range(len(values)):
        if i == 0 or series[i] != series[i - 1] or times[i] - last_time > memory:
            fahrenheit = False
            last = before = np.nan
            astray = 0
        if np.isnan(values[i]):
            out[i] = _FAHRENHEIT if fahrenheit else _CREDIBLE
            continue
        converted = (values[i] - 32.0) / 1.8
        same, other = (converted, values[i]) if fahrenheit else (values[i], converted)
        for known in (last, before):
            if abs(same - known) > _UNIT_JUMP and abs(other - known) < _UNIT_TOLERANCE:
                fahrenheit = not fahrenheit
                same = other
                break
        if abs(same - last) > _UNIT_JUMP and not abs(same - before) <= _UNIT_JUMP:
            if astray < _ASTRAY_INTERVALS:
                astray += 1
                out[i] = _ASTRAY
                continue
            fahrenheit = False
            same = values[i]
        astray = 0
        before = last
        last = same
        last_time = times[i]
        out[i] = _FAHRENHEIT if fahrenheit else _CREDIBLE
    return out


def plausible_intervals(intervals: pl.DataFrame, batteries: pl.DataFrame) -> pl.DataFrame:
    """5-minute rows without the values that cannot be, and with marks where they were.

    * A mean temperature that jumps by more than 15 K from one reading to the next and
      lands within 4 K of the same temperature in the other unit has changed its unit: all
      temperatures are unknown until it jumps back. Up to three readings in a row that leap
      elsewhere are unknown. A battery's mean temperature does not move by 15 K in 5
      minutes; drifts and real heating are left alone.
    * A channel that stands still to the last digit for half an hour while another
      proves that it must move is unknown: the voltage under a current of 0.05 C, the
      current or a cell voltage while the battery voltage moves by 5 mV per cell.
    * Cell voltages and temperatures outside what cells can show are unknown.

    Args:
        intervals: `Interval5min` rows in any order.
        batteries: `Battery` rows.

    Returns:
        The intervals of the known batteries, by fleet, battery and time, with their nameplate,
        and `in_fahrenheit` and `stands_still`. Implausible values are null.

    References:
        Cells change their voltage with charge passed; a reading that does not is the
        logger's: G. L. Plett, Battery Management Systems, vol. 2, Artech House 2015.
    """
    nameplate = batteries.select(
        *_BATTERY,
        "chemistry",
        "rated_capacity_ah",
        "cells_in_series",
        pl.selectors.starts_with("cell_voltage_", "temperature_").name.prefix("limit_"),
    )
    low, high = (
        pl.col("chemistry").replace_strict(
            {name: chemistry.plausible_cell_volt[side] for name, chemistry in CHEMISTRY.items()}
        )
        for side in (0, 1)
    )
    rows = intervals.join(nameplate, on=_BATTERY, how="inner").sort(*_BATTERY, "timestamp")
    units = _units(
        rows.select(pl.struct(_BATTERY).rle_id().cast(pl.Int64)).to_series().to_numpy(),
        rows["timestamp"].to_physical().to_numpy(),
        rows["temperature_celsius"].cast(pl.Float64).fill_null(float("nan")).to_numpy(),
        _UNIT_MEMORY // timedelta(microseconds=1),
    )
    temperatures = ("temperature_celsius", "temperature_min_celsius", "temperature_max_celsius")
    cells = ("cell_voltage_min_volt", "cell_voltage_max_volt")
    cell = pl.col("voltage_volt") / pl.col("cells_in_series")
    moved = _range(cell) > 0.005
    loaded = pl.col("current_ampere").abs().rolling_min(_STILL_INTERVALS) > 0.05 * pl.col("rated_capacity_ah")
    current_stands = (_range(pl.col("current_ampere")) == 0) & (pl.col("current_ampere") != 0) & moved
    stands = {
        "voltage_volt": (_range(pl.col("voltage_volt")) == 0) & loaded,
        "current_ampere": current_stands,
        **{name: (_range(pl.col(name)) == 0) & moved for name in cells},
    }
    unbroken = pl.col("timestamp") - pl.col("timestamp").shift(_STILL_INTERVALS - 1) == pl.duration(
        minutes=5 * (_STILL_INTERVALS - 1)
    )
    rows = rows.with_columns(
        pl.Series("in_fahrenheit", units == _FAHRENHEIT),
        pl.Series("astray", units == _ASTRAY),
        *(
            (found & unbroken & (pl.col("battery_id") == pl.col("battery_id").shift(_STILL_INTERVALS - 1)))
            .fill_null(value=False)
            .alias(f"{name}_stands")
            for name, found in stands.items()
        ),
    )
    known = {
        **{
            name: ~(pl.col("in_fahrenheit") | pl.col("astray")) & pl.col(name).is_between(*TEMPERATURES)
            for name in temperatures
        },
        **{name: ~pl.col(f"{name}_stands") & pl.col(name).is_between(low, high) for name in cells},
        "voltage_volt": ~pl.col("voltage_volt_stands"),
        "current_ampere": ~pl.col("current_ampere_stands"),
    }
    return rows.with_columns(
        *(pl.when(good).then(pl.col(name)).alias(name) for name, good in known.items()),
        stands_still=pl.any_horizontal(f"{name}_stands" for name in stands),
    ).drop("astray", *(f"{name}_stands" for name in stands))


def _range(values: pl.Expr) -> pl.Expr:
    """Largest minus smallest of the last half hour's values; null where one is unknown."""
    return values.rolling_max(_STILL_INTERVALS) - values.rolling_min(_STILL_INTERVALS)
