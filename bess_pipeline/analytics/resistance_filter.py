"""Resistance over time: level, trend, warmth and charge of a battery's resistance, followed day by day."""

from __future__ import annotations

import numpy as np
from numba import njit

from bess_pipeline.arrays import Floats, Ints

#: States: ln R at the reference, its change per day, activation energy [10 kJ/mol], and the slope and the bend of ln R
#: over the state of charge.
LEVEL, TREND, ACTIVATION, SLOPE, BEND = range(5)
_STATES = 5

#: Columns of a measurement: ln R, its variance, 10 kJ/mol over RT less that at 25 °C, state of charge less a half, the
#: square of that, how unknown the temperature is (0 known, 1 not at all), and steps.
Y, VARIANCE, COLD, CHARGE, CHARGE_SQUARE, UNWARMED, STEPS = range(7)

#: Columns of the result.
RESISTANCE, RESISTANCE_SIGMA, INCREASE, INCREASE_SIGMA, ENERGY, ENERGY_SIGMA, OF_DAY, USUAL_SIGMA = range(8)
_RESULTS = 8

#: What is believed before any step, as standard errors: change per day, slope and bend over the charge.
_TREND_SIGMA, _SLOPE_SIGMA, _BEND_SIGMA = 3e-4, 0.15, 0.6
#: What may change unseen from day to day, as standard errors: level, trend, activation energy, slope and bend.
_LEVEL_WALK, _TREND_WALK, _SHAPE_WALK = 5e-4, 1e-5, 5e-4
#: A trend is forgotten within this many days: what grows today need not grow for ever.
_TREND_DAYS = 180.0
#: Steps needed before a resistance is said, within this many days.
LEAST_STEPS, MEMORY_DAYS = 4, 90
#: Days that stand for the battery when new, and how many of them are needed at least.
FIRST_DAYS, LEAST_FIRST = 30, 3
#: Innovations beyond this many standard errors pull with the force of this many.
_HUBER = 2.5
#: After so many days beyond it in a row, on one side, the level is anybody's guess again.
_PATIENCE = 4
_REOPENED = 0.1
#: What an unknown temperature leaves open [K]: a constant part, a seasonal one, one from day to day.
_CONSTANT_KELVIN, _SEASON_KELVIN, _DAILY_KELVIN = 10.0, 4.0, 2.0
#: d ln R / dT at 25 °C per 10 kJ/mol [1/K].
_PER_KELVIN = 1e4 / 8.314462618 / 298.15**2


@njit(cache=True)
def followed(
    day: Ints, first: Ints, last: Ints, measured: Floats, began: int, energy: float, energy_sigma: float
) -> Floats:
    """Follow the resistance of one battery.

    A Kalman filter over level, trend, activation energy and charge dependence of ln R.
    The increase compares the level with the median of the first 30 days, brought to the
    reference with the activation energy and charge dependence of the same moment, so
    that an error of these cancels where warmth and charge are the same as then. What an
    unknown temperature means is carried beside the filter as a share of the level that
    rests on such days (Schmidt's consider state), since it does not average out.

    Args:
        day: Days since the epoch to be told of, rising.
        first: First measurement of each of them.
        last: End of its measurements.
        measured: Measurements, shape (measurements, 7).
        began: First day of the battery's data.
        energy: Prior of the activation energy [10 kJ/mol].
        energy_sigma: Its standard error [10 kJ/mol].

    Returns:
        Shape (days, 8): ln R and its standard error, ln of the increase and its standard error, activation
        energy and its standard error [10 kJ/mol], ln R of the day's measurements alone, and the standard error
        that a single measurement usually has; NaN where unknown.

    References:
        Consider states: S. F. Schmidt (1966), Adv. Control Systems 3, 293.
    """
    out = np.full((len(day), _RESULTS), np.nan)
    state, spread = _before(energy, energy_sigma)
    begun = False
    share = usual = strikes = 0.0
    oldest = new_end = 0
    for k in range(len(day)):
        if begun:
            _advanced(state, spread, float(day[k] - day[k - 1]))
        side = 0.0
        for m in range(first[k], last[k]):
            if not begun:
                state[LEVEL], spread[LEVEL, LEVEL], begun = measured[m, Y] - energy * measured[m, COLD], 1.0, True
            pull, off = _corrected(state, spread, measured[m])
            share += pull * (measured[m, UNWARMED] - share)
            usual += pull * (measured[m, VARIANCE] - usual)
            side += off
        if last[k] > first[k]:
            strikes = strikes + np.sign(side) if side * strikes > 0 else np.sign(side)
        if abs(strikes) >= _PATIENCE:
            spread[LEVEL, LEVEL] += _REOPENED**2
            strikes = 0.0
        while new_end <= k and day[new_end] < began + FIRST_DAYS:
            new_end += 1
        while day[oldest] <= day[k] - MEMORY_DAYS:
            oldest += 1
        if measured[first[oldest] : last[k], STEPS].sum() >= LEAST_STEPS:
            new = _when_new(first[:new_end], last[:new_end], measured, state)
            _told(out[k], state, spread, share, new)
            out[k, USUAL_SIGMA] = np.sqrt(usual)
            out[k, OF_DAY] = _of_day(measured[first[k] : last[k]], state)[0]
    return out


