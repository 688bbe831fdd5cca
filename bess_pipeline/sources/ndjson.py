"""NDJSON: one JSON object to a line."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial

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

        return (
            self._lines.scan()
            .filter(pl.col("line").str.strip_chars() != "")
            .select(
                row_number="number",
                fields=pl.col("line").map_batches(
                    partial(decoded, dtype=dtype), return_dtype=dtype, is_elementwise=True
                ),
                is_ragged=pl.lit(value=False),
            )
            .select(
                "row_number",
                "is_ragged",
                *(pl.col("fields").struct.field(column).alias(RAW + column) for column in columns),
            )
        )

    @property
    def size_bytes(self) -> int:
        """How many bytes its text has."""
        return self._lines.size_bytes

    @property
    def version(self) -> tuple[str, int, int]:
        """Path, size and modification time [ns] of the file as it was opened."""
        return self._lines.version

    def verify(self) -> None:
        """Nothing is left to do: text that cannot be decoded shows when its lines are counted."""

    def originals(self, row_numbers: pl.Series) -> pl.DataFrame:
        """The rows as they came; a line that is no JSON object stands as the only field, ``line``."""
        lines = self._lines.of(row_numbers)
        return lines.select(
            row_number="number",
            original=pl.when(_are_objects(lines["line"]))
            .then(pl.col("line").str.strip_chars())
            .otherwise(pl.struct("line").struct.json_encode()),
            fields=pl.lit(None, dtype=pl.Int64),
        )


def _object(line: str) -> dict[str, object] | None:
    try:
        said = json.loads(line, parse_constant=str)
    except (ValueError, RecursionError):
        return None
    return said if isinstance(said, dict) else None


def _are_objects(lines: pl.Series) -> pl.Series:
    """Whether each line is an object; lines that may not be are tried by halves."""
    try:
        lines.str.json_decode(pl.Struct({"": pl.Null}))
    except pl.exceptions.ComputeError:
        if len(lines) <= _BY_HAND:
            return pl.Series([_object(line) is not None for line in lines], dtype=pl.Boolean)
        half = len(lines) // 2
        return pl.concat([_are_objects(lines[:half]), _are_objects(lines[half:])])
    return lines.str.contains(r"^\s*\{")


def decoded(lines: pl.Series, dtype: pl.Struct) -> pl.Series:
    """Objects as texts; where some of many lines are none, halves are tried until few enough are left to go by hand."""
    try:
        return lines.str.json_decode(dtype)
    except pl.exceptions.ComputeError:
        if len(lines) > _BY_HAND:
            half = len(lines) // 2
            return pl.concat([decoded(lines[:half], dtype), decoded(lines[half:], dtype)])
    return pl.concat([_one(line, dtype) for line in lines]).alias(lines.name)


def _one(line: str, dtype: pl.Struct) -> pl.Series:
    """One object as texts, lists and objects in it too; NaN and Infinity, which JSON does not have, are texts here."""
    said = _object(line) or {}
    return pl.Series([{field.name: _text(said.get(field.name)) for field in dtype.fields}], dtype=dtype)


def _text(value: object) -> str | None:
    """A value of JSON as text; half characters, which UTF-8 cannot hold, are escaped."""
    if value is None:
        return None
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text.encode("utf-8", "backslashreplace").decode()
