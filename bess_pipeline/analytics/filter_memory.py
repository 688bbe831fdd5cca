"""What the state filter knows of a battery when it begins, and what it keeps for beginning at a later epoch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date

import numpy as np
import polars as pl

from bess_pipeline.analytics import filter_rows
from bess_pipeline.analytics.memory import Key, day_of, epoch_of, epochs_after, rows_before
from bess_pipeline.analytics.traces import floats
from bess_pipeline.arrays import Floats, Ints
from bess_pipeline.tables.health import FilterMemory


@dataclass(frozen=True)
class Life:
    """One battery's rows, and what is known of the time before them.

    Attributes:
        own: What each row says by itself, see `filter_rows.own_columns`; the row before the epoch is the first.
        start_us: Start of each row [µs].
        owed: What the first row owes to those before it.
        plate: What was known at first; none before any voltage was.
        carried: What the filter carries into the first row; none before any voltage was.
        corrections: Rows before the first whose voltage corrected the estimate.
        since: Epoch that is begun at; none at the beginning.
    """

    own: Floats
    start_us: Ints
    owed: Floats
    plate: Floats | None = None
    carried: Floats | None = None
    corrections: int = 0
    since: date | None = None

    @classmethod
    def begun(cls, own: Floats, start_us: Ints) -> Life:
        """A battery of which nothing is known before its first row."""
        return cls(own, start_us, np.zeros(filter_rows.OWED))

    def with_rows(self, own: Floats, start_us: Ints) -> Life:
        """The same battery with the rows that follow."""
        return replace(self, own=np.concatenate([self.own, own]), start_us=np.concatenate([self.start_us, start_us]))

    @property
    def earlier(self) -> int:
        """Rows that are of before the epoch."""
        return 0 if self.since is None else 1

    def epochs(self, last: date) -> list[date]:
        """First days of the epochs after this one's up to that of a day."""
        return epochs_after(self.since or day_of(self.start_us[0]), last)

    def last_before(self, epochs: Sequence[date]) -> Ints:
        """The last row before each epoch."""
        return rows_before(self.start_us, epochs) - 1


def lives(memory: pl.DataFrame | None) -> dict[Key, Life]:
    """What is known of each battery before an epoch.

    Args:
        memory: `FilterMemory` rows of one epoch.

    Raises:
        ValueError: If the rows are of several epochs.
    """
    if memory is None or epoch_of(memory) is None:
        return {}
    found = {}
    for row in memory.iter_rows(named=True):
        own = _numbers(row["own"])
        found[row["fleet_id"], row["battery_id"]] = Life(
            np.zeros((0, filter_rows.OWN_COLUMNS)) if own is None else own[None, :],
            np.array([pl.Series([row["last_at"]]).dt.epoch("us").item()], np.int64),
            np.zeros(filter_rows.OWED) if (owed := _numbers(row["owed"])) is None else owed,
            _numbers(row["plate"]),
            _numbers(row["carried"]),
            row["corrections"],
            row["date"],
        )
    return found


def memory_rows(
    key: Key, life: Life, epochs: Sequence[date], owed: Floats, first: int, carried: Floats
) -> pl.DataFrame:
    """What is kept of a battery at the beginning of each epoch.

    Args:
        key: Fleet and battery.
        life: Its rows, and its plate if any voltage was known.
        epochs: First days of the epochs.
        owed: What the last row before each epoch owes, shape (epochs, OWED).
        first: The first row that the filter took.
        carried: What the filter carries into the last rows before the epochs, of those that it took.

    Returns:
        `FilterMemory` rows.
    """
    at = life.last_before(epochs)
    taken = at >= first if life.plate is not None else np.zeros(len(at), np.bool_)
    known = ~np.isnan(life.own[:, filter_rows.VOLT])
    known[:first] = False
    before = life.corrections + np.concatenate([[0], np.cumsum(known)])
    states = iter(carried)
    return pl.DataFrame(
        {
            "fleet_id": [key[0]] * len(at),
            "battery_id": [key[1]] * len(at),
            "date": list(epochs),
            "last_at": pl.Series(life.start_us[at]).cast(pl.Datetime("us", "UTC")),
            "corrections": before[at] if life.plate is not None else np.zeros(len(at), np.int64),
            "own": _lists(life.own[at]),
            "owed": _lists(owed),
            "plate": _lists([life.plate if is_taken else None for is_taken in taken]),
            "carried": _lists([next(states) if is_taken else None for is_taken in taken]),
        },
        schema=FilterMemory.create_empty().schema,
    )


def _numbers(values: list[float | None] | None) -> Floats | None:
    return None if values is None else floats(pl.Series(values, dtype=pl.Float64))


def _lists(rows: Sequence[Floats | None] | Floats) -> list[list[float | None] | None]:
    """Rows of numbers as lists; NaN as null."""
    return [None if row is None else pl.Series(row).fill_nan(None).to_list() for row in rows]
