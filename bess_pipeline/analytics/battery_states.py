"""State of charge, capacity and resistance of each battery, estimated together from its 5-minute rows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date
from typing import NamedTuple

import numpy as np
import polars as pl

from bess_pipeline.analytics import filter_states as at
from bess_pipeline.analytics import state_filter as filtering
from bess_pipeline.analytics.ageing_ocv import ageing_curves
from bess_pipeline.analytics.anchors import HYSTERESIS_VOLT
from bess_pipeline.analytics.filter_memory import Life, lives, memory_rows
from bess_pipeline.analytics.filter_rows import RATE, REPORTED, VOLT, filter_rows, own_columns
from bess_pipeline.analytics.filter_voltage import TABLE_SIGMA
from bess_pipeline.analytics.ocv import OcvTable, ocv_table, rested_charge
from bess_pipeline.analytics.traces import Traces, traces
from bess_pipeline.arrays import Bools, Floats, Ints
from bess_pipeline.tables.chemistry import CHEMISTRY
from bess_pipeline.tables.health import BatteryState, FilterMemory
from bess_pipeline.tables.keys import BATTERY, BATTERY_DAY
from bess_pipeline.units import US_PER_DAY, US_PER_HOUR

#: Rows of so many days make a block, which is smoothed by the rows of the next block, too.
BLOCK_DAYS = 7
#: Fast and slow part of the drop over resistance at 1 C where the fleet states none, and as shares of what it states.
_FAST_VOLT, _FAST_SHARE, _SLOW_SHARE = 0.08, 1.2, 0.6
#: Standard error of the open-circuit curve of a chemistry [V]; cathodes of mixed oxides differ more from make to make.
_USUAL_CURVE, _MIXED_CURVE = 0.02, 0.04
_MIXED = frozenset({"NMC", "NCA"})
#: First state of charge: error of what the management system reports, and of voltage under load [V].
_REPORTED_SIGMA, _LOADED_VOLT = 0.15, 0.025


@dataclass(frozen=True)
class Estimates:
    """What the filter found.

    Attributes:
        charge: `ChargeEstimate` rows, sorted by battery and start.
        states: `BatteryState` rows, sorted by battery and day; none before a voltage was known.
        memory: `FilterMemory` rows of the epochs that begin within the rows.
    """

    charge: pl.DataFrame
    states: pl.DataFrame
    memory: pl.DataFrame


def estimates(
    intervals: pl.DataFrame, batteries: pl.DataFrame, curves: pl.DataFrame, memory: pl.DataFrame | None = None
) -> Estimates:
    """Estimate the state of each battery over its whole history, or go on from an epoch.

    A Kalman filter follows state of charge, offset of the current
    sensor, capacity, capacity when new, two resistances, hysteresis and the bias of the
    open-circuit voltage, from the first voltage on. Between rows charge is counted; the mean
    voltage of each 5-minute row corrects. The state of charge is smoothed by the rows of its
    week and of the next; everything else is as known at the end of the day.

    Where no current was seen the change of the reported state of charge bridges the
    gap if it is surer than the current before; after more than a quarter of an hour of
    silence no voltage is believed for half an hour.

    Args:
        intervals: `ClosedInterval5min` rows of a fleet, any order; with a memory, those from its epoch on.
        batteries: `Battery` rows.
        curves: `OcvPoint` rows.
        memory: `FilterMemory` rows of one epoch; none to begin at the beginning.

    Returns:
        The same to the last digit for all rows from an epoch on, whether begun there or at the beginning.

    References:
        G. L. Plett (2004), J. Power Sources 134, 252, 262, 277, doi:10.1016/j.jpowsour.2004.02.031, .032, .033.
        A. E. Bryson, M. Frazier (1963), Smoothing for linear and nonlinear dynamic systems, ASD-TDR-63-119, 353.
        Á. F. García-Fernández et al. (2015), IEEE Trans. Signal Process. 63, 5561, doi:10.1109/TSP.2015.2454485.
    """
    series = traces(intervals, batteries)
    own, start = own_columns(series), series.start_us
    aged = ageing_curves(batteries, curves)
    both = np.stack([aged.volt, aged.doubt], axis=1)
    table = ocv_table(batteries, curves)
    known = lives(memory)
    with_curve = _with_own_curve(batteries, curves)
    days: list[date] = series.rows["date"].unique().to_list()
    last = max(days, default=date(1970, 1, 1))
    smooth = np.full((len(own), 2), np.nan)
    passed = np.full((len(own), 2 * at.BIAS), np.nan)
    plates = np.full((series.batteries.height, at.PLATE), np.nan)
    corrections = np.zeros(series.batteries.height, np.int64)
    kept: list[pl.DataFrame] = [FilterMemory.create_empty()]
    for b, key in enumerate(series.batteries.select(BATTERY).rows()):
        part = slice(series.offsets[b], series.offsets[b + 1])
        life = known[key].with_rows(own[part], start[part]) if key in known else Life.begun(own[part], start[part])
        if not len(life.own):
            continue
        epochs = life.epochs(last)
        keep_at = life.last_before(epochs)
        rows = np.empty((len(life.own), at.ROW_COLUMNS))
        owed = filter_rows(life.own, life.start_us, life.owed, keep_at, rows)
        first = 0 if life.plate is not None else _first_voltage(rows)
        if life.plate is None and first < len(rows):
            life = replace(life, plate=_plate(series, b, life.own[first], table, own=key in with_curve))
        carried = np.empty((0, filtering.CARRIED))
        if life.plate is not None:
            found = _filtered(life, rows, first, keep_at, both[aged.of_battery[b]])
            after = max(first, life.earlier)
            into = slice(part.start + after - life.earlier, part.stop)
            smooth[into], passed[into] = found.smooth[after - first :], found.passed[after - first :]
            plates[b], carried = life.plate, found.carried
            corrections[b] = life.corrections + int((~np.isnan(life.own[first:after, VOLT])).sum())
        kept.append(memory_rows(key, life, epochs, owed, first, carried))
    charge = series.rows.select(*BATTERY_DAY, "timestamp").with_columns(
        soc_percent=pl.Series(100 * smooth[:, 0]).fill_nan(None),
        soc_sigma_percent=pl.Series(100 * np.sqrt(smooth[:, 1])).fill_nan(None),
    )
    states = _states(series, plates, passed, corrections, corrected=~np.isnan(own[:, VOLT]))
    return Estimates(charge, states, pl.concat(kept).sort(*BATTERY_DAY))


def _with_own_curve(batteries: pl.DataFrame, curves: pl.DataFrame) -> set[tuple[str, str]]:
    """Batteries whose open-circuit curve is not just that of their chemistry."""
    usual = pl.concat(
        pl.DataFrame(values.ocv, schema=["soc_percent", "usual_volt"], orient="row").with_columns(
            chemistry=pl.lit(name)
        )
        for name, values in CHEMISTRY.items()
    )
    points = curves.join(batteries.select(*BATTERY, "chemistry"), on=BATTERY)
    is_usual = pl.col("ocv_volt") == pl.col("usual_volt")
    own = points.join(usual, on=["chemistry", "soc_percent"], how="left").filter(~is_usual.fill_null(value=False))
    return set(own.select(BATTERY).unique().rows())


def _first_voltage(rows: Floats) -> int:
    """The first row whose voltage is known; their number where none is."""
    known = np.flatnonzero(~np.isnan(rows[:, at.VOLT]))
    return int(known[0]) if len(known) else len(rows)


class _Filtered(NamedTuple):
    smooth: Floats
    passed: Floats
    carried: Floats


def _filtered(life: Life, rows: Floats, first: int, keep_at: Ints, curves: Floats) -> _Filtered:
    """What the filter says of one battery's rows from the first with a voltage on."""
    hours = life.start_us[first:] / US_PER_HOUR
    plate = life.plate
    if plate is None:
        raise ValueError("nothing is known of the battery's voltage")
    smooth, passed = np.full((len(hours), 2), np.nan), np.full((len(hours), 2 * at.BIAS), np.nan)
    carried = filtering.estimated(
        rows[first:],
        hours,
        life.start_us[first:] // (BLOCK_DAYS * US_PER_DAY),
        plate,
        curves,
        filtering.fresh(plate, curves, hours[0]) if life.carried is None else life.carried,
        keep_at[keep_at >= first] - first,
        smooth,
        passed,
    )
    return _Filtered(smooth, passed, carried)


