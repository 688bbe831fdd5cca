"""When a landing scan first saw a file, and the rows of each day in it: by the clock of the machine that scans."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import polars as pl

_OF_DAY = ("path", "date", "battery_id")


def of_file(before: dict[str, Any] | None, checksum: str, now: datetime | None) -> dict[str, datetime | None]:
    """When a file that was read now was first seen, and when its bytes last were others.

    Args:
        before: `LandingFile` row of it so far, if it is known.
        checksum: Of its bytes as they are.
        now: When the scan is made; none if nobody knows.

    Examples:
        >>> noon, evening = datetime(2026, 3, 1, 12), datetime(2026, 3, 1, 18)
        >>> known = {"checksum": "a"} | of_file(None, "a", noon)
        >>> of_file(known, "b", evening) == {"first_seen_at": noon, "changed_at": evening}
        True
        >>> of_file(known, "a", evening) == {"first_seen_at": noon, "changed_at": noon}
        True
    """
    if before is None:
        return {"first_seen_at": now, "changed_at": now}
    is_same = before["checksum"] == checksum
    return {"first_seen_at": before["first_seen_at"], "changed_at": before["changed_at"] if is_same else now}


def of_days(days: pl.DataFrame, known: pl.DataFrame, files: pl.DataFrame) -> pl.DataFrame:
    """When the rows of each day in each file were first seen, and when their number last changed.

    A file that grows by a day each night brings the days before once more: they came when they came. Rows that are
    counted otherwise while the bytes stay, because a clock was repaired or the fleet file changed, came with the bytes.

    Args:
        days: `LandingDay` rows as they are now, without these times.
        known: `LandingDay` rows so far.
        files: `LandingFile` rows as they are now.

    Returns:
        `LandingDay` rows, sorted.
    """
    before = known.select(*_OF_DAY, rows_before="rows", seen_before="first_seen_at", changed_before="changed_at")
    is_known, is_same = pl.col("rows_before").is_not_null(), pl.col("rows_before").eq_missing(pl.col("rows"))
    return (
        days.join(before, on=_OF_DAY, how="left")
        .join(files.select("path", came_at="changed_at"), on="path", how="left")
        .with_columns(
            first_seen_at=pl.when(is_known).then("seen_before").otherwise("came_at"),
            changed_at=pl.when(is_same).then("changed_before").otherwise("came_at"),
        )
        .select(known.columns)
        .sort(_OF_DAY)
    )
