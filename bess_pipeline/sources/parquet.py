"""Parquet."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from bess_pipeline.sources.opening import RAW, Limits, Unpacked, printable

_TEXTS_AT_ONCE = 65_536
_VALUE_BYTES = 8
_LIMITS = Limits()


class ParquetFile:
    """One Parquet file; one compressed as a whole is decompressed first. It is to be closed.

    Args:
        path: The file.
        limits: How much it may hold.

    Raises:
        UnreadableFile: If the file holds more than it may: a page of a few bytes can stand for any number of values.
    """

    def __init__(self, path: Path, limits: Limits = _LIMITS) -> None:
        self._unpacked = Unpacked(path, limits)
        self._limits, self._name = limits, printable(path.name)
        try:
            schema = pl.read_parquet_schema(self._stream())
            rows = pl.scan_parquet(self._source, glob=False, hive_partitioning=False).select(pl.len()).collect().item()
            self.size_bytes = rows * max(len(schema), 1) * _VALUE_BYTES
            self._packed = path.stat().st_size * max(len(schema), 1)
            limits.check(self._name, self.size_bytes, self._packed)
        except BaseException:
            self.close()
            raise
        self.schema: dict[str, pl.DataType] = dict(schema)
        self.names = list(schema)

    def close(self) -> None:
        """Remove what was put aside."""
        self._unpacked.close()

    @property
    def version(self) -> tuple[str, int, int]:
        """Path, size and modification time [ns] of the file as it was opened."""
        return self._unpacked.version

    @property
    def _source(self) -> Path | bytes:
        return self._unpacked.source

    def _stream(self) -> Path | BytesIO:
        return BytesIO(self._source) if isinstance(self._source, bytes) else self._source

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

    def verify(self) -> None:
        """Decode every value: times and batteries can be whole where the pages of other columns are damaged.

        Raises:
            PolarsError: If one cannot be decoded.
            UnreadableFile: If its texts hold more than the file may.
        """
        self._require_bounded_texts()
        self._scan().select(pl.all().null_count()).collect(engine="streaming")

    def _require_bounded_texts(self) -> None:
        """Refuse texts that a dictionary of a few bytes would repeat until they fill the memory."""
        names = [name for name, kind in self.schema.items() if kind in (pl.String, pl.Binary)]
        size = 0
        with pq.ParquetFile(self._stream(), read_dictionary=names) as stored:
            for batch in stored.iter_batches(_TEXTS_AT_ONCE, columns=names) if names else ():
                for column in batch.columns:
                    texts = column.dictionary if isinstance(column, pa.DictionaryArray) else column
                    size += len(column) * (pc.max(pc.binary_length(texts)).as_py() or 0)
                    self._limits.check(self._name, size, self._packed)

    def originals(self, row_numbers: pl.Series) -> pl.DataFrame:
        """The rows as they came, each value as text."""
        found = self._scan().filter(pl.col("row_number").is_in(row_numbers.implode())).collect(engine="streaming")
        texts = pl.DataFrame([_as_text(found[RAW + name]).alias(name) for name in self.names])
        return found.select(
            "row_number", original=texts.to_struct().struct.json_encode(), fields=pl.lit(None, dtype=pl.Int64)
        ).sort("row_number")

    def _scan(self) -> pl.LazyFrame:
        return (
            pl.scan_parquet(self._source, glob=False, hive_partitioning=False)
            .select(pl.all().name.prefix(RAW))
            .with_row_index("row_number")
            .with_columns(pl.col("row_number").cast(pl.Int64))
        )


def _as_text(values: pl.Series) -> pl.Series:
    kind = values.dtype
    if kind.is_nested() or kind in (pl.Binary, pl.Object):
        return pl.Series([None if value is None else str(value) for value in values.to_list()], dtype=pl.String)
    return values.cast(pl.String)
