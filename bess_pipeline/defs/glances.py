"""What a person sees of a materialization at a glance: of a day how much came, of a fleet the worst batteries."""

from collections.abc import Callable
from datetime import date

import dagster as dg
import polars as pl

from bess_pipeline.analytics.quality import NO_DAY
from bess_pipeline.analytics.worst import RANKINGS, worst
from bess_pipeline.config import Settings
from bess_pipeline.defs import markdown
from bess_pipeline.lake.slices import Slice
from bess_pipeline.tables import catalog
from bess_pipeline.tables.catalog import Table
from bess_pipeline.units import US_PER_DAY

Glance = dict[str, int | float | dg.MetadataValue]


def of_days(table: Table, rows: object) -> dict[date, Glance]:
    """What is to be said of each day of a table, from the rows that its step has in hand."""
    columns = _OF_DAYS.get(table.name)
    if columns is None or not isinstance(rows, pl.DataFrame):
        return {}
    told = rows.group_by("date").agg(**columns()).sort("date")
    return {row.pop("date"): row for row in told.iter_rows(named=True)}


def of_fleet(table: Table, rows: object, part: Slice, settings: Settings) -> Glance:
    """The worst batteries of a fleet by a table, and where its page is."""
    if table.name not in RANKINGS or not isinstance(rows, pl.DataFrame):
        return {}
    found = worst(table, rows)
    told: Glance = {} if found.is_empty() else {"worst": dg.MetadataValue.md(markdown.table(found))}
    if settings.pages_url is not None:
        told["page"] = dg.MetadataValue.url(f"{settings.pages_url.rstrip('/')}/fleets/{part.fleet_id}")
    return told


def _accounts() -> dict[str, pl.Expr]:
    def counted(outcome: pl.Expr) -> pl.Expr:
        return pl.col("rows").filter(outcome).sum()

    is_named = (pl.col("battery_id") != "") & (pl.col("date") != NO_DAY)
    accepted, duplicate = pl.col("outcome") == "accepted", pl.col("outcome") == "duplicate"
    return {
        "rows_accepted": counted(accepted),
        "rows_duplicate": counted(duplicate),
        "rows_quarantined": counted(~accepted & ~duplicate),
        "batteries": pl.col("battery_id").filter(is_named & accepted).n_unique(),
    }


def _evidence() -> dict[str, pl.Expr]:
    filled = pl.min_horizontal(pl.col("samples") * pl.col("usual_interval_us"), US_PER_DAY) / US_PER_DAY
    return {
        "batteries": pl.col("battery_id").n_unique(),
        "samples": pl.col("samples").sum(),
        "coverage_fraction": filled.mean().round(4),
        "longest_gap_minutes": (pl.col("longest_gap_us").max() / 60_000_000).round(1),
    }


_OF_DAYS: dict[str, Callable[[], dict[str, pl.Expr]]] = {
    catalog.ROW_ACCOUNTS.name: _accounts,
    catalog.DAY_EVIDENCE.name: _evidence,
}
