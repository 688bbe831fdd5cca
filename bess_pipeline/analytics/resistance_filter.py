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

#: What is carried from day to day: whether anything was measured, the day, the states and their covariance, the share
#: of days without a temperature, the usual variance of a measurement, days in a row far off on one side, and how many
#: of the first days are known; behind that these, each as its weight and its means.
_BEGUN, _DAY, _STATE, _SPREAD = 0, 1, slice(2, 7), slice(7, 32)
_SHARE, _USUAL, _STRIKES, _FIRST_COUNT = range(32, 36)
CARRIED, _OF_FIRST = 36, 6

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
def followed(days: Ints, measured: Floats, began: int, held: Floats, since: int, epochs: Ints) -> tuple[Floats, Floats]:
    """Follow the resistance of one battery.

    A Kalman filter over level, trend, activation energy and charge dependence of ln R.
    The increase compares the level with the median of the first 30 days, brought to the
    reference with the activation energy and charge dependence of the same moment, so
    that an error of these cancels where warmth and charge are the same as then. What an
    unknown temperature means is carried beside the filter as a share of the level that
    rests on such days (Schmidt's consider state), since it does not average out.

    Args:
        days: Days to be told of, rising, shape (days, 3): the day since 1970, its first measurement, and their end.
        measured: Measurements, shape (measurements, 7).
        began: First day of the battery's data.
        held: What is carried into the first day from ``since`` on, shape (216,); see `before`. Holds what is carried
            out of the last one in the end.
        since: Day from which on it is followed; of earlier ones only the steps of the last 90 days count.
        epochs: Days of which it is asked what is carried into them, rising, after ``since``.

    Returns:
        Shape (days, 8): ln R and its standard error, ln of the increase and its standard error, activation
        energy and its standard error [10 kJ/mol], ln R of the day's measurements alone, and the standard error
        that a single measurement usually has; NaN where unknown. And what is carried into the epochs, shape
        (epochs, 216).

    References:
        Consider states: S. F. Schmidt (1966), Adv. Control Systems 3, 293.
    """
    day, first, last = days[:, 0], days[:, 1], days[:, 2]
    out = np.full((len(day), _RESULTS), np.nan)
    kept = np.empty((len(epochs), len(held)))
    oldest = reached = 0
    for k in range(len(day)):
        while reached < len(epochs) and epochs[reached] <= day[k]:
            kept[reached] = held
            reached += 1
        if day[k] < since:
            continue
        _passed(held, day[k], measured[first[k] : last[k]], began)
        while day[oldest] <= day[k] - MEMORY_DAYS:
            oldest += 1
        if measured[first[oldest] : last[k], STEPS].sum() >= LEAST_STEPS:
            state = held[_STATE]
            _told(out[k], state, held[_SPREAD].reshape(_STATES, _STATES), held[_SHARE], _when_new(held, state))
            out[k, USUAL_SIGMA] = np.sqrt(held[_USUAL])
            steps, _, mean = _of_day(measured[first[k] : last[k]])
            if steps >= 1:
                out[k, OF_DAY] = _at_reference(mean, state)
    for e in range(reached, len(epochs)):
        kept[e] = held
    return out, kept


@njit(cache=True)
def all_followed(
    offsets: Ints, days: Ints, measured: Floats, began: Ints, held: Floats, since: int, epochs: Ints
) -> tuple[Floats, Floats]:
    """What `followed` says of each battery, whose days stand from one offset to the next.

    Returns:
        Shapes (days, 8) and (batteries, epochs, 216).
    """
    out = np.empty((len(days), _RESULTS))
    kept = np.empty((len(began), len(epochs), held.shape[1]))
    for b in range(len(began)):
        here = slice(offsets[b], offsets[b + 1])
        out[here], kept[b] = followed(days[here], measured, began[b], held[b], since, epochs)
    return out, kept


