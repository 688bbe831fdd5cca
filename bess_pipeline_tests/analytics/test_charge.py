"""State of charge of every 5 minutes, with its interval."""

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from bess_pipeline.analytics import charge
from bess_pipeline.analytics.battery_states import estimates
from bess_pipeline.tables.telemetry import Telemetry5min
from bess_pipeline_tests.analytics import made_cells

PLATES = made_cells.batteries("b")


def telemetry(rows, plates=PLATES):
    found = estimates(rows, plates, made_cells.curves(plates))
    return Telemetry5min.validate(charge.telemetry_5min(rows, found.charge, plates))


@settings(max_examples=12, deadline=None)
@given(st.floats(95, 105), st.floats(-0.3, 0.3), st.floats(0.995, 1.005))
def test_the_true_charge_lies_within_the_interval_for_any_honest_sensor(capacity, offset, gain):
    rates = made_cells.cycling(10, low=20, high=85)
    rows = made_cells.intervals(rates, first_soc=20, capacity_ah=capacity, offset_ampere=offset, gain=gain)
    found = telemetry(rows)
    truth = made_cells.soc_of(rates, first_soc=20)[:-1]
    inside = (found["soc_lower_percent"].to_numpy() <= truth) & (truth <= found["soc_upper_percent"].to_numpy())
    assert inside.mean() > 0.9
    assert np.abs(found["soc_percent"].to_numpy() - truth)[288:].mean() < 2


def test_the_value_is_that_of_the_start_of_the_interval():
    rates = np.concatenate([np.zeros(12), np.full(24, 0.25), np.zeros(12)])
    found = telemetry(made_cells.intervals(rates, first_soc=30))["soc_percent"].to_numpy()
    assert found == pytest.approx(made_cells.soc_of(rates, first_soc=30)[:-1], abs=1.5)
    assert found[36] - found[12] == pytest.approx(50, abs=1.5)


def test_a_gap_is_bridged_by_the_change_of_the_reported_charge():
    plates = made_cells.batteries("b", chemistry="LFP")
    rates = np.concatenate([np.zeros(12), np.full(168, 0.05)])
    truth = made_cells.soc_of(rates, first_soc=8)[:-1]
    rows = made_cells.intervals(rates, first_soc=8, chemistry="LFP").with_columns(soc_bms_percent=pl.Series(truth + 7))
    with_gap = rows.filter(~pl.int_range(pl.len()).is_between(70, 139))
    bridged = telemetry(with_gap, plates).tail(40)
    blind = telemetry(with_gap.with_columns(soc_bms_percent=pl.lit(None, pl.Float64)), plates).tail(40)
    assert np.abs(bridged["soc_percent"].to_numpy() - truth[140:]).max() < 4
    width = pl.col("soc_upper_percent") - pl.col("soc_lower_percent")
    assert bridged.select(width.max()).item() < blind.select(width.fill_null(100).max()).item() / 2


def test_a_report_that_turns_into_a_fraction_bridges_nothing():
    rates = np.concatenate([np.zeros(12), np.full(48, 0.1), np.full(40, 0.05)])
    half = pl.int_range(pl.len()) < 60
    rows = made_cells.intervals(rates, first_soc=20).with_columns(
        soc_bms_percent=pl.when(half).then(60.0).otherwise(0.6)
    )
    found = telemetry(rows.filter(~pl.int_range(pl.len()).is_between(58, 62)))
    assert found["soc_percent"].to_numpy()[-1] == pytest.approx(made_cells.soc_of(rates, first_soc=20)[-2], abs=3)


def test_without_voltage_there_is_no_charge_and_the_method_says_why():
    names = ("voltage_volt", "voltage_min_volt", "voltage_max_volt", "cell_voltage_min_volt", "cell_voltage_max_volt")
    rows = made_cells.intervals(made_cells.cycling(1, low=20, high=80), first_soc=20).with_columns(
        pl.lit(None, pl.Float64).alias(name) for name in names
    )
    found = telemetry(rows)
    assert found["soc_percent"].null_count() == found.height
    assert set(found["soc_method"]) == {"no voltage"}


def test_on_the_plateau_of_lfp_without_a_report_nothing_is_known():
    plates = made_cells.batteries("b", chemistry="LFP")
    found = telemetry(made_cells.intervals(np.zeros(288), first_soc=50, chemistry="LFP"), plates)
    wide = (found["soc_upper_percent"] - found["soc_lower_percent"]).fill_null(100)
    assert (wide > 30).all()


@settings(max_examples=6, deadline=None)
@given(st.integers(18, 27))
def test_rows_older_than_14_days_are_final(cut):
    rates = made_cells.cycling(28, low=25, high=80, rest_hours=0.25)
    rates[5 * 288 : 5 * 288 + 24] = rates[20 * 288 : 20 * 288 + 24] = rates[27 * 288 : 27 * 288 + 24] = 0
    rows = made_cells.intervals(rates, first_soc=25, offset_ampere=0.2)
    end = date(2026, 1, cut)
    final = pl.col("timestamp") < pl.lit(end).cast(pl.Datetime("us", "UTC")) - timedelta(days=14)
    assert_frame_equal(
        telemetry(rows).filter(final), telemetry(rows.filter(pl.col("date") < end)).filter(final), check_exact=True
    )


@settings(max_examples=5, deadline=None)
@given(st.integers(0, 1000))
def test_neither_the_order_of_rows_nor_other_batteries_change_it(seed):
    plates = made_cells.batteries("a", "b")
    alone = made_cells.intervals(made_cells.cycling(3, low=20, high=80), first_soc=20)
    other = made_cells.intervals(made_cells.cycling(3, low=30, high=90), first_soc=30, capacity_ah=80, battery="a")
    both = pl.concat([other, alone]).sample(fraction=1, shuffle=True, seed=seed)
    found = telemetry(both, plates).filter(pl.col("battery_id") == "b")
    expected = telemetry(alone)
    assert_frame_equal(found, expected, rel_tol=1e-9, abs_tol=1e-9)


def test_a_fleet_without_rows_has_no_charge_to_tell():
    assert telemetry(made_cells.intervals(np.zeros(1), first_soc=50).clear()).height == 0


def test_a_battery_that_only_reports_power_has_no_charge_to_tell():
    names = ("voltage_volt", "current_ampere", "charging_capacity_ah", "discharging_capacity_ah")
    cells = ("voltage_min_volt", "voltage_max_volt", "cell_voltage_min_volt", "cell_voltage_max_volt")
    rows = made_cells.intervals(made_cells.cycling(2, low=20, high=80), first_soc=20).with_columns(
        *[pl.lit(None, pl.Float64).alias(name) for name in (*names, *cells)], current_observed_us=pl.lit(0, pl.Int64)
    )
    found = telemetry(rows, made_cells.batteries("b", cells=None))
    assert found["soc_percent"].null_count() == found.height
    assert found["coverage_fraction"].min() == 1
