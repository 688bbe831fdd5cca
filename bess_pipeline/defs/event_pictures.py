"""A picture of what an event rests on, drawn from the lake as it is now."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, overload

import polars as pl

from bess_pipeline.analytics.cell_patterns import LOOKS
from bess_pipeline.analytics.lanes import CELLS, SAFETY, THRESHOLDS
from bess_pipeline.analytics.limits import LIMITS
from bess_pipeline.arrays import Floats
from bess_pipeline.defs.resources import Home
from bess_pipeline.lake.slices import Slice
from bess_pipeline.tables import catalog
from bess_pipeline.tables.catalog import Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: How much is drawn before an event was raised, and after it has ended.
BEFORE, AFTER = timedelta(days=120), timedelta(days=30)
#: The same of a limit that was exceeded.
_BEFORE_LIMIT, _AFTER_LIMIT = timedelta(days=2), timedelta(days=2)
#: The share of the other cells on each side that is not drawn.
_TAIL = 0.05
#: Units of deviations by kind of component.
_DEVIATION = {"voltage": "V", "temperature": "K"}


@dataclass(frozen=True)
class Drawn:
    """What is drawn of an event.

    Attributes:
        rows: Columns `at`, `value`, and where there are others `lower`, `upper`: how those lie.
        unit: What the values are.
        own: Name of what was raised.
        others: Name of what it is held against.
    """

    rows: pl.DataFrame
    unit: str
    own: str
    others: str = ""


def drawn(home: Home, event: Mapping[str, object]) -> Drawn:
    """The values that an event rests on, before and after it was raised.

    Args:
        home: The deployment.
        event: The columns of `AnomalyEvent`.
    """
    detected, ended = _instant(event["detected_at"]), event["ended_at"]
    limit = event["detector"] == THRESHOLDS
    first = detected - (_BEFORE_LIMIT if limit else BEFORE)
    last = (_instant(ended) if ended is not None else detected) + (_AFTER_LIMIT if limit else AFTER)
    at = pl.col("timestamp") if limit or event["detector"] == SAFETY else pl.col("date").cast(pl.Datetime("us", "UTC"))
    within = at.is_between(first, last if limit or ended is not None else last + timedelta(days=3650))

    def rows(table: Table) -> pl.LazyFrame:
        part = Slice(str(event["fleet_id"]))
        mine = home.lake.scan(table, part).filter(pl.col("battery_id") == event["battery_id"])
        return mine.filter(within).with_columns(at=at)

    evidence = json.loads(str(event["evidence"]))
    if limit:
        (watched,) = (rule for rule in LIMITS if rule.code == event["kind"])
        value = pl.coalesce(watched.watched)
        bound = pl.lit(evidence["limit"], pl.Float64)
        found = rows(catalog.CLOSED_INTERVALS).select("at", value=value, lower=bound, upper=bound)
        return Drawn(found.sort("at").collect(), watched.watched[0].replace("_", " "), "5-minute rows", "limit")
    feature = str(evidence["features"][0]["feature"])
    if event["detector"] == CELLS:
        look = next(look for look in LOOKS if look.feature == feature)
        column = "resistance_deviation_ohm" if look.column == "volt_at_1c" else look.column
        own = pl.col(column).filter(pl.col("component") == str(event["component"])).first()
        found = rows(catalog.CELL_EVIDENCE).filter(pl.col("kind") == look.kind).group_by("at").agg(
            value=own, lower=pl.col(column).quantile(_TAIL), upper=pl.col(column).quantile(1 - _TAIL)
        )  # fmt: skip
        unit = "Ω" if column != look.column else _DEVIATION[look.kind]
        return Drawn(
            found.sort("at").collect(),
            f"{look.feature.replace('_', ' ')} beside the pack [{unit}]",
            str(event["component"]),
            "90 % of the pack",
        )
    if event["detector"] == SAFETY:
        found = rows(catalog.HOURLY_EVIDENCE).select("at", value=feature)
        return Drawn(found.sort("at").collect(), feature.replace("_", " "), "hours")
    peers = pl.when(pl.col("adjusted") != pl.col("value")).then(pl.col("value") - pl.col("adjusted"))
    found = rows(catalog.DAILY_FEATURES).filter(feature=feature).select("at", "value", lower=peers, upper=peers)
    return Drawn(found.sort("at").collect(), feature.replace("_", " "), str(event["battery_id"]), "median of its peers")


def figure(home: Home, event: Mapping[str, object]) -> Figure:
    """A figure of the values that an event rests on, with the instants from and at which it was raised.

    Raises:
        LookupError: If the lake holds no values of it.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
    from matplotlib.figure import Figure

    found = drawn(home, event)
    if found.rows["value"].count() == 0:
        raise LookupError(f"the lake holds no values behind event {event['event_id']}")
    image = Figure(figsize=(8.0, 3.2), layout="constrained")
    FigureCanvasAgg(image)
    axes = image.add_subplot()
    at = _days(found.rows["at"])
    if "lower" in found.rows.columns and found.rows["lower"].count():
        lower, upper = found.rows["lower"].to_numpy(), found.rows["upper"].to_numpy()
        axes.fill_between(at, lower, upper, color="0.8", linewidth=1.2, edgecolor="0.6", label=found.others)
    axes.plot(at, found.rows["value"].to_numpy(), color="tab:blue", linewidth=1.2, label=found.own)
    detected = _instant(event["detected_at"])
    axes.axvline(_days(detected), color="tab:red", linewidth=1.2, label=f"raised {detected:%Y-%m-%d %H:%M}")
    if event["ended_at"] is not None:
        axes.axvline(_days(_instant(event["ended_at"])), color="tab:green", linewidth=1.2, label="ended")
    where = event["component"] or event["family"]
    axes.set_title(f"{event['battery_id']}, {where}: {str(event['kind']).replace('_', ' ')}", fontsize=9)
    axes.set_ylabel(found.unit, fontsize=8)
    locator = AutoDateLocator()
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    axes.tick_params(labelsize=8)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    return image


@overload
def _days(at: pl.Series) -> Floats: ...
@overload
def _days(at: datetime) -> float: ...
def _days(at: pl.Series | datetime) -> Floats | float:
    """Days since 1970, in which matplotlib counts."""
    if isinstance(at, datetime):
        return at.timestamp() / 86400
    return at.to_physical().to_numpy() / 86400e6


def _instant(value: object) -> datetime:
    if not isinstance(value, datetime):
        raise TypeError(f"{value!r} is no instant")
    return value
