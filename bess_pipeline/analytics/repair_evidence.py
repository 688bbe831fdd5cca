"""What the 5-minute rows of a battery say of their units and signs, row by row."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import median

import numpy as np
import polars as pl

from bess_pipeline.analytics.likelihood import (
    WEEK_US,
    Path,
    Price,
    Records,
    Values,
    Weeks,
    likelier_opposite,
    likelier_reading,
)
from bess_pipeline.analytics.traces import Traces, floats
from bess_pipeline.arrays import Bools, Floats, Ints
from bess_pipeline.tables.telemetry import INTERVAL_US, TEMPERATURES
from bess_pipeline.units import US_PER_HOUR

#: A battery's mean temperature moves by this much between neighbours, and by this much more per hour of silence [K].
_HEAT_SLACK = 1.0
HEAT_SLACK_PER_HOUR, HEAT_SLACK_MOST = 0.5, 10.0
#: Most that a step of the temperature costs, and what a change of unit costs [K].
HEAT_PRICE = Price(12.0, 6.0, 1.8, passing=True)
#: Further from the ambient temperature no battery at work is [K], nor, where none is known, outside of these [°C];
#: what such a row costs.
_FROM_AMBIENT, _AT_WORK, _ODD_COST = 30.0, (-15.0, 65.0), 0.05

#: Largest number that may be a fraction of the charge.
_MOST_FRACTION = 1.05
#: How far the reported charge may stray from the counted in an interval, as such and of what was moved [%].
_CHARGE_SLACK, _CHARGE_SHARE = 1.5, 0.2
CHARGE_PRICE = Price(10.0, 8.0, either_sign=True)
#: What a number that may be a fraction pays for straying as such.
_CHARGE_STRAY = 0.5

#: The plain reading is preferred by this per row, where nothing else tells.
_PLAIN = 1e-6

#: What a change of sign costs, as a logarithm of likelihood; less evidence than that for a whole stretch is none.
SIGN_SWITCH = 15.0
#: Steps of one interval share the errors of the model: their evidence counts for this part, and at most so much.
_SIGN_SHARE, _SIGN_MOST = 0.3, 6.0
#: Evidence against a sign from which on a row tells of it.
_TELLING = 0.5
#: Least error of a reported change of charge in an interval [%].
_REPORT_SIGMA = 0.5
#: Current below which it does not matter which sign it has [C].
_REST_RATE = 0.01
#: What is usual of a battery's steps is the median of the medians of so many weeks.
_USUAL_WEEKS = 5

#: What is known of a battery's last row: its start [µs], the charge that it moved and the charge that it reported [%].
LAST = np.dtype([("start_us", "f8"), ("moved", "f8"), ("soc", "f8")])
#: Medians of the last weeks with steps, oldest first: resistance [Ω], and variance of what it leaves of a step [V²].
STEPS = np.dtype([("ohm", "f8", (_USUAL_WEEKS - 1,)), ("variance", "f8", (_USUAL_WEEKS - 1,))])

#: Columns that are read.
READS = (
    "fleet_id", "battery_id", "timestamp", *TEMPERATURES, "ambient_temperature_celsius", "soc_bms_percent",
    "charging_capacity_ah", "discharging_capacity_ah", "charging_energy_wh", "discharging_energy_wh",
    "current_ampere", "power_watt", "step_count", "step_current_voltage_sum", "step_current_square_sum",
    "step_voltage_square_sum",
)  # fmt: skip


@dataclass(frozen=True)
class Heat:
    """Temperatures in degrees Celsius or Fahrenheit.

    Attributes:
        path: Where Fahrenheit is likelier.
        known: Rows with a temperature.
        probes: Mean, lowest and highest as they came: shape (n, 3).
        told: Rows that are impossible in degrees Celsius, and possible in Fahrenheit.
    """

    path: Path
    known: Bools
    probes: Floats
    told: Bools


@dataclass(frozen=True)
class Charge:
    """Reported charge in percent or as a fraction.

    Attributes:
        path: Where a fraction is likelier.
        soc: The charge as it came.
        moved: Charge that flowed in each row, by the current [%].
    """

    path: Path
    soc: Floats
    moved: Floats

    @property
    def known(self) -> Bools:
        """Rows with a reported charge."""
        return ~np.isnan(self.soc)


@dataclass(frozen=True)
class Sign:
    """Current of the sign as it came, or of the opposite one.

    Attributes:
        path: Where the opposite one is likelier.
        told: Rows that tell of the opposite.
        resting: Rows in which hardly any current flows.
        steps: What is usual of steps after each week, `STEPS`.
    """

    path: Path
    told: Bools
    resting: Bools
    steps: Records


def heat(series: Traces, weeks: Weeks, last: Records, carried: Records) -> Heat:
    """The cheaper unit of each temperature.

    Args:
        series: The rows.
        weeks: Their weeks.
        last: What is known of each battery's row before, `LAST`.
        carried: What is carried into each battery's first row.
    """
    plain = floats(series.rows.select(pl.coalesce("temperature_celsius", "temperature_max_celsius")).to_series())
    other = (plain - 32) / 1.8
    ambient = series.column("ambient_temperature_celsius")
    odd = [_is_odd(value, ambient) for value in (plain, other)]
    extra = np.stack([_ODD_COST * odd[0], _ODD_COST * odd[1] + _PLAIN], axis=1)
    slack = _HEAT_SLACK + np.minimum(HEAT_SLACK_PER_HOUR * _silence_hours(series, last), HEAT_SLACK_MOST)
    values = Values(plain, other, np.zeros(len(plain)), slack, extra)
    path = likelier_reading(weeks, values, price=HEAT_PRICE, carried=carried)
    probes = np.stack([series.column(name) for name in TEMPERATURES], axis=1)
    return Heat(path, ~np.isnan(plain), probes, odd[0] & ~odd[1])


def charge(series: Traces, weeks: Weeks, last: Records, carried: Records) -> Charge:
    """The cheaper unit of the reported charge; arguments as of `heat`."""
    plain = series.column("soc_bms_percent")
    other = np.where(plain <= _MOST_FRACTION, 100 * plain, np.nan)
    into, out = series.charge()
    rated = series.nameplate("rated_capacity_ah")[series.battery_index]
    moved = 100 * (np.nan_to_num(into) - np.nan_to_num(out)) / rated
    # The report is of the start of an interval: what the interval before moved lies in between. Of either sign, for
    # a current of the wrong one is found later, with what is told here.
    change = np.nan_to_num(_previous(series, moved, last["moved"]))
    silence = _silence_hours(series, last)
    slack = _CHARGE_SLACK + _CHARGE_SHARE * np.abs(change) + np.minimum(10 * silence, 60.0)
    # What may be a fraction pays for straying within the slack too: a slow battery never exceeds it.
    before = _previous(series, plain, last["soc"])
    strays = [
        np.abs(np.abs(plain - before) - np.abs(change)),
        np.abs(np.abs(other - np.where(before <= _MOST_FRACTION, 100 * before, np.nan)) - np.abs(change)),
    ]
    near = (silence == 0) & ~np.isnan(strays[0]) & ~np.isnan(strays[1])
    paid = [_CHARGE_STRAY * np.where(near, np.minimum(stray, _CHARGE_SLACK), 0.0) for stray in strays]
    extra = np.stack(paid, axis=1)
    extra[:, 1] += _PLAIN
    values = Values(plain, other, change, slack, extra)
    path = likelier_reading(weeks, values, price=CHARGE_PRICE, carried=carried)
    return Charge(path, plain, moved)


def sign(series: Traces, weeks: Weeks, reported: Charge, steps: Records, carried: Records) -> Sign:
    """The likelier sign of the current, by steps and by the charge that is told.

    Args:
        series: The rows.
        weeks: Their weeks.
        reported: The reported charge; its unit is that of its own week, without hindsight.
        steps: What is usual of each battery's steps before, `STEPS`.
        carried: What is carried into each battery's first row.
    """
    known = np.zeros(len(weeks.series), STEPS)
    soc = np.where(reported.path.at_once == 1, 100.0, 1.0) * reported.soc
    evidence = _by_steps(series, weeks, steps, known) + _by_report(series, soc, reported.moved)
    path = likelier_opposite(weeks, evidence, switch=SIGN_SWITCH, carried=carried)
    rated = series.nameplate("rated_capacity_ah")[series.battery_index]
    resting = np.abs(np.nan_to_num(series.current())) / rated < _REST_RATE
    return Sign(path, evidence < -_TELLING, resting, known)


def _previous(series: Traces, values: Floats, before: Floats) -> Floats:
    """The value of the row before, of each battery's first row from before."""
    shifted = np.concatenate([[np.nan], values[:-1]])
    has_rows = np.diff(series.offsets) > 0
    shifted[series.offsets[:-1][has_rows]] = before[has_rows]
    return shifted[: len(values)]


