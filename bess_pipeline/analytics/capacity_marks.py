"""The instants of a day that may begin or end a capacity test, each with the charge counted up to it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import polars as pl
from numba import njit

from bess_pipeline.analytics.intervals import GAP_INTERVALS, LONGEST_USUAL_US, SHORTEST_GAP_US
from bess_pipeline.analytics.telemetry import in_order
from bess_pipeline.analytics.traces import floats
from bess_pipeline.arrays import Floats, Ints
from bess_pipeline.tables.capacity import MARKS, CapacityEvidence
from bess_pipeline.tables.chemistry import CHEMISTRY
from bess_pipeline.tables.keys import BATTERY, BATTERY_DAY
from bess_pipeline.tables.telemetry import voiding
from bess_pipeline.units import US_PER_DAY, US_PER_HOUR

#: Smallest current that charges or discharges a battery [C].
IDLE_RATE = 0.01
#: How near to its limit the highest cell must be for a charge to end there [V].
NEAR_LIMIT_VOLT = 0.02
#: A limit is met when it is missed by no more than single precision can tell [share of the limit].
LIMIT_PRECISION = 1e-6
#: Two ends of charge belong together unless so much flows out in between [share of rated capacity].
SAME_END_SHARE = 0.01
#: A charge that ends at this current or less ends full [C].
TAPERED_RATE = 0.1
#: Chemistries whose voltage at rest says that they are full, and from which state of charge on [%].
SLOPED, FULL_PERCENT = ("NMC", "NCA", "LCO", "LTO"), 97.0

TOP, DISCHARGE, CROSSING, BOTTOM, CHARGE = range(len(MARKS))
_READ = ("voltage_volt", "current_ampere", "cell_voltage_min_volt", "cell_voltage_max_volt")
#: Columns of the kernel's marks that are not whole numbers.
_NUMBERS = ("charging_ah", "discharging_ah", "square", "current_ampere", "cell_volt", "since_crossing_ah",
            "last_step_ah")  # fmt: skip
#: All fields of a mark, in the order of the table.
_FIELDS = ("kind", "timestamp", "charging_ah", "discharging_ah", "square", "unobserved_us", "current_ampere",
           "cell_volt", "since_crossing_us", "since_crossing_ah", "last_step_ah")  # fmt: skip


class _Marks(NamedTuple):
    """Whole numbers: series, kind, time, unobserved time, since the crossing [µs], whether it stays; `_NUMBERS`."""

    whole: Ints
    number: Floats
    total: Floats


def rest_volt(chemistry: str, soc_percent: float) -> float:
    """Open-circuit voltage of a new cell of a chemistry [V]."""
    soc, volt = np.array(CHEMISTRY[chemistry].ocv).T
    return float(np.interp(soc_percent, soc, volt))


def capacity_evidence(clean: pl.DataFrame, batteries: pl.DataFrame) -> pl.DataFrame:
    """Find the instants of each day that may begin or end a capacity test.

    A battery charges or discharges beyond 0.01 C. The limits are those of the
    nameplate, met by the highest or the lowest cell, or by the mean cell where cells
    are not measured. Five kinds of instants are kept:

    * a charge ends with the highest cell within 20 mV of the upper limit. Of several
      such ends with less than 1 % of the rated capacity out in between, the one at the
      lowest current stands for all;
    * a discharge begins, the first after such an end and the first of the day; and
      again wherever the voltage at rest before it says 97 % (not on LFP or lead-acid);
      the instant is that of the sample before, unless that was too long ago;
    * the lowest cell meets the lower limit, the first time after that;
    * a discharge ends at or below the lower limit, by the mirrored rule;
    * a charge begins, the first after that and the first of the day.

    Charge is the trapezoid of the current's positive and negative parts between
    neighbours not further apart than the longest bridged gap (means: value × interval),
    as it is in the 5-minute rows.

    Args:
        clean: `CleanTelemetry` rows of one or several days, in any order.
        batteries: `Battery` rows of their batteries.

    Returns:
        `CapacityEvidence` rows, one per battery and day with a known current, sorted.

    Raises:
        ValueError: If a battery has no nameplate.
    """
    days, samples = _days(clean, batteries)
    highest = floats(samples["cell_voltage_max_volt"])
    lowest = floats(samples["cell_voltage_min_volt"])
    starts = np.searchsorted(samples["series"].to_numpy(), np.arange(days.height + 1)).astype(np.int64)
    current, time = floats(samples["current_ampere"]), samples["timestamp"].cast(pl.Int64).to_numpy().astype(np.int64)
    plates = np.stack(
        [
            floats(days["rated_capacity_ah"]),
            floats(days["cell_voltage_low_volt"]) * (1 + LIMIT_PRECISION),
            floats(days["cell_voltage_high_volt"]) - NEAR_LIMIT_VOLT,
            np.array([rest_volt(name, FULL_PERCENT) if name in SLOPED else np.inf for name in days["chemistry"]]),
        ],
        axis=1,
    )
    clocks = np.stack(
        [
            days["max_gap_us"].to_numpy().astype(np.int64),
            days["usual_interval_us"].to_numpy().astype(np.int64),
            (days["sampling"] == "mean").to_numpy().astype(np.int64),
            days["date"].cast(pl.Datetime("us")).cast(pl.Int64).to_numpy().astype(np.int64) + US_PER_DAY,
        ],
        axis=1,
    )
    found = _Marks(*_marks(time, current, lowest, highest, starts, plates.reshape(-1, 4), clocks.reshape(-1, 4)))
    first, last = samples[starts[:-1].tolist()], samples[(starts[1:] - 1).tolist()]
    named = ("charging_capacity_ah", "discharging_capacity_ah", "current_square_hours", "unobserved_us")
    totals = pl.DataFrame(found.total, schema=dict.fromkeys(named, pl.Float64)).cast({"unobserved_us": pl.Int64})
    return (
        days.hstack(totals)
        .with_columns(
            first_timestamp=first["timestamp"],
            first_current_ampere=first["current_ampere"],
            last_timestamp=last["timestamp"],
            last_current_ampere=last["current_ampere"],
            last_cell_voltage_min_volt=last["cell_voltage_min_volt"],
            last_cell_voltage_max_volt=last["cell_voltage_max_volt"],
        )
        .join(_listed(found), on="series", how="left")
        .with_columns(pl.col("marks").fill_null([]))
        .sort(BATTERY_DAY)
        .select(CapacityEvidence.column_names())
    )


def _days(clean: pl.DataFrame, batteries: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Battery-days with a known current, and their samples with one, numbered alike."""
    doubts = {name: voiding(name) for name in _READ}
    plates = batteries.select(
        "fleet_id", "battery_id", "chemistry", "sampling", "rated_capacity_ah", "cells_in_series",
        "cell_voltage_low_volt", "cell_voltage_high_volt",
    )  # fmt: skip
    rows = in_order(clean.select(*BATTERY_DAY, "timestamp", *_READ, *{flag for of in doubts.values() for flag in of}))
    begins = pl.any_horizontal((pl.col(name) != pl.col(name).shift()).fill_null(value=False) for name in BATTERY_DAY)
    rows = rows.with_columns(day=begins.cum_sum().set_sorted())
    usual = pl.col("timestamp").diff().dt.total_microseconds().median().clip(upper_bound=LONGEST_USUAL_US)
    days = (
        rows.group_by("day", maintain_order=True)
        .agg(
            pl.col(BATTERY_DAY).first(),
            usual_interval_us=usual.fill_null(SHORTEST_GAP_US).cast(pl.Int64),
            known=(pl.col("current_ampere").is_not_null() & ~pl.any_horizontal(doubts["current_ampere"])).any(),
        )
        .with_columns(max_gap_us=(GAP_INTERVALS * pl.col("usual_interval_us")).clip(lower_bound=SHORTEST_GAP_US))
        .filter("known")
        .join(plates, on=BATTERY, how="left", maintain_order="left")
        .with_row_index("series")
    )
    unnamed = days.filter(pl.col("sampling").is_null())
    if unnamed.height:
        raise ValueError(f"no nameplate for {', '.join(sorted(unnamed['battery_id'].unique()))}")
    mean = pl.col("voltage_volt") / pl.when(pl.col("cells_in_series") > 0).then(pl.col("cells_in_series"))
    samples = (
        rows.with_columns(pl.when(~pl.any_horizontal(flags)).then(name).alias(name) for name, flags in doubts.items())
        .drop_nulls("current_ampere")
        .join(days.select("day", "series", "cells_in_series"), on="day", maintain_order="left")
        .select(
            "series",
            "timestamp",
            "current_ampere",
            cell_voltage_min_volt=pl.coalesce("cell_voltage_min_volt", mean),
            cell_voltage_max_volt=pl.coalesce("cell_voltage_max_volt", mean),
        )
    )
    return days, samples


