"""Rainflow cycles, against the standard's example, another implementation, and every cut of a series."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import numpy as np
import polars as pl
import pytest
import rainflow
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from bess_pipeline.analytics.cycles import cycles, turning_points
from bess_pipeline.tables.cycles import Cycle

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
    assume(turning_points(soc_of(values)).height > 2)  # the other one counts nothing where nothing turns
    found = cycles(soc_of(values), smallest_percent=1e-9)
    assert by_range(found) == [(depth, count) for depth, count in rainflow.count_cycles(values) if depth > 0]


def test_a_long_noisy_series_equals_another_implementation():
    noise = np.cumsum(np.random.default_rng(1).standard_normal(100_000)) * 0.3
    found = cycles(soc_of(noise.tolist()), smallest_percent=1e-9)
    theirs = sorted((depth, count) for depth, _, count, _, _ in rainflow.extract_cycles(noise))
    ours = sorted(found.select("depth_percent", "count").rows())
    assert len(ours) == len(theirs)
    assert np.allclose(ours, theirs)


@settings(max_examples=60, deadline=None)
@given(levels, st.sets(st.integers(1, 119), max_size=6))
def test_any_cut_of_a_series_gives_the_cycles_of_the_whole(values, cuts):
    whole = soc_of(values)
    edges = [0, *sorted(cut for cut in cuts if cut < whole.height), whole.height]
    parts = [whole[a:b] for a, b in pairwise(edges)]
    condensed = pl.concat([turning_points(part) for part in parts])
    assert cycles(condensed, smallest_percent=1e-9).equals(cycles(whole, smallest_percent=1e-9))


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
