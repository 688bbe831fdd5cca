"""Charge anchors: instants at which voltage alone says how full a battery is."""

from __future__ import annotations

import numpy as np
import polars as pl
from numba import njit

from bess_pipeline.analytics.ocv import ocv_table, soc_at, soc_sigma_at
from bess_pipeline.analytics.traces import INTERVAL_US, Floats, Ints, traces
from bess_pipeline.tables.health import ChargeAnchor

KINDS = ("rest", "full", "empty")
_REST, _FULL, _EMPTY = range(3)

#: Largest current at which a battery counts as resting, and as neither charging nor discharging [C].
_REST_RATE, _IDLE_RATE = 0.02, 0.01
#: A rest becomes an anchor when it has lasted this long, and again after each full day [5 minutes].
_REST_ROWS, _LONG_REST_ROWS, _DAY_ROWS = 6, 24, 288
#: Least share of a row over which the current must be known.
_OBSERVED = 0.8
#: Error of curve and sensor; what relaxation has left after half an hour (falls as one over time) [V].
_CURVE_VOLT, _RELAXATION_VOLT = 0.005, 0.006
#: Half the gap between the charge and discharge branches of the open-circuit voltage, as one standard error [V].
HYSTERESIS_VOLT = {"LFP": 0.010, "NMC": 0.004, "NCA": 0.004, "LCO": 0.003, "LTO": 0.004, "lead_acid": 0.010}
#: How near to its limit the outermost cell must come [V]: little on LFP, whose last volts belong to its last percent.
_NEAR_TOP_VOLT = {"LFP": 0.02, "NMC": 0.1, "NCA": 0.1, "LCO": 0.1, "LTO": 0.1, "lead_acid": 0.02}
_NEAR_BOTTOM_VOLT = 0.2
#: Least charge moved towards the limit before it counts [share of rated capacity].
_CHARGED_SHARE, _DISCHARGED_SHARE = 0.01, 0.05
#: Drop over internal resistance of a cell at 1 C where the fleet states no resistance [V].
_DROP_VOLT = 0.10
#: Least change of current that shows the resistance [C], and how much a single change may move the estimate.
_STEP_RATE, _STEP_GAIN = 0.1, 0.05
#: Relative error of that resistance at the end of a charge and of a discharge.
_DROP_ERROR_TOP, _DROP_ERROR_BOTTOM = 0.3, 0.5
#: Least and largest standard error of an anchor [%].
_LEAST_SIGMA = (1.0, 1.0, 2.0)
_LARGEST_SIGMA = 6.0
#: A limit that a single cell or a high current meets far from these says little, and is no anchor [%].
_FULL_PERCENT, _EMPTY_PERCENT = 80.0, 20.0


