"""Clocks of ageing: what a day of use costs, after what laboratories found for each family of cells."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from bess_pipeline.arrays import Floats
from bess_pipeline.tables.keys import BATTERY, BATTERY_DAY

_GAS, _ROOM_KELVIN, _ROOM_CELSIUS = 8.314462618, 298.15, 25.0
_SECONDS = 86_400.0
#: Capacity of the cell that NMC ageing was measured on [Ah].
_MEASURED_AH = 2.15
#: A current counts as work from here on [C].
_WORK_RATE = 0.01


@dataclass(frozen=True)
class Clock:
    """How loss follows from what has added up.

    Attributes:
        calendar_power: Loss by the calendar is what its clock has added up, to this power.
        cycle_power: The same of cycling.
    """

    calendar_power: float
    cycle_power: float


#: LFP and all that is not measured better: both losses grow as roots. NMC and its kin: calendar as t^0.75.
CLOCKS = {"LFP": Clock(0.5, 0.5), "NMC": Clock(0.75, 0.5)}
_LIKE_NMC = ("NMC", "NCA", "LCO")


def clock_of(chemistry: str) -> Clock:
    """The clock of a chemistry.

    Examples:
        >>> clock_of("NCA").calendar_power
        0.75
    """
    return CLOCKS["NMC" if chemistry in _LIKE_NMC else "LFP"]


def daily_stress(telemetry: pl.DataFrame, states: pl.DataFrame, batteries: pl.DataFrame) -> pl.DataFrame:
    """What each day adds to the clocks of its battery.

    LFP, and chemistries without a measurement of their own: k²·t with
    k = 1.2571e-5 s^-½ · exp(−17126/R·(1/T − 1/298.15)) · (2.8575·(SOC − 0.5)³ + 0.60225) for the calendar and
    k = (0.0630·C + 0.0971)·(4.0253·(depth − 0.6)³ + 1.0923)/100 per √cycle. NMC, NCA and LCO: k^(4/3)·t with
    k = (7.543·V − 23.75)·1e6·exp(−6976/T) per day^0.75, and
    k = 7.348e-3·(V − 3.667)² + 7.6e-4 + 4.081e-3·depth per √Ah of a cell of 2.15 Ah. Only the shape in time matters:
    how fast a battery runs through them is estimated. What is unknown of a day is taken as ordinary: 25 °C, 50 %.
    The state of charge is that known on the day itself, half-way between its extremes: the smoothed one of
    `telemetry_5min` would let later days change what was said of earlier ones.

    Args:
        telemetry: `Telemetry5min` rows.
        states: `BatteryState` rows.
        batteries: `Battery` rows.

    Returns:
        `DailyStress` rows, sorted: `calendar` and `cycle` [loss to the power 1/p], and `cycles`. A day rests on itself.

    References:
        M. Naumann et al. (2018), J. Energy Storage 17, 153, doi:10.1016/j.est.2018.01.019; (2020), J. Power Sources
        451, 227666, doi:10.1016/j.jpowsour.2019.227666. J. Schmalstieg et al. (2014), J. Power Sources 257, 325,
        doi:10.1016/j.jpowsour.2014.02.012.
    """
    plates = batteries.select(*BATTERY, "chemistry", "rated_capacity_ah", "cells_in_series")
    rated = pl.col("rated_capacity_ah")
    moved = pl.col("charging_capacity_ah").fill_null(0) + pl.col("discharging_capacity_ah").fill_null(0)
    rate = pl.col("current_ampere").abs() / rated
    low, high = pl.col("soc_min_percent"), pl.col("soc_max_percent")
    known = states.select(*BATTERY_DAY, soc=((low + high) / 200).clip(0, 1), depth=((high - low) / 100).clip(0, 1))
    days = (
        telemetry.join(plates, on=BATTERY, how="inner")
        .sort(*BATTERY, "timestamp")
        .group_by(*BATTERY_DAY, "chemistry", maintain_order=True)
        .agg(
            celsius=pl.col("temperature_celsius").mean().fill_null(_ROOM_CELSIUS),
            volt=(pl.col("voltage_volt") / pl.col("cells_in_series")).mean(),
            rate=rate.filter(rate > _WORK_RATE).mean().fill_null(0.0),
            cycles=(moved / (2 * rated)).sum(),
        )
        .join(known, on=BATTERY_DAY, how="left", maintain_order="left")
        .with_columns(pl.col("soc").fill_null(0.5), pl.col("depth").fill_null(0.0))
    )
    return stress_of(days)


def stress_of(days: pl.DataFrame) -> pl.DataFrame:
    """What days of known use add to the clocks: see `daily_stress`.

    Args:
        days: `chemistry`, `celsius` [°C], `soc` and `depth` [1], `volt` per cell [V], `rate` [C], `cycles`.
    """
    kelvin = pl.col("celsius") + 273.15
    arrhenius = (-17126.0 / _GAS * (1 / kelvin - 1 / _ROOM_KELVIN)).exp()
    lfp = 1.2571e-5 * arrhenius * (2.8575 * (pl.col("soc") - 0.5).pow(3) + 0.60225)
    lfp_cycle = (0.0630 * pl.col("rate") + 0.0971) * (4.0253 * (pl.col("depth") - 0.6).pow(3) + 1.0923) / 100
    volt = pl.coalesce("volt", pl.lit(3.667)).clip(3.3, 4.3)
    nmc = ((7.543 * volt - 23.75) * 1e6 * (-6976.0 / kelvin).exp()).clip(lower_bound=1e-5)
    nmc_cycle = 7.348e-3 * (volt - 3.667).pow(2) + 7.6e-4 + 4.081e-3 * pl.col("depth")
    is_nmc = pl.col("chemistry").is_in(_LIKE_NMC)
    return days.select(
        *BATTERY,
        "date",
        "cycles",
        calendar=pl.when(is_nmc).then(nmc.pow(4 / 3)).otherwise(lfp.pow(2) * _SECONDS),
        cycle=pl.when(is_nmc).then(nmc_cycle.pow(2) * 2 * _MEASURED_AH).otherwise(lfp_cycle.pow(2)) * pl.col("cycles"),
    )


def run_through(added: Floats, power: float, before: float) -> Floats:
    """Loss that a clock stands for after each day, beyond that before the first.

    Args:
        added: What each day adds.
        power: Loss is the sum to this power.
        before: Loss that lies before the first day: a clock that begins at zero runs infinitely fast.
    """
    begun = before ** (1 / power)
    out: Floats = (begun + np.cumsum(added)) ** power - before
    return out
