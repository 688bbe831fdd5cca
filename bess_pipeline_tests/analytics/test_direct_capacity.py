from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from bess_pipeline.analytics.capacity_marks import capacity_evidence
from bess_pipeline.tables.capacity import CapacityEvidence, CapacityTest
from bess_pipeline.tables.health import CurrentOffset
from bess_pipeline.tables.quality import Repair
from bess_pipeline_tests.analytics.made_samples import MIDNIGHT
from bess_pipeline_tests.analytics.made_tests import AMPERE_HOURS, HOUR, cell, clean_of, cycled, measured, reference

A_CYCLE = [("charge", 0.5), ("taper", 0.05), ("rest", 5), ("discharge", 0.5), ("rest", 5)]
BY_HAND = [(0, 0.05, 4.2), (60, 0.0, 4.19), (120, -2.0, 3.3), (180, -2.0, 3.2), (240, -2.0, 2.8), (300, -2.0, 2.6)]


def of_cell(rows, *, later=0.0, **plate):
    return measured(clean_of(rows, later=later), cell(**plate))


@pytest.mark.parametrize("later", [0.0, 86400 - 30.0, 86400 - 90.0, 86400 - 150.0, 86400 - 210.0])
def test_a_discharge_by_hand_whatever_minute_midnight_falls_into(later):
    """Hand-computed: half a minute at 1 A on average, then 2 A; 3.2 to 2.8 V meets 3.0 V half-way.

    Of a cell rated 0.06 Ah, so that four minutes are a test.
    """
    (found,) = of_cell(BY_HAND, later=later, rated_capacity_ah=0.06).to_dicts()
    assert found["kind"] == "full discharge"
    assert found["capacity_ah"] == pytest.approx((1 + 2 + 2) / 60)
    assert found["capacity_at_crossing_ah"] == pytest.approx((1 + 2 + 1) / 60, rel=1e-5)
    assert found["started_at"] == MIDNIGHT + timedelta(seconds=60 + later)
    assert found["ended_at"] == MIDNIGHT + timedelta(seconds=240 + later)
    assert (found["cell_voltage_start_volt"], found["cell_voltage_lowest_volt"]) == (4.19, 2.8)
    assert found["capacity_lower_ah"] < found["capacity_at_crossing_ah"] < found["capacity_upper_ah"]


def test_a_cell_that_is_cycled_holds_what_it_was_made_with():
    """Known truth: 2 Ah between 3.0 and 4.2 V at rest; at C/50, charged to 4.18 V, 98.1 % of them."""
    steps = [("charge", 0.02), ("rest", 9), ("discharge", 0.02), ("rest", 9), ("charge", 0.02), ("rest", 1)]
    down, up = of_cell(cycled(steps, soc=0.9)).to_dicts()
    assert (down["kind"], up["kind"]) == ("full discharge", "full charge")
    assert down["capacity_at_crossing_ah"] == pytest.approx(0.981 * AMPERE_HOURS, rel=1e-3)
    assert up["capacity_ah"] == pytest.approx(0.981 * AMPERE_HOURS, rel=3e-3)
    assert down["c_rate"] == pytest.approx(0.02, rel=0.01)
    assert down["temperature_mean_celsius"] == pytest.approx(25.0)


@pytest.mark.parametrize(
    ("steps", "kinds"),
    [
        pytest.param(A_CYCLE, ["full discharge"], id="full: the charge had tapered"),
        pytest.param([("charge", 0.5), ("discharge", 0.5)], ["constant-current discharge"], id="limit to limit"),
        pytest.param([("charge", 1), ("move", -0.2), ("discharge", 1)], [], id="from the limit, but not constant"),
        pytest.param([("discharge", 0.5)], [], id="from anywhere"),
        pytest.param([*A_CYCLE[:2], ("move", -0.1), ("rest", 1), ("discharge", 0.5)], ["full discharge"], id="pause"),
        pytest.param([*A_CYCLE[:2], ("gap", 0.5), ("discharge", 0.5)], ["full discharge"], id="a silence after full"),
        pytest.param([*A_CYCLE[:2], ("gap", 5), *A_CYCLE[2:]], ["full discharge"], id="rest that is full"),
        pytest.param([*A_CYCLE[:2], ("rest", 1), ("move", -0.3), ("gap", 9), ("discharge", 0.5)], [], id="lost"),
        pytest.param([*A_CYCLE, *A_CYCLE], ["full discharge", "full charge", "full discharge"], id="there and back"),
    ],
)  # fmt: skip
def test_what_a_test_is(steps, kinds):
    assert of_cell(cycled(steps))["kind"].to_list() == kinds


