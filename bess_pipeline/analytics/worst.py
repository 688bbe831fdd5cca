"""Where to look first: the batteries of a fleet that stand worst by one of its tables, and why."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import polars as pl

from bess_pipeline.analytics.quality import troubles
from bess_pipeline.tables import catalog

#: Batteries, or events, that are named.
SHOWN = 5
#: Newest days of a fleet whose data quality counts.
_RECENT = timedelta(days=7)
_STATUSES = ("critical", "warning", "watch", "unknown", "good")
_SEVERITIES = ("critical", "warning", "info")

Ranking = Callable[[pl.DataFrame], pl.DataFrame]


def worst(table: catalog.Table, rows: pl.DataFrame) -> pl.DataFrame:
    """The batteries that stand worst by a table, worst first, at most five; columns say why.

    Args:
        table: The table.
        rows: Rows of one fleet.

    Returns:
        Nothing for a table that ranks no batteries.
    """
    ranking = RANKINGS.get(table.name)
    return pl.DataFrame() if ranking is None or rows.is_empty() else ranking(rows).head(SHOWN)


def _newest(rows: pl.DataFrame, day: str = "date") -> pl.DataFrame:
    """The newest row of each battery."""
    return rows.sort("battery_id", day).group_by("battery_id", maintain_order=True).last()


def _by_health(rows: pl.DataFrame) -> pl.DataFrame:
    names = ("battery_id", "date", "soh_percent", "soh_lower_percent", "soh_upper_percent")
    columns = (*names, "resistance_increase_percent", "observability")
    return _newest(rows).drop_nulls("soh_percent").sort("soh_percent", "battery_id").select(columns)


def _by_efficiency(rows: pl.DataFrame) -> pl.DataFrame:
    lowest = "round_trip_efficiency_30d_percent"
    columns = ("battery_id", "date", lowest, "temperature_max_celsius", "coverage_fraction")
    return _newest(rows).drop_nulls(lowest).sort(lowest, "battery_id").select(columns)


def _by_status(rows: pl.DataFrame) -> pl.DataFrame:
    columns = ("battery_id", "health_status", "open_events", "soh_percent", "degradation_percent_per_year", "timestamp")
    place = pl.col("health_status").replace_strict(_STATUSES, range(len(_STATUSES)))
    unwell = rows.filter(~pl.col("health_status").is_in(["good", "unknown"]))
    return unwell.sort(
        place, "open_events", "soh_percent", "battery_id", descending=[False, True, False, False], nulls_last=True
    ).select(columns)


def _by_events(rows: pl.DataFrame) -> pl.DataFrame:
    columns = ("battery_id", "kind", "severity", "started_at", "ended_at", "next_step")
    place = pl.col("severity").replace_strict(_SEVERITIES, range(len(_SEVERITIES)))
    alarms = rows.filter((pl.col("severity") != "info") & (pl.col("family") != "data"))
    is_over = pl.col("ended_at").is_not_null()
    return alarms.sort(is_over, place, "detected_at", "event_id", descending=[False, False, True, False]).select(
        columns
    )


def _by_risk(rows: pl.DataFrame) -> pl.DataFrame:
    columns = ("battery_id", "date", "rank", "level", "surprise", "kind", "lead_days")
    return _newest(rows).drop_nulls("rank").sort("rank", "battery_id").select(columns)


def _by_quality(rows: pl.DataFrame) -> pl.DataFrame:
    recent = rows.filter(pl.col("date") > pl.col("date").max() - _RECENT)
    found = troubles(recent).sort("share", "date", "battery_id", descending=[True, True, False])
    return found.unique("battery_id", keep="first", maintain_order=True).select("battery_id", "date", "reason")


def _by_loss(rows: pl.DataFrame) -> pl.DataFrame:
    loss = "degradation_percent_per_year"
    columns = ("battery_id", "as_of", loss, "degradation_lower_percent_per_year", "degradation_upper_percent_per_year")
    told = _newest(rows, "as_of").drop_nulls(loss)
    return told.sort(loss, "battery_id", descending=[True, False]).select(*columns, "remaining_life_days_p50")


#: How the batteries of a table are ranked.
RANKINGS: dict[str, Ranking] = {
    catalog.STATE_OF_HEALTH.name: _by_health,
    catalog.BATTERY_DAILY.name: _by_efficiency,
    catalog.BATTERY_LATEST.name: _by_status,
    catalog.ANOMALY_EVENTS.name: _by_events,
    catalog.FAILURE_RISK.name: _by_risk,
    catalog.BATTERY_DATA_QUALITY_DAILY.name: _by_quality,
    catalog.DEGRADATION.name: _by_loss,
}
