"""Drift of the models' inputs: scores made as those of the learned lane are, a model in force since day 224."""

import json
from datetime import timedelta

import polars as pl
import pytest

from bess_pipeline.analytics.drift import drift, inputs_of_models
from bess_pipeline.analytics.outlier_models import PCA_NAME
from bess_pipeline_tests.analytics.test_anomaly_models import FIRST, NAMES, made_features

#: Days of the made scores up to the model, and after it.
TRAINED, AFTER = 224, 28
SINCE = FIRST + timedelta(days=TRAINED)


def model(since=SINCE):
    said = {
        "model": PCA_NAME,
        "date": since,
        "trained_from": since - timedelta(days=180),
        "features": json.dumps(NAMES),
    }
    return pl.DataFrame([said])


def features(after=AFTER, **options):
    return made_features(days=TRAINED + after, **options)


def of_fleet(name):
    return (pl.col("date") >= SINCE) & (pl.col("feature") == name)


@pytest.mark.parametrize("seed", range(3))
def test_a_stationary_fleet_is_quiet(seed):
    found = drift(features(seed=seed), model())
    assert found.height == len(NAMES)
    assert not found["has_drifted"].any()
    assert inputs_of_models(found).passed


def test_a_feature_that_moved_for_all_is_named_first_with_how_far():
    moved = features().with_columns(z=pl.when(of_fleet("cell_low")).then(pl.col("z") + 1.0).otherwise("z"))
    found = drift(moved, model())
    first = found.row(0, named=True)
    assert (first["feature"], found["has_drifted"].sum()) == ("cell_low", 1)
    assert first["shift"] == pytest.approx(1.0, abs=0.1)
    verdict = inputs_of_models(found)
    assert not verdict.passed
    assert not verdict.is_error
    assert "1 of 11 features" in verdict.summary
    assert "cell_low (1.0 σ away, usually 0.0" in verdict.summary


def test_a_feature_that_spreads_without_moving_is_found():
    wider = features().with_columns(z=pl.when(of_fleet("capacity")).then(pl.col("z") * 3).otherwise("z"))
    assert drift(wider, model()).filter("has_drifted")["feature"].to_list() == ["capacity"]


def test_the_battery_that_moved_most_is_named():
    own = of_fleet("rest_spread") & (pl.col("battery_id") == "b07")
    moved = features().with_columns(z=pl.when(own).then(pl.col("z") + 2.0).otherwise("z"))
    assert drift(moved, model()).filter(feature="rest_spread")["worst_battery_id"].item() == "b07"


def test_a_feature_that_is_known_no_more_has_drifted():
    found = drift(features().filter(~of_fleet("spread_p95")), model())
    (gone,) = found.filter("has_drifted").to_dicts()
    assert (gone["feature"], gone["known_then"], gone["known_now"]) == ("spread_p95", 1.0, 0.0)
    assert "known on 0% of battery-days, was 100%" in inputs_of_models(found).summary


def test_a_model_of_which_less_than_a_fortnight_is_known_is_not_judged_and_the_one_before_is():
    young = features(after=13)
    assert drift(young, model()).is_empty()
    assert inputs_of_models(drift(young, model())).summary.startswith("no model is old enough")
    before = SINCE - timedelta(days=28)
    assert drift(young, pl.concat([model(before), model()])).height == len(NAMES)