def _silence_hours(series: Traces, last: Records) -> Floats:
    """Hours between a row and the one before, beyond their being neighbours."""
    start = series.start_us.astype(np.float64)
    apart = start - _previous(series, start, last["start_us"]) - INTERVAL_US
    return np.maximum(np.nan_to_num(apart), 0.0) / US_PER_HOUR


def _is_odd(value: Floats, ambient: Floats) -> Bools:
    low, high = _AT_WORK
    return np.where(np.isnan(ambient), (value < low) | (value > high), np.abs(value - ambient) > _FROM_AMBIENT)


def _by_steps(series: Traces, weeks: Weeks, steps: Records, known: Records) -> Floats:
    """Evidence of the steps in an interval for the sign as it is: log-likelihood ratio; fills what is usual of them."""
    count = series.column("step_count")
    stepped = np.flatnonzero((count > 0) & (series.column("step_current_square_sum") > 0))
    product, square, volts = (
        series.column(name)[stepped]
        for name in ("step_current_voltage_sum", "step_current_square_sum", "step_voltage_square_sum")
    )
    week = np.searchsorted(weeks.offsets, stepped, side="right") - 1
    ohm = _usual(weeks, week, np.abs(product) / square, steps["ohm"], known["ohm"])
    error = np.maximum(volts - 2 * ohm * np.abs(product) + ohm**2 * square, 0.0) / count[stepped]
    variance = np.maximum(_usual(weeks, week, error, steps["variance"], known["variance"]), 1e-12)
    evidence = np.zeros(len(count))
    evidence[stepped] = np.clip(_SIGN_SHARE * 2 * ohm * product / variance, -_SIGN_MOST, _SIGN_MOST)
    return evidence


