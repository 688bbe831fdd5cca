"""Cell patterns: the lane that holds each cell and each probe against the others of its pack."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

import polars as pl

from bess_pipeline.analytics.lanes import CELLS
from bess_pipeline.tables.anomalies import AnomalySignal
from bess_pipeline.tables.keys import BATTERY, BATTERY_DAY

#: Days whose median stands for a component, and how many of them have to have data.
LATELY, FEWEST_LATELY = timedelta(days=14), 3
#: The past that a change is held against: its end before the day, its length, its fewest days with data.
SINCE, PAST, FEWEST_PAST = timedelta(days=28), timedelta(days=56), 7
#: How far back a past may be looked for beyond its end, where a pack was not heard.
_TOLERANCE = timedelta(days=7)
#: Days before a day on which its signals rest.
BEFORE = LATELY + SINCE + PAST + _TOLERANCE
#: Samples that a day needs, or steps of the current where a resistance is looked at.
FEWEST_SAMPLES, FEWEST_STEPS = 20, 10
#: Components that a pack needs, and how many of them may lie apart from the rest on each side.
FEWEST_COMPONENTS, APART = 8, 2
#: Gap to the rest from which one lies apart, in robust standard deviations of the components.
GAP = 3.0
#: How much of an alarm is told.
LEAST = 0.5

#: Scale of the median distance from the median of a normal distribution.
_NORMAL = 1.4826
_PACK_DAY = (*BATTERY_DAY, "kind")


@dataclass(frozen=True)
class Look:
    """One quantity in which a component can lie apart from the others.

    Attributes:
        feature: Name in the signals.
        kind: Kind of the components.
        column: Column of the evidence.
        sees: Where a component lies, or how that changed against its own past.
        margin: Least gap to the rest [V, K, or V at 1 C].
        floor: Least spread of the components, the resolution of the sensors [same unit].
        up: Family and name of a component above the rest.
        down: Family and name of one below.
    """

    feature: str
    kind: str
    column: str
    sees: Literal["place", "change"]
    margin: float
    floor: float
    up: tuple[str, str]
    down: tuple[str, str]


_LOW, _HIGH = ("cell", "cell_lies_low"), ("cell", "cell_lies_high")
_FALLS, _RISES = ("cell", "cell_falls"), ("cell", "cell_rises")
_RESISTS = ("electrical", "cell_resists")

LOOKS: tuple[Look, ...] = (
    Look("cell_voltage", "voltage", "deviation_median", "place", 0.010, 0.001, _HIGH, _LOW),
    Look("cell_voltage_change", "voltage", "deviation_median", "change", 0.010, 0.001, _RISES, _FALLS),
    Look("cell_voltage_when_low_change", "voltage", "low_deviation", "change", 0.030, 0.001, _RISES, _FALLS),
    Look("cell_voltage_at_1c", "voltage", "volt_at_1c", "place", 0.020, 0.001, _RESISTS, ("electrical", "cell_tap")),
    Look(
        "probe_temperature_change", "temperature", "deviation_median", "change", 3.0, 0.5,
        ("thermal", "probe_warms"), ("sensor", "probe_cools"),
    ),
)  # fmt: skip


def cell_signals(cells: pl.DataFrame, batteries: pl.DataFrame, observed: pl.DataFrame) -> pl.DataFrame:
    """Cells and probes that stand alone in their pack.

    The medians of two weeks are compared within a pack. A component stands alone when at most one other
    lies as far out: its gap to the third outermost on its side is three times the robust spread of all and
    at least 10 mV (of the day's median voltage), 20 mV at 1 C (of the resistance) or 3 K. What three
    or more have in common is how the pack was built, wired or warmed, and the battery's features see it.
    Where a component lies needs no history; a change is told against its own past of 28 to 84 days before.

    Of packs of 88 healthy cells with normal deviations 1 in 7,000 has a cell beyond the gap on one side. Heavy tails
    break it: with Student's t of 5 degrees of freedom and σ of 2 mV 1 pack in 40 has one beyond gap and 10 mV.

    Args:
        cells: `CellEvidence` rows.
        batteries: `Battery` rows.
        observed: Columns fleet_id, battery_id, date and `observed_until`: the end of the data of each day.

    Returns:
        `AnomalySignal` rows by battery, day, component and feature; the statistic is the gap over that of an alarm.

    References:
        Gaps of order statistics: A. Rényi, On the theory of order statistics, Acta Math. Acad. Sci. Hung. 4 (1953)
        191, doi:10.1007/BF02127580: next to the outermost of n normal values they are exponential, of mean σ/√(2 ln n).
    """
    enough = cells.filter(pl.col("samples") >= FEWEST_SAMPLES).join(
        batteries.select(*BATTERY, "rated_capacity_ah"), on=list(BATTERY), how="left"
    )
    known = enough.with_columns(
        volt_at_1c=pl.when(pl.col("step_count") >= FEWEST_STEPS).then(
            pl.col("resistance_deviation_ohm") * pl.col("rated_capacity_ah")
        )
    )
    told = pl.concat([_told(known, look) for look in LOOKS])
    end = pl.col("date").cast(pl.Datetime("us")).dt.replace_time_zone("UTC") + pl.duration(days=1, microseconds=-1)
    return (
        told.join(observed.select(*BATTERY_DAY, "observed_until"), on=list(BATTERY_DAY), how="left")
        .with_columns(
            lane=pl.lit(CELLS),
            severity=pl.lit("warning"),
            z=pl.lit(None, pl.Float64),
            raised_at=pl.when(pl.col("statistic") >= 1.0).then(pl.coalesce("observed_until", end)),
        )
        .select(AnomalySignal.column_names())
        .sort(*BATTERY_DAY, "component", "feature", "direction")
    )


def _told(rows: pl.DataFrame, look: Look) -> pl.DataFrame:
    series = (*BATTERY, "component")
    mine = (
        rows.filter(kind=look.kind)
        .drop_nulls(look.column)
        .select(*BATTERY_DAY, "kind", "component", x=look.column)
        .sort(*series, "date")
    )
    mine = mine.with_columns(
        lately=_rolling("x", LATELY, FEWEST_LATELY).over(series),
        since=pl.col("date").rolling_min_by("date", LATELY).over(series),
    )
    mine = _with_change(mine, series) if look.sees == "change" else mine.with_columns(size="lately")
    gaps = (
        mine.drop_nulls("size")
        .with_columns(size=pl.col("size") - pl.col("size").median().over(_PACK_DAY), peers=pl.len().over(_PACK_DAY) - 1)
        .filter(pl.col("peers") >= FEWEST_COMPONENTS - 1)
        .with_columns(
            spread=(_NORMAL * pl.col("size").abs().median().over(_PACK_DAY)).clip(lower_bound=look.floor),
            lowest=pl.col("size").sort().get(APART).over(_PACK_DAY),
            highest=pl.col("size").sort(descending=True).get(APART).over(_PACK_DAY),
        )
    )
    size = pl.col("size")
    sides = [
        gaps.with_columns(
            pl.lit(name).alias("direction"),
            pl.lit(family).alias("family"),
            pl.lit(kind).alias("kind"),
            gap=gap,
        )
        for name, (family, kind), gap in (
            ("up", look.up, size - pl.col("highest")),
            ("down", look.down, pl.col("lowest") - size),
        )
    ]
    return (
        pl.concat(sides)
        .with_columns(
            statistic=pl.min_horizontal(pl.col("gap") / (GAP * pl.col("spread")), pl.col("gap") / look.margin)
        )
        .filter(pl.col("statistic") >= LEAST)
        .select(
            *BATTERY_DAY, "component", "direction", "statistic", "family", "kind",
            feature=pl.lit(look.feature),
            started_at=pl.col("since").cast(pl.Datetime("us")).dt.replace_time_zone("UTC"),
            value="size",
            peers=pl.col("peers").cast(pl.Int64),
        )
    )  # fmt: skip


def _rolling(column: str, window: timedelta, fewest: int) -> pl.Expr:
    return pl.col(column).rolling_median_by("date", window, min_samples=fewest)


def _with_change(mine: pl.DataFrame, series: tuple[str, ...]) -> pl.DataFrame:
    """Components with the `size` of their change since their own past."""
    past = mine.select(*series, pl.col("date") + SINCE, before=_rolling("x", PAST, FEWEST_PAST).over(series))
    return (
        mine.sort("date", *series)
        .join_asof(
            past.sort("date", *series), on="date", by=list(series), strategy="backward", tolerance=_TOLERANCE,
            check_sortedness=False,
        )
        .with_columns(size=pl.col("lately") - pl.col("before"))
    )  # fmt: skip
