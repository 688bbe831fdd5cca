"""A half-open range of UTC days, spoken both as a Polars and as a Delta predicate."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import polars as pl

_DAY = timedelta(days=1)
_FIRST = date(1970, 1, 1)

#: Days of an epoch: the absolute grid on which the fleet level remembers what came before.
EPOCH_DAYS = 7


@dataclass(frozen=True, order=True)
class Window:
    """The UTC days from ``start`` up to, not including, ``end``.

    Raises:
        ValueError: If the window is empty or runs backwards.

    Examples:
        >>> len(Window(date(2026, 1, 1), date(2026, 2, 1)))
        31
        >>> Window(date(2026, 1, 1), date(2026, 1, 2)).delta_predicate()
        "date >= '2026-01-01' AND date < '2026-01-02'"
    """

    start: date
    end: date

    def __post_init__(self) -> None:
        if self.end <= self.start:
            raise ValueError(f"a window needs at least one day, got {self.start} to {self.end}")

    @classmethod
    def of_day(cls, day: date) -> Window:
        """The window that holds just ``day``."""
        return cls(day, day + _DAY)

    @classmethod
    def hull(cls, days: Iterable[date]) -> Window:
        """The smallest window that holds all of ``days``."""
        ordered = sorted(days)
        return cls(ordered[0], ordered[-1] + _DAY)

    def __len__(self) -> int:
        return (self.end - self.start).days

    def __iter__(self) -> Iterator[date]:
        return (self.start + _DAY * step for step in range(len(self)))

    def __contains__(self, day: date) -> bool:
        return self.start <= day < self.end

    def __str__(self) -> str:
        return str(self.start) if len(self) == 1 else f"{self.start} to {self.end - _DAY}"

    @property
    def start_time(self) -> datetime:
        """The first instant of the window [UTC]."""
        return datetime(self.start.year, self.start.month, self.start.day, tzinfo=UTC)

    @property
    def end_time(self) -> datetime:
        """The first instant after the window [UTC]."""
        return datetime(self.end.year, self.end.month, self.end.day, tzinfo=UTC)

    def days(self, column: str = "date") -> pl.Expr:
        """Whether a date column lies in the window, for Polars."""
        return pl.col(column).is_between(self.start, self.end, closed="left")

    def times(self, column: str = "timestamp") -> pl.Expr:
        """Whether a UTC timestamp column lies in the window, for Polars."""
        return pl.col(column).is_between(self.start_time, self.end_time, closed="left")

    def delta_predicate(self, column: str = "date") -> str:
        """Whether a date column lies in the window, for Delta."""
        return f"{column} >= '{self.start}' AND {column} < '{self.end}'"


def epoch_start(day: date, days: int = EPOCH_DAYS) -> date:
    """The first day of the epoch that a day lies in.

    Args:
        day: The day.
        days: How long epochs are.

    Examples:
        >>> epoch_start(date(2026, 1, 14)), epoch_start(date(2026, 1, 15)), epoch_start(date(2026, 1, 14), 28)
        (datetime.date(2026, 1, 8), datetime.date(2026, 1, 15), datetime.date(2025, 12, 18))
    """
    return day - timedelta(days=(day - _FIRST).days % days)


def contiguous(days: Iterable[date], *, longest: int) -> list[Window]:
    """Days gathered into windows without holes, none longer than ``longest`` days.

    Examples:
        >>> [str(w) for w in contiguous([date(2026, 1, 1), date(2026, 1, 2), date(2026, 1, 9)], longest=30)]
        ['2026-01-01 to 2026-01-02', '2026-01-09']
    """
    windows: list[Window] = []
    for day in sorted(set(days)):
        last = windows[-1] if windows else None
        if last is not None and last.end == day and len(last) < longest:
            windows[-1] = Window(last.start, day + _DAY)
        else:
            windows.append(Window.of_day(day))
    return windows


def batched(window: Window, rows: dict[date, int], *, budget: int) -> list[Window]:
    """The window cut into runs of days that together hold at most ``budget`` rows, at least one day each.

    Examples:
        >>> days = Window(date(2026, 1, 1), date(2026, 1, 4))
        >>> [len(w) for w in batched(days, {day: 60 for day in days}, budget=100)]
        [1, 1, 1]
        >>> [len(w) for w in batched(days, {day: 40 for day in days}, budget=100)]
        [2, 1]
    """
    cuts = [window.start]
    held = 0
    for day in window:
        held += rows.get(day, 0)
        if held > budget and day > cuts[-1]:
            cuts.append(day)
            held = rows.get(day, 0)
    return [Window(start, end) for start, end in zip(cuts, [*cuts[1:], window.end], strict=True)]
