"""Groups of a fleet's batteries, and windows of its days: how much of its large tables is held at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta

import polars as pl

from bess_pipeline.lake.slices import Part, Slice, Tail
from bess_pipeline.lake.store import Lake
from bess_pipeline.tables.catalog import Table
from bess_pipeline.window import Window, batched

#: Batteries of a group at least, and of those with rows on the last day, with companions, where there are as many: of
#: nameplates, or days, in a single row Polars divides by way of the reciprocal, and the last digit is another than in a
#: fleet of several.
_LEAST = 2
#: What a group of batteries costs: to open a file as much as to read so many rows, to look through all names of rows
#: such a part of reading these. As measured for a year of 100 batteries on a local disk.
_OPENING_ROWS, _NAMES = 1_000, 1 / 80
#: A day alone may be so many times what is held at once, before batteries are not read all together.
_LARGEST_DAY = 4


@dataclass(frozen=True)
class Group:
    """Batteries that follow each other by name; every battery is in one group, also one that nobody knew of.

    Attributes:
        first: The first of them; none for the first of all.
        before: The first of the next group; none for the last group.
        companions: Batteries whose rows are read beside theirs, and of which nothing is kept, where too few of its own
            go on up to the last day that the fleet has.
    """

    first: str | None = None
    before: str | None = None
    companions: tuple[str, ...] = ()

    @property
    def is_all(self) -> bool:
        """Whether it is the whole fleet."""
        return self.first is None and self.before is None

    def __contains__(self, battery: str) -> bool:
        return (self.first is None or self.first <= battery) and (self.before is None or battery < self.before)

    def own(self) -> pl.Expr:
        """Whether a row is of one of the batteries, for Polars."""
        name, inside = pl.col("battery_id"), pl.lit(value=True)
        if self.first is not None:
            inside &= name >= self.first
        if self.before is not None:
            inside &= name < self.before
        return inside

    def read(self) -> pl.Expr:
        """Whether a row is of one of the batteries, or of a companion."""
        return self.own() | pl.col("battery_id").is_in(self.companions) if self.companions else self.own()

    def of(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The rows of a frame that are read; all of one that is of no battery."""
        return rows if self.is_all or "battery_id" not in rows.columns else rows.filter(self.read())


