"""Efficiency over windows: batteries whose losses are known from their rows, and fleets whose truth is known."""

from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from bess_pipeline.analytics import efficiency, energy, offsets
from bess_pipeline.sources.simulate import Plan, simulate
from bess_pipeline.sources.simulate.truth import truth_tables
from bess_pipeline.tables.energy import BatteryDaily
from bess_pipeline.tables.health import CurrentOffset, StateOfHealth
from bess_pipeline_tests.analytics import made_cells
from bess_pipeline_tests.fleet_tables import simulated_tables

RATES = made_cells.cycling(12, low=20, high=80)
# It ends while the battery is full: much more went in than came out.
RATES = RATES[: int(np.flatnonzero(made_cells.soc_of(RATES, first_soc=20)[:-1] > 79.9)[-1])]


def found(rows, telemetry, *, chemistry="NMC", plates=None):
    plates = made_cells.batteries("b", chemistry=chemistry) if plates is None else plates
    unknown = (CurrentOffset.create_empty(), StateOfHealth.create_empty())
    curves = made_cells.curves(plates)
    evidence = energy.energy_evidence(telemetry, made_cells.evidence(rows), rows, *unknown, plates, curves)
    return energy.battery_daily(evidence, plates)


def made(*, rates=RATES, first_soc=20, **columns):
    rows = made_cells.intervals(rates, first_soc=first_soc, **columns)
    return rows, made_cells.soc_of(rates, first_soc=first_soc)[:-1]


def known(rates=RATES):
    """The efficiency of a battery that loses in its resistance alone [%]: what goes in is what comes out, and that."""
    rows, _ = made(rates=rates)
    loss = (rows["current_ampere"] ** 2).sum() * made_cells.OHM / 12
    soc = np.clip(made_cells.soc_of(rates, first_soc=20), 0, 100)
    grid = np.linspace(soc[0], soc[-1], 2001)
    volt = made_cells.CELLS * made_cells.ocv(grid)
    stored = made_cells.RATED_AH * np.sum((volt[1:] + volt[:-1]) / 2 * np.diff(grid)) / 100
    spent = rows["charging_energy_wh"].sum() - stored
    return 100 * (spent - loss) / spent


def last(*of, **how):
    return found(*of, **how).row(-1, named=True)


def test_what_is_still_in_the_battery_is_no_loss():
    rows, soc = made()
    day = last(rows, made_cells.telemetry(rows, soc))
    plain = 100 * rows["discharging_energy_wh"].sum() / rows["charging_energy_wh"].sum()
    assert day["round_trip_efficiency_30d_percent"] == pytest.approx(known(), abs=0.05)
    assert day["round_trip_efficiency_30d_lower_percent"] < known() < day["round_trip_efficiency_30d_upper_percent"]
    assert abs(plain - known()) > 2.5


@pytest.mark.parametrize("ampere", [-0.15, 0.15])
def test_the_offset_of_the_sensor_is_no_loss_and_no_gain(ampere):
    """An offset of 0.0015 C: energy out over energy in is wrong by a point or more."""
    rows, soc = made(offset_ampere=ampere)
    day = last(rows, made_cells.telemetry(rows, soc))
    assert day["round_trip_efficiency_30d_percent"] == pytest.approx(known(), abs=0.1)


@settings(max_examples=10, deadline=None)
@given(st.floats(-8, 8), st.floats(-8, 8))
def test_a_state_of_charge_that_drifts_hardly_matters(first, final):
    """What closes is the charge: 8 points at either end enter with the difference of two voltages alone."""
    rows, soc = made()
    day = last(rows, made_cells.telemetry(rows, soc + np.linspace(first, final, len(soc))))
    assert day["round_trip_efficiency_30d_percent"] == pytest.approx(known(), abs=0.35)


def test_lead_acid_loses_charge_too():
    rates = made_cells.cycling(12, low=20, high=80)
    rates = rates[: int(np.flatnonzero(made_cells.soc_of(rates, first_soc=20)[:-1] < 20.1)[-1])]
    rows, soc = made(rates=rates)
    rows = rows.with_columns(pl.col("discharging_energy_wh", "discharging_capacity_ah") * 0.85)
    lead = last(rows, made_cells.telemetry(rows, soc), chemistry="lead_acid")
    summed = 100 * rows["discharging_energy_wh"].sum() / rows["charging_energy_wh"].sum()
    assert lead["round_trip_efficiency_30d_percent"] == pytest.approx(summed, abs=0.5)
    assert lead["coulombic_efficiency_30d_percent"] == pytest.approx(85, abs=0.5)


