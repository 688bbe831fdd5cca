"""Stretches in which a battery's temperatures are in degrees Fahrenheit, told from fires."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from bess_pipeline.analytics.likelihood import States
from bess_pipeline.analytics.repair_evidence import HEAT_SLACK_MOST, HEAT_SLACK_PER_HOUR
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
    noted,
)
from bess_pipeline.arrays import Bools, Floats, Ints
from bess_pipeline.units import US_PER_HOUR

#: A stretch of which no end is known yet is believed after so many rows [a day's] of which most tell of it,
_PROVEN_ROWS = 288
#: or after so many [a week's] however warm they are: no fire lasts for so long.
_LASTING_ROWS = 2016
#: Probes that move by more than this between neighbours do not go on as before [K].
_LEAP = 3.0

_ROW = [("number", "f8"), ("start", "f8"), ("week", "f8"), ("probes", "f8", (3,))]
#: Temperatures: whether any is known, the state of the last and whether the last but one has the same, both of them;
#: what is done in this stretch, whether it begins as a change of unit does, if that waits for the next row, whether
#: it began with the first row of all, its week, its rows and how many tell; a row beside it that holds both units; and
#: its last row, which waits for the next.
HEAT = np.dtype(
    [
        *STRETCH,
        *((name, "f8") for name in ("known", "state", "pair")),
        ("last", _ROW),
        ("before", _ROW),
        *((name, "f8") for name in ("verdict", "begun", "waits", "first", "since_week", "lasts", "told")),
        *((name, "f8") for name in ("both", "both_start", "both_week")),
        *((name, "f8") for name in ("held", "held_number", "held_start", "held_week")),
    ]
)


@njit(cache=True)
def _goes_on(row: Record, state: int, start: float, probes: Floats, now: int) -> bool:
    """Whether all probes go on from one row to another, each read as its state says."""
    hours = (start - row.start) / US_PER_HOUR
    most = _LEAP + min(HEAT_SLACK_PER_HOUR * hours, HEAT_SLACK_MOST)
    for k in range(3):
        before = (row.probes[k] - 32) / 1.8 if state == 1 else row.probes[k]
        after = (probes[k] - 32) / 1.8 if now == 1 else probes[k]
        if abs(after - before) > most:
            return False
    return True


@njit(cache=True)
def _heat_judged(m: Record, found: Floats, n: int, verdict: int) -> int:
    """Decide what is done in a stretch that was undecided."""
    m.verdict = verdict
    if m.action == UNDECIDED:
        m.action = verdict
    if m.held == UNDECIDED:
        m.held = verdict
    if m.both == 1 and verdict == CONVERTED:
        n = noted(found, n, EXCLUDED, m.both_start, m.both_start, 1.0)
    m.both = 0.0
    return n


@njit(cache=True)
def _heat_settled(m: Record, found: Floats, n: int) -> int:
    """Add the row that waited for the next."""
    if m.held != NOTHING:
        n = added(m, found, n, int(m.held), m.held_number, m.held_start, m.held_week, 1 if m.lasts > 1 else 0)
        m.held = NOTHING
    return n


@njit(cache=True)
def _heat_ended(m: Record, found: Floats, n: int, calm: int, mixed: int) -> int:
    """Judge a stretch by its end; its last row is left out if it holds both units."""
    if m.verdict == UNDECIDED:
        n = _heat_judged(m, found, n, CONVERTED if calm else SUSPECTED)
    if m.held == CONVERTED and mixed:
        m.held = EXCLUDED
    return _heat_settled(m, found, n)


@njit(cache=True)
def _heat_awaited(m: Record, found: Floats, n: int, calm: int) -> int:
    """The row after a change from which probes did not go on at once tells whether they do from there."""
    m.waits = 0.0
    if m.state == 1:
        if not calm:
            return _heat_judged(m, found, n, SUSPECTED)
        m.begun, m.both, m.both_start, m.both_week = 1.0, 1.0, m.last.start, m.last.week
        m.held, m.lasts, m.told = NOTHING, 0.0, 0.0
        return n
    n = _heat_ended(m, found, n, calm, 0)
    if calm and m.verdict == CONVERTED:
        n = added(m, found, n, EXCLUDED, m.last.number, m.last.start, m.last.week, 0)
    m.verdict = NOTHING
    return n


@njit(cache=True)
def _heat_changes(m: Record, found: Floats, n: int, start: float, week: float, probes: Floats, state: int) -> int:
    """Begin a stretch, or end one."""
    at_once = m.known == 0 or _goes_on(m.last, int(m.state), start, probes, state)
    passing = not at_once and m.pair == 1 and _goes_on(m.before, int(m.state), start, probes, state)
    m.waits = 0.0 if at_once or passing else 1.0
    if state == 1:
        m.verdict, m.first, m.since_week = UNDECIDED, 1.0 if m.known == 0 else 0.0, week
        m.begun, m.lasts, m.told = 1.0 - m.waits, 0.0, 0.0
        m.both, m.both_start, m.both_week = 1.0 if passing else 0.0, m.last.start, m.last.week
    elif m.known == 1 and m.waits == 0:
        n = _heat_ended(m, found, n, 1, 1 if passing else 0)
        m.verdict = NOTHING
    return n


@njit(cache=True)
def _heat_expired(m: Record, found: Floats, n: int, week: float) -> int:
    """What was waited for and did not come by the week after, or before a silence of more than a week."""
    if week > m.both_week + 1:
        m.both = 0.0
    if m.verdict == UNDECIDED and week > m.since_week + 1:
        n = _heat_judged(m, found, n, SUSPECTED)
    if m.known == 1 and week > m.last.week + 1:
        if m.waits == 1:
            n = _heat_awaited(m, found, n, 0)
        n = _heat_settled(m, found, n)
    return n


class HeatRows(NamedTuple):
    """Rows of a fleet whose temperatures are in either unit.

    Attributes:
        start: Start of each row [µs].
        week: Week of each row.
        states: 1 where Fahrenheit is likelier.
        known: Rows with a temperature.
        probes: Temperatures as they came: shape (rows, 3).
        told: Rows that are possible only in Fahrenheit.
    """

    start: Ints
    week: Ints
    states: States
    known: Bools
    probes: Floats
    told: Bools


@njit(cache=True)
def of_heat(m: Record, found: Floats, n: int, first: int, last: int, rows: HeatRows) -> int:
    """Follow rows of a battery whose temperatures are in either unit; arguments as of `of_charge`.

    A stretch is in Fahrenheit if it begins and ends as only a change of unit does, not a
    battery that burns: within an interval or two, all probes take part, and as Fahrenheit
    they go on as before. One that has no end yet must have lasted for a day of which
    most rows are told by what is possible, for a fire may be as warm as Fahrenheit would
    be, or for a week. An interval that holds both units is left out.
    """
    start, week, states, known, probes, told = rows
    for i in range(first, last):
        m.rows += 1
        if not known[i]:
            continue
        at, here, state = float(start[i]), float(week[i]), int(states[i])
        n = _heat_expired(m, found, n, here)
        if m.waits == 1:
            calm = state == m.state and _goes_on(m.before, 1 - state, at, probes[i], state)
            n = _heat_awaited(m, found, n, 1 if calm else 0)
        changes = m.known == 0 or state != m.state
        if changes:
            n = _heat_changes(m, found, n, at, here, probes[i], state)
        if state == 1:
            n = _heat_settled(m, found, n)
            m.lasts += 1
            m.told += told[i]
            lasting = m.lasts >= _PROVEN_ROWS and m.told > 0.5 * m.lasts
            if m.begun == 1 and (lasting or (m.lasts >= _LASTING_ROWS and m.first == 0)) and m.verdict != CONVERTED:
                n = _heat_judged(m, found, n, CONVERTED) if m.verdict == UNDECIDED else n
                m.verdict = CONVERTED
            m.held, m.held_number, m.held_start, m.held_week = m.verdict, m.rows, at, here
        m.pair = 0.0 if changes else 1.0
        m.known, m.state = 1.0, state
        m.before.number, m.before.start, m.before.week = m.last.number, m.last.start, m.last.week
        m.before.probes[:] = m.last.probes
        m.last.number, m.last.start, m.last.week = m.rows, at, here
        m.last.probes[:] = probes[i]
    return n


@njit(cache=True)
def end_of_heat(m: Record, found: Floats, n: int) -> int:
    """Note what is open after the last row."""
    if m.waits == 1 and m.state == 0:
        n = _heat_ended(m, found, n, 0, 0)
    return closed(m, found, _heat_settled(m, found, n))
