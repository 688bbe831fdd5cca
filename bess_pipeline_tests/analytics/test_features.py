"""Features: what a day says, beside its peers and beside its own past."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bess_pipeline.analytics.features import DATA_FAULTS, FEATURES
from bess_pipeline.tables.anomalies import DailyFeature
from bess_pipeline_tests.analytics.made_days import START, daily_features, made_days, resistances_of


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


def test_the_resistance_is_that_of_the_day_at_25_degrees(month):
    """Known truth: 2 mV a cell at 1 A over 100 cells are 0.2 Ω at 22 °C, and exp(-20000/8.314·(1/295.15 - 1/298.15))
    of that, 0.184 Ω, at 25 °C; the voltage of the charge that flows between the rows is in it as well."""
    found = value_of(features_of(month), "step_resistance")
    assert found.height == 5 * 30
    assert np.exp(found["value"].median()) == pytest.approx(0.184, rel=0.1)


def test_resistances_of_steps_and_of_means_are_not_compared(month):
    """Means say some 40 % more than steps: from day 25 on the same battery is measured by them."""
    measured = resistances_of(month)
    late = pl.col("date") >= START.date() + timedelta(days=25)
    other = measured.with_columns(
        method=pl.when(late).then(pl.lit("means")).otherwise("method"),
        day_resistance_ohm=pl.when(late).then(1.4 * pl.col("day_resistance_ohm")).otherwise("day_resistance_ohm"),
    )
    rows = value_of(features_of(month | {"resistances": other}), "step_resistance")
    assert rows.filter(late).height == 5 * 5
    assert rows.filter(late)["z"].null_count() == 5 * 5


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
