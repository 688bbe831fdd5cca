"""What the state filter reads of each 5-minute row: by itself, of the row after it, and of those before."""

from __future__ import annotations

import numpy as np
from numba import njit

from bess_pipeline.analytics import filter_states as filtering
from bess_pipeline.analytics.traces import Traces
from bess_pipeline.arrays import Floats, Ints
from bess_pipeline.tables.telemetry import INTERVAL_US
from bess_pipeline.units import US_PER_HOUR

#: What a row says by itself: hours over which its current is known, net and gross charge over rated, mean current [C],
#: whether a current flowed, cell voltage [V], factor of temperature on resistance, reported state of charge [1].
SEEN, NET, GROSS, RATE, FLOWS, VOLT, HEAT, REPORTED = range(8)
OWN_COLUMNS = 8

#: What a row owes to those before it: how far the slow drop has followed the current [C], branch of the hysteresis, and
#: of the silence that goes on: whether there is one and whether the change of charge over it was told, hours, charge
#: assumed and told over rated, standard error so far.
SLOW, BRANCH, IS_SILENT, IS_TOLD, LASTED, ASSUMED, TOLD, SIGMA = range(8)
OWED = 8

#: Activation energy of the resistance [J/mol] and the gas constant [J/(mol K)].
_ACTIVATION, _GAS, _REFERENCE_KELVIN = 20_000.0, 8.314462618, 298.15
#: Time in which the slow part follows the current [h], and charge after which the branch of the hysteresis has changed.
_SLOW_HOURS, _BRANCH_CHARGE = 0.25, 0.04
#: Error of a reported change of charge across a silence: least, and as a share of it.
_REPORTED_CHANGE, _REPORTED_SHARE = 0.01, 0.10
#: Reported charge that changes by more than a full charge in an hour, and this, is none [1].
_LEAP = 0.05
#: Current assumed where it was not seen: as before for so long [h], with this error as a share of it and in C.
_SAME_HOURS, _ASSUMED_SHARE, _ASSUMED_RATE = 0.25, 0.5, 0.05
#: Less silence than this is none [h]; what an unknown charge may be after long.
_NO_SILENCE, _MOST_SIGMA = 0.004, 0.30
#: From such a silence on a reported change counts for more than the current before [h].
_SHORT = 0.04
_INTERVAL_HOURS = INTERVAL_US / US_PER_HOUR


def own_columns(series: Traces) -> Floats:
    """What each row says by itself: shape (rows, OWN_COLUMNS)."""
    rated = series.nameplate("rated_capacity_ah")[series.battery_index]
    into, out = (np.nan_to_num(part) / rated for part in series.charge())
    rate = np.nan_to_num(series.current()) / rated
    largest = series.column("current_abs_max_ampere")
    kelvin = series.column("temperature_celsius") + 273.15
    heat = np.exp(_ACTIVATION / _GAS * (1 / kelvin - 1 / _REFERENCE_KELVIN))
    own = np.empty((len(rate), OWN_COLUMNS))
    own[:, SEEN] = np.minimum(series.observed_us(), INTERVAL_US) / US_PER_HOUR
    own[:, NET], own[:, GROSS], own[:, RATE] = into - out, into + out, rate
    own[:, FLOWS] = np.where(np.isnan(largest), np.abs(rate) > 0, largest > 0)
    volt = series.cell_volt("voltage_volt", "cell_voltage_min_volt", "cell_voltage_max_volt")
    own[:, VOLT] = np.where(own[:, SEEN] > 0, volt, np.nan)
    own[:, HEAT] = np.where(np.isnan(heat), 1.0, heat)
    own[:, REPORTED] = series.column("soc_bms_percent") / 100
    return own


