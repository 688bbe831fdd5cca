"""The numbers of a battery's day."""

from datetime import UTC, date, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from bess_pipeline.analytics import charge, energy
from bess_pipeline.analytics.battery_states import estimates
from bess_pipeline.analytics.efficiency import WINDOW
from bess_pipeline.tables.energy import EnergyEvidence
from bess_pipeline.tables.health import CurrentOffset, StateOfHealth
from bess_pipeline_tests.analytics import made_cells

PLATES = made_cells.batteries("b")


def daily(rows, evidence=None):
    evidence = made_cells.evidence(rows) if evidence is None else evidence
    found = estimates(rows, PLATES, made_cells.curves(PLATES))
    telemetry = charge.telemetry_5min(rows, found.charge, PLATES)
    unknown = (CurrentOffset.create_empty(), StateOfHealth.create_empty())
    sums = energy.energy_evidence(telemetry, evidence, rows, *unknown, PLATES, made_cells.curves(PLATES))
    return energy.battery_daily(sums, PLATES)


@settings(max_examples=10, deadline=None)
@given(st.lists(st.floats(-0.5, 0.5), min_size=10, max_size=600))
def test_the_days_add_up_to_the_whole(rates):
    rows = made_cells.intervals(np.array(rates), first_soc=50)
    found = daily(rows)
    for name in ("charging_energy_wh", "discharging_energy_wh", "charging_capacity_ah", "discharging_capacity_ah"):
        assert found[name].sum() == pytest.approx(rows[name].sum())
    assert found["coverage_fraction"].sum() == pytest.approx(len(rates) / 288)


def test_cycles_and_efficiency_of_a_day():
    """Hand-computed: 36 000 Wh rated, 18 000 in and 14 400 out are 0.45 cycles at 80 %."""
    rows = made_cells.intervals(np.zeros(288), first_soc=50).with_columns(
        charging_energy_wh=pl.lit(18_000 / 288), discharging_energy_wh=pl.lit(14_400 / 288)
    )
    (day,) = daily(rows).to_dicts()
    assert day["equivalent_full_cycles"] == pytest.approx(0.45)
    assert day["equivalent_full_cycles_charge"] == 0
    assert day["round_trip_efficiency_percent"] == pytest.approx(80)
    assert day["efficiency_boundary"] == "DC"
    assert day["round_trip_efficiency_30d_percent"] is None


def test_cycles_by_charge():
    """Hand-computed: 60 Ah in and 40 Ah out of 100 Ah rated are half a cycle."""
    rows = made_cells.intervals(np.zeros(288), first_soc=50).with_columns(
        charging_capacity_ah=pl.lit(60 / 288), discharging_capacity_ah=pl.lit(40 / 288)
    )
    assert daily(rows)["equivalent_full_cycles_charge"].item() == pytest.approx(0.5)


def test_energies_of_meters_are_summed_where_there_are_any():
    rows = made_cells.intervals(np.zeros(288), first_soc=50).with_columns(
        charging_energy_ac_wh=pl.lit(20.0), auxiliary_energy_wh=pl.lit(0.5)
    )
    (day,) = daily(rows).to_dicts()
    assert day["charging_energy_ac_wh"] == pytest.approx(20 * 288)
    assert day["auxiliary_energy_wh"] == pytest.approx(144)
    assert day["discharging_energy_ac_wh"] is None


def test_a_day_with_little_use_has_no_efficiency():
    rows = made_cells.intervals(np.zeros(288), first_soc=50).with_columns(
        charging_energy_wh=pl.lit(18_000 / 288), discharging_energy_wh=pl.lit(3_500 / 288)
    )
    assert daily(rows)["round_trip_efficiency_percent"].to_list() == [None]


def test_efficiency_may_exceed_100_percent_in_a_day():
    rows = made_cells.intervals(np.zeros(288), first_soc=50).with_columns(
        charging_energy_wh=pl.lit(10_000 / 288), discharging_energy_wh=pl.lit(20_000 / 288)
    )
    assert daily(rows)["round_trip_efficiency_percent"].item() == pytest.approx(200)