def before(energy: Floats, energy_sigma: Floats) -> Floats:
    """What is believed before any measurement.

    Args:
        energy: Priors of the activation energy [10 kJ/mol].
        energy_sigma: Their standard errors [10 kJ/mol].

    Returns:
        Shape (batteries, 216); see `CARRIED`.
    """
    held = np.zeros((len(energy), CARRIED + FIRST_DAYS * _OF_FIRST))
    held[:, _STATE.start + ACTIVATION] = energy
    sigma = np.array([0.0, _TREND_SIGMA, 0.0, _SLOPE_SIGMA, _BEND_SIGMA])
    spread = np.tile(np.diag(sigma**2), (len(energy), 1, 1))
    spread[:, ACTIVATION, ACTIVATION] = energy_sigma**2
    held[:, _SPREAD] = spread.reshape(-1, _STATES**2)
    return held


def filled(held: Floats) -> Ints:
    """How many numbers of what is carried say something; none where nothing was measured."""
    return np.where(held[:, _BEGUN] > 0, CARRIED + _OF_FIRST * held[:, _FIRST_COUNT], 0).astype(np.int64)


@njit(cache=True)
def _passed(held: Floats, day: int, measured: Floats, began: int) -> None:
    """Let time pass until the end of a day, and take in its measurements."""
    state, spread = held[_STATE], held[_SPREAD].reshape(_STATES, _STATES)
    if held[_BEGUN]:
        _advanced(state, spread, float(day - held[_DAY]))
    held[_DAY] = day
    side = 0.0
    for row in measured:
        if not held[_BEGUN]:
            state[LEVEL], spread[LEVEL, LEVEL] = row[Y] - state[ACTIVATION] * row[COLD], 1.0
            held[_BEGUN] = 1.0
        pull, off = _corrected(state, spread, row)
        held[_SHARE] += pull * (row[UNWARMED] - held[_SHARE])
        held[_USUAL] += pull * (row[VARIANCE] - held[_USUAL])
        side += off
    if len(measured) > 0:
        held[_STRIKES] = held[_STRIKES] + np.sign(side) if side * held[_STRIKES] > 0 else np.sign(side)
    if abs(held[_STRIKES]) >= _PATIENCE:
        spread[LEVEL, LEVEL] += _REOPENED**2
        held[_STRIKES] = 0.0
    steps, weight, mean = _of_day(measured)
    if day < began + FIRST_DAYS and steps >= 1:
        at = CARRIED + int(held[_FIRST_COUNT]) * _OF_FIRST
        held[at], held[at + 1 : at + _OF_FIRST] = weight, mean
        held[_FIRST_COUNT] += 1


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
def _of_day(measured: Floats) -> tuple[float, float, Floats]:
    """Steps of a day, the weight of its measurements, and their means: ln R, and what it depends on."""
    steps = weight = 0.0
    mean = np.zeros(_OF_FIRST - 1)
    for row in measured:
        share = 1.0 / row[VARIANCE]
        mean[0] += share * row[Y]
        mean[1:] += share * row[COLD : UNWARMED + 1]
        weight += share
        steps += row[STEPS]
    return steps, weight, mean / weight if weight > 0 else mean


@njit(cache=True)
def _at_reference(mean: Floats, state: Floats) -> float:
    """Level that the means of measurements tell."""
    return float(mean[0] - mean[1] * state[ACTIVATION] - mean[2] * state[SLOPE] - mean[3] * state[BEND])


@njit(cache=True)
def _when_new(held: Floats, state: Floats) -> tuple[float, float, Floats, float]:
    """Median of the single days at the reference, its variance, how level less it depends on the states, and warmth."""
    n = int(held[_FIRST_COUNT])
    rows = held[CARRIED : CARRIED + n * _OF_FIRST].reshape(n, _OF_FIRST)
    days = np.empty(n)
    sight = np.zeros(_STATES)
    unwarmed = noise = 0.0
    for k in range(n):
        days[k] = _at_reference(rows[k, 1:], state)
        sight[ACTIVATION:] += rows[k, 2:5]
        unwarmed += rows[k, 5]
        noise += 1.0 / rows[k, 0]
    if n < LEAST_FIRST:
        return np.nan, np.nan, sight, 0.0
    sight /= n
    sight[LEVEL] = 1.0
    middle = np.median(days)
    seen = (1.4826 * np.median(np.abs(days - middle))) ** 2
    variance = np.pi / 2 * max(seen, noise / n) / n
    return float(middle), float(variance), sight, unwarmed / n
