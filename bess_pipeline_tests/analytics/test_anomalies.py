"""Anomalies: scores of days, and events that keep what they are."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, date, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bess_pipeline.analytics.advice import next_steps
from bess_pipeline.analytics.anomalies import anomaly_events
from bess_pipeline.analytics.chart_signals import chart_signals
from bess_pipeline.analytics.event_onsets import event_onsets
from bess_pipeline.analytics.features import DATA_FAULTS, FEATURES
from bess_pipeline.analytics.lanes import anomaly_scores
from bess_pipeline.analytics.limits import limit_episodes
from bess_pipeline.analytics.signals import ageing_signals, limit_signals
from bess_pipeline.tables.anomalies import (
    FAMILIES,
    AnomalyEvent,
    AnomalyScore,
    AnomalySignal,
    DailyFeature,
    LimitEpisode,
)
from bess_pipeline.tables.degradation import Degradation
from bess_pipeline_tests.analytics.made_days import START, daily_features, made_days

FIRST = date(2026, 1, 1)
NO_EPISODES = LimitEpisode.create_empty()


def scored(*shifts, days=200, batteries=2, seed=0):
    """Features with normal scores; a shift is (battery, feature, first day, last day, added score)."""
    random = np.random.default_rng(seed)
    grid = (
        pl.DataFrame({"battery_id": [f"b{number}" for number in range(batteries)]})
        .join(pl.DataFrame({"feature": [feature.name for feature in FEATURES]}), how="cross")
        .join(pl.DataFrame({"date": pl.date_range(FIRST, FIRST + timedelta(days=days - 1), eager=True)}), how="cross")
    )
    frame = grid.with_columns(fleet_id=pl.lit("f"), z=pl.Series(random.normal(size=grid.height)))
    for battery, feature, first, last, amount in shifts:
        hit = (
            (pl.col("battery_id") == battery)
            & (pl.col("feature") == feature)
            & pl.col("date").is_between(FIRST + timedelta(days=first), FIRST + timedelta(days=last))
        )
        frame = frame.with_columns(z=pl.when(hit).then(pl.col("z") + amount).otherwise(pl.col("z")))
    return frame.select(
        "fleet_id",
        "battery_id",
        "date",
        "feature",
        value=pl.col("z"),
        adjusted=pl.col("z"),
        z=pl.col("z"),
        peers=pl.lit(1, pl.Int64),
        observed_until=pl.col("date").cast(pl.Datetime("us")).dt.replace_time_zone("UTC") + pl.duration(hours=23),
    )


def signals_of(features, episodes=NO_EPISODES, degradation=None):
    found = pl.concat(
        [
            chart_signals(features).signals,
            limit_signals(episodes),
            ageing_signals(Degradation.create_empty() if degradation is None else degradation),
        ]
    )
    return AnomalySignal.validate(found)


def scores_of(features, episodes=NO_EPISODES):
    return AnomalyScore.validate(anomaly_scores(signals_of(features, episodes), features))


def events_of(features, episodes=NO_EPISODES, degradation=None):
    scores_of(features, episodes)
    signals = signals_of(features, episodes, degradation)
    onsets = event_onsets(signals, features)
    return AnomalyEvent.validate(anomaly_events(signals, episodes, onsets, features))


def data_fault(battery, feature, day, value):
    row = scored(days=day + 1, batteries=1).filter(pl.col("date") == FIRST + timedelta(days=day)).head(1)
    nothing = pl.lit(None, pl.Float64)
    return row.with_columns(
        battery_id=pl.lit(battery), feature=pl.lit(feature), value=pl.lit(value), adjusted=nothing, z=nothing
    )


def test_ordinary_days_raise_nothing():
    features = scored(batteries=5)
    assert events_of(features).is_empty()
    scores = scores_of(features).filter(detector="statistics")["score"]
    assert scores.median() < 0.9
    assert scores.max() < 0.999


@pytest.mark.parametrize(
    ("shift", "family", "kind", "severity"),
    [
        pytest.param(("b0", "temperature_mean", 50, 90, 5.0), "thermal", "warmer_than_peers", "warning", id="warmer"),
        pytest.param(("b0", "temperature_mean", 50, 90, -6.0), "sensor", "colder_than_peers", "warning", id="colder"),
        pytest.param(("b0", "rest_spread", 50, 90, 20.0), "cell", "imbalance", "critical", id="far beyond"),
        pytest.param(("b0", "rest_spread", 50, 90, -5.0), "cell", "imbalance_falls", "info", id="harmless direction"),
        pytest.param(("b0", "capacity", 50, 90, -5.0), "capacity", "capacity_drop", "warning", id="capacity"),
    ],
)
def test_a_lasting_shift_is_one_event_of_its_family(shift, family, kind, severity):
    """Known truth: the shift begins on day 50; a sum of 10 needs at least four days, one of which noise may bring."""
    (event,) = events_of(scored(shift)).to_dicts()
    assert (event["battery_id"], event["family"], event["kind"], event["severity"]) == ("b0", family, kind, severity)
    day = timedelta(days=1)
    begin = START + 50 * day
    assert begin - 3 * day <= event["started_at"] <= begin + day
    assert begin + 2 * day <= event["detected_at"] <= begin + 8 * day
    assert event["detected_at"].hour == 23
    assert event["ended_at"] is not None
    assert 0.9 < event["score"] <= 1.0
    assert json.loads(event["evidence"])["features"][0]["feature"] == shift[1]


def test_an_event_is_called_by_what_it_keeps():
    """Names are stable: feedback and tickets hold them. Hand-computed."""
    (event,) = events_of(scored(("b0", "rest_spread", 50, 90, 20.0))).to_dicts()
    detected_us = round(event["detected_at"].timestamp() * 1e6)
    kept = json.dumps([event["fleet_id"], "b0", None, "cell", "battery", detected_us])
    assert event["event_id"] == hashlib.blake2b(kept.encode(), digest_size=8).hexdigest()


def test_features_of_one_family_make_one_event_named_by_the_strongest():
    found = events_of(scored(("b0", "cell_low", 50, 90, 9.0), ("b0", "rest_spread", 60, 90, 9.0)))
    assert found["kind"].to_list() == ["low_cell"]


def test_an_event_ends_after_three_quiet_weeks_and_another_is_another():
    found = events_of(scored(("b0", "cell_low", 40, 60, 6.0), ("b0", "cell_low", 150, 199, 6.0)))
    first, second = found.to_dicts()
    assert first["ended_at"] < second["started_at"]
    assert second["ended_at"] is None
    assert first["event_id"] != second["event_id"]


def test_data_at_fault_are_no_alarm_of_the_battery():
    features = pl.concat(
        [
            scored(),
            *(data_fault("b0", "current_sign_fraction", day, 0.9) for day in (50, 51)),
            data_fault("b1", "temperature_unit_fraction", 60, 0.4),
        ]
    )
    found = events_of(features)
    assert found.select("battery_id", "family", "kind").rows() == [
        ("b0", "data", "current_sign"),
        ("b1", "data", "temperature_unit"),
    ]


def test_channels_that_leap_at_once_are_a_fault_of_the_data():
    leaping = [
        ("b0", name, 50, 50, 40.0) for name in ("temperature_mean", "step_resistance", "rest_spread", "capacity")
    ]
    found = events_of(scored(*leaping))
    assert found.select("family", "kind").rows() == [("data", "channels_leap_at_once")]


def episode(begin, end, code="OVER_VOLT_WARNING"):
    start = datetime(2026, 1, 1, tzinfo=UTC)
    return {
        "fleet_id": "f",
        "battery_id": "b0",
        "code": code,
        "started_at": start + timedelta(hours=begin),
        "ended_at": None if end is None else start + timedelta(hours=end),
        "detected_at": start + timedelta(hours=begin, minutes=10),
        "limit": 3.6,
        "extreme": 3.7,
        "intervals": 3,
    }


def test_limit_episodes_within_a_week_are_one_event():
    rows = [episode(0, 1), episode(100, 101), episode(1000, None), episode(1000, 1001, "OVER_VOLT_ALARM")]
    episodes = pl.DataFrame(rows, schema=NO_EPISODES.schema)
    found = events_of(scored(), episodes).select("kind", "severity", "started_at", "ended_at")
    at = [datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=hours) for hours in (0, 101, 1000, 1001)]
    assert sorted(found.rows(), key=str) == sorted(
        [
            ("OVER_VOLT_WARNING", "warning", at[0], at[1]),
            ("OVER_VOLT_WARNING", "warning", at[2], None),
            ("OVER_VOLT_ALARM", "critical", at[2], at[3]),
        ],
        key=str,
    )
    days = scores_of(scored(), episodes).filter(detector="thresholds").filter(pl.col("score") > 0)
    assert days.select("date", "score").rows() == [
        (FIRST, 0.975),
        (FIRST + timedelta(days=4), 0.975),
        (FIRST + timedelta(days=41), 0.991),
    ]


def test_warmth_and_resistance_that_rise_together_are_the_temperature_sensor():
    """A battery that is truly warmer resists no more once that is corrected to 25 °C."""
    warm = ("b0", "temperature_mean", 50, 90, 4.0)
    assert events_of(scored(warm))["kind"].to_list() == ["warmer_than_peers"]
    found = events_of(scored(warm, ("b0", "step_resistance", 50, 90, 4.0)))
    assert set(found.select("family", "kind").rows()) == {("sensor", "temperature_reads_high")}


def test_a_knee_told_by_the_trend_joins_the_event_of_the_capacity():
    row = Degradation.sample(1).with_columns(
        fleet_id=pl.lit("f"),
        battery_id=pl.lit("b0"),
        as_of=FIRST + timedelta(days=120),
        knee_date=FIRST + timedelta(days=70),
        knee_detected_on=FIRST + timedelta(days=100),
    )
    twice = pl.concat([row, row.with_columns(as_of=FIRST + timedelta(days=150))])
    (alone,) = events_of(scored(), degradation=twice).to_dicts()
    assert (alone["family"], alone["kind"], alone["detector"]) == ("capacity", "knee", "ageing")
    assert alone["detected_at"] == START + timedelta(days=101)
    (joined,) = events_of(scored(("b0", "capacity_change", 80, 140, -5.0)), degradation=twice).to_dicts()
    assert (joined["kind"], joined["detector"]) == ("capacity_loss", "statistics")


def test_an_event_carries_what_was_seen_before_it():
    (event,) = events_of(scored(("b0", "cell_low", 50, 90, 6.0))).to_dicts()
    series = json.loads(event["evidence"])["series"]
    found = event["detected_on"]
    assert series["feature"] == "cell_low"
    assert series["days"][-1] == str(found)
    assert len(series["days"]) == len(series["values"]) == (found - FIRST).days + 1


def test_every_kind_of_event_says_what_to_do_next():
    kinds = [(m.family, m.kind) for feature in FEATURES for m in (feature.up, feature.down)]
    kinds += [("data", fault.kind) for fault in DATA_FAULTS] + [(family, "unheard of") for family in FAMILIES]
    told = pl.DataFrame(kinds, schema=["family", "kind"], orient="row").select(next_steps("family", "kind")).to_series()
    assert told.null_count() == 0
    assert told.str.ends_with(".").all()


kept = ["event_id", "family", "kind", "detector", "started_at", "detected_at", "score", "evidence", "next_step"]
shifts = st.lists(
    st.tuples(
        st.sampled_from(["b0", "b1"]),
        st.sampled_from([feature.name for feature in FEATURES]),
        st.integers(0, 150),
        st.integers(0, 199),
        st.sampled_from([-30.0, -4.0, 4.0, 15.0]),
    ),
    max_size=5,
)


@given(shifts, st.integers(1, 199), st.integers(0, 999))
@settings(max_examples=20, deadline=None)
def test_an_event_stays_what_it_is_when_days_follow_in_any_order(planted, days, seed):
    features = scored(*planted, seed=seed)
    shuffled = features.sample(fraction=1.0, shuffle=True, seed=seed)
    found = events_of(features)
    assert found.equals(events_of(shuffled))
    last = FIRST + timedelta(days=days)
    earlier = events_of(features.filter(pl.col("date") < last))
    assert found.filter(pl.col("detected_on") < last).select(kept).equals(earlier.select(kept))


def test_a_battery_that_grows_hot_is_found_among_its_peers_and_no_other():
    """Known truth: battery b2 is 6 K warmer from day 40 on; from intervals to events."""

    def hotter(rows):
        hit = (pl.col("battery_id") == "b2") & (pl.col("timestamp") >= START + timedelta(days=40))
        temperatures = ("temperature_celsius", "temperature_min_celsius", "temperature_max_celsius")
        return rows.with_columns(pl.when(hit).then(pl.col(name) + 6).otherwise(pl.col(name)) for name in temperatures)

    frames = made_days(5, 60, change=hotter)
    features = daily_features(**frames)
    found = events_of(features, limit_episodes(frames["intervals"], frames["batteries"]).episodes)
    raised = found.filter(pl.col("severity") != "info")
    assert raised["battery_id"].unique().to_list() == ["b2"]
    thermal = raised.filter(family="thermal")
    assert thermal["kind"].to_list() == ["warmer_than_peers"]
    assert START + timedelta(days=43) < thermal["detected_at"].item() < START + timedelta(days=46)


def test_no_features_give_no_events():
    assert events_of(DailyFeature.create_empty()).is_empty()
