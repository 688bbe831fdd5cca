"""Sums of scores that are taken up at an epoch go on as if they had never been left."""

from datetime import UTC, date, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from bess_pipeline.analytics.chart_signals import BEFORE, LEAP, LEAPING_FAMILIES, chart_signals
from bess_pipeline.analytics.chart_sums import followed_sums, nothing_carried
from bess_pipeline.analytics.control_charts import CHART
from bess_pipeline.analytics.event_onsets import SHOWN, event_onsets
from bess_pipeline.analytics.features import FEATURES
from bess_pipeline.tables.anomalies import AnomalySignal
from bess_pipeline.tables.memory import ChartMemory

FIRST = date(2024, 12, 1)
DAYS = 420
NAMES = ("temperature_mean", "temperature_over_ambient", "step_resistance", "cell_low", "rest_spread", "capacity")


@pytest.fixture(scope="module")
def features():
    """Scores of six batteries that step and hover, leap at once, read too warm, fall silent and come back."""
    rng = np.random.default_rng(6)
    rows = []
    for number in range(6):
        silent = set(range(60 * number, 60 * number + 20 * number))
        shifts = {name: np.zeros(DAYS) for name in NAMES}
        for name in NAMES:
            for at in rng.choice(DAYS, 3, replace=False):
                shifts[name][at : at + int(rng.integers(3, 120))] += rng.choice([-1, 1]) * rng.uniform(1, 12)
        if number in (1, 2):
            for name in NAMES[:3]:
                shifts[name] += np.where((np.arange(DAYS) // 75) % 2 == 1, 3.0, 0.0)
        for name in NAMES:
            for day in range(10 * number, DAYS):
                if day in silent or rng.random() < 0.05:
                    continue
                z = rng.normal(0, 1) + shifts[name][day] + 14.0 * (day % 97 == 50)
                rows.append(
                    {
                        "fleet_id": "f", "battery_id": f"b{number}", "date": FIRST + timedelta(days=day),
                        "feature": name, "value": z, "adjusted": z, "z": None if rng.random() < 0.04 else z,
                        "peers": 5, "observed_until": datetime(2025, 1, 1, 23, tzinfo=UTC) + timedelta(days=day),
                    }
                )  # fmt: skip
            if rng.random() < 0.5:
                rows.append(rows[-1] | {"feature": "coverage", "z": None})
    return pl.DataFrame(rows, schema_overrides={"peers": pl.Int64})


@pytest.fixture(scope="module")
def whole(features):
    return chart_signals(features)


def test_the_made_up_batteries_raise_alarms_leap_and_have_sensors_that_read_high(whole):
    signals, memory = whole
    AnomalySignal.validate(signals)
    assert signals["raised_at"].drop_nulls().len() > 300
    assert set(signals["severity"]) == {"info", "warning", "critical"}
    assert {"channels_leap_at_once", "temperature_reads_high"} < set(signals["kind"])
    assert memory["date"].n_unique() == 60
    # Sensors that read high across an epoch, and sums that were told before it.
    assert memory["reads_high"].sum() > 3
    assert memory.select(pl.col("carried").list.slice(7).list.drop_nulls().list.len().max()).item() > 2


def test_taken_up_at_any_epoch_signals_and_memories_are_those_of_the_whole(features, whole):
    signals, memory = whole
    for epoch in memory["date"].unique().sort():
        later = features.filter(pl.col("date") >= epoch - BEFORE)
        told, kept = chart_signals(later, memory.filter(date=epoch))
        assert_frame_equal(told, signals.filter(pl.col("date") >= epoch), check_exact=True, check_row_order=False)
        assert kept.equals(memory.filter(pl.col("date") > epoch)), epoch


def test_a_battery_that_has_fallen_silent_keeps_its_memory(features, whole):
    epoch = whole.memory["date"].unique().sort()[32]
    silent = features.filter((pl.col("battery_id") != "b3") | (pl.col("date") < epoch - timedelta(days=80)))
    kept = chart_signals(silent).memory
    again = chart_signals(silent.filter(pl.col("date") >= epoch - BEFORE), kept.filter(date=epoch)).memory
    assert again.equals(kept.filter(pl.col("date") > epoch))
    assert "b3" in set(again["battery_id"])


def test_how_strong_a_sum_is_is_the_mean_of_the_last_four_scores_that_raised():
    """Hand-computed: the sum is 2, 5, 8, 11, 14, 17, with steps of three; it raises from 10 on."""
    scores = np.array([3.0, 9.0, 9.0, 5.0, 9.0, 6.0])
    offsets, days, none = np.array([0, 6]), np.arange(6), np.array([], dtype=np.int64)
    found = followed_sums(offsets, days, scores, scores, nothing_carried(1), none, least=3.0).rows
    assert found[:, 0].tolist() == [2.0, 5.0, 8.0, 11.0, 14.0, 17.0]
    np.testing.assert_array_equal(found[:, 4], [np.nan, np.nan, np.nan, 5.0, 7.0, 20 / 3])


def test_without_days_there_is_nothing(features):
    signals, memory = chart_signals(features.clear())
    assert signals.is_empty()
    assert memory.is_empty()
    AnomalySignal.validate(signals)
    ChartMemory.validate(memory)


def test_days_on_which_channels_leap_at_once_are_those_that_counting_one_by_one_finds(features, whole):
    """Regression: a window within a window of Polars compared a feature with another one of the same day."""
    family = {feature.name: feature.up.family for feature in FEATURES}
    before, leaping = {}, {}
    watched = features.filter(pl.col("feature").is_in(list(family))).sort("feature", "battery_id", "date")
    for battery, day, feature, z in watched.select("battery_id", "date", "feature", "z").iter_rows():
        if z is not None and abs(z) >= LEAP and before.get((feature, battery), 0.0) < CHART.clip:
            leaping.setdefault((battery, day), set()).add(family[feature])
        before[feature, battery] = abs(z) if z is not None else 0.0
    expected = {key for key, families in leaping.items() if len(families) >= LEAPING_FAMILIES}
    told = whole.signals.filter(kind="channels_leap_at_once").select("battery_id", "date")
    assert len(expected) > 10
    assert set(told.iter_rows()) == expected


def test_where_an_event_begins_rests_on_sixty_days(features, whole):
    onsets = event_onsets(whole.signals, features)
    assert onsets.height > 20
    for back in (30, 100, 200):
        day = FIRST + timedelta(days=DAYS - back)
        read = pl.col("date") >= day - SHOWN
        part = event_onsets(whole.signals.filter(read), features.filter(read))
        expected = onsets.filter(pl.col("date") >= day)
        assert part.filter(pl.col("date") >= day).equals(expected)
        assert expected.height > 0
