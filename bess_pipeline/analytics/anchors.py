"""Charge anchors: instants at which voltage alone says how full a battery is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numba import njit

from bess_pipeline.analytics.memory import Recalled, Stretch
from bess_pipeline.analytics.ocv import ocv_table, soc_at, soc_sigma_at
from bess_pipeline.analytics.traces import traces
from bess_pipeline.arrays import Floats, Ints
from bess_pipeline.tables.health import ChargeAnchor
from bess_pipeline.tables.keys import BATTERY
from bess_pipeline.tables.telemetry import INTERVAL_US

KINDS = ("rest", "full", "empty")
_REST, _FULL, _EMPTY = range(3)

#: Largest current at which a battery counts as resting, and as neither charging nor discharging [C].
_REST_RATE, _IDLE_RATE = 0.02, 0.01
#: A rest becomes an anchor when it has lasted this long, and again after each full day [5 minutes].
_REST_ROWS, _LONG_REST_ROWS, _DAY_ROWS = 6, 24, 288
#: Least share of a row over which the current must be known.
_OBSERVED = 0.8
#: What falls silent for longer than this at a limit leaves no anchor [µs].
_SOON_US = 86_400_000_000
#: What is carried from row to row: rows rested, steps of the current so far, resistance that these show [Ω], charge
#: moved towards either limit [Ah], voltage [V] and current [A] at it, start of the last row [µs], its columns.
(_RESTED, _STEPS, _FOLLOWED, _CHARGED, _DISCHARGED, _TOP_VOLT, _TOP_CURRENT, _BOTTOM_VOLT, _BOTTOM_CURRENT,
 _BEFORE_US, _BEFORE) = range(11)  # fmt: skip
_CARRIED = _BEFORE + 10
#: Place of the resistance among what is known of a battery.
_RESISTANCE = 1
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


@dataclass(frozen=True)
class Anchors:
    """What was found.

    Attributes:
        anchors: `ChargeAnchor` rows, sorted by battery and instant.
        memory: `EpochMemory` rows of the epochs that begin within the rows.
    """

    anchors: pl.DataFrame
    memory: pl.DataFrame


def charge_anchors(
    intervals: pl.DataFrame, batteries: pl.DataFrame, curves: pl.DataFrame, memory: pl.DataFrame | None = None
) -> Anchors:
    """Find the instants at which voltage alone says how full a battery is.

    Every anchor lies at the END of a 5-minute interval, so the charge between two
    anchors is the sum over the intervals that start in between. Whether there is an
    anchor depends on rows up to the next one, if it comes within a day. Three kinds:

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
        intervals: `Interval5min` rows with midnights closed; with a memory, those from its epoch on.
        batteries: `Battery` rows.
        curves: `OcvPoint` rows.
        memory: `EpochMemory` rows of one epoch; none to begin at the beginning.

    Returns:
        From the second day of an epoch on the same, whether begun there or at the beginning.

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
    start = series.start_us
    recalled = Recalled(series, memory)
    found: list[pl.DataFrame] = []

    def looked(part: Stretch) -> list[Floats]:
        plate = plates[part.battery]
        carried = _nothing(plate[_RESISTANCE]) if part.carried is None else part.carried
        kept = np.empty((len(part.keep_at), _CARRIED))
        told = _anchors(
            start[part.rows], columns[part.rows], plate, table.volt[part.battery], carried, part.keep_at, kept
        )
        found.append(_named(series.batteries[part.battery], told))
        return list(kept)

    recalled.over(looked)
    anchors = (
        pl.concat([ChargeAnchor.create_empty(), *found])
        .sort(*BATTERY, "timestamp", "soc_sigma_percent", "kind")
        .unique(["fleet_id", "battery_id", "timestamp"], keep="first", maintain_order=True)
        .pipe(ChargeAnchor.validate)
    )
    return Anchors(anchors, recalled.memory())


def _named(battery: pl.DataFrame, told: Floats) -> pl.DataFrame:
    """One battery's anchors with the names of the contract."""
    fleet, name = battery.select(BATTERY).row(0)
    return pl.DataFrame(
        {
            "timestamp": pl.Series(told[:, 0], dtype=pl.Float64).cast(pl.Int64).cast(pl.Datetime("us", "UTC")),
            "kind": pl.Series([KINDS[int(kind)] for kind in told[:, 1]], dtype=pl.String),
            "soc_percent": told[:, 2],
            "soc_sigma_percent": told[:, 3],
        }
    ).select(pl.lit(fleet).alias("fleet_id"), pl.lit(name).alias("battery_id"), pl.all())


def _nothing(resistance: float) -> Floats:
    """What is carried into the first row of a battery."""
    carried = np.full(_CARRIED, np.nan)
    carried[[_RESTED, _STEPS, _CHARGED, _DISCHARGED]] = 0.0
    carried[_FOLLOWED] = resistance
    return carried


