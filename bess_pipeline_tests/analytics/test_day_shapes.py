"""Days that run like none before, against a plain reference and known courses."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bess_pipeline.analytics.day_shapes import BEFORE, COURSES, FEWEST, LEAST, nearest_distances, shape_signals
from bess_pipeline.analytics.lanes import LANE_BY_NAME, SHAPES
from bess_pipeline.tables.anomalies import AnomalySignal
from bess_pipeline.tables.hours import HourlyEvidence
from bess_pipeline_tests.analytics.made_days import START

HOUR = timedelta(hours=1)
#: Day from which on the course is another.
TURN = 150


def made_hours(days=170, batteries=6, seed=0, turned=(), shared=False):
    """Warm around noon, every day a little otherwise; some batteries around midnight from day 150 on."""
    chance = np.random.default_rng(seed)
    hour, day = np.arange(24), np.arange(days)
    frames = []
    for number in range(batteries):
        other = (day[:, None] >= TURN) & (shared or f"b{number}" in turned)
        warm = np.cos(2 * np.pi * (hour[None, :] - np.where(other, 0, 12)) / 24)
        course = 3.0 * warm + 0.5 * chance.normal(size=(days, 24))
        frames.append(
            pl.DataFrame(
                {
                    "battery_id": f"b{number}",
                    "timestamp": [START + int(step) * HOUR for step in range(days * 24)],
                    "temperature_celsius": 25.0 + course.ravel(),
                    "hot_spot_kelvin": 1.0 + 0.1 * chance.normal(size=days * 24),
                    "cell_below_volt": 0.005 + 0.0005 * chance.normal(size=days * 24),
                }
            )
        )
    return (
        pl.concat(frames)
        .with_columns(
            fleet_id=pl.lit("f"),
            date=pl.col("timestamp").dt.date(),
            observed_until=pl.col("timestamp") + HOUR,
            intervals=pl.lit(12, pl.Int64),
            cell_voltage_mean_volt=pl.lit(3.7),
        )
        .select(HourlyEvidence.column_names())
    )


def signals_of(hours):
    return AnomalySignal.validate(shape_signals(hours))


def raised_in(hours):
    return signals_of(hours).drop_nulls("raised_at")


def plainly(series, day, values, window):
    """The definition, row by row."""
    youngest, oldest, fewest, shared = window
    out = []
    for i in range(len(day)):
        found = []
        for j in range(i):
            apart = values[i] - values[j]
            apart = apart[~np.isnan(apart)]
            if series[j] == series[i] and youngest <= day[i] - day[j] <= oldest and len(apart) >= shared:
                found.append(np.sqrt(np.mean((apart - apart.mean()) ** 2)))
        out.append(min(found) if len(found) >= fewest else np.nan)
    return np.array(out)


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 10_000), gap=st.floats(0.0, 0.4))
def test_distances_are_those_of_the_definition(seed, gap):
    chance = np.random.default_rng(seed)
    count = 60
    series = np.sort(chance.integers(0, 3, count))
    day = np.concatenate([np.sort(chance.choice(80, (series == one).sum(), replace=False)) for one in range(3)])
    values = np.where(chance.random((count, 6)) < gap, np.nan, chance.normal(size=(count, 6)))
    window = np.array([2, 40, 3, 4])
    found = nearest_distances(series.astype(np.int64), day.astype(np.int64), values, window.astype(np.int64))
    assert found == pytest.approx(plainly(series, day, values, window), abs=1e-9, nan_ok=True)


@pytest.mark.parametrize("seed", range(3))
def test_ordinary_days_raise_nothing(seed):
    assert raised_in(made_hours(seed=seed)).is_empty()


def test_a_battery_that_is_warm_at_other_hours_is_told_on_the_second_day_though_never_warmer():
    raised = raised_in(made_hours(turned=("b2",)))
    assert set(raised.select("battery_id", "feature", "family", "kind").iter_rows()) == {
        ("b2", "temperature_celsius", "thermal", "warm_at_other_hours")
    }
    assert raised["date"].min() == (START + timedelta(days=TURN + 1)).date()


def test_a_single_odd_day_is_somebodys_dispatch():
    hours = made_hours(turned=("b2",))
    kept = hours.filter(pl.col("timestamp") < START + timedelta(days=TURN + 1))
    after = made_hours().filter(pl.col("timestamp") >= START + timedelta(days=TURN + 1))
    assert raised_in(pl.concat([kept, after])).is_empty()


def test_what_the_whole_fleet_does_is_no_batterys():
    assert raised_in(made_hours(shared=True)).is_empty()


def test_a_new_course_is_ordinary_once_it_is_two_weeks_old():
    raised = raised_in(made_hours(turned=("b2",)))
    assert raised["date"].max() <= (START + timedelta(days=TURN + 14)).date()


def test_little_is_told_below_an_alarm():
    told = signals_of(made_hours(turned=("b2",)))
    assert told["statistic"].min() >= LEAST
    assert (told["raised_at"].is_not_null() == (told["statistic"] >= 1.0)).all()


def test_the_lane_writes_scores_and_raises_no_events():
    assert not LANE_BY_NAME[SHAPES].is_on


def test_too_short_a_past_says_nothing():
    assert signals_of(made_hours(days=FEWEST)).is_empty()
    assert signals_of(made_hours().clear()).is_empty()


@pytest.mark.parametrize("course", COURSES, ids=lambda course: course.column)
def test_every_course_is_a_column_of_the_hours(course):
    assert course.column in HourlyEvidence.column_names()


def test_a_day_rests_on_so_many_days_before_and_on_no_order():
    hours = made_hours(days=230, turned=("b2",))
    whole = signals_of(hours.sample(fraction=1.0, shuffle=True, seed=1))
    day = (START + timedelta(days=TURN)).date() + timedelta(days=40)
    late = pl.col("date") >= day
    part = signals_of(hours.filter(pl.col("date") >= day - BEFORE))
    assert part.filter(late).equals(whole.filter(late))
    early = (START + timedelta(days=TURN)).date()
    cut = signals_of(hours.filter(pl.col("date") >= early - BEFORE))
    assert cut.filter(pl.col("date") >= early).equals(whole.filter(pl.col("date") >= early))
    assert whole.filter(pl.col("date") >= early).height > 0
