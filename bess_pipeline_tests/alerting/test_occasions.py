"""What is worth an alert."""

from dataclasses import replace
from datetime import date, timedelta

import polars as pl
import pytest

from bess_pipeline.alerting.occasions import (
    FailedCheck,
    Pages,
    StepError,
    of_check,
    of_early_notices,
    of_events,
    of_missing_data,
    of_register,
    of_run,
    of_warranty_events,
)
from bess_pipeline.lake.views import EVENT_VERDICTS, answered
from bess_pipeline.tables.alerts import NO_FLEET
from bess_pipeline.tables.anomalies import AnomalyEvent, EventFeedback
from bess_pipeline.tables.lifecycle import WarrantyDaily, WarrantyEvent
from bess_pipeline_tests.alerting.made_alerts import HOUR, NOW
from bess_pipeline_tests.analytics import made_cells
from bess_pipeline_tests.lake.test_views import DAY, START, happened, said

PAGES = Pages("https://dagster.example", "https://bess.example")
RANGE = {
    "bess/fleet": "alpha",
    "dagster/asset_partition_range_start": "2026-03-01|alpha",
    "dagster/asset_partition_range_end": "2026-03-30|alpha",
}
UNREADABLE = StepError("raw_telemetry", "OSError", "disk is full")


def failed(run_id="r1", tags=RANGE, errors=(UNREADABLE,)):
    return of_run(run_id, "telemetry", tags, errors, ended_at=NOW, pages=PAGES)


def test_a_failed_run_tells_the_job_the_days_the_step_and_the_reason():
    told = failed()
    assert (told.fleet_id, told.severity, told.subject) == ("alpha", "critical", "run of telemetry failed")
    assert told.message == "2026-03-01 to 2026-03-30: raw_telemetry: OSError: disk is full"
    assert told.link == "https://dagster.example/runs/r1"


def test_a_run_that_was_stopped_is_no_alarm_and_one_that_failed_as_well_is():
    stopped = StepError("raw_telemetry", "DagsterExecutionInterruptedError", "")
    told = failed(errors=(stopped,))
    assert told.severity == "warning"
    assert told.message.startswith("2026-03-01 to 2026-03-30: it was stopped")
    assert failed(errors=(stopped, StepError("clean_telemetry", "OSError", "disk is full"))).severity == "critical"


def test_a_run_of_no_fleet_whose_process_died_says_so():
    told = failed(tags={}, errors=())
    assert (told.fleet_id, told.message) == (NO_FLEET, "no step failed: its process ended early")


def test_the_same_failure_of_another_run_is_another_time_of_the_same():
    assert failed("r1").about_id == failed("r2").about_id
    assert failed("r1").alert_id != failed("r2").alert_id
    assert failed("r1").alert_id == failed("r1").alert_id


@pytest.mark.parametrize(
    "other",
    [
        {"tags": {**RANGE, "bess/fleet": "beta"}},
        {"errors": [replace(UNREADABLE, step="clean_telemetry")]},
        {"errors": [replace(UNREADABLE, error="ContractError")]},
        {"errors": ()},
    ],
)
def test_another_fleet_step_or_error_is_about_something_else(other):
    assert failed(**other).about_id != failed().about_id


CHECK = FailedCheck("data_quality_daily", "coverage", "alpha", None, False, "little was seen", NOW, "17")
ROWS = replace(CHECK, asset="row_accounts", check="rows", day=date(2026, 3, 1))


@pytest.mark.parametrize(
    ("check", "severity", "subject"),
    [
        (CHECK, "warning", "check coverage warns"),
        (replace(CHECK, is_error=True), "critical", "check coverage failed"),
        (replace(ROWS, is_error=True), "critical", "check rows of 2026-03-01 failed"),
    ],
)
def test_a_failed_check_matters_more_as_an_error_than_as_a_warning(check, severity, subject):
    told = of_check(check, pages=PAGES)
    assert (told.severity, told.subject, told.message) == (severity, subject, "little was seen")
    assert told.link == f"https://dagster.example/assets/{check.asset}?view=checks&checkDetail={check.check}"


def test_a_warning_of_a_single_day_is_left_to_the_checks_of_its_fleet():
    assert of_check(ROWS, pages=PAGES) is None


def test_a_check_that_goes_on_failing_is_one_alert_and_one_that_fails_again_another():
    later = replace(CHECK, evaluated_at=NOW + 9 * HOUR, summary="still little")
    first, still, again = (of_check(each, pages=PAGES) for each in (CHECK, later, replace(later, since="18")))
    assert first.alert_id == still.alert_id != again.alert_id
    assert first.about_id == again.about_id


def test_a_fleet_file_that_is_wrong_is_one_alert_until_it_is_wrong_otherwise():
    first, same, other = (
        of_register("alpha.yaml", [f"alpha.yaml: {what}"], now=NOW, pages=PAGES)
        for what in ("battery is missing", "battery is missing", "source is missing")
    )
    assert first.alert_id == same.alert_id != other.alert_id
    assert "battery is missing" in first.message


