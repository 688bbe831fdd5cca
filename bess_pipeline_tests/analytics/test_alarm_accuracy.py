"""Alarms held against planted battery faults, counted by hand."""

from datetime import timedelta

import pytest

from bess_pipeline.analytics.alarm_accuracy import alarm_errors
from bess_pipeline.analytics.alarm_points import raised as raised_by
from bess_pipeline_tests.analytics.made_alarms import alarms, no_features, signals
from bess_pipeline_tests.analytics.made_truth import truth, values

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
    errors = alarm_errors(raised_by(alarms(*raised), signals(), no_features(), KNOWN), KNOWN)
    assert values(errors, "alarm_found") == {("a", None): found}
    assert values(errors, "alarm_delay") == delay
    assert sum(values(errors, "alarm_false").values()) == false
    assert errors.filter(metric="alarm_found")["kind"].to_list() == ["cooling"]


def test_healthy_years_end_with_the_onset_and_begin_with_day_thirty():
    errors = alarm_errors(raised_by(alarms(), signals(), no_features(), KNOWN), KNOWN).filter(metric="alarm_false")
    assert errors["weight"].to_list() == pytest.approx([70 / 365.25, 170 / 365.25])


def test_the_order_of_alarms_does_not_matter():
    raised = alarms(*(("b", 31.0 + 17 * step) for step in range(8)), ("a", 101.0), ("a", 104.0))
    shuffled = raised.sample(fraction=1.0, shuffle=True, seed=1)
    found = (alarm_errors(raised_by(rows, signals(), no_features(), KNOWN), KNOWN) for rows in (shuffled, raised))
    assert next(found).equals(next(found))
    assert raised["detected_at"].max() - raised["detected_at"].min() > timedelta(days=100)


@pytest.mark.parametrize(
    ("told", "found", "delay", "lead"),
    [
        ([("a", 100.5, "safety", 1.5, "critical", "thermal")], 1.0, 12.0, 108.0),
        ([("a", 102.0, "safety", 1.5, "critical", "cell")], 1.0, 48.0, 72.0),
        ([("a", 102.5, "safety", 1.5, "critical", "cell")], 0.0, 60.0, 60.0),
        ([("a", 100.5, "statistics", 30.0, "critical", "thermal")], 0.0, None, None),
        ([("a", 99.0, "safety", 1.5, "critical", "thermal")], 0.0, None, None),
        ([], 0.0, None, None),
    ],
)
def test_precursors_have_to_be_seen_by_the_safety_lane_three_days_before_the_trip(told, found, delay, lead):
    """Known truth: a precursor begins on day 100 and trips on day 105."""
    known = truth("a", "b", days=200, faults={"a": ("tr_precursor", 100.0, 105.0)})
    errors = alarm_errors(raised_by(alarms(), signals(*told), no_features(), known), known)
    assert values(errors, "precursor_found") == {("a", None): found}
    assert values(errors, "precursor_delay") == ({} if delay is None else {("a", None): pytest.approx(delay)})
    assert values(errors, "precursor_lead") == ({} if lead is None else {("a", None): pytest.approx(lead)})
