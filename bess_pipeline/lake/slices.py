"""Parts of a table that are read, and replaced whole: slices by day, and what follows from a day on."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime

import dataframely as dy
import polars as pl

from bess_pipeline.tables.catalog import MONTH, Table
from bess_pipeline.window import Window

#: Stands for the day of rows that later days may still change: after all days, in a month of its own.
NOT_YET = date(9000, 1, 1)


@dataclass(frozen=True)
class Slice:
    """A part of a table: one fleet, in all its days, in a window of days, or its rows without a day.

    Raises:
        ValueError: If both a window and ``no_day`` are given.
    """

    fleet_id: str
    window: Window | None = None
    no_day: bool = False

    def __post_init__(self) -> None:
        if self.window is not None and self.no_day:
            raise ValueError("a slice has a window of days or none, not both")

    def __str__(self) -> str:
        part = "rows without a day" if self.no_day else str(self.window or "all days")
        return f"{self.fleet_id}, {part}"

    def rows(self) -> pl.Expr:
        """Whether a row lies in the slice, for Polars."""
        fleet = pl.col("fleet_id") == self.fleet_id
        if self.no_day:
            return fleet & pl.col("date").is_null()
        return fleet & self.window.days() if self.window else fleet

    def delta_predicate(self) -> str:
        """Whether a row lies in the slice, for Delta."""
        fleet = _is_fleet(self.fleet_id)
        if self.no_day:
            return f"{fleet} AND date IS NULL"
        return f"{fleet} AND {self.window.delta_predicate()}" if self.window else fleet


@dataclass(frozen=True)
class Tail:
    """What a table of one fleet says of a day and all later ones, and what is not settled yet.

    Attributes:
        fleet_id: The fleet.
        since: First UTC day.
        until: Column with the day, or the instant, up to which a row speaks.
        at_instants: Whether that column holds instants.
    """

    fleet_id: str
    since: date
    until: str
    at_instants: bool

    @classmethod
    def of(cls, table: Table, fleet_id: str, since: date) -> Tail:
        """The rows of a table from a day on."""
        return cls(fleet_id, since, table.until, at_instants=isinstance(table.columns[table.until], dy.Datetime))

    def __str__(self) -> str:
        return f"{self.fleet_id}, from {self.since} on"

    def rows(self) -> pl.Expr:
        """Whether a row lies in the tail, for Polars."""
        midnight = datetime(self.since.year, self.since.month, self.since.day, tzinfo=UTC)
        speaks = pl.col(self.until) >= (midnight if self.at_instants else self.since)
        # By what fills nulls no file could be left out unopened.
        return (pl.col("fleet_id") == self.fleet_id) & (speaks | pl.col(self.until).is_null())

    def delta_predicate(self) -> str:
        """Whether a row lies in the tail, for Delta."""
        fleet = _is_fleet(self.fleet_id)
        speaks = f">= '{self.since}{'T00:00:00Z' if self.at_instants else ''}'"
        return f"{fleet} AND ({self.until} {speaks} OR {self.until} IS NULL)"


def day_of(until: str) -> pl.Expr:
    """The UTC day up to which a row speaks, or `NOT_YET`."""
    return pl.col(until).cast(pl.Date).fill_null(NOT_YET)


def month_of(until: str) -> pl.Expr:
    """The first day of the month of `day_of`."""
    return day_of(until).dt.month_start()


@dataclass(frozen=True)
class Months:
    """What a table of months says of some of them.

    Attributes:
        fleet_id: The fleet.
        window: From the first day of the first month to that of the month after the last.
        until: Column with the day, or the instant, up to which a row speaks.

    Raises:
        ValueError: If the window begins or ends within a month.
    """

    fleet_id: str
    window: Window
    until: str

    def __post_init__(self) -> None:
        if self.window.start.day != 1 or self.window.end.day != 1:
            raise ValueError(f"whole months are needed, got {self.window}")

    def __str__(self) -> str:
        return f"{self.fleet_id}, {self.window}"

    def rows(self) -> pl.Expr:
        """Whether a row lies in the months, for Polars."""
        day = day_of(self.until)
        return (pl.col("fleet_id") == self.fleet_id) & (day >= self.window.start) & (day < self.window.end)

    def delta_predicate(self) -> str:
        """Whether a row lies in the months, for Delta: by the names of their folders alone."""
        return f"{_is_fleet(self.fleet_id)} AND {self.window.delta_predicate(MONTH)}"


@dataclass(frozen=True)
class Named:
    """What one fleet's rows of a table say of some names."""

    fleet_id: str
    names: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.fleet_id}, {', '.join(self.names)}"

    def rows(self) -> pl.Expr:
        """Whether a row is of one of the names, for Polars."""
        return (pl.col("fleet_id") == self.fleet_id) & pl.col("name").is_in(self.names)

    def delta_predicate(self) -> str:
        """Whether a row is of one of the names, for Delta."""
        return f"{_is_fleet(self.fleet_id)} AND name IN ({', '.join(map(_quoted, self.names))})"


#: Any part of a table that can be read, and replaced whole.
Part = Slice | Tail | Months | Named


def months_of(part: Part, until: str) -> pl.Expr:
    """Whether a file of a table of months may hold rows of a part, by the month in its address alone.

    Args:
        part: The part.
        until: Column of whose month the files are, see `Table`.
    """
    if isinstance(part, Slice) and part.window is not None and until == "date":
        return (pl.col(MONTH) >= part.window.start.replace(day=1)) & (pl.col(MONTH) < part.window.end)
    if isinstance(part, Tail):
        return pl.col(MONTH) >= part.since.replace(day=1)
    if isinstance(part, Months):
        return (pl.col(MONTH) >= part.window.start) & (pl.col(MONTH) < part.window.end)
    return pl.lit(value=True)


def _is_fleet(fleet_id: str) -> str:
    return f"fleet_id = {_quoted(fleet_id)}"


def _quoted(text: str) -> str:
    return "'{}'".format(text.replace("'", "''"))
