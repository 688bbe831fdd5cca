"""Capacity measured directly: charge between one end of the voltage and the other, exact across midnights."""

from __future__ import annotations

import numpy as np
import polars as pl
from numba import njit

from bess_pipeline.analytics.capacity import GAIN_ERROR, OFFSET_RATE
from bess_pipeline.analytics.capacity_marks import (
    BOTTOM,
    CHARGE,
    CROSSING,
    DISCHARGE,
    FULL_PERCENT,
    IDLE_RATE,
    LIMIT_PRECISION,
    SAME_END_SHARE,
    SLOPED,
    TAPERED_RATE,
    TOP,
    moved,
    rest_volt,
    since_crossing,
)
from bess_pipeline.analytics.traces import INTERVAL_US, Floats, Ints, floats, traces
from bess_pipeline.tables.capacity import MARKS, TESTS, CapacityTest

_KEY = ["fleet_id", "battery_id"]
_US_PER_HOUR = 3.6e9
_DAY_US = 86_400_000_000
_NORMAL_90 = 1.6448536269514722

#: A current is constant up to this standard deviation over its mean; ramps at both ends count.
CONSTANT_SHARE = 0.1
#: After a silence longer than this the voltage at rest must say that a battery is still full, or empty [µs].
_SILENT_US = 3_600_000_000
#: What it must say: the state of charge on the curve of a new cell, from above and from below [%].
_STILL_FULL, _STILL_EMPTY = 90.0, 20.0
#: Longest unobserved time of a test [share of its length], and what its capacity may be [share of rated].
_UNOBSERVED_SHARE, _PLAUSIBLE = 0.01, (0.2, 1.5)

_FULL_OUT, _CONSTANT_OUT, _FULL_IN, _CONSTANT_IN = range(len(TESTS))
_FIELDS = ("charging_ah", "discharging_ah", "square", "current_ampere", "cell_volt", "since_crossing_ah",
           "last_step_ah")  # fmt: skip


def capacity_tests(
    evidence: pl.DataFrame,
    intervals: pl.DataFrame,
    offsets: pl.DataFrame,
    repairs: pl.DataFrame,
    batteries: pl.DataFrame,
) -> pl.DataFrame:
    """Measure capacity wherever a battery goes from one end of its voltage to the other.

    A discharge test begins where a discharge begins from full, and ends with the first
    sample at or below the cut-off. Full means: the charge before it ended within 20 mV
    of the upper limit at 0.1 C or less, with at most 1 % of the rated capacity out since
    (after more than an hour unobserved the voltage at rest must read 90 %), or the
    voltage at rest reads 97 %. Where the charge ended at a higher current, the
    discharge counts if its current is constant. A charge test begins at the first charge after a discharge
    that ended at or below the cut-off, and ends with the charge at the upper limit.
    On LFP and lead-acid, voltage at rest says nothing of this kind and is not asked.

    Charge is net: what flows back on the way is taken off. `capacity_ah` counts up to
    the sample that ends the test, as test benches do, and NASA's published figures;
    `capacity_at_crossing_ah` stops where a straight line between the two samples meets
    the cut-off. The interval (90 %) is that of the latter: gain error of the sensor
    0.4 %, its offset over the time (as well as it is known, else 0.1 % of C), the mean
    current over unobserved time, and an even chance over the last step.

    Tests that touch a repaired sign of the current are left out, and those with more
    than 1 % of their time unobserved, or a capacity outside 0.2 to 1.5 of rated.

    Args:
        evidence: `CapacityEvidence` rows.
        intervals: `ClosedInterval5min` rows, for temperature and lowest voltage.
        offsets: `CurrentOffset` rows.
        repairs: `Repair` rows.
        batteries: `Battery` rows.

    Returns:
        `CapacityTest` rows, sorted by battery and end.

    References:
        Capacity as charge from full to the cut-off voltage: IEC 62620:2014, 6.3.1. Published figures that this
        reproduces: B. Saha, K. Goebel (2007), Battery Data Set, NASA Prognostics Data Repository.
    """
    plates = batteries.sort(_KEY).with_row_index("battery_index")
    days = evidence.join(plates.select(*_KEY, "battery_index", "sampling"), on=_KEY, how="inner").sort(
        "battery_index", "date"
    )
    clock, amount = _day_arrays(days)
    first_mark, mark, value = _mark_arrays(days)
    rows, times, values = _tests(
        days["battery_index"].to_numpy().astype(np.int64), clock, amount, first_mark, mark, value, _plate_arrays(plates)
    )
    found = _named(plates, rows, times, values)
    return (
        found.pipe(_unrepaired, repairs)
        .pipe(_with_offset, offsets)
        .pipe(_with_rows, intervals, batteries)
        .pipe(_with_interval)
        .select(CapacityTest.column_names())
        .sort(*_KEY, "ended_at", "started_at")
        .pipe(CapacityTest.validate)
    )