def _states(series: Traces, plates: Floats, passed: Floats, before: Ints, *, corrected: Bools) -> pl.DataFrame:
    """What is known at the end of each day; ``before`` are the corrections before each battery's rows."""
    battery = series.battery_index
    rated = series.nameplate("rated_capacity_ah")[battery]
    capacity = rated * np.exp(passed[:, at.CAPACITY])
    sigma = np.sqrt(passed[:, at.BIAS :])
    # From volts of a cell at 1 C to ohms of the battery.
    ohm = series.cells()[battery] / rated
    columns = {
        "capacity_ah": capacity,
        "capacity_sigma_ah": capacity * sigma[:, at.CAPACITY],
        "new_capacity_ah": rated * np.exp(passed[:, at.NEW]),
        "offset_ampere": rated * passed[:, at.OFFSET],
        "offset_sigma_ampere": rated * sigma[:, at.OFFSET],
        "fast_resistance_ohm": ohm * plates[battery, at.FAST_VOLT] * np.exp(passed[:, at.OHM]),
        "slow_resistance_ohm": ohm * plates[battery, at.SLOW_VOLT] * np.exp(passed[:, at.SLOW]),
        "hysteresis_volt": passed[:, at.HYSTERESIS],
    }
    soc = pl.Series("soc", 100 * passed[:, at.SOC])
    return (
        series.rows.select(*BATTERY_DAY)
        .with_columns(
            soc,
            pl.Series("corrected", corrected),
            before=pl.Series(before[battery]),
            **{k: pl.Series(v) for k, v in columns.items()},
        )
        .filter(pl.col("capacity_ah").is_not_nan())
        .with_columns(corrections=pl.col("corrected").cast(pl.Int64).cum_sum().over(BATTERY) + pl.col("before"))
        .group_by(*BATTERY_DAY, maintain_order=True)
        .agg(
            pl.col("corrections", *columns).last().fill_nan(None),
            soc_min_percent=pl.col("soc").min(),
            soc_max_percent=pl.col("soc").max(),
        )
        .select(BatteryState.column_names())
    )