def _listed(found: _Marks) -> pl.DataFrame:
    whole = {"series": 0, "timestamp": 2, "unobserved_us": 3, "since_crossing_us": 4}
    instants = pl.Datetime("us", "UTC")
    marks = pl.DataFrame(
        {name: found.whole[:, at] for name, at in whole.items()}, schema=dict.fromkeys(whole, pl.Int64)
    )
    numbers = pl.DataFrame({name: found.number[:, at] for at, name in enumerate(_NUMBERS)})
    return (
        marks.hstack(numbers)
        .with_columns(
            pl.col("series").cast(pl.UInt32),
            pl.col("timestamp").cast(instants),
            pl.col("cell_volt").fill_nan(None),
            kind=pl.Series(np.array(MARKS, dtype=object)[found.whole[:, 1]], dtype=pl.String),
        )
        .group_by("series", maintain_order=True)
        .agg(marks=pl.struct(_FIELDS))
    )


@njit(cache=True, nogil=True)
def _marks(  # type: ignore[no-untyped-def]  # noqa: ANN202, C901, PLR0912, PLR0915
    time: Ints, current: Floats, lowest: Floats, highest: Floats, starts: Ints, plates: Floats, clocks: Ints
):
    """Marks of each series, and what flows over it: in, out, square, unobserved."""
    whole, number = np.empty((64, 6), np.int64), np.empty((64, 7))
    total = np.zeros((len(starts) - 1, 4))
    size = 0
    for s in range(len(starts) - 1):
        rated, low_limit, top_limit, rest_full = plates[s]
        gap, hold, is_mean, midnight = clocks[s]
        idle, same = IDLE_RATE * rated, SAME_END_SHARE * rated
        into = out = square = 0.0
        unobserved = 0
        # The sample before: its counts, its direction, and the charge that moved since.
        before_in = before_out = before_square = 0.0
        before_unobserved = 0
        before = 0
        # What the latest end at a limit was followed by.
        begun = crossed = charging = False
        # Whether the run of charge or discharge that goes on is at its limit.
        at_limit = False
        low, high = starts[s], starts[s + 1]
        for i in range(low, high):
            direction = 1 if current[i] > idle else (-1 if current[i] < -idle else 0)
            step_in = step_out = 0.0
            joined = False
            if i > low:
                before_in, before_out, before_square, before_unobserved = into, out, square, unobserved
                length = time[i] - time[i - 1]
                joined = length <= gap
                held = min(hold, length) if is_mean else (length if joined else 0)
                step_in, step_out, step_square = moved(current[i - 1], current[i], held, is_mean)
                into, out, square = into + step_in, out + step_out, square + step_square
                unobserved += length - held

            # A run of charge or discharge has ended at its limit, one sample ago; a silence ends it too.
            if i > low and at_limit and (direction != before or not joined):
                kind = TOP if before > 0 else BOTTOM
                latest = _latest(whole, size, s, kind)
                back = before_out if before > 0 else before_in
                fresh = latest < 0 or back - number[latest, 1 if before > 0 else 0] >= same
                if fresh or abs(current[i - 1]) < abs(number[latest, 3]):
                    # A charge ends with the first of several ends, or the first that has tapered: those stay.
                    tapers = not fresh and abs(current[i - 1]) <= TAPERED_RATE * rated < abs(number[latest, 3])
                    if not fresh and (kind == BOTTOM or whole[latest, 5] == 0):
                        # The same end once more, at a lower current: what was to begin there is forgotten.
                        size = _without(whole, number, size, latest, kind, DISCHARGE if before > 0 else CHARGE)
                    whole, number = _room(whole, number, size)
                    volt = highest[i - 1] if before > 0 else lowest[i - 1]
                    whole[size] = (s, kind, time[i - 1], before_unobserved, 0, int(fresh or tapers))
                    number[size] = (before_in, before_out, before_square, current[i - 1], volt, 0.0, 0.0)
                    size += 1
                    if before > 0:
                        begun = crossed = False
                    else:
                        charging = False
            at_limit = at_limit and joined and direction == before
            before = before if joined else 0

            if direction < 0:
                rested = highest[i - 1] if i > low and joined and before == 0 else np.nan
                if before >= 0 and (not begun or rested >= rest_full):
                    if begun and not crossed:
                        # It begins anew from full: what began before is forgotten.
                        latest = _latest(whole, size, s, DISCHARGE)
                        size = _without(whole, number, size, latest, DISCHARGE, DISCHARGE)
                    whole, number = _room(whole, number, size)
                    if joined:
                        whole[size] = (s, DISCHARGE, time[i - 1], before_unobserved, 0, 0)
                        number[size] = (before_in, before_out, before_square, current[i], rested, 0.0, 0.0)
                    else:
                        whole[size] = (s, DISCHARGE, time[i], unobserved, 0, 0)
                        number[size] = (into, out, square, current[i], np.nan, 0.0, 0.0)
                    begun, crossed = True, False
                    size += 1
                if not np.isnan(lowest[i]):
                    at_limit = lowest[i] <= low_limit
                    if at_limit and not crossed:
                        crossed = True
                        whole, number = _room(whole, number, size)
                        since_us, since_ah = 0, 0.0
                        if joined and not is_mean and lowest[i - 1] > low_limit:
                            share = (lowest[i - 1] - low_limit) / (lowest[i - 1] - lowest[i])
                            since_us, since_ah = since_crossing(
                                current[i - 1], current[i], time[i] - time[i - 1], share
                            )
                        whole[size] = (s, CROSSING, time[i], unobserved, since_us, 0)
                        number[size] = (into, out, square, current[i], lowest[i], since_ah, step_out)
                        size += 1
            elif direction > 0:
                if before <= 0 and not charging:
                    whole, number = _room(whole, number, size)
                    if joined:
                        rested = lowest[i - 1] if before == 0 else np.nan
                        whole[size] = (s, CHARGE, time[i - 1], before_unobserved, 0, 0)
                        number[size] = (before_in, before_out, before_square, current[i], rested, 0.0, 0.0)
                    else:
                        whole[size] = (s, CHARGE, time[i], unobserved, 0, 0)
                        number[size] = (into, out, square, current[i], np.nan, 0.0, 0.0)
                    charging = True
                    size += 1
                if not np.isnan(highest[i]):
                    at_limit = highest[i] >= top_limit
            before = direction
        # A day that ends within a run at its limit: whether that goes on is for the next day to say.
        if at_limit and high > low:
            i = high - 1
            whole, number = _room(whole, number, size)
            volt = highest[i] if before > 0 else lowest[i]
            whole[size] = (s, TOP if before > 0 else BOTTOM, time[i], unobserved, 0, 0)
            number[size] = (into, out, square, current[i], volt, 0.0, 0.0)
            size += 1
        if is_mean and high > low:
            held = min(hold, midnight - time[high - 1])
            step_in, step_out, step_square = moved(current[high - 1], current[high - 1], held, is_mean)
            into, out, square = into + step_in, out + step_out, square + step_square
        total[s] = (into, out, square, float(unobserved))
    return whole[:size], number[:size], total


