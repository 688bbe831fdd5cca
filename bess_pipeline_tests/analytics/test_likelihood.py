"""The cheapest of two readings, against every sequence of readings there is."""

import math
from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bess_pipeline.analytics.likelihood import (
    WEEK_US,
    Price,
    Values,
    first_reading,
    first_sign,
    likelier_opposite,
    likelier_reading,
    weeks,
)

quick = settings(max_examples=40, deadline=None)
NAN = math.nan


def paid(states, plain, other, change, slack, extra, price):
    """What a sequence of readings costs, by the words of `likelier_reading`.

    Rows without a value only pass on the change; the first value is expected in the plain unit.
    """
    known = [i for i in range(len(plain)) if not math.isnan(plain[i])]
    total = price.switch * states[known[0]] if known else 0.0
    for earlier, before, here in zip([None, None, *known], [None, *known], known, strict=False):
        units = (plain, other)
        total += extra[here][states[here]]
        if states[here] and math.isnan(other[here]):
            return math.inf
        if before is None:
            continue
        changes = states[here] != states[before]
        moved = sum(change[before + 1 : here + 1])
        scale = price.scale if states[here] and states[before] else 1.0

        def step(of, here=here, before=before, moved=moved, scale=scale):
            away = units[states[here]][here] - units[states[before]][of]  # noqa: B023 - of this round
            away = abs(abs(away) - abs(moved)) if price.either_sign else abs(away - moved)
            return price.clip if math.isnan(away) else min(max(scale * away - slack[here], 0.0), price.clip)

        passed = step(earlier) if price.passing and changes and earlier is not None else math.inf
        total += price.switch * changes + min(step(before), passed)
    return total


def told(states, evidence, switch):
    """What a sequence of signs has against it, as a logarithm of likelihood."""
    against = sum(value if state else -value for value, state in zip(evidence, states, strict=True))
    return against / 2 + switch * (states[0] + sum(a != b for a, b in pairwise(states)))


def is_cheapest(found, number, cost, *, ahead):
    """Whether the states of each week are those of a cheapest sequence through all rows up to it, or up to the next."""
    for week in dict.fromkeys(number):
        last = week + ahead if week + ahead in number else week
        count = sum(other <= last for other in number)
        costs = {path: cost(path, count) for path in product((0, 1), repeat=count)}
        own = [at for at in range(count) if number[at] == week]
        agree = [c for path, c in costs.items() if all(path[at] == found[at] for at in own)]
        if min(agree) != pytest.approx(min(costs.values()), abs=1e-9):
            return False
    return True


def of_one(number):
    """Weeks of one series, given the week of each row."""
    return weeks(np.zeros(len(number), np.int64), np.array(number, np.int64) * WEEK_US)


steps = st.sampled_from([0.0, 0.0, 0.1, 0.7, -0.4])
later = st.sampled_from([0, 0, 0, 1, 2])
prices = st.sampled_from([Price(10.0, 8.0, either_sign=True), Price(12.0, 6.0, 1.8, passing=True), Price(3.0, 1.0)])
readings = st.lists(
    st.tuples(st.sampled_from([NAN, 0.2, 0.9, 20.0, 44.0, 68.0, 90.0]), steps, st.sampled_from([0.1, 2.0]),
              st.sampled_from([0.0, 1.0, 3.0]), later), min_size=1, max_size=8)  # fmt: skip


def series_of(rows, price):
    plain, change, slack, odd, later = (np.array(column) for column in zip(*rows, strict=True))
    if price.passing:
        change = 0 * change
    other = (plain - 32) / 1.8 if price.scale > 1 else np.where(plain <= 1.05, 100 * plain, NAN)
    extra = np.stack([odd, np.full(len(plain), 1e-6)], axis=1)
    return Values(plain, other, change, slack, extra), np.cumsum(later)


@quick
@given(readings, prices)
def test_no_other_sequence_of_readings_is_cheaper_in_the_hindsight_of_a_week(rows, price):
    values, number = series_of(rows, price)
    found = likelier_reading(of_one(number), values, price=price, carried=first_reading(1, price))

    def cost(path, count):
        return paid(path, *(column[:count] for column in values), price)

    assert is_cheapest(found.states, number.tolist(), cost, ahead=1)
    assert is_cheapest(found.at_once, number.tolist(), cost, ahead=0)


