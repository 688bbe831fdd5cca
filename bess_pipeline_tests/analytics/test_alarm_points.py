"""Operating points of alarms, counted by hand."""

from datetime import UTC

import polars as pl
import pytest

from bess_pipeline.analytics.alarm_points import ONE_DAY, SILENCE, Raised, mistaken_share, operating_points, raised
from bess_pipeline_tests.analytics.made_alarms import alarms, features, no_features, signals
from bess_pipeline_tests.analytics.made_truth import FLEET, day, truth

#: Two healthy batteries for 365.25 / 2 days each after the warm-up, and two with a fault from day 100 on.
DAYS = 212.625
FAULTS = {"c": ("cooling", 100.0, 120.0), "d": ("isc", 100.0, 200.0)}
KNOWN = truth("a", "b", "c", "d", days=213, faults=FAULTS)
YEARS = 2 * (213 - 30) / 365.25 + 2 * 70 / 365.25


def point(found, lane, price=None):
    """One row of the operating points."""
    return operating_points(found).filter(pl.col("lane") == lane, pl.col("price").eq_missing(price)).row(0, named=True)


def test_a_lane_as_it_raises():
    told = raised(
        alarms(
            ("c", 104.0),
            ("d", 140.0, "warning", "thermal"),
            ("a", 50.0),
            ("c", 110.0, "critical", "limit", "thresholds", 1.0),
        ),
        signals(("c", 110.0, "thresholds", 2.0, "critical", "limit")),
        no_features(),
        KNOWN,
    )
    combined = point(told, "combined")
    assert (combined["faults"], combined["recall"], combined["delay_days"]) == (2, 1.0, 22.0)
    assert (combined["false_alarms"], combined["precision"]) == (1, pytest.approx(2 / 3))
    assert combined["false_per_year"] == pytest.approx(1 / YEARS)
    assert combined["family_right"] == 0.5
    limits = point(told, "thresholds")
    assert (limits["recall"], limits["delay_days"], limits["false_alarms"]) == (0.5, 10.0, 0)
    nothing = point(told, SILENCE)
    assert (nothing["recall"], nothing["false_alarms"], nothing["delay_days"], nothing["precision"]) == (
        0,
        0,
        None,
        None,
    )


def test_a_lane_alone_is_judged_by_what_it_raises_whether_or_not_that_becomes_an_event():
    """An alarm that goes on is one, counted where it begins; one that began before a fault does not tell it."""
    told = raised(
        alarms(),
        signals(
            ("c", 106.0, "models"), ("c", 107.0, "models"),
            ("d", 95.0, "models"), ("d", 105.0, "models"), ("d", 120.0, "models"),
            *(("a", 40.0 + 10 * step, "models") for step in range(5)), ("a", 130.0, "models"),
            ("b", 60.0, "models", 12.0, "info"),
        ),
        no_features(),
        KNOWN,
    )  # fmt: skip
    lane = point(told, "models")
    assert (lane["recall"], lane["delay_days"], lane["false_alarms"]) == (0.5, 6.0, 3)
    assert point(told, "combined")["recall"] == 0.0


def test_a_higher_score_counts_from_when_it_is_reached():
    told = raised(
        alarms(),
        signals(
            ("c", 102.0, "models", 1.1), ("c", 103.0, "models", 2.0), ("d", 110.0, "models", 2.0),
            ("a", 50.0, "models", 1.1), ("b", 50.0, "models", 1.1),
        ),
        no_features(),
        KNOWN,
    )  # fmt: skip
    asked = point(told, "models", 0.25)
    assert (asked["recall"], asked["delay_days"], asked["false_alarms"]) == (1.0, 6.5, 0)


def test_a_price_asks_for_the_least_score_that_keeps_it():
    told = raised(
        alarms(
            ("c", 104.0, "warning", "thermal", "statistics", 0.99),
            ("d", 140.0, "warning", "cell", "statistics", 0.97),
            *(("a", 40.0 + 30 * step, "warning", "cell", "statistics", 0.98) for step in range(2)),
        ),
        signals(),
        no_features(),
        KNOWN,
    )
    assert point(told, "combined")["recall"] == 1.0
    for price in (0.5, 0.25):
        asked = point(told, "combined", price)
        assert (asked["score"], asked["recall"], asked["false_alarms"]) == (0.99, 0.5, 0)


def test_where_no_score_keeps_a_price_nothing_is_left():
    told = raised(alarms(("c", 104.0), ("a", 50.0), ("b", 50.0)), signals(), no_features(), KNOWN)
    asked = point(told, "combined", 0.25)
    assert (asked["score"], asked["recall"], asked["false_alarms"]) == (None, 0.0, 0)


def test_a_price_that_the_lane_keeps_anyway_changes_nothing():
    told = raised(alarms(("c", 104.0), ("d", 140.0)), signals(), no_features(), KNOWN)
    for price in (0.5, 0.25):
        assert point(told, "combined", price)["recall"] == 1.0


def test_a_day_alone_is_judged_by_its_largest_score():
    told = raised(
        alarms(),
        signals(),
        features(
            ("c", 105, "capacity", -9.0), ("c", 105, "throughput", 4.0), ("d", 150, "capacity", 5.0),
            ("a", 60, "capacity", 6.0), ("a", 61, "capacity", 7.0), ("a", 120, "capacity", 2.0),
        ),
        KNOWN,
    )  # fmt: skip
    alone = point(told, ONE_DAY, 0.25)
    assert (alone["score"], alone["recall"], alone["delay_days"], alone["false_alarms"]) == (9.0, 0.5, 6.0, 0)
    assert alone["family_right"] is None


def test_data_faults_are_told_as_such_or_taken_for_a_battery():
    struck = pl.DataFrame(
        [
            (FLEET, battery, kind, "", day(begins).replace(tzinfo=UTC), day(ends).replace(tzinfo=UTC))
            for battery, kind, begins, ends in (
                ("a", "spike", 50, 51),
                ("a", "stuck", 80, 81),
                ("b", "stuck", 90, 91),
                ("b", "nan", 150, 151),
                ("c", "nan", 50, 51),
            )
        ],
        schema={"fleet_id": pl.String, "battery_id": pl.String, "kind": pl.String, "column": pl.String,
                "begins": pl.Datetime("us", "UTC"), "ends": pl.Datetime("us", "UTC")},
        orient="row",
    )  # fmt: skip
    told = alarms(
        ("a", 50.5, "info", "data"), ("a", 81.5, "info", "data"), ("b", 90.5, "info", "data"),
        ("b", 90.7, "warning", "cell"), ("b", 150.5, "critical", "limit"), ("b", 150.6, "info", "cell"),
        ("c", 50.5, "warning", "cell"),
    )  # fmt: skip
    found = mistaken_share(raised(told, signals(), no_features(), KNOWN, struck))
    assert found.rows() == [("spike", 1, 1), ("stuck", 2, 1)]


def test_fleets_are_put_together():
    one = raised(alarms(("c", 104.0)), signals(), no_features(), KNOWN)
    other = raised(alarms(), signals(), no_features(), truth("e", days=213))
    both = Raised.of([one, other])
    found = point(both, "combined")
    assert (found["faults"], found["recall"]) == (2, 0.5)
    assert found["healthy_years"] == pytest.approx(YEARS + 183 / 365.25)
    assert Raised.of([]).alarms.is_empty()


def test_there_may_be_nothing_to_watch():
    points = operating_points(Raised.of([]))
    assert points["recall"].null_count() == points.height > 0
