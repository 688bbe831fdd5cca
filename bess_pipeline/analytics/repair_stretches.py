"""From likelier readings, row by row, to stretches of time in which a battery's rows are read otherwise.

Each kind is followed by a record that says all that rows so far have left open, so that
it can be kept and taken up again. What a row is waits for hindsight, but never beyond
the week after its own: what cannot be told by then stays as it came.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit

from bess_pipeline.analytics.likelihood import States
from bess_pipeline.arrays import Bools, Floats, Ints

#: One record, whose fields only compiled code knows by name.
Record = Any

#: What is done to a row. Undecided rows are suspected as long as no more is known.
NOTHING, CONVERTED, EXCLUDED, SUSPECTED, UNDECIDED = range(5)

#: The stretch at hand: rows so far, what is done, start of the first and of the last row [µs], week and number of the
#: last, and how many they are.
STRETCH = [(name, "f8") for name in ("rows", "action", "start", "end", "week", "number", "count")]

#: Fractions: whether the rows since the last that was converted are of the same stretch.
CHARGE = np.dtype([*STRETCH, ("within", "f8")])


@njit(cache=True)
def noted(found: Floats, n: int, action: float, start: float, end: float, count: float) -> int:
    """Note a stretch, as `of_charge` says; how many there are then."""
    found[n, 0], found[n, 1], found[n, 2], found[n, 3] = action, start, end, count
    return n + 1


@njit(cache=True)
def closed(m: Record, found: Floats, n: int) -> int:
    """Note the stretch at hand, if there is one."""
    if m.action != NOTHING:
        n = noted(found, n, m.action, m.start, m.end, m.count)
        m.action = NOTHING
    return n


@njit(cache=True)
def added(m: Record, found: Floats, n: int, action: int, number: float, start: float, week: float, joins: int) -> int:
    """Add a row to the stretch at hand, or begin another, as always after more than a week of silence.

    Rows since the last one are part of it where the row ``joins`` them.
    """
    goes_on = m.action == action and (joins == 1 or number == m.number + 1) and week <= m.week + 1
    if not goes_on:
        n = closed(m, found, n)
        m.action, m.start, m.count, m.number = action, start, 0.0, number - 1
    m.count += number - m.number
    m.end, m.week, m.number = start, week, number
    return n


class ChargeRows(NamedTuple):
    """Rows of a fleet whose charge is reported in percent or as a fraction.

    Attributes:
        start: Start of each row [µs].
        week: Week of each row.
        states: 1 where a fraction is likelier.
        known: Rows with a reported charge.
    """

    start: Ints
    week: Ints
    states: States
    known: Bools


@njit(cache=True)
def of_charge(m: Record, found: Floats, n: int, first: int, last: int, rows: ChargeRows) -> int:
    """Follow rows of a battery whose charge is reported in percent or as a fraction.

    Args:
        m: What earlier rows left open, `CHARGE`; brought up to date.
        found: Filled with stretches: what is done, starts of the first and the last row [µs], number of rows.
        n: How many there are already.
        first: First row.
        last: Row after the last.
        rows: The rows.

    Returns:
        How many stretches there are then.
    """
    start, week, states, known = rows
    for i in range(first, last):
        m.rows += 1
        if states[i] == 0:
            m.within = 0.0
        elif known[i]:
            n = added(m, found, n, CONVERTED, m.rows, start[i], week[i], int(m.within))
            m.within = 1.0
    return n


@njit(cache=True)
def end_of_charge(m: Record, found: Floats, n: int) -> int:
    """Note what is open after the last row."""
    return closed(m, found, n)
