"""Models of what is ordinary: how unusual a row is, and by what."""

from __future__ import annotations

import base64
import io
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numba import njit

from bess_pipeline.arrays import Floats, Ints

#: Days for which models are in force.
MODEL_DAYS = 28
#: Share of the variance that the principal components keep.
KEPT_VARIANCE = 0.7
#: Trees of a forest, and the rows that each is grown on.
TREES, LEAVES = 100, 256
#: False alarms per battery-year that a model may raise on the window that it is trained on.
BUDGET = 0.25
#: Quantiles of the largest values of battery-epochs through which their distribution is drawn.
_LOWER, _UPPER = 0.5, 0.85

PCA_NAME, FOREST_NAME = "principal_components", "isolation_forest"


@dataclass(frozen=True)
class Components:
    """What principal components say of a row: how far it lies from where they would have it.

    Attributes:
        mean: Mean of the training rows: shape (features,).
        inside: Weights of the squares inside the space of the components: shape (features, features).
        outside: The same outside of it.
    """

    mean: Floats
    inside: Floats
    outside: Floats

    @classmethod
    def fitted(cls, rows: Floats) -> Components:
        """Fit to rows of shape (battery-days, features)."""
        from sklearn.decomposition import PCA

        model = PCA(n_components=KEPT_VARIANCE, svd_solver="full").fit(rows)
        kept = model.components_
        beyond = np.eye(rows.shape[1]) - kept.T @ kept
        spread = max(float(np.square((rows - model.mean_) @ beyond).sum(axis=1).mean()), 1e-9)
        inside = kept.T @ np.diag(1.0 / np.maximum(model.explained_variance_, 1e-6)) @ kept
        return cls(model.mean_, inside, beyond * (rows.shape[1] - kept.shape[0]) / spread)

    def values(self, rows: Floats) -> Floats:
        """How unusual rows are: shape (battery-days,)."""
        away = rows - self.mean
        squares: Floats = np.einsum("ij,jk,ik->i", away, self.inside + self.outside, away)
        return squares

    def text(self) -> str:
        """The parameters, as JSON."""
        return json.dumps({name: getattr(self, name).tolist() for name in ("mean", "inside", "outside")})

    @classmethod
    def of_text(cls, text: str) -> Components:
        """The model whose parameters these are."""
        return cls(**{name: np.array(values) for name, values in json.loads(text).items()})


@dataclass(frozen=True)
class Forest:
    """Trees that part a row from all others; an unusual one after few cuts.

    Attributes:
        roots: Place of the root of each tree among the nodes: shape (trees,).
        cuts: Per node the feature that is cut, −1 in a leaf; left and right child: shape (nodes, 3).
        thresholds: Where it is cut: shape (nodes,).
        depths: Cuts up to a leaf and, on average, beyond it: shape (nodes,).
        usual: Average depth of a row in a tree.
    """

    roots: Ints
    cuts: Ints
    thresholds: Floats
    depths: Floats
    usual: float

    @classmethod
    def fitted(cls, rows: Floats) -> Forest:
        """Fit to rows of shape (battery-days, features)."""
        from sklearn.ensemble import IsolationForest

        model = IsolationForest(n_estimators=TREES, max_samples=min(LEAVES, len(rows)), random_state=0).fit(rows)
        roots, cuts, thresholds, depths = [], [], [], []
        first = 0
        for tree in (grown.tree_ for grown in model.estimators_):
            leaf = tree.children_left < 0
            depth = np.zeros(tree.node_count)
            for node in np.flatnonzero(~leaf):  # parents come before their children
                depth[[tree.children_left[node], tree.children_right[node]]] = depth[node] + 1
            roots.append(first)
            children = [np.where(leaf, -1, side + first) for side in (tree.children_left, tree.children_right)]
            cuts.append(np.column_stack([np.where(leaf, -1, tree.feature), *children]))
            thresholds.append(np.where(leaf, 0.0, tree.threshold))
            depths.append(depth + np.array([_average_depth(int(count)) for count in tree.n_node_samples]))
            first += tree.node_count
        return cls(
            np.array(roots, np.int64),
            np.concatenate(cuts).astype(np.int64),
            np.concatenate(thresholds),
            np.concatenate(depths),
            _average_depth(model.max_samples_),
        )

    def values(self, rows: Floats) -> Floats:
        """How unusual rows are, from 0 to 1: shape (battery-days,)."""
        mean = _mean_depths(rows.astype(np.float32), self.roots, self.cuts, self.thresholds, self.depths)
        return np.asarray(np.exp2(-mean / self.usual))

    def text(self) -> str:
        """The trees, as a compressed NumPy archive in base 64."""
        archive = io.BytesIO()
        np.savez_compressed(
            archive, roots=self.roots.astype(np.int32), cuts=self.cuts.astype(np.int32), thresholds=self.thresholds,
            depths=self.depths, usual=self.usual,
        )  # fmt: skip
        return base64.b64encode(archive.getvalue()).decode()

    @classmethod
    def of_text(cls, text: str) -> Forest:
        """The forest whose trees these are."""
        with np.load(io.BytesIO(base64.b64decode(text)), allow_pickle=False) as held:
            return cls(
                held["roots"].astype(np.int64), held["cuts"].astype(np.int64), held["thresholds"], held["depths"],
                float(held["usual"]),
            )  # fmt: skip


