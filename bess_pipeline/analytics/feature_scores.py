"""Scores of features: how far each day is from a battery's own past, taken up where it was left."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import date
from typing import Protocol

import numpy as np
import polars as pl

from bess_pipeline.analytics.control_charts import (
    CHART,
    Followed,
    followed_scores,
    has_begun,
    nothing_carried,
    unrest,
)
from bess_pipeline.analytics.feature_evidence import PEERS
from bess_pipeline.analytics.memory import day_numbers, epoch_of, epochs_within
from bess_pipeline.analytics.traces import numbered
from bess_pipeline.arrays import Floats
from bess_pipeline.tables.keys import BATTERY, BATTERY_DAY
from bess_pipeline.tables.memory import FeatureMemory
from bess_pipeline.tables.resistance import METHODS

_SERIES = ("feature", *BATTERY)
#: The charts of a series: first without regard to its peers, then held against their unrest.
_CHARTS = ("alone", "beside")


class Scored(Protocol):
    """What has to be known of a feature to score it; see `features.Feature`."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def floor(self) -> float:
        """Least standard deviation credited."""

    @property
    def has_past(self) -> bool:
        """Whether a day is held against the battery's own past; else against zero."""


def scored(
    values: pl.DataFrame, features: Iterable[Scored], memory: pl.DataFrame | None = None
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Adjusted values with their robust scores, and what is carried into the epochs.

    Args:
        values: `BATTERY_DAY`, `feature`, `value`, `adjusted`, null where there is nothing to score, `peers`,
            `observed_until`, and what only days alike are compared in: `depth`, `height`, `method`, `capacity_error`.
        features: The features that are scored.
        memory: `FeatureMemory` rows of one epoch; none to begin at the beginning.

    Returns:
        The rows with `z`, null on days before the epoch; `FeatureMemory` rows of the epochs that begin within the rows.
    """
    ordered = values.sort("feature", *BATTERY_DAY)
    rows = ordered.drop_nulls("adjusted")
    known = FeatureMemory.create_empty() if memory is None else memory
    series = pl.concat([rows.select(_SERIES), known.select(_SERIES)]).unique().sort(_SERIES)
    epoch = epoch_of(known)
    followed, has_past = _followed(rows, series, list(features), epoch)
    epochs = epochs_within(ordered["date"], epoch)
    followed = replace(followed, epochs=day_numbers(epochs))
    carried = series.join(known, on=_SERIES, how="left", maintain_order="left")
    kept: dict[str, Floats] = {}

    def scores(chart: str, factors: Floats) -> Floats:
        found, kept[chart] = followed_scores(followed, factors, _carried(carried[chart]))
        return np.where(has_past, found, followed.values / (followed.floors * factors))

    alone = scores("alone", np.ones(rows.height))
    beside = scores("beside", _unrest(rows.with_columns(z=pl.Series(alone))))
    told = rows.with_columns(z=pl.Series(beside).fill_nan(None))
    if epoch is not None:
        told = told.with_columns(z=pl.when(pl.col("date") >= epoch).then("z"))
    untold = ordered.filter(pl.col("adjusted").is_null()).with_columns(z=pl.lit(None, pl.Float64))
    columns = (*BATTERY_DAY, "feature", "value", "adjusted", "z", "peers", "observed_until")
    return pl.concat([told, untold]).select(columns), _memory(series, epochs, kept)


def _followed(
    rows: pl.DataFrame, series: pl.DataFrame, features: list[Scored], epoch: date | None
) -> tuple[Followed, np.typing.NDArray[np.bool_]]:
    """The series as numbers, and of each row whether it is held against the battery's own past."""
    counts = series.join(rows.group_by(_SERIES).len(), on=_SERIES, how="left", maintain_order="left")["len"]
    floors = {feature.name: feature.floor for feature in features}
    numbers = rows.select(
        day=pl.col("date").to_physical().cast(pl.Int64),
        level=_level(),
        floor=pl.max_horizontal(
            pl.col("feature").replace_strict(floors, return_dtype=pl.Float64),
            pl.when(pl.col("feature") == "capacity_change").then(pl.col("capacity_error")),
        ),
        has_past=~pl.col("feature").is_in([feature.name for feature in features if not feature.has_past]),
    )
    followed = Followed(
        np.append(0, np.cumsum(counts.fill_null(0).to_numpy().astype(np.int64))),
        numbers["day"].to_numpy(),
        numbers["level"].to_numpy(),
        rows["adjusted"].to_numpy(),
        numbers["floor"].to_numpy(),
    )
    if epoch is not None:
        followed = replace(followed, begun=int(day_numbers([epoch])[0]))
    return followed, numbers["has_past"].to_numpy()


def _level() -> pl.Expr:
    """What only days alike may be compared in: peers, reach into the steep ends, method of the measurement."""
    reach = (
        pl.when(pl.col("feature") == "cell_low")
        .then(pl.col("depth"))
        .when(pl.col("feature") == "spread_p95")
        .then(3 * pl.col("depth") + pl.col("height"))
        .when(pl.col("feature") == "step_resistance")
        .then(pl.col("method").cast(pl.Enum(METHODS)).to_physical().cast(pl.Int64).fill_null(0))
        .otherwise(0)
    )
    return 2 * reach + (pl.col("peers") >= PEERS - 1).cast(pl.Int64)


def _unrest(rows: pl.DataFrame) -> Floats:
    """How unusual each row's day is for its peers, where there are enough: see `control_charts.unrest`."""
    group = ("fleet_id", "feature", "date")
    ordered = (
        rows.with_row_index("place").filter(pl.col("z").is_not_nan()).sort(*group, pl.col("z").abs(), "battery_id")
    )
    numbers = numbered(ordered, group)
    others = ordered.select(pl.len().over(group)).to_series().to_numpy() - 1
    factors = np.ones(rows.height)
    factors[ordered["place"].to_numpy()] = np.where(others >= PEERS - 1, unrest(numbers, ordered["z"].to_numpy()), 1.0)
    return factors


def _carried(lists: pl.Series) -> Floats:
    """What is carried into each series; nothing where there is no list."""
    found = nothing_carried(len(lists), chart=CHART)
    known = lists.is_not_null().to_numpy()
    if known.any():
        found[known] = np.array([[np.nan if v is None else v for v in row] for row in lists.drop_nulls()])
    return found


def _memory(series: pl.DataFrame, epochs: list[date], kept: dict[str, Floats]) -> pl.DataFrame:
    """`FeatureMemory` rows of the series that had begun before each epoch, sorted."""
    schema = FeatureMemory.create_empty().schema
    if not epochs or series.is_empty():
        return pl.DataFrame(schema=schema)
    rows = series.join(pl.DataFrame({"date": epochs}), how="cross", maintain_order="left_right")
    lists = {name: pl.Series(kept[name].reshape(rows.height, -1)).arr.to_list() for name in _CHARTS}
    return (
        rows.with_columns(**lists)
        .filter(pl.Series(has_begun(kept["alone"]).reshape(-1)))
        .with_columns(pl.col(_CHARTS).list.eval(pl.element().fill_nan(None)))
        .select(schema.names())
        .sort(*BATTERY_DAY, "feature")
    )
