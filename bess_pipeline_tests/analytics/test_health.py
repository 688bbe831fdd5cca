"""Anchors, capacity observations and the state of health that follows from them."""

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from bess_pipeline.analytics import anchors as finding
from bess_pipeline.analytics.battery_states import estimates
from bess_pipeline.analytics.capacity import capacity_observations
from bess_pipeline.analytics.health import state_of_health
from bess_pipeline.analytics.resistance import resistance_daily, step_resistance
from bess_pipeline.analytics.resistance_evidence import resistance_evidence
from bess_pipeline_tests.analytics import made_cells

PLATES = made_cells.batteries("b")
CURVES = made_cells.curves(PLATES)


def charge_anchors(rows, batteries, curves):
    return finding.charge_anchors(rows, batteries, curves).anchors


def estimated(rows, plates=PLATES):
    resistances = resistance_daily(resistance_evidence(rows, plates), step_resistance(rows, plates), plates).daily
    # The cells' own curve: not quite that of their chemistry, which would be less sure.
    curves = made_cells.curves(plates).with_columns(pl.col("ocv_volt") + 1e-5)
    return state_of_health(estimates(rows, plates, curves).states, resistances, plates)


class TestAnchors:
    def test_a_rest_gives_the_true_charge_within_its_error(self):
        rates = made_cells.cycling(4, low=30, high=70)
        rows = made_cells.intervals(rates, first_soc=30)
        anchors = charge_anchors(rows, PLATES, CURVES)
        truth = dict(
            zip(
                rows["timestamp"] + timedelta(minutes=5),
                made_cells.soc_of(rates, first_soc=30)[1:],
                strict=True,
            )
        )
        assert set(anchors["kind"]) == {"rest"}
        for anchor in anchors.to_dicts():
            assert abs(anchor["soc_percent"] - truth[anchor["timestamp"]]) < 2 * anchor["soc_sigma_percent"]

    def test_a_short_rest_is_none_and_a_long_one_is_surer(self):
        short = made_cells.intervals(np.concatenate([[0.2] * 12, [0.0] * 5, [0.2] * 12]), first_soc=30)
        long = made_cells.intervals(np.concatenate([[0.2] * 12, [0.0] * 30]), first_soc=30)
        assert charge_anchors(short, PLATES, CURVES).height == 0
        sigmas = charge_anchors(long, PLATES, CURVES)["soc_sigma_percent"].to_list()
        assert len(sigmas) == 2
        assert sigmas[1] <= sigmas[0]

    def test_the_plateau_of_lfp_gives_none(self):
        plates = made_cells.batteries("b", chemistry="LFP")
        rows = made_cells.intervals(np.zeros(288), first_soc=50, chemistry="LFP")
        assert charge_anchors(rows, plates, made_cells.curves(plates)).height == 0

    @pytest.mark.parametrize(
        ("rates", "first_soc", "kind", "soc"),
        [
            pytest.param([0.2] * 30 + [-0.2] * 12, 50.0, "full", 100.0, id="a charge that ends at the top"),
            pytest.param([-0.5] * 24 + [0.2] * 12, 100.0, "empty", 0.0, id="a discharge that ends at the bottom"),
        ],
    )
    def test_limits_are_full_and_empty_at_the_end_of_the_last_row_before_the_turn(self, rates, first_soc, kind, soc):
        rows = made_cells.intervals(np.array(rates), first_soc=first_soc)
        turn = int(sum(np.sign(rates) == np.sign(rates[0])))
        (anchor,) = charge_anchors(rows, PLATES, CURVES).to_dicts()
        assert anchor["kind"] == kind
        assert anchor["timestamp"] == rows["timestamp"][turn]
        assert abs(anchor["soc_percent"] - soc) < 2 * anchor["soc_sigma_percent"]

    def test_what_flows_after_the_top_within_the_same_row_is_taken_off(self):
        whole = made_cells.intervals(np.array([0.2] * 30 + [-0.2] * 12), first_soc=50)
        turned = whole.with_columns(
            discharging_capacity_ah=pl.when(pl.int_range(pl.len()) == 29).then(3.0).otherwise("discharging_capacity_ah")
        )
        before, after = (charge_anchors(rows, PLATES, CURVES)["soc_percent"][0] for rows in (whole, turned))
        assert before - after == pytest.approx(3.0)

    def test_a_battery_without_voltage_has_none(self):
        rows = made_cells.intervals(np.zeros(288), first_soc=50).with_columns(
            pl.lit(None, pl.Float64).alias(name)
            for name in (
                "voltage_volt",
                "voltage_min_volt",
                "voltage_max_volt",
                "cell_voltage_min_volt",
                "cell_voltage_max_volt",
            )
        )
        assert charge_anchors(rows, PLATES, CURVES).height == 0

    def test_the_reported_state_of_charge_changes_nothing(self):
        rates = made_cells.cycling(3, low=10, high=90)
        silent, lying = (
            charge_anchors(made_cells.intervals(rates, first_soc=10, soc_bms_percent=reported), PLATES, CURVES)
            for reported in (None, 42.0)
        )
        assert_frame_equal(silent, lying)


