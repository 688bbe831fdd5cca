"""Early failure: batteries ranked by what speaks for one."""

from __future__ import annotations

import json
from datetime import timedelta

import polars as pl

from bess_pipeline.analytics.event_onsets import QUIET
from bess_pipeline.analytics.lanes import LANES, SAFETY, THRESHOLDS, with_scores
from bess_pipeline.tables.keys import BATTERY, BATTERY_DAY
from bess_pipeline.tables.risk import FailureRisk

#: Families in which a battery fails; sensors, data and limits are of other things.
FAILING = ("thermal", "electrical", "cell", "capacity")
#: How long what was raised counts; a precursor of days counts less long.
COUNTS, URGENT = QUIET, timedelta(days=14)
#: Largest surprise of one family, and the families that make a case where each is but a warning.
MOST, CASE = 6.0, 2
#: Least time from a precursor to its end in simulated thermal runaways [d]; see docs/methods/anomalies.md.
PRECURSOR_LEAD = 3.0

#: Columns of daily features that are read.
READS_FEATURES = (*BATTERY_DAY, "feature", "z")

_LEAD = {
    "precursor": "simulated precursors were raised three days or more before the end; a real one may be faster, "
    "and batteries are known to fail without any",
    "capacity": "10th percentile of the remaining life",
    "none": "no failure of this kind was ever observed: a rank, not a time",
}


def failure_risk(features: pl.DataFrame, signals: pl.DataFrame, degradation: pl.DataFrame) -> pl.DataFrame:
    """How much speaks for an early failure of each battery, day by day, with what was known at the end of the day.

    What lanes that are on raised within three weeks counts, by family: the most surprising of each, in powers of ten
    of the share of healthy battery-days that show as much. The level is ``urgent`` for two weeks
    after the safety lane raised; ``raised`` where something is critical, or two families
    agree; ``watch`` where anything is raised; ``no evidence`` where batteries are scored and nothing is;
    ``unwatched`` where none of their features has a score yet.

    A time is given only where one is known: remaining life for a loss of capacity, the least lead of simulated
    precursors for those of a thermal runaway. What fails without a precursor is not foreseen.

    Args:
        features: `DailyFeature` rows, of which `READS_FEATURES` are read.
        signals: `AnomalySignal` rows.
        degradation: `Degradation` rows.

    Returns:
        `FailureRisk` rows by battery and day.
    """
    days = features.group_by(BATTERY_DAY).agg(is_scored=pl.col("z").is_not_null().any()).sort(BATTERY_DAY)
    heard = pl.when("is_scored").then(pl.col("date")).forward_fill().over(BATTERY)
    days = days.with_columns(is_watched=(pl.col("date") - heard <= COUNTS).fill_null(value=False)).drop("is_scored")
    evidence = _evidence(signals, days)
    ranked = days.join(evidence, on=BATTERY_DAY, how="left").with_columns(
        surprise=pl.col("surprise").fill_null(0.0),
        level=pl.when(pl.col("family").is_not_null())
        .then("level")
        .when("is_watched")
        .then(pl.lit("no evidence"))
        .otherwise(pl.lit("unwatched")),
    )
    place = pl.struct(
        pl.col("level").replace_strict({"urgent": 2, "raised": 1}, default=0, return_dtype=pl.Int64), "surprise"
    ).rank("min", descending=True)
    return (
        _with_lead(ranked, degradation)
        .with_columns(
            rank=pl.when(pl.col("family").is_not_null()).then(
                place.over("fleet_id", "date", pl.col("family").is_not_null()).cast(pl.Int64)
            )
        )
        .select(FailureRisk.column_names())
        .sort(BATTERY_DAY)
    )


