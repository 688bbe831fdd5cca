"""Control charts that are taken up at an epoch go on as if they had never been left."""

from datetime import UTC, date, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from bess_pipeline.analytics.control_charts import CHART
from bess_pipeline.analytics.feature_scores import scored
from bess_pipeline.analytics.features import FEATURES
from bess_pipeline.tables.memory import FeatureMemory

FIRST = date(2024, 12, 1)
DAYS = 420
NAMES = ("cell_low", "spread_p95", "idle_current", "step_resistance", "capacity_change")


@pytest.fixture(scope="module")
def values():
    """Features of eight batteries that step, drift, fall silent and come back, beside peers or without."""
    rng = np.random.default_rng(5)
    rows = []
    for number in range(8):
        silent = set(range(60 * number, 60 * number + 12 * number))
        for name in NAMES:
            noise = np.cumsum(rng.normal(0, 0.0003, DAYS)) + rng.normal(0, 0.004, DAYS)
            steps = rng.choice(DAYS, 3, replace=False)
            for at in steps:
                noise[at : at + int(rng.integers(3, 150))] += rng.choice([-1, 1]) * 0.06
            for day in range(10 * number, DAYS):
                if day in silent or rng.random() < 0.03:
                    continue
                at = FIRST + timedelta(days=day)
                rows.append(
                    {
                        "fleet_id": "f", "battery_id": f"b{number}", "date": at, "feature": name, "value": noise[day],
                        "adjusted": noise[day] if rng.random() > 0.01 else None, "peers": 7 if day % 50 else 2,
                        "observed_until": datetime(at.year, at.month, at.day, 23, tzinfo=UTC),
                        "depth": day // 90 % 2, "height": 0, "method": None, "capacity_error": 0.004,
                    }
                )  # fmt: skip
    kinds = {"date": pl.Date, "observed_until": pl.Datetime("us", "UTC"), "method": pl.String, "depth": pl.Int64}
    return pl.DataFrame(rows, schema_overrides=kinds)


@pytest.fixture(scope="module")
def whole(values):
    return scored(values, FEATURES)


def test_the_made_up_batteries_raise_alarms_and_lose_them(whole):
    rows, memory = whole
    assert rows.filter(pl.col("z").abs() > 4).height > 200
    assert memory["date"].n_unique() == 60
    # Some charts are open at an epoch: the third of the sums is when an alarm opened.
    opened = memory.filter(pl.col("alone").list.get(4).is_not_null())
    assert opened["date"].n_unique() > 5
    assert not memory["alone"].equals(memory["beside"])


def test_taken_up_at_any_epoch_scores_and_memories_are_those_of_the_whole(values, whole):
    rows, memory = whole
    for epoch in memory["date"].unique().sort():
        later = values.filter(pl.col("date") >= epoch - CHART.reference)
        told, kept = scored(later, FEATURES, memory.filter(date=epoch))
        fresh = pl.col("date") >= epoch
        assert told.filter(fresh).equals(rows.filter(fresh)), epoch
        assert kept.equals(memory.filter(pl.col("date") > epoch)), epoch
        assert told.filter(~fresh)["z"].null_count() == told.filter(~fresh).height


def test_a_battery_that_has_fallen_silent_keeps_its_memory(values, whole):
    _, memory = whole
    epoch = memory["date"].unique().sort()[32]
    silent = values.filter((pl.col("battery_id") != "b3") | (pl.col("date") < epoch))
    _, kept = scored(silent, FEATURES)
    _, again = scored(silent.filter(pl.col("date") >= epoch - CHART.reference), FEATURES, kept.filter(date=epoch))
    assert again.equals(kept.filter(pl.col("date") > epoch))
    assert set(again["battery_id"]) >= {"b3"}


def test_memories_keep_their_contract(whole):
    FeatureMemory.validate(whole[1])


def test_without_days_there_is_nothing(values):
    rows, memory = scored(values.clear(), FEATURES)
    assert rows.is_empty()
    assert memory.is_empty()
    FeatureMemory.validate(memory)
