"""Histories of batteries with faults of units and signs at random, as 5-minute rows."""

from datetime import timedelta

import numpy as np
import polars as pl

from bess_pipeline_tests.analytics.made_days import START, made_intervals

HEAT = ("temperature_celsius", "temperature_min_celsius", "temperature_max_celsius")


def faulty_fleet(seed, days, *, batteries=3, apart_minutes=30, start=START):
    """`Interval5min` rows of batteries that work, rest, fall silent, come late or vanish, with faults of all kinds.

    Rows are `apart_minutes` apart, where the battery is neither silent nor away; every fault
    begins and ends anywhere, also before the first and after the last row.
    """
    return pl.concat(
        _history(np.random.default_rng([seed, number]), f"b{number}", days, apart_minutes, start)
        for number in range(batteries)
    )


def _history(random, name, days, apart, start):
    day = 24 * 60 // apart
    count = days * day
    at = np.arange(count)
    phase = 2 * np.pi * at / day
    works = ~_spells(random, count, day, spells=random.integers(0, 4), most_days=25)
    level = 55 - 35 * np.cos(phase * random.choice([1, 1, 2])) * works
    moved = np.diff(level, append=level[-1:]) + 0.02 * random.standard_normal(count)
    told = level + random.choice([0.0, 0.3, 1.0]) * random.standard_normal(count)
    heat = random.uniform(-10, 40) + 2 * np.sin(phase) + random.choice([0.0, 0.3]) * random.standard_normal(count)
    ambient = np.where(random.random() < 0.5, np.nan, heat - random.uniform(0, 8))
    current = moved * 60 / apart
    steps = np.where(random.random(count) < 0.7, np.abs(random.normal(20, 5, count)), 0.0)

    flips = _spells(random, count, day, spells=random.integers(0, 4), most_days=random.choice([1, 6, 6, 40]))
    flips ^= random.random() < 0.15
    warm = _spells(random, count, day, spells=random.integers(0, 4), most_days=random.choice([1, 6, 6, 40]))
    parts = _spells(random, count, day, spells=random.integers(0, 4), most_days=random.choice([1, 6, 6, 40]))
    sign = np.where(flips, -1.0, 1.0)
    probes = np.stack([heat, heat - 1, heat + 1])
    probes = np.where(warm, 1.8 * probes + 32, probes)
    changes = np.flatnonzero(np.diff(warm.astype(int)))
    mixed = changes[random.random(len(changes)) < 0.5] + random.integers(0, 2)
    mixed = mixed[mixed < count]
    probes[:, mixed] = (probes[:, mixed] + np.where(warm[mixed], heat[mixed], 1.8 * heat[mixed] + 32)) / 2
    if random.random() < 0.3:
        burns = random.integers(0, count)
        probes[:, burns:] += random.choice([52.0, 80.0]) * np.exp(-np.arange(count - burns) / (3 * day))
    told = np.where(parts, np.round(told / 100, 3), told)

    volts = 0.1 * steps
    columns = {
        "current_ampere": sign * current,
        "charging_capacity_ah": np.maximum(sign * moved, 0),
        "discharging_capacity_ah": np.maximum(-sign * moved, 0),
        "step_count": (steps > 0).astype(int),
        "step_current_voltage_sum": sign * steps * volts * np.where(random.random(count) < 0.1, -1, 1),
        "step_current_square_sum": steps**2,
        "step_voltage_square_sum": (volts + 0.3 * random.standard_normal(count)) ** 2 * (steps > 0),
        "soc_bms_percent": _lacking(random, told),
        "ambient_temperature_celsius": ambient,
        **dict(zip(HEAT, (_lacking(random, probe) for probe in probes), strict=True)),
    }
    there = ~_spells(random, count, day, spells=random.integers(0, 4), most_days=random.choice([1, 10, 45]))
    there &= (at >= random.choice([0, 0, count // 3])) & (at < random.choice([count, count, 2 * count // 3]))
    frame = pl.DataFrame({
        "battery_id": [name] * count,
        "timestamp": [start + timedelta(minutes=int(apart * number)) for number in at],
        **columns,
    }).filter(pl.Series(there)).with_columns(pl.col(pl.Float64).fill_nan(None))  # fmt: skip
    return made_intervals(frame)


def _spells(random, count, day, *, spells, most_days):
    """Rows of a few spells that begin and last at random."""
    inside = np.zeros(count, bool)
    for _ in range(spells):
        begin = random.integers(-day, count)
        inside[max(begin, 0) : max(begin + random.integers(1, most_days * day + 1), 0)] = True
    return inside


def _lacking(random, values):
    """Values of which some are unknown, alone or for long."""
    share = random.choice([0.0, 0.0, 0.05, 0.5])
    gone = random.random(len(values)) < share
    if random.random() < 0.3:
        begin = random.integers(0, len(values))
        gone[begin : begin + random.integers(1, len(values))] = True
    return np.where(gone, np.nan, values)
