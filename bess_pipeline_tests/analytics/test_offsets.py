"""The offset of a current sensor: what is told of it, what is not, and rows without it."""

from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from bess_pipeline.analytics.offsets import current_offsets, without_offset
from bess_pipeline.tables.health import ChargeAnchor, CurrentOffset
from bess_pipeline_tests.analytics.made_days import START, made_batteries, made_intervals

DAY = 288
RATED = 100.0
BATTERIES = made_batteries(1)


def lived(days, *, offset=0.0, dead_band=0.0, noise=0.0, seed=0, idle=True):
    """Rows of a battery of 100 Ah that is charged to full each day, discharged, and idles; its sensor is off.

    Charge and discharge are what the sensor integrates; the anchor is at the end of each charge.
    """
    random = np.random.default_rng(seed)
    phase = np.arange(days * DAY) % DAY
    at = np.select([phase < 60, (phase >= 120) & (phase < 180)], [10.0, -10.0], 0.0 if idle else 3.0 * (-1.0) ** phase)
    told = at + offset + noise * random.standard_normal(len(at))
    told = np.where(np.abs(told) < dead_band, 0.0, told)
    moved = told / 12
    return made_intervals(
        pl.DataFrame(
            {
                "battery_id": "b0",
                "timestamp": [START + timedelta(minutes=5 * row) for row in range(len(at))],
                "current_ampere": told,
                "current_abs_max_ampere": np.abs(told),
                "charging_capacity_ah": np.maximum(moved, 0),
                "discharging_capacity_ah": np.maximum(-moved, 0),
                "charging_energy_wh": 360 * np.maximum(moved, 0),
                "discharging_energy_wh": 360 * np.maximum(-moved, 0),
                "voltage_volt": 360.0,
            }
        ).to_dicts()
    )


def anchored(days, *, sigma=0.5, error=0.0, seed=0, soc=100.0):
    """A full charge at five o'clock of every day, known to this many percent."""
    random = np.random.default_rng(seed)
    rows = [
        {"fleet_id": "f", "battery_id": "b0", "timestamp": START + timedelta(days=day, hours=5), "kind": "full",
         "soc_percent": soc + error * random.standard_normal(), "soc_sigma_percent": sigma}
        for day in range(days)
    ]  # fmt: skip
    return pl.DataFrame(rows, schema=ChargeAnchor.create_empty().schema)


NO_ANCHORS = anchored(0)


@pytest.mark.parametrize("offset", [0.15, -0.3, 0.02])
def test_the_balance_between_full_charges_tells_the_offset(offset):
    found = current_offsets(lived(20, offset=offset, idle=False), anchored(20), BATTERIES)
    last = found.row(-1, named=True)
    assert last["offset_ampere"] == pytest.approx(offset, abs=1e-6)
    assert last["method"] == "balance"
    assert found["offset_ampere"].null_count() < 5


@pytest.mark.parametrize("offset", [0.15, -0.3])
def test_the_idle_current_tells_the_offset_without_an_anchor(offset):
    found = current_offsets(lived(5, offset=offset), NO_ANCHORS, BATTERIES)
    assert found["offset_ampere"].to_list() == pytest.approx([offset] * 5)
    assert found["method"].unique().to_list() == ["idle"]


def test_behind_a_dead_band_only_hours_with_a_current_count():
    """What idles within the band is reported as zero and carries no offset."""
    found = current_offsets(lived(20, offset=0.15, dead_band=0.5), anchored(20), BATTERIES)
    assert found.row(-1, named=True)["offset_ampere"] == pytest.approx(0.15, abs=1e-6)
    assert found.row(-1, named=True)["method"] == "balance"


def test_the_truth_is_within_two_sigma_in_nineteen_of_twenty_cases():
    """Full charges whose level is known to 0.5 %, on sixty batteries with other offsets."""
    random = np.random.default_rng(7)
    hits = 0
    for seed in range(60):
        offset = random.normal(0, 0.2)
        rows = lived(25, offset=offset, idle=False, seed=seed, noise=0.05)
        last = current_offsets(rows, anchored(25, error=0.5, seed=seed), BATTERIES).row(-1, named=True)
        hits += abs(last["offset_ampere"] - offset) <= 2 * last["offset_sigma_ampere"]
    assert hits >= 54, f"{hits} of 60"


@pytest.mark.parametrize(
    ("rows", "anchors"),
    [
        pytest.param(lived(5, idle=False), NO_ANCHORS, id="neither full nor idle"),
        pytest.param(lived(5, dead_band=0.5), NO_ANCHORS, id="a logger that knows zero, never full"),
        pytest.param(lived(5, idle=False), anchored(1), id="full once"),
        pytest.param(lived(5, idle=False), anchored(5, sigma=20.0), id="full, but nobody knows how full"),
        pytest.param(lived(5, idle=False), anchored(5, soc=60.0), id="anchors at which the curve may be off"),
        pytest.param(lived(5, idle=False).with_columns(current_observed_us=pl.lit(200_000_000, pl.Int64)), anchored(5),
                     id="silences in every row"),
    ],
)  # fmt: skip
def test_nothing_is_told_without_evidence(rows, anchors):
    found = current_offsets(rows, anchors, BATTERIES)
    assert found["date"].to_list() == sorted(set(rows["date"]))
    assert found.select("offset_ampere", "offset_sigma_ampere", "method").null_count().row(0) == (5, 5, 5)


def test_no_balance_is_drawn_over_a_gap():
    """Four hours are missing each noon, in which the battery may have done anything."""
    rows = lived(20, offset=0.15, idle=False).filter(~pl.col("timestamp").dt.hour().is_between(12, 15))
    assert current_offsets(rows, anchored(20), BATTERIES)["offset_ampere"].null_count() == 20


def test_an_offset_that_changes_is_forgotten_after_thirty_days():
    before, after = lived(40, offset=0.1), lived(40, offset=-0.2)
    rows = pl.concat(
        [before, after.with_columns(pl.col("timestamp") + pl.duration(days=40), pl.col("date") + pl.duration(days=40))]
    )
    found = current_offsets(rows, NO_ANCHORS, BATTERIES)["offset_ampere"]
    assert found[39] == pytest.approx(0.1)
    assert found[79] == pytest.approx(-0.2)


def test_the_order_of_rows_does_not_matter():
    rows, anchors = lived(12, offset=0.15, noise=0.05), anchored(12, error=0.3)
    found = current_offsets(rows, anchors, BATTERIES)
    other = current_offsets(rows.sample(fraction=1, shuffle=True, seed=3), anchors.reverse(), BATTERIES)
    assert_frame_equal(found, other, check_exact=True)


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
