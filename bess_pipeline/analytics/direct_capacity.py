"""Capacity measured directly: charge between one end of the voltage and the other, exact across midnights."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numba import njit

from bess_pipeline.analytics.capacity import GAIN_ERROR, OFFSET_RATE
from bess_pipeline.analytics.capacity_counts import CARRIED, LONGEST_DAYS, nothing, tests_of
from bess_pipeline.analytics.capacity_marks import FULL_PERCENT, LIMIT_PRECISION, SLOPED, rest_volt
from bess_pipeline.analytics.memory import Recalled, Stretch
from bess_pipeline.analytics.traces import floats, traces
from bess_pipeline.arrays import Floats, Ints
from bess_pipeline.tables.capacity import MARKS, TESTS, CapacityTest
from bess_pipeline.tables.columns import NORMAL_90
from bess_pipeline.tables.keys import BATTERY, BATTERY_DAY
from bess_pipeline.tables.telemetry import INTERVAL_US
from bess_pipeline.units import US_PER_DAY, US_PER_HOUR

#: What it must say: the state of charge on the curve of a new cell, from above and from below [%].
_STILL_FULL, _STILL_EMPTY = 90.0, 20.0
#: Longest unobserved time of a test [share of its length], and what its capacity may be [share of rated].
_UNOBSERVED_SHARE, _PLAUSIBLE = 0.01, (0.2, 1.5)

_FIELDS = ("charging_ah", "discharging_ah", "square", "current_ampere", "cell_volt", "since_crossing_ah",
           "last_step_ah")  # fmt: skip


@dataclass(frozen=True)
class Tests:
    """What was measured.

    Attributes:
        tests: `CapacityTest` rows, sorted by battery and end.
        memory: `EpochMemory` rows of the epochs that begin within the evidence.
    """

    tests: pl.DataFrame
    memory: pl.DataFrame


def capacity_tests(
    evidence: pl.DataFrame,
    intervals: pl.DataFrame,
    offsets: pl.DataFrame,
    repairs: pl.DataFrame,
    batteries: pl.DataFrame,
    memory: pl.DataFrame | None = None,
) -> Tests:
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
    than 1 % of their time unobserved, longer than 7 days, or with a capacity outside 0.2 to 1.5 of rated.
    After 3 days without data nothing is known of what was full before.

    Args:
        evidence: `CapacityEvidence` rows; with a memory, those from its epoch on.
        intervals: `ClosedInterval5min` rows of the same days, for temperature and lowest voltage.
        offsets: `CurrentOffset` rows.
        repairs: `Repair` rows.
        batteries: `Battery` rows.
        memory: `EpochMemory` rows of one epoch; none to begin at the beginning.

    Returns:
        All tests that end a week or more after the beginning of the epoch; they change up to 4 days before a day does.

    References:
        Capacity as charge from full to the cut-off voltage: IEC 62620:2014, 6.3.1. Published figures that this
        reproduces: B. Saha, K. Goebel (2007), Battery Data Set, NASA Prognostics Data Repository.
    """
    plates = batteries.sort(BATTERY).with_row_index("battery_index")
    series = traces(evidence.with_columns(timestamp="first_timestamp"), batteries)
    days = series.rows.join(plates.select(*BATTERY, "sampling"), on=BATTERY, how="left", maintain_order="left")
    clock, amount = _day_arrays(days)
    first_mark, mark, value = _mark_arrays(days)
    bounds = _plate_arrays(plates)
    recalled = Recalled(series, memory)
    found = []

    def tested(part: Stretch) -> list[Floats]:
        carried = nothing() if part.carried is None else part.carried
        kept = np.empty((len(part.keep_at), CARRIED))
        marks = slice(first_mark[part.rows.start], first_mark[part.rows.stop])
        kinds, times, values = tests_of(
            clock[part.rows],
            amount[part.rows],
            first_mark[part.rows.start : part.rows.stop + 1] - first_mark[part.rows.start],
            mark[marks],
            value[marks],
            bounds[part.battery],
            carried,
            part.keep_at,
            kept,
        )
        found.append((np.full(len(kinds), part.battery), kinds, times, values))
        return list(kept)

    recalled.over(tested)
    owner, kind, times, values = (np.concatenate(part) for part in zip(_NO_TESTS, *found, strict=True))
    tests = (
        _named(plates, owner, kind, times, values)
        .pipe(_unrepaired, repairs)
        .pipe(_with_offset, offsets)
        .pipe(_with_rows, intervals, batteries)
        .pipe(_with_interval)
        .select(CapacityTest.column_names())
        .sort(*BATTERY, "ended_at", "started_at")
        .pipe(CapacityTest.validate)
    )
    return Tests(tests, recalled.memory())


