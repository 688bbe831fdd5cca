"""Models of what is ordinary, against scikit-learn itself and distributions that are known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest

from bess_pipeline.analytics.outlier_models import (
    BUDGET,
    KEPT_VARIANCE,
    KINDS,
    LEAVES,
    MODEL_DAYS,
    TREES,
    Components,
    Forest,
    budgeted_level,
)


def made_rows(count=600, seed=0, second=0.6):
    """Six features that follow two causes, and a little noise of their own."""
    chance = np.random.default_rng(seed)
    causes = chance.normal(size=(count, 2)) * [1.0, second]
    return causes @ chance.normal(size=(2, 6)) + 0.1 * chance.normal(size=(count, 6))


@pytest.mark.parametrize("seed", range(3))
def test_components_give_hotellings_square_and_the_error_of_reconstruction(seed):
    """Expected: scikit-learn's own transform and inverse transform."""
    rows = made_rows(seed=seed)
    model = PCA(n_components=KEPT_VARIANCE, svd_solver="full").fit(rows)
    scores = model.transform(rows)
    hotelling = (scores**2 / model.explained_variance_).sum(axis=1)
    error = ((rows - model.inverse_transform(scores)) ** 2).sum(axis=1)
    expected = hotelling + (rows.shape[1] - model.n_components_) * error / error.mean()
    assert Components.fitted(rows).values(rows) == pytest.approx(expected, rel=1e-9)


def test_components_see_what_breaks_the_pattern_where_each_value_alone_is_ordinary():
    rows = made_rows(second=0.0)
    model = Components.fitted(rows)
    broken = rows[:50].copy()
    broken[:, 0] = np.roll(broken[:, 0], 7)
    assert np.abs(broken).max() <= np.abs(rows).max()
    assert np.median(model.values(broken)) > np.quantile(model.values(rows), 0.99)


@pytest.mark.parametrize("count", [200, 256, 3000])
def test_a_forest_scores_as_scikit_learn_does(count):
    rows = made_rows(count)
    reference = IsolationForest(n_estimators=TREES, max_samples=min(LEAVES, count), random_state=0).fit(rows)
    strange = np.concatenate([rows, 3.0 * made_rows(50, seed=1)])
    assert Forest.fitted(rows).values(strange) == pytest.approx(-reference.score_samples(strange), abs=1e-9)


@pytest.mark.parametrize("name", list(KINDS))
def test_a_model_comes_back_from_its_text(name):
    rows = made_rows()
    model = KINDS[name].fitted(rows)
    again = KINDS[name].of_text(model.text())
    assert (again.values(rows) == model.values(rows)).all()
    assert again.text() == model.text()


@pytest.mark.parametrize("name", list(KINDS))
def test_the_same_rows_give_the_same_model_and_others_another(name):
    rows = made_rows()
    assert KINDS[name].fitted(rows).text() == KINDS[name].fitted(rows.copy()).text()
    assert KINDS[name].fitted(rows).text() != KINDS[name].fitted(rows[1:]).text()


@pytest.mark.parametrize("faulty", [0.0, 0.05, 0.12])
def test_a_budget_is_kept_although_some_of_the_past_was_faulty(faulty):
    """Known: a Gumbel distribution. Faults in the past raise the level, and not so far that such faults escape it."""
    chance = np.random.default_rng(5)
    logarithms = chance.gumbel(0.0, 0.25, 20_000)
    spoilt = np.where(np.arange(20_000) < faulty * 20_000, logarithms + 3.0, logarithms)
    level = budgeted_level(np.exp(spoilt))
    rate = (np.exp(logarithms) > level).mean() * 365.25 / MODEL_DAYS
    assert rate <= BUDGET * 1.15
    assert faulty or rate >= BUDGET * 0.8
    assert (np.exp(chance.gumbel(3.0, 0.25, 1000)) > level).mean() > 0.99


@settings(deadline=None, max_examples=20)
@given(scale=st.floats(0.01, 100.0), budget=st.sampled_from([0.1, 0.25, 0.5]))
def test_a_level_scales_with_the_values_and_falls_with_the_budget(scale, budget):
    values = np.exp(np.random.default_rng(2).gumbel(0.0, 0.3, 300))
    assert budgeted_level(scale * values, budget) == pytest.approx(scale * budgeted_level(values, budget))
    assert budgeted_level(values, budget) > budgeted_level(values, 2 * budget)
