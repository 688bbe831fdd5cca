"""Live a naive and a wear-aware schedule in the simulator: `python -m bess_pipeline_tests.wear_aware [DAYS]`.

The same LFP battery is asked for both; what it earned and lost is what the simulator says, whose ageing no estimate of
the pipeline has seen.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
from rich.console import Console
from rich.table import Table

from bess_pipeline.analytics.dispatch import optimal_schedule
from bess_pipeline.analytics.what_if import Unit
from bess_pipeline.sources.simulate import physics
from bess_pipeline.sources.simulate.cells import MAKES

_MAKE = MAKES["LFP"]
_RATED_MWH = _MAKE.capacity_ah * _MAKE.in_series * 3.2 / 1e6
_STEP_SECONDS, _PER_HOUR = 300, 12
#: What a unit of each clock costs a battery of one year [% of rated], as `degradation` tells it of simulated fleets; a
#: replacement at 150 a kWh for a fifth of its capacity.
UNIT = Unit(
    battery_id="b", chemistry="LFP", energy_mwh=_RATED_MWH, power_mw=_RATED_MWH / 2, efficiency=0.93, celsius=23.0,
    calendar_unit=1400.0, cycle_unit=2200.0, cost_per_percent=150 * 1000 * _RATED_MWH / 20,
)  # fmt: skip


@dataclass(frozen=True)
class Lived:
    """What became of a schedule.

    Attributes:
        name: The schedule.
        revenue: What it really earned [money].
        cycles: Equivalent full cycles.
        lost_percent: Capacity that was lost [% of new].
        profit: Revenue less what the lost capacity is worth [money].
    """

    name: str
    revenue: float
    cycles: float
    lost_percent: float
    profit: float


def two_peaks(hours: int) -> np.ndarray:
    """Prices with two peaks a day, a week and noise [money/MWh]."""
    at, random = np.arange(hours), np.random.default_rng(5)
    day, week = np.sin(4 * np.pi * (at % 24 - 9) / 24), np.sin(2 * np.pi * at / 168)
    return 70 + 35 * day + 15 * week + 15 * random.standard_normal(hours)


def lives(days: int = 365) -> tuple[Lived, Lived]:
    """The naive schedule and the one that counts wear, each lived by the same battery."""
    prices = two_peaks(24 * days)
    found = []
    for name, counts_wear in (("revenue", False), ("wear", True)):
        storage = UNIT.storage(0.5, 0.5, counts_wear=counts_wear)
        best = optimal_schedule(prices, storage)
        power = best.charge_mw - best.discharge_mw
        found.append(_lived(name, power, prices, days))
    return found[0], found[1]


def _lived(name: str, power: np.ndarray, prices: np.ndarray, days: int) -> Lived:
    asked = np.repeat(power / UNIT.energy_mwh, _PER_HOUR)
    steps_per_day = 24 * _PER_HOUR
    battery = np.zeros(physics.BATTERY_COLUMNS)
    battery[physics.CAPACITY], battery[physics.OHM], battery[physics.EFFICIENCY] = 1.02, 1.0, 0.9997
    battery[physics.AIR] = _MAKE.capacity_ah * _MAKE.in_series / 130.0
    battery[physics.SOC], battery[physics.START_LOSS] = 0.5, 0.02
    spread = np.stack([np.ones(physics.CELLS), np.ones(physics.CELLS), np.zeros(physics.CELLS)])
    hours = np.arange(len(asked)) / _PER_HOUR
    air = 21 + 1.5 * np.sin(2 * np.pi * (hours - 9) / 24)
    steps, lived = np.empty((len(asked), physics.STEP_COLUMNS)), np.empty((days, physics.DAY_COLUMNS))
    physics.lived(
        asked, air, battery, spread, np.zeros(physics.FAULT_COLUMNS), physics.make_of(_MAKE), _MAKE.potentials(),
        float(_STEP_SECONDS), steps_per_day, 0.0, steps, lived,
    )  # fmt: skip
    given = -steps[:, physics.MEAN_CURRENT] * steps[:, physics.MEAN_VOLT] / 1e6
    revenue = float((given.reshape(-1, _PER_HOUR).mean(axis=1) * prices).sum())
    moved = np.abs(steps[:, physics.MEAN_CURRENT]).sum() / _PER_HOUR
    loss = lived[:, physics.LOSS_CALENDAR] + lived[:, physics.LOSS_CYCLE]
    lost = 100 * float(loss[-1] - loss[0])
    return Lived(name, revenue, moved / (2 * _MAKE.capacity_ah), lost, revenue - lost * UNIT.cost_per_percent)


def main(days: str = "365") -> None:
    """Print both."""
    grid = Table("schedule", "revenue", "cycles", "capacity lost, %", "revenue per % lost", "revenue less wear")
    for one in lives(int(days)):
        told = (one.revenue, one.cycles, one.lost_percent, one.revenue / one.lost_percent, one.profit)
        grid.add_row(one.name, *(f"{value:,.2f}" for value in told))
    until = date(2026, 1, 1) + timedelta(days=int(days))
    Console(width=110).print(grid, f"{int(days)} days, to {until}", sep="\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
