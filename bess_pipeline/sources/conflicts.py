"""Rows that lost a conflict, as they came."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl

from bess_pipeline.sources import files as landed
from bess_pipeline.sources.opening import Limits
from bess_pipeline.sources.register import Fleet
from bess_pipeline.tables.quality import QuarantinedRow
from bess_pipeline.tables.telemetry import CELL_LISTS, MEASUREMENTS

_LIMITS = Limits()
_QUARANTINED = QuarantinedRow.create_empty().schema


def originals(fleet: Fleet, folder: Path, path: str, row_numbers: pl.Series, limits: Limits = _LIMITS) -> pl.DataFrame:
    """Rows of one file as they came.

    Returns:
        ``row_number`` and ``original``, the row as JSON; nothing for a file that is gone.
    """
    file = folder / path
    if not file.is_file():
        return pl.DataFrame(schema={"row_number": pl.Int64, "original": pl.String})
    return landed.originals(file, fleet.source, row_numbers, limits)


def losers(
    fleet: Fleet,
    folder: Path,
    conflicts: pl.DataFrame,
    held_rejected: pl.LazyFrame | None = None,
    *,
    limits: Limits = _LIMITS,
) -> pl.DataFrame:
    """The rows that lost a conflict, for the quarantine.

    The row as it came is fetched from its file; where that is gone, from the quarantine
    as it is, and else it is put together from the values that are known of it.

    Args:
        fleet: The fleet.
        folder: Its landing folder.
        conflicts: `RawTelemetry` rows whose verdict is conflict.
        held_rejected: `QuarantinedRow` rows of these days as they are.
        limits: How much a file may hold.

    Returns:
        `QuarantinedRow` rows, in order of path and row number.
    """
    if conflicts.is_empty():
        return _QUARANTINED.to_frame()
    came = [
        originals(fleet, folder, str(path), rows["row_number"], limits).with_columns(path=pl.lit(path))
        for (path,), rows in conflicts.sort("path", "row_number").partition_by(["path"], as_dict=True).items()
    ]
    known = pl.concat(came).select("path", "row_number", "original")
    if held_rejected is not None:
        before = held_rejected.filter(pl.col("reason") == "conflict").select("path", "row_number", held="original")
        known = known.join(before.collect(), on=["path", "row_number"], how="full", coalesce=True).select(
            "path", "row_number", original=pl.coalesce("original", "held")
        )
    values = pl.struct("timestamp", "battery_id", *MEASUREMENTS, "status", *CELL_LISTS).map_elements(
        _as_json, return_dtype=pl.String
    )
    return (
        conflicts.join(known, on=["path", "row_number"], how="left")
        .with_columns(
            reason=pl.lit("conflict"),
            detail=pl.lit("another row has other values for this battery and instant"),
            original=pl.coalesce("original", values),
        )
        .select(*(pl.col(name).cast(dtype) for name, dtype in _QUARANTINED.items()))
        .sort("path", "row_number")
    )


def _as_json(values: dict[str, Any]) -> str:
    return json.dumps({name: str(value) for name, value in values.items() if value is not None}, ensure_ascii=False)
