"""What must be known of a battery's rows before an epoch, so that the search for repairs can be taken up there."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import polars as pl

from bess_pipeline.analytics import likelihood, repair_heat, repair_signs, repair_stretches
from bess_pipeline.analytics.likelihood import Records, Weeks
from bess_pipeline.analytics.memory import epoch_of
from bess_pipeline.analytics.repair_evidence import CHARGE_PRICE, HEAT_PRICE, LAST, SIGN_SWITCH, STEPS
from bess_pipeline.analytics.traces import floats
from bess_pipeline.arrays import Bools, Ints
from bess_pipeline.tables.keys import BATTERY, BATTERY_DAY
from bess_pipeline.tables.memory import EpochMemory
from bess_pipeline.window import EPOCH_DAYS

_EPOCH_WEEKS = EPOCH_DAYS // likelihood.WEEK_DAYS
_FIRST_DAY = date(1970, 1, 1)


def _carried(path: np.dtype[np.void], stretches: np.dtype[np.void]) -> np.dtype[np.void]:
    return np.dtype([("path", path), ("stretches", stretches, (2,))])


#: What is known of a battery: its last row, what is usual of its steps, and for each kind of repair the path and the
#: stretches, these for either state that the last row may turn out to have had.
KNOWN = np.dtype(
    [
        ("last", LAST),
        ("steps", STEPS),
        ("current_sign", _carried(likelihood.SIGN, repair_signs.SIGN)),
        ("temperature_unit", _carried(likelihood.READING, repair_heat.HEAT)),
        ("soc_unit", _carried(likelihood.READING, repair_stretches.CHARGE)),
    ]
)


_SIZE = KNOWN.itemsize // 8


@dataclass(frozen=True)
class Recalled:
    """What is known of each battery of a fleet.

    Attributes:
        since: First day of the epoch that the rows begin with; none at the beginning.
        known: Records `KNOWN`, one for each battery.
        had_rows: Batteries with rows before.
    """

    since: date | None
    known: Records
    had_rows: Bools

    @property
    def week(self) -> int:
        """The week that the epoch begins with; -1 at the beginning."""
        return -1 if self.since is None else (self.since - _FIRST_DAY).days // likelihood.WEEK_DAYS


def recalled(memory: pl.DataFrame | None, batteries: pl.DataFrame) -> Recalled:
    """What is known of each battery, in order; of those that the memory does not know, what is known of a new one.

    Raises:
        ValueError: If the memory is of several epochs.
    """
    known = np.zeros(batteries.height, KNOWN)
    known["last"] = np.array((np.nan, 0.0, np.nan), LAST)
    known["steps"]["ohm"] = known["steps"]["variance"] = np.nan
    known["current_sign"]["path"] = likelihood.first_sign(batteries.height, SIGN_SWITCH)
    known["temperature_unit"]["path"] = likelihood.first_reading(batteries.height, HEAT_PRICE)
    known["soc_unit"]["path"] = likelihood.first_reading(batteries.height, CHARGE_PRICE)
    had_rows = np.zeros(batteries.height, np.bool_)
    since = epoch_of(memory)
    if memory is None or since is None:
        return Recalled(None, known, had_rows)
    rows = batteries.select(BATTERY).with_row_index("place").join(memory, on=BATTERY).sort("place")
    place = rows["place"].to_numpy()
    numbers = floats(rows.select(pl.col("carried").explode()).to_series())
    known[place] = numbers.reshape(len(place), _SIZE).view(KNOWN)[:, 0]
    had_rows[place] = True
    return Recalled(since, known, had_rows)


@dataclass(frozen=True)
class Epochs:
    """Epochs of which it is to be known what was before, by battery.

    Attributes:
        battery: Position of the battery, ascending.
        number: The week that the epoch begins with.
        last_week: Position of the battery's last week with rows before; -1 where the rows hold none.
    """

    battery: Ints
    number: Ints
    last_week: Ints

    @classmethod
    def within(cls, weeks: Weeks, before: Recalled) -> Epochs:
        """Those after the epoch of each battery's first row, up to that of the fleet's last."""
        found = []
        last = int(weeks.number.max(initial=-1)) // _EPOCH_WEEKS
        bounds = np.searchsorted(weeks.series, np.arange(len(before.known) + 1))
        for battery, (low, high) in enumerate(zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True)):
            if not before.had_rows[battery] and low == high:
                continue
            begun = before.week if before.had_rows[battery] else int(weeks.number[low])
            epochs = np.arange(begun // _EPOCH_WEEKS + 1, last + 1) * _EPOCH_WEEKS
            weeks_before = np.searchsorted(weeks.number[low:high], epochs)
            at = np.where(weeks_before > 0, low + weeks_before - 1, -1)
            found.append(np.stack([np.full(len(epochs), battery), epochs, at]))
        every = np.concatenate(found, axis=1) if found else np.zeros((3, 0))
        return cls(*every.astype(np.int64))


def remembered(epochs: Epochs, known: Records, batteries: pl.DataFrame) -> pl.DataFrame:
    """`EpochMemory` rows of what is known at epochs."""
    numbers = np.ascontiguousarray(known).view(np.float64).reshape(len(known), _SIZE)
    days = [_FIRST_DAY + timedelta(days=int(week) * likelihood.WEEK_DAYS) for week in epochs.number]
    return (
        batteries.select(pl.col(BATTERY).gather(epochs.battery))
        .with_columns(
            date=pl.Series(days, dtype=pl.Date),
            carried=pl.Series(numbers, dtype=pl.Array(pl.Float64, _SIZE)).cast(pl.List(pl.Float64)),
        )
        .with_columns(pl.col("carried").list.eval(pl.element().fill_nan(None)))
        .select(EpochMemory.column_names())
        .sort(*BATTERY_DAY)
    )