_steps = st.lists(
    st.one_of(
        st.sampled_from(A_CYCLE),
        st.tuples(st.sampled_from(["charge", "discharge"]), st.sampled_from([0.3, 1.0])),
        st.tuples(st.just("move"), st.sampled_from([-0.5, 0.4])),
        st.tuples(st.just("rest"), st.integers(1, 30)),
        st.tuples(st.just("gap"), st.sampled_from([3.0, 15.0])),
    ),
    min_size=2,
    max_size=9,
)


@settings(max_examples=30, deadline=None)
@given(_steps, st.integers(0, 86399))
def test_days_condensed_apart_give_what_a_plain_scan_of_the_whole_does(steps, later):
    """The scan has no days: whatever the samples, midnight may fall anywhere."""
    rows = cycled([*A_CYCLE, *steps, ("rest", 2)])
    found = of_cell(rows, later=later)
    expected = sorted(reference(rows), key=lambda test: (test[2], test[1]))
    zero = MIDNIGHT + timedelta(seconds=later)
    told = [
        (kind, (start - zero).total_seconds(), (end - zero).total_seconds())
        for kind, start, end in found.select("kind", "started_at", "ended_at").iter_rows()
    ]
    assert told == [test[:3] for test in expected]
    assert found["capacity_ah"].to_list() == pytest.approx([test[3] for test in expected], rel=1e-9)


@settings(max_examples=10, deadline=None)
@given(_steps, st.integers(0, 99))
def test_the_order_of_rows_does_not_matter_and_contracts_hold(steps, seed):
    clean = clean_of(cycled([*A_CYCLE, *steps]), later=HOUR * 20)
    evidence = capacity_evidence(clean, cell())
    CapacityEvidence.validate(evidence)
    assert_frame_equal(capacity_evidence(clean.sample(fraction=1, shuffle=True, seed=seed), cell()), evidence)
    CapacityTest.validate(measured(clean, cell()))


@settings(max_examples=10, deadline=None)
@given(_steps, st.integers(1, 3))
def test_discharges_of_earlier_days_stay_when_days_are_added(steps, days):
    clean = clean_of(cycled([*A_CYCLE, *steps, *A_CYCLE]), later=HOUR * 12)
    until = MIDNIGHT.date() + timedelta(days=days)
    discharges = pl.col("kind").str.ends_with("discharge")
    early = measured(clean.filter(pl.col("date") < until), cell()).filter(discharges)
    whole = measured(clean, cell()).filter(discharges, pl.col("ended_at").dt.date() < until)
    assert_frame_equal(early, whole)


@settings(max_examples=10, deadline=None)
@given(_steps, st.sampled_from([0.5, 3.0, 140.0]))
def test_scaling_current_and_capacity_together_scales_the_result(steps, factor):
    rows = cycled([*A_CYCLE, *steps])
    larger = [(second, current * factor, volt) for second, current, volt in rows]
    found, scaled = of_cell(rows), of_cell(larger, rated_capacity_ah=factor * AMPERE_HOURS)
    assert scaled["kind"].to_list() == found["kind"].to_list()
    assert scaled["capacity_ah"].to_list() == pytest.approx((factor * found["capacity_ah"]).to_list())