def _plate(series: Traces, battery: int, row: Floats, table: OcvTable, *, own: bool) -> Floats:
    """What is known of a battery before its first row with a voltage."""
    rated, cells = series.nameplate("rated_capacity_ah")[battery], series.cells()[battery]
    stated = series.nameplate("resistance_ohm")[battery] / cells * rated
    chemistry = series.batteries["chemistry"][battery]
    gap = HYSTERESIS_VOLT[chemistry]
    volt = stated if stated > 0 else _FAST_VOLT
    rested = row[VOLT] - _FAST_SHARE * volt * row[RATE]
    sigma = np.array([np.hypot(_LOADED_VOLT, gap)])
    found = rested_charge(np.array([rested]), np.array([battery]), table, sigma_volt=sigma)
    soc, error = float(np.clip(found.soc_percent[0], 0, 100)) / 100, max(found.sigma_percent[0] / 100, 0.02)
    if not np.isnan(row[REPORTED]):
        weight = 1 / error**2, 1 / _REPORTED_SIGMA**2
        soc, error = (soc * weight[0] + row[REPORTED] * weight[1]) / sum(weight), sum(weight) ** -0.5
    usual = _MIXED_CURVE if chemistry in _MIXED else _USUAL_CURVE
    curve = TABLE_SIGMA if own else usual
    return np.array([_FAST_SHARE * volt, _SLOW_SHARE * volt, gap, soc, min(error, 0.29), curve])
