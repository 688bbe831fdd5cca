"""Lives of batteries: what was estimated of their capacity, day by day, and what the clocks of ageing showed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

import numpy as np
import polars as pl

from bess_pipeline.analytics.ageing_clocks import Clock, clock_of, run_through
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
    added_by = stress.select(STRESS).sort(*BATTERY_DAY).partition_by(BATTERY, as_dict=True)
    known = health.select(HEALTH).drop_nulls(["soh_percent", "soh_upper_percent"]).sort(*BATTERY_DAY)
    for key, days in known.partition_by(BATTERY, as_dict=True, maintain_order=True).items():
        chemistry, end_percent = plates[key]
        clock, own = clock_of(chemistry), added_by[key]
        first: date = own["date"][0]
        at = (days["date"] - first).dt.total_days().to_numpy().astype(np.int64)
        seen = (own["date"] - first).dt.total_days().to_numpy().astype(np.int64)
        added = np.full(((end - first).days + 1, 2), np.nan)
        added[seen] = own.select("calendar", "cycle").to_numpy()
        empty = np.isnan(added[:, 0])
        so_far = np.cumsum(np.nan_to_num(added[:, 0])) / np.cumsum(~empty)
        added[empty, 0], added[empty, 1] = so_far[empty], 0.0
        half = (days["soh_upper_percent"] - days["soh_percent"]).to_numpy() / 100
        yield Life(
            key=(str(key[0]), str(key[1])),
            first=first,
            end=end_percent / 100,
            clock=clock,
            at=at,
            level=days["soh_percent"].to_numpy() / 100,
            sigma=np.sqrt(np.maximum((half / NORMAL_90) ** 2 - GAIN**2, OWN_SIGMA**2)),
            calendar=run_through(added[:, 0], clock.calendar_power, BEFORE_DATA),
            cycle=run_through(added[:, 1], clock.cycle_power, BEFORE_DATA),
            added=added,
        )
