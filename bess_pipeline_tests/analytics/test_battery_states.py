"""Estimates of whole fleets: against known truth, and under changes that must not matter."""

from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from bess_pipeline.analytics.battery_states import estimates
from bess_pipeline.sources.simulate import Plan, simulate
from bess_pipeline.sources.simulate.truth import truth_tables
from bess_pipeline.tables.health import BatteryState, ChargeEstimate
from bess_pipeline_tests.analytics import made_cells
from bess_pipeline_tests.fleet_tables import simulated_tables

KINDS = {"LFP": ("arbitrage", 331), "NMC": ("frequency", 332)}


@pytest.fixture(scope="module", params=KINDS)
def fleet(request):
    """Three batteries over fifty days of 5-minute means, data faults included, and their truth."""
    profile, seed = KINDS[request.param]
    plan = Plan(
        "known", batteries=3, days=50, seed=seed, interval_seconds=300, chemistry=request.param,
        profile=profile, faults=(), data_fault_rates={"clock": 0.0},
    )  # fmt: skip
    simulated = simulate(plan)
    tables = simulated_tables(simulated, wanted=["closed_intervals", "batteries", "ocv_curves"])
    return tables["closed_intervals"], tables["batteries"], tables["ocv_curves"], simulated


def of(fleet):
    return estimates(*fleet[:3])


def test_charge_capacity_and_offset_are_near_the_truth(fleet):
    """Reach of the accuracy table, which is judged on many fleets: 2 points of charge, 2 of capacity, 0.0003 C."""
    found, simulated = of(fleet), fleet[3]
    truth = truth_tables(simulated)
    ends = pl.col("ts").dt.truncate("5m").dt.offset_by("5m").dt.replace_time_zone("UTC")
    soc = truth["soc_5min"].select(battery_id="rack_id", timestamp=ends, true=100 * pl.col("soc_true"))
    beside = found.charge.join(soc, on=["battery_id", "timestamp"]).drop_nulls()
    assert beside.height > 0.95 * found.charge.height
    assert beside.select((pl.col("soc_percent") - pl.col("true")).pow(2).mean().sqrt()).item() < 2
    last = found.states.group_by("battery_id", maintain_order=True).last()
    rated = simulated.cells.capacity_ah
    true = truth["daily"].group_by("rack_id", maintain_order=True).last()["q_mean"].to_numpy() * rated
    assert np.abs(last["capacity_ah"].to_numpy() / true - 1).max() < 0.025
    assert np.abs(last["offset_ampere"].to_numpy() - simulated.sensors.offset).max() < 3e-4 * rated


def test_rows_are_those_of_the_contracts(fleet):
    found = of(fleet)
    ChargeEstimate.validate(found.charge)
    BatteryState.validate(found.states)
    assert found.charge.height == fleet[0].height


def test_a_day_knows_nothing_of_later_days_and_charge_is_final_after_two_weeks(fleet):
    rows, batteries, curves, _ = fleet
    whole = of(fleet)
    end = rows["date"].min() + timedelta(days=31)
    part = estimates(rows.filter(pl.col("date") < end), batteries, curves)
    assert_frame_equal(part.states, whole.states.filter(pl.col("date") < end), check_exact=True)
    final = pl.col("date") < end - timedelta(days=14)
    assert_frame_equal(part.charge.filter(final), whole.charge.filter(final), check_exact=True)


def test_the_order_of_rows_and_the_company_of_batteries_do_not_matter(fleet):
    rows, batteries, curves, _ = fleet
    whole = of(fleet)
    shuffled = estimates(rows.sample(fraction=1, shuffle=True, seed=3), batteries, curves)
    assert_frame_equal(shuffled.states, whole.states, check_exact=True)
    one = batteries["battery_id"][1]
    alone = estimates(*(frame.filter(battery_id=one) for frame in (rows, batteries, curves)))
    assert_frame_equal(alone.charge, whole.charge.filter(battery_id=one), check_exact=True)


def test_capacity_and_current_scaled_together_change_nothing(fleet):
    rows, batteries, curves, _ = fleet
    whole, factor = of(fleet), 4.0
    scaled = [name for name in rows.columns if name.endswith(("_ampere", "_ah", "_watt", "_wh"))]
    plates = batteries.with_columns(
        pl.col("rated_capacity_ah", "rated_energy_wh") * factor, pl.col("resistance_ohm") / factor
    )
    found = estimates(rows.with_columns(pl.col(scaled) * factor), plates, curves)
    assert_frame_equal(found.charge, whole.charge, rel_tol=1e-9, abs_tol=1e-9)
    assert (found.states["capacity_ah"] / factor).to_numpy() == pytest.approx(whole.states["capacity_ah"].to_numpy())


@pytest.mark.parametrize("sensor", ["temperature_celsius", "soc_bms_percent"])
def test_without_a_sensor_estimates_stay_within_two_standard_errors(fleet, sensor):
    rows, batteries, curves, _ = fleet
    whole = of(fleet)
    without = estimates(rows.with_columns(pl.lit(None, pl.Float64).alias(sensor)), batteries, curves)
    off = (without.states["capacity_ah"] - whole.states["capacity_ah"]).abs()
    assert (
        off <= 2 * (whole.states["capacity_sigma_ah"].pow(2) + without.states["capacity_sigma_ah"].pow(2)).sqrt()
    ).all()


def test_a_battery_without_voltage_has_no_state():
    names = ("voltage_volt", "cell_voltage_min_volt", "cell_voltage_max_volt")
    plates = made_cells.batteries("b")
    rows = made_cells.intervals(made_cells.cycling(2, low=20, high=80), first_soc=20)
    found = estimates(
        rows.with_columns(pl.lit(None, pl.Float64).alias(name) for name in names), plates, made_cells.curves(plates)
    )
    assert found.states.is_empty()
    assert found.charge["soc_percent"].null_count() == found.charge.height == rows.height
