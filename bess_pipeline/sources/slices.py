"""Long files, cut once into slices that can be read by time."""

from __future__ import annotations

import tempfile
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from pathlib import Path

import polars as pl

_ROWS = 1_000_000
_GROUP_ROWS = 20_000
_MOST_KEPT = 2


@dataclass(frozen=True)
class Slices:
    """The rows of a long file in temporary Parquet files, each sorted by time, so that few days are found quickly.

    A file in the order of time, of batteries, or in none is read alike: each Parquet
    file holds neighbouring rows of the long one, and its row groups neighbouring times.

    Attributes:
        folder: Where the files are until nobody refers to them, or the process ends.
    """

    folder: tempfile.TemporaryDirectory[str]

    @classmethod
    def of(cls, rows: pl.LazyFrame) -> Slices:
        """Cut rows that have an ``early`` instant, holding few of them in memory."""
        folder = tempfile.TemporaryDirectory(prefix="bess-")
        for number, batch in enumerate(rows.collect_batches(chunk_size=_ROWS, maintain_order=False)):
            batch.sort("early").write_parquet(
                Path(folder.name) / f"{number:06d}.parquet", compression="lz4", row_group_size=_GROUP_ROWS
            )
        return cls(folder)

    def scan(self) -> pl.LazyFrame:
        """The rows, in any order."""
        return pl.scan_parquet(Path(self.folder.name) / "*.parquet", hive_partitioning=False)


_kept: OrderedDict[Hashable, Slices] = OrderedDict()


def slices(key: Hashable, rows: Callable[[], pl.LazyFrame]) -> Slices:
    """The slices of a version of a file: those of the files read last are kept while the process lives.

    Args:
        key: What the rows depend on: the file, its size and time, and how it is read.
        rows: The rows of the file.
    """
    if key not in _kept:
        while len(_kept) >= _MOST_KEPT:
            _kept.popitem(last=False)[1].folder.cleanup()
        _kept[key] = Slices.of(rows())
    _kept.move_to_end(key)
    return _kept[key]