@njit(cache=True)
def filter_rows(own: Floats, start_us: Ints, owed: Floats, keep_at: Ints, rows: Floats) -> Floats:
    """Fill in one battery's rows as the filter takes them.

    Where no current was seen the change of the reported state of charge bridges the gap
    if it is surer than the current before. Errors of neighbouring silences add up, as
    those of one long silence do.

    Args:
        own: What each row says by itself, shape (rows, OWN_COLUMNS), in order of time.
        start_us: Start of each row [µs].
        owed: What the first row owes to those before it, shape (OWED,); zeros where there are none.
        keep_at: Rows, ascending, of which is asked what they owe.
        rows: Filled, shape (rows, filtering.ROW_COLUMNS).

    Returns:
        What the rows that are asked for owe, shape (asked, OWED).
    """
    n = len(own)
    owed = owed.copy()
    kept = np.empty((len(keep_at), OWED))
    next_kept = 0
    for k in range(n):
        while next_kept < len(keep_at) and keep_at[next_kept] == k:
            kept[next_kept] = owed
            next_kept += 1
        hours = (start_us[k + 1] - start_us[k]) / US_PER_HOUR if k + 1 < n else _INTERVAL_HOURS
        silent = max(hours - own[k, SEEN], 0.0)
        silent = 0.0 if silent < _NO_SILENCE else silent
        rows[k, filtering.ACTIVE] = own[k, SEEN] if own[k, FLOWS] > 0 else 0.0
        rows[k, filtering.NET], rows[k, filtering.GROSS] = own[k, NET], own[k, GROSS]
        rows[k, filtering.RATE], rows[k, filtering.VOLT] = own[k, RATE], own[k, VOLT]
        rows[k, filtering.HEAT], rows[k, filtering.SILENT] = own[k, HEAT], silent
        change = own[k + 1, REPORTED] - own[k, REPORTED] - own[k, NET] if k + 1 < n else np.nan
        rows[k, filtering.LEAP], rows[k, filtering.LEAP_SIGMA] = _leapt(own[k, RATE], silent, change, owed)
        within = hours if hours < 0.1 else _INTERVAL_HOURS
        keep = np.exp(-within / _SLOW_HOURS)
        rate = own[k, RATE]
        rows[k, filtering.SLOW_RATE] = rate + (owed[SLOW] - rate) * (1.0 - keep) * _SLOW_HOURS / within
        owed[SLOW] = (rate + (owed[SLOW] - rate) * keep) * np.exp(-(hours - within) / _SLOW_HOURS)
        ahead = owed[BRANCH] + (np.sign(rate) - owed[BRANCH]) * (1.0 - np.exp(-own[k, GROSS] / _BRANCH_CHARGE))
        rows[k, filtering.BRANCH] = 0.5 * (owed[BRANCH] + ahead)
        owed[BRANCH] = ahead
    return kept


@njit(cache=True)
def _leapt(rate: float, silent: float, change: float, owed: Floats) -> tuple[float, float]:
    """Charge that moved while nothing was seen, over rated, and its standard error; ``owed`` goes on."""
    is_silent = 1.0 if silent > 0 else 0.0
    is_told = not np.isnan(change) and silent > 0 and abs(change) <= silent + _LEAP
    told_now = 1.0 if is_told else 0.0
    if owed[IS_SILENT] != is_silent or owed[IS_TOLD] != told_now:
        owed[LASTED] = owed[ASSUMED] = owed[TOLD] = owed[SIGMA] = 0.0
    owed[IS_SILENT], owed[IS_TOLD] = is_silent, told_now
    same = min(max(_SAME_HOURS - owed[LASTED], 0.0), silent)
    owed[LASTED] += silent
    owed[ASSUMED] += abs(rate) * same
    owed[TOLD] += abs(change) if is_told else 0.0
    doubt = min(_ASSUMED_SHARE * owed[ASSUMED] + _ASSUMED_RATE * owed[LASTED], _MOST_SIGMA)
    doubt = min(doubt + _ASSUMED_SHARE * max(owed[LASTED] - _SAME_HOURS, 0.0), _MOST_SIGMA)
    told = np.hypot(_REPORTED_CHANGE, _REPORTED_SHARE * owed[TOLD])
    is_told = is_told and (told < doubt or silent > _SHORT)
    sigma = told if is_told else doubt
    grown = np.sqrt(max(sigma**2 - owed[SIGMA] ** 2, 0.0))
    owed[SIGMA] = sigma
    return (change if is_told else rate * same), (grown if silent > 0 else 0.0)
