"""Samples that stand alone: none of a healthy battery is an anomaly, and what is planted is found."""

import random
from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from bess_pipeline.analytics.detection import ALARM, FEWEST, SAMPLES, sample_scores
from bess_pipeline.analytics.lanes import scores
from bess_pipeline.sources.simulate import Plan, simulate
from bess_pipeline.sources.simulate.cells import MAKES
from bess_pipeline_tests.analytics.made_samples import nameplates

PLATES = {
    "LFP": {"rated_energy_wh": 218_400.0},
    "NMC": {"rated_energy_wh": 218_400.0, "cell_voltage_low_volt": 3.0, "cell_voltage_high_volt": 4.2},
}


def plate_of(chemistry, rows):
    make = MAKES[chemistry]
    rated = {"rated_capacity_ah": make.capacity_ah, "cells_in_series": make.in_series}
    return nameplates(rows["battery_id"].unique(), chemistry=chemistry, **PLATES[chemistry], **rated)


def days_of(chemistry, profile, interval, seed):
    """Days of a healthy battery, without data faults."""
    plan = Plan(
        fleet_id="f", batteries=1, days=3, seed=seed, interval_seconds=interval, chemistry=chemistry, profile=profile,
        faults=(), data_faults=False, start=date(2026, 4, 1),
    )  # fmt: skip
    rows = simulate(plan).samples.sort("timestamp")
    days = rows.group_by(pl.col("timestamp").dt.date(), maintain_order=True)
    return [day.drop("fleet_id", "battery_id", strict=False) for _, day in days], plate_of(chemistry, rows)


@pytest.fixture(scope="module")
def healthy():
    """A day of minutes of a healthy battery that is used for its own power, and its nameplate."""
    days, plate = days_of("NMC", "frequency", 60, 7)
    return days[1], plate


@pytest.fixture(scope="module")
def calm():
    """A day of five minutes of a battery off the steep ends."""
    days, plate = days_of("LFP", "reserve", 300, 8)
    return days[1], plate


@pytest.mark.parametrize("contamination", [0.01, 0.05, 0.2, 0.5])
@pytest.mark.parametrize(
    ("chemistry", "profile", "interval"),
    [("LFP", "arbitrage", 300), ("LFP", "peak_shaving", 300), ("NMC", "pv", 300), ("LFP", "frequency", 300)],
)
def test_a_healthy_battery_has_no_anomaly_whatever_share_is_allowed(chemistry, profile, interval, contamination):
    days, plate = days_of(chemistry, profile, interval, 11)
    for day in days:
        for some in (day, day.slice(100, 60), day.head(5)):
            assert not sample_scores(some, plate, contamination=contamination).rows["is_anomaly"].any()


def on(rows, first, count, column, change):
    """The rows with a column changed in some of them, and which."""
    chosen = pl.Series(np.isin(np.arange(rows.height), np.arange(first, first + count)))
    changed = pl.when(chosen).then(change).otherwise(pl.col(column)).alias(column)
    return rows.with_columns(changed), chosen


@pytest.mark.parametrize(
    ("column", "change", "detector", "family", "kind"),
    [
        ("cell_voltage_min_volt", pl.col("cell_voltage_min_volt") - 0.06, "samples", "cell", "low_cell"),
        ("temperature_max_celsius", pl.col("temperature_max_celsius") + 6, "samples", "thermal", "hot_spot"),
        ("temperature_max_celsius", pl.lit(47.0), "thresholds", "limit", "OVER_TEMP_WARNING"),
        ("temperature_max_celsius", pl.lit(51.0), "thresholds", "limit", "OVER_TEMP_ALARM"),
        ("temperature_min_celsius", pl.lit(-6.0), "thresholds", "limit", "UNDER_TEMP_ALARM"),
        ("voltage_volt", pl.lit(0.0), "data_checks", "data", "voltage_out_of_range"),
        ("voltage_volt", pl.lit(1e12), "data_checks", "data", "voltage_out_of_range"),
        ("current_ampere", pl.lit(-1e12), "data_checks", "data", "current_out_of_range"),
        ("soc_bms_percent", pl.lit(240.0), "data_checks", "data", "soc_out_of_range"),
    ],
)
def test_what_is_planted_is_found_and_named(calm, column, change, detector, family, kind):
    rows, plate = calm
    planted, chosen = on(rows, 120, 8, column, change)
    found = sample_scores(planted, plate).rows
    assert found.filter(~chosen)["is_anomaly"].sum() == 0
    hits = found.filter(chosen)
    assert hits["is_anomaly"].all()
    assert set(hits.select("detector", "family", "kind").unique().rows()) == {(detector, family, kind)}
    assert hits["score"].min() > found.filter(~chosen)["score"].max()


