"""A fleet's life: what is asked of it, what really happens, and what its sensors say."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from bess_pipeline.arrays import Floats
from bess_pipeline.sources.simulate import physics
from bess_pipeline.sources.simulate.cells import MAKES, Cells
from bess_pipeline.sources.simulate.dispatch import requests
from bess_pipeline.sources.simulate.faults import Planted, planted
from bess_pipeline.sources.simulate.physics import Life
from bess_pipeline.sources.simulate.plan import Plan

#: C-rate per unit of state of charge away from a half, by which batteries that regulate or stand by find back.
_RECENTRE = {"frequency": 0.25, "reserve": 0.15}


#: Loggers that are this slow deliver the mean of each interval [s].
MEANS_FROM_SECONDS = 300


@dataclass(frozen=True)
class Sensors:
    """What is wrong with the sensors of each battery: shape (batteries,) each.

    Attributes:
        gain: Relative gain of the current sensor [1].
        offset: Offset of the current sensor [A].
        dead_band: Currents below this are reported as zero [A].
        soc_gain: Relative gain of the management system's own charge counter [1].
    """

    gain: Floats
    offset: Floats
    dead_band: Floats
    soc_gain: Floats


@dataclass(frozen=True)
class Simulated:
    """A synthetic fleet: its life, its faults, and the rows that its sensors gave.

    Attributes:
        plan: What was asked for.
        cells: The make of battery.
        battery: The kernel's battery table.
        air: Air temperature [°C]: shape (steps,).
        life: What really happened.
        faults: Planted battery faults.
        sensors: Errors of the sensors.
        samples: One row per battery and instant, in house names and units, before data faults.
    """

    plan: Plan
    cells: Cells
    battery: Floats
    air: Floats
    life: Life
    faults: list[Planted]
    sensors: Sensors
    samples: pl.DataFrame


def lived_fleet(plan: Plan) -> Simulated:
    """Simulate a fleet, up to what its sensors say."""
    chance = np.random.default_rng([plan.seed, 7])
    cells = MAKES[plan.chemistry]
    count = plan.batteries
    battery = np.zeros((count, physics.BATTERY_COLUMNS))
    battery[:, physics.CAPACITY] = chance.normal(1.02, 0.012, count)
    battery[:, physics.OHM] = chance.normal(1.0, 0.05, count)
    battery[:, physics.EFFICIENCY] = 1.0 - chance.uniform(0.0001, 0.0004, count)
    battery[:, physics.AIR] = cells.capacity_ah * cells.in_series / 130.0 * chance.uniform(0.9, 1.1, count)
    battery[:, physics.SOC] = chance.uniform(0.45, 0.55, count)
    battery[:, physics.START_LOSS] = chance.uniform(0.0, 0.01, count)
    spread = np.stack(
        [
            1.0 + 0.008 * chance.standard_normal((count, physics.CELLS)),
            1.0 + 0.04 * chance.standard_normal((count, physics.CELLS)),
            0.004 * chance.standard_normal((count, physics.CELLS)),
        ],
        axis=1,
    )
    asked = requests(plan, chance)
    air = _air(plan, chance)
    # Generators of their own: a fault planted or left out changes nothing else about the fleet.
    faults = planted(plan, np.random.default_rng([plan.seed, 8]))
    chance = np.random.default_rng([plan.seed, 9])
    rows = np.zeros((count, physics.FAULT_COLUMNS))
    for fault in faults:
        rows[fault.battery] = fault.row
    steps = np.empty((count, plan.steps, physics.STEP_COLUMNS))
    days = np.empty((count, plan.days, physics.DAY_COLUMNS))
    make, potentials = physics.make_of(cells), cells.potentials()
    for number in range(count):
        physics.lived(
            asked[number], air, battery[number], spread[number], rows[number], make, potentials,
            float(plan.interval_seconds), plan.steps_per_day, _RECENTRE.get(plan.profile, 0.0),
            steps[number], days[number],
        )  # fmt: skip
    sensors = Sensors(
        gain=1.0 + 0.004 * chance.standard_normal(count),
        offset=0.0015 * cells.capacity_ah * chance.standard_normal(count),
        dead_band=np.full(count, 0.002 * cells.capacity_ah),
        soc_gain=1.0 + 0.012 * chance.standard_normal(count),
    )
    life = Life(steps, days)
    samples = _samples(plan, cells, life, air, faults, sensors, chance)
    return Simulated(plan, cells, battery, air, life, faults, sensors, samples)


def _air(plan: Plan, chance: np.random.Generator) -> Floats:
    """Air around the batteries: a conditioned room that follows season, day and weather a little."""
    hours = np.arange(plan.steps) * plan.interval_seconds / 3600.0
    season = np.sin(2 * np.pi * (plan.start.timetuple().tm_yday + hours / 24 - 105) / 365.25)
    day = np.sin(2 * np.pi * (hours - 9) / 24)
    weather = np.repeat(np.cumsum(chance.normal(0, 0.5, plan.days)) * 0.3, plan.steps_per_day)
    air: Floats = 21.0 + 3.0 * season + 1.5 * day + np.clip(weather, -4, 4)
    return air


def _reported_soc(life: Life, cells: Cells, plan: Plan, gain: Floats) -> Floats:
    """State of charge as a management system counts it: own gain, no drift correction but at full charge [percent]."""
    current = life.steps[:, :, physics.MEAN_CURRENT]
    full = life.steps[:, :, physics.FULL] > 0.5
    moved = current * plan.interval_seconds / 3600.0 / cells.capacity_ah * gain[:, None]
    counted = np.cumsum(moved, axis=1)
    first = life.steps[:, :1, physics.MEAN_SOC]
    at_full = np.where(full, 1.0 - counted, np.nan)
    reset = pl.DataFrame(at_full.T).with_columns(pl.all().fill_nan(None).forward_fill()).to_numpy().T
    level: Floats = np.where(np.isnan(reset), first, reset) + counted
    return np.clip(100.0 * level, 0.0, 100.0)


def _samples(
    plan: Plan,
    cells: Cells,
    life: Life,
    air: Floats,
    faults: list[Planted],
    sensors: Sensors,
    chance: np.random.Generator,
) -> pl.DataFrame:
    steps = life.steps
    shape = steps.shape[:2]
    gain = np.repeat(sensors.gain[:, None], shape[1], axis=1)
    kelvin = np.zeros(shape)
    index = np.arange(shape[1])
    for fault in faults:
        grown = np.clip((index - fault.row[physics.ONSET] + 1) / fault.row[physics.RAMP], 0, 1)
        gain[fault.battery] += fault.gain * grown
        kelvin[fault.battery] += fault.kelvin * grown
    seldom = plan.interval_seconds >= MEANS_FROM_SECONDS
    true = steps[:, :, physics.MEAN_CURRENT if seldom else physics.CURRENT]
    current = true * gain + sensors.offset[:, None] + 0.0004 * cells.capacity_ah * chance.standard_normal(shape)
    current[np.abs(current) < sensors.dead_band[:, None]] = 0.0

    def read(column: int, noise: float, digits: int) -> Floats:
        return np.round(steps[:, :, column] + noise * chance.standard_normal(shape), digits)

    def heat(column: int) -> Floats:
        return np.round(read(column, 0.1, 3) + kelvin, 1)

    health = np.repeat(np.round(100 * life.days[:, :, physics.Q_MEAN]), plan.steps_per_day, axis=1)
    times = _times(plan)
    columns = {
        "voltage_volt": read(physics.MEAN_VOLT if seldom else physics.VOLT, 0.15, 1),
        "current_ampere": np.round(current, 1),
        "temperature_celsius": heat(physics.TEMPERATURE),
        "temperature_min_celsius": heat(physics.COLDEST),
        "temperature_max_celsius": heat(physics.HOTTEST),
        "cell_voltage_min_volt": read(physics.LOWEST, 0.001, 3),
        "cell_voltage_max_volt": read(physics.HIGHEST, 0.001, 3),
        "soc_bms_percent": np.round(_reported_soc(life, cells, plan, sensors.soc_gain), 1),
        "soh_bms_percent": np.minimum(health, 100.0),
        "ambient_temperature_celsius": np.broadcast_to(np.round(air, 1), shape),
    }
    return pl.DataFrame(
        {
            "timestamp": pl.concat([times] * shape[0]),
            "battery_id": pl.Series([plan.battery_id(number) for number in range(shape[0])]).gather(
                np.repeat(np.arange(shape[0]), shape[1])
            ),
            **{name: np.ascontiguousarray(values).ravel() for name, values in columns.items()},
        }
    )


def _times(plan: Plan) -> pl.Series:
    start = int(plan.start_time.timestamp() * 1_000_000)
    ticks = start + np.arange(plan.steps, dtype=np.int64) * plan.interval_seconds * 1_000_000
    return pl.Series(ticks).cast(pl.Datetime("us", "UTC"))
