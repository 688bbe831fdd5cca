"""Parquet."""

from __future__ import annotations

import json
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import polars as pl

from bess_pipeline.sources.opening import RAW, content


class ParquetFile:
    """One Parquet file; one compressed as a whole is decompressed in memory.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self._source: Path | bytes = content(path) if path.suffix in {".gz", ".zst"} else path
        schema = pl.read_parquet_schema(BytesIO(self._source) if isinstance(self._source, bytes) else self._source)
        self.schema: dict[str, pl.DataType] = dict(schema)
        self.names = list(schema)

    def has(self, name: str) -> bool:
        """Whether the file has a column."""
        return name in self.names

    def frame(self, columns: Sequence[str]) -> pl.LazyFrame:
        """``row_number``, ``is_ragged``, and columns of the file in their own types."""
        return self._scan().select(
            "row_number",
            *(pl.col(RAW + column) for column in columns),
            is_ragged=pl.lit(value=False),
        )

    def originals(self, row_numbers: pl.Series) -> pl.DataFrame:
        """The rows as they came, each value as text."""
        found = self._scan().filter(pl.col("row_number").is_in(row_numbers.implode())).collect(engine="streaming")
        rows = []
        for row in found.sort("row_number").iter_rows(named=True):
            said = {name: None if row[RAW + name] is None else str(row[RAW + name]) for name in self.names}
            rows.append((row["row_number"], json.dumps(said, ensure_ascii=False), None))
        return pl.DataFrame(
            rows, schema={"row_number": pl.Int64, "original": pl.String, "fields": pl.Int64}, orient="row"
        )

    def _scan(self) -> pl.LazyFrame:
        return (
            pl.scan_parquet(self._source, glob=False, hive_partitioning=False)
            .select(pl.all().name.prefix(RAW))
            .with_row_index("row_number")
            .with_columns(pl.col("row_number").cast(pl.Int64))
        )