def charge_anchors(intervals: pl.DataFrame, batteries: pl.DataFrame, curves: pl.DataFrame) -> pl.DataFrame:
    """Find the instants at which voltage alone says how full a battery is.

    Every anchor lies at the END of a 5-minute interval, so the charge between two
    anchors is the sum over the intervals that start in between. Whether there is an
    anchor depends on rows up to and including the one that starts at its instant, on
    nothing later. Three kinds:

    * ``rest``: current within 0.02 C for 30 minutes, again after 2 hours and after
      each day of rest. The mean cell voltage is read off the open-circuit curve.
    * ``full``: a charge of at least 1 % ends, or falls silent, with the highest cell
      within 0.1 V (LFP and lead-acid: 20 mV) of its limit. The mean cell voltage, less the drop over the
      resistance, is read off the curve; beyond its end the battery is at 100 %.
    * ``empty``: a discharge of at least 5 % ends, or falls silent, with the lowest
      cell within 0.2 V of its limit; the drop is added.

    The error adds 5 mV of curve and sensor, half the hysteresis of the chemistry,
    6 mV of relaxation after half an hour (falling as one over time) and, under
    current, 30 % (charge) or 50 % (discharge) of the drop. What that means in state
    of charge is read off the curve. Anchors worse than 6 points, as all on the
    plateau of LFP are, are left out, and so are limits met two errors below 80 or
    above 20 %, by a single cell out of balance. The resistance behind the drop is
    followed from row to row, starting from the nameplate or 0.1 V per C.

    Args:
        intervals: `Interval5min` rows with midnights closed.
        batteries: `Battery` rows.
        curves: `OcvPoint` rows.

    Returns:
        `ChargeAnchor` rows, sorted by battery and instant.

    References:
        Hysteresis and relaxation of LFP: M. A. Roscher, D. U. Sauer (2011), J. Power Sources 196, 331,
        doi:10.1016/j.jpowsour.2010.06.098.
    """
    series = traces(intervals, batteries)
    table = ocv_table(batteries, curves)
    cells = np.nan_to_num(series.cells(), nan=1.0)
    rated = series.nameplate("rated_capacity_ah")
    own = series.nameplate("resistance_ohm") / cells
    drop = np.where(own > 0, own, _DROP_VOLT / rated)
    hysteresis = np.array([HYSTERESIS_VOLT[name] for name in series.batteries["chemistry"]])
    top = series.nameplate("cell_voltage_high_volt") - [_NEAR_TOP_VOLT[name] for name in series.batteries["chemistry"]]
    bottom = series.nameplate("cell_voltage_low_volt") + _NEAR_BOTTOM_VOLT
    plates = np.stack([rated, drop, hysteresis, top, bottom], axis=1)
    mean = series.cell_volt("voltage_volt", "cell_voltage_min_volt", "cell_voltage_max_volt")
    mean_top = series.cell_volt("voltage_max_volt", "cell_voltage_max_volt")
    mean_bottom = series.cell_volt("voltage_min_volt", "cell_voltage_min_volt")
    highest, lowest = series.column("cell_voltage_max_volt"), series.column("cell_voltage_min_volt")
    into, out = series.charge()
    current, largest = series.current(), series.column("current_abs_max_ampere")
    columns = np.stack(
        [
            mean,
            mean_top,
            mean_bottom,
            np.where(np.isnan(highest), mean_top, highest),
            np.where(np.isnan(lowest), mean_bottom, lowest),
            current,
            np.where(np.isnan(largest), np.abs(current), largest),
            np.nan_to_num(into),
            np.nan_to_num(out),
            series.observed_us() / INTERVAL_US,
        ],
        axis=1,
    )
    row, kind, soc, sigma = _anchors(series.start_us, series.offsets, columns, plates, table.volt)
    rows: pl.DataFrame = series.rows[row]
    return (
        rows.select(
            "fleet_id",
            "battery_id",
            timestamp=pl.col("timestamp") + pl.duration(microseconds=INTERVAL_US),
            kind=pl.Series(np.array(KINDS, dtype=object)[kind], dtype=pl.String),
            soc_percent=pl.Series(soc, dtype=pl.Float64),
            soc_sigma_percent=pl.Series(sigma, dtype=pl.Float64),
        )
        .sort("fleet_id", "battery_id", "timestamp", "soc_sigma_percent", "kind")
        .unique(["fleet_id", "battery_id", "timestamp"], keep="first", maintain_order=True)
        .pipe(ChargeAnchor.validate)
    )