def test_no_more_are_unusual_than_the_share_allows_and_those_are_the_most_unusual(calm):
    rows, plate = calm
    column = "temperature_max_celsius"
    planted, _ = on(rows, 100, 10, column, pl.col(column) + 6)
    planted, worst = on(planted, 100, 3, column, pl.col(column) + 2)
    assert sample_scores(planted, plate, contamination=0.05).rows["is_anomaly"].sum() == 10
    few = sample_scores(planted, plate, contamination=0.01).rows
    assert few["is_anomaly"].to_list() == worst.to_list()
    # What a limit says is not bounded: all of the day is too hot.
    hot = rows.with_columns(temperature_max_celsius=pl.lit(60.0))
    assert sample_scores(hot, plate, contamination=0.01).rows["is_anomaly"].all()


def test_the_order_in_which_samples_come_does_not_matter(healthy):
    rows, plate = healthy
    planted, _ = on(rows, 700, 9, "temperature_max_celsius", pl.col("temperature_max_celsius") + 6)
    found = sample_scores(planted, plate).rows
    assert found["timestamp"].to_list() == planted["timestamp"].to_list()
    order = random.Random(3).sample(range(planted.height), planted.height)
    shuffled = sample_scores(planted[order], plate).rows
    assert shuffled.equals(found[order])
    assert found["is_anomaly"].sum() == 9


def test_nothing_is_remembered(healthy):
    rows, plate = healthy
    planted, _ = on(rows, 700, 9, "temperature_max_celsius", pl.col("temperature_max_celsius") + 6)
    before = sample_scores(rows, plate).rows
    sample_scores(planted, plate)
    assert sample_scores(rows, plate).rows.equals(before)


def test_too_few_samples_are_not_judged_beside_each_other_and_it_is_said(calm):
    rows, plate = calm
    assert sample_scores(rows.head(FEWEST), plate).judged["temperature_hot_spot"] == FEWEST
    few = rows.head(FEWEST - 1).with_columns(
        temperature_max_celsius=pl.col("temperature_max_celsius") + 6 * (pl.int_range(pl.len()) >= 15)
    )
    found = sample_scores(few, plate)
    assert set(found.judged.values()) == {0}
    assert not found.rows["is_anomaly"].any()
    known = sample_scores(rows.select("timestamp", "voltage_volt"), plate)
    assert known.judged == {"cell_low": 0, "temperature_hot_spot": 0, "voltage": 0}


def test_scores_grow_with_the_distance_and_are_shares():
    z = np.linspace(0, 40, 400)
    told = scores(SAMPLES, z)
    assert (np.diff(told) >= 0).all()
    assert told[0] == 0
    assert 0.99999 < scores(SAMPLES, np.array([ALARM]))[0] < 1


def test_what_makes_no_sense_is_refused(calm):
    rows, plate = calm
    for share in (0.0, -0.1, 0.51, float("nan")):
        with pytest.raises(ValueError, match="contamination"):
            sample_scores(rows, plate, contamination=share)
    with pytest.raises(ValueError, match="two samples of 2026-04-02"):
        sample_scores(pl.concat([rows, rows.head(1)]), plate)


def test_a_day_that_is_not_there_is_no_anomaly(calm):
    """A silence between samples says how they came, and nothing of the battery."""
    rows, plate = calm
    later = rows.with_columns(pl.col("timestamp") + timedelta(days=9))
    both = pl.concat([rows, later])
    assert not sample_scores(both, plate).rows["is_anomaly"].any()