def _day_arrays(days: pl.DataFrame) -> tuple[Ints, Floats]:
    """Times of each day [µs]: first and last sample, longest gap, hold, whether a mean; its amounts."""
    midnight = pl.col("date").cast(pl.Datetime("us")).cast(pl.Int64) + _DAY_US
    whole = days.select(
        pl.col("first_timestamp").cast(pl.Int64),
        pl.col("last_timestamp").cast(pl.Int64),
        "max_gap_us",
        "usual_interval_us",
        (pl.col("sampling") == "mean").cast(pl.Int64).alias("is_mean"),
        midnight.alias("midnight"),
        "unobserved_us",
    )
    names = (
        "charging_capacity_ah", "discharging_capacity_ah", "current_square_hours", "first_current_ampere",
        "last_current_ampere", "last_cell_voltage_min_volt", "last_cell_voltage_max_volt",
    )  # fmt: skip
    return (
        np.stack([column.to_numpy().astype(np.int64) for column in whole], axis=1).reshape(-1, 7),
        np.stack([floats(days[name]) for name in names], axis=1).reshape(-1, 7),
    )


def _mark_arrays(days: pl.DataFrame) -> tuple[Ints, Ints, Floats]:
    """First mark of each day and the number of marks; kind, time, unobserved, since crossing; the amounts."""
    first = np.concatenate([[0], np.cumsum(days["marks"].list.len().to_numpy())]).astype(np.int64)
    marks = days.select("marks").explode("marks").drop_nulls("marks").unnest("marks")
    kind = marks["kind"].replace_strict(list(MARKS), list(range(len(MARKS))), return_dtype=pl.Int64)
    whole = [kind, marks["timestamp"].cast(pl.Int64), marks["unobserved_us"], marks["since_crossing_us"]]
    return (
        first,
        np.stack([column.to_numpy().astype(np.int64) for column in whole], axis=1).reshape(-1, 4),
        np.stack([floats(marks[name]) for name in _FIELDS], axis=1).reshape(-1, 7),
    )


def _plate_arrays(plates: pl.DataFrame) -> Floats:
    """Rated capacity, lower limit, and the voltages at rest of full, still full, still empty, by battery."""
    bounds = [
        (rest_volt(name, FULL_PERCENT), rest_volt(name, _STILL_FULL), rest_volt(name, _STILL_EMPTY))
        if name in SLOPED
        else (np.inf, np.inf, -np.inf)
        for name in plates["chemistry"]
    ]
    limit = floats(plates["cell_voltage_low_volt"]) * (1 + LIMIT_PRECISION)
    own = np.stack([floats(plates["rated_capacity_ah"]), limit], axis=1)
    return np.concatenate([own, np.array(bounds, dtype=np.float64).reshape(-1, 3)], axis=1)


