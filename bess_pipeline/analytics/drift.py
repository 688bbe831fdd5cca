"""Whether what the learned models are fed still is what they were trained on."""

from __future__ import annotations

import json
from datetime import date, timedelta

import numpy as np
import polars as pl

from bess_pipeline.analytics.anomaly_models import CLIP
from bess_pipeline.analytics.outlier_models import MODEL_DAYS, PCA_NAME
from bess_pipeline.analytics.verdicts import Verdict
from bess_pipeline.arrays import Floats

#: How long a model is in force.
EPOCH = timedelta(days=MODEL_DAYS)
#: Days since the beginning of a model's epoch that are compared with its training: at least, and at most.
FEWEST_DAYS, MOST_DAYS = 14, 42
#: Whole stretches of the training window, each as long as these days, that a comparison needs.
FEWEST_STRETCHES = 3
#: Known values of a feature in each stretch.
FEWEST_VALUES = 20
#: A feature has drifted from so many times the usual distance between stretches on, and from so far on [σ].
#: None of 108 stationary made fleets of 2 to 30 batteries, whose scores of a day are correlated with those of the
#: next by 0 to 0.9, had any of 11 features beyond both: fewer than 3 in 100, at 95 % (`benchmarks/drift_alarms.py`).
FACTOR, LEAST_DISTANCE = 4.0, 0.3
#: A feature is gone when it is known on less than this share of what it was known in training.
GONE = 0.5

_NOTHING = {
    "feature": pl.String,
    "distance": pl.Float64,
    "usual_distance": pl.Float64,
    "shift": pl.Float64,
    "known_then": pl.Float64,
    "known_now": pl.Float64,
    "worst_battery_id": pl.String,
    "worst_shift": pl.Float64,
    "has_drifted": pl.Boolean,
}


def drift(features: pl.DataFrame, models: pl.DataFrame) -> pl.DataFrame:
    """Hold the scores of each feature since a model is in force against those that it was trained on.

    The distance is that of Wasserstein, between the scores of all batteries since then
    and those of the training window: how far the scores have moved on average [σ]. Days and batteries are
    not independent, so that no table says how large it is by chance. The training window
    itself does: it is cut into stretches as long as the time since, and each is held against the rest of it.

    Args:
        features: `DailyFeature` rows of one fleet, from the beginning of the training window on.
        models: `AnomalyModel` rows of it.

    Returns:
        A row per feature of the newest model that is old enough, those that drifted most first: ``distance`` and
        ``usual_distance`` [σ], ``shift`` of the median [σ], the shares of battery-days on which the feature was
        and is known, the battery that moved most, and ``has_drifted``. No row without such a model.

    References:
        L. N. Vaserstein, Markov processes over denumerable products of spaces, Probl. Peredachi Inf. 5 (1969) 64.
    """
    newest = features["date"].max()
    own = models.filter(pl.col("model") == PCA_NAME).sort("date")
    old_enough = own if not isinstance(newest, date) else own.filter(pl.col("date") <= _first_of(newest))
    if old_enough.is_empty() or not isinstance(newest, date):
        return pl.DataFrame(schema=_NOTHING)
    model = old_enough.row(-1, named=True)
    length = min((newest - model["date"]).days + 1, MOST_DAYS)
    watched = features.filter(
        pl.col("date").is_between(model["trained_from"], newest), pl.col("feature").is_in(json.loads(model["features"]))
    ).with_columns(
        pl.col("z").clip(-CLIP, CLIP),
        stretch=(pl.lit(model["date"]) - timedelta(days=1) - pl.col("date")).dt.total_days() // length,
        is_now=pl.col("date") >= model["date"],
    )
    days = watched.select("battery_id", "date", "is_now").unique().group_by("is_now").len()
    battery_days = dict(days.iter_rows())
    rows = [
        _of_feature(str(name[0]), one.drop_nulls("z"), battery_days)
        for name, one in watched.partition_by("feature", as_dict=True, maintain_order=True).items()
    ]
    found = [row for row in rows if row is not None]
    return pl.DataFrame(found, schema=_NOTHING).sort(
        "has_drifted", pl.col("distance") / pl.col("usual_distance"), "feature", descending=[True, True, False],
        nulls_last=True,
    )  # fmt: skip


