"""Epochs: where what is computed row by row can be taken up again instead of at the beginning."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import polars as pl

from bess_pipeline.analytics.traces import Traces, floats
from bess_pipeline.arrays import Floats, Ints
from bess_pipeline.tables.keys import BATTERY, BATTERY_DAY
from bess_pipeline.tables.memory import EpochMemory
from bess_pipeline.units import US_PER_DAY
from bess_pipeline.window import EPOCH_DAYS, epoch_start

_FIRST = date(1970, 1, 1)

Key = tuple[str, str]


def day_of(instant_us: int) -> date:
    """The UTC day of an instant [µs]."""
    return _FIRST + timedelta(days=int(instant_us // US_PER_DAY))


def epochs_after(day: date, last: date) -> list[date]:
    """First days of the epochs after that of one day, up to that of another.

    Examples:
        >>> [str(epoch) for epoch in epochs_after(date(2026, 1, 1), date(2026, 1, 20))]
        ['2026-01-08', '2026-01-15']
    """
    first, step = epoch_start(day), timedelta(days=EPOCH_DAYS)
    return [first + step * n for n in range(1, (epoch_start(last) - first) // step + 1)]


def epochs_within(days: pl.Series, since: date | None) -> list[date]:
    """First days of the epochs that begin within days, after the one from which these are taken up, if there is one."""
    first, last = since or days.min(), days.max()
    return epochs_after(first, last) if isinstance(first, date) and isinstance(last, date) else []


def day_numbers(days: Sequence[date]) -> Ints:
    """Days since 1970, as compiled code counts them.

    Examples:
        >>> day_numbers([date(1970, 1, 2), date(1971, 1, 1)])
        array([  1, 365])
    """
    return np.array([(day - _FIRST).days for day in days], np.int64)


def rows_before(start_us: Ints, epochs: Sequence[date]) -> Ints:
    """How many of the rows, in order of time, start before each epoch."""
    return np.searchsorted(start_us, day_numbers(epochs) * US_PER_DAY).astype(np.int64)


def epoch_of(memory: pl.DataFrame | None) -> date | None:
    """The epoch that a memory is of; none if it holds nothing.

    Raises:
        ValueError: If its rows are of several epochs.
    """
    if memory is None or memory.is_empty():
        return None
    epochs: list[date] = memory["date"].unique().sort().to_list()
    if len(epochs) != 1:
        raise ValueError(f"memory of several epochs: {', '.join(map(str, epochs))}")
    return epochs[0]


@dataclass(frozen=True)
class Stretch:
    """One battery's rows, and what is carried into them.

    Attributes:
        battery: Position among the batteries.
        rows: Its rows, as a slice of all rows.
        carried: What is carried into the first; none at the beginning.
        keep_at: Numbers of its rows that start before each epoch, of which it is asked what is carried on after them.
    """

    battery: int
    rows: slice
    carried: Floats | None
    keep_at: Ints


class Recalled:
    """Goes over the batteries of a fleet, from an epoch or from the beginning, and keeps what they carry on.

    Args:
        series: The rows, from the epoch of the memory on.
        memory: `EpochMemory` rows of one epoch; none to begin at the beginning.
    """

    def __init__(self, series: Traces, memory: pl.DataFrame | None) -> None:
        self._series = series
        self._since = epoch_of(memory)
        self._known: dict[Key, Floats] = {}
        if memory is not None:
            for fleet, battery, carried in memory.select(*BATTERY, "carried").rows():
                self._known[fleet, battery] = floats(pl.Series(carried, dtype=pl.Float64))
        days: list[date] = series.rows["date"].unique().to_list()
        self._last = max(days, default=_FIRST)
        self._kept: list[tuple[str, str, date, list[float | None]]] = []

    def over(self, counted: Callable[[Stretch], list[Floats]]) -> None:
        """Let each battery's rows be counted, and keep what is carried into each epoch."""
        for key, stretch, epochs in self._stretches():
            for epoch, carried in zip(epochs, counted(stretch), strict=True):
                self._kept.append((*key, epoch, pl.Series(carried).fill_nan(None).to_list()))

    def _stretches(self) -> Iterator[tuple[Key, Stretch, list[date]]]:
        offsets, start = self._series.offsets, self._series.start_us
        for b, key in enumerate(self._series.batteries.select(BATTERY).rows()):
            rows = slice(int(offsets[b]), int(offsets[b + 1]))
            carried = self._known.get(key)
            if carried is None and rows.start == rows.stop:
                continue
            begun = self._since if carried is not None and self._since else day_of(start[rows.start])
            epochs = epochs_after(begun, self._last)
            yield key, Stretch(b, rows, carried, rows_before(start[rows], epochs)), epochs

    def memory(self) -> pl.DataFrame:
        """`EpochMemory` rows of the epochs that begin within the rows, sorted."""
        schema = EpochMemory.create_empty().schema
        return pl.DataFrame(self._kept, schema=schema, orient="row").sort(*BATTERY_DAY)
