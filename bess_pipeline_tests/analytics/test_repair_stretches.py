"""Stretches that are followed row by row, against the same rules applied to whole histories in plain Python."""

from itertools import groupby, pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bess_pipeline.analytics import repair_heat, repair_signs, repair_stretches
from bess_pipeline.analytics.likelihood import WEEK_US
from bess_pipeline.analytics.repair_heat import HeatRows, end_of_heat, of_heat
from bess_pipeline.analytics.repair_signs import SignRows, end_of_sign, of_sign
from bess_pipeline.analytics.repair_stretches import (
    CONVERTED,
    EXCLUDED,
    NOTHING,
    SUSPECTED,
    UNDECIDED,
    ChargeRows,
    end_of_charge,
    of_charge,
)

often = settings(max_examples=40, deadline=None)
seeds = st.integers(0, 2**32)
FIVE_MINUTES = 300_000_000


def followed(kind, follow, end, rows, cuts=()):
    """What is found of rows that are followed in parts, what is left open being kept between them."""
    left, found, n = np.zeros(1, kind), np.empty((len(rows.start) + 8, 4)), 0
    for first, last in pairwise([0, *cuts, len(rows.start)]):
        left = np.array(left.view(np.float64).tolist()).view(kind)
        n = follow(left[0], found, n, first, last, rows)
    n = end(left[0], found, n)
    found[:n, 0][found[:n, 0] == UNDECIDED] = SUSPECTED
    return sorted(tuple(int(number) for number in row) for row in found[:n].tolist())


def of_rows(actions, rows, stretch=None):
    """Neighbours of the same action as stretches: what is done, start of the first and of the last row, rows.

    Rows between two of the same ``stretch`` are part of it; after more than a week of silence another begins.
    """
    found = []
    for i, action in enumerate(actions):
        if action == NOTHING:
            continue
        same = found and found[-1][0] == action and rows.week[i] <= rows.week[found[-1][2]] + 1
        near = found and (found[-1][2] == i - 1 or (stretch is not None and stretch[found[-1][2]] == stretch[i]))
        if same and near:
            found[-1] = (action, found[-1][1], i)
        else:
            found.append((action, i, i))
    return [(action, int(rows.start[a]), int(rows.start[z]), z - a + 1) for action, a, z in found]


def spans(values):
    """First and last position of each run of equal values."""
    at = 0
    for _, own in groupby(values):
        count = len(list(own))
        yield at, at + count - 1
        at += count


def signs_in_hindsight(rows):
    """What is done to each row, by the words of `of_sign`."""
    count = len(rows.start)
    actions, judged_later = [NOTHING] * count, set()
    works = [not rest for rest in rows.resting]
    for a, z in spans(rows.states.tolist()):
        first = next((i for i in range(a, z + 1) if rows.told[i]), None)
        if rows.states[a] == 0 or first is None:
            continue
        if a == 0:
            ends_soon = z + 1 < count and rows.week[z + 1] <= rows.week[first] + 1
            action = CONVERTED if ends_soon else SUSPECTED
            judged_later.add(first)
        else:
            right = sum(works[i] for i in range(first) if rows.states[i] == 0)
            wrong = sum(works[i] for i in range(first) if actions[i] == SUSPECTED)
            action = SUSPECTED if wrong > right else CONVERTED
        actions[first : z + 1] = [action] * (z + 1 - first)
    beside = set()
    for i in range(1, count):
        near = rows.week[i] <= rows.week[i - 1] + 1 and i not in judged_later
        if near and (actions[i] == CONVERTED) != (actions[i - 1] == CONVERTED):
            beside |= {i - 1, i}
    return [EXCLUDED if i in beside and works[i] else action for i, action in enumerate(actions)]


def calm(rows, a, b):
    """Whether all known probes go on from one row to another."""
    most = 3 + min(0.5 * (rows.start[b] - rows.start[a]) / 3.6e9, 10)
    read = [(rows.probes[i] - 32) / 1.8 if rows.states[i] else rows.probes[i] for i in (a, b)]
    return not (np.abs(read[1] - read[0]) > most).any()


