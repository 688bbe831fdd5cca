"""Rows whose clock was astray, brought back to their instants."""

from __future__ import annotations

from datetime import timedelta

import polars as pl

from bess_pipeline.tables.columns import UTC_MICROSECONDS
from bess_pipeline.window import Window

#: Stretches of one file: rows by number and time, both ends included, and what their times are too late by [µs].
ASTRAY = pl.Schema(
    {
        "battery_id": pl.String(),
        "first_row": pl.Int64(),
        "last_row": pl.Int64(),
        "started_at": UTC_MICROSECONDS,
        "ended_at": UTC_MICROSECONDS,
        "shift_us": pl.Int64(),
    }
)


def brought_back(rows: pl.DataFrame, astray: pl.DataFrame) -> pl.DataFrame:
    """Rows with the shift of their clock subtracted from their time.

    Args:
        rows: ``row_number``, ``battery_id``, ``timestamp`` and others, in the order of the file.
        astray: `ASTRAY` rows of the file; the row numbers of one battery's stretches do not overlap.

    Returns:
        The same rows, with ``clock_shift_us``: what was subtracted [µs].

    Examples:
        >>> from datetime import UTC, datetime
        >>> one, two = datetime(2024, 1, 1, 1, tzinfo=UTC), datetime(2024, 1, 1, 2, tzinfo=UTC)
        >>> rows = pl.DataFrame({"row_number": [0, 1], "battery_id": "b", "timestamp": [one, two]})
        >>> astray = pl.DataFrame([("b", 1, 1, two, two, 3_600_000_000)], schema=ASTRAY, orient="row")
        >>> brought_back(rows, astray)["timestamp"].dt.hour().to_list()
        [1, 1]
    """
    if astray.is_empty() or rows.is_empty():
        return rows.with_columns(clock_shift_us=pl.lit(0, dtype=pl.Int64))
    stretches = astray.select("battery_id", "last_row", "started_at", "ended_at", "shift_us", row_number="first_row")
    where = rows.select("row_number", "battery_id", "timestamp").join_asof(
        stretches.sort("row_number"), on="row_number", by="battery_id", check_sortedness=False
    )
    is_astray = (pl.col("row_number") <= pl.col("last_row")) & pl.col("timestamp").is_between("started_at", "ended_at")
    shift = where.select(pl.when(is_astray).then("shift_us").otherwise(0)).to_series()
    return rows.with_columns(
        timestamp=pl.col("timestamp") - pl.lit(shift).cast(pl.Duration("us")), clock_shift_us=pl.lit(shift)
    )


def may_be_in(window: Window, column: str, astray: pl.DataFrame) -> pl.Expr:
    """Whether a time as it is told may belong to a window once clocks are right."""
    farthest = _farthest(astray)
    return pl.col(column).is_between(window.start_time - farthest, window.end_time + farthest, closed="left")


def may_be_outside(window: Window, column: str, astray: pl.DataFrame) -> pl.Expr:
    """Whether a time as it is told may not belong to a window once clocks are right; so may one that is unknown."""
    farthest = _farthest(astray)
    inside = pl.col(column).is_between(window.start_time + farthest, window.end_time - farthest, closed="left")
    return ~inside.fill_null(value=False)


def _farthest(astray: pl.DataFrame) -> timedelta:
    shifts = [abs(shift) for shift in astray["shift_us"]]
    return timedelta(microseconds=max(shifts, default=0))