def test_a_gap_takes_energy_and_charge_with_it():
    rows, soc = made()
    part = pl.Series(range(len(soc))).is_between(1000, 1100)
    holes = rows.filter(~part)
    day = last(holes, made_cells.telemetry(holes, soc[~part.to_numpy()]))
    assert day["round_trip_efficiency_30d_percent"] == pytest.approx(known(), abs=0.15)
    assert holes["charging_energy_wh"].sum() < 0.97 * rows["charging_energy_wh"].sum()


def test_power_and_reported_charge_alone_are_enough():
    unknown = ("voltage_volt", "current_ampere", "charging_capacity_ah", "discharging_capacity_ah")
    rows, soc = made()
    rows = rows.with_columns(
        *(pl.lit(None, pl.Float64).alias(name) for name in unknown), soc_bms_percent=pl.Series(soc)
    )
    day = last(rows, made_cells.telemetry(rows, [None] * len(soc)))
    assert day["round_trip_efficiency_30d_percent"] == pytest.approx(known(), abs=0.1)
    assert day["coulombic_efficiency_30d_percent"] is None


def test_without_any_charge_it_is_plain_and_its_interval_wide():
    rows, soc = made()
    day = last(rows, made_cells.telemetry(rows, [None] * len(soc)))
    plain = 100 * rows["discharging_energy_wh"].sum() / rows["charging_energy_wh"].sum()
    assert day["round_trip_efficiency_30d_percent"] == pytest.approx(plain)
    assert day["round_trip_efficiency_30d_lower_percent"] < known() < day["round_trip_efficiency_30d_upper_percent"]


def test_little_use_and_little_coverage_tell_nothing():
    short, soc = made(rates=RATES[: 288 * 2])
    assert last(short, made_cells.telemetry(short, soc))["round_trip_efficiency_30d_percent"] is None
    rows, soc = made()
    part = pl.Series(range(len(soc))).is_between(1000, 1400)
    holes = rows.filter(~part)
    assert last(holes, made_cells.telemetry(holes, soc[~part.to_numpy()]))["round_trip_efficiency_30d_percent"] is None


def test_trips_tell_the_efficiency_of_the_way_down_and_back():
    rows, soc = made(offset_ampere=0.15)
    day = last(rows, made_cells.telemetry(rows, soc))
    assert day["trips"] > 10
    assert day["round_trip_efficiency_trips_percent"] == pytest.approx(known(), abs=0.1)


def test_the_other_side_of_the_converter():
    """A converter of 97.5 % each way, and auxiliaries of 100 W: the energies that it takes are computed by hand."""
    rows, soc = made(rates=made_cells.cycling(12, low=20, high=80))
    rows = rows.with_columns(
        charging_energy_ac_wh=pl.col("charging_energy_wh") / 0.975,
        discharging_energy_ac_wh=pl.col("discharging_energy_wh") * 0.975,
        auxiliary_energy_wh=pl.lit(100 / 12),
        auxiliary_energy_returned_wh=pl.lit(0.0),
    )
    day = last(rows, made_cells.telemetry(rows, soc))
    ratio = day["round_trip_efficiency_30d_percent"] / 100
    assert day["round_trip_efficiency_ac_30d_percent"] == pytest.approx(100 * ratio * 0.975**2, abs=0.05)
    out = rows["discharging_energy_ac_wh"].sum()
    spent = out / (day["round_trip_efficiency_ac_30d_percent"] / 100) + 100 * rows.height / 12
    assert day["round_trip_efficiency_ac_auxiliary_30d_percent"] == pytest.approx(100 * out / spent, abs=0.01)
    without = rows.with_columns(auxiliary_power_observed_us=pl.lit(0))
    assert last(without, made_cells.telemetry(rows, soc))["round_trip_efficiency_ac_auxiliary_30d_percent"] is None


def test_coulombic_efficiency_does_not_know_more_than_its_sensor():
    for ampere in (-0.1, 0.0, 0.1):
        rows, soc = made(offset_ampere=ampere)
        day = last(rows, made_cells.telemetry(rows, soc))
        assert day["coulombic_efficiency_30d_lower_percent"] < 100 < day["coulombic_efficiency_30d_upper_percent"]


