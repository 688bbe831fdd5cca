"""The likeliest of two readings of a series, where changing from one to the other has its price.

Rows are read week by week (seven days counted from 1970-01-01), with the rows of the
next week in hindsight and no later ones: what is read of a week stays as it is once the
week after the next has begun. What is carried on from one week into the next is all
that must be known to take a series up again there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from bess_pipeline.arrays import Floats, Ints
from bess_pipeline.units import US_PER_DAY

States = npt.NDArray[np.int8]
Records = npt.NDArray[np.void]

#: Days of a week, and its length [µs].
WEEK_DAYS = 7
WEEK_US = WEEK_DAYS * US_PER_DAY

#: What is carried on of a path through readings: what the other reading costs more so far, the last known value in
#: either, the one before, the change expected since, and how many values there were, up to two.
READING = np.dtype([("dearer", "f8"), ("value", "f8", (2,)), ("before", "f8", (2,)), ("moved", "f8"), ("known", "f8")])
#: What is carried on of a path through signs.
SIGN = np.dtype([("dearer", "f8")])


class Price(NamedTuple):
    """What a path through the readings of a series pays.

    Attributes:
        clip: Most that one step costs.
        switch: What a change of unit costs, and beginning in the other one.
        scale: Size of the other unit in the plain one, by which steps within it are multiplied, so that a
            series that only fluctuates costs the same in both.
        either_sign: Whether a step may as well be opposite to the expected change.
        passing: Whether a change of unit may pass over the value before it, which may hold both.
    """

    clip: float
    switch: float
    scale: float = 1.0
    either_sign: bool = False
    passing: bool = False


class Values(NamedTuple):
    """A series in either of two units, row by row.

    Attributes:
        plain: Values as they are; NaN where unknown: shape (n,).
        other: Values in the other unit; NaN where they cannot be in it: shape (n,).
        change: Expected change since the row before [unit of the values]: shape (n,).
        slack: Step that costs nothing [unit of the values]: shape (n,).
        extra: What a row costs in either unit beside its step: shape (n, 2).
    """

    plain: Floats
    other: Floats
    change: Floats
    slack: Floats
    extra: Floats


class Weeks(NamedTuple):
    """Rows in order of series and time, cut where a series or a week begins.

    Attributes:
        offsets: Rows of week `w` are `offsets[w]` up to, not including, `offsets[w + 1]`.
        series: Number of the series of each week.
        number: Weeks since 1970-01-01; weeks without rows are left out.
    """

    offsets: Ints
    series: Ints
    number: Ints


def weeks(series: Ints, start_us: Ints) -> Weeks:
    """The weeks of rows that are sorted by series and time."""
    number = start_us // WEEK_US
    begins = np.flatnonzero((np.diff(series, prepend=-1) != 0) | (np.diff(number, prepend=-1) != 0))
    return Weeks(np.append(begins, len(series)).astype(np.int64), series[begins], number[begins])


@dataclass(frozen=True)
class Path:
    """The likelier reading of each row.

    Attributes:
        states: 1 where the other reading is likelier by the rows of its week, of the next, and of all before.
        at_once: The same by the rows of its week and of all before.
        entries: State of the row before each week, by the rows of that week and of all before.
        carried: What is carried on at the end of each week, records `READING` or `SIGN`.
        back: State of the row before, for either state of each row.
    """

    states: States
    at_once: States
    entries: States
    carried: Records
    back: States

    def ending_in(self, state: int, first: int, last: int) -> States:
        """The likeliest readings of rows of a week, were the last of them in a given state."""
        states = np.zeros(last, np.int8)
        _traced(self.back, first, last, state, states)
        return states


@njit(cache=True)
def _traced(back: States, first: int, last: int, state: int, states: States) -> int:
    """Follow a path from the last row of some back to the first; the state before it."""
    for i in range(last - 1, first - 1, -1):
        states[i] = state
        state = back[i, state]
    return state


@njit(cache=True)
def _in_hindsight(weeks: Weeks, dearer: Floats, back: States) -> tuple[States, States, States]:
    """States by the next week, at once, and before each week."""
    offsets, series, number = weeks
    count = len(series)
    at_once = np.zeros(offsets[count], np.int8)
    states = np.zeros(offsets[count], np.int8)
    entries = np.zeros(count, np.int8)
    for w in range(count):
        entries[w] = _traced(back, offsets[w], offsets[w + 1], 1 if dearer[w] < 0 else 0, at_once)
    for w in range(count):
        state = 1 if dearer[w] < 0 else 0
        if w + 1 < count and series[w + 1] == series[w] and number[w + 1] == number[w] + 1:
            state = entries[w + 1]
        _traced(back, offsets[w], offsets[w + 1], state, states)
    return states, at_once, entries


@njit(cache=True)
def _paid(step: float, moved: float, slack: float, scale: float, price: Price) -> float:
    """What a step costs that is expected to be as large as what was moved."""
    if np.isnan(step):
        return price.clip
    away = abs(abs(step) - abs(moved)) if price.either_sign else abs(step - moved)
    return float(min(max(scale * away - slack, 0.0), price.clip))


@njit(cache=True)
def _readings(weeks: Weeks, values: Values, price: Price, carried: Records, ends: Records) -> States:
    offsets, series, _ = weeks
    plain, other, change, slack, extra = values
    switch = price.switch
    back = np.zeros((len(plain), 2), np.int8)
    back[:, 1] = 1
    for w in range(len(series)):
        m = carried[series[w]]
        plainly, otherly = 0.0, m.dearer
        value0, value1, before0, before1 = m.value[0], m.value[1], m.before[0], m.before[1]
        moved, known = m.moved, m.known
        for i in range(offsets[w], offsets[w + 1]):
            moved += change[i]
            here0, here1, free = plain[i], other[i], slack[i]
            if np.isnan(here0):
                continue
            if known > 0:
                stay = plainly + _paid(here0 - value0, moved, free, 1.0, price)
                keep = otherly + _paid(here1 - value1, moved, free, price.scale, price)
                leave = _paid(here1 - value0, moved, free, 1.0, price)
                come = _paid(here0 - value1, moved, free, 1.0, price)
                if price.passing and known > 1:
                    leave = min(leave, _paid(here1 - before0, moved, free, 1.0, price))
                    come = min(come, _paid(here0 - before1, moved, free, 1.0, price))
                leave += plainly + switch
                come += otherly + switch
                back[i, 0] = 1 if come < stay else 0
                back[i, 1] = 0 if leave < keep else 1
                plainly, otherly = min(stay, come), min(keep, leave)
            plainly += extra[i, 0]
            otherly += extra[i, 1] if not np.isnan(here1) else 1e9
            before0, before1, value0, value1 = value0, value1, here0, here1
            moved, known = 0.0, min(known + 1.0, 2.0)
        m.dearer = otherly - plainly
        m.value[0], m.value[1], m.before[0], m.before[1] = value0, value1, before0, before1
        m.moved, m.known = moved, known
        ends[w] = m
    return back


def likelier_reading(weeks: Weeks, values: Values, *, price: Price, carried: Records) -> Path:
    """Which rows read better in the other unit.

    Each row is read in one of two units. A path through the rows pays for every step
    by which a value departs from the one before plus its expected change, beyond a
    slack and up to a clip, and for every change of unit; the cheapest path is
    taken (A. J. Viterbi, 1967), in each week that through all rows up to the end of the next.

    Args:
        weeks: The rows' series and weeks.
        values: Their values.
        price: What the path pays.
        carried: What is carried into the first row of each series, `READING`; see `first_reading`.

    References:
        doi:10.1109/TIT.1967.1054010.
    """
    ends = np.zeros(len(weeks.series), READING)
    back = _readings(weeks, values, price, carried.copy(), ends)
    return Path(*_in_hindsight(weeks, ends["dearer"], back), ends, back)


def first_reading(count: int, price: Price) -> Records:
    """What is carried into series of which nothing is known yet."""
    first = np.zeros(count, READING)
    first["dearer"] = price.switch
    return first


@njit(cache=True)
def _signs(weeks: Weeks, evidence: Floats, switch: float, carried: Records, ends: Records) -> States:
    offsets, series, _ = weeks
    back = np.zeros((len(evidence), 2), np.int8)
    for w in range(len(series)):
        m = carried[series[w]]
        dearer = m.dearer
        for i in range(offsets[w], offsets[w + 1]):
            back[i, 0] = 1 if dearer + switch < 0.0 else 0
            back[i, 1] = 0 if switch < dearer else 1
            dearer = min(max(dearer, -switch), switch) + evidence[i]
        m.dearer = dearer
        ends[w] = m
    return back


def likelier_opposite(weeks: Weeks, evidence: Floats, *, switch: float, carried: Records) -> Path:
    """Which rows are likelier to have the opposite sign, as `likelier_reading` reads them.

    Args:
        weeks: The rows' series and weeks.
        evidence: Logarithm of the likelihood with the sign as it is over that with the opposite one: shape (n,).
        switch: What a change from one to the other costs, and beginning with the opposite, in the same logarithm.
        carried: What is carried into the first row of each series, `SIGN`; see `first_sign`.
    """
    ends = np.zeros(len(weeks.series), SIGN)
    back = _signs(weeks, evidence, switch, carried.copy(), ends)
    return Path(*_in_hindsight(weeks, ends["dearer"], back), ends, back)


def first_sign(count: int, switch: float) -> Records:
    """What is carried into series of which nothing is known yet."""
    first = np.zeros(count, SIGN)
    first["dearer"] = switch
    return first
