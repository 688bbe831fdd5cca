"""Money over years: present value, rate of return, payback, levelized cost, and new modules for a contracted energy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import ArrayLike

from bess_pipeline.arrays import Floats

#: Rates of return are looked for between these, a year [1].
_LOWEST_RATE, _HIGHEST_RATE = -0.999, 1e3
#: What is missing of a contracted energy by less than this is rounding [of it].
_ROUNDING = 1e-9


def net_present_value(rate: float, flows: ArrayLike) -> float:
    """The value today of a flow of money now and at the end of each year: Σ Fₙ·(1 + rate)⁻ⁿ.

    Args:
        rate: Discount rate a year [1].
        flows: Money that comes in, now and at the end of year 1, 2, …; what goes out is negative.

    Raises:
        ValueError: If the rate is not above −1.

    Examples:
        >>> round(net_present_value(0.1, [-100, 60, 60]), 6)
        4.132231
    """
    if not rate > -1:
        raise ValueError(f"a discount rate is above -1, got {rate}")
    money: Floats = np.asarray(flows, dtype=np.float64)
    return float(money @ (1 + rate) ** -np.arange(len(money), dtype=np.float64))


def internal_rate_of_return(flows: ArrayLike) -> float | None:
    """The discount rate at which a flow of money is worth nothing [1/a]; none where there is none, or not one alone.

    Flows that change their sign once, as an investment's do, have one. Those that change it more often may have
    several, none of which says what the money earns.

    Args:
        flows: As `net_present_value` takes them.

    Examples:
        >>> round(internal_rate_of_return([-100, 60, 60]), 9)
        0.130662386
        >>> internal_rate_of_return([-1, 3, -2.1]) is None
        True
    """
    from scipy.optimize import brentq  # takes a sixth of what the code location takes to load

    money: Floats = np.asarray(flows, dtype=np.float64)
    signs = np.sign(money[money != 0])
    if int((signs[1:] != signs[:-1]).sum()) != 1:
        return None
    # In the growth of a year instead of its rate: near a total loss the value of the flow has no bounds.
    scaled = money / np.abs(money).max()

    def value(growth: float) -> float:
        return float(np.polynomial.polynomial.polyval(1 / growth, scaled))

    low, high = 1 + _LOWEST_RATE, 1 + _HIGHEST_RATE
    if value(low) * value(high) > 0:
        return None
    return float(brentq(value, low, high, xtol=1e-14, rtol=8.9e-16, maxiter=500)) - 1


def payback_years(flows: ArrayLike) -> float | None:
    """When what came in has made up for what went out [a], within a year on a straight line; none if never.

    Args:
        flows: As `net_present_value` takes them, not discounted.

    Examples:
        >>> payback_years([-100, 80, 40])
        1.5

    """
    total: Floats = np.cumsum(np.asarray(flows, dtype=np.float64))
    short = np.flatnonzero(total < 0)
    if not len(short):
        return 0.0
    last = int(short[-1])
    if last == len(total) - 1:
        return None
    return float(last + total[last] / (total[last] - total[last + 1]))


def levelized_cost(rate: float, costs: ArrayLike, energy: ArrayLike) -> float | None:
    """What each unit of discharged energy costs over a life: Σ Cₙ·(1 + r)⁻ⁿ / Σ Eₙ·(1 + r)⁻ⁿ; none without energy.

    Args:
        rate: Discount rate a year [1].
        costs: Money that goes out, now and at the end of each year: investment, operation, charging, less what is
            left in the end.
        energy: Energy discharged, of the same years.

    Examples:
        >>> levelized_cost(0.0, [100, 10, 10], [0, 20, 20])
        3.0
    """
    given = net_present_value(rate, energy)
    return net_present_value(rate, costs) / given if given > 0 else None


def augmentation(
    contracted: float,
    floor: float,
    remaining: Sequence[float] | Floats,
    new_remaining: Sequence[float] | Floats,
    *,
    installed: float | None = None,
) -> pl.DataFrame:
    """When, and by how much, new modules have to be added to keep a contracted energy.

    At the end of each year whose energy is below the floor as much is added as brings it back to what is contracted.
    What is added is a cohort of its own that ages from its own beginning; what is there goes on ageing.

    Args:
        contracted: Energy that has to be there, in any unit.
        floor: Share of it that may not be fallen below [1].
        remaining: Share of today's energy that is left of what is installed at the end of year 0, 1, … [1].
        new_remaining: The same of new modules, by their age.
        installed: Energy that is installed today; what is contracted where it is not said.

    Returns:
        A row per year from 0: `year`, `energy_before`, `added`, `energy_after`, in the unit given.

    Raises:
        ValueError: If the floor is not a share, or new modules are not followed as long as the others.

    Examples:
        >>> years = np.arange(13)
        >>> plan = augmentation(100.0, 0.9, 0.97**years, 0.97**years)
        >>> plan.filter(pl.col("added") > 0).select("year", pl.col("added").round(2)).rows()
        [(4, 11.47), (8, 11.47), (12, 11.47)]
    """
    own: Floats = np.asarray(remaining, dtype=np.float64)
    new: Floats = np.asarray(new_remaining, dtype=np.float64)
    if not 0 < floor <= 1:
        raise ValueError(f"a floor is a share between 0 and 1, got {floor}")
    if len(new) < len(own):
        raise ValueError(f"new modules are followed for {len(new)} years, those that are there for {len(own)}")
    begun = contracted if installed is None else installed
    added = np.zeros(len(own))
    before = np.zeros(len(own))
    for year in range(len(own)):
        cohorts = added[:year] @ new[year:0:-1]
        before[year] = begun * own[year] + cohorts
        if before[year] < (floor - _ROUNDING) * contracted:
            added[year] = contracted - before[year]
    return pl.DataFrame(
        {"year": np.arange(len(own)), "energy_before": before, "added": added, "energy_after": before + added}
    )
