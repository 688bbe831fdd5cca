"""Rainflow cycles, against the standard's example, another implementation, and every cut of a series."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
import rainflow
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from bess_pipeline.analytics import cycles as counting
from bess_pipeline.analytics.cycles import cycle_histogram
from bess_pipeline.tables.cycles import Cycle, CycleHistogram
from bess_pipeline_tests.analytics import made_cells

START = datetime(2026, 1, 1, tzinfo=UTC)

# Coarse values make plateaus and equal ranges common, where counting goes wrong first.
levels = st.lists(st.integers(0, 20).map(float), min_size=1, max_size=120)


# The peer finds no cycle in a series of two points, where the standard has half a one.
comparable = levels.filter(lambda values: len(values) != 2)


def soc_of(values, battery="b"):
    return pl.DataFrame(
        {
            "fleet_id": "f",
            "battery_id": battery,
            "timestamp": [START + timedelta(minutes=5 * step) for step in range(len(values))],
            "soc_percent": values,
        },
        schema={
            "fleet_id": pl.String,
            "battery_id": pl.String,
            "timestamp": pl.Datetime("us", "UTC"),
            "soc_percent": pl.Float64,
        },
    )


def cycles(soc, **options):
    """The cycles of a charge whose batteries have 100 Ah, and of which nothing else is known unless it is told."""
    unknown = [
        pl.lit(None, pl.Float64).alias(name)
        for name in ("current_ampere", "temperature_celsius")
        if name not in soc.columns
    ]
    rows = soc.with_columns(*unknown, date=pl.col("timestamp").dt.date())
    return counting.cycles(rows, made_cells.batteries("a", "b"), **options).cycles


def by_range(found):
    counted = found.group_by("depth_percent").agg(pl.col("count").sum()).sort("depth_percent")
    return [(pytest.approx(depth), count) for depth, count in counted.iter_rows()]


def test_the_example_of_the_standard():
    """ASTM E1049-85, figure 6: published."""
    found = cycles(soc_of([-2.0, 1, -3, 5, -1, 3, -4, 4, -2]))
    assert by_range(found) == [(3, 0.5), (4, 1.5), (6, 0.5), (8, 1.0), (9, 0.5)]
    Cycle.validate(found)


@settings(max_examples=60, deadline=None)
@given(comparable)
def test_counts_equal_those_of_another_implementation(values):
    assume(len(set(values)) > 1)
    assume(cycles(soc_of(values), smallest_percent=1e-9).height > 1)  # the other one counts nothing where nothing turns
    found = cycles(soc_of(values), smallest_percent=1e-9)
    assert by_range(found) == [(depth, count) for depth, count in rainflow.count_cycles(values) if depth > 0]


def test_a_long_noisy_series_equals_another_implementation():
    noise = np.cumsum(np.random.default_rng(1).standard_normal(100_000)) * 0.3
    found = cycles(soc_of(noise.tolist()), smallest_percent=1e-9)
    theirs = sorted((depth, count) for depth, _, count, _, _ in rainflow.extract_cycles(noise))
    ours = sorted(found.select("depth_percent", "count").rows())
    assert len(ours) == len(theirs)
    assert np.allclose(ours, theirs)


def settled(found, epoch):
    """Cycles that were certain before an epoch, and all others."""
    late = (pl.col("counted_at") >= datetime(epoch.year, epoch.month, epoch.day, tzinfo=UTC)).fill_null(value=True)
    return found.filter(~late), found.filter(late)


@settings(max_examples=40, deadline=None)
@given(levels, levels, st.integers(1, 9), st.integers(0, 99))
def test_a_count_that_is_taken_up_at_an_epoch_gives_the_cycles_of_the_whole(left, right, days, seed):
    """Of two batteries, one of which begins later; and whatever was certain before stays as it was."""
    random = np.random.default_rng(seed)
    parts = [
        loaded(values, random.normal(0, 50, len(values)), random.normal(25, 5, len(values)), battery).with_columns(
            timestamp=START + late + timedelta(days=days) * pl.int_range(pl.len()), date=None
        )
        for values, battery, late in ((left, "a", timedelta()), (right, "b", timedelta(days=40)))
    ]
    soc = pl.concat(parts).with_columns(date=pl.col("timestamp").dt.date())
    plates = made_cells.batteries("a", "b")
    whole = counting.cycles(soc, plates, smallest_percent=1e-9)
    for epoch in whole.memory["date"].unique().sort():
        rows, memory = soc.filter(pl.col("date") >= epoch), whole.memory.filter(date=epoch)
        again = counting.cycles(rows, plates, memory, smallest_percent=1e-9)
        before = counting.cycles(soc.filter(pl.col("date") < epoch), plates, smallest_percent=1e-9)
        certain, open_yet = settled(whole.cycles, epoch)
        assert_frame_equal(again.cycles, open_yet, check_exact=True)
        assert_frame_equal(settled(before.cycles, epoch)[0], certain, check_exact=True)
        assert_frame_equal(again.memory, whole.memory.filter(pl.col("date") > epoch), check_exact=True)


@settings(max_examples=30, deadline=None)
@given(levels, levels, st.integers(0, 99))
def test_batteries_do_not_mix_and_the_order_of_rows_does_not_matter(left, right, seed):
    both = pl.concat([soc_of(left, "a"), soc_of(right, "b")]).sample(fraction=1, shuffle=True, seed=seed)
    apart = pl.concat([cycles(soc_of(left, "a")), cycles(soc_of(right, "b"))])
    assert cycles(both).equals(apart)


def test_two_points_are_half_a_cycle():
    assert by_range(cycles(soc_of([8.0, 5.0]))) == [(3, 0.5)]


def test_small_ranges_are_left_out_and_change_no_other_cycle():
    wavy = [0.0, 50, 49.9, 80, 20, 20.2, 20.1, 60, 0]
    all_of_them = cycles(soc_of(wavy), smallest_percent=1e-9)
    told = cycles(soc_of(wavy))
    assert told.equals(all_of_them.filter(pl.col("depth_percent") >= 0.5))
    assert told.height < all_of_them.height


def test_unknown_values_are_passed_over():
    known = soc_of([0.0, 80, 20, 100])
    holes = pl.concat([known, known.with_columns(pl.col("timestamp") + timedelta(minutes=1), soc_percent=None)])
    assert cycles(holes).equals(cycles(known))


@pytest.mark.parametrize("values", [[], [50.0], [50.0, 50.0, 50.0]], ids=["nothing", "one value", "a plateau"])
def test_what_never_turns_has_no_cycles(values):
    found = cycles(soc_of(values))
    assert found.is_empty()
    Cycle.validate(found)


@settings(max_examples=60, deadline=None)
@given(comparable)
def test_each_cycle_is_that_of_another_implementation(values):
    """Sums by range cannot tell one cycle from two halves; the cycles themselves can."""
    found = cycles(soc_of(values), smallest_percent=1e-9).select("depth_percent", "mean_soc_percent", "count")
    theirs = [(depth, mean, count) for depth, mean, count, *_ in rainflow.extract_cycles(values) if depth > 0]
    assert sorted(found.rows()) == sorted(theirs)


def loaded(values, amperes, celsius, battery="b"):
    """Telemetry of that charge, current and temperature, of a battery of 100 Ah."""
    return soc_of(values, battery).with_columns(
        current_ampere=pl.Series(amperes, dtype=pl.Float64), temperature_celsius=pl.Series(celsius, dtype=pl.Float64)
    )


def loads(telemetry):
    found = cycles(telemetry)
    return found.select("depth_percent", "temperature_mean_celsius", "c_rate_mean", "c_rate_max").rows()


@pytest.mark.parametrize(
    ("values", "amperes", "celsius", "expected"),
    [
        pytest.param([20, 50, 80], [20, 60, 0], [10, 20, 90], (60, 15, 0.4, 0.6), id="the turning point is outside"),
        pytest.param([80, 50, 20], [-20, -60, 0], [10, 20, 90], (60, 15, 0.4, 0.6), id="magnitudes"),
        pytest.param([20, 50, 80], [None, 60, 0], [None, 20, 90], (60, 20, 0.6, 0.6), id="unknown is passed over"),
        pytest.param([20, 50, 80], [None, None, 9], [None, None, 9], (60, None, None, None), id="nothing is known"),
    ],
)
def test_loads_of_a_cycle_by_hand(values, amperes, celsius, expected):
    """Hand-computed, 100 Ah rated."""
    assert loads(loaded(values, amperes, celsius)) == [pytest.approx(expected)]


def test_loads_of_nested_cycles_are_each_their_own():
    """Hand-computed: 60 down to 40 lies within 0 up to 100."""
    found = loads(loaded([0, 60, 40, 100], [10, 20, 30, 0], [0, 30, 60, 0]))
    assert found == [pytest.approx((100, 30, 0.2, 0.3)), pytest.approx((20, 30, 0.2, 0.2))]


@settings(max_examples=20, deadline=None)
@given(levels, levels, st.integers(0, 99))
def test_loads_do_not_depend_on_the_order_of_rows_or_on_other_batteries(left, right, seed):
    random = np.random.default_rng(seed)
    each = [
        loaded(values, random.normal(0, 50, len(values)), random.normal(25, 5, len(values)), battery)
        for values, battery in ((left, "a"), (right, "b"))
    ]
    both = pl.concat(each).sample(fraction=1, shuffle=True, seed=seed)
    apart = pl.concat(cycles(own) for own in each)
    assert_frame_equal(cycles(both), apart, check_exact=True)


@settings(max_examples=20, deadline=None)
@given(levels, st.integers(0, 99))
def test_loads_are_those_of_the_rows_between(values, seed):
    random = np.random.default_rng(seed)
    amperes = np.where(random.random(len(values)) < 0.3, np.nan, random.normal(0, 50, len(values)))
    rows = loaded(values, amperes, random.normal(25, 5, len(values))).with_columns(pl.col(pl.Float64).fill_nan(None))
    for cycle in cycles(rows).to_dicts():
        span = rows.filter(pl.col("timestamp") >= cycle["started_at"], pl.col("timestamp") < cycle["ended_at"])
        rate = span["current_ampere"].abs() / 100
        assert cycle["temperature_mean_celsius"] == pytest.approx(span["temperature_celsius"].mean())
        assert (cycle["c_rate_mean"], cycle["c_rate_max"]) == pytest.approx((rate.mean(), rate.max()))


@settings(max_examples=20, deadline=None)
@given(st.lists(st.floats(0, 100), min_size=2, max_size=400), st.integers(0, 99))
@example([1.0, 0.0, 99.99999999999999], 0)
def test_the_histogram_holds_every_cycle_once(values, seed):
    found = cycles(soc_of(values))
    histogram = cycle_histogram(found.sample(fraction=1, shuffle=True, seed=seed))
    CycleHistogram.validate(histogram)
    assert histogram["count"].sum() == found["count"].sum()
    for row in histogram.to_dicts():
        inside = found.filter(
            pl.col("depth_percent") >= row["depth_lower_percent"],
            pl.col("depth_percent") < row["depth_upper_percent"],
            pl.col("mean_soc_percent") >= row["mean_soc_lower_percent"],
            pl.col("mean_soc_percent") < row["mean_soc_upper_percent"],
            pl.col("ended_at").dt.date() == row["date"],
        )
        assert inside["count"].sum() == row["count"]


def test_the_histogram_by_hand():
    """The standard's example in tens of percent, five higher; its cycles binned by hand."""
    found = cycle_histogram(cycles(soc_of([10.0 * value for value in (3, 6, 2, 10, 4, 8, 1, 9, 3)])))
    counted = found.select("depth_lower_percent", "mean_soc_lower_percent", "count").rows()
    whole = {(40, 60): 1.0}
    bins = [(30, 40), (40, 40), (40, 60), (60, 60), (80, 50), (80, 60), (90, 50)]
    assert counted == [(*place, whole.get(place, 0.5)) for place in bins]
