"""The lane of learned models: small faults in several features, and no alarm of what a whole fleet shows."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from functools import cache

import numpy as np
import polars as pl
import pytest

from bess_pipeline.analytics.anomaly_models import (
    BEFORE,
    FEWEST_TRAINED,
    LEAST,
    WINDOW,
    calmed,
    learned,
)
from bess_pipeline.analytics.lanes import FOREST, MODELS
from bess_pipeline.analytics.outlier_models import FOREST_NAME, MODEL_DAYS, PCA_NAME, Components, Forest, model_of
from bess_pipeline.tables.anomalies import AnomalyModel, AnomalySignal, DailyFeature
from bess_pipeline.window import epoch_start

FIRST = epoch_start(date(2025, 1, 1), MODEL_DAYS)
NAMES = (
    "step_resistance", "outside_cell_resistance", "cell_loop_resistance", "cell_low", "cell_high", "rest_spread",
    "spread_p95", "temperature_mean", "temperature_over_ambient", "temperature_hot_spot", "capacity",
)  # fmt: skip
#: Day from which on the battery is faulty.
FAULT = 230


def made_features(days=300, batteries=12, seed=0, moved=None, shift=0.0):
    """Scores of healthy batteries, warmth shared by two features; `moved` features of b03 shift from day 230 on."""
    chance = np.random.default_rng(seed)
    shape = (batteries, days, len(NAMES))
    z = 0.6 * chance.standard_normal(shape)
    warmth = 0.5 * chance.standard_normal((batteries, days))
    for place, name in enumerate(NAMES):
        if name in ("temperature_mean", "temperature_over_ambient"):
            z[:, :, place] = warmth + 0.1 * chance.standard_normal((batteries, days))
    for name in moved or ():
        z[3, FAULT:, NAMES.index(name)] += shift
    dates = [FIRST + timedelta(days=number) for number in range(days)]
    grid = pl.DataFrame({"battery_id": [f"b{number:02d}" for number in range(batteries)]}).join(
        pl.DataFrame({"date": dates}), how="cross"
    ).join(pl.DataFrame({"feature": NAMES}), how="cross")  # fmt: skip
    rows = grid.with_columns(
        fleet_id=pl.lit("f"),
        value=pl.Series(z.ravel()),
        adjusted=pl.Series(z.ravel()),
        z=pl.Series(z.ravel()),
        peers=pl.lit(batteries - 1, pl.Int64),
        observed_until=pl.col("date").cast(pl.Datetime("us")).dt.replace_time_zone("UTC") + pl.duration(hours=23),
    )
    return rows.select(DailyFeature.column_names()).sort("battery_id", "date", "feature")


def of(features):
    found = learned(features)
    AnomalyModel.validate(found.models)
    AnomalySignal.validate(found.signals)
    return found


@cache
def of_made(**features):
    """What is learned of made features, once."""
    return of(made_features(**features))


def raised_in(found, lane=MODELS):
    return found.signals.filter(pl.col("lane") == lane, pl.col("raised_at").is_not_null())


def first_day_of(battery_days):
    return (battery_days["date"].min() - FIRST).days


@pytest.mark.parametrize("seed", range(3))
def test_healthy_fleets_keep_the_budget(seed):
    """Known: 12 batteries for the 240 days after the first model: 8 years, 2 alarms at the budget."""
    raised = raised_in(of_made(seed=seed))
    runs = raised.sort("battery_id", "date").with_columns(pause=pl.col("date").diff().over("battery_id"))
    assert runs.filter(pl.col("pause").is_null() | (pl.col("pause") > timedelta(days=21))).height <= 4


@pytest.mark.parametrize(
    ("moved", "shift", "family"),
    [
        (("cell_low", "spread_p95", "rest_spread"), 0.9, "cell"),
        (("outside_cell_resistance",), 1.2, "electrical"),
        (("temperature_mean", "temperature_over_ambient"), 1.2, "thermal"),
        (("temperature_mean", "temperature_over_ambient"), -1.2, "sensor"),
        (("temperature_mean", "temperature_over_ambient", "step_resistance"), 1.0, "sensor"),
        (("capacity",), -1.2, "capacity"),
    ],
)
def test_a_shift_below_the_slack_of_a_control_chart_is_seen_within_a_fortnight_and_named(moved, shift, family):
    """Known truth: about one standard deviation, from day 230 on; a chart with a slack of 1 σ gathers nothing of it."""
    raised = raised_in(of(made_features(moved=moved, shift=shift))).filter(pl.col("battery_id") == "b03")
    told = raised.filter(pl.col("date") >= FIRST + timedelta(days=FAULT)).sort("date")
    assert first_day_of(told) <= FAULT + WINDOW.days
    assert told["family"].mode().to_list() == [family]
    assert told["severity"].unique().to_list() == ["warning"]


def test_what_a_whole_fleet_shows_is_no_batterys():
    features = made_features()
    late = pl.col("date") >= FIRST + timedelta(days=FAULT)
    shifted = features.with_columns(
        z=pl.when(late & (pl.col("feature") == "spread_p95")).then(pl.col("z") + 3.0).otherwise("z")
    )
    raised = raised_in(of(shifted)).filter(late)
    assert raised["battery_id"].n_unique() <= 2


def test_days_are_calmed_by_their_median_where_there_are_five():
    statistic = np.array([2.0, 2.0, 2.0, 2.0, 8.0, 0.5, 8.0])
    day = np.array([1, 1, 1, 1, 1, 2, 2])
    assert calmed(statistic, day, 0.5).tolist() == [0.5, 0.5, 0.5, 0.5, 2.0, 0.5, 8.0]
    assert calmed(statistic, day, 4.0).tolist() == statistic.tolist()


def test_a_fault_in_the_past_does_not_teach_what_is_ordinary():
    """Known truth: b03 is off by 3 σ from day 100 to 200; b04 shows the same from day 230 on, and is raised."""
    features = made_features()
    day = (pl.col("date") - FIRST).dt.total_days()
    once = (pl.col("battery_id") == "b03") & day.is_between(100, 200)
    now = (pl.col("battery_id") == "b04") & (day >= FAULT)
    moved = features.with_columns(
        z=pl.when((once | now) & (pl.col("feature") == "cell_low")).then(pl.col("z") + 3.0).otherwise("z")
    )
    raised = raised_in(of(moved)).filter(pl.col("battery_id") == "b04", day >= FAULT)
    assert first_day_of(raised) <= FAULT + 10


def test_a_model_says_what_it_was_trained_on_and_scores_again_from_its_artifact():
    found = of_made(moved=("cell_low",), shift=1.5)
    assert found.models["model"].unique().sort().to_list() == sorted([FOREST_NAME, PCA_NAME])
    for row in found.models.iter_rows(named=True):
        assert row["trained_until"] < row["date"]
        assert row["trained_from"] >= row["date"] - timedelta(days=180)
        model, names, level = model_of(row)
        assert set(names) <= set(NAMES)
        assert model.values(np.zeros((1, len(names))))[0] < level
        assert row["library"].startswith("scikit-learn ")
    versions = found.models.group_by("date").agg(pl.col("training_version").n_unique())
    assert versions["training_version"].to_list() == [1] * versions.height
    other = of_made(seed=1)
    assert set(found.models["training_version"]).isdisjoint(other.models["training_version"])


def test_models_begin_with_the_first_epoch_that_has_enough_before_it():
    begins = of_made(seed=0).models["date"].min()
    assert begins == epoch_start(begins, MODEL_DAYS)
    ready = FIRST + FEWEST_TRAINED
    assert ready <= begins <= ready + timedelta(days=2 * MODEL_DAYS)
    assert of(made_features(batteries=4)).models["date"].min() > begins
    assert of(made_features(batteries=2)).models.is_empty()
    assert of(made_features(days=60)).models.is_empty()


def test_features_that_a_fleet_does_not_have_are_not_asked_for():
    few = made_features(moved=("cell_low",), shift=2.0).filter(pl.col("feature").is_in(NAMES[:5]))
    found = of(few)
    assert {tuple(json.loads(names)) for names in found.models["features"]} == {NAMES[:5]}
    assert "b03" in raised_in(found)["battery_id"]
    assert of(few.filter(pl.col("feature").is_in(NAMES[:3]))).models.is_empty()


def test_a_day_without_half_of_the_features_says_nothing():
    features = made_features(moved=("cell_low",), shift=4.0)
    blind = (pl.col("battery_id") == "b03") & (pl.col("date") >= FIRST + timedelta(days=FAULT - WINDOW.days))
    kept = features.filter(~blind | pl.col("feature").is_in(("cell_low", "cell_high")))
    late = of(kept).signals.filter(
        pl.col("battery_id") == "b03", pl.col("date") >= FIRST + timedelta(days=FAULT + WINDOW.days)
    )
    assert late.is_empty()


def test_little_is_told_below_an_alarm():
    found = of(made_features(moved=("cell_low",), shift=1.0))
    for lane, name in ((MODELS, PCA_NAME), (FOREST, FOREST_NAME)):
        told = found.signals.filter(lane=lane)
        assert told["statistic"].min() >= LEAST[name]
        assert (told["raised_at"].is_not_null() == (told["statistic"] >= 1.0)).all()


@pytest.mark.parametrize("cut", [252, 270, 285, 299])
def test_an_epoch_rests_on_so_many_days_before_and_on_no_order(cut):
    """What an increment reads gives the same rows to the last digit; the days are those that Delta would give."""
    features = made_features(moved=("cell_low",), shift=1.2, seed=4)
    whole = of_made(moved=("cell_low",), shift=1.2, seed=4)
    day = epoch_start(FIRST + timedelta(days=cut), MODEL_DAYS)
    read = features.filter(pl.col("date") >= day - BEFORE).sample(fraction=1.0, shuffle=True, seed=cut)
    part = learned(read, whole.models.filter(date=day))
    for mine, theirs in zip(part, whole, strict=True):
        assert mine.equals(theirs.filter(pl.col("date") >= day))
    assert part.signals.height > 0
    assert part.models["date"].min() == day


def test_a_model_is_fitted_again_only_to_other_rows_or_by_another_library(monkeypatch):
    features, day = made_features(), epoch_start(FIRST + timedelta(days=285), MODEL_DAYS)
    whole, read = of_made(seed=0), features.filter(pl.col("date") >= day - BEFORE)
    known = whole.models.filter(date=day)
    fits = []
    for kind in (Components, Forest):
        fitted = kind.fitted
        monkeypatch.setattr(kind, "fitted", lambda rows, fitted=fitted: fits.append(len(rows)) or fitted(rows))
    later = (whole.models["date"] > day).sum()
    assert learned(read, known).models.equals(whole.models.filter(pl.col("date") >= day))
    assert len(fits) == later
    fits.clear()
    learned(read, known.with_columns(library=pl.lit("scikit-learn 0.1")))
    assert len(fits) == later + 2
    fits.clear()
    learned(read.filter(pl.col("date") != day - timedelta(days=20)), known)
    assert len(fits) == later + 2


def test_no_features_give_no_models():
    found = of(made_features(days=1).clear())
    assert found.models.is_empty()
    assert found.signals.is_empty()


def test_fleets_do_not_meet():
    one = made_features(moved=("cell_low",), shift=1.5)
    other = made_features(seed=1).with_columns(fleet_id=pl.lit("g"))
    both = of(pl.concat([one, other]))
    alone = of_made(seed=1).models.with_columns(fleet_id=pl.lit("g"))
    assert both.signals.filter(fleet_id="f").equals(of_made(moved=("cell_low",), shift=1.5).signals)
    assert both.models.filter(fleet_id="g").equals(alone)


def test_alarms_are_known_with_the_days_last_sample():
    raised = raised_in(of_made(moved=("cell_low",), shift=1.5)).row(0, named=True)
    midnight = datetime.combine(raised["date"], datetime.min.time(), UTC)
    assert raised["raised_at"] == midnight + timedelta(hours=23)
    assert raised["started_at"] == midnight - WINDOW + timedelta(days=1)
