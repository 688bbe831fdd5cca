"""Violations of a warranty: each that was planted is found with its duration, and none where there is none."""

from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bess_pipeline.analytics.warranty_events import warranty_events, warranty_pieces
from bess_pipeline.sources.terms import Warranty, assumptions
from bess_pipeline.tables.energy import BatteryDaily
from bess_pipeline.tables.lifecycle import WarrantyDaily
from bess_pipeline.tables.telemetry import Telemetry5min
from bess_pipeline_tests.analytics import made_cells

START = datetime(2026, 1, 1, tzinfo=UTC)
STEP = timedelta(minutes=5)
DAY = 288
TERMS = Warranty.model_validate(
    {
        "starts_on": date(2026, 1, 1),
        "years": 10,
        "soc_percent": {"min": 10, "max": 90},
        "temperature_celsius": {"min": 5, "max": 35},
        "charging_c_rate": 0.5,
        "discharging_c_rate": 0.4,
        "grace_minutes": 10,
    }
)
ORDINARY = {
    "soc_bms_percent": 50.0, "temperature_celsius": 20.0, "temperature_min_celsius": 18.0,
    "temperature_max_celsius": 22.0, "current_ampere": 0.0,
}  # fmt: skip


def telemetry(rows, battery_id="b"):
    """`Telemetry5min` rows, one after the other from START on; null is a row that is missing."""
    told = [
        {"fleet_id": "f", "battery_id": battery_id, "timestamp": START + n * STEP, **ORDINARY, **row}
        for n, row in enumerate(rows)
        if row is not None
    ]
    return made_cells.whole(pl.DataFrame(told).with_columns(date=pl.col("timestamp").dt.date()), Telemetry5min)


NO_DAYS, NO_ENERGY = WarrantyDaily.create_empty(), BatteryDaily.create_empty()


def found(rows, terms=TERMS, *, warranty=NO_DAYS, daily=NO_ENERGY):
    """What is raised for the rows of one battery."""
    agreed, plates = assumptions("f", terms, None), made_cells.batteries("b")
    pieces = warranty_pieces(agreed, telemetry(rows), plates)
    empty = WarrantyDaily.create_empty(), BatteryDaily.create_empty()
    return warranty_events(
        agreed, pieces, empty[0] if warranty is None else warranty, empty[1] if daily is None else daily
    )


PLANTED = {
    "soc_low": ("soc_bms_percent", 4.0, 10.0),
    "soc_high": ("soc_bms_percent", 97.0, 90.0),
    "temperature_low": ("temperature_min_celsius", 1.0, 5.0),
    "temperature_high": ("temperature_max_celsius", 41.0, 35.0),
    "charging_rate": ("current_ampere", 60.0, 0.5),
    "discharging_rate": ("current_ampere", -55.0, 0.4),
}


@pytest.mark.parametrize("term", PLANTED)
def test_a_planted_violation_is_found_with_its_duration_across_midnight(term):
    column, value, limit = PLANTED[term]
    rows = [{} for _ in range(2 * DAY)]
    for n in range(DAY - 20, DAY + 16):
        rows[n] = {column: value}
    (event,) = found(rows).to_dicts()
    expected = abs(value) / made_cells.RATED_AH if term.endswith("rate") else value
    assert (event["term"], event["party"], event["agreed"], event["worst"]) == (term, "operator", limit, expected)
    assert event["started_at"] == START + (DAY - 20) * STEP
    assert event["ended_at"] == START + (DAY + 16) * STEP
    assert event["duration_hours"] == event["seen_hours"] == pytest.approx(3.0)


def test_what_is_just_within_its_limits_raises_nothing():
    coldest_and_warmest = {"temperature_min_celsius": 5.0, "temperature_max_celsius": 35.0}
    at_the_limits = {"soc_bms_percent": 10.0, "current_ampere": 50.0, **coldest_and_warmest}
    assert found([at_the_limits, {"soc_bms_percent": 90.0, "current_ampere": -40.0}] * DAY).is_empty()


def test_what_lasts_no_longer_than_the_grace_raises_nothing():
    short = [{"soc_bms_percent": 2.0}] * 2
    assert found([{}] * 10 + short + [{}] * 10).is_empty()
    assert found([{}] * 10 + [*short, short[0]] + [{}] * 10)["duration_hours"].to_list() == [0.25]


def test_a_gap_in_the_data_is_not_counted_as_a_violation():
    low = [{"soc_bms_percent": 2.0}] * 6
    events = found([*low, *[None] * 6, *low])
    assert events["duration_hours"].to_list() == [0.5, 0.5]


