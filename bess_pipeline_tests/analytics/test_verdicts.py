"""What the quality tables say of a fleet, in words that a person can act on."""

from datetime import timedelta

import polars as pl
import pytest

from bess_pipeline.analytics.verdicts import (
    accounting,
    coverage,
    current_sign,
    freshness,
    reported_charge,
    rows_of_days,
    units,
    voltage_and_cells,
)
from bess_pipeline.tables.landing import LandingDay, LandingFile
from bess_pipeline.tables.quality import RowAccount
from bess_pipeline.window import Window
from bess_pipeline_tests.analytics.made_quality import DAY, battery_days, fleet_days, repairs

WELL = fleet_days({}, {})
ONE = timedelta(days=1)
NEXT = DAY + ONE
LATER = DAY + timedelta(days=10)


def landing_days(*rows):
    schema = LandingDay.create_empty().schema
    named = [
        {name: "" if kind == pl.String else None for name, kind in schema.items()}
        | {"fleet_id": "f", "path": f"{k}", "date": day, "battery_id": battery, "rows": count}
        for k, (day, battery, count) in enumerate(rows)
    ]
    return pl.DataFrame(named, schema=schema)


def accounts(*rows):
    return pl.DataFrame([("f", *row) for row in rows], schema=RowAccount.create_empty().schema, orient="row")


def files(*numbers, usual=60_000_000):
    """`LandingFile` rows with samples of a minute each."""
    schema = LandingFile.create_empty().schema
    named = [dict.fromkeys(schema) | {"fleet_id": "f", "path": str(k), "usual_interval_us": usual} for k in numbers]
    return pl.DataFrame(named, schema=schema)


def test_a_fleet_whose_rows_add_up_passes():
    verdict = accounting(WELL)
    assert verdict.passed
    assert verdict.summary == "every row of 2 days is accounted for"
    assert verdict.worst.is_empty()


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        pytest.param({"rows_accepted": 7}, f"on 1 day, worst {NEXT}: 9 received, 7 accounted for", id="rows were lost"),
        pytest.param(
            {"rows_accepted": 11}, f"on 1 day, worst {NEXT}: 9 received, 11 accounted for", id="rows were invented"
        ),
        pytest.param(
            {"rows_accepted": 8, "rows_quarantined": 1, "conflict": 0}, "on 1 day", id="a rejected row has no reason"
        ),
        pytest.param(
            {"date": None, "rows_accepted": 0, "rows_quarantined": 8, "unreadable_time": 8},
            "worst rows without a usable time: 9 received, 8 accounted for",
            id="rows without a time",
        ),
    ],
)
def test_a_doctored_account_fails_and_says_what_to_do(columns, said):
    verdict = accounting(fleet_days({}, columns))
    assert not verdict.passed
    assert said in verdict.summary
    assert "bess run" in verdict.summary
    assert verdict.worst.height == 1


def test_a_day_that_is_still_to_be_made_is_not_held_against_the_account():
    doctored = fleet_days({}, {"rows_accepted": 0})
    assert not accounting(doctored).passed
    assert accounting(doctored, [NEXT]).passed


def test_the_day_on_which_most_rows_are_missing_comes_first_and_five_are_shown():
    verdict = accounting(fleet_days(*({"rows_accepted": k} for k in range(9))))
    assert verdict.worst["missing"].to_list() == [9, 8, 7, 6, 5]


def test_each_day_has_its_own_account():
    known = landing_days((DAY, "b", 4), (DAY, "c", 3), (NEXT, "b", 4), (LATER, "b", 1))
    became = accounts((DAY, "b", "accepted", 5), (DAY, "b", "duplicate", 2), (NEXT, "b", "accepted", 3))
    verdicts = rows_of_days(known, files(0, 1, 2, 3), became, within=Window(DAY, LATER + ONE), today=DAY)
    assert {day: verdict.passed for day, verdict in verdicts.items()} == {DAY: True, NEXT: False, LATER: False}
    assert [verdicts[day].is_error for day in (DAY, NEXT, LATER)] == [False, True, True]
    assert verdicts[NEXT].summary.startswith(f"{NEXT}: 4 rows received, 3 accounted for; ")
    assert set(rows_of_days(known, files(0, 1, 2, 3), became, within=Window(DAY, NEXT), today=DAY)) == {DAY, NEXT}


def test_what_came_of_a_day_is_judged_by_battery():
    """Hand-computed: 1,440 minutes are a day, 720 half of it; c is known from the second day on only."""
    rows = [(DAY, "a", 1440), (DAY, "b", 1400), (NEXT, "a", 720), (NEXT, "c", 1440), (LATER, "a", 1)]
    became = accounts(*((day, name, "accepted", count) for day, name, count in rows))
    verdicts = rows_of_days(landing_days(*rows), files(*range(5)), became, within=Window(DAY, LATER + ONE), today=LATER)
    assert {day: verdict.passed for day, verdict in verdicts.items()} == {DAY: True, NEXT: False, LATER: True}
    assert verdicts[NEXT].summary == "of 2 of 3 batteries less than 95% came, least of b (0%), a (50%)"
    assert not verdicts[NEXT].is_error