@njit(cache=True)
def _tests(  # type: ignore[no-untyped-def]  # noqa: ANN202, C901, PLR0912, PLR0915
    battery: Ints,
    clock: Ints,
    amount: Floats,
    first_mark: Ints,
    mark: Ints,
    value: Floats,
    plates: Floats,
):
    """Battery and kind, times, and amounts of each test.

    Each of four counts (in, out, square, unobserved) begins anew with what it counts
    from: the last full end, the discharge from it, the last empty end, the charge from it.
    """
    full, going, empty, coming = range(4)
    size = 0
    most = len(mark) + 1
    row, times, found = np.empty((most, 2), np.int64), np.empty((most, 4), np.int64), np.empty((most, 6))
    count = np.zeros((4, 4))
    start, rested = np.zeros(4, np.int64), np.full(4, np.nan)
    alive = np.zeros(4, np.bool_)
    taper = np.array([np.inf, np.inf])
    here, begin = np.zeros(4), np.zeros(4)
    for k in range(len(battery)):
        rated, low_limit, rest_full, still_full, still_empty = plates[battery[k]]
        first, last, is_mean = clock[k, 0], clock[k, 1], clock[k, 4]
        follows = k > 0 and battery[k - 1] == battery[k]
        joined = False
        bridge = np.zeros(4)
        if follows:
            bridge, joined = _bridge(clock[k - 1], amount[k - 1], first, amount[k, 3])
            day = np.array([amount[k - 1, 0], amount[k - 1, 1], amount[k - 1, 2], float(clock[k - 1, 6])])
            count += day + bridge
        else:
            alive[:] = False
            taper[:] = np.inf
        for m in range(first_mark[k], first_mark[k + 1]):
            kind, at, missed, since_us = mark[m]
            here[:] = (value[m, 0], value[m, 1], value[m, 2], float(missed))
            current, volt = value[m, 3], value[m, 4]
            at_first = at == first and follows and joined and abs(amount[k, 3]) > IDLE_RATE * rated
            begin[:] = here
            began, rest = at, volt
            if at_first and kind in (DISCHARGE, CHARGE):
                # It begins with the last sample of the day before.
                begin[:] = -bridge
                began = clock[k - 1, 1]
                resting = abs(amount[k - 1, 4]) <= IDLE_RATE * rated
                rest = (amount[k - 1, 6] if kind == DISCHARGE else amount[k - 1, 5]) if resting else np.nan
            if kind in (TOP, BOTTOM) and at == last and k + 1 < len(battery) and battery[k + 1] == battery[k]:
                # A day ends, but perhaps not the charge or the discharge.
                _, goes_on = _bridge(clock[k], amount[k], clock[k + 1, 0], amount[k + 1, 3])
                onwards = amount[k + 1, 3] if kind == TOP else -amount[k + 1, 3]
                if goes_on and onwards > IDLE_RATE * rated:
                    continue
            if kind in (TOP, BOTTOM):
                end = full if kind == TOP else empty
                side = 0 if kind == TOP else 1
                flowed = count[end] + here
                apart = not alive[end] or flowed[1 - side] >= SAME_END_SHARE * rated
                if kind == TOP and alive[coming]:
                    tapered = current <= TAPERED_RATE * rated
                    last_of_data = at == last and (k + 1 == len(battery) or battery[k + 1] != battery[k])
                    total = count[coming] + here
                    constant = _variation(total[0] + total[1], total[2], (at - start[coming]) / _US_PER_HOUR)
                    if not last_of_data and (tapered or constant <= CONSTANT_SHARE):
                        row[size] = (battery[k], _FULL_IN if tapered else _CONSTANT_IN)
                        times[size] = (start[coming], at, 0, int(total[3]))
                        found[size] = (total[0] - total[1], 0.0, 0.0, constant, rested[coming], np.nan)
                        size += 1
                        alive[coming] = False
                if apart or abs(current) < taper[side]:
                    taper[side] = abs(current)
                    alive[end], alive[end + 1] = True, False
                    count[end] = -here
                if kind == BOTTOM:
                    alive[full] = alive[going] = False
            elif kind == DISCHARGE:
                if not alive[going] or rest >= rest_full:
                    alive[going] = True
                    start[going], rested[going] = began, rest
                    count[going] = -begin
                    # Whether what was full before is full still.
                    since = count[full] + begin
                    silent = since[3] > _SILENT_US and not rest >= still_full
                    if alive[full] and (silent or since[1] > SAME_END_SHARE * rated):
                        alive[full] = False
            elif kind == CHARGE:
                if not alive[coming]:
                    since = count[empty] + begin
                    silent = since[3] > _SILENT_US and not rest <= still_empty
                    if alive[empty] and not silent and since[0] <= SAME_END_SHARE * rated:
                        alive[coming] = True
                        start[coming], rested[coming] = began, rest
                        count[coming] = -begin
            elif kind == CROSSING:
                since_ah, step = value[m, 5], value[m, 6]
                if at_first:
                    step = bridge[1]
                    before = amount[k - 1, 5]
                    if is_mean == 0 and before > low_limit:
                        share = (before - low_limit) / (before - volt)
                        since_us, since_ah = since_crossing(amount[k - 1, 4], current, at - clock[k - 1, 1], share)
                if alive[going]:
                    total = count[going] + here
                    constant = _variation(total[0] + total[1], total[2], (at - start[going]) / _US_PER_HOUR)
                    from_full = (alive[full] and taper[0] <= TAPERED_RATE * rated) or rested[going] >= rest_full
                    if from_full or (alive[full] and constant <= CONSTANT_SHARE):
                        row[size] = (battery[k], _FULL_OUT if from_full else _CONSTANT_OUT)
                        times[size] = (start[going], at, since_us, int(total[3]))
                        found[size] = (total[1] - total[0], since_ah, step, constant, rested[going], volt)
                        size += 1
                alive[going] = alive[full] = False
    return row[:size], times[:size], found[:size]


