"""The cheapest of two readings, against every sequence of readings there is."""

import math
from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bess_pipeline.analytics.likelihood import Price, likelier_opposite, likelier_reading

quick = settings(max_examples=60, deadline=None)
NAN = math.nan


def paid(states, plain, other, change, slack, extra, price):
    """What a sequence of readings costs, by the words of `likelier_reading`.

    Rows without a value only pass on the change; the first value is expected in the plain unit.
    """
    known = [i for i in range(len(plain)) if not math.isnan(plain[i])]
    total = price.switch * states[known[0]] if known else 0.0
    for before, here in pairwise([None, *known]):
        value = (plain[here], other[here])[states[here]]
        total += extra[here][states[here]]
        if states[here] and math.isnan(other[here]):
            return math.inf
        if before is None:
            continue
        total += price.switch * (states[here] != states[before])
        moved = sum(change[before + 1 : here + 1])
        step = abs(value - (plain[before], other[before])[states[before]] - moved)
        step *= price.scale if states[here] and states[before] else 1.0
        total += price.clip if math.isnan(step) else min(max(step - slack[here], 0.0), price.clip)
    return total


def cheapest(*rows):
    """The least that any sequence costs."""
    return min(paid(states, *rows) for states in product((0, 1), repeat=len(rows[0])))


steps = st.sampled_from([0.0, 0.0, 0.1, 0.7, -0.4])


@quick
@given(st.lists(st.tuples(st.sampled_from([NAN, 0.2, 0.9, 20.0, 88.0, 90.0]), steps, st.sampled_from([0.1, 2.0]),
                          st.sampled_from([0.0, 1.0, 3.0])), min_size=1, max_size=8),
       st.sampled_from([Price(10.0, 8.0), Price(12.0, 6.0, 1.8), Price(3.0, 1.0)]))  # fmt: skip
def test_no_other_sequence_of_readings_is_cheaper(rows, price):
    plain, change, slack, odd = (np.array(column) for column in zip(*rows, strict=True))
    other = np.where(plain <= 1.05, 100 * plain, (plain - 32) / 1.8 if price.scale > 1 else NAN)
    extra = np.stack([odd, np.full(len(plain), 1e-6)], axis=1)
    found = likelier_reading(np.zeros(len(plain), np.int64), plain, other, change=change, slack=slack, extra=extra,
                             price=price)  # fmt: skip
    told = (plain, other, change, slack, extra, price)
    assert paid(found.astype(int), *told) == pytest.approx(cheapest(*told), abs=1e-9)


@quick
@given(
    st.lists(st.sampled_from([-6.0, -1.0, -0.2, 0.0, 0.3, 2.0, 6.0]), min_size=1, max_size=10),
    st.sampled_from([1.0, 5.0]),
)
def test_no_other_sequence_of_signs_is_likelier(evidence, switch):
    def likelihood(states):
        told = sum(-value if state else value for value, state in zip(evidence, states, strict=True))
        return told / 2 - switch * sum(a != b for a, b in pairwise(states))

    found = likelier_opposite(np.zeros(len(evidence), np.int64), np.array(evidence), switch=switch)
    assert likelihood(found.tolist()) == pytest.approx(max(map(likelihood, product((0, 1), repeat=len(evidence)))))


@quick
@given(st.lists(st.lists(st.sampled_from([0.2, 0.9, 1.0, 20.0, 88.0]), min_size=1, max_size=6), min_size=1, max_size=4))
def test_series_do_not_know_each_other(parts):
    def read(values, series):
        plain = np.array(values)
        zeros = np.zeros(len(plain))
        return likelier_reading(
            np.array(series), plain, np.where(plain <= 1.05, 100 * plain, NAN), change=zeros, slack=zeros + 1.0,
            extra=np.zeros((len(plain), 2)), price=Price(10.0, 8.0),
        ).tolist()  # fmt: skip

    joined = [value for part in parts for value in part]
    numbers = [number for number, part in enumerate(parts) for _ in part]
    assert read(joined, numbers) == [state for part in parts for state in read(part, [0] * len(part))]


def test_a_leap_there_and_back_is_read_in_the_other_unit():
    """By hand: two leaps of 52 K clipped at 12 cost 24, two changes of unit 12."""
    plain = np.array([20.0, 20.0, 68.0, 68.0, 20.0])
    found = likelier_reading(
        np.zeros(5, np.int64), plain, (plain - 32) / 1.8, change=np.zeros(5), slack=np.ones(5), extra=np.zeros((5, 2)),
        price=Price(12.0, 6.0, 1.8),
    )  # fmt: skip
    assert found.tolist() == [False, False, True, True, False]


def test_nothing_is_read_of_nothing():
    none, pairs = np.zeros(0), np.zeros((0, 2))
    assert not len(
        likelier_reading(np.zeros(0, np.int64), none, none, change=none, slack=none, extra=pairs, price=Price(1, 1))
    )
    assert not len(likelier_opposite(np.zeros(0, np.int64), none, switch=1.0))
