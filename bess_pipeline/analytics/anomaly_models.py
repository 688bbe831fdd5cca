"""Learned models of ordinary fortnights: principal components, and an isolation forest."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date, timedelta
from importlib.metadata import version
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl
import xxhash

from bess_pipeline.analytics.feature_evidence import PEERS
from bess_pipeline.analytics.features import FEATURES
from bess_pipeline.analytics.lanes import FOREST, MODELS
from bess_pipeline.analytics.memory import day_numbers, epoch_of
from bess_pipeline.analytics.outlier_models import (
    FOREST_NAME,
    KINDS,
    MODEL_DAYS,
    PCA_NAME,
    Model,
    budgeted_level,
    model_of,
)
from bess_pipeline.analytics.traces import numbered
from bess_pipeline.analytics.windows import window_means
from bess_pipeline.arrays import Floats, Ints
from bess_pipeline.tables.anomalies import AnomalyModel, AnomalySignal
from bess_pipeline.tables.keys import BATTERY_DAY
from bess_pipeline.window import epoch_start

#: Days whose mean scores are looked at together, and how many of them a feature needs.
WINDOW, FEWEST_DAYS = timedelta(days=14), 5
#: Largest magnitude with which a score enters a mean [σ].
CLIP = 4.0
#: How long before its epoch a model is trained on, and the least of it.
TRAINED, FEWEST_TRAINED = timedelta(days=180), timedelta(days=60)
#: Battery-days and battery-epochs that a model needs.
FEWEST_ROWS, FEWEST_BLOCKS = 400, 12
#: Features that a model needs; it has those that are known on half of its battery-days.
FEWEST_FEATURES, KNOWN = 4, 0.5
#: Share of the battery-epochs of the window, the most unusual ones, that a model is not fitted to.
TRIMMED = 0.1
#: How much of an alarm each model tells: about one healthy day in seventy, and in seven.
LEAST = {PCA_NAME: 0.5, FOREST_NAME: 0.75}
#: Days before an epoch on which its models rest.
BEFORE = TRAINED + WINDOW

#: Columns of daily features that are read.
READS = (*BATTERY_DAY, "feature", "z", "observed_until")

#: Score of the resistance over that of the warmth from which on the temperature sensor reads high. A kelvin too much
#: adds some 2 % to the resistance at 25 °C: 0.6 at the floors of both features; a battery that is warmer adds nothing.
READS_HIGH = 0.3
_WARMTH, _RESISTANCE = ("temperature_mean", "temperature_over_ambient"), "step_resistance"

_NAMES = tuple(feature.name for feature in FEATURES)
_PLACES = {name: place for place, name in enumerate(_NAMES)}
_EPOCH = date(1970, 1, 1)
#: Models that have these in common are the same.
_FITTED_ALIKE = ("training_version", "features", "library")
_LANE_OF = {PCA_NAME: MODELS, FOREST_NAME: FOREST}


class Learned(NamedTuple):
    """What comes out of a fleet's daily features.

    Attributes:
        models: `AnomalyModel` rows.
        signals: `AnomalySignal` rows.
    """

    models: pl.DataFrame
    signals: pl.DataFrame


def learned(features: pl.DataFrame, models: pl.DataFrame | None = None) -> Learned:
    """What models of ordinary fortnights say of each day.

    A row is the mean score of each feature over the last fortnight, each score within ±4 σ. Every 28 days
    a model is trained on the fleet's rows of the 180 days before, on those features that half of them know;
    what is unknown counts as ordinary. The most unusual tenth of the battery-epochs is left out of
    the fit, so that a battery that is failing does not teach what is ordinary.

    The principal components say how far a row lies from the others within their space (Hotelling's T²) and outside
    of it (what they do not reconstruct), in shares of the usual (T² plus SPE over its mean). The forest says how soon
    a row is parted from the others.

    What is asked of an alarm follows from a budget, not from a share of the rows: the largest values of the
    battery-epochs of the window follow a Gumbel distribution, drawn through their median and 85th
    percentile, beyond which up to an eighth may be faults; the level is the one that 0.25 a battery-year exceed.

    A day that is unusual for most of the fleet, by its median, counts that much less for each. A row is named
    by the family of features whose scores are largest.

    Args:
        features: `DailyFeature` rows, of which `READS` are read.
        models: `AnomalyModel` rows of one epoch, that from which on models are trained; none to begin at the beginning.
            Those of the same rows and library are not fitted again.

    Returns:
        `AnomalyModel` rows by fleet, epoch and model; `AnomalySignal` rows by battery, day and model, from
        `LEAST` on, the statistic over that of an alarm.

    References:
        H. H. Yue, S. J. Qin, Reconstruction-based fault identification using a combined index, Ind. Eng. Chem. Res. 40
        (2001) 4403, doi:10.1021/ie000141+.
        F. T. Liu, K. M. Ting, Z.-H. Zhou, Isolation forest, ICDM 2008, doi:10.1109/ICDM.2008.17.
        C. A. Lowry et al., A multivariate exponentially weighted moving average control chart, Technometrics 34 (1992)
        46, doi:10.2307/1269551: means of days see small lasting shifts that no day alone shows.
    """
    known = AnomalyModel.create_empty() if models is None else models
    trained: list[pl.DataFrame] = [AnomalyModel.create_empty()]
    signals: list[pl.DataFrame] = [AnomalySignal.create_empty()]
    for rows in _fortnights(features).partition_by("fleet_id", maintain_order=True):
        for model, told in _learned(rows, known):
            trained.append(model)
            signals.append(told)
    return Learned(
        pl.concat(trained).sort("fleet_id", "date", "model"), pl.concat(signals).sort(*BATTERY_DAY, "lane", "feature")
    )


def _fortnights(features: pl.DataFrame) -> pl.DataFrame:
    """Mean scores of the fortnight up to each day, by battery and day: a column per feature, NaN where unknown."""
    watched = features.filter(pl.col("feature").is_in(_NAMES)).select(*BATTERY_DAY, "feature", "z", "observed_until")
    until = watched.group_by(BATTERY_DAY).agg(pl.col("observed_until").max())
    nothing = pl.DataFrame(schema=dict.fromkeys(_NAMES, pl.Float64))
    wide = watched.pivot("feature", index=BATTERY_DAY, values="z", on_columns=list(_NAMES))
    days = pl.concat([nothing, wide], how="diagonal").join(until, on=BATTERY_DAY).sort(BATTERY_DAY)
    means = window_means(
        numbered(days),
        days["date"].to_physical().cast(pl.Int64).to_numpy(),
        np.clip(days.select(_NAMES).fill_null(float("nan")).to_numpy(), -CLIP, CLIP),
        WINDOW.days,
        FEWEST_DAYS,
    )
    return days.select(*BATTERY_DAY, "observed_until").hstack(pl.DataFrame(means, schema=list(_NAMES)))


def _learned(rows: pl.DataFrame, known: pl.DataFrame) -> Iterator[tuple[pl.DataFrame, pl.DataFrame]]:
    """Models of one fleet from that epoch on of which some are known, each with what it says of its epoch."""
    since = epoch_of(known)
    values = rows.select(_NAMES).to_numpy()
    day = rows["date"].to_physical().to_numpy().astype(np.int64)
    battery = numbered(rows)
    epochs = sorted({epoch_start(at, MODEL_DAYS) for at in rows["date"].unique()})
    for epoch in epochs:
        if since is not None and epoch < since:
            continue
        begins = int(day_numbers([epoch])[0])
        past = np.flatnonzero((day >= begins - TRAINED.days) & (day < begins))
        chosen = _chosen(values[past])
        if len(chosen) < FEWEST_FEATURES:
            continue
        trained = past[_is_known(values[past][:, chosen])]
        blocks = np.unique(np.column_stack([battery[trained], day[trained] // MODEL_DAYS]), axis=0, return_inverse=True)
        number = blocks[1].reshape(-1)
        if len(trained) < FEWEST_ROWS or len(blocks[0]) < FEWEST_BLOCKS or np.ptp(day[trained]) < FEWEST_TRAINED.days:
            continue
        now = np.flatnonzero((day >= begins) & (day < begins + MODEL_DAYS))
        now = now[_is_known(values[now][:, chosen])]
        training = np.nan_to_num(values[trained][:, chosen])
        unrest = _largest(number, np.square(training).sum(axis=1))
        usual = training[unrest[number] <= np.quantile(unrest, 1.0 - TRIMMED)]
        said = {
            "fleet_id": rows["fleet_id"][0],
            "date": epoch,
            "trained_from": _EPOCH + timedelta(days=int(day[trained].min())),
            "trained_until": _EPOCH + timedelta(days=int(day[trained].max())),
            "training_rows": len(usual),
            "training_version": xxhash.xxh3_128_hexdigest(np.ascontiguousarray(usual).tobytes()),
            "library": f"scikit-learn {version('scikit-learn')}",
            "features": json.dumps([_NAMES[place] for place in chosen]),
        }
        today = np.nan_to_num(values[now][:, chosen])
        for name, kind in KINDS.items():
            artifact = said | {"model": name}
            model = _fitted_before(known, artifact) or kind.fitted(usual)
            past_values = model.values(training)
            level = budgeted_level(_largest(number, past_values))
            usual_value = float(np.median(past_values))
            artifact |= {"level": level, "parameters": model.text()}
            statistic = calmed(model.values(today) / level, day[now], usual_value / level)
            shown = statistic >= LEAST[name]
            yield (
                pl.DataFrame([artifact], schema=AnomalyModel.create_empty().schema),
                _told(rows[now[shown]], name, statistic[shown], _named(today[shown], chosen)),
            )


def _fitted_before(known: pl.DataFrame, artifact: dict[str, object]) -> Model | None:
    """The model of an epoch that was fitted to the same rows by the same library, if there is one."""
    same = known.filter(**{name: artifact[name] for name in ("fleet_id", "date", "model", *_FITTED_ALIKE)})
    return None if same.is_empty() else model_of(same.row(0, named=True))[0]


def _chosen(values: Floats) -> Ints:
    """Places of the features that enough rows know."""
    if not len(values):
        return np.empty(0, np.int64)
    return np.flatnonzero((~np.isnan(values)).mean(axis=0) >= KNOWN)


def _is_known(values: Floats) -> npt.NDArray[np.bool_]:
    """Whether a row knows half of its features."""
    known: npt.NDArray[np.bool_] = (~np.isnan(values)).mean(axis=1) >= KNOWN
    return known


def _largest(number: Ints, values: Floats) -> Floats:
    """The largest value of each group."""
    largest = np.full(int(number.max()) + 1, -np.inf)
    np.maximum.at(largest, number, values)
    return largest


def calmed(statistic: Floats, day: Ints, usual: float) -> Floats:
    """Statistics over how unusual the day is for the fleet: its median over the usual one, where that is more than 1.

    Args:
        statistic: Of each battery and day.
        day: Its day.
        usual: Median of the statistic in the window that the model was trained on.
    """
    rows = pl.DataFrame({"day": day, "statistic": statistic})
    unrest = pl.when(pl.len() >= PEERS).then(pl.col("statistic").median() / usual).otherwise(1.0)
    return rows.select(pl.col("statistic") / unrest.over("day").clip(lower_bound=1.0)).to_series().to_numpy()


def _named(rows: Floats, chosen: Ints) -> pl.DataFrame:
    """What each row is named by: `direction`, `family`, `kind`, `is_harmless`, and the mean score `z` of the feature.

    The family is that with the largest sum of squares, what is harmless left out unless there is nothing else.
    Warmth with a resistance that rises as it does when a sensor reads too high is the temperature sensor's.
    """
    meanings = [[(FEATURES[place].down, FEATURES[place].up)[side] for place in chosen] for side in (0, 1)]
    names = [_NAMES[place] for place in chosen]
    told = []
    for row in rows:
        mean = [meanings[int(z >= 0.0)][place] for place, z in enumerate(row)]
        weight = np.square(row) * [not meaning.harmless for meaning in mean]
        weight = weight if weight.any() else np.square(row)
        sums = {meaning.family: 0.0 for meaning in mean}
        for meaning, square in zip(mean, weight, strict=True):
            sums[meaning.family] += square
        family = max(sums, key=lambda name: sums[name])
        most = max(range(len(row)), key=lambda place: weight[place] if mean[place].family == family else -1.0)
        kind = mean[most].kind
        scores = dict(zip(names, row, strict=True))
        warmer = max((scores[name] for name in _WARMTH if name in scores), default=0.0)
        if names[most] in (*_WARMTH, _RESISTANCE) and scores.get(_RESISTANCE, 0.0) >= READS_HIGH * warmer > 0.0:
            family, kind = "sensor", "temperature_reads_high"
        told.append(("up" if row[most] >= 0.0 else "down", family, kind, mean[most].harmless, float(row[most])))
    columns = {"direction": pl.String, "family": pl.String, "kind": pl.String, "is_harmless": pl.Boolean}
    return pl.DataFrame(told, schema=columns | {"z": pl.Float64}, orient="row")


def _told(rows: pl.DataFrame, name: str, statistic: Floats, named: pl.DataFrame) -> pl.DataFrame:
    start = pl.col("date").cast(pl.Datetime("us")).dt.replace_time_zone("UTC") - WINDOW + timedelta(days=1)
    return (
        rows.select(*BATTERY_DAY, "observed_until")
        .hstack(named)
        .with_columns(
            lane=pl.lit(_LANE_OF[name]),
            component=pl.lit(""),
            feature=pl.lit(name),
            severity=pl.when("is_harmless").then(pl.lit("info")).otherwise(pl.lit("warning")),
            started_at=start,
            raised_at=pl.when(pl.Series(statistic) >= 1.0).then("observed_until"),
            statistic=pl.Series(statistic),
            value=pl.Series(statistic),
            peers=pl.lit(None, pl.Int64),
        )
        .select(AnomalySignal.column_names())
    )