@njit(cache=True)
def _bridge(clock: Ints, amount: Floats, first: int, current: float):  # type: ignore[no-untyped-def]  # noqa: ANN202
    """What flows between the last sample of a day and the next day's first, and whether they are joined."""
    last, gap, hold, is_mean, midnight = clock[1], clock[2], clock[3], clock[4], clock[5]
    silence = first - last
    joined = silence <= gap
    held, counted = 0, 0
    if is_mean == 1:
        held = max(min(last + hold, first) - midnight, 0)
        counted = min(hold, midnight - last)
    elif joined:
        held = silence
    into, out, square = moved(amount[4], current, held, is_mean)
    return np.array([into, out, square, float(max(silence - held - counted, 0))]), joined


@njit(cache=True)
def _variation(moved_ah: float, square: float, hours: float) -> float:
    """Standard deviation of a current over its mean."""
    if moved_ah <= 0.0 or hours <= 0.0:
        return 0.0
    mean = moved_ah / hours
    return float(np.sqrt(max(square / hours - mean * mean, 0.0)) / mean)


def _named(plates: pl.DataFrame, rows: Ints, times: Ints, values: Floats) -> pl.DataFrame:
    """Tests with names and units, without those that are not worth the name."""
    instants = pl.Datetime("us", "UTC")
    owners: pl.DataFrame = plates.select(*_KEY, "rated_capacity_ah")[rows[:, 0].tolist()]
    net, since, step, variation, rested, ended = values.T
    share, rated = pl.col("unobserved_us") / pl.col("length_us"), pl.col("rated_capacity_ah")
    return (
        owners.with_columns(
            kind=pl.Series(np.array(TESTS, dtype=object)[rows[:, 1]], dtype=pl.String),
            started_at=pl.Series(times[:, 0], dtype=pl.Int64).cast(instants),
            ended_at=pl.Series(times[:, 1], dtype=pl.Int64).cast(instants),
            length_us=pl.Series(times[:, 1] - times[:, 0], dtype=pl.Int64),
            unobserved_us=pl.Series(times[:, 3], dtype=pl.Int64),
            capacity_ah=pl.Series(net, dtype=pl.Float64),
            capacity_at_crossing_ah=pl.Series(net - since, dtype=pl.Float64),
            step_ah=pl.Series(step, dtype=pl.Float64),
            current_variation_fraction=pl.Series(variation, dtype=pl.Float64),
            cell_voltage_start_volt=pl.Series(rested, dtype=pl.Float64).fill_nan(None),
            ended_volt=pl.Series(ended, dtype=pl.Float64).fill_nan(None),
        )
        .filter(
            share <= _UNOBSERVED_SHARE,
            pl.col("capacity_ah").is_between(_PLAUSIBLE[0] * rated, _PLAUSIBLE[1] * rated),
            pl.col("capacity_at_crossing_ah") > 0,
        )
        .with_columns(
            hours=pl.col("length_us") / _US_PER_HOUR,
            c_rate=pl.col("capacity_ah") / (pl.col("length_us") / _US_PER_HOUR) / rated,
        )
        .sort(*_KEY, "ended_at", "started_at", "kind")
        .unique([*_KEY, "started_at", "ended_at"], keep="first", maintain_order=True)
        .with_row_index("test")
    )