def test_unknown_is_null_and_not_zero():
    unknown = ("charging_energy_wh", "discharging_energy_wh", "temperature_celsius")
    rows = made_cells.intervals(np.zeros(288), first_soc=50).with_columns(
        pl.lit(None, pl.Float64).alias(name) for name in unknown
    )
    (day,) = daily(rows).to_dicts()
    for name in ("charging_energy_wh", "equivalent_full_cycles", "temperature_mean_celsius", "temperature_max_celsius"):
        assert day[name] is None


def test_temperature_is_weighted_by_the_time_it_was_seen():
    """Hand-computed: 20 °C for 300 s and 50 °C for 100 s are 27.5 °C."""
    rows = made_cells.intervals(np.zeros(2), first_soc=50).with_columns(
        temperature_celsius=pl.Series([20.0, 50.0]), temperature_observed_us=pl.Series([300_000_000, 100_000_000])
    )
    (day,) = daily(rows).to_dicts()
    assert day["temperature_mean_celsius"] == pytest.approx(27.5)
    assert day["temperature_max_celsius"] == 50


@settings(max_examples=5, deadline=None)
@given(st.integers(0, 1000))
def test_the_order_of_rows_does_not_matter(seed):
    rows = made_cells.intervals(made_cells.cycling(8, low=20, high=80), first_soc=20)
    evidence = made_cells.evidence(rows)
    shuffled = daily(
        rows.sample(fraction=1, shuffle=True, seed=seed), evidence.sample(fraction=1, shuffle=True, seed=1)
    )
    assert_frame_equal(shuffled, daily(rows, evidence), check_exact=True)


def test_daily_numbers_rest_on_thirty_days_to_the_last_digit():
    """Sums of a window that slides would rest on where it began."""
    rng = np.random.default_rng(9)
    first, count = date(2025, 1, 1), 200
    names = [name for name, kind in EnergyEvidence.create_empty().schema.items() if kind == pl.Float64]
    rows = []
    for name in ("b1", "b2"):
        for number in range(count):
            day = first + timedelta(days=number)
            if rng.random() < 0.02:
                continue
            noon = datetime(day.year, day.month, day.day, tzinfo=UTC)
            row = {column: None if rng.random() < 0.1 else 1e4 * rng.uniform(0.1, 1) for column in names}
            row |= {"fleet_id": "f", "battery_id": name, "date": day, "begins": noon, "trips": int(rng.integers(0, 3))}
            row |= {
                "into": 2e4 * rng.uniform(0.8, 1),
                "out": 1.6e4 * rng.uniform(0.9, 1),
                "stored_wh": rng.normal(0, 99),
            }
            row |= {"charged": 50 * rng.uniform(0.9, 1), "discharged": 50 * rng.uniform(0.9, 1), "stored_ah": 0.1}
            rows.append(row | {"ends": noon + timedelta(hours=24), "observed_us": 86_400_000_000})
    schema = EnergyEvidence.create_empty().schema
    evidence = pl.DataFrame(rows, schema_overrides={k: v for k, v in schema.items() if k in rows[0]})
    evidence = evidence.with_columns(
        pl.lit(None, kind).alias(name) for name, kind in schema.items() if name not in evidence.columns
    ).with_columns(coverage_fraction=pl.lit(1.0)).select(schema.names())  # fmt: skip
    plates = pl.concat([made_cells.batteries("b1"), made_cells.batteries("b2", chemistry="LFP")])
    whole = energy.battery_daily(evidence, plates)
    assert whole["round_trip_efficiency_30d_percent"].count() > 50
    assert whole["round_trip_efficiency_trips_percent"].count() > 50
    for since in (40, 111, 199):
        day = first + timedelta(days=since)
        part = energy.battery_daily(evidence.filter(pl.col("date") > day - WINDOW), plates)
        assert part.filter(pl.col("date") >= day).equals(whole.filter(pl.col("date") >= day)), day
