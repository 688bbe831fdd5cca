"""Samples beside their neighbours, against plain Python that reads the definitions word by word."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bess_pipeline.analytics.neighbours import (
    LEAST_TRIALS,
    LOG_CHANCE,
    MOST_CHANCE,
    Run,
    departures,
    offsets,
    overtaken,
    repeats,
    straying,
    stuck,
)

quick = settings(max_examples=60, deadline=None)
NAN = math.nan


@st.composite
def samples(draw, *, most=40, values=(NAN, 0.0, 0.5, 1.0, 1.5, 7.0)):
    """Series number, time, value and reach of a few short series."""
    series, time, value = [], [], []
    count = draw(st.integers(1, 3))
    for number in range(count):
        at = 0
        for _ in range(draw(st.integers(1, most))):
            at += draw(st.sampled_from([1, 2, 3, 9]))
            series.append(number)
            time.append(at)
            value.append(draw(st.sampled_from(values)))
    reach = draw(st.lists(st.sampled_from([1, 2, 5]), min_size=count, max_size=count))
    return (np.array(series, np.int64), np.array(time, np.int64), np.array(value), np.array(reach, np.int64))


def both_sides(series, time, value, reach):
    """Of each sample with a known neighbour on either side and near enough: its place and that of its neighbours."""
    for here in range(len(time)):
        mine = [i for i in range(len(time)) if series[i] == series[here] and not math.isnan(value[i])]
        if here not in mine:
            continue
        before, after = [i for i in mine if i < here], [i for i in mine if i > here]
        if before and after:
            left, right = time[here] - time[before[-1]], time[after[0]] - time[here]
            if max(left, right) <= reach[series[here]]:
                yield before[-1], here, after[0]


@quick
@given(samples())
def test_an_offset_is_the_distance_from_the_line_between_the_neighbours(rows):
    series, time, value, reach = rows
    expected = np.full(len(time), NAN)
    for before, here, after in both_sides(*rows):
        line = np.interp(time[here], [time[before], time[after]], [value[before], value[after]])
        expected[here] = value[here] - line
    np.testing.assert_allclose(offsets(series, time, value, reach), expected, atol=1e-12)


@quick
@given(samples())
def test_a_departure_leaves_both_neighbours_to_one_side_and_they_are_close(rows):
    series, time, value, reach = rows
    expected = np.zeros(len(time))
    for before, here, after in both_sides(*rows):
        away = [value[here] - value[before], value[here] - value[after]]
        nearest = min(away, key=abs)
        same_side = min(away) > 0 or max(away) < 0
        if same_side and abs(value[after] - value[before]) <= abs(nearest) / 2:
            expected[here] = nearest
    np.testing.assert_allclose(departures(series, time, value, reach), expected)


def runs(series, time, value, reach):
    """Runs of equal values, as lists of places; what is unknown is a run of its own."""
    found = []
    for i in range(len(time)):
        goes_on = (
            found
            and series[found[-1][-1]] == series[i]
            and value[found[-1][-1]] == value[i]
            and time[i] - time[found[-1][-1]] <= reach[series[i]]
        )
        found[-1].append(i) if goes_on else found.append([i])
    return found


def long_enough(run, time, shortest, fewest):
    return time[run[-1]] - time[run[0]] >= shortest and len(run) >= fewest


RULES = {"shortest": st.sampled_from([0, 3, 6]), "fewest": st.integers(1, 4), "inner": st.integers(0, 2)}


@quick
@given(samples(values=(NAN, 1.0, 1.0, 2.0)), st.data(), *RULES.values())
def test_stuck_runs_repeat_while_the_witness_moves(rows, data, shortest, fewest, inner):
    series, time, value, reach = rows
    witness = np.array(
        data.draw(st.lists(st.sampled_from([NAN, 0.0, 1.0, 4.0]), min_size=len(time), max_size=len(time)))
    )
    least = np.array(data.draw(st.lists(st.sampled_from([0.0, 1.0, 3.0]), min_size=3, max_size=3)))
    expected = np.zeros(len(time), bool)
    for run in runs(*rows):
        heard = [witness[i] for i in run[inner : len(run) - inner] if not math.isnan(witness[i])]
        moves = heard and max(heard) - min(heard) > least[series[run[0]]]
        expected[run] = bool(moves) and long_enough(run, time, shortest, fewest)
    found = stuck(series, time, value, witness, least, run=Run(reach, shortest, fewest), inner=inner)
    assert found.tolist() == expected.tolist()


@quick
@given(samples(values=(NAN, 1.0, 1.0, 2.0)), st.data(), *RULES.values())
def test_straying_runs_repeat_while_the_told_sum_is_not_the_counted(rows, data, shortest, fewest, inner):
    series, time, value, reach = rows
    draw = lambda options: np.array(  # noqa: E731 - reads as a word below
        data.draw(st.lists(st.sampled_from(options), min_size=len(time), max_size=len(time)))
    )
    told, counted = draw([NAN, 0.0, 3.0, -8.0]), draw([0.0, 3.0, 8.0])
    expected = np.zeros(len(time), bool)
    for run in runs(*rows):
        heard = [i for i in run[inner : len(run) - inner] if not math.isnan(told[i])]
        if len(heard) > 1:
            moved, flown = (abs(sums[heard[-1]] - sums[heard[0]]) for sums in (told, counted))
            expected[run] = abs(moved - flown) > 1.0 + 0.3 * max(moved, flown)
        expected[run] &= long_enough(run, time, shortest, fewest)
    kept = Run(reach, shortest, fewest)
    found = straying(series, time, value, told, counted, run=kept, inner=inner, most=np.array([1.0, 0.3]))
    assert found.tolist() == expected.tolist()


def by_chance(series, time, repeated, kind, run):
    """What `repeats` finds, by its own words."""
    chains = []
    for i in range(len(time)):
        near = i > 0 and series[i] == series[i - 1] and time[i] - time[i - 1] <= run.reach[series[i]]
        chains[-1].append(i) if near and repeated[i] else chains.append([i])
    repeats_here = {i for chain in chains for i in chain[1:]}
    expected = np.zeros(len(time), bool)
    for chain in chains:
        mine = [i for i in range(len(time)) if series[i] == series[chain[0]]][1:]
        for one in {int(kind[i]) for i in chain[1:] if kind[i] >= 0}:
            own = sum(int(kind[i]) == one for i in chain[1:])
            others = [i for i in mine if kind[i] == one and i not in chain[1:]]
            chance = (sum(i in repeats_here for i in others) + 1) / (len(others) + 2)
            expected[chain] |= (
                len(others) >= max(LEAST_TRIALS, own)
                and chance <= MOST_CHANCE
                and own * math.log(chance) < LOG_CHANCE
                and long_enough(chain, time, run.shortest_us, run.fewest)
            )
    return expected


@quick
@given(
    st.lists(
        st.tuples(st.integers(0, 70), st.integers(0, 45), st.integers(0, 70), st.booleans()), min_size=1, max_size=3
    ),
    st.integers(0, 2**32),
)
def test_repetitions_are_told_from_chance_by_the_rest_of_the_series(parts, seed):
    """Series of stretches that change, stand still, and change; some samples are of another kind, or of none."""
    random = np.random.default_rng(seed)
    repeated, series = [], []
    for number, (before, still, after, dither) in enumerate(parts):
        stretch = [False] * (before + 1) + [True] * still + [False] * after
        series += [number] * len(stretch)
        repeated += [again or (dither and random.random() < 0.3) for again in stretch]
    n = len(series)
    kind = random.choice([0, 0, 0, 0, 0, 0, 1, -1], n) if seed % 2 else np.zeros(n, np.int64)
    time = np.cumsum(random.choice([1, 1, 1, 1, 1, 1, 1, 1, 9], n) if seed % 3 == 0 else np.ones(n, np.int64))
    run = Run(np.full(len(parts), 5), 10, 5)
    series, repeated = np.array(series), np.array(repeated)
    repeated &= np.diff(series, prepend=-1) == 0
    found = repeats(series, time, repeated, kind, run=run)
    assert found.tolist() == by_chance(series, time, repeated, kind, run).tolist()


def test_a_run_of_thirty_repetitions_among_fifty_changes_is_none_of_chance():
    """By hand: one in 52 repeats by chance, thirty in a row with (1/52)³⁰."""
    repeated = np.array([False] * 26 + [True] * 30 + [False] * 25)
    zeros, time = np.zeros(81, np.int64), np.arange(81)
    found = repeats(zeros, time, repeated, zeros, run=Run(np.array([1]), 10, 5))
    assert found.tolist() == [25 <= i <= 55 for i in range(81)]


def test_repetitions_tell_nothing_where_most_of_the_others_repeat_too():
    """Sixty of a hundred others repeat: 300 in a row would be (61/102)³⁰⁰, but a value within its digit may stay."""
    repeated = np.array(([False, False] + [True] * 3) * 60 + [False] + [True] * 150 + [False])
    zeros, time = np.zeros(len(repeated), np.int64), np.arange(len(repeated))
    assert not repeats(zeros, time, repeated, zeros, run=Run(np.array([1]), 10, 5)).any()


@quick
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 9)), min_size=0, max_size=30).map(sorted), st.randoms())
def test_samples_are_overtaken_by_later_ones_that_arrived_before(pairs, random):
    series = np.array([number for number, _ in pairs], np.int64)
    arrival = np.array(random.sample(range(len(pairs)), len(pairs)), np.int64)
    expected = [
        any(series[later] == series[i] and arrival[later] < arrival[i] for later in range(i + 1, len(pairs)))
        for i in range(len(pairs))
    ]
    assert overtaken(series, arrival).tolist() == expected


@pytest.mark.parametrize("kernel", [offsets, departures])
def test_what_is_given_is_not_written_to(kernel):
    given_arrays = (np.zeros(3, np.int64), np.arange(3), np.array([0.0, 9.0, 0.0]), np.array([5]))
    before = [array.copy() for array in given_arrays]
    kernel(*given_arrays)
    for array, copy in zip(given_arrays, before, strict=True):
        assert array.tolist() == copy.tolist()
