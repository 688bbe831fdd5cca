"""The numbers of a battery's day."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from bess_pipeline.analytics import charge, energy
from bess_pipeline.analytics.battery_states import estimates
from bess_pipeline_tests.analytics import made_cells

PLATES = made_cells.batteries("b")


def daily(rows, evidence=None):
    evidence = made_cells.evidence(rows) if evidence is None else evidence
    found = estimates(rows, PLATES, made_cells.curves(PLATES))
    telemetry = charge.telemetry_5min(rows, found.charge, PLATES)
    return energy.battery_daily(telemetry, evidence, rows, PLATES)


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
    assert day["round_trip_efficiency_percent"] == pytest.approx(80)
    assert day["efficiency_boundary"] == "DC"
    assert day["round_trip_efficiency_30d_percent"] is None


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


def test_thirty_days_correct_for_what_is_still_in_the_battery():
    """The losses of this battery are those of its resistance alone, known from the rows."""
    rates = made_cells.cycling(12, low=20, high=80)
    # End while full: much more went in than came out.
    cut = int(np.flatnonzero(made_cells.soc_of(rates, first_soc=20)[:-1] > 79.9)[-1])
    rows = made_cells.intervals(rates[:cut], first_soc=20)
    loss = ((rows["current_ampere"] ** 2) * made_cells.OHM / 12).sum()
    truth = 100 * (1 - loss / rows["charging_energy_wh"].sum())
    last = daily(rows).row(-1, named=True)
    plain = 100 * rows["discharging_energy_wh"].sum() / rows["charging_energy_wh"].sum()
    assert last["round_trip_efficiency_30d_percent"] == pytest.approx(truth, abs=1.5)
    assert abs(plain - truth) > 3


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
