"""What people said of events, attached by what it is about."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bess_pipeline.lake.views import EVENT_VERDICTS, answered
from bess_pipeline.tables.anomalies import AnomalyEvent, EventFeedback

DAY = timedelta(days=1)
START = datetime(2026, 1, 1, tzinfo=UTC)
SAID_AT = datetime(2026, 9, 1, tzinfo=UTC)


def happened(name="e1", **columns):
    """An event of days 10 to 20, raised on day 12."""
    row = {
        "event_id": name, "fleet_id": "f", "battery_id": "b", "family": "cell", "kind": "low_cell",
        "detector": "statistics", "severity": "warning", "component": None, "started_at": START + 10 * DAY,
        "ended_at": START + 20 * DAY, "detected_at": START + 12 * DAY, "detected_on": (START + 12 * DAY).date(),
        "score": 0.999, "evidence": "{}", "next_step": "look",
    }  # fmt: skip
    return row | columns


def said(verdict, number=1, **columns):
    """Something said of that event."""
    row = {
        "feedback_id": f"said{number}", "fleet_id": "f", "battery_id": "b", "event_id": "e1", "family": "cell",
        "kind": "low_cell", "severity": "warning", "component": None, "started_at": START + 10 * DAY,
        "until_at": START + 20 * DAY, "verdict": verdict, "note": None, "given_by": "anna",
        "given_at": SAID_AT + number * DAY, "mute_until": None,
    }  # fmt: skip
    return row | columns


def verdicts(events, feedback):
    tables = {
        "anomaly_events": pl.DataFrame(events, schema=AnomalyEvent.create_empty().schema),
        "event_feedback": pl.DataFrame(feedback, schema=EventFeedback.create_empty().schema),
    }
    found = answered(EVENT_VERDICTS, tables)
    assert found["event_id"].sort().to_list() == sorted(event["event_id"] for event in events)
    return {row["event_id"]: row for row in found.iter_rows(named=True)}


def of(events, feedback, name="e1"):
    row = verdicts(events, feedback)[name]
    return row["verdict"], row["effective_severity"]


def test_an_event_of_which_nothing_was_said_is_as_it_is():
    assert of([happened()], []) == (None, "warning")


@pytest.mark.parametrize(
    ("verdict", "expected"),
    [
        ("confirmed", ("confirmed", "warning")),
        ("dismissed", ("dismissed", "info")),
        ("annotated", (None, "warning")),
        ("withdrawn", (None, "warning")),
    ],
)
def test_what_was_said_counts(verdict, expected):
    assert of([happened()], [said(verdict)]) == expected


def test_the_latest_verdict_counts_whatever_was_remarked_since():
    rows = [said("dismissed", 1), said("confirmed", 2), said("annotated", 3, note="seen at rest")]
    assert of([happened()], rows) == ("confirmed", "warning")
    assert of([happened()], [*rows, said("withdrawn", 4)]) == (None, "warning")


def test_remarks_are_kept_in_order_with_their_authors():
    rows = [said("annotated", 2, note="then", given_by="ben"), said("confirmed", 1, note="first")]
    assert verdicts([happened()], rows)["e1"]["notes"] == "anna: first\nben: then"


@pytest.mark.parametrize(
    "moved",
    [
        {"event_id": "e9", "started_at": START + 7 * DAY, "detected_at": START + 9 * DAY},
        {"event_id": "e9", "started_at": START + 19 * DAY, "detected_at": START + 21 * DAY, "ended_at": None},
        {"event_id": "e9", "kind": "imbalance"},
    ],
)
def test_an_event_that_late_data_moved_keeps_what_was_said(moved):
    assert of([happened(**moved)], [said("dismissed")], "e9") == ("dismissed", "info")


@pytest.mark.parametrize(
    "other",
    [
        {"battery_id": "c"}, {"fleet_id": "g"}, {"family": "thermal"}, {"component": "V_3"},
        {"started_at": START + 21 * DAY, "detected_at": START + 22 * DAY, "ended_at": None},
        {"started_at": START + 2 * DAY, "detected_at": START + 3 * DAY, "ended_at": START + 9 * DAY},
    ],
)  # fmt: skip
def test_it_is_about_no_other_battery_component_family_or_time(other):
    assert of([happened(**other)], [said("dismissed")]) == (None, "warning")


@pytest.mark.parametrize("family", ["data", "limit"])
def test_data_and_limits_are_told_apart_by_kind(family):
    events = [happened("e1", family=family, kind="one"), happened("e2", family=family, kind="two")]
    found = verdicts(events, [said("dismissed", family=family, kind="one")])
    assert [found[name]["verdict"] for name in ("e1", "e2")] == ["dismissed", None]


def test_a_dismissed_event_that_gets_worse_matters_again():
    assert of([happened(severity="critical")], [said("dismissed")]) == ("dismissed", "critical")


def later(**columns):
    """The same battery and family again, raised on day 40."""
    times = {"started_at": START + 38 * DAY, "detected_at": START + 40 * DAY, "ended_at": None}
    return happened("e2", **times | columns)


def muted(feedback, **columns):
    row = verdicts([happened(), later(**columns)], feedback)["e2"]
    assert row["verdict"] is None
    return row["muted_by"], row["effective_severity"]


MUTING = {"mute_until": START + 50 * DAY}


def test_a_dismissal_mutes_alike_events_for_as_long_as_it_says():
    assert muted([said("dismissed", **MUTING)]) == ("said1", "info")
    assert muted([said("dismissed")]) == (None, "warning")
    assert muted([said("dismissed", mute_until=START + 40 * DAY)]) == (None, "warning")


@pytest.mark.parametrize(
    "other", [{"battery_id": "c"}, {"family": "thermal"}, {"component": "V_3"}, {"severity": "critical"},
              {"detector": "safety"}]
)  # fmt: skip
def test_nothing_else_nothing_worse_and_nothing_of_safety_is_muted(other):
    row = muted([said("dismissed", **MUTING)], **other)
    assert row == (None, other.get("severity", "warning"))


@pytest.mark.parametrize("verdict", ["confirmed", "withdrawn", "dismissed"])
def test_a_later_word_on_the_same_event_ends_the_muting(verdict):
    assert muted([said("dismissed", 1, **MUTING), said(verdict, 2)]) == (None, "warning")
    assert muted([said("dismissed", 1, **MUTING), said("annotated", 2)])[1] == "info"


def test_what_was_confirmed_is_not_muted():
    confirmed = said("confirmed", 2, started_at=START + 38 * DAY, until_at=START + 45 * DAY)
    row = verdicts([happened(), later()], [said("dismissed", 1, **MUTING), confirmed])["e2"]
    assert (row["verdict"], row["muted_by"], row["effective_severity"]) == ("confirmed", None, "warning")


SAYINGS = st.lists(
    st.tuples(st.sampled_from(["confirmed", "dismissed", "annotated", "withdrawn"]), st.integers(0, 60), st.booleans()),
    max_size=8,
)


@settings(deadline=None, max_examples=40)
@given(SAYINGS)
def test_whatever_is_said_every_event_stays_once_and_never_gets_worse(sayings):
    rows = [
        said(verdict, number, started_at=START + day * DAY, until_at=START + (day + 3) * DAY,
             mute_until=START + 90 * DAY if mutes and verdict == "dismissed" else None)
        for number, (verdict, day, mutes) in enumerate(sayings)
    ]  # fmt: skip
    found = verdicts([happened(), later()], rows)
    assert {row["effective_severity"] for row in found.values()} <= {"info", "warning"}
    assert all(row["severity"] == "warning" for row in found.values())
