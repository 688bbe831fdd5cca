"""Errors of what is said of the future, computed by hand."""

from datetime import timedelta

import polars as pl
import pytest

from bess_pipeline.analytics.forecast_accuracy import (
    fade_errors,
    forecast_errors,
    knee_errors,
    life_errors,
    straight_lines,
)
from bess_pipeline_tests.analytics.made_truth import FIRST, FLEET, KEY, truth, values

#: A year of capacity estimates that fall by 0.02 points a day from 101 %.
HEALTH = pl.DataFrame(
    {
        "fleet_id": FLEET,
        "battery_id": "a",
        "date": [FIRST + timedelta(days=number) for number in range(0, 400, 5)],
        "soh_percent": [101 - 0.02 * number for number in range(0, 400, 5)],
    }
)
LINES = straight_lines(HEALTH)


def said(*rows, battery="a"):
    """What was said: days since the first, and columns."""
    return pl.DataFrame(
        [
            {"fleet_id": FLEET, "battery_id": battery, "as_of": FIRST + timedelta(days=number), **columns}
            for number, columns in rows
        ],
        schema_overrides={"knee_detected_on": pl.Date},
    )


def test_a_straight_line_through_points_on_a_line_is_that_line():
    last = LINES.row(-1, named=True)
    assert last["slope_percent_per_day"] == pytest.approx(-0.02)
    assert last["level_percent"] == pytest.approx(101 - 0.02 * 395)
    assert LINES.height == HEALTH.height - 1


def test_a_straight_line_uses_nothing_of_the_days_to_come():
    kept = pl.col("date") <= FIRST + timedelta(days=200)
    bent = straight_lines(HEALTH.with_columns(soh_percent=pl.when(kept).then("soh_percent").otherwise(50.0)))
    assert bent.filter(kept).equals(LINES.filter(kept))


def test_the_rate_of_fade_by_hand():
    """The truth loses 0.01 points a day: 3.6525 a year. The line through our estimates says twice as much."""
    made = said((364, {"degradation_percent_per_year": 9.0}), (370, {"degradation_percent_per_year": 4.0}))
    found = fade_errors(made, LINES, truth("a"))
    assert values(found, "fade_error") == pytest.approx({("a", 370): 4.0 - 3.6525})
    assert values(found, "fade_error", "straight line") == pytest.approx({("a", 370): 3.6525})


def life(p10, p50, p90, **more):
    ends = {"remaining_life_days_p10": p10, "remaining_life_days_p50": p50, "remaining_life_days_p90": p90}
    return {name: None if value is None else float(value) for name, value in (ends | more).items()}


def test_remaining_life_by_hand():
    """On day 390 a life that ends on day 1390 has 1000 days to go; the line is at 93.2 % and needs 660 to 80 %."""
    made = said((390, life(700, 900, 999, remaining_life_days_p05=600, remaining_life_days_p95=1000)))
    found = life_errors(made, LINES, truth("a", end_of_life=1390))
    assert values(found, "life_error") == pytest.approx({("a", 390): -10.0})
    assert values(found, "life_error", "straight line") == pytest.approx({("a", 390): -34.0})
    assert values(found, "life_coverage_80") == {("a", 390): 0.0}
    assert values(found, "life_coverage_90") == {("a", 390): 1.0}


@pytest.mark.parametrize(
    ("given", "known"),
    [
        pytest.param(said((364, life(1, 2, 3))), {}, id="said before a year of data"),
        pytest.param(said((390, life(1, 2, None))), {}, id="without an upper end"),
        pytest.param(said((390, life(1, 2, 3))), {"end_of_life": 380}, id="the life has ended"),
        pytest.param(said((390, life(1, 2, 3))), {"end_of_life": -1}, id="no end of life is known"),
        pytest.param(said((390, life(1, 2, 3))), {"faults": {"a": ("knee", 200, 400)}}, id="the battery has a knee"),
        pytest.param(said((390, life(1, 2, 3) | {"end_of_life_percent": 70.0})), {}, id="another end of life is meant"),
    ],
)
def test_remaining_life_that_is_not_judged(given, known):
    assert life_errors(given, LINES, truth("a", **known)).is_empty()


