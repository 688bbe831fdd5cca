"""Alarms held against planted battery faults, counted by hand."""

from datetime import UTC, timedelta

import polars as pl
import pytest

from bess_pipeline.analytics.alarm_accuracy import alarm_errors
from bess_pipeline_tests.analytics.made_truth import FLEET, day, truth, values


def alarms(*raised):
    """Battery and day of alarms; severity and family where they are not warning and thermal."""
    rows = [
        {
            "fleet_id": FLEET,
            "battery_id": battery,
            "detected_at": day(at).replace(tzinfo=UTC),
            "severity": (*more, "warning")[0] if more else "warning",
            "family": more[1] if len(more) > 1 else "thermal",
        }
        for battery, at, *more in raised
    ]
    schema = {
        "fleet_id": pl.String,
        "battery_id": pl.String,
        "detected_at": pl.Datetime("us", "UTC"),
        "severity": pl.String,
        "family": pl.String,
    }
    return pl.DataFrame(rows, schema=schema)


KNOWN = truth("a", "b", days=200, faults={"a": ("cooling", 100.0, 120.0)})


@pytest.mark.parametrize(
    ("raised", "found", "delay", "false"),
    [
        pytest.param([], 0.0, {}, 0, id="silence"),
        pytest.param([("a", 104.5)], 1.0, {("a", None): 4.5}, 0, id="in the fault"),
        pytest.param([("a", 133.0)], 1.0, {("a", None): 33.0}, 0, id="within 14 days of its end"),
        pytest.param([("a", 135.0)], 0.0, {}, 0, id="later it counts neither way"),
        pytest.param([("a", 110.0), ("a", 102.0)], 1.0, {("a", None): 2.0}, 0, id="the first counts"),
        pytest.param([("a", 90.0)], 0.0, {}, 1, id="before the onset it is false"),
        pytest.param([("a", 20.0), ("b", 29.9)], 0.0, {}, 0, id="the first 30 days do not count"),
        pytest.param([("a", 105.0, "info")], 0.0, {}, 0, id="a remark is no alarm"),
        pytest.param(
            [("a", 105.0, "critical", "data"), ("a", 106.0, "warning", "limit")], 0.0, {}, 0, id="data, limits"
        ),
        pytest.param([("b", 50.0), ("b", 70.0), ("b", 92.0)], 0.0, {}, 2, id="21 days apart they are one"),
    ],
)
def test_alarms_by_hand(raised, found, delay, false):
    errors = alarm_errors(alarms(*raised), KNOWN)
    assert values(errors, "alarm_found") == {("a", None): found}
    assert values(errors, "alarm_delay") == delay
    assert sum(values(errors, "alarm_false").values()) == false
    assert errors.filter(metric="alarm_found")["kind"].to_list() == ["cooling"]


def test_healthy_years_end_with_the_onset_and_begin_with_day_thirty():
    errors = alarm_errors(alarms(), KNOWN).filter(metric="alarm_false")
    assert errors["weight"].to_list() == pytest.approx([70 / 365.25, 170 / 365.25])


def test_the_order_of_alarms_does_not_matter():
    raised = alarms(*(("b", 31.0 + 17 * step) for step in range(8)), ("a", 101.0), ("a", 104.0))
    shuffled = raised.sample(fraction=1.0, shuffle=True, seed=1)
    assert alarm_errors(shuffled, KNOWN).equals(alarm_errors(raised, KNOWN))
    assert raised["detected_at"].max() - raised["detected_at"].min() > timedelta(days=100)
