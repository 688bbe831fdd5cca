"""The rows of days, a few whole battery-days at a time: a long slice needs no more memory than a short one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import polars as pl

from bess_pipeline.lake.contracts import is_in_order
from bess_pipeline.lake.failures import StorageError
from bess_pipeline.lake.slices import Slice
from bess_pipeline.lake.store import Lake
from bess_pipeline.lake.transient import FAILURES, is_transient
from bess_pipeline.tables.catalog import Table
from bess_pipeline.tables.keys import BATTERY_DAY
from bess_pipeline.window import batched

#: Rows of whole battery-days that are handed on together: enough to be quick, few enough to be forgotten.
PORTION = 200_000


def portions(lake: Lake, table: Table, part: Slice, *, budget: int, portion: int = PORTION) -> Iterator[pl.DataFrame]:
    """The rows of a slice, in portions that hold whole battery-days in the table's order; one at least, be it empty.

    Days whose rows lie in one file each are read as a stream. Nothing is asked again where storage fails: whoever
    goes through them begins anew where it was away in between.

    Args:
        lake: The lake.
        table: A table that is partitioned by day.
        part: The slice.
        budget: Rows that are held at once where a day lies in several files, beyond a single day.
        portion: About how many rows are handed on together.

    Raises:
        DamagedError: If a file cannot be read; the message names it.
        ValueError: If the slice is no window of days.
    """
    if part.window is None:
        raise ValueError(f"portions of {table.name} need a window of days")
    counts, is_empty = lake.files_by_day(table, part), True
    for window in batched(part.window, {day: rows for day, (_, rows) in counts.items()}, budget=budget):
        days = Slice(part.fleet_id, window)
        is_cut = any(counts.get(day, (0, 0))[0] > 1 for day in window)  # a battery's day may lie in two files
        held = sum(counts[day][1] for day in window if day in counts)
        frames = [lake.read(table, days)] if is_cut else _streamed(lake, table, days, portion, held)
        for rows in whole_days(frames, portion):
            is_empty = False
            yield rows if is_in_order(rows, table.sort) else rows.sort(table.sort, maintain_order=True)
    if is_empty:
        yield lake.read(table, part)


def _streamed(lake: Lake, table: Table, part: Slice, rows: int, held: int) -> Iterator[pl.DataFrame]:
    """The rows of a slice as its files hold them: all of them, for a reader that dies on the way ends quietly."""
    came = 0
    try:
        for frame in lake.scan(table, part).collect_batches(chunk_size=rows, engine="streaming"):
            came += frame.height
            yield frame
        if came != held:
            few = StorageError(f"{table.name} of {part}: {came:,} of {held:,} rows could be read; `bess run` again")
            raise lake.diagnosis(table, part, few)
    except FAILURES as error:
        if is_transient(error):
            raise
        raise lake.diagnosis(table, part, error) from None


def whole_days(frames: Iterable[pl.DataFrame], portion: int) -> Iterator[pl.DataFrame]:
    """Rows cut anew so that those of one battery and day, which follow each other, stay together.

    Args:
        frames: Rows with fleet_id, battery_id and date.
        portion: About how many rows are handed on together.

    Examples:
        >>> day = pl.DataFrame({"fleet_id": "f", "battery_id": ["a", "a", "b", "b", "c"], "date": 1})
        >>> [some["battery_id"].to_list() for some in whole_days([day[:1], day[1:]], 2)]
        [['a', 'a'], ['b', 'b'], ['c']]
    """
    held: list[pl.DataFrame] = []
    for frame in frames:
        for some in frame.iter_slices(portion):
            held.append(some)
            if sum(one.height for one in held) <= portion:
                continue
            joined = pl.concat(held)
            ends = int(_starts(joined).arg_true()[-1])
            if ends:
                yield joined[:ends]
            held = [joined[ends:]]
    if held:
        yield pl.concat(held)


def _starts(rows: pl.DataFrame) -> pl.Series:
    """Whether a row is of another battery or day than the one before."""
    changed = (pl.col(name) != pl.col(name).shift() for name in BATTERY_DAY)
    return rows.select(pl.any_horizontal(changed).fill_null(value=True)).to_series()
