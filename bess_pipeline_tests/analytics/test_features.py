"""Features: what a day says, beside its peers and beside its own past."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bess_pipeline.analytics.feature_evidence import feature_evidence
from bess_pipeline.analytics.features import DATA_FAULTS, FEATURES
from bess_pipeline.tables.anomalies import DailyFeature
from bess_pipeline.tables.keys import BATTERY_DAY
from bess_pipeline_tests.analytics.made_days import START, daily_features, made_days, made_intervals, resistances_of


def features_of(frames):
    found = daily_features(**frames)
    DailyFeature.validate(found)
    return found


def until(frames, days):
    """The frames without what came after so many days."""
    last = START.date() + timedelta(days=days)
    return {
        name: frame.filter(pl.col("date") < last) if "date" in frame.columns else frame
        for name, frame in frames.items()
    }


def value_of(found, feature, **where):
    return found.filter(pl.col("feature") == feature, **where)


@pytest.fixture(scope="module")
def month():
    return made_days(5, 30)


def test_the_values_are_those_that_were_made(month):
    """Known truth: a cell voltage of its average, a spread of 10 mV and a little, a probe 1 K hotter."""
    found = features_of(month).group_by("feature").agg(pl.col("value").median())
    value = dict(found.iter_rows())
    assert value["outside_cell_resistance"] == pytest.approx(0.0, abs=1e-9)
    assert value["cell_low"] == pytest.approx(0.006, abs=0.001)
    assert value["cell_high"] == pytest.approx(0.006, abs=0.001)
    assert value["temperature_mean"] == pytest.approx(22, abs=0.1)
    assert value["temperature_hot_spot"] == pytest.approx(1.0)
    assert value["current_sign_fraction"] == 0.0


def test_a_value_is_measured_against_the_median_of_the_others(month):
    found = value_of(features_of(month), "temperature_mean").sort("date", "battery_id")
    day = found.head(5)["value"].to_list()
    rest = sorted(day[1:])
    assert found["adjusted"][0] == pytest.approx(day[0] - (rest[1] + rest[2]) / 2)
    assert found["peers"].unique().to_list() == [4]


def test_four_batteries_are_no_peers_and_what_needs_them_stays_silent():
    found = features_of(made_days(4, 30))
    assert value_of(found, "temperature_mean")["adjusted"].null_count() == 4 * 30
    assert value_of(found, "cell_low").select((pl.col("adjusted") == pl.col("value")).all()).item()


def test_a_score_needs_two_weeks_that_are_a_week_old(month):
    scored = features_of(month).drop_nulls("z")["date"]
    assert scored.min() == START.date() + timedelta(days=21)


def test_a_current_that_was_turned_is_a_fault_of_the_data():
    turned = made_days(5, 30, change=lambda rows: rows.with_columns(repairs=pl.lit("current_sign")))
    found = features_of(turned)
    assert value_of(found, "current_sign_fraction")["value"].min() == 1.0
    assert value_of(found, "temperature_unit_fraction")["value"].max() == 0.0


def test_steps_of_the_wrong_sign_say_nothing_of_the_resistance():
    wrong = pl.col("step_steady_current_voltage_sum")
    found = features_of(made_days(5, 30, change=lambda rows: rows.with_columns(-wrong)))
    assert value_of(found, "step_resistance").is_empty()


def with_resistances(factor):
    """A change of the intervals: resistances times a factor."""
    sums = {"step_steady_current_voltage_sum": factor, "step_steady_voltage_square_sum": factor**2}
    return lambda rows: rows.with_columns((pl.col(name) * by).alias(name) for name, by in sums.items())


def test_the_resistance_is_that_of_the_day_over_that_when_new():
    """Known truth: battery b1 has 20 % more from day 20 on, logarithm 0.182; the day it rises says all of it."""
    hit = (pl.col("battery_id") == "b1") & (pl.col("timestamp") >= START + timedelta(days=20))
    found = features_of(made_days(2, 30, change=with_resistances(pl.when(hit).then(1.2).otherwise(1.0))))
    value = value_of(found, "step_resistance").with_columns(
        late=pl.col("date") >= START.date() + timedelta(days=20), hit=pl.col("battery_id") == "b1"
    )
    assert value.height == 2 * 28
    assert value.filter("late", "hit")["value"].to_list() == pytest.approx([0.182] * 10, abs=0.03)
    assert value.filter(~(pl.col("late") & pl.col("hit")))["value"].to_list() == pytest.approx([0] * 46, abs=0.03)


def test_a_peer_that_falls_silent_moves_the_resistance_of_no_other():
    """Six batteries, each with 10 % more resistance than the one before; the largest is not heard from day 25 on."""
    more = 1 + 0.1 * pl.col("battery_id").str.slice(1).cast(pl.Float64)
    silent = (pl.col("battery_id") == "b5") & (pl.col("timestamp") >= START + timedelta(days=25))
    found = features_of(made_days(6, 30, change=lambda rows: with_resistances(more)(rows.filter(~silent))))
    adjusted = value_of(found, "step_resistance").filter(pl.col("date") >= START.date() + timedelta(days=25))
    assert adjusted["peers"].unique().to_list() == [4]
    assert adjusted["adjusted"].to_list() == pytest.approx([0] * 25, abs=0.04)


def test_resistances_of_steps_and_of_means_are_not_compared(month):
    """Means say some 40 % more than steps: from day 25 on the same battery is measured by them."""
    measured = resistances_of(month)
    late = pl.col("date") >= START.date() + timedelta(days=25)
    other = measured.with_columns(
        method=pl.when(late).then(pl.lit("means")).otherwise("method"),
        **{
            name: pl.when(late).then(1.4 * pl.col(name)).otherwise(name)
            for name in ("day_resistance_ohm", "resistance_ohm")
        },
    )
    rows = value_of(features_of(month | {"resistances": other}), "step_resistance")
    assert rows.filter(late).height == 5 * 5
    assert rows.filter(late)["z"].null_count() == 5 * 5


def test_a_gain_of_the_current_sensor_is_seen_beside_the_peers():
    """Known truth: the currents of battery b1 are 3 % larger from day 25 on, ln 1.03 = 0.0296."""
    hit = (pl.col("battery_id") == "b1") & (pl.col("timestamp") >= START + timedelta(days=25))
    gain = pl.when(hit).then(1.03).otherwise(1.0)
    found = features_of(made_days(6, 30, change=lambda rows: rows.with_columns(pl.col("current_ampere") * gain)))
    share = value_of(found, "current_share").with_columns(
        hit=(pl.col("battery_id") == "b1") & (pl.col("date") >= START.date() + timedelta(days=25))
    )
    before = share.filter(~pl.col("hit"))["value"].median()
    assert share.filter("hit")["value"].to_list() == pytest.approx([0.0296 + before] * 5, abs=0.01)
    assert share.filter("hit")["z"].min() > 1.5
    assert value_of(features_of(made_days(4, 5)), "current_share").is_empty()


def test_a_loss_that_never_ends_is_a_change_on_every_day():
    """Known truth: battery b1 loses 0.2 % a day from day 50 on: 5.6 % in four weeks."""
    long = made_days(6, 130)
    day = (pl.col("date") - START.date()).dt.total_days()
    lost = pl.when(pl.col("battery_id") == "b1").then((day - 50).clip(0) * 0.002).otherwise(0.0)
    known = {"capacity_ah": 98.0, "soh_percent": 98.0, "soh_lower_percent": 97.0, "soh_upper_percent": 99.0}
    health = long["battery_daily"].select(
        *BATTERY_DAY, *(((-lost).exp() * value).alias(name) for name, value in known.items())
    )
    found = features_of(long | {"health": health})
    change = value_of(found, "capacity_change", battery_id="b1").filter(day >= 100)
    assert change["value"].to_list() == pytest.approx([-0.056] * change.height)
    assert change["z"].max() < -2.5
    assert value_of(found, "capacity_change", battery_id="b2")["z"].abs().max() < 0.5


def test_a_day_unusual_for_all_is_no_battery_s_own():
    """From day 25 on every battery is warmer by another amount; the scores of such days are held against each other."""
    late = pl.col("timestamp") >= START + timedelta(days=25)
    warmth = pl.when(late).then(2.0 * pl.col("battery_id").str.slice(1).cast(pl.Float64)).otherwise(0.0)
    found = features_of(made_days(7, 30, change=lambda rows: rows.with_columns(pl.col("temperature_celsius") + warmth)))
    scores = value_of(found, "temperature_mean").filter(pl.col("date") >= START.date() + timedelta(days=25))["z"]
    assert 1.0 < scores.abs().max() < 3.0


def test_days_hardly_seen_have_no_features(month):
    blind = month | {"battery_daily": month["battery_daily"].with_columns(coverage_fraction=pl.lit(0.2))}
    names = {feature.name for feature in FEATURES}
    assert features_of(blind).filter(pl.col("feature").is_in(names)).is_empty()


@pytest.mark.parametrize("flag", ["cell_voltage_in_millivolt", "cell_voltage_out_of_range"])
def test_flagged_days_say_nothing_of_the_cells(month, flag):
    flagged = month | {"evidence": month["evidence"].with_columns(pl.col("samples").alias(flag))}
    found = features_of(flagged)
    assert value_of(found, "cell_low").is_empty()
    assert not value_of(found, "temperature_mean").is_empty()


@given(st.integers(1, 29), st.randoms())
@settings(max_examples=6, deadline=None)
def test_a_day_s_features_depend_on_nothing_later_and_on_no_order(month, days, random):
    shuffled = {
        name: frame.sample(fraction=1.0, shuffle=True, seed=random.randrange(9999)) for name, frame in month.items()
    }
    found = features_of(shuffled)
    assert found.equals(features_of(month))
    earlier = features_of(until(month, days))
    assert earlier.equals(found.filter(pl.col("date") < START.date() + timedelta(days=days)))


def test_three_days_of_a_single_battery_give_values_without_scores():
    found = features_of(made_days(1, 3))
    assert found.height
    assert found["z"].null_count() == found.height


def test_a_battery_idle_for_months_starts_anew_without_an_event_of_its_own():
    def idle(rows):
        return rows.filter(
            ~pl.col("date").is_between(START.date() + timedelta(days=30), START.date() + timedelta(days=89))
        )

    found = features_of(made_days(1, 100, change=idle))
    back = found.filter(pl.col("date") >= START.date() + timedelta(days=90))
    assert back.height
    assert back["z"].abs().max() < 5


def test_no_data_give_no_features(month):
    nothing = {name: frame.clear() for name, frame in month.items()}
    assert features_of(nothing).is_empty()


def test_every_feature_and_fault_has_its_own_name():
    names = [row.name for row in (*FEATURES, *DATA_FAULTS)]
    assert len(set(names)) == len(names)


def charging_day(jumps=(), lag=0, seed=0):
    """A day of 5 minutes at changing currents; the reported charge follows, and jumps by 6 points at some rows."""
    random = np.random.default_rng(seed)
    current = np.round(random.normal(0, 8, 288), 2)
    moved = 100 * current / 12 / 100.0
    report = 50 + np.concatenate([[0.0], np.cumsum(moved)[:-1]]) * (lag == 0) + np.cumsum(moved) * (lag == 1)
    for row in jumps:
        report[row:] += 6.0
    rows = pl.DataFrame(
        {
            "battery_id": "b0",
            "timestamp": [START + timedelta(minutes=5 * number) for number in range(288)],
            "current_ampere": current,
            "charging_capacity_ah": np.maximum(current, 0) / 12,
            "discharging_capacity_ah": np.maximum(-current, 0) / 12,
            "soc_bms_percent": report,
        }
    )
    frames = made_days(1, 1)
    batteries = frames["batteries"].with_columns(battery_id=pl.lit("b0"), rated_capacity_ah=pl.lit(100.0))
    return feature_evidence(made_intervals(rows.to_dicts()), frames["evidence"], batteries)["soc_jumps"].item()


@pytest.mark.parametrize("lag", [0, 1])
@pytest.mark.parametrize("jumps", [(), (40,), (40, 90, 91), (0,)])
def test_jumps_of_the_reported_charge_are_counted_and_what_the_current_moves_is_none(jumps, lag):
    """Known truth; the first row of a day has none before it that day."""
    assert charging_day(jumps, lag) == len([row for row in jumps if row])