def test_our_own_charge_counts_only_beyond_its_error_where_the_battery_reports_none():
    doubtful = {"soc_bms_percent": None, "soc_percent": 8.0, "soc_lower_percent": 5.0, "soc_upper_percent": 11.0}
    certain = doubtful | {"soc_percent": 6.0, "soc_upper_percent": 9.0}
    assert found([doubtful] * 12).is_empty()
    assert found([certain] * 12)["worst"].to_list() == [9.0]


def test_what_lies_before_or_behind_the_warranty_raises_nothing():
    ended = TERMS.model_copy(update={"starts_on": date(2016, 1, 1)})
    coming = TERMS.model_copy(update={"starts_on": date(2026, 1, 2)})
    rows = [{"soc_bms_percent": 2.0}] * DAY
    assert found(rows, ended).is_empty()
    assert found(rows, coming).is_empty()
    assert found(rows)["duration_hours"].to_list() == [24.0]


def test_nothing_agreed_is_nothing_broken():
    assert found([{"soc_bms_percent": 2.0}] * DAY, Warranty()).is_empty()


RESTED = TERMS.model_copy(update={"rest": Warranty.model_validate({"years": 1, "rest": {"minutes": 60}}).rest})


@pytest.mark.parametrize(
    ("pause_rows", "hours"),
    [(11, [8.0]), (12, [])],
    ids=["55 minutes are no rest of an hour", "60 minutes are"],
)
def test_work_without_a_rest_is_raised_from_the_end_of_the_days_allowed(pause_rows, hours):
    work, pause = {"current_ampere": 20.0}, [{}] * pause_rows
    rows = [*[work] * 150, *pause, *[work] * (384 - 150 - pause_rows)]
    events = found(rows, RESTED)
    assert events["duration_hours"].to_list() == hours
    if hours:
        assert events["started_at"].to_list() == [START + timedelta(days=1)]
        assert events["worst"].to_list() == [32.0]


def test_a_silence_as_long_as_a_rest_counts_as_one():
    work = {"current_ampere": 20.0}
    assert found([*[work] * 200, *[None] * 12, *[work] * 200], RESTED).is_empty()


def test_days_of_certain_breach_are_one_event_of_the_supplier():
    days = [START.date() + timedelta(days=n) for n in range(6)]
    standing = ["within", "breached", "breached", "doubtful", "breached", "within"]
    frame = pl.DataFrame({"fleet_id": "f", "battery_id": "b", "date": days, "standing": standing}).with_columns(
        soh_percent=pl.Series([90.0, 80.0, 79.0, 81.0, 80.5, 90.0]), guaranteed_soh_percent=pl.lit(85.0)
    )
    events = found([{}], warranty=frame)
    assert events.select("term", "party", "duration_hours", "worst", "agreed").rows() == [
        ("capacity", "supplier", 48.0, 79.0, 85.0),
        ("capacity", "supplier", 24.0, 80.5, 85.0),
    ]


def test_efficiency_is_short_where_even_its_upper_end_is():
    terms = TERMS.model_copy(update={"round_trip_efficiency_percent": 90.0})
    days = [START.date() + timedelta(days=n) for n in range(4)]
    frame = pl.DataFrame({"fleet_id": "f", "battery_id": "b", "date": days}).with_columns(
        round_trip_efficiency_30d_percent=pl.Series([89.0, 88.0, 87.5, None]),
        round_trip_efficiency_30d_upper_percent=pl.Series([91.0, 89.5, 89.0, None]),
    )
    (event,) = found([{}], terms, daily=frame).to_dicts()
    assert (event["term"], event["duration_hours"], event["worst"]) == ("efficiency", 48.0, 87.5)


@settings(max_examples=60, deadline=None)
@given(beyond=st.lists(st.booleans(), min_size=1, max_size=700))
def test_events_are_the_stretches_that_were_planted_wherever_midnight_falls(beyond):
    terms = TERMS.model_copy(update={"grace_minutes": 0.0})
    rows = [{"soc_bms_percent": 2.0} if one else {} for one in beyond]
    events = found(rows, terms)
    expected, begun = [], None
    for n, one in enumerate([*beyond, False]):
        if one and begun is None:
            begun = n
        elif not one and begun is not None:
            expected.append((START + begun * STEP, START + n * STEP))
            begun = None
    assert events.select("started_at", "ended_at").rows() == expected


def test_days_made_one_by_one_are_the_days_made_together():
    rows = [{"soc_bms_percent": 2.0, "current_ampere": 60.0} if n % 7 < 4 else {} for n in range(3 * DAY)]
    agreed, plates, whole = assumptions("f", RESTED, None), made_cells.batteries("b"), telemetry(rows)
    together = warranty_pieces(agreed, whole, plates)
    apart = [warranty_pieces(agreed, day, plates) for day in whole.partition_by("date", maintain_order=True)]
    assert pl.concat(apart).equals(together)