def heat_in_hindsight(rows):  # noqa: C901 - the rules read best in one piece
    """What is found of temperatures, by the words of `of_heat`."""
    known = np.flatnonzero(rows.known).tolist()
    stretches = list(spans(rows.states[known].tolist()))
    week = [int(rows.week[i]) for i in known]

    def turn(number):
        """How one stretch goes over into the next: at once, but for the last row, but for the first, or not at all."""
        (a, z), (b, y) = stretches[number : number + 2]
        if calm(rows, known[z], known[b]):
            return "at once", b
        if z > a and calm(rows, known[z - 1], known[b]):
            return "but for the last", b
        if y > b and week[b + 1] <= week[b] + 1 and calm(rows, known[z], known[b + 1]):
            return "but for the first", b + 1
        return None, None

    actions, alone, stretch_of = [NOTHING] * len(rows.start), [], [-1] * len(rows.start)
    for number, (a, z) in enumerate(stretches):
        if rows.states[known[a]] == 0:
            continue
        begins, _ = turn(number - 1) if number else ("at once", None)
        ends, told_at = turn(number) if number + 1 < len(stretches) else (None, None)
        within, horizon = list(range(a, z + 1)), week[a] + 1
        edge = None
        if begins == "but for the first":
            edge, within = a, within[1:]
        elif begins == "but for the last":
            edge = a - 1
        told = np.cumsum([rows.told[known[i]] for i in within])
        lasting = [
            i for n, (i, so_far) in enumerate(zip(within, told, strict=True), 1)
            if begins and ((n >= 288 and so_far > n / 2) or (n >= 2016 and number > 0))
        ]  # fmt: skip
        proofs = [week[i] for i in lasting[:1]] + ([week[told_at]] if begins and ends else [])
        soon = min(proofs, default=horizon + 1) <= horizon
        for i in within:
            late = lasting and i >= lasting[0]
            actions[known[i]] = CONVERTED if soon or late else SUSPECTED
            stretch_of[known[i]] = number
        if soon and edge is not None and min(proofs) <= week[edge] + 1:
            alone.append((EXCLUDED, int(rows.start[known[edge]]), int(rows.start[known[edge]]), 1))
        if actions[known[z]] == CONVERTED and ends == "but for the last" and week[z + 1] <= week[z] + 1:
            actions[known[z]] = EXCLUDED
        if actions[known[z]] == CONVERTED and ends == "but for the first":
            actions[known[z + 1]] = EXCLUDED
    return sorted(alone + of_rows(actions, rows, stretch_of))


