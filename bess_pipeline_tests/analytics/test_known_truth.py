"""Truth in house names, on cases made by hand."""

from datetime import UTC, datetime

import polars as pl
import pytest

from bess_pipeline_tests.analytics.made_truth import day, truth


@pytest.mark.parametrize(
    ("soc", "anchor"),
    [
        pytest.param((0.1, 0.99), "full", id="full charge in every window"),
        pytest.param((0.1, 0.985), "full", id="just full"),
        pytest.param((0.1, 0.98), "wide", id="88 points but never full"),
        pytest.param((0.3, 0.9), "wide", id="60 points"),
        pytest.param((0.4, 0.9), "narrow", id="50 points"),
    ],
)
def test_batteries_are_classed_by_the_true_swing_of_their_charge(soc, anchor):
    assert truth("a", days=95, soc=soc).batteries["anchor"].to_list() == [anchor]


def test_a_fleet_of_a_few_days_is_classed_by_all_of_them():
    assert truth("a", days=5).batteries["anchor"].to_list() == ["full"]


def test_a_planted_fault_makes_a_battery_one_that_is_not_healthy():
    known = truth("a", "b", "c", faults={"b": ("cooling", 10.5, 20), "c": ("knee", 200.25, 400)})
    assert known.batteries["is_healthy"].to_list() == [True, False, False]
    assert known.batteries["knee_day"].to_list() == [None, None, 200.25]
    assert known.faults.select("kind", "onset_day", "end_day").rows() == [
        ("cooling", 10.5, 20.0),
        ("knee", 200.25, 400.0),
    ]


def test_the_state_of_charge_is_that_of_the_end_of_its_sample():
    soc = pl.DataFrame({"ts": [day(31)], "rack_id": ["A"], "soc_true": [0.5]})
    assert truth("a", soc_true=soc).soc.select("timestamp", "soc_percent").rows() == [
        (datetime(2024, 2, 1, 0, 5, tzinfo=UTC), 50.0)
    ]


def test_a_battery_below_half_of_its_capacity_is_none_any_more():
    """Hand-computed: 0.2 % a day are 50 % on day 250."""
    known = truth("a", loss_per_day=2e-3)
    assert known.daily["day"].max() == 250
    assert known.future.is_empty()


def test_shallow_cycles_do_not_count():
    assert truth("a", cycles=12.0).deep_cycles["cycles"].to_list() == [12.0]


def test_batteries_of_other_fleets_are_left_out():
    assert truth("a", "b", known=("b",)).batteries["battery_id"].to_list() == ["b"]


def test_a_truth_of_other_batteries_is_refused():
    with pytest.raises(LookupError, match="none of the batteries of f"):
        truth("a", known=("elsewhere",))
