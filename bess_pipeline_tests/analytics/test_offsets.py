"""The offset of a current sensor: what is told of it, what is not, and rows without it."""

from datetime import timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from bess_pipeline.analytics.offsets import current_offsets, without_offset
from bess_pipeline.tables.health import BatteryState, CurrentOffset
from bess_pipeline_tests.analytics.made_days import START, made_batteries, made_intervals

BATTERIES = made_batteries(1)


def stated(*known):
    """A battery of 100 Ah whose offset is known so well, day after day [A]."""
    rows = [{"fleet_id": "f", "battery_id": "b0", "date": (START + timedelta(days=day)).date(), "corrections": 288,
             "capacity_ah": 100.0, "capacity_sigma_ah": 1.0, "new_capacity_ah": 100.0, "hysteresis_volt": 0.01,
             "offset_ampere": 0.2, "offset_sigma_ampere": sigma} for day, sigma in enumerate(known)]  # fmt: skip
    return pl.DataFrame(rows, schema=BatteryState.create_empty().schema)


def test_an_offset_is_told_once_it_is_known_to_half_a_thousandth_of_1_c():
    found = current_offsets(stated(0.1, 0.051, 0.049, 0.02), BATTERIES)
    assert found["offset_ampere"].to_list() == [None, None, 0.2, 0.2]
    assert found["offset_sigma_ampere"].to_list() == [None, None, 0.049, 0.02]
    assert found["method"].to_list() == [None, None, "state filter", "state filter"]


def offset_of(value, days):
    rows = [{"fleet_id": "f", "battery_id": "b0", "date": (START + timedelta(days=day)).date(), "offset_ampere": value,
             "offset_sigma_ampere": None if value is None else 0.01, "method": None if value is None else "idle"}
            for day in range(days)]  # fmt: skip
    return pl.DataFrame(rows, schema=CurrentOffset.create_empty().schema)


@st.composite
def flows(draw):
    """Rows that charge, discharge, do both, or neither, wholly or partly observed, the voltage now and then unknown."""
    amount = st.sampled_from([0.0, 0.0, 0.001, 0.5, 4.0])
    rows = []
    for row in range(draw(st.integers(1, 20))):
        into, out = draw(amount), draw(amount)
        current = draw(st.sampled_from([12 * (into - out), 0.0, 0.001])) if into == out else 12 * (into - out)
        rows.append(
            {
                "battery_id": "b0",
                "timestamp": START + timedelta(minutes=5 * row),
                "current_ampere": current,
                "current_abs_max_ampere": max(abs(current), 12 * max(into, out)),
                "charging_capacity_ah": into,
                "discharging_capacity_ah": out,
                "charging_energy_wh": 360 * into,
                "discharging_energy_wh": 360 * out,
                "voltage_volt": draw(st.sampled_from([None, 360.0])),
                "power_watt": 360.0 * current,
                "current_observed_us": draw(st.sampled_from([0, 60_000_000, 300_000_000])),
            }
        )
    return made_intervals(rows)


@settings(max_examples=60, deadline=None)
@given(flows(), st.sampled_from([-0.4, -0.05, 0.05, 0.3]))
def test_taking_an_offset_off_moves_charge_by_offset_times_time_and_nothing_else(rows, offset):
    freed = without_offset(rows.with_columns(repairs=pl.lit(None, pl.String)), offset_of(offset, 1), BATTERIES)
    for before, after in zip(rows.to_dicts(), freed.to_dicts(), strict=True):
        hours = before["current_observed_us"] / 3.6e9
        taken = offset * hours if before["current_ampere"] else 0.0
        for into, out, size in (("charging_capacity_ah", "discharging_capacity_ah", 1.0),
                                ("charging_energy_wh", "discharging_energy_wh", 360.0)):  # fmt: skip
            net = after[into] - after[out]
            assert net == pytest.approx(before[into] - before[out] - size * taken, abs=1e-9)
            assert min(after[into], after[out]) >= 0
            if not taken:
                assert (after[into], after[out]) == (before[into], before[out])
        same = [name for name in before if "capacity" not in name and "energy" not in name]
        assert {name: after[name] for name in same} == {name: before[name] for name in same}


@settings(max_examples=20, deadline=None)
@given(flows())
def test_rows_without_an_offset_stay_as_they_are(rows):
    rows = rows.with_columns(repairs=pl.lit(None, pl.String))
    for none in (offset_of(None, 1), offset_of(None, 0), offset_of(0.0, 1)):
        assert_frame_equal(without_offset(rows, none, BATTERIES), rows, check_exact=True)


def test_an_idle_row_keeps_its_net_only():
    """By hand: 0.3 A in and out of 0.1 A are noise; less 0.1 A over five minutes, 0.1 A remain."""
    row = {"battery_id": "b0", "timestamp": START, "current_ampere": 0.2, "current_abs_max_ampere": 0.4,
           "charging_capacity_ah": 0.3 / 12, "discharging_capacity_ah": 0.1 / 12, "charging_energy_wh": 9.0,
           "discharging_energy_wh": 3.0, "voltage_volt": 360.0}  # fmt: skip
    freed = without_offset(
        made_intervals([row]).with_columns(repairs=pl.lit(None, pl.String)), offset_of(0.1, 1), BATTERIES
    )
    assert freed["charging_capacity_ah"].item() == pytest.approx(0.1 / 12)
    assert freed["discharging_capacity_ah"].item() == 0.0
    assert freed["charging_energy_wh"].item() == pytest.approx(9.0 - 3.0 - 3.0)