def test_a_line_that_does_not_fall_lives_for_fifty_years():
    flat = straight_lines(HEALTH.with_columns(soh_percent=100.0))
    found = life_errors(said((390, life(1, 2, 3))), flat, truth("a", end_of_life=1390))
    assert values(found, "life_error", "straight line") == pytest.approx({("a", 390): 100 * (18262.5 / 1000 - 1)})


def test_the_forecast_closest_to_a_year_ahead_is_judged():
    """On day 370 for day 740 (true: 92.6 %), not for 720 or 1100; the estimate of the day was 93.6 %."""
    band = {"soh_p50_percent": 92.0, "soh_p90_percent": 92.5}
    lows = ((720, 80.0), (740, 91.0), (1100, 80.0))
    made = said(*((370, {"date": FIRST + timedelta(days=on), "soh_p10_percent": low} | band) for on, low in lows))
    found = forecast_errors(made, HEALTH, truth("a", days=760))
    assert values(found, "forecast_error") == pytest.approx({("a", 370): -0.6})
    assert values(found, "forecast_error", "as today") == pytest.approx({("a", 370): 1.0})
    assert values(found, "forecast_coverage_80") == {("a", 370): 0.0}


def test_a_forecast_beyond_the_data_is_held_against_what_would_be():
    made = said((390, {"date": FIRST + timedelta(days=755), "soh_p50_percent": 93.0}))
    found = forecast_errors(made, HEALTH, truth("a", days=400))
    assert values(found, "forecast_error") == pytest.approx({("a", 390): 93.0 - 92.43}, abs=0.04)


def knee(on):
    return {"knee_detected_on": FIRST + timedelta(days=on)}


def test_knees_found_late_early_and_where_there_are_none():
    """Planted on day 100.5: told on day 50 (false), 160 and again 170 (59.5 days late); of a healthy battery twice.

    Healthy years: 100.5 days of the one, 400 of each of the others; one with a fault of another kind does not count.
    """
    made = pl.concat(
        [
            said((60, knee(50)), (180, knee(160)), (190, knee(170))),
            said((200, knee(199)), (230, knee(205)), (400, knee(390)), battery="b"),
            said((200, knee(180)), battery="d"),
        ]
    )
    faults = {"a": ("knee", 100.5, 400.0), "d": ("cooling", 10.0, 50.0)}
    found = knee_errors(made, truth("a", "b", "c", "d", faults=faults))
    assert values(found, "knee_delay") == {("a", None): 59.5}
    assert values(found, "knee_found") == {("a", None): 1.0}
    assert values(found, "knee_false") == {("a", None): 1.0, ("b", None): 2.0, ("c", None): 0.0}
    years = found.filter(metric="knee_false")["weight"].to_list()
    assert years == pytest.approx([100.5 / 365.25, 400 / 365.25, 400 / 365.25])
    assert found["kind"].unique().to_list() == ["cycled"]


def test_a_knee_that_nobody_tells_has_no_delay():
    none = said((390, {"knee_detected_on": None}))
    found = knee_errors(none, truth("a", faults={"a": ("knee", 100.0, 400.0)}))
    assert values(found, "knee_found") == {("a", None): 0.0}
    assert values(found, "knee_delay") == {}


def test_the_order_of_rows_does_not_matter():
    made = said(*((day, life(600, 900 + day, 1999)) for day in range(366, 400, 3)))
    known = truth("a", end_of_life=1390)
    shuffled = made.sample(fraction=1.0, shuffle=True, seed=3)
    lines = straight_lines(HEALTH.sample(fraction=1.0, shuffle=True, seed=4))
    assert life_errors(shuffled, lines, known).equals(life_errors(made, LINES, known))
    assert LINES.select(KEY).n_unique() == 1
