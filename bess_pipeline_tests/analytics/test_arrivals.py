"""When days came: made of landing rows by hand, times in hours after the end of the first day."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from bess_pipeline.analytics.arrivals import arrivals_daily
from bess_pipeline.analytics.verdicts import lateness
from bess_pipeline.tables.arrivals import ArrivalsDaily
from bess_pipeline.tables.landing import LandingDay, LandingFile
from bess_pipeline_tests.analytics.made_quality import DAY, fleet_days

END = datetime(DAY.year, DAY.month, DAY.day, tzinfo=UTC) + timedelta(days=1)


def at(hours):
    return None if hours is None else END + timedelta(hours=hours)


def landing(*came):
    """`LandingDay` rows: days since `DAY`, and hours at which they were first seen and last changed."""
    schema = LandingDay.create_empty().schema
    text = {name: "" for name, kind in schema.items() if kind == pl.String}
    rows = [
        text
        | {"fleet_id": "f", "path": f"{k}.csv", "battery_id": "b", "rows": 1, "date": DAY + timedelta(days=day)}
        | {"first_seen_at": at(first), "changed_at": at(last)}
        for k, (day, first, last) in enumerate(came)
    ]
    return pl.DataFrame(rows, schema=schema)


def looked(*hours):
    """`LandingFile` rows that were first seen then."""
    schema = LandingFile.create_empty().schema
    return pl.DataFrame([{"fleet_id": "f", "first_seen_at": at(hour)} for hour in hours], schema=schema)


def arrivals(came, days, *, since=-48, **options):
    quality = fleet_days(*days) if days and isinstance(days[0], dict) else fleet_days(*[{}] * len(days))
    return ArrivalsDaily.validate(arrivals_daily(landing(*came), looked(since), quality, **options))


def nightly(days, delay=2.0):
    """Days that came whole, so many hours after each ended."""
    return [(day, 24 * day + delay, 24 * day + delay) for day in range(days)]


def test_the_delay_of_a_day_counts_from_its_end_to_its_first_and_to_its_last_rows():
    made = arrivals([(0, -6, 1.5), (0, 3, 3)], [{}])
    assert made.select("first_delay_hours", "last_delay_hours").row(0) == (-6.0, 3.0)
    assert made["last_seen_at"].item() == at(3)


def test_of_days_that_were_over_when_the_fleet_was_first_looked_at_nobody_knows_the_delay():
    """Neither of those that were there, nor of history that was delivered later."""
    made = arrivals([(0, 30, 30), (1, 200, 200), (2, 200, 200)], [{}, {}, {}], since=30)
    assert made["last_delay_hours"].to_list() == [None, None, 152.0]
    assert made["first_seen_at"].null_count() == 2


def test_a_scan_that_was_not_noted_may_have_been_the_first_and_is_not_the_last():
    made = arrivals([(0, None, None), (0, 5, 5)], [{}])
    assert made.select("first_delay_hours", "last_delay_hours").row(0) == (None, 5.0)


def test_without_any_noted_scan_nothing_is_late():
    made = arrivals_daily(landing(*nightly(9)), looked(None), fleet_days(*[{}] * 9), late_after_hours=1.0)
    assert made["is_late"].to_list() == [None] * 9


def test_late_is_what_comes_later_than_usual_and_only_once_it_is_known_what_is_usual():
    came = [*nightly(7), (7, 7 * 24 + 7.9, 7 * 24 + 7.9), (8, 8 * 24 + 8.1, 8 * 24 + 8.1)]
    made = arrivals(came, [{}] * 9)
    assert made["usual_delay_hours"].to_list() == [None] * 7 + [2.0] * 2
    assert made["is_late"].to_list() == [None] * 7 + [False, True]


def test_days_that_come_a_month_at_a_time_are_not_late():
    came = [(day, 24 * 60, 24 * 60) for day in range(30, 60)] + [(day, 24 * 30, 24 * 30) for day in range(30)]
    assert not arrivals(came, [{}] * 60)["is_late"].any()


def test_a_limit_that_was_set_counts_from_the_first_day_on():
    assert arrivals(nightly(2), [{}, {}], late_after_hours=1.0)["is_late"].to_list() == [True, True]
    with pytest.raises(ValueError, match="negative"):
        arrivals(nightly(1), [{}], late_after_hours=-1.0)


def test_a_day_is_missing_partial_or_complete_or_not_made_yet():
    days = [{}, {"coverage_fraction": 0.9}, {"rows_received": 0, "coverage_fraction": 0.0}, {"coverage_fraction": None}]
    assert arrivals(nightly(2), days)["status"].to_list() == ["complete", "partial", "missing", None]


def test_lateness_names_late_days_with_what_is_usual():
    late = 8 * 24 + 40.0
    made = arrivals([*nightly(8), (8, late, late)], [{}] * 9)
    verdict = lateness(made, today=DAY + timedelta(days=20))
    assert not verdict.passed
    assert not verdict.is_error
    named = DAY + timedelta(days=8)
    assert verdict.summary == f"1 of the newest 9 days came late: {named} (40 h after its end, usually 2 h)"
    assert lateness(made, today=named).summary == (
        "none of the newest 8 days came late; of 7 nobody knows when they came, or what is usual"
    )
