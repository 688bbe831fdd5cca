"""The fleet's day, and how each battery stands."""

from datetime import date, timedelta

import polars as pl
import pytest

from bess_pipeline.analytics.energy import last_known
from bess_pipeline.analytics.fleet import battery_latest, fleet_daily
from bess_pipeline.tables.anomalies import AnomalyEvent
from bess_pipeline.tables.degradation import Degradation
from bess_pipeline.tables.energy import BatteryDaily
from bess_pipeline.tables.health import StateOfHealth
from bess_pipeline.tables.telemetry import Telemetry5min
from bess_pipeline_tests.analytics import made_cells

DAY = date(2026, 1, 1)
PLATES = made_cells.batteries("a", "b").with_columns(rated_energy_wh=pl.Series([10_000.0, 30_000.0]))


def frame(contract, rows):
    schema = contract.create_empty().schema
    return pl.DataFrame([dict.fromkeys(schema) | {"fleet_id": "f"} | row for row in rows], schema=schema)


def day(battery, when=DAY, **values):
    return {"battery_id": battery, "date": when, "coverage_fraction": 1.0} | values


def soh(battery, percents):
    return frame(
        StateOfHealth,
        [
            {
                "battery_id": battery,
                "date": DAY + timedelta(days=number),
                "soh_percent": percent,
                "observability": "full",
                "observations": 1,
                "method": "anchors",
            }
            for number, percent in enumerate(percents)
        ],
    )


def event(severity, *, ended=False):
    return {
        "event_id": severity,
        "battery_id": "a",
        "family": "cell",
        "kind": "weak cell",
        "detector": "cusum",
        "severity": severity,
        "started_at": made_cells.START,
        "ended_at": made_cells.START if ended else None,
        "detected_at": made_cells.START,
        "detected_on": DAY,
        "score": 1.0,
        "evidence": "{}",
    }


def sample(minutes, **values):
    return {
        "battery_id": "a",
        "timestamp": made_cells.START + timedelta(minutes=minutes),
        "date": (made_cells.START + timedelta(minutes=minutes)).date(),
        "coverage_fraction": 1.0,
    } | values


def latest(*, samples=None, days=(), known=None, lost=(), events=()):
    (row,) = battery_latest(
        last_known(frame(Telemetry5min, samples or [sample(0)])),
        frame(BatteryDaily, list(days)),
        soh("a", known or []),
        frame(Degradation, list(lost)),
        frame(AnomalyEvent, list(events)),
        PLATES,
    ).to_dicts()
    return row


def test_energies_add_up_and_cycles_are_weighted_by_rated_energy():
    """Hand-computed: (1·10 + 0.2·30) / 40 = 0.4 cycles; 16 of 20 kWh are 80 %."""
    daily = frame(
        BatteryDaily,
        [
            day(
                "a",
                charging_energy_wh=12_000.0,
                discharging_energy_wh=9_000.0,
                equivalent_full_cycles=1.0,
                round_trip_efficiency_percent=75.0,
            ),
            day(
                "b",
                charging_energy_wh=8_000.0,
                discharging_energy_wh=7_000.0,
                equivalent_full_cycles=0.2,
                round_trip_efficiency_percent=87.5,
                coverage_fraction=0.5,
            ),
        ],
    )
    (row,) = fleet_daily(daily, PLATES).to_dicts()
    assert row["charging_energy_wh"] == 20_000
    assert row["equivalent_full_cycles"] == pytest.approx(0.4)
    assert row["round_trip_efficiency_percent"] == pytest.approx(80)
    assert row["coverage_fraction"] == pytest.approx(0.75)
    assert row["batteries"] == 2


def test_a_battery_without_an_efficiency_does_not_spoil_that_of_the_fleet_and_unknown_stays_unknown():
    daily = frame(
        BatteryDaily,
        [
            day("a", charging_energy_wh=10.0, discharging_energy_wh=9.0, round_trip_efficiency_percent=90.0),
            day("b", charging_energy_wh=100.0, discharging_energy_wh=0.0),
        ],
    )
    (row,) = fleet_daily(daily, PLATES).to_dicts()
    assert row["round_trip_efficiency_percent"] == pytest.approx(90)
    assert row["charging_capacity_ah"] is None
    assert row["equivalent_full_cycles"] is None


@pytest.mark.parametrize(
    ("known", "events", "status"),
    [
        ([], [], "unknown"),
        ([95.0], [], "good"),
        ([79.0], [], "warning"),
        ([69.0], [], "critical"),
        ([95.0], [event("info")], "watch"),
        ([], [event("info")], "watch"),
        ([95.0], [event("warning")], "warning"),
        ([95.0], [event("info"), event("critical")], "critical"),
        ([79.0], [event("info")], "warning"),
        ([95.0], [event("critical", ended=True)], "good"),
    ],
)
def test_the_status_is_the_worst_of_health_and_open_events(known, events, status):
    row = latest(known=known, events=events)
    assert row["health_status"] == status
    assert row["open_events"] == sum(one["ended_at"] is None for one in events)


def test_values_are_the_last_known_of_the_last_day():
    row = latest(
        samples=[sample(0, temperature_celsius=10.0), sample(2000, voltage_volt=370.0), sample(2005, soc_percent=101.0)]
    )
    assert row["timestamp"] == made_cells.START + timedelta(minutes=2010)
    assert row["voltage_volt"] == 370
    assert row["soc_percent"] == 101
    assert row["temperature_celsius"] is None


def test_cycles_begin_where_the_register_says():
    days = [day("a", DAY + timedelta(days=number), equivalent_full_cycles=1.5) for number in range(2)]
    assert latest(days=days)["equivalent_full_cycles"] == pytest.approx(13)


def test_the_degradation_is_the_newest_that_was_said():
    lost = [
        {"battery_id": "a", "as_of": DAY + timedelta(days=30 * number), "degradation_percent_per_year": 3.0 - number,
         "end_of_life_percent": 80.0, "days_known": 100, "method": "regression"}
        for number in range(2)
    ]  # fmt: skip
    assert latest(lost=lost[::-1])["degradation_percent_per_year"] == 2
    assert latest()["degradation_percent_per_year"] is None