class TestObservations:
    def observed(self, rows):
        return capacity_observations(rows, charge_anchors(rows, PLATES, CURVES), PLATES)

    @settings(max_examples=15, deadline=None)
    @given(st.floats(60, 110), st.floats(20, 45), st.floats(55, 85))
    def test_each_holds_the_true_capacity(self, capacity, low, high):
        rates = made_cells.cycling(3, low=low, high=high)
        observed = self.observed(made_cells.intervals(rates, first_soc=low, capacity_ah=capacity))
        within = (observed["capacity_ah"] - capacity).abs() <= 2.5 * observed["capacity_sigma_ah"]
        assert within.all()
        assert (observed["soc_change_percent"].abs() >= 30).all()
        assert (observed["capacity_sigma_ah"] >= 0.004 * observed["capacity_ah"]).all()

    def test_a_swing_below_30_points_gives_none(self):
        assert self.observed(made_cells.intervals(made_cells.cycling(3, low=40, high=65), first_soc=40)).height == 0

    def test_none_spans_a_gap(self):
        rows = made_cells.intervals(made_cells.cycling(1, low=20, high=80), first_soc=20)
        assert (
            self.observed(rows.filter(~pl.int_range(pl.len()).is_between(10, 16)))
            .filter(pl.col("started_at") < made_cells.START + timedelta(minutes=50))
            .height
            == 0
        )

    def test_anchors_more_than_14_days_apart_are_not_paired(self):
        # Charges by 60 points, then wavers for 15 days around there without ever resting, then rests.
        wavering = np.resize([0.05, -0.05], 15 * 288)
        rates = np.concatenate([np.zeros(12), np.full(36, 0.2), wavering, np.zeros(12)])
        late, soon = (
            self.observed(made_cells.intervals(part, first_soc=15))
            for part in (rates, np.concatenate([rates[:48], wavering[: 13 * 288], np.zeros(12)]))
        )
        assert (late.height, soon.height) == (0, 1)

    @settings(max_examples=25, deadline=None)
    @given(
        st.lists(
            st.tuples(st.integers(1, 2000), st.floats(0, 100), st.floats(1, 6)),
            min_size=2,
            max_size=20,
            unique_by=lambda anchor: anchor[0],
        )
    )
    def test_the_pairs_are_those_that_a_plain_search_finds(self, made):
        """Known truth: the same rule in plain Python over every pair."""
        rates = made_cells.cycling(7, low=20, high=80)
        rows = made_cells.intervals(rates, first_soc=20)
        net = np.concatenate([[0.0], np.cumsum(rates * made_cells.RATED_AH / 12)])
        made = sorted(made)
        anchors = pl.DataFrame(
            {
                "fleet_id": "f",
                "battery_id": "b",
                "timestamp": [made_cells.START + timedelta(minutes=5 * place) for place, _, _ in made],
                "kind": "rest",
                "soc_percent": [soc for _, soc, _ in made],
                "soc_sigma_percent": [sigma for _, _, sigma in made],
            }
        )
        expected = {}
        for (end, soc, sigma), earlier in [(one, made[:number]) for number, one in enumerate(made)]:
            found = []
            for begin, first_soc, first_sigma in earlier:
                change, moved, hours = soc - first_soc, net[end] - net[begin], (end - begin) / 12
                if abs(change) >= 30 and 20 <= 100 * moved / change <= 150:
                    offset = 0.001 * 100 * hours / moved
                    error = np.sqrt((sigma**2 + first_sigma**2) / change**2 + offset**2 + 0.004**2)
                    found.append((error, 100 * moved / change))
            if found:
                expected[made_cells.START + timedelta(minutes=5 * end)] = min(found)
        observed = capacity_observations(rows, anchors, PLATES)
        assert observed["ended_at"].to_list() == list(expected)
        for row, (error, capacity) in zip(observed.to_dicts(), expected.values(), strict=True):
            assert row["capacity_ah"] == pytest.approx(capacity, rel=1e-6)
            assert row["capacity_sigma_ah"] == pytest.approx(error * capacity, rel=1e-6)


