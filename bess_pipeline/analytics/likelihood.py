"""The likeliest of two readings of a series, where changing from one to the other has its price."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
States = npt.NDArray[np.int8]
Bools = npt.NDArray[np.bool_]


class Price(NamedTuple):
    """What a path through the readings of a series pays.

    Attributes:
        clip: Most that one step costs.
        switch: What a change of unit costs.
        scale: Size of the other unit in the plain one, by which steps within it are multiplied, so that a
            series that only fluctuates costs the same in both.
        either_sign: Whether a step may as well be opposite to the expected change.
    """

    clip: float
    switch: float
    scale: float = 1.0
    either_sign: bool = False


@njit(cache=True)
def _traced(first: int, last: int, cost: Floats, back: States, states: States) -> None:
    """Follow the cheaper path from the last row of a series back to its first."""
    state = 1 if cost[1] < cost[0] else 0
    for i in range(last, first - 1, -1):
        states[i] = state
        state = back[i, state]


@njit(cache=True)
def _readings(
    series: Ints, plain: Floats, other: Floats, change: Floats, slack: Floats, extra: Floats, price: Price
) -> States:
    clip, switch, scale, either_sign = price
    n = len(series)
    states = np.zeros(n, np.int8)
    back = np.zeros((n, 2), np.int8)
    cost = np.zeros(2)
    value = np.zeros(2)
    first = 0
    moved = 0.0
    begun = False
    for i in range(n):
        if i == 0 or series[i] != series[i - 1]:
            if i > 0:
                _traced(first, i - 1, cost, back, states)
            first, moved, begun = i, 0.0, False
            cost[0], cost[1] = 0.0, switch
        back[i, 0], back[i, 1] = 0, 1
        moved += change[i]
        if np.isnan(plain[i]):
            continue
        here = (plain[i], other[i])
        new0, new1 = cost[0], cost[1]
        if begun:
            steps = np.empty((2, 2))
            for before in range(2):
                for now in range(2):
                    step = here[now] - value[before]
                    step = abs(abs(step) - abs(moved)) if either_sign else abs(step - moved)
                    step = (scale * step if before == now == 1 else step) - slack[i]
                    paid = min(max(step, 0.0), clip) if not np.isnan(step) else clip
                    steps[before, now] = cost[before] + paid + (switch if before != now else 0.0)
            back[i, 0] = 1 if steps[1, 0] < steps[0, 0] else 0
            back[i, 1] = 0 if steps[0, 1] < steps[1, 1] else 1
            new0 = min(steps[0, 0], steps[1, 0])
            new1 = min(steps[0, 1], steps[1, 1])
        cost[0] = new0 + extra[i, 0]
        cost[1] = new1 + extra[i, 1] if not np.isnan(other[i]) else new1 + 1e9
        value[0], value[1] = here[0], here[1]
        moved, begun = 0.0, True
    if n:
        _traced(first, n - 1, cost, back, states)
    return states


def likelier_reading(
    series: Ints, plain: Floats, other: Floats, *, change: Floats, slack: Floats, extra: Floats, price: Price
) -> Bools:
    """Which rows read better in the other unit.

    Each row is read in one of two units. A path through the rows pays for every step
    by which a value departs from the one before plus its expected change, beyond a
    slack and up to a clip, and for every change of unit; the cheapest path is
    returned (A. J. Viterbi, 1967).

    Args:
        series: Number of the series of each row, ascending: shape (n,).
        plain: Values as they are; NaN where unknown: shape (n,).
        other: Values in the other unit; NaN where they cannot be in it: shape (n,).
        change: Expected change since the row before [unit of the values]: shape (n,).
        slack: Step that costs nothing [unit of the values]: shape (n,).
        extra: What a row costs in either unit beside its step: shape (n, 2).
        price: What the path pays.

    References:
        doi:10.1109/TIT.1967.1054010.
    """
    found: Bools = _readings(series, plain, other, change, slack, extra, price) == 1
    return found


@njit(cache=True)
def _signs(series: Ints, evidence: Floats, switch: float) -> States:
    n = len(series)
    states = np.zeros(n, np.int8)
    back = np.zeros((n, 2), np.int8)
    cost = np.zeros(2)
    first = 0
    for i in range(n):
        if i == 0 or series[i] != series[i - 1]:
            if i > 0:
                _traced(first, i - 1, cost, back, states)
            first = i
            cost[0], cost[1] = 0.0, 0.0
            back[i, 0], back[i, 1] = 0, 1
        else:
            back[i, 0] = 1 if cost[1] + switch < cost[0] else 0
            back[i, 1] = 0 if cost[0] + switch < cost[1] else 1
            cost[0], cost[1] = min(cost[0], cost[1] + switch), min(cost[1], cost[0] + switch)
        cost[0] -= evidence[i] / 2
        cost[1] += evidence[i] / 2
    if n:
        _traced(first, n - 1, cost, back, states)
    return states


def likelier_opposite(series: Ints, evidence: Floats, *, switch: float) -> Bools:
    """Which rows are likelier to have the opposite sign.

    Args:
        series: Number of the series of each row, ascending: shape (n,).
        evidence: Logarithm of the likelihood with the sign as it is over that with the opposite one: shape (n,).
        switch: What a change from one to the other costs, in the same logarithm.
    """
    found: Bools = _signs(series, evidence, switch) == 1
    return found