@dataclass(frozen=True)
class Days:
    """Days that follow each other, of all batteries.

    Attributes:
        window: The days.
        reads: These, and those around them on which they rest.
    """

    window: Window
    reads: Window

    @property
    def is_all(self) -> bool:
        """Whether it is all of what is there, which one window never says of itself."""
        return False

    def own(self) -> pl.Expr:
        """Whether a row is of one of the days, for Polars."""
        return self.window.days()

    def read(self) -> pl.Expr:
        """Whether a row is of one of the days, or of those around them."""
        return self.reads.days()

    def of(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The rows of a frame that are read; all of one that is of no day."""
        return rows.filter(self.read()) if "date" in rows.columns else rows


#: What is read, made and written at once.
Share = Group | Days


def in_windows(lake: Lake, parts: Mapping[Table, Part], at_once: int, *, before: int, ahead: int) -> tuple[Share, ...]:
    """Windows of days of which tables hold about so many rows together; everything at once where these are no more.

    Args:
        lake: The lake.
        parts: Tables and what is read of them; those that are not partitioned by day do not count.
        at_once: Rows that are held at once, beyond those of a single day and those around it.
        before: Days before a day on which it rests.
        ahead: Days after a day on which it rests.
    """
    return _windows(_rows_by_day(lake, parts), at_once, before=before, ahead=ahead)


def either(
    lake: Lake, parts: Mapping[Table, Part], batteries: Sequence[str], at_once: int, *, before: int, ahead: int
) -> tuple[Share, ...]:
    """Windows of days, whose files are opened about once, or groups of batteries: whichever costs less to read.

    Args:
        lake: The lake.
        parts: Tables and what is read of them; those that are not partitioned by day do not count.
        batteries: Names of the fleet's batteries, sorted.
        at_once: Rows that are held at once, beyond those of days around, or of two batteries and of companions.
        before: Days before a day on which it rests.
        ahead: Days after a day on which it rests.
    """
    rows = _rows_by_day(lake, parts)
    windows = _windows(rows, at_once, before=before, ahead=ahead)
    own = sum(rows.values())
    around = sum(rows.get(day, 0) for share in windows if isinstance(share, Days) for day in share.reads) - own
    groups = len(_starts(batteries, at_once * len(batteries) // max(own, 1))) + 1
    # Days around are read once more, and worked on once more.
    cheaper = 2 * around <= groups * (_NAMES * own + _OPENING_ROWS * len(rows))
    fits = max(rows.values(), default=0) <= _LARGEST_DAY * at_once
    return windows if cheaper and fits else grouped(lake, parts, batteries, at_once)


def grouped(lake: Lake, parts: Mapping[Table, Part], batteries: Sequence[str], at_once: int) -> tuple[Share, ...]:
    """Groups of batteries of which tables hold about so many rows together; the whole fleet where these are no more.

    Args:
        lake: The lake.
        parts: Tables and what is read of them; those that are not partitioned by day do not count.
        batteries: Names of the fleet's batteries, sorted.
        at_once: Rows that are held at once, beyond those of two batteries and of companions.
    """
    counts = {table: rows_of(lake, table, part) for table, part in parts.items() if table.by_day}
    rows = sum(counts.values())
    if rows <= at_once:
        return (Group(),)
    starts = _starts(batteries, at_once * len(batteries) // rows)
    seen = [_last_seen(lake, table, parts[table]) for table, held in counts.items() if held]
    firsts, befores = [None, *starts], [*starts, None]
    groups = (Group(*bounds) for bounds in zip(firsts, befores, strict=True))
    return tuple(replace(group, companions=_companions(group, seen)) for group in groups)


def rows_of(lake: Lake, table: Table, part: Part) -> int:
    """How many rows the files hold in which a part of a table lies, from the table's log alone."""
    files = _files(lake, table, part)
    return 0 if files.is_empty() else int(files["num_records"].sum())


def rows_of_group(lake: Lake, table: Table, part: Part, group: Share) -> pl.DataFrame:
    """The rows of a part of a table that a share of it needs, in the table's order; no others are held meanwhile."""
    return lake.read(table, part, group.read())


def _rows_by_day(lake: Lake, parts: Mapping[Table, Part]) -> dict[date, int]:
    """How many rows of tables with a file a day there are of each day, from their logs alone."""
    found = [_files(lake, table, part) for table, part in parts.items() if table.by_day]
    days = [files.select("date", "num_records") for files in found if not files.is_empty()]
    return dict(pl.concat(days).group_by("date").agg(pl.col("num_records").sum()).iter_rows()) if days else {}


def _windows(rows: dict[date, int], at_once: int, *, before: int, ahead: int) -> tuple[Share, ...]:
    if sum(rows.values()) <= at_once:
        return (Group(),)
    earlier, later = timedelta(days=before), timedelta(days=ahead)
    return tuple(
        Days(window, Window(window.start - earlier, window.end + later))
        for window in batched(Window.hull(rows), rows, budget=at_once)
    )


def _files(lake: Lake, table: Table, part: Part) -> pl.DataFrame:
    files = lake.files(table)
    if files.is_empty():
        return files
    days = part.rows() if table.by_day and isinstance(part, Tail) else Slice(part.fleet_id).rows()
    return files.filter(days)


def _last_seen(lake: Lake, table: Table, part: Part) -> frozenset[str]:
    """Batteries with rows on the last day that has any."""
    last = _files(lake, table, part).filter(pl.col("num_records") > 0)["date"].max()
    if not isinstance(last, date):
        return frozenset()
    day = Slice(part.fleet_id, Window.of_day(last))
    return frozenset(lake.ask(table, day, lambda rows: rows.select(pl.col("battery_id").unique()))["battery_id"])


def _starts(batteries: Sequence[str], size: int) -> list[str]:
    """Where the second group begins, and each later one, if all are to hold so many batteries.

    Examples:
        >>> _starts(["a", "b", "c", "d", "e", "f", "g"], 2)
        ['c', 'e']
    """
    size = max(_LEAST, size)
    return [batteries[at] for at in range(size, len(batteries) - _LEAST + 1, size)]


def _companions(group: Group, seen: Sequence[frozenset[str]]) -> tuple[str, ...]:
    """Others that a group needs to have some batteries of each set, the same for all sets if possible.

    Examples:
        >>> _companions(Group("q", "r"), [frozenset("abcd"), frozenset("bcd"), frozenset("xyz")])
        ('b', 'c', 'x', 'y')
        >>> _companions(Group("c", "y"), [frozenset("abcd"), frozenset("bcd"), frozenset("xyz")])
        ('y',)
    """
    chosen: list[str] = []
    for names in sorted(seen, key=len):
        there = [name for name in names if name in group or name in chosen]
        missing = max(0, _LEAST - len(there))
        chosen += sorted(names.difference(there))[:missing]
    return tuple(sorted(chosen))