def _first_of(newest: date) -> date:
    """The last day on which a model may have come into force that is old enough."""
    return newest - timedelta(days=FEWEST_DAYS - 1)


def _of_feature(name: str, rows: pl.DataFrame, battery_days: dict[bool, int]) -> dict[str, object] | None:
    """How one feature stands; nothing if too little is known of the time before."""
    then, now = rows.filter(~pl.col("is_now")), rows.filter("is_now")
    stretches = {
        number: part["z"].to_numpy()
        for (number,), part in then.partition_by("stretch", as_dict=True).items()
        if part.height >= FEWEST_VALUES
    }
    if len(stretches) < FEWEST_STRETCHES:
        return None
    usual = float(np.mean([_apart(part, stretches, number) for number, part in stretches.items()]))
    told: dict[str, object] = {
        "feature": name,
        "usual_distance": usual,
        "known_then": then.height / battery_days[False],
        "known_now": now.height / battery_days[True] if True in battery_days else 0.0,
    }
    is_gone = now.height / max(battery_days.get(True, 0), 1) < GONE * then.height / battery_days[False]
    if now.height < FEWEST_VALUES:
        return told | {"has_drifted": is_gone}
    distance = _distance(now["z"].to_numpy(), then["z"].to_numpy())
    moved = _moved(then, now)
    return told | {
        "distance": distance,
        "shift": _median(now) - _median(then),
        "worst_battery_id": moved["battery_id"].first(),
        "worst_shift": moved["shift"].first(),
        "has_drifted": is_gone or (distance >= FACTOR * usual and distance >= LEAST_DISTANCE),
    }


def _apart(part: Floats, stretches: dict[object, Floats], number: object) -> float:
    """Distance of a stretch from the others."""
    return _distance(part, np.concatenate([other for k, other in stretches.items() if k != number]))


def _distance(left: Floats, right: Floats) -> float:
    from scipy.stats import wasserstein_distance

    return float(wasserstein_distance(left, right))


def _median(rows: pl.DataFrame) -> float:
    return float(np.median(rows["z"].to_numpy()))


def _moved(then: pl.DataFrame, now: pl.DataFrame) -> pl.DataFrame:
    """How far the median of each battery has moved, furthest first."""
    before, after = (rows.group_by("battery_id").agg(pl.col("z").median()) for rows in (then, now))
    return (
        after.join(before, on="battery_id", suffix="_then")
        .select("battery_id", shift=pl.col("z") - pl.col("z_then"))
        .sort(pl.col("shift").abs(), "battery_id", descending=[True, False])
    )


def inputs_of_models(drifted: pl.DataFrame) -> Verdict:
    """Whether the models are fed what they were trained on.

    Args:
        drifted: What `drift` says of a fleet.
    """
    if drifted.is_empty():
        return Verdict(
            passed=True, summary="no model is old enough to be held against what it is fed", worst=pl.DataFrame()
        )
    cases = drifted.filter("has_drifted")
    if cases.is_empty():
        summary = f"the {drifted.height} features of the model are distributed as they were when it was trained"
        return Verdict(passed=True, summary=summary, worst=pl.DataFrame())
    named = "; ".join(_words(row) for row in cases.head(5).iter_rows(named=True))
    summary = (
        f"{cases.height} of {drifted.height} features of the model are not distributed as when it was trained: {named};"
        " until the next training its alarms, and scores of these features, may say more of the data than of batteries"
    )
    return Verdict(passed=False, summary=summary, worst=cases.drop("has_drifted").head(5))


def _words(row: dict[str, object]) -> str:
    known = f"known on {row['known_now']:.0%} of battery-days, was {row['known_then']:.0%}"
    if row["distance"] is None:
        return f"{row['feature']} ({known})"
    far = f"{row['distance']:.1f} σ away, usually {row['usual_distance']:.1f}; most {row['worst_battery_id']}"
    return f"{row['feature']} ({far})"
