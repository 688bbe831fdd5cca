"""Rows that were made for one group of batteries after the other, or of days, on their way into a table."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import polars as pl

from bess_pipeline.lake.changes import days_that_differ, facts_of, sums_of_days, with_known_provenance
from bess_pipeline.lake.contracts import stored_schema
from bess_pipeline.lake.failures import DamagedError
from bess_pipeline.lake.groups import Group, Share
from bess_pipeline.lake.slices import Part, Slice
from bess_pipeline.lake.store import Lake, Written
from bess_pipeline.tables.catalog import Table
from bess_pipeline.window import Window, batched, contiguous

_log = logging.getLogger(__name__)

#: Pieces of less are kept in memory.
_SMALL_BYTES = 1 << 22
#: Rows that the writer is handed at once: it holds them as they are checked, and as Arrow and Parquet have them.
_AT_ONCE = 100_000
#: Rows that a commit writes at most, but for those of a single day: the writer holds those of every day until its end.
_WRITTEN_AT_ONCE = 1_000_000
#: Days that a file of a piece holds.
_FILE_DAYS = 7
Step = Callable[[pl.DataFrame], pl.DataFrame]


@dataclass(frozen=True)
class _File:
    """Rows that lie in a file meanwhile, and their days; no days if the rows tell none."""

    path: Path
    days: Window | None

    def has_any_of(self, window: Window) -> bool:
        return self.days is None or (self.days.start < window.end and window.start < self.days.end)

    def rows(self) -> pl.DataFrame:
        return pl.read_ipc(self.path)


@dataclass(frozen=True)
class Pieces:
    """Rows of each group of batteries in turn: large ones in files of their own, read each time they are gone through.

    Attributes:
        folder: Where the files lie; it is gone when the step is through.
        kept: Groups, and their rows or the files that hold them.
        step: What is still to be made of the rows, of each on its own.
    """

    folder: Path
    kept: tuple[tuple[Share, pl.DataFrame | tuple[_File, ...]], ...] = ()
    step: Step | None = None

    @classmethod
    def of(cls, rows: pl.DataFrame) -> Pieces:
        """The rows of a whole fleet in one piece."""
        return cls(Path(), ((Group(), rows),))

    def with_rows(self, group: Share, rows: pl.DataFrame) -> Pieces:
        """These, and the rows of another group; not those that were only read beside its own."""
        if not group.is_all:
            rows = rows.filter(group.own())
        if group.is_all or rows.estimated_size() <= _SMALL_BYTES:
            return replace(self, kept=(*self.kept, (group, rows)))
        self.folder.mkdir(parents=True, exist_ok=True)
        files: list[_File] = []
        for days, some in _by_days(rows):
            files.append(_File(self.folder / f"{len(self.kept)}-{len(files)}.arrow", days))
            some.write_ipc(files[-1].path, compression="lz4")
        return replace(self, kept=(*self.kept, (group, tuple(files))))

    def map(self, step: Step) -> Pieces:
        """The rows after a step that treats each on its own."""
        before = self.step
        return replace(self, step=step if before is None else lambda rows: step(before(rows)))

    def __len__(self) -> int:
        return len(self.kept)

    def __iter__(self) -> Iterator[tuple[Share, pl.DataFrame]]:
        for group, held in self.kept:
            yield group, self._stepped(held if isinstance(held, pl.DataFrame) else pl.concat(f.rows() for f in held))

    def inside(self, window: Window) -> Iterator[pl.DataFrame]:
        """The rows of some days, group after group, of which no others are read than those of the weeks around."""
        for _, held in self.kept:
            frames = (held,) if isinstance(held, pl.DataFrame) else (f.rows() for f in held if f.has_any_of(window))
            for rows in frames:
                yield self._stepped(rows).filter(window.days())

    def _stepped(self, rows: pl.DataFrame) -> pl.DataFrame:
        return rows if self.step is None else self.step(rows)

    def whole(self) -> pl.DataFrame:
        """All rows."""
        frames = [rows for _, rows in self]
        return frames[0] if len(frames) == 1 else pl.concat(frames)


def _by_days(rows: pl.DataFrame) -> Iterator[tuple[Window | None, pl.DataFrame]]:
    """Rows a week after the other; all of them if any tells no day."""
    if "date" not in rows.columns or rows["date"].null_count():
        yield None, rows
        return
    days = rows["date"].unique().sort()
    for window in batched(Window.hull(days), dict.fromkeys(days, 1), budget=_FILE_DAYS):
        yield window, rows.filter(window.days())


@dataclass(frozen=True)
class _Rows:
    """The frames of pieces, or what they have of some days, to be gone through as often as a writer asks for them."""

    pieces: Pieces
    window: Window | None = None

    def __iter__(self) -> Iterator[pl.DataFrame]:
        for rows in (rows for _, rows in self.pieces) if self.window is None else self.pieces.inside(self.window):
            yield from rows.iter_slices(_AT_ONCE)


def replace_changed(
    lake: Lake, table: Table, pieces: Pieces, part: Part, *, first: Callable[[], None] = lambda: None
) -> Written:
    """Bring a slice to the rows given, writing only the days in which a row differs; see `Lake.replace_changed`.

    Of tables that are partitioned by day no more than the rows of a group is held at once, of those that shall be
    there and of those that are: whether a day differs is told by sums over its rows. Days that differ are written
    some after the other, in a commit each.
    """
    if not table.by_day or len(pieces) == 1:
        return lake.replace_changed(table, pieces.whole(), part, first=first)
    columns = stored_schema(table).names()
    facts = facts_of(columns)
    fresh, sums, held_sums, rows_now = Pieces(pieces.folder / "known"), [], [], 0
    try:
        for group, made in pieces:
            held = lake.ask(table, part, partial(_of_group, group))
            rows = made.select(columns)
            if len(facts) < len(columns):
                rows = with_known_provenance(rows, held, facts)
                fresh = fresh.with_rows(group, rows)
            sums.append(sums_of_days(table, rows, facts))
            held_sums.append(sums_of_days(table, held, facts))
            rows_now += rows.height
    except DamagedError as damaged:
        _log.warning("%s of %s is written whole: %s", table.name, part, damaged)
        first()
        return lake.replace(table, _Rows(pieces.map(lambda rows: rows.select(columns))), part)
    days = days_that_differ(pl.concat(sums), pl.concat(held_sums))
    if days:
        first()
    known = fresh if len(fresh) else pieces.map(lambda rows: rows.select(columns))
    counts = dict(pl.concat(sums).group_by("date").agg(pl.col("rows").sum()).iter_rows())
    for run in contiguous(days, longest=len(days)):
        for window in batched(run, counts, budget=_WRITTEN_AT_ONCE):
            lake.replace(table, _Rows(known, window), Slice(part.fleet_id, window))
    return Written(rows_now, lake.version(table))


def _of_group(group: Share, rows: pl.LazyFrame) -> pl.LazyFrame:
    return rows.filter(group.own())