_NO_TESTS = (np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros((0, 4), np.int64), np.zeros((0, 6)))


def _day_arrays(days: pl.DataFrame) -> tuple[Ints, Floats]:
    """Times of each day [µs]: first and last sample, longest gap, hold, whether a mean; its amounts."""
    midnight = pl.col("date").cast(pl.Datetime("us")).cast(pl.Int64) + US_PER_DAY
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


def _named(plates: pl.DataFrame, owner: Ints, kind: Ints, times: Ints, values: Floats) -> pl.DataFrame:
    """Tests with names and units, without those that are not worth the name."""
    instants = pl.Datetime("us", "UTC")
    owners: pl.DataFrame = plates.select(*BATTERY, "rated_capacity_ah")[owner.tolist()]
    net, since, step, variation, rested, ended = values.T
    share, rated = pl.col("unobserved_us") / pl.col("length_us"), pl.col("rated_capacity_ah")
    return (
        owners.with_columns(
            kind=pl.Series(np.array(TESTS, dtype=object)[kind], dtype=pl.String),
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
            pl.col("length_us") <= LONGEST_DAYS * US_PER_DAY,
            pl.col("capacity_ah").is_between(_PLAUSIBLE[0] * rated, _PLAUSIBLE[1] * rated),
            pl.col("capacity_at_crossing_ah") > 0,
        )
        .with_columns(
            hours=pl.col("length_us") / US_PER_HOUR,
            c_rate=pl.col("capacity_ah") / (pl.col("length_us") / US_PER_HOUR) / rated,
        )
        .sort(*BATTERY, "ended_at", "started_at", "kind")
        .unique([*BATTERY, "started_at", "ended_at"], keep="first", maintain_order=True)
        .with_row_index("test")
    )


def _unrepaired(tests: pl.DataFrame, repairs: pl.DataFrame) -> pl.DataFrame:
    """Tests that touch no stretch in which the sign of the current was wrong, or seemed to be."""
    signs = repairs.filter(pl.col("kind") == "current_sign").select(
        *BATTERY, wrong_from="started_at", wrong_to="ended_at"
    )
    touched = (
        tests.select("test", *BATTERY, "started_at", "ended_at")
        .join(signs, on=BATTERY)
        .filter(pl.col("started_at") < pl.col("wrong_to"), pl.col("ended_at") > pl.col("wrong_from"))
    )
    return tests.join(touched.select("test").unique(), on="test", how="anti", maintain_order="left")


def _with_offset(tests: pl.DataFrame, offsets: pl.DataFrame) -> pl.DataFrame:
    """What the offset of the day on which a test ends adds to it, and the error that is left [Ah]."""
    known = offsets.select(*BATTERY_DAY, "offset_ampere", "offset_sigma_ampere")
    outwards = pl.when(pl.col("kind").str.ends_with("discharge")).then(-1.0).otherwise(1.0)
    assumed = OFFSET_RATE * pl.col("rated_capacity_ah")
    return (
        tests.with_columns(date=pl.col("ended_at").dt.date())
        .join(known, on=BATTERY_DAY, how="left", maintain_order="left")
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
    plates = series.batteries.select(BATTERY).with_row_index("battery_index")
    owner = (
        tests.join(plates, on=BATTERY, how="left", maintain_order="left")["battery_index"].to_numpy().astype(np.int64)
    )
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
    missed = pl.col("capacity_ah") / pl.col("hours") * pl.col("unobserved_us") / US_PER_HOUR
    sigma = (
        (GAIN_ERROR * capacity) ** 2 + pl.col("offset_error_ah") ** 2 + missed**2 + pl.col("step_ah") ** 2 / 12
    ).sqrt()
    return tests.with_columns(
        capacity_lower_ah=capacity - NORMAL_90 * sigma, capacity_upper_ah=capacity + NORMAL_90 * sigma
    )