Model = Components | Forest
KINDS: dict[str, type[Components | Forest]] = {PCA_NAME: Components, FOREST_NAME: Forest}


def budgeted_level(largest: Floats, budget: float = BUDGET) -> float:
    """The level that the largest values of battery-epochs exceed so often in a battery-year.

    Args:
        largest: The largest value of each battery and epoch of 28 days, positive; up to an eighth may be of faults.
        budget: Times in a battery-year.

    Examples:
        >>> chance = np.random.default_rng(0)
        >>> values = np.exp(chance.gumbel(0.0, 0.2, 100_000))
        >>> rate = (values > budgeted_level(values)).mean() * 365.25 / 28
        >>> bool(0.22 < rate < 0.28)
        True
    """
    logarithms = np.log(largest)
    low, high = np.quantile(logarithms, [_LOWER, _UPPER])
    slope = (high - low) / (_gumbel(_UPPER) - _gumbel(_LOWER))
    return float(np.exp(low + slope * (_gumbel(1.0 - budget * MODEL_DAYS / 365.25) - _gumbel(_LOWER))))


def _gumbel(share: float) -> float:
    return -math.log(-math.log(share))


def model_of(row: dict[str, object]) -> tuple[Model, Sequence[str], float]:
    """A model from its artifact: the model, its features, and the level of an alarm.

    Args:
        row: An `AnomalyModel` row.
    """
    kind = KINDS[str(row["model"])]
    return kind.of_text(str(row["parameters"])), json.loads(str(row["features"])), float(str(row["level"]))


def _average_depth(rows: int) -> float:
    """Average number of cuts that part one of so many rows from the others: equation 1 of Liu et al."""
    if rows <= 1:
        return 0.0
    return 1.0 if rows == 2 else 2.0 * (math.log(rows - 1.0) + np.euler_gamma) - 2.0 * (rows - 1.0) / rows


@njit(cache=True)
def _mean_depths(rows: Floats, roots: Ints, cuts: Ints, thresholds: Floats, depths: Floats) -> Floats:
    out = np.zeros(len(rows))
    for i in range(len(rows)):
        total = 0.0
        for root in roots:
            node = root
            while cuts[node, 0] >= 0:
                node = cuts[node, 1] if rows[i, cuts[node, 0]] <= thresholds[node] else cuts[node, 2]
            total += depths[node]
        out[i] = total / len(roots)
    return out