@quick
@given(
    st.lists(st.tuples(st.sampled_from([-6.0, -1.0, -0.2, 0.0, 0.3, 2.0, 6.0]), later), min_size=1, max_size=10),
    st.sampled_from([1.0, 5.0]),
)
def test_no_other_sequence_of_signs_is_likelier_in_the_hindsight_of_a_week(rows, switch):
    evidence, later = (np.array(column) for column in zip(*rows, strict=True))
    number = np.cumsum(later)
    found = likelier_opposite(of_one(number), evidence, switch=switch, carried=first_sign(1, switch))
    assert is_cheapest(found.states, number.tolist(), lambda path, count: told(path, evidence[:count], switch), ahead=1)


@quick
@given(readings, prices, st.integers(0, 8))
def test_a_series_taken_up_at_a_week_goes_on_as_if_it_had_not_been_cut(rows, price, at):
    values, number = series_of(rows, price)
    first = int(np.searchsorted(number, number[min(at, len(number) - 1)]))
    whole = likelier_reading(of_one(number), values, price=price, carried=first_reading(1, price))
    begun = likelier_reading(
        of_one(number[:first]), Values(*(column[:first] for column in values)), price=price,
        carried=first_reading(1, price),
    )  # fmt: skip
    carried = begun.carried[-1:] if first else first_reading(1, price)
    taken_up = likelier_reading(
        of_one(number[first:]), Values(*(column[first:] for column in values)), price=price, carried=carried
    )
    assert taken_up.states.tolist() == whole.states[first:].tolist()
    np.testing.assert_array_equal(*(path.carried[-1:].view(np.float64) for path in (taken_up, whole)))


@quick
@given(st.lists(st.lists(st.sampled_from([0.2, 0.9, 1.0, 20.0, 88.0]), min_size=1, max_size=6), min_size=1, max_size=4))
def test_series_do_not_know_each_other(parts):
    price = Price(10.0, 8.0)

    def read(values, series):
        plain = np.array(values)
        zeros = np.zeros(len(plain))
        told = Values(plain, np.where(plain <= 1.05, 100 * plain, NAN), zeros, zeros + 1.0, np.zeros((len(plain), 2)))
        cut = weeks(np.array(series), np.arange(len(plain)))
        return likelier_reading(cut, told, price=price, carried=first_reading(len(parts), price)).states.tolist()

    joined = [value for part in parts for value in part]
    numbers = [number for number, part in enumerate(parts) for _ in part]
    assert read(joined, numbers) == [state for part in parts for state in read(part, [0] * len(part))]


@pytest.mark.parametrize("between", [(), (44.0,)], ids=["within a row", "through a row that holds both"])
def test_a_leap_there_and_back_is_read_in_the_other_unit(between):
    """By hand: two leaps of 48 K clipped at 12 cost 24, two changes of unit 12; a row between costs its own leap."""
    plain = np.array([20.0, 20.0, *between, 68.0, 68.0, 20.0])
    zeros, price = np.zeros(len(plain)), Price(12.0, 6.0, 1.8, passing=True)
    values = Values(plain, (plain - 32) / 1.8, zeros, zeros + 1.0, np.zeros((len(plain), 2)))
    found = likelier_reading(of_one(zeros), values, price=price, carried=first_reading(1, price))
    assert found.states.tolist() == [0, 0, *(0 for _ in between), 1, 1, 0]


def test_nothing_is_read_of_nothing():
    none, pairs = np.zeros(0), np.zeros((0, 2))
    nothing = weeks(np.zeros(0, np.int64), np.zeros(0, np.int64))
    price = Price(1.0, 1.0)
    values = Values(none, none, none, none, pairs)
    assert not len(likelier_reading(nothing, values, price=price, carried=first_reading(1, price)).states)
    assert not len(likelier_opposite(nothing, none, switch=1.0, carried=first_sign(1, 1.0)).states)