@njit(cache=True)
def _anchors(  # noqa: C901, PLR0912, PLR0915 - one pass over the rows, read from top to bottom
    start_us: Ints, columns: Floats, plate: Floats, curve: Floats, carried: Floats, keep_at: Ints, kept: Floats
) -> Floats:
    """Anchors of one battery: instant [µs], kind, state of charge and its error [%]; fills what is carried on."""
    n = len(start_us)
    told = np.empty((3 * n + 1, 4))
    found = next_kept = 0
    rated, _, hysteresis, top, bottom = plate
    still_volt = np.sqrt(_CURVE_VOLT**2 + hysteresis**2)
    rested, steps, resistance = carried[_RESTED], carried[_STEPS], carried[_FOLLOWED]
    charged, discharged = carried[_CHARGED], carried[_DISCHARGED]
    top_volt, top_current = carried[_TOP_VOLT], carried[_TOP_CURRENT]
    bottom_volt, bottom_current = carried[_BOTTOM_VOLT], carried[_BOTTOM_CURRENT]
    before_us, before = carried[_BEFORE_US], carried[_BEFORE:].copy()
    for k in range(n + 1):
        while next_kept < len(keep_at) and keep_at[next_kept] == k:
            kept[next_kept, :_BEFORE] = np.array([
                rested, steps, resistance, charged, discharged, top_volt, top_current, bottom_volt, bottom_current,
                before_us,
            ])  # fmt: skip
            kept[next_kept, _BEFORE:] = before
            next_kept += 1
        if k == n:
            break
        mean, mean_top, mean_bottom, highest, lowest, current, largest, into, out, observed = columns[k]
        follows = start_us[k] - before_us == INTERVAL_US
        is_soon = start_us[k] - before_us <= _SOON_US
        known = observed > 0 and not np.isnan(mean) and not np.isnan(current)
        seen = known and observed >= _OBSERVED
        idle_in, idle_out = current <= _IDLE_RATE * rated, current >= -_IDLE_RATE * rated
        goes_on = follows and known
        if goes_on and seen and before[9] >= _OBSERVED and not np.isnan(before[0]):
            step = current - before[5]
            if abs(step) >= _STEP_RATE * rated:
                slope = (mean - before[0]) / step
                if slope > 0:
                    steps += 1
                    change = min(max(slope - resistance, -resistance / 2), resistance / 2)
                    resistance += max(_STEP_GAIN, 1 / (steps + 2)) * change

        if is_soon and charged >= _CHARGED_SHARE * rated and not np.isnan(top_volt) and (not goes_on or idle_in):
            value, error = _at_limit(curve, top_volt, -top_current * resistance, still_volt, _DROP_ERROR_TOP)
            # What still flows in after the last full row belongs before the top, what flowed out in it after.
            value -= 100 * ((into if goes_on else 0.0) + before[8]) / rated
            error = max(error, _LEAST_SIGMA[_FULL])
            told[found, 0], told[found, 1], told[found, 2], told[found, 3] = (
                before_us + INTERVAL_US,
                _FULL,
                value,
                error,
            )
            found += error <= _LARGEST_SIGMA and value + 2 * error >= _FULL_PERCENT
        if (
            is_soon and discharged >= _DISCHARGED_SHARE * rated and not np.isnan(bottom_volt)
            and (not goes_on or idle_out)
        ):  # fmt: skip
            value, error = _at_limit(curve, bottom_volt, bottom_current * resistance, still_volt, _DROP_ERROR_BOTTOM)
            value += 100 * ((out if goes_on else 0.0) + before[7]) / rated
            error = max(error, _LEAST_SIGMA[_EMPTY])
            told[found, 0], told[found, 1], told[found, 2], told[found, 3] = (
                before_us + INTERVAL_US,
                _EMPTY,
                value,
                error,
            )
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
            rested = 0.0
        rested = rested + 1.0 if seen and largest <= _REST_RATE * rated else 0.0
        if rested in (_REST_ROWS, _LONG_REST_ROWS) or (rested > 0 and rested % _DAY_ROWS == 0):
            volt = mean - current * resistance
            error = np.sqrt(still_volt**2 + (_RELAXATION_VOLT * _REST_ROWS / rested) ** 2)
            value = soc_at(curve, volt)
            error = max(soc_sigma_at(curve, volt, error), _LEAST_SIGMA[_REST])
            told[found, 0], told[found, 1], told[found, 2], told[found, 3] = (
                start_us[k] + INTERVAL_US,
                _REST,
                min(value, 100.0),
                error,
            )
            found += error <= _LARGEST_SIGMA
        before_us, before[:] = start_us[k], columns[k]
    return told[:found]


@njit(cache=True)
def _at_limit(curve: Floats, volt: float, drop: float, still_volt: float, drop_error: float) -> tuple[float, float]:
    """State of charge where a charge or discharge ends at a limit, at most full, and its error [%]."""
    error = np.sqrt(still_volt**2 + (drop_error * drop) ** 2)
    rested = min(volt + drop, curve[-1])
    return soc_at(curve, rested), soc_sigma_at(curve, rested, error)