def test_nothing_is_said_of_batteries_where_the_usual_interval_is_unknown():
    rows, became = landing_days((DAY, "a", 3)), accounts((DAY, "a", "accepted", 3))
    (verdict,) = rows_of_days(rows, files(0, usual=None), became, within=Window.of_day(DAY), today=LATER).values()
    assert verdict.passed


def test_coverage_names_the_worst_day_and_the_worst_batteries():
    """Hand-computed: over the two bad days a was seen by half, b on one of them."""
    days = fleet_days({"coverage_fraction": 0.75}, {"coverage_fraction": 0.25}, {})
    rows = battery_days(("a", 0, {"coverage_fraction": 0.5}), ("a", 1, {"coverage_fraction": 0.5}), ("b", 0, {}))
    verdict = coverage(days, rows, today=LATER)
    assert not verdict.passed
    assert verdict.summary == (
        f"less than 95% seen on 2 of the newest 3 days, worst {NEXT}; of the batteries, least of a (50%), b (50%)"
    )
    assert verdict.worst["date"].to_list() == [NEXT, DAY]


def test_coverage_leaves_today_and_what_is_long_ago_alone():
    bad, well = {"coverage_fraction": 0.5}, [{}] * 30
    assert coverage(fleet_days(bad, *well), battery_days(("a", 0, {})), today=LATER + timedelta(days=90)).passed
    assert coverage(fleet_days({}, bad), battery_days(("a", 0, {})), today=NEXT).passed
    assert not coverage(fleet_days({}, bad), battery_days(("a", 0, {})), today=LATER).passed


@pytest.mark.parametrize(
    ("days", "rows", "today", "said"),
    [
        pytest.param(({}, {}), [("a", 1, {})], 2, None, id="the newest day has just ended"),
        pytest.param(({}, {}), [("a", 1, {})], 4, None, id="two days late at most"),
        pytest.param(({}, {}), [("a", 1, {})], 5, f"nothing came since {NEXT}, 3 days ago", id="late"),
        pytest.param(
            ({}, {"rows_received": 0}, {}), [("a", 2, {})], 3,
            f"nothing came for 1 day in between, last {NEXT}", id="a day is missing",
        ),
        pytest.param(
            ({}, {}), [("a", 1, {}), ("b", 0, {})], 2,
            f"silent before the fleet's newest day: b (since {DAY})", id="a battery fell silent",
        ),
    ],
)  # fmt: skip
def test_freshness(days, rows, today, said):
    verdict = freshness(fleet_days(*days), battery_days(*rows), today=DAY + timedelta(days=today))
    assert verdict.passed == (said is None)
    assert verdict.summary == (said or f"newest day {NEXT}, none missing before it")


def test_a_fleet_of_which_nothing_came_is_not_fresh():
    assert not freshness(fleet_days(), battery_days(), today=DAY).passed


def test_repaired_units_are_named_with_battery_and_span():
    found = repairs(("a", "temperature_unit", "converted", 2, 5), ("b", "temperature_unit", "excluded", 2, 3))
    verdict = units(found, battery_days(("c", 0, {"cell_voltage_in_millivolt": 3}), ("c", 1, {"rows_accepted": 5})))
    assert not verdict.passed
    assert "a temperature_unit, 2026-03-30 to 2026-04-02; c cell_voltage_in_millivolt, 2026-03-28;" in verdict.summary


def test_units_and_signs_that_are_right_pass():
    assert units(repairs(("a", "current_sign", "converted", 0, 1)), battery_days(("a", 0, {}))).passed
    assert current_sign(repairs(("a", "temperature_unit", "converted", 0, 1))).passed


def test_a_sign_that_was_turned_is_named_and_one_that_is_suspected_says_what_to_set():
    turned = current_sign(repairs(("a", "current_sign", "converted", 2, 5)))
    assert not turned.passed
    assert turned.summary == "charge and discharge changed places: a converted, 2026-03-30 to 2026-04-02"
    suspected = current_sign(repairs(("b", "current_sign", "suspected", 0, 9)))
    assert not suspected.passed
    assert "b seems to have the wrong sign throughout" in suspected.summary
    assert "set `positive: discharge`" in suspected.summary


@pytest.mark.parametrize(
    ("judge", "column"),
    [(voltage_and_cells, "cell_voltage_mismatch_fraction"), (reported_charge, "soc_bms_mismatch_fraction")],
)
def test_channels_that_disagree_for_most_of_a_newest_day_are_named(judge, column):
    rows = battery_days(
        ("a", 0, {column: 0.4}),
        ("b", 0, {column: 0.6}),
        ("b", 1, {column: 0.9}),
        ("c", 40, {}),
        ("d", 39, {column: 1.0}),
    )
    assert judge(rows.filter(pl.col("battery_id") == "a"), today=LATER).passed
    assert judge(rows, today=LATER + timedelta(days=90)).worst["battery_id"].to_list() == ["d"]
    early = judge(rows, today=LATER)
    assert "b (2 days, last 2026-03-29)" in early.summary
    assert early.worst["worst_fraction"].to_list() == [0.9]
