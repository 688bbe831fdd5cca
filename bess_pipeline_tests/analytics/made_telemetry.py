"""Days of a made-up battery whose physics is known: loads, sensors of any resolution, faults planted by hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta

import numpy as np
import polars as pl

from bess_pipeline.analytics.telemetry import clean
from bess_pipeline.arrays import Floats
from bess_pipeline.tables.telemetry import FLAGS, RawTelemetry
from bess_pipeline_tests.analytics.made_samples import FLEET, MIDNIGHT, nameplates

DAY = 86_400
#: The battery: LFP, 10 cells in series.
RATED, CELLS = 100.0, 10
#: Its resistance at once and after some minutes [Ω], and how many those are [s].
OHM, SLOW_OHM, SLOW_SECONDS = 0.006, 0.004, 300.0

#: Columns of accepted rows.
SAMPLE_SCHEMA = {
    name: kind
    for name, kind in RawTelemetry.create_empty().schema.items()
    if name not in {"path", "row_number", "first_seen", "verdict"}
} | {"arrival": pl.Int64}

#: Smallest change that sensors tell: of a laboratory, of a plant, and of a plant that rounds to whole numbers.
FINE = {
    "voltage_volt": 1e-4,
    "current_ampere": 1e-4,
    "temperature_celsius": 1e-2,
    "cell": 1e-4,
    "soc_bms_percent": 1e-3,
}
PLANT = {"voltage_volt": 0.1, "current_ampere": 0.1, "temperature_celsius": 0.1, "cell": 1e-3, "soc_bms_percent": 0.1}
COARSE = {"voltage_volt": 1.0, "current_ampere": 1.0, "temperature_celsius": 1.0, "cell": 1e-2, "soc_bms_percent": 1.0}

#: Noise of the same sensors, one sigma.
QUIET = dict.fromkeys(FINE, 0.0)
NOISE = {
    "voltage_volt": 0.02,
    "current_ampere": 0.1,
    "temperature_celsius": 0.08,
    "cell": 0.001,
    "soc_bms_percent": 0.0,
}

#: Sensors whose noise is as large as their last digit, so that a value seldom repeats.
SITE = PLANT | {"voltage_volt": 0.01}
SITE_NOISE = NOISE | {"temperature_celsius": 0.1}


def grid(step: float, *, until: float = DAY) -> Floats:
    """Seconds of a day from midnight on, one step apart."""
    return np.arange(0.0, until, step)


def open_volt(soc: Floats) -> Floats:
    """Open-circuit voltage of a cell over its state of charge [%]: flat, with a knee at either end [V]."""
    share = np.clip(soc, 0, 100) / 100
    flat = 3.24 + 0.09 * share
    knees: Floats = flat + 0.22 * np.exp(-(1 - share) / 0.008) - 0.6 * np.exp(-share / 0.02)
    return knees


def worked(
    seconds: Floats,
    ampere: Floats,
    *,
    soc: float = 50.0,
    sensors: Mapping[str, float] = PLANT,
    noise: Mapping[str, float] = QUIET,
    offset: float = 0.0,
    dead_band: float = 0.0,
    warmth: float = 25.0,
    seed: int = 0,
) -> dict[str, Floats]:
    """What the sensors of the battery say while it carries a current.

    Args:
        seconds: Times of the samples [s].
        ampere: Current from each sample to the next [A].
        soc: State of charge at the first sample [%].
        sensors: Smallest change that each sensor tells.
        noise: Noise of each sensor.
        offset: Offset of the current sensor [A].
        dead_band: Current below which it reports zero [A].
        warmth: Temperature at the first sample [°C].
        seed: Of the noise.
    """
    random = np.random.default_rng(seed)
    hours = np.diff(seconds, append=seconds[-1:]) / 3600
    charge = np.concatenate([[0.0], np.cumsum(ampere * hours)[:-1]])
    level = soc + 100 * charge / RATED
    slow, heat = np.zeros(len(seconds)), np.full(len(seconds), warmth)
    for i in range(1, len(seconds)):
        gone = 3600 * hours[i - 1]
        slow[i] = ampere[i - 1] + (slow[i - 1] - ampere[i - 1]) * np.exp(-gone / SLOW_SECONDS)
        warm = warmth + 12 * (ampere[i - 1] / RATED) ** 2
        heat[i] = warm + (heat[i - 1] - warm) * np.exp(-gone / 7200)
    volt = CELLS * open_volt(level) + OHM * ampere + SLOW_OHM * slow

    def read(values: Floats, kind: str) -> Floats:
        told = values + noise[kind] * random.standard_normal(len(values))
        return np.round(np.round(told / sensors[kind]) * sensors[kind], 6)

    current = read(ampere + offset, "current_ampere")
    return {
        "voltage_volt": read(volt, "voltage_volt"),
        "current_ampere": np.where(np.abs(current) < dead_band, 0.0, current),
        "temperature_celsius": read(heat, "temperature_celsius"),
        "temperature_min_celsius": read(heat - 0.8, "temperature_celsius"),
        "temperature_max_celsius": read(heat + 1.1, "temperature_celsius"),
        "cell_voltage_min_volt": read(volt / CELLS - 0.004, "cell"),
        "cell_voltage_max_volt": read(volt / CELLS + 0.003, "cell"),
        "soc_bms_percent": read(np.clip(level, 0, 100), "soc_bms_percent"),
    }


def sampled(
    seconds: Floats, columns: Mapping[str, object], *, battery: str = "b", start: datetime = MIDNIGHT
) -> pl.DataFrame:
    """Accepted rows, one per time; a column that is not given, or NaN, is unknown."""
    at = [start + timedelta(microseconds=round(float(second) * 1_000_000)) for second in seconds]
    told = {
        name: pl.Series(values).fill_nan(None) if name.rsplit("_", 1)[-1] in _UNITS else pl.Series(values)
        for name, values in columns.items()
    }
    rows = pl.DataFrame({"timestamp": pl.Series(at, dtype=pl.Datetime("us", "UTC")), **told})
    shared = {
        "fleet_id": pl.lit(FLEET),
        "battery_id": pl.lit(battery),
        "date": pl.col("timestamp").dt.date(),
        "arrival": pl.int_range(pl.len()),
        "clock_shift_us": pl.lit(0),
    }
    rows = rows.with_columns(expr.alias(name) for name, expr in shared.items() if name not in rows.columns)
    return rows.select(
        (pl.col(name) if name in rows.columns else pl.lit(None)).cast(kind).alias(name)
        for name, kind in SAMPLE_SCHEMA.items()
    )


_UNITS = {"volt", "ampere", "watt", "celsius", "percent"}


def found(rows: pl.DataFrame, **plates: object) -> pl.DataFrame:
    """The rows, cleaned."""
    return clean(rows, nameplates(rows["battery_id"].unique().sort().to_list(), **plates))


def counted(cleaned: pl.DataFrame) -> dict[str, int]:
    """How many samples carry each flag that any carries."""
    sums = cleaned.select(pl.col(name).sum() for name in FLAGS).row(0, named=True)
    return {name: number for name, number in sums.items() if number}


def cycling(seconds: Floats, *, rate: float = 0.5, rest: float = 1800.0, depth: float = 60.0) -> Floats:
    """Constant current there and back with rests between [A]."""
    move = depth / 100 / rate * 3600
    phase = seconds % (2 * move + 2 * rest)
    up, down = phase < move, (phase >= move + rest) & (phase < 2 * move + rest)
    return RATED * rate * (up.astype(np.float64) - down)


def sunny(seconds: Floats, *, seed: int = 0) -> Floats:
    """Charged by the sun behind clouds, discharged in the evening, idle at night [A]."""
    random = np.random.default_rng(seed)
    hour = seconds / 3600
    clouds = 1 - 0.6 * np.repeat(random.random(len(seconds) // 10 + 1) < 0.3, 10)[: len(seconds)]
    sun = np.where((hour > 7) & (hour < 15), 18 * np.sin(np.pi * (hour - 7) / 8), 0.0) * clouds
    evening = np.where((hour >= 18) & (hour < 23), -16.0 - 3 * np.sin(hour * 3), 0.0)
    return sun + evening


def regulating(seconds: Floats, *, seed: int = 0, holds: int = 4) -> Floats:
    """Follows the frequency of the grid: small, ever changing, of either sign [A]."""
    random = np.random.default_rng(seed)
    steps = np.repeat(random.normal(0, 22, len(seconds) // holds + 1), holds)[: len(seconds)]
    return np.where(np.abs(steps) < 4, 0.0, steps)


def pulsed(seconds: Floats) -> Floats:
    """Ten seconds at 3 C every ten minutes, in turns there and back [A]."""
    number = seconds // 600
    return np.where(seconds % 600 < 10, np.where(number % 2 == 0, 300.0, -300.0), 0.0)


def full_and_back(seconds: Floats) -> Floats:
    """Charged to the knee and half-way back, again and again [A]."""
    phase = seconds % 14_400
    return np.where(phase < 3_600, 50.0, np.where((phase >= 7_200) & (phase < 10_800), -50.0, 0.0))


def idling(seconds: Floats) -> Floats:
    """Nothing at all [A]."""
    return np.zeros(len(seconds))


Columns = dict[str, Floats]
Load = Callable[[Floats], Floats]


def held(columns: Mapping[str, Floats], names: Sequence[str], first: int, after: int) -> Columns:
    """The columns with some of them held at a sample's value up to a later one."""
    return changed(columns, {name: columns[name][first] for name in names}, first, after)


def changed(columns: Mapping[str, Floats], values: Mapping[str, object], first: int, after: int) -> Columns:
    """The columns with other values from one sample up to, not including, a later one."""
    altered = {name: np.array(column) for name, column in columns.items()}
    for name, value in values.items():
        altered[name][first:after] = value
    return altered