def _evidence(signals: pl.DataFrame, days: pl.DataFrame) -> pl.DataFrame:
    """Per battery and day with any: the level, the surprise, the first family, and what it rests on."""
    on = [lane.name for lane in LANES if lane.is_on and lane.name != THRESHOLDS]
    raised = with_scores(
        signals.filter(
            pl.col("lane").is_in(on),
            pl.col("family").is_in(FAILING),
            pl.col("severity") != "info",
            pl.col("raised_at").is_not_null(),
        )
    ).with_columns(surprise=(-(1.0 - pl.col("score")).clip(lower_bound=10.0**-MOST).log(10.0)).clip(0.0, MOST))
    lasts = [timedelta(days=number) for number in range(COUNTS.days)]
    counted = (
        raised.rename({"date": "found"})
        .select(*BATTERY, "found", "family", "kind", "lane", "component", "severity", "started_at", "surprise")
        .with_columns(date=pl.concat_list(pl.col("found") + ahead for ahead in lasts))
        .explode("date")
        .join(days.select(BATTERY_DAY), on=BATTERY_DAY, how="semi")
        .sort(*BATTERY_DAY, "surprise", "found", "family", "lane", "component", "kind",
              descending=[False] * 3 + [True, True] + [False] * 4)
    )  # fmt: skip
    recent = pl.col("date") - pl.col("found") < URGENT
    of_lane = counted.group_by(*BATTERY_DAY, "family", "lane", maintain_order=True).agg(
        pl.col("kind", "component", "surprise").first(),
        since=pl.col("started_at").min(),
        critical=(pl.col("severity") == "critical").any(),
        urgent_since=pl.col("found").filter((pl.col("lane") == SAFETY) & recent).min(),
    )
    told = pl.struct("family", "lane", "kind", "component", "since", "surprise")
    of_family = of_lane.group_by(*BATTERY_DAY, "family", maintain_order=True).agg(
        pl.col("kind", "surprise").first(),
        pl.col("critical").any(),
        pl.col("urgent_since").min(),
        told=told,
    )
    is_urgent = pl.col("urgent_since").is_not_null()
    ordered = of_family.sort(
        *BATTERY_DAY, is_urgent, "surprise", "family", descending=[False] * 3 + [True, True, False]
    )
    found = ordered.group_by(BATTERY_DAY, maintain_order=True).agg(
        pl.col("family", "kind").first(),
        pl.col("surprise").sum(),
        pl.col("critical").any(),
        pl.col("urgent_since").min(),
        families=pl.len(),
        told=pl.col("told").explode(),
    )
    level = (
        pl.when(is_urgent)
        .then(pl.lit("urgent"))
        .when(pl.col("critical") | (pl.col("families") >= CASE))
        .then(pl.lit("raised"))
        .otherwise(pl.lit("watch"))
    )
    return found.with_columns(
        level=level, rests_on=pl.col("told").map_elements(_as_json, return_dtype=pl.String)
    ).select(*BATTERY_DAY, "family", "kind", "surprise", "level", "rests_on", "urgent_since")


def _as_json(told: pl.Series) -> str:
    rows = [
        {
            name: value.isoformat() if name == "since" else round(value, 3) if isinstance(value, float) else value
            for name, value in row.items()
            if value not in (None, "")
        }
        for row in told.to_list()
    ]
    return json.dumps(rows)


def _with_lead(ranked: pl.DataFrame, degradation: pl.DataFrame) -> pl.DataFrame:
    life = degradation.select(*BATTERY, date="as_of", life="remaining_life_days_p10").drop_nulls("life").sort("date")
    known = ranked.sort("date").join_asof(
        life.with_columns(told="date"), on="date", by=list(BATTERY), strategy="backward", check_sortedness=False
    )
    left = (pl.col("life") - (pl.col("date") - pl.col("told")).dt.total_days()).clip(lower_bound=0.0)
    soon = (PRECURSOR_LEAD - (pl.col("date") - pl.col("urgent_since")).dt.total_days()).clip(lower_bound=0.0)
    is_urgent, is_capacity = pl.col("level") == "urgent", pl.col("family") == "capacity"
    return known.with_columns(
        lead_days=pl.when(is_urgent).then(soon).when(is_capacity).then(left),
        lead_rests_on=pl.when(is_urgent)
        .then(pl.lit(_LEAD["precursor"]))
        .when(is_capacity & left.is_not_null())
        .then(pl.lit(_LEAD["capacity"]))
        .when(pl.col("family").is_not_null())
        .then(pl.lit(_LEAD["none"])),
    )