class TestStateOfHealth:
    @pytest.mark.parametrize("capacity", [95.0, 100.0, 104.0])
    def test_the_capacity_is_found_and_its_interval_holds_it(self, capacity):
        rows = made_cells.intervals(made_cells.cycling(20, low=15, high=90), first_soc=15, capacity_ah=capacity)
        last = estimated(rows).row(-1, named=True)
        assert last["capacity_ah"] == pytest.approx(capacity, rel=0.01)
        assert last["soh_lower_percent"] < capacity < last["soh_upper_percent"]
        assert last["soh_percent"] == pytest.approx(last["capacity_ah"])
        assert last["soh_usable_percent"] is None

    def test_an_interval_is_never_narrower_than_the_gain_error_of_the_sensor(self):
        rows = made_cells.intervals(made_cells.cycling(20, low=5, high=95), first_soc=5, gain=1.004)
        last = estimated(rows).row(-1, named=True)
        assert last["soh_upper_percent"] - last["soh_lower_percent"] > 2 * 1.64 * 0.4
        assert last["soh_lower_percent"] < 100 < last["soh_upper_percent"]

    def test_there_is_a_row_for_every_day_from_the_first_estimate_on(self):
        rates = np.concatenate([made_cells.cycling(3, low=20, high=80), np.zeros(5 * 288)])
        days = estimated(made_cells.intervals(rates, first_soc=20))["date"]
        assert days.to_list() == pl.date_range(days[0], date(2026, 1, 8), eager=True).to_list()

    def test_the_interval_widens_while_the_battery_stands_still(self):
        rates = np.concatenate([made_cells.cycling(3, low=20, high=80), np.zeros(60 * 288)])
        rows = estimated(made_cells.intervals(rates, first_soc=20))
        width = (rows["soh_upper_percent"] - rows["soh_lower_percent"]).to_list()
        assert min(width[-1], width[30]) > width[5]

    def test_a_battery_that_stands_still_tells_nothing_of_its_capacity(self):
        rows = made_cells.intervals(np.zeros(288), first_soc=50)
        assert estimated(rows).height == 0

    @pytest.mark.parametrize(("low", "high", "name"), [(10, 100, "full"), (15, 80, "wide"), (40, 75, "narrow")])
    def test_observability_names_what_the_use_shows(self, low, high, name):
        rows = made_cells.intervals(made_cells.cycling(10, low=low, high=high), first_soc=low)
        assert estimated(rows)["observability"][-1] == name

    @settings(max_examples=8, deadline=None)
    @given(st.integers(3, 11))
    def test_a_day_knows_nothing_of_later_days(self, cut):
        rows = made_cells.intervals(made_cells.cycling(12, low=15, high=90), first_soc=15)
        end = date(2026, 1, cut)
        assert_frame_equal(
            estimated(rows).filter(pl.col("date") <= end),
            estimated(rows.filter(pl.col("date") <= end)),
            check_exact=True,
        )

    @settings(max_examples=5, deadline=None)
    @given(st.integers(0, 1000))
    def test_neither_the_order_of_rows_nor_other_batteries_change_it(self, seed):
        plates = made_cells.batteries("a", "b")
        alone = made_cells.intervals(made_cells.cycling(5, low=20, high=80), first_soc=20)
        other = made_cells.intervals(made_cells.cycling(5, low=30, high=90), first_soc=30, capacity_ah=80, battery="a")
        both = pl.concat([other, alone]).sample(fraction=1, shuffle=True, seed=seed)
        assert_frame_equal(
            estimated(both, plates=plates).filter(pl.col("battery_id") == "b"), estimated(alone), check_exact=True
        )