def _usual(weeks: Weeks, week: Ints, values: Floats, before: Floats, known: Floats) -> Floats:
    """What is usual of a battery up to the week of each value; fills the medians of the last weeks before the next."""
    table = pl.DataFrame({"week": week, "value": values}).group_by("week").agg(pl.col("value").median())
    medians = np.full(len(weeks.series), np.nan)
    medians[table["week"].to_numpy()] = table["value"].to_numpy()
    return _recent(weeks.series, medians, before, known)[week]


def _recent(series: Ints, medians: Floats, before: Floats, known: Floats) -> Floats:
    """The median of the last weekly medians of a series, at each of its weeks; NaN where there is none."""
    usual = np.full(len(medians), np.nan)
    last = before.tolist()
    for week, (battery, own) in enumerate(zip(series.tolist(), medians.tolist(), strict=True)):
        if not math.isnan(own):
            of_weeks = [*last[battery], own]
            usual[week] = median(value for value in of_weeks if not math.isnan(value))
            last[battery] = of_weeks[1:]
        known[week] = last[battery]
    return usual


def _by_report(series: Traces, soc: Floats, moved: Floats) -> Floats:
    """Evidence of the reported charge in an interval for the sign as it is: log-likelihood ratio.

    Of neighbouring rows of one week, so that no week rests on the next.
    """
    start, battery = series.start_us, series.battery_index
    follows = np.zeros(len(soc), np.bool_)
    follows[:-1] = (np.diff(battery) == 0) & (np.diff(start) == INTERVAL_US) & (np.diff(start // WEEK_US) == 0)
    reported = np.concatenate([np.diff(soc), np.full(min(len(soc), 1), np.nan)])
    known = follows & (np.abs(reported) < 2 * np.abs(moved) + 2)
    sigma = np.maximum(_REPORT_SIGMA, 0.3 * np.abs(moved))
    ratio = np.where(known, 2 * np.nan_to_num(reported) * moved / sigma**2, 0.0)
    return np.clip(_SIGN_SHARE * ratio, -_SIGN_MOST / 2, _SIGN_MOST / 2)
