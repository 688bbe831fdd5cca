"""State of charge, capacity and resistance of each battery, estimated together from its 5-minute rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numba import njit

from bess_pipeline.analytics import state_filter as filtering
from bess_pipeline.analytics.ageing_ocv import ageing_curves
from bess_pipeline.analytics.anchors import HYSTERESIS_VOLT
from bess_pipeline.analytics.ocv import ocv_table, rested_charge
from bess_pipeline.analytics.traces import INTERVAL_US, Bools, Floats, Ints, Traces, traces
from bess_pipeline.tables.health import BatteryState

_KEY = ["fleet_id", "battery_id"]
_US_PER_HOUR = 3.6e9
_US_PER_DAY = 86_400_000_000
#: Rows of so many days make a block, which is smoothed by the rows of the next block, too.
BLOCK_DAYS = 7
#: Fast and slow part of the drop over resistance at 1 C where the fleet states none, and as shares of what it states.
_FAST_VOLT, _FAST_SHARE, _SLOW_SHARE = 0.08, 1.2, 0.6
#: Time in which the slow part follows the current [h], and charge after which the branch of the hysteresis has changed.
_SLOW_HOURS, _BRANCH_CHARGE = 0.25, 0.04
#: Activation energy of the resistance [J/mol] and the gas constant [J/(mol K)].
_ACTIVATION, _GAS, _REFERENCE_KELVIN = 20_000.0, 8.314462618, 298.15
#: Error of a reported change of charge across a silence: least, and as a share of it.
_REPORTED_CHANGE, _REPORTED_SHARE = 0.01, 0.10
#: Current assumed where it was not seen: as before for so long [h], with this error as a share of it and in C.
_SAME_HOURS, _ASSUMED_SHARE, _ASSUMED_RATE = 0.25, 0.5, 0.05
#: Less silence than this is none [h]; what an unknown charge may be after long.
_NO_SILENCE, _MOST_SIGMA = 0.004, 0.30
#: From such a silence on a reported change counts for more than the current before [h].
_SHORT = 0.04
#: First state of charge: error of what the management system reports, and of voltage under load [V].
_REPORTED_SIGMA, _LOADED_VOLT = 0.15, 0.025


@dataclass(frozen=True)
class Estimates:
    """What the filter found.

    Attributes:
        charge: `ChargeEstimate` rows, sorted by battery and start.
        states: `BatteryState` rows, sorted by battery and day; none of batteries whose voltage was never known.
    """

    charge: pl.DataFrame
    states: pl.DataFrame


def estimates(intervals: pl.DataFrame, batteries: pl.DataFrame, curves: pl.DataFrame) -> Estimates:
    """Estimate the state of each battery over its whole history.

    An iterated extended Kalman filter follows state of charge, offset of the current
    sensor, capacity, capacity when new, two resistances, hysteresis and the bias of the
    open-circuit voltage. Between rows charge is counted; the mean voltage of each
    5-minute row corrects. The state of charge is smoothed by the rows of its week and
    of the next; everything else is as known at the end of the day.

    Where no current was seen the change of the reported state of charge bridges the
    gap if it is surer than the current before; after more than a quarter of an hour of
    silence no voltage is believed for half an hour.

    Args:
        intervals: `ClosedInterval5min` rows of a fleet, any order.
        batteries: `Battery` rows.
        curves: `OcvPoint` rows.

    References:
        G. L. Plett (2004), J. Power Sources 134, 252, 262, 277, doi:10.1016/j.jpowsour.2004.02.031, .032, .033.
        A. E. Bryson, M. Frazier (1963), Smoothing for linear and nonlinear dynamic systems, ASD-TDR-63-119, 353.
        B. M. Bell, F. W. Cathey (1993), IEEE Trans. Autom. Control 38, 294, doi:10.1109/9.250476.
    """
    series = traces(intervals, batteries)
    rows = _rows(series)
    aged = ageing_curves(batteries, curves)
    both = np.stack([aged.volt, aged.doubt], axis=1)
    plates = _plates(series, rows, batteries, curves)
    hours = series.start_us / _US_PER_HOUR
    block = series.start_us // (BLOCK_DAYS * _US_PER_DAY)
    smooth = np.full((len(rows), 2), np.nan)
    passed = np.full((len(rows), 2 * filtering.BIAS), np.nan)
    for b in range(series.batteries.height):
        own = slice(series.offsets[b], series.offsets[b + 1])
        if not np.isnan(plates[b]).any():
            filtering.estimated(
                rows[own], hours[own], block[own], plates[b], both[aged.of_battery[b]], smooth[own], passed[own]
            )
    charge = series.rows.select(*_KEY, "date", "timestamp").with_columns(
        soc_percent=pl.Series(100 * smooth[:, 0]).fill_nan(None),
        soc_sigma_percent=pl.Series(100 * np.sqrt(smooth[:, 1])).fill_nan(None),
    )
    return Estimates(charge, _states(series, plates, passed, corrected=~np.isnan(rows[:, filtering.VOLT])))


def _states(series: Traces, plates: Floats, passed: Floats, *, corrected: Bools) -> pl.DataFrame:
    """What is known at the end of each day."""
    battery = series.battery_index
    rated = series.nameplate("rated_capacity_ah")[battery]
    capacity = rated * np.exp(passed[:, filtering.CAPACITY])
    sigma = np.sqrt(passed[:, filtering.BIAS :])
    # From volts of a cell at 1 C to ohms of the battery.
    ohm = series.cells()[battery] / rated
    columns = {
        "capacity_ah": capacity,
        "capacity_sigma_ah": capacity * sigma[:, filtering.CAPACITY],
        "new_capacity_ah": rated * np.exp(passed[:, filtering.NEW]),
        "offset_ampere": rated * passed[:, filtering.OFFSET],
        "offset_sigma_ampere": rated * sigma[:, filtering.OFFSET],
        "fast_resistance_ohm": ohm * plates[battery, filtering.FAST_VOLT] * np.exp(passed[:, filtering.OHM]),
        "slow_resistance_ohm": ohm * plates[battery, filtering.SLOW_VOLT] * np.exp(passed[:, filtering.SLOW]),
        "hysteresis_volt": passed[:, filtering.HYSTERESIS],
    }
    soc = pl.Series("soc", 100 * passed[:, filtering.SOC])
    return (
        series.rows.select(*_KEY, "date")
        .with_columns(soc, pl.Series("corrected", corrected), **{k: pl.Series(v) for k, v in columns.items()})
        .filter(pl.col("capacity_ah").is_not_nan())
        .with_columns(corrections=pl.col("corrected").cast(pl.Int64).cum_sum().over(_KEY))
        .group_by(*_KEY, "date", maintain_order=True)
        .agg(
            pl.col("corrections", *columns).last().fill_nan(None),
            soc_min_percent=pl.col("soc").min(),
            soc_max_percent=pl.col("soc").max(),
        )
        .select(BatteryState.column_names())
    )


def _rows(series: Traces) -> Floats:
    """The rows as the filter takes them."""
    rated = series.nameplate("rated_capacity_ah")[series.battery_index]
    into, out = (np.nan_to_num(part) / rated for part in series.charge())
    seen = np.minimum(series.observed_us(), INTERVAL_US) / _US_PER_HOUR
    rate = np.nan_to_num(series.current()) / rated
    largest = series.column("current_abs_max_ampere")
    flows = np.where(np.isnan(largest), np.abs(rate) > 0, largest > 0)
    kelvin = series.column("temperature_celsius") + 273.15
    heat = np.exp(_ACTIVATION / _GAS * (1 / kelvin - 1 / _REFERENCE_KELVIN))
    start = series.start_us
    until = np.append(start[1:], start[-1:] + INTERVAL_US) - start
    own = np.append(np.diff(series.battery_index) == 0, False)
    hours = np.where(own, until, INTERVAL_US) / _US_PER_HOUR
    silent = np.maximum(hours - seen, 0.0)
    silent[silent < _NO_SILENCE] = 0.0
    out_rows = np.empty((len(rate), filtering.ROW_COLUMNS))
    out_rows[:, filtering.ACTIVE] = np.where(flows, seen, 0.0)
    out_rows[:, filtering.NET], out_rows[:, filtering.GROSS] = into - out, into + out
    out_rows[:, filtering.RATE] = rate
    volt = series.cell_volt("voltage_volt", "cell_voltage_min_volt", "cell_voltage_max_volt")
    out_rows[:, filtering.VOLT] = np.where(seen > 0, volt, np.nan)
    out_rows[:, filtering.HEAT] = np.where(np.isnan(heat), 1.0, heat)
    out_rows[:, filtering.SILENT] = silent
    leap, sigma = _leaps(series, into - out, rate, silent)
    out_rows[:, filtering.LEAP], out_rows[:, filtering.LEAP_SIGMA] = leap, sigma
    _relaxed(series.offsets, hours, rate, into + out, np.sign(rate), out_rows)
    return out_rows


def _leaps(series: Traces, net: Floats, rate: Floats, silent: Floats) -> tuple[Floats, Floats]:
    """Charge that moved while nothing was seen, over rated, and its standard error.

    Errors of neighbouring silences add up, as those of one long silence do.
    """
    reported = series.column("soc_bms_percent") / 100
    change = np.append(np.diff(reported), np.nan) - net
    is_told = ~np.isnan(change) & (silent > 0) & (np.abs(change) <= silent + 0.05)
    run = _runs(series.battery_index, silent > 0, is_told)
    lasted = _summed(np.where(silent > 0, silent, 0.0), run)
    same = np.clip(_SAME_HOURS - (lasted - silent), 0.0, silent)
    doubt = np.minimum(_ASSUMED_SHARE * _summed(np.abs(rate) * same, run) + _ASSUMED_RATE * lasted, _MOST_SIGMA)
    doubt = np.minimum(doubt + _ASSUMED_SHARE * np.maximum(lasted - _SAME_HOURS, 0.0), _MOST_SIGMA)
    told = np.hypot(_REPORTED_CHANGE, _REPORTED_SHARE * _summed(np.abs(np.where(is_told, change, 0.0)), run))
    is_told &= (told < doubt) | (silent > _SHORT)
    sigma = np.where(is_told, told, doubt)
    before = np.where(np.diff(run, prepend=-1) == 0, np.concatenate([[0.0], sigma[:-1]]), 0.0)
    grown = np.sqrt(np.maximum(sigma**2 - before**2, 0.0))
    return np.where(is_told, change, rate * same), np.where(silent > 0, grown, 0.0)


def _runs(battery: Ints, *states: Bools) -> Ints:
    """Numbers of the stretches over which the battery and all states stay as they are."""
    new = np.diff(battery, prepend=-1) != 0
    for state in states:
        new |= np.diff(state.astype(np.int8), prepend=-1) != 0
    return np.cumsum(new).astype(np.int64)


def _summed(values: Floats, run: Ints) -> Floats:
    """Sums over each stretch up to each row."""
    return (
        pl.DataFrame({"run": run, "value": values}).select(pl.col("value").cum_sum().over("run")).to_series().to_numpy()
    )


@njit(cache=True)
def _relaxed(offsets: Ints, hours: Floats, rate: Floats, gross: Floats, sign: Floats, rows: Floats) -> None:
    """Fill in how far the slow drop and the hysteresis have followed the current, as means of each row."""
    for b in range(len(offsets) - 1):
        slow = branch = 0.0
        for k in range(offsets[b], offsets[b + 1]):
            within = hours[k] if hours[k] < 0.1 else INTERVAL_US / _US_PER_HOUR
            keep = np.exp(-within / _SLOW_HOURS)
            rows[k, filtering.SLOW_RATE] = rate[k] + (slow - rate[k]) * (1.0 - keep) * _SLOW_HOURS / within
            slow = rate[k] + (slow - rate[k]) * keep
            slow *= np.exp(-(hours[k] - within) / _SLOW_HOURS)
            ahead = branch + (sign[k] - branch) * (1.0 - np.exp(-gross[k] / _BRANCH_CHARGE))
            rows[k, filtering.BRANCH] = 0.5 * (branch + ahead)
            branch = ahead


def _plates(series: Traces, rows: Floats, batteries: pl.DataFrame, curves: pl.DataFrame) -> Floats:
    """What is known of each battery before its first row; NaN where there is no voltage at all."""
    rated, cells = series.nameplate("rated_capacity_ah"), series.cells()
    stated = series.nameplate("resistance_ohm") / cells * rated
    table = ocv_table(batteries, curves)
    plates = np.full((series.batteries.height, 5), np.nan)
    reported = series.column("soc_bms_percent") / 100
    for b, chemistry in enumerate(series.batteries["chemistry"]):
        own = slice(series.offsets[b], series.offsets[b + 1])
        known = np.flatnonzero(~np.isnan(rows[own, filtering.VOLT]))
        if not len(known):
            continue
        volt = stated[b] if stated[b] > 0 else _FAST_VOLT
        at = series.offsets[b] + known[0]
        rested = rows[at, filtering.VOLT] - _FAST_SHARE * volt * rows[at, filtering.RATE]
        sigma = np.array([np.hypot(_LOADED_VOLT, HYSTERESIS_VOLT[chemistry])])
        found = rested_charge(np.array([rested]), np.array([b]), table, sigma_volt=sigma)
        soc, error = float(np.clip(found.soc_percent[0], 0, 100)) / 100, max(found.sigma_percent[0] / 100, 0.02)
        told = reported[series.offsets[b]]
        if not np.isnan(told):
            weight = 1 / error**2, 1 / _REPORTED_SIGMA**2
            soc, error = (soc * weight[0] + told * weight[1]) / sum(weight), sum(weight) ** -0.5
        plates[b] = _FAST_SHARE * volt, _SLOW_SHARE * volt, HYSTERESIS_VOLT[chemistry], soc, min(error, 0.29)
    return plates