@njit(cache=True)
def _before(energy: float, energy_sigma: float) -> tuple[Floats, Floats]:
    """What is believed before any measurement: states and their covariance."""
    state = np.zeros(_STATES)
    state[ACTIVATION] = energy
    sigma = np.array([0.0, _TREND_SIGMA, energy_sigma, _SLOPE_SIGMA, _BEND_SIGMA])
    return state, np.diag(sigma**2)


@njit(cache=True)
def _corrected(state: Floats, spread: Floats, row: Floats) -> tuple[float, float]:
    """Take in a measurement; how much of it the level takes, and the side on which it is far off, or 0."""
    sight = np.array([1.0, 0.0, row[COLD], row[CHARGE], row[CHARGE_SQUARE]])
    noise = row[VARIANCE] + (row[UNWARMED] * _DAILY_KELVIN * _PER_KELVIN * state[ACTIVATION]) ** 2
    seen = spread @ sight
    total = sight @ seen + noise
    innovation = row[Y] - sight @ state
    off = abs(innovation) / np.sqrt(total)
    total *= max(off / _HUBER, 1.0)
    gain = seen / total
    state += gain * innovation
    spread -= np.outer(gain, seen)
    spread[:, :] = (spread + spread.T) / 2
    return float(gain[LEVEL]), float(np.sign(innovation)) if off > _HUBER else 0.0


@njit(cache=True)
def _told(out: Floats, state: Floats, spread: Floats, share: float, new: tuple[float, float, Floats, float]) -> None:
    """Write what is known at the end of a day."""
    warmth = _PER_KELVIN * state[ACTIVATION]
    blind = (share * warmth) ** 2 * (_CONSTANT_KELVIN**2 + _SEASON_KELVIN**2)
    out[RESISTANCE], out[RESISTANCE_SIGMA] = state[LEVEL], np.sqrt(spread[LEVEL, LEVEL] + blind)
    out[ENERGY], out[ENERGY_SIGMA] = state[ACTIVATION], np.sqrt(spread[ACTIVATION, ACTIVATION])
    level, variance, sight, unwarmed = new
    if np.isnan(level):
        return
    constant = (share - unwarmed) * warmth * _CONSTANT_KELVIN
    season = (share**2 + unwarmed**2) * (warmth * _SEASON_KELVIN) ** 2
    out[INCREASE] = state[LEVEL] - level
    out[INCREASE_SIGMA] = np.sqrt(max(float(sight @ spread @ sight), 0.0) + variance + constant**2 + season)


@njit(cache=True)
def _advanced(state: Floats, spread: Floats, days: float) -> None:
    """Let days pass: the level follows the trend, the trend fades, everything becomes less certain."""
    step = np.eye(_STATES)
    kept = np.exp(-days / _TREND_DAYS)
    step[LEVEL, TREND] = _TREND_DAYS * (1.0 - kept)
    step[TREND, TREND] = kept
    state[:] = step @ state
    spread[:, :] = step @ spread @ step.T
    spread[LEVEL, LEVEL] += _LEVEL_WALK**2 * days
    spread[TREND, TREND] += _TREND_WALK**2 * days + _TREND_SIGMA**2 * (1.0 - kept**2) / 4.0
    for shape in (ACTIVATION, SLOPE, BEND):
        spread[shape, shape] += _SHAPE_WALK**2 * days


@njit(cache=True)
def _of_day(measured: Floats, state: Floats) -> tuple[float, float, Floats]:
    """Level of a day's measurements alone, its weight, and the means of what they depend on; NaN without a step."""
    steps = weight = level = 0.0
    mean = np.zeros(4)
    for row in measured:
        share = 1.0 / row[VARIANCE]
        at = row[Y] - row[COLD] * state[ACTIVATION] - row[CHARGE] * state[SLOPE]
        level += share * (at - row[CHARGE_SQUARE] * state[BEND])
        mean += share * row[COLD : UNWARMED + 1]
        weight += share
        steps += row[STEPS]
    if steps < 1:
        return np.nan, 0.0, mean
    return level / weight, weight, mean / weight


@njit(cache=True)
def _when_new(first: Ints, last: Ints, measured: Floats, state: Floats) -> tuple[float, float, Floats, float]:
    """Median of the single days at the reference, its variance, how level less it depends on the states, and warmth."""
    days = np.empty(len(first))
    sight = np.zeros(_STATES)
    unwarmed = 0.0
    noise = 0.0
    n = 0
    for k in range(len(first)):
        level, weight, mean = _of_day(measured[first[k] : last[k]], state)
        if np.isnan(level):
            continue
        days[n] = level
        sight[ACTIVATION:] += mean[:3]
        unwarmed += mean[3]
        noise += 1.0 / weight
        n += 1
    if n < LEAST_FIRST:
        return np.nan, np.nan, sight, 0.0
    sight /= n
    sight[LEVEL] = 1.0
    middle = np.median(days[:n])
    seen = (1.4826 * np.median(np.abs(days[:n] - middle))) ** 2
    variance = np.pi / 2 * max(seen, noise / n) / n
    return float(middle), float(variance), sight, unwarmed / n