@njit(cache=True, nogil=True)
def _latest(whole: Ints, size: int, series: int, kind: int) -> int:
    """Place of the latest mark of a kind in a series; −1 where there is none."""
    for j in range(size - 1, -1, -1):
        if whole[j, 0] != series:
            return -1
        if whole[j, 1] == kind:
            return j
    return -1


@njit(cache=True, nogil=True)
def _without(whole: Ints, number: Floats, size: int, first: int, one: int, other: int) -> int:
    """Takes marks of two kinds out, from a place on; how many are left."""
    kept = first
    for j in range(first, size):
        if whole[j, 1] not in (one, other):
            whole[kept], number[kept] = whole[j], number[j]
            kept += 1
    return kept


@njit(cache=True, nogil=True)
def _room(whole: Ints, number: Floats, size: int) -> tuple[Ints, Floats]:
    """The same arrays, twice as long if there is no room for one more."""
    if size < len(whole):
        return whole, number
    more_whole, more_number = np.empty((2 * size, 6), np.int64), np.empty((2 * size, 7))
    more_whole[:size], more_number[:size] = whole, number
    return more_whole, more_number


@njit(cache=True, nogil=True)
def moved(first: float, second: float, length: int, is_mean: int) -> tuple[float, float, float]:
    """Charge in and out [Ah] and square of the current [A²h] between two samples; a mean holds its value."""
    hours = length / US_PER_HOUR
    if is_mean:
        return max(first, 0.0) * hours, max(-first, 0.0) * hours, first * first * hours
    into = (max(first, 0.0) + max(second, 0.0)) / 2 * hours
    out = (max(-first, 0.0) + max(-second, 0.0)) / 2 * hours
    return into, out, (first * first + first * second + second * second) / 3 * hours


@njit(cache=True, nogil=True)
def since_crossing(first: float, second: float, length: int, share: float) -> tuple[int, float]:
    """Time [µs] and discharged charge [Ah] between the last part of the way from one sample to the next."""
    begins, ends = max(-first, 0.0), max(-second, 0.0)
    left = begins + (ends - begins) * share
    held = (1 - share) * length
    return round(held), (left + ends) / 2 * held / US_PER_HOUR
