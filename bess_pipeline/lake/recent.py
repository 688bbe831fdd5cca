"""Rows that were read a moment ago, for the steps of one run that read the same tables one after the other."""

from __future__ import annotations

from collections import OrderedDict

import polars as pl

from bess_pipeline.lake.slices import Part
from bess_pipeline.lake.store import Lake
from bess_pipeline.tables.catalog import Table

#: A table with a file a day takes a millisecond or two a file to read: of a year, ten times what its rows take.
MOST_BYTES = 1 << 28


class Recent:
    """Reads parts of tables, and keeps what was read last as long as its table does not change.

    Args:
        lake: The lake.
        most_bytes: How much is kept in all; a frame that is larger is not kept.
    """

    def __init__(self, lake: Lake, most_bytes: int = MOST_BYTES) -> None:
        self._lake = lake
        self._most = most_bytes
        self._held: OrderedDict[tuple[str, Part], tuple[int, pl.DataFrame]] = OrderedDict()

    def read(self, table: Table, part: Part) -> pl.DataFrame:
        """The rows of a part of a table as of now, in the table's order; see `Lake.read`."""
        version, key = self._lake.version(table), (table.name, part)
        known = self._held.get(key)
        if known is not None and known[0] == version:
            self._held.move_to_end(key)
            return known[1].clone()
        self._held.pop(key, None)
        rows = self._lake.read(table, part)
        is_small = rows.estimated_size() <= self._most  # others would make room for it, and it be gone as well
        if is_small and self._lake.version(table) == version:  # nobody wrote while it was read
            self._held[key] = version, rows
            while sum(frame.estimated_size() for _, frame in self._held.values()) > self._most:
                self._held.popitem(last=False)
        return rows.clone()