def _unrepaired(tests: pl.DataFrame, repairs: pl.DataFrame) -> pl.DataFrame:
    """Tests that touch no stretch in which the sign of the current was wrong, or seemed to be."""
    signs = repairs.filter(pl.col("kind") == "current_sign").select(*_KEY, wrong_from="started_at", wrong_to="ended_at")
    touched = (
        tests.select("test", *_KEY, "started_at", "ended_at")
        .join(signs, on=_KEY)
        .filter(pl.col("started_at") < pl.col("wrong_to"), pl.col("ended_at") > pl.col("wrong_from"))
    )
    return tests.join(touched.select("test").unique(), on="test", how="anti", maintain_order="left")


def _with_offset(tests: pl.DataFrame, offsets: pl.DataFrame) -> pl.DataFrame:
    """What the offset of the day on which a test ends adds to it, and the error that is left [Ah]."""
    known = offsets.select(*_KEY, "date", "offset_ampere", "offset_sigma_ampere")
    outwards = pl.when(pl.col("kind").str.ends_with("discharge")).then(-1.0).otherwise(1.0)
    assumed = OFFSET_RATE * pl.col("rated_capacity_ah")
    return (
        tests.with_columns(date=pl.col("ended_at").dt.date())
        .join(known, on=[*_KEY, "date"], how="left", maintain_order="left")
        .with_columns(
            sensor_offset_ah=outwards * pl.col("offset_ampere") * pl.col("hours"),
            offset_error_ah=pl.max_horizontal(
                pl.when(pl.col("offset_ampere").is_null()).then(assumed).otherwise("offset_sigma_ampere"),
                pl.col("offset_ampere").abs().fill_null(0),
            )
            * pl.col("hours"),
        )
    )


def _with_rows(tests: pl.DataFrame, intervals: pl.DataFrame, batteries: pl.DataFrame) -> pl.DataFrame:
    """Mean temperature and lowest cell voltage over the 5-minute rows that lie wholly in each test."""
    series = traces(intervals, batteries)
    plates = series.batteries.select(_KEY).with_row_index("battery_index")
    owner = tests.join(plates, on=_KEY, how="left", maintain_order="left")["battery_index"].to_numpy().astype(np.int64)
    keys = series.battery_index * 2**53 + series.start_us
    begins = tests["started_at"].dt.epoch("us").to_numpy().astype(np.int64)
    ends = tests["ended_at"].dt.epoch("us").to_numpy().astype(np.int64)
    low = np.searchsorted(keys, owner * 2**53 + begins)
    high = np.searchsorted(keys, owner * 2**53 + ends - INTERVAL_US, side="right")
    own = series.column("voltage_min_volt") / series.cells()[series.battery_index]
    lowest = series.column("cell_voltage_min_volt")
    within = _within(
        low.astype(np.int64),
        high.astype(np.int64),
        series.column("temperature_celsius"),
        np.nan_to_num(series.column("temperature_observed_us")),
        np.where(np.isnan(lowest), own, lowest),
    )
    return tests.with_columns(
        temperature_mean_celsius=pl.Series(within[:, 0]).fill_nan(None),
        cell_voltage_lowest_volt=pl.min_horizontal(
            pl.Series(within[:, 1]).fill_nan(None), "ended_volt", "cell_voltage_start_volt"
        ),
    )


@njit(cache=True)
def _within(low: Ints, high: Ints, value: Floats, weight: Floats, lowest: Floats) -> Floats:
    """Weighted mean of one column and minimum of another over ranges of rows; NaN where nothing is known."""
    out = np.full((len(low), 2), np.nan)
    for j in range(len(low)):
        summed = weighed = 0.0
        for i in range(low[j], high[j]):
            if not np.isnan(value[i]):
                summed += value[i] * weight[i]
                weighed += weight[i]
            if not np.isnan(lowest[i]) and not lowest[i] >= out[j, 1]:
                out[j, 1] = lowest[i]
        if weighed > 0:
            out[j, 0] = summed / weighed
    return out


def _with_interval(tests: pl.DataFrame) -> pl.DataFrame:
    capacity = pl.col("capacity_at_crossing_ah")
    missed = pl.col("capacity_ah") / pl.col("hours") * pl.col("unobserved_us") / _US_PER_HOUR
    sigma = (
        (GAIN_ERROR * capacity) ** 2 + pl.col("offset_error_ah") ** 2 + missed**2 + pl.col("step_ah") ** 2 / 12
    ).sqrt()
    return tests.with_columns(
        capacity_lower_ah=capacity - _NORMAL_90 * sigma, capacity_upper_ah=capacity + _NORMAL_90 * sigma
    )
