"""Lives of batteries: what was estimated of their capacity, day by day, and what the clocks of ageing showed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import polars as pl

from bess_pipeline.analytics.ageing_clocks import Clock, clock_of, run_through
from bess_pipeline.analytics.memory import day_numbers
from bess_pipeline.analytics.traces import numbered
from bess_pipeline.arrays import Floats, Ints
from bess_pipeline.tables.columns import NORMAL_90
from bess_pipeline.tables.keys import BATTERY, BATTERY_DAY

#: Columns of each day's rows that a life is made of.
HEALTH = (*BATTERY_DAY, "soh_percent", "soh_upper_percent")
STRESS = (*BATTERY_DAY, "calendar", "cycle")
#: Error of the gain of the sensor, in every estimate alike; estimates are alike over so many days beyond that.
GAIN, ALIKE_DAYS, OWN_SIGMA = 0.004, 150.0, 0.001
#: Loss that lies before the data.
BEFORE_DATA = 0.004


@dataclass(frozen=True)
class Life:
    """One battery's estimates and clocks.

    Attributes:
        end: Capacity at which its life ends [of rated].
        at: Days of the estimates since the first day, and their values and standard errors [of rated].
        calendar: Loss that the calendar's clock stands for at the end of each day, at laboratory pace; cycle likewise.
        added: What each day added to the two clocks: shape (days, 2).
    """

    key: tuple[str, str]
    first: date
    end: float
    clock: Clock
    at: Ints
    level: Floats
    sigma: Floats
    calendar: Floats
    cycle: Floats
    added: Floats

    def design(self, days: Ints) -> Floats:
        """What capacity is made of on some days: shape (days, 3)."""
        return np.stack([np.ones(len(days)), -self.calendar[days], -self.cycle[days]], axis=1)


class _Days(NamedTuple):
    """The first day of one battery, its days since 1970, in order, and what two columns say: shape (days, 2)."""

    first: date
    days: Ints
    values: Floats


def _by_battery(rows: pl.DataFrame) -> Iterator[tuple[tuple[str, str], _Days]]:
    """The days of each battery, of rows in order; the last two columns are the values."""
    days = rows["date"].to_physical().to_numpy().astype(np.int64)
    values = np.ascontiguousarray(rows.select(rows.columns[-2:]).to_numpy(), dtype=np.float64)
    places = np.append(np.flatnonzero(np.diff(numbered(rows), prepend=-1)), rows.height)
    for begin, end in pairwise(places.tolist()):
        fleet_id, battery_id, first = rows.row(begin)[:3]
        yield (fleet_id, battery_id), _Days(first, days[begin:end], values[begin:end])


def last_day(health: pl.DataFrame, stress: pl.DataFrame) -> date | None:
    """The last day of any data; none if there are none."""
    days = [day for day in (health["date"].max(), stress["date"].max()) if isinstance(day, date)]
    return max(days, default=None)


def lives_of(health: pl.DataFrame, stress: pl.DataFrame, batteries: pl.DataFrame, end: date) -> Iterator[Life]:
    """The life of each battery of whose capacity there is an estimate.

    A day without data, and those after the last, age a battery as those before them did on average, and have no cycle.

    Args:
        health: `StateOfHealth` rows, of all days: `HEALTH`.
        stress: `DailyStress` rows, of all days: `STRESS`.
        batteries: `Battery` rows.
        end: The day up to which clocks run.
    """
    plates = {row[:2]: row[2:] for row in batteries.select(*BATTERY, "chemistry", "end_of_life_percent").rows()}
    known = health.select(HEALTH).drop_nulls(["soh_percent", "soh_upper_percent"]).sort(*BATTERY_DAY)
    added_by = dict(_by_battery(stress.select(STRESS).sort(*BATTERY_DAY)))
    (last,) = day_numbers([end])
    for key, estimates in _by_battery(known):
        chemistry, end_percent = plates[key]
        clock, own = clock_of(chemistry), added_by[key]
        first = int(own.days[0])
        added = np.full((last - first + 1, 2), np.nan)
        added[own.days - first] = own.values
        empty = np.isnan(added[:, 0])
        so_far = np.cumsum(np.nan_to_num(added[:, 0])) / np.cumsum(~empty)
        added[empty, 0], added[empty, 1] = so_far[empty], 0.0
        middle, upper = estimates.values.T
        half = (upper - middle) / 100
        yield Life(
            key=key,
            first=own.first,
            end=end_percent / 100,
            clock=clock,
            at=estimates.days - first,
            level=middle / 100,
            sigma=np.sqrt(np.maximum((half / NORMAL_90) ** 2 - GAIN**2, OWN_SIGMA**2)),
            calendar=run_through(added[:, 0], clock.calendar_power, BEFORE_DATA),
            cycle=run_through(added[:, 1], clock.cycle_power, BEFORE_DATA),
            added=added,
        )