@njit(cache=True)
def _anchors(start_us: Ints, offsets: Ints, columns: Floats, plates: Floats, curves: Floats):  # type: ignore[no-untyped-def]  # noqa: ANN202, C901, PLR0912, PLR0915
    n = len(start_us)
    row, kind = np.empty(3 * n + 1, np.int64), np.empty(3 * n + 1, np.int64)
    soc, sigma = np.empty(3 * n + 1), np.empty(3 * n + 1)
    found = 0
    for b in range(len(offsets) - 1):
        rated, resistance, hysteresis, top, bottom = plates[b]
        curve = curves[b]
        still_volt = np.sqrt(_CURVE_VOLT**2 + hysteresis**2)
        rested = steps = 0
        charged = discharged = 0.0
        top_volt = top_current = bottom_volt = bottom_current = np.nan
        for k in range(offsets[b], offsets[b + 1]):
            mean, mean_top, mean_bottom, highest, lowest, current, largest, into, out, observed = columns[k]
            follows = k > offsets[b] and start_us[k] - start_us[k - 1] == INTERVAL_US
            known = observed > 0 and not np.isnan(mean) and not np.isnan(current)
            seen = known and observed >= _OBSERVED
            idle_in, idle_out = current <= _IDLE_RATE * rated, current >= -_IDLE_RATE * rated
            goes_on = follows and known
            if goes_on and seen and columns[k - 1, 9] >= _OBSERVED and not np.isnan(columns[k - 1, 0]):
                step = current - columns[k - 1, 5]
                if abs(step) >= _STEP_RATE * rated:
                    slope = (mean - columns[k - 1, 0]) / step
                    if slope > 0:
                        steps += 1
                        change = min(max(slope - resistance, -resistance / 2), resistance / 2)
                        resistance += max(_STEP_GAIN, 1 / (steps + 2)) * change

            if charged >= _CHARGED_SHARE * rated and not np.isnan(top_volt) and (not goes_on or idle_in):
                value, error = _at_limit(curve, top_volt, -top_current * resistance, still_volt, _DROP_ERROR_TOP)
                # What still flows in after the last full row belongs before the top, what flowed out in it after.
                value -= 100 * ((into if goes_on else 0.0) + columns[k - 1, 8]) / rated
                error = max(error, _LEAST_SIGMA[_FULL])
                row[found], kind[found], soc[found], sigma[found] = k - 1, _FULL, value, error
                found += error <= _LARGEST_SIGMA and value + 2 * error >= _FULL_PERCENT
            if discharged >= _DISCHARGED_SHARE * rated and not np.isnan(bottom_volt) and (not goes_on or idle_out):
                value, error = _at_limit(
                    curve, bottom_volt, bottom_current * resistance, still_volt, _DROP_ERROR_BOTTOM
                )
                value += 100 * ((out if goes_on else 0.0) + columns[k - 1, 7]) / rated
                error = max(error, _LEAST_SIGMA[_EMPTY])
                row[found], kind[found], soc[found], sigma[found] = k - 1, _EMPTY, value, error
                found += error <= _LARGEST_SIGMA and value - 2 * error <= _EMPTY_PERCENT

            if not goes_on:
                charged = discharged = 0.0
            if not known or idle_in:
                charged, top_volt = 0.0, np.nan
            else:
                charged += into
                if highest >= top:
                    top_volt, top_current = mean_top, largest
                elif not goes_on:
                    top_volt = np.nan
            if not known or idle_out:
                discharged, bottom_volt = 0.0, np.nan
            else:
                discharged += out
                if lowest <= bottom:
                    bottom_volt, bottom_current = mean_bottom, largest
                elif not goes_on:
                    bottom_volt = np.nan

            if not follows:
                rested = 0
            rested = rested + 1 if seen and largest <= _REST_RATE * rated else 0
            if rested in (_REST_ROWS, _LONG_REST_ROWS) or (rested > 0 and rested % _DAY_ROWS == 0):
                volt = mean - current * resistance
                error = np.sqrt(still_volt**2 + (_RELAXATION_VOLT * _REST_ROWS / rested) ** 2)
                value = soc_at(curve, volt)
                error = max(soc_sigma_at(curve, volt, error), _LEAST_SIGMA[_REST])
                row[found], kind[found], soc[found], sigma[found] = k, _REST, min(value, 100.0), error
                found += error <= _LARGEST_SIGMA
    return row[:found], kind[:found], soc[:found], sigma[:found]


@njit(cache=True)
def _at_limit(curve: Floats, volt: float, drop: float, still_volt: float, drop_error: float) -> tuple[float, float]:
    """State of charge where a charge or discharge ends at a limit, at most full, and its error [%]."""
    error = np.sqrt(still_volt**2 + (drop_error * drop) ** 2)
    rested = min(volt + drop, curve[-1])
    return soc_at(curve, rested), soc_sigma_at(curve, rested, error)
