"""NDJSON: one JSON object to a line."""

from __future__ import annotations

import json
from collections.abc import Sequence

import polars as pl

from bess_pipeline.sources.opening import RAW, Lines

_BY_HAND = 64


class NdjsonFile:
    """One NDJSON file. An object may leave out what it does not know; a line that is no object is a row without a time.

    Args:
        lines: The lines of the file.
    """

    def __init__(self, lines: Lines) -> None:
        self._lines = lines
        objects = [_object(line) or {} for line in lines.first]
        self.names = list(dict.fromkeys(name for said in objects for name in said))
        self.schema: dict[str, pl.DataType] = dict.fromkeys(self.names, pl.String())
        self.is_empty = not any(line.strip() for line in lines.first)

    def has(self, name: str) -> bool:
        """Whether any object has a field, or the file has no rows at all."""
        if name in self.names or self.is_empty:
            return True
        written = json.dumps(name, ensure_ascii=False)
        found = self._lines.scan().select(pl.col("line").str.contains(written, literal=True).any())
        return bool(found.collect(engine="streaming").item())

    def frame(self, columns: Sequence[str]) -> pl.LazyFrame:
        """``row_number``, ``is_ragged``, and fields of the objects as texts."""
        dtype = pl.Struct(dict.fromkeys(columns, pl.String()))

        def decoded(lines: pl.Series) -> pl.Series:
            return _decoded(lines, dtype)

        return (
            self._lines.scan()
            .filter(pl.col("line").str.strip_chars() != "")
            .select(
                row_number="number",
                fields=pl.col("line").map_batches(decoded, return_dtype=dtype, is_elementwise=True),
                is_ragged=pl.lit(value=False),
            )
            .select(
                "row_number",
                "is_ragged",
                *(pl.col("fields").struct.field(column).alias(RAW + column) for column in columns),
            )
        )

    def originals(self, row_numbers: pl.Series) -> pl.DataFrame:
        """The rows as they came; a line that is no JSON object stands as the only field, ``line``."""
        rows = [
            (
                number,
                line.strip() if _object(line) is not None else json.dumps({"line": line}, ensure_ascii=False),
                None,
            )
            for number, line in self._lines.of(row_numbers).iter_rows()
        ]
        return pl.DataFrame(
            rows, schema={"row_number": pl.Int64, "original": pl.String, "fields": pl.Int64}, orient="row"
        )


def _object(line: str) -> dict[str, object] | None:
    try:
        said = json.loads(line, parse_constant=str)
    except (ValueError, RecursionError):
        return None
    return said if isinstance(said, dict) else None


def _decoded(lines: pl.Series, dtype: pl.Struct) -> pl.Series:
    """Objects as texts; where some of many lines are none, halves are tried until few enough are left to go by hand."""
    try:
        return lines.str.json_decode(dtype)
    except pl.exceptions.ComputeError:
        if len(lines) > _BY_HAND:
            half = len(lines) // 2
            return pl.concat([_decoded(lines[:half], dtype), _decoded(lines[half:], dtype)])
    return pl.concat([_one(line, dtype) for line in lines]).alias(lines.name)


def _one(line: str, dtype: pl.Struct) -> pl.Series:
    """One object as texts; NaN and Infinity, which JSON does not have, are taken as texts."""
    said = _object(line)
    try:
        return pl.Series([json.dumps(said or {}, ensure_ascii=False)]).str.json_decode(dtype)
    except pl.exceptions.ComputeError:
        return pl.Series([None], dtype=dtype)
