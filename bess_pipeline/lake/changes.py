"""What differs between the rows of a slice as they are and as they shall be, told by fingerprints."""

from __future__ import annotations

from datetime import date, timedelta

import polars as pl

from bess_pipeline.lake.slices import Part, Tail, day_of
from bess_pipeline.tables import catalog
from bess_pipeline.tables.catalog import Table
from bess_pipeline.window import Window

_PROVENANCE = tuple(catalog.Provenance.column_names())

#: Days and what they hold, as a fingerprint.
VERSIONS = {"date": pl.Date, "version": pl.Int64}


def facts_of(names: list[str]) -> list[str]:
    """Columns that say something, and not when it was written."""
    return [name for name in names if name not in _PROVENANCE]


def on_days(table: Table, rows: pl.DataFrame, *beside: str) -> pl.DataFrame:
    """A fingerprint of each row for each day that it speaks of; one that grew by a day is the same on those before.

    What is not settled speaks of the days up to its end; without one, of no day.

    Args:
        table: The table.
        rows: Its rows.
        beside: Names of columns that say nothing themselves, and are kept.

    Returns:
        `date`, `version` and ``beside``.
    """
    facts = [name for name in facts_of(rows.columns) if name not in beside]
    if "started_at" not in facts or table.until == "date":
        day = pl.col(table.until).cast(pl.Date) if table.until in facts else pl.lit(None, pl.Date)
        return rows.with_columns(date=day, version=rows.select(facts).hash_rows(seed=0)).select(
            "date", "version", *beside
        )
    until = pl.coalesce(table.until, "ended_at") if "ended_at" in facts else pl.col(table.until)
    end = until.cast(pl.Date)
    lasting = rows.select(name for name in facts if name not in {table.until, "intervals"})
    return (
        rows.select(
            table.until,
            *beside,
            end=end,
            date=pl.date_ranges(pl.min_horizontal(pl.col("started_at").cast(pl.Date), end), end),
        )
        .with_columns(version=lasting.hash_rows(seed=0))
        .explode("date")
        .select(
            "date",
            *beside,
            version=pl.when(pl.col("end") == pl.col("date"))
            .then(pl.struct("version", table.until).hash())
            .otherwise("version"),
        )
    )


def fingerprint_of(frame: pl.DataFrame, facts: list[str]) -> tuple[int, int]:
    """How many rows there are, and a sum over what they say."""
    return frame.height, int(frame.select(facts).hash_rows(seed=0).sum() or 0)


def changed_days(table: Table, fresh: pl.DataFrame, held: pl.DataFrame, facts: list[str]) -> list[date]:
    """Days up to which fresh rows say something else than those that are held; `NOT_YET` for what is not settled."""
    return days_that_differ(sums_of_days(table, fresh, facts), sums_of_days(table, held, facts))


def sums_of_days(table: Table, frame: pl.DataFrame, facts: list[str]) -> pl.DataFrame:
    """How many rows each day has, and a sum over what they say: those of parts of the rows add up to those of all."""
    hashed = frame.select(date=day_of(table.until), fingerprint=frame.select(facts).hash_rows(seed=0))
    return hashed.group_by("date").agg(pl.col("fingerprint").sum(), rows=pl.len().cast(pl.Int64))


def days_that_differ(fresh: pl.DataFrame, held: pl.DataFrame) -> list[date]:
    """Days of which fresh rows say something else than those that are held, told by sums of parts of either."""
    ours, theirs = (sums.group_by("date").agg(pl.col("fingerprint", "rows").sum()) for sums in (fresh, held))
    both = ours.join(theirs, on="date", how="full", coalesce=True, suffix="_held")
    differs = pl.col("fingerprint").ne_missing(pl.col("fingerprint_held")) | pl.col("rows").ne_missing(
        pl.col("rows_held")
    )
    return both.filter(differs)["date"].sort().to_list()


def whole_months(days: list[date]) -> list[Window]:
    """The months from that of the first of some days to that of the last, as one window; none for no days.

    Examples:
        >>> [str(window) for window in whole_months([date(2026, 1, 30), date(2026, 2, 3)])]
        ['2026-01-01 to 2026-02-28']
    """
    if not days:
        return []
    last = max(days).replace(day=1)
    return [Window(min(days).replace(day=1), (last + timedelta(days=31)).replace(day=1))]


def with_its_months(table: Table, part: Part) -> Part:
    """A part of a table, from the beginning of its first month on if the table has files of months."""
    if table.by_month and isinstance(part, Tail):
        return Tail(part.fleet_id, part.since.replace(day=1), part.until, part.at_instants)
    return part


def with_known_provenance(fresh: pl.DataFrame, held: pl.DataFrame, facts: list[str]) -> pl.DataFrame:
    """Fresh rows, each with the provenance of the held row that says the same, if there is one."""
    if held.is_empty():
        return fresh
    known = (
        held.select(_PROVENANCE)
        .with_columns(fingerprint=held.select(facts).hash_rows(seed=0))
        .unique("fingerprint", keep="first", maintain_order=True)
    )
    return (
        fresh.with_columns(fingerprint=fresh.select(facts).hash_rows(seed=0))
        .join(known, on="fingerprint", how="left", suffix="_held", maintain_order="left")
        .with_columns(pl.coalesce(f"{name}_held", name).alias(name) for name in _PROVENANCE)
        .select(fresh.columns)
    )