def test_the_weakest_cell_ends_a_discharge():
    clean = clean_of([(t, i, 10 * v) for t, i, v in BY_HAND], cell_voltage_max_volt=4.2)
    lowest = pl.Series([4.1, 4.1, 3.1, 2.9, 2.7, 2.5])
    found = measured(clean.with_columns(cell_voltage_min_volt=lowest), cell(rated_capacity_ah=0.06, cells_in_series=10))
    assert found["capacity_ah"].item() == pytest.approx((1 + 2) / 60)


def test_means_hold_until_the_next_sample():
    """Hand-computed: two whole minutes at 2 A before the minute whose mean is at the cut-off."""
    found = of_cell(BY_HAND, rated_capacity_ah=0.06, sampling="mean")
    assert found["capacity_ah"].item() == pytest.approx(4 / 60)
    later = of_cell(BY_HAND, later=86400 - 200.0, rated_capacity_ah=0.06, sampling="mean")
    assert later["capacity_ah"].item() == pytest.approx(4 / 60)


def test_a_voided_voltage_ends_no_discharge():
    clean = clean_of(BY_HAND).with_columns(voltage_spike=pl.int_range(pl.len()) == 4)
    assert measured(clean, cell(rated_capacity_ah=0.1))["capacity_ah"].item() == pytest.approx(7 / 60)


def test_a_sign_that_was_repaired_spoils_a_test():
    clean = clean_of(cycled(A_CYCLE))
    wrong = {"fleet_id": "f", "battery_id": "b", "kind": "current_sign", "started_at": MIDNIGHT,
             "ended_at": MIDNIGHT + timedelta(hours=3), "action": "converted", "channels": "current_ampere",
             "intervals": 36, "evidence": "made"}  # fmt: skip
    repairs = pl.DataFrame([wrong], schema=Repair.create_empty().schema)
    assert measured(clean, cell()).height == 1
    assert measured(clean, cell(), repairs=repairs).is_empty()


def test_what_the_offset_adds_stands_beside_the_capacity():
    """Hand-computed: a sensor that adds 0.01 A takes that off a discharge, for as long as it lasts."""
    clean = clean_of(cycled(A_CYCLE))
    plain = measured(clean, cell())
    day = {"fleet_id": "f", "battery_id": "b", "date": plain["ended_at"].dt.date()[0], "offset_ampere": 0.01,
           "offset_sigma_ampere": 0.001, "method": "idle"}  # fmt: skip
    told = measured(clean, cell(), offsets=pl.DataFrame([day], schema=CurrentOffset.create_empty().schema))
    hours = (plain["ended_at"] - plain["started_at"]).dt.total_seconds()[0] / HOUR
    assert told["sensor_offset_ah"].item() == pytest.approx(-0.01 * hours)
    assert told["capacity_ah"].equals(plain["capacity_ah"])
    assert plain["sensor_offset_ah"].to_list() == [None]


def test_the_interval_holds_the_truth_of_sensors_with_an_error_of_gain():
    """Known truth: gains off by 0.4 % (one standard error): nine tenths of the intervals hold it."""
    rows = cycled([("charge", 0.2), ("taper", 0.05), ("rest", 3), ("discharge", 0.2)])
    truth = of_cell(rows)["capacity_at_crossing_ah"].item()
    held = 0
    for gain in 1 + 0.004 * np.random.default_rng(0).standard_normal(20):
        found = of_cell([(second, gain * current, volt) for second, current, volt in rows])
        held += found["capacity_lower_ah"].item() <= truth <= found["capacity_upper_ah"].item()
    assert held >= 17


def test_a_battery_without_a_nameplate_is_named():
    with pytest.raises(ValueError, match="no nameplate for b"):
        capacity_evidence(clean_of(BY_HAND), cell().with_columns(battery_id=pl.lit("c")))


def test_without_currents_there_is_no_evidence():
    silent = clean_of(BY_HAND).with_columns(current_ampere=pl.lit(None, pl.Float64))
    assert CapacityEvidence.validate(capacity_evidence(silent, cell())).is_empty()