def test_missing_data_are_one_alert_for_each_newest_day():
    first, still, again = (
        of_missing_data("alpha", date(2026, 5, day), 3, now=now, pages=PAGES)
        for day, now in ((1, NOW), (1, NOW + 50 * HOUR), (2, NOW + 50 * HOUR))
    )
    assert first.alert_id == still.alert_id != again.alert_id
    assert first.message.startswith("Nothing came since 2026-05-01.")
    assert first.link == "https://bess.example/fleets/alpha"


def events(*rows, feedback=()):
    tables = {
        "anomaly_events": pl.DataFrame(rows, schema=AnomalyEvent.create_empty().schema),
        "event_feedback": pl.DataFrame(list(feedback), schema=EventFeedback.create_empty().schema),
    }
    return of_events(answered(EVENT_VERDICTS, tables), since=START + 11 * DAY, pages=PAGES)


def test_an_event_tells_what_where_and_what_to_do():
    (told,) = events(happened(component="V_3"))
    assert (told.fleet_id, told.battery_id, told.severity, told.subject) == ("f", "b", "warning", "cell: low_cell")
    assert told.message == (
        "Began 2026-01-11 00:00 UTC, seen by the lane statistics at 2026-01-13 00:00 UTC, in V_3. look"
        " (bess event show e1)"
    )
    assert (told.occurred_at, told.link) == (START + 12 * DAY, "https://bess.example/events/e1")


def test_info_dismissed_muted_and_old_events_are_worth_no_alert():
    muted = happened("e2", detected_at=START + 30 * DAY, started_at=START + 29 * DAY, ended_at=None)
    dismissal = said("dismissed", mute_until=START + 50 * DAY)
    assert events(happened(), muted, feedback=[dismissal]) == []
    assert events(happened(severity="info")) == []
    assert events(happened(detected_at=START + 11 * DAY - timedelta(microseconds=1))) == []


def test_a_dismissed_event_that_became_critical_is_worth_one():
    (told,) = events(happened(severity="critical"), feedback=[said("dismissed")])
    assert told.severity == "critical"


def test_without_pages_there_is_no_link_to_them():
    assert Pages("https://dagster.example").event("e1") is None


def broken(**said):
    usual = {
        "battery_id": "b", "term": "soc_high", "started_at": NOW - HOUR, "ended_at": NOW, "party": "operator",
        "duration_hours": 1.0, "seen_hours": 1.0, "worst": 99.5, "agreed": 95.0, "unit": "%",
        "evidence": "telemetry_5min.soc_percent",
    }  # fmt: skip
    return made_cells.whole(pl.DataFrame([usual | said]), WarrantyEvent, fleet_id="alpha")


def test_a_term_that_is_not_kept_tells_who_answers_for_it_and_what_shows_it():
    (told,) = of_warranty_events(broken(), since=NOW - 2 * HOUR, pages=PAGES)
    assert (told.kind, told.severity, told.battery_id) == ("warranty_event", "warning", "b")
    assert told.subject == "warranty: soc high not kept"
    assert "99.5 % at the worst, agreed is 95 %" in told.message
    assert "The operator answers for it; shown by telemetry_5min.soc_percent" in told.message
    assert told.link == "https://bess.example/fleets/alpha/lifecycle"
    assert of_warranty_events(broken(), since=NOW, pages=PAGES) == []


def test_a_stretch_that_goes_on_is_the_same_alert_and_the_next_one_another():
    first, longer, later = (
        of_warranty_events(broken(**said), since=NOW - 9 * HOUR, pages=PAGES)[0]
        for said in ({}, {"ended_at": NOW + HOUR, "worst": None}, {"started_at": NOW})
    )
    assert first.alert_id == longer.alert_id != later.alert_id
    assert "something unknown at the worst" in longer.message
    assert first.about_id == later.about_id


def noticed(*says):
    """Days that say whether a battery loses too fast, the last one today."""
    rows = [
        {"date": NOW.date() - timedelta(days=len(says) - 1 - n), "is_early_notice": said,
         "loss_90d_percent_per_year": 5.0, "guaranteed_loss_percent_per_year": 2.0}
        for n, said in enumerate(says)
    ]  # fmt: skip
    return made_cells.whole(
        pl.DataFrame(rows), WarrantyDaily, fleet_id="alpha", battery_id="b", age_years=1.0, standing="within"
    )


def test_losing_too_fast_is_told_once_for_each_stretch_of_days():
    since = NOW - timedelta(days=7)
    (told,) = of_early_notices(noticed(False, True, True), since=since, pages=PAGES)
    assert told.occurred_at.date() == NOW.date() - timedelta(days=1)
    assert "5 % a year over 90 days, where the guarantee allows 2 %" in told.message
    (longer,) = of_early_notices(noticed(False, True, True, True), since=since, pages=PAGES)
    assert longer.about_id == told.about_id
    assert of_early_notices(noticed(True, True, False), since=since, pages=PAGES) == []
    assert of_early_notices(noticed(*[True] * 30), since=since, pages=PAGES) == []
    assert of_early_notices(noticed(None, None), since=since, pages=PAGES) == []
