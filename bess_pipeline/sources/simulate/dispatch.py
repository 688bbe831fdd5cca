"""What the batteries are asked to do: current requests over time, by use."""

from __future__ import annotations

import numpy as np
from scipy.signal import lfilter

from bess_pipeline.arrays import Floats
from bess_pipeline.sources.simulate.plan import Plan


def requests(plan: Plan, chance: np.random.Generator) -> Floats:
    """Current that is asked of each battery, positive charging, in multiples of its rated capacity [1/h].

    The batteries of a site follow the same market, sun and grid, each in its own way.

    Returns:
        Shape (batteries, steps).
    """
    hours = np.arange(plan.steps) * plan.interval_seconds / 3600.0
    asked = {
        "arbitrage": _arbitrage,
        "pv": _pv,
        "frequency": _frequency,
        "peak_shaving": _peak_shaving,
        "reserve": _reserve,
    }[plan.profile](plan, hours, chance)
    share = chance.uniform(0.92, 1.04, (plan.batteries, 1))
    return asked * share


def _by_day(plan: Plan, values: Floats) -> Floats:
    """One value a day, held over the day's steps."""
    return np.repeat(values, plan.steps_per_day, axis=-1)


def _arbitrage(plan: Plan, hours: Floats, chance: np.random.Generator) -> Floats:
    """Charged in the small hours and at noon, discharged in the evening, by day-ahead prices."""
    hour = hours % 24
    night = _by_day(plan, chance.normal(2.0, 0.7, plan.days))
    evening = _by_day(plan, chance.normal(17.5, 0.6, plan.days))
    rate = _by_day(plan, chance.uniform(0.22, 0.40, plan.days))
    charging = (hour >= night) & (hour < night + 1.25 / rate)
    deep = _by_day(plan, chance.choice([1.0, 0.6, 0.0], plan.days, p=[0.62, 0.28, 0.10]))
    discharging = (hour >= evening) & (hour < evening + 0.95 * deep / rate)
    site = np.where(charging, rate, 0.0) - np.where(discharging, rate, 0.0)
    return np.repeat(site[None, :], plan.batteries, axis=0)


def _pv(plan: Plan, hours: Floats, chance: np.random.Generator) -> Floats:
    """Charged by the sun, discharged from dusk through the night."""
    hour = hours % 24
    day_of_year = (plan.start.timetuple().tm_yday + hours / 24) % 365.25
    length = 12 + 4 * np.sin(2 * np.pi * (day_of_year - 80) / 365.25)
    sun = np.maximum(0.0, np.cos(np.pi * (hour - 12.5) / length)) * (np.abs(hour - 12.5) < length / 2)
    sky = _by_day(plan, chance.beta(2.2, 1.3, plan.days))
    clouds = _smooth_noise(plan, chance, seconds=900.0, rows=1)[0]
    generated = 0.45 * sun**1.2 * np.clip(sky + 0.25 * clouds, 0.05, 1.1)
    own = 0.05 + 0.10 * np.exp(-(((hour - 19.5) / 2.5) ** 2)) + 0.05 * np.exp(-(((hour - 7.5) / 1.5) ** 2))
    load = own[None, :] * np.clip(1 + 0.25 * _smooth_noise(plan, chance, seconds=1800.0, rows=plan.batteries), 0.3, 2)
    asked: Floats = np.clip(generated[None, :] - load, -0.3, 0.45)
    return asked


def _frequency(plan: Plan, hours: Floats, chance: np.random.Generator) -> Floats:
    """Follows the grid's frequency; the kernel adds what brings the state of charge back to the middle."""
    slow = _smooth_noise(plan, chance, seconds=600.0, rows=1)[0]
    quick = _smooth_noise(plan, chance, seconds=60.0, rows=1)[0]
    daily = 0.03 * np.sin(2 * np.pi * hours / 24)
    own = _smooth_noise(plan, chance, seconds=300.0, rows=plan.batteries)
    asked: Floats = np.clip(0.16 * slow + 0.08 * quick + daily, -0.6, 0.6)[None, :] + 0.004 * own
    return asked


def _peak_shaving(plan: Plan, hours: Floats, chance: np.random.Generator) -> Floats:
    """Waits full, covers the peaks of a plant on working days, is charged again at night."""
    hour = hours % 24
    weekday = ((plan.start.weekday() + hours // 24) % 7) < 5
    at = _by_day(plan, chance.normal(10.5, 1.2, plan.days))
    long = _by_day(plan, chance.gamma(2.5, 0.55, plan.days))
    depth = _by_day(plan, chance.uniform(0.15, 0.42, plan.days))
    shaving = weekday & (hour >= at) & (hour < at + long)
    charging = (hour >= 21) | (hour < 5)
    site = np.where(charging, 0.18, 0.0) - np.where(shaving, depth, 0.0)
    return np.repeat(site[None, :], plan.batteries, axis=0)


def _reserve(plan: Plan, hours: Floats, chance: np.random.Generator) -> Floats:
    """Stands by half full: called upon once on most days, either way, for less than an hour.

    The kernel adds what brings the state of charge back to the middle.
    """
    hour = hours % 24
    at = _by_day(plan, chance.uniform(0.5, 22.0, plan.days))
    long = _by_day(plan, chance.uniform(0.2, 0.8, plan.days))
    called = (hour >= at) & (hour < at + long)
    rate = _by_day(plan, chance.choice([-0.2, -0.1, 0.0, 0.1, 0.2], plan.days))
    droop = 0.02 * _smooth_noise(plan, chance, seconds=300.0, rows=plan.batteries)
    asked: Floats = np.where(called, rate, 0.0)[None, :] + droop
    return asked


def _smooth_noise(plan: Plan, chance: np.random.Generator, *, seconds: float, rows: int) -> Floats:
    """Ornstein–Uhlenbeck noise of unit variance with this correlation time: shape (rows, steps)."""
    kept = float(np.exp(-plan.interval_seconds / seconds))
    white = chance.standard_normal((rows, plan.steps)) * np.sqrt(1 - kept**2)
    smooth: Floats = lfilter([1.0], [1.0, -kept], white, axis=1)
    return smooth