def times(random, states, per_week):
    """Starts and weeks of rows, so many a week, with silences of days and weeks, most of them where a state changes."""
    count = len(states)
    start = np.arange(count) * (WEEK_US // per_week) + random.integers(0, WEEK_US)
    at = np.append(np.flatnonzero(np.diff(states)) + random.integers(0, 3), random.integers(0, count))
    for silence in random.choice(at, random.integers(0, 5)):
        start[silence:] += int(random.uniform(0, 3) * WEEK_US)
    start -= start % FIVE_MINUTES
    return start, start // WEEK_US


def turns(random, count, lengths):
    """States that change after some of these lengths."""
    states = np.zeros(0, np.int8)
    state = random.integers(0, 2)
    while len(states) < count:
        states = np.append(states, np.full(random.choice(lengths), state, np.int8))
        state = 1 - state
    return states[:count]


def cuts_of(random, count):
    return sorted(random.integers(0, count + 1, 3).tolist())


@often
@given(seeds)
def test_signs_followed_row_by_row_are_those_of_the_whole_history(seed):
    random = np.random.default_rng(seed)
    for count in random.integers(1, 80, 8).tolist():
        states = turns(random, count, [1, 2, 5, 40])
        start, week = times(random, states, random.choice([5, 20, 2016]))
        told, resting = (random.random(count) < random.choice([0.1, 0.9]) for _ in range(2))
        rows = SignRows(start, week, states, told, resting)
        found = followed(repair_signs.SIGN, of_sign, end_of_sign, rows, cuts_of(random, count))
        assert found == sorted(of_rows(signs_in_hindsight(rows), rows))


def temperatures(random, count, lengths, per_week):
    """Rows around 25 °C in either unit, some in between, some of which a probe leaps, some unknown."""
    states = turns(random, count, lengths)
    start, week = times(random, states, per_week)
    probes = 25 + np.cumsum(random.normal(0, random.choice([0.01, 0.5]), count))[:, None] + np.array([0.0, -1.0, 1.0])
    changes = np.flatnonzero(np.diff(states))
    changes += random.integers(0, 2, len(changes))
    mixed = changes[random.random(len(changes)) < 0.6]
    probes = np.where((states == 1)[:, None], 1.8 * probes + 32, probes)
    probes[mixed] += random.choice([-15.0, 6.0, 20.0], (len(mixed), 1))
    leaps = np.flatnonzero(random.random(count) < 0.01)
    probes[leaps, random.integers(0, 3, len(leaps))] += 40
    probes[random.random((count, 3)) < random.choice([0.0, 0.1])] = np.nan
    known = ~np.isnan(probes[:, 0]) & (random.random(count) < random.choice([0.5, 1.0, 1.0]))
    return HeatRows(start, week, states, known, probes, random.random(count) < random.choice([0.3, 0.5, 0.7]))


@often
@given(seeds)
def test_temperatures_followed_row_by_row_are_those_of_the_whole_history(seed):
    random = np.random.default_rng(seed)
    histories = [temperatures(random, count, [1, 2, 3, 9], 12) for count in random.integers(1, 60, 8).tolist()]
    per_week = random.choice([100, 280, 1000, 2016])
    histories.append(temperatures(random, random.integers(1, 4500), [1, 2, 30, 290, 320, 2200], per_week))
    for rows in histories:
        found = followed(repair_heat.HEAT, of_heat, end_of_heat, rows, cuts_of(random, len(rows.start)))
        assert found == heat_in_hindsight(rows)


@often
@given(seeds)
def test_fractions_followed_row_by_row_are_those_of_the_whole_history(seed):
    random = np.random.default_rng(seed)
    for count in random.integers(1, 80, 8).tolist():
        states = turns(random, count, [1, 2, 5, 40])
        start, week = times(random, states, random.choice([5, 20, 2016]))
        rows = ChargeRows(start, week, states, random.random(count) < random.choice([0.3, 1.0]))
        actions = [CONVERTED if state and known else NOTHING for state, known in zip(states, rows.known, strict=True)]
        stretch = np.cumsum(np.diff(states, prepend=0) != 0).tolist()
        found = followed(repair_stretches.CHARGE, of_charge, end_of_charge, rows, cuts_of(random, count))
        assert found == sorted(of_rows(actions, rows, stretch))


@pytest.mark.parametrize(
    ("days_right", "days_wrong", "days_after", "expected"),
    [
        pytest.param(0, 5, 30, {CONVERTED}, id="wrong for the first days, then right: a fault"),
        pytest.param(0, 60, 0, {SUSPECTED}, id="wrong from the first to the last: the fleet file lies"),
        pytest.param(0, 40, 30, {SUSPECTED}, id="wrong for weeks, then right: the file lied, the wires were changed"),
        pytest.param(10, 5, 30, {CONVERTED}, id="right, then wrong for days"),
        pytest.param(20, 100, 0, {CONVERTED}, id="right for weeks, then wrong for much longer: reversed since"),
        pytest.param(3, 0, 100, set(), id="never wrong"),
    ],
)
def test_a_file_that_lies_is_told_from_a_reversal(days_right, days_wrong, days_after, expected):
    """By hand: an hour of each is a row, the battery always works, and each row tells of its sign."""
    states = np.repeat([0, 1, 0], [24 * days_right, 24 * days_wrong, 24 * days_after]).astype(np.int8)
    start = 20_000 * 86_400_000_000 + np.arange(len(states)) * 3_600_000_000
    rows = SignRows(start, start // WEEK_US, states, states == 1, np.zeros(len(states), bool))
    found = followed(repair_signs.SIGN, of_sign, end_of_sign, rows)
    assert {action for action, *_ in found} - {EXCLUDED} == expected
    beside = 2 * (CONVERTED in expected) * ((days_right > 0) + (days_after > 0))
    inside = sum(count for action, *_, count in found if action in expected)
    assert sum(count for action, *_, count in found if action == EXCLUDED) == beside
    assert inside == 24 * days_wrong - beside // 2


def test_a_lie_is_not_taken_for_a_fault_when_it_pauses():
    """By hand: 5 weeks wrong, 3 days right, wrong again: more was suspected than was right."""
    states = np.repeat([1, 0, 1], [24 * 35, 24 * 3, 24 * 10]).astype(np.int8)
    start = np.arange(len(states)) * 3_600_000_000
    rows = SignRows(start, start // WEEK_US, states, states == 1, np.zeros(len(states), bool))
    assert [(action, count) for action, *_, count in followed(repair_signs.SIGN, of_sign, end_of_sign, rows)] == [
        (SUSPECTED, 24 * 35),
        (SUSPECTED, 24 * 10),
    ]
