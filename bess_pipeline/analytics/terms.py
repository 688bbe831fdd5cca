"""What a warranty says, as it can be asked: a floor for the state of health, budgets, limits of use."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, timedelta

import numpy as np
import polars as pl

from bess_pipeline.arrays import Floats
from bess_pipeline.tables.lifecycle import OPERATING_TERMS


def anniversary(first: date, years: int) -> date:
    """The same day so many years later; of 29 February the 1 March.

    Examples:
        >>> str(anniversary(date(2024, 2, 29), 1)), str(anniversary(date(2024, 2, 29), 4))
        ('2025-03-01', '2028-02-29')
    """
    try:
        return first.replace(year=first.year + years)
    except ValueError:
        return date(first.year + years, 3, 1)


def age_years(first: date, day: date) -> float:
    """Anniversaries that have passed, and the part of the year since the last [a].

    Examples:
        >>> age_years(date(2023, 7, 1), date(2026, 7, 1)), age_years(date(2023, 1, 1), date(2022, 1, 1))
        (3.0, -1.0)
    """
    whole = day.year - first.year
    whole -= day < anniversary(first, whole)
    last, coming = anniversary(first, whole), anniversary(first, whole + 1)
    return whole + (day - last).days / (coming - last).days


@dataclass(frozen=True)
class Terms:
    """The warranty of a fleet's batteries.

    Attributes:
        starts_on: Its first day.
        years: How long it lasts [a].
        numbers: Term → number, in its unit; what was not agreed is missing.
        by_age: Guaranteed state of health: years and percent, shape (2, points); empty if not agreed.
        by_cycles: The same by equivalent full cycles.
        exclusions: Days that availability does not count: first and last of each stretch.
    """

    starts_on: date
    years: float
    numbers: dict[str, float] = field(default_factory=dict)
    by_age: Floats = field(default_factory=lambda: np.empty((2, 0)))
    by_cycles: Floats = field(default_factory=lambda: np.empty((2, 0)))
    exclusions: tuple[tuple[date, date], ...] = ()

    @property
    def ends_on(self) -> date:
        """The first day after it."""
        whole = int(self.years)
        last, coming = anniversary(self.starts_on, whole), anniversary(self.starts_on, whole + 1)
        return last + timedelta(days=round((self.years - whole) * (coming - last).days))

    @property
    def limits(self) -> dict[str, float]:
        """Limit of use → its value."""
        return {name: self.numbers[name] for name in OPERATING_TERMS if name in self.numbers}

    def guaranteed(self, age_years: Floats, cycles: Floats) -> Floats:
        """The state of health that is guaranteed [%].

        The lower of what is guaranteed at the age and after the cycles; between two points
        of a curve it is on the straight line between them. Where the warranty has not begun,
        has ended, or its cycles are used up, nothing is guaranteed: NaN.

        Args:
            age_years: Age since the warranty began [a].
            cycles: Equivalent full cycles, of the same shape.
        """
        floor = np.full(np.shape(age_years), np.inf)
        for (at, percent), where in ((self.by_age, age_years), (self.by_cycles, cycles)):
            if len(at):
                floor = np.fmin(floor, np.interp(where, at, percent))
        allowed = min(self.numbers.get("equivalent_full_cycles", np.inf), *self.by_cycles[0][-1:], np.inf)
        is_over = (age_years < 0) | (age_years > self.years) | (np.nan_to_num(cycles) > allowed)
        told: Floats = np.where(is_over | ~np.isfinite(floor), np.nan, floor)
        return told


def terms_of(assumptions: pl.DataFrame) -> Terms | None:
    """The warranty that assumptions describe; none where nothing was agreed.

    Args:
        assumptions: `Assumption` rows of one fleet.
    """
    begins = assumptions.filter(name="starts_on")["first_day"]
    if begins.is_empty():
        return None

    def curve(name: str) -> Floats:
        points = assumptions.filter(pl.col("name") == name).sort("position")
        found: Floats = points.select("curve_at", "value").to_numpy().T.reshape(2, -1)
        return found

    single = assumptions.filter(pl.col("curve_at").is_null() & pl.col("value").is_not_null())
    numbers: dict[str, float] = dict(single.select("name", "value").iter_rows())
    by_age = curve("soh_by_years")
    excluded = assumptions.filter(name="availability_exclusion").sort("position")
    return Terms(
        starts_on=begins[0],
        years=numbers.get("years", float(by_age[0, -1]) if by_age.size else 0.0),
        numbers=numbers,
        by_age=by_age,
        by_cycles=curve("soh_by_equivalent_full_cycles"),
        exclusions=tuple(excluded.select("first_day", "last_day").iter_rows()),
    )