@settings(max_examples=10, deadline=None)
@given(st.sampled_from([0.01, 0.5, 3.0, 1000.0]))
def test_a_battery_of_another_size_at_the_same_rates_has_the_same_efficiency(size):
    rows, soc = made()
    amounts = (pl.selectors.ends_with("_ah", "_wh", "_ampere", "_watt")).exclude("step_count")
    larger = rows.with_columns(amounts * size)
    plates = made_cells.batteries("b")
    sized = plates.with_columns(pl.col("rated_capacity_ah", "rated_energy_wh") * size)
    names = [name for name in efficiency.COLUMNS if not name.endswith("trips")]
    assert_frame_equal(
        found(larger, made_cells.telemetry(larger, soc), plates=sized).select(names),
        found(rows, made_cells.telemetry(rows, soc)).select(names),
    )


@settings(max_examples=5, deadline=None)
@given(st.integers(0, 1000))
def test_the_order_of_rows_does_not_matter(seed):
    rows, soc = made()
    telemetry = made_cells.telemetry(rows, soc)
    shuffled = found(*(frame.sample(fraction=1, shuffle=True, seed=seed) for frame in (rows, telemetry)))
    assert_frame_equal(shuffled, found(rows, telemetry), check_exact=True)


def test_later_days_change_no_earlier_one():
    rows, soc = made()
    telemetry = made_cells.telemetry(rows, soc)
    until = rows["date"].max() - timedelta(days=3)
    early = found(rows.filter(pl.col("date") <= until), telemetry.filter(pl.col("date") <= until))
    names = ["date", *efficiency.COLUMNS]
    # The last row of a day counts once the next is there.
    whole = found(rows, telemetry).filter(pl.col("date") < until).select(names)
    assert_frame_equal(early.filter(pl.col("date") < until).select(names), whole, check_exact=True)


def test_nothing_in_gives_nothing_out():
    rows, soc = made()
    assert found(rows[:0], made_cells.telemetry(rows, soc)[:0]).is_empty()


@pytest.mark.parametrize(("chemistry", "profile", "seed"), [("LFP", "arbitrage", 341), ("NMC", "frequency", 342)])
def test_the_efficiency_of_a_fleet_is_near_the_truth(chemistry, profile, seed):
    """Three batteries over 40 days of 5-minute means with data faults; the truth stores what the true cells store."""
    plan = Plan(
        "known", batteries=3, days=40, seed=seed, interval_seconds=300, chemistry=chemistry, profile=profile,
        faults=(), data_fault_rates={"clock": 0.0},
    )  # fmt: skip
    simulated = simulate(plan)
    tables = simulated_tables(simulated, wanted=["battery_daily"])
    BatteryDaily.validate(tables["battery_daily"])
    cells, grid = simulated.cells, np.linspace(0, 1, 1001)
    held = cells.in_series * np.concatenate([[0], np.cumsum((cells.ocv(grid)[1:] + cells.ocv(grid)[:-1]) / 2000)])
    truth = truth_tables(simulated)
    for number in range(plan.batteries):
        name = plan.battery_id(number)
        days = truth["daily"].filter(rack_id=name)[10:]
        soc = truth["soc_5min"].filter(rack_id=name)["soc_true"].to_numpy()[[10 * 288 - 1, -1]]
        stored = np.diff(np.interp(soc, grid, held)).item() * days["q_mean"].to_numpy()[-1] * cells.capacity_ah
        true = 100 * days["wh_dis"].sum() / (days["wh_chg"].sum() - stored)
        own = tables["battery_daily"].filter(battery_id=name).row(-1, named=True)
        assert own["round_trip_efficiency_30d_percent"] == pytest.approx(true, abs=0.2), name
        assert own["round_trip_efficiency_30d_lower_percent"] < true < own["round_trip_efficiency_30d_upper_percent"]
        assert own["coulombic_efficiency_30d_lower_percent"] < 99.98 < own["coulombic_efficiency_30d_upper_percent"]


def test_offsets_that_become_known_leave_the_efficiency_where_it_was():
    """From the middle on the offset is taken off, so that it is not the same over the window."""
    rows, soc = made(offset_ampere=0.15)
    half = rows["date"].min() + timedelta(days=5)
    told = rows.filter(pl.col("date") >= half).select("fleet_id", "battery_id", "date").unique()
    told = told.with_columns(offset_ampere=0.15, offset_sigma_ampere=0.01, method=pl.lit("state filter"))
    counted = offsets.without_offset(rows, told, made_cells.batteries("b"))
    assert last(counted, made_cells.telemetry(rows, soc))["round_trip_efficiency_30d_percent"] == pytest.approx(
        known(), abs=0.1
    )
