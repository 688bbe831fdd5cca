"""Stretches in which a battery's current has the wrong sign."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from bess_pipeline.analytics.likelihood import States
from bess_pipeline.analytics.repair_stretches import (
    CONVERTED,
    EXCLUDED,
    NOTHING,
    STRETCH,
    SUSPECTED,
    UNDECIDED,
    Record,
    added,
    closed,
)
from bess_pipeline.arrays import Bools, Floats, Ints

#: Signs: the last row's state, what is done in this stretch of it, whether it began with the first row of all, week of
#: the first row that told of it; rows at work so far with the sign as it should be, suspected, and undecided; then the
#: last row, which waits for the next.
SIGN = np.dtype(
    [
        *STRETCH,
        *((name, "f8") for name in ("state", "verdict", "first", "told_week", "right", "suspected", "undecided")),
        *((name, "f8") for name in ("last_start", "last_week", "last_resting", "last_action", "last_beside")),
    ]
)


@njit(cache=True)
def _sign_settled(m: Record, found: Floats, n: int, changes: int) -> int:
    """Add the row that waited for the next; it is left out where the sign changes before or after it."""
    action = m.last_action
    if (changes == 1 or m.last_beside == 1) and m.last_resting == 0:
        action = EXCLUDED
    if action != NOTHING:
        n = added(m, found, n, action, m.rows, m.last_start, m.last_week, 0)
    m.last_action = m.last_beside = 0.0
    return n


@njit(cache=True)
def _sign_judged(m: Record, verdict: int) -> None:
    """Decide what is done in a stretch that was undecided."""
    m.verdict = verdict
    if m.action == UNDECIDED:
        m.action = verdict
    if m.last_action == UNDECIDED:
        m.last_action = verdict
    if verdict == SUSPECTED:
        m.suspected += m.undecided
    m.undecided = 0.0


class SignRows(NamedTuple):
    """Rows of a fleet whose current is of either sign.

    Attributes:
        start: Start of each row [µs].
        week: Week of each row.
        states: 1 where the opposite sign is likelier.
        told: Rows that tell of it.
        resting: Rows in which hardly any current flows.
    """

    start: Ints
    week: Ints
    states: States
    told: Bools
    resting: Bools


@njit(cache=True)
def of_sign(m: Record, found: Floats, n: int, first: int, last: int, rows: SignRows) -> int:
    """Follow rows of a battery whose current is of either sign; arguments as of `of_charge`.

    A stretch is of the wrong sign from the first row that tells of it. Where none was
    right before, it is not known which is: what ends by the week after is repaired, else
    it is suspected that the fleet file lies, and so are later stretches as long as
    more work was suspected than was right. One interval on either side of a change is
    left out, unless the battery rests.
    """
    start, week, states, told, resting = rows
    for i in range(first, last):
        here, silent = float(week[i]), m.rows > 0 and week[i] > m.last_week + 1
        if silent:
            n = _sign_settled(m, found, n, 0)
        if m.verdict == UNDECIDED and here > m.told_week + 1:
            _sign_judged(m, SUSPECTED)
        if states[i] == 0:
            if m.verdict == UNDECIDED:
                _sign_judged(m, CONVERTED)
            m.verdict = NOTHING
        elif m.rows == 0 or m.state == 0:
            m.verdict, m.first = NOTHING, 1.0 if m.rows == 0 else 0.0
        m.state = states[i]
        if m.state == 1 and m.verdict == NOTHING and told[i]:
            m.told_week = here
            m.verdict = UNDECIDED if m.first == 1 else SUSPECTED if m.suspected > m.right else CONVERTED
        if not resting[i]:
            m.right += m.state == 0
            m.suspected += m.verdict == SUSPECTED
            m.undecided += m.verdict == UNDECIDED
        changes = not silent and m.rows > 0 and (m.verdict == CONVERTED) != (m.last_action == CONVERTED)
        n = _sign_settled(m, found, n, 1 if changes else 0)
        m.rows += 1
        m.last_start, m.last_week, m.last_resting = start[i], here, resting[i]
        m.last_action, m.last_beside = m.verdict, changes
    return n


@njit(cache=True)
def end_of_sign(m: Record, found: Floats, n: int) -> int:
    """Note what is open after the last row."""
    return closed(m, found, _sign_settled(m, found, n, 0))
