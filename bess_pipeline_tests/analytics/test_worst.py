"""Which batteries are named first: rows made by hand."""

from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest

from bess_pipeline.analytics.worst import RANKINGS, worst
from bess_pipeline.tables import catalog
from bess_pipeline_tests.analytics.made_quality import DAY, battery_days

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def rows(table, *given):
    schema = table.contract.create_empty().schema
    return pl.DataFrame([dict.fromkeys(schema) | {"fleet_id": "f"} | row for row in given], schema=schema)


def named(table, *given):
    return worst(table, rows(table, *given))["battery_id"].to_list()


@pytest.mark.parametrize("name", list(RANKINGS))
def test_nothing_is_named_where_there_is_nothing(name):
    table = catalog.TABLES[name]
    assert worst(table, table.contract.create_empty()).is_empty()


def test_the_newest_day_counts_and_what_is_unknown_comes_last():
    first, second = date(2026, 3, 1), date(2026, 3, 2)
    assert named(
        catalog.STATE_OF_HEALTH,
        {"battery_id": "a", "date": first, "soh_percent": 70.0},
        {"battery_id": "a", "date": second, "soh_percent": 95.0},
        {"battery_id": "b", "date": second, "soh_percent": 90.0},
        {"battery_id": "c", "date": second},
    ) == ["b", "a", "c"]


def test_open_and_critical_events_come_first_and_faults_of_data_are_no_batterys():
    event = {"detected_at": NOON, "family": "cell", "severity": "warning"}
    assert named(
        catalog.ANOMALY_EVENTS,
        event | {"battery_id": "over", "event_id": "1", "severity": "critical", "ended_at": NOON},
        event | {"battery_id": "open", "event_id": "2"},
        event | {"battery_id": "worse", "event_id": "3", "severity": "critical"},
        event | {"battery_id": "data", "event_id": "4", "family": "data"},
        event | {"battery_id": "harmless", "event_id": "5", "severity": "info"},
    ) == ["worse", "open", "over"]


def test_only_batteries_that_are_unwell_are_named():
    assert named(
        catalog.BATTERY_LATEST,
        {"battery_id": "a", "health_status": "good", "open_events": 0},
        {"battery_id": "b", "health_status": "watch", "open_events": 1},
        {"battery_id": "c", "health_status": "critical", "open_events": 1},
    ) == ["c", "b"]


def test_the_worst_day_of_each_battery_in_the_last_week_is_told_in_words():
    quality = battery_days(
        ("a", 0, {"coverage_fraction": 0.0}),
        ("a", 20, {"coverage_fraction": 0.8}),
        ("a", 21, {"coverage_fraction": 0.4}),
        ("b", 21, {"excluded_fraction": 0.1}),
    )
    assert worst(catalog.BATTERY_DATA_QUALITY_DAILY, quality).rows() == [
        ("a", DAY + timedelta(days=21), "60 % of the day without data"),
        ("b", DAY + timedelta(days=21), "10 % of its current voided by flags"),
    ]
