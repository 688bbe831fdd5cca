"""Samples beside their neighbours: departures from both, and runs that stand still."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

from bess_pipeline.arrays import Bools, Floats, Ints


@dataclass(frozen=True)
class Run:
    """What makes samples that repeat one value a run.

    Attributes:
        reach: Longest silence within it, by series [µs].
        shortest_us: Least time from its first to its last sample [µs].
        fewest: Least samples of it.
    """

    reach: Ints
    shortest_us: int
    fewest: int


@njit(cache=True, nogil=True)
def _departures(series: Ints, time: Ints, value: Floats, reach: Ints) -> tuple[Floats, Floats]:
    n = len(time)
    off = np.full(n, np.nan)
    lone = np.zeros(n)
    before, here = -1, -1
    for after in range(n):
        if np.isnan(value[after]):
            continue
        if before >= 0 and series[before] == series[after]:
            left, right = time[here] - time[before], time[after] - time[here]
            if left <= reach[series[here]] and right <= reach[series[here]]:
                a, b = value[here] - value[before], value[here] - value[after]
                share = left / (left + right)
                off[here] = value[here] - (value[before] + (value[after] - value[before]) * share)
                least = min(abs(a), abs(b))
                if a * b > 0 and abs(value[after] - value[before]) <= 0.5 * least:
                    lone[here] = least if a > 0 else -least
        before, here = here, after
    return off, lone


def offsets(series: Ints, time: Ints, value: Floats, reach: Ints) -> Floats:
    """How far each sample lies from the straight line between its neighbours.

    Args:
        series: Number of the series of each sample, ascending: shape (n,).
        time: Time of each sample, ascending within its series [µs]: shape (n,).
        value: Values, NaN where unknown; the neighbours are the nearest known ones: shape (n,).
        reach: Furthest that a neighbour may be, by series [µs].

    Returns:
        Offsets [unit of value]; NaN where either neighbour is missing.
    """
    return _departures(series, time, value, reach)[0]


def departures(series: Ints, time: Ints, value: Floats, reach: Ints) -> Floats:
    """How far each sample leaves both neighbours to the same side, where these are close to each other.

    Args:
        series: Number of the series of each sample, ascending: shape (n,).
        time: Time of each sample, ascending within its series [µs]: shape (n,).
        value: Values, NaN where unknown: shape (n,).
        reach: Furthest that a neighbour may be, by series [µs].

    Returns:
        The smaller of the two distances, with its sign; 0 where the neighbours differ by more than half of it,
        lie on different sides, or are missing.
    """
    return _departures(series, time, value, reach)[1]


@njit(cache=True, nogil=True)
def _ends(series: Ints, time: Ints, value: Floats, reach: Ints) -> Ints:
    """For each sample, the last of the run of equal values that it belongs to; its own place when it is unknown."""
    n = len(time)
    ends = np.arange(n)
    start = 0
    for i in range(1, n + 1):
        goes_on = (
            i < n
            and series[i] == series[start]
            and value[i] == value[start]
            and time[i] - time[i - 1] <= reach[series[i]]
        )
        if not goes_on:
            ends[start:i] = i - 1
            start = i
    return ends


@njit(cache=True, nogil=True)
def _stuck(
    series: Ints, time: Ints, ends: Ints, witness: Floats, least: Floats, shortest: int, fewest: int, inner: int
) -> Bools:
    n = len(time)
    found = np.zeros(n, np.bool_)
    start = 0
    while start < n:
        end = ends[start]
        if time[end] - time[start] >= shortest and end - start + 1 >= fewest:
            low, high = np.inf, -np.inf
            for i in range(start + inner, end + 1 - inner):
                if not np.isnan(witness[i]):
                    low, high = min(low, witness[i]), max(high, witness[i])
            if high - low > least[series[start]]:
                found[start : end + 1] = True
        start = end + 1
    return found


def stuck(
    series: Ints, time: Ints, value: Floats, witness: Floats, least: Floats, *, run: Run, inner: int = 0
) -> Bools:
    """Samples of runs in which a value repeats to the last digit while a witness moves.

    Args:
        series: Number of the series of each sample, ascending: shape (n,).
        time: Time of each sample, ascending within its series [µs]: shape (n,).
        value: Values; NaN, unknown, ends a run: shape (n,).
        witness: What must not move by much while the value truly stands still; NaN is no testimony: shape (n,).
        least: How far the witness must move, by series [unit of the witness].
        run: What a run is.
        inner: Samples at either end of a run at which the witness is not heard.
    """
    ends = _ends(series, time, value, run.reach)
    found: Bools = _stuck(series, time, ends, witness, least, run.shortest_us, run.fewest, inner)
    return found


@njit(cache=True, nogil=True)
def _straying(time: Ints, ends: Ints, told: Floats, counted: Floats, run: tuple[int, int, int], most: Floats) -> Bools:
    shortest, fewest, inner = run
    n = len(time)
    found = np.zeros(n, np.bool_)
    start = 0
    while start < n:
        end = ends[start]
        if time[end] - time[start] >= shortest and end - start + 1 >= fewest:
            first, last = -1, -1
            for i in range(start + inner, end + 1 - inner):
                if not np.isnan(told[i]):
                    first = i if first < 0 else first
                    last = i
            if last > first >= 0:
                moved, flown = abs(told[last] - told[first]), abs(counted[last] - counted[first])
                if abs(moved - flown) > most[0] + most[1] * max(moved, flown):
                    found[start : end + 1] = True
        start = end + 1
    return found


def straying(
    series: Ints, time: Ints, value: Floats, told: Floats, counted: Floats, *, run: Run, inner: int, most: Floats
) -> Bools:
    """Samples of runs in which a value repeats while what is told of its sum strays from the sum, of either sign.

    Args:
        series: Number of the series of each sample, ascending: shape (n,).
        time: Time of each sample, ascending within its series [µs]: shape (n,).
        value: Values; NaN, unknown, ends a run: shape (n,).
        told: Sum as it is told; NaN where unknown: shape (n,).
        counted: Sum of the values: shape (n,).
        run: What a run is.
        inner: Samples at either end of a run at which nothing is heard.
        most: How far the sizes of the two changes may differ: as such, and as share of the larger: shape (2,).
    """
    ends = _ends(series, time, value, run.reach)
    found: Bools = _straying(time, ends, told, counted, (run.shortest_us, run.fewest, inner), most)
    return found


#: Trials outside a run from which one can tell how often values repeat; as many as in the run at least.
LEAST_TRIALS = 30
#: Values that repeat more often than not hide in their last digit: how long they stay is not chance.
MOST_CHANCE = 0.5
#: A run that would come by chance less often than this is none of chance.
LOG_CHANCE = float(np.log(1e-9))


@njit(cache=True, nogil=True)
def _repeats(  # noqa: C901 - one pass over each series, read from top to bottom
    series: Ints, time: Ints, ends: Ints, kind: Ints, kinds: int, shortest: int, fewest: int
) -> Bools:
    n = len(time)
    found = np.zeros(n, np.bool_)
    first = 0
    while first < n:
        after = first
        while after < n and series[after] == series[first]:
            after += 1
        trials, equal = np.zeros(kinds), np.zeros(kinds)
        for i in range(first + 1, after):
            if kind[i] >= 0:
                trials[kind[i]] += 1
                if ends[i - 1] >= i:
                    equal[kind[i]] += 1
        start = first
        while start < after:
            end = min(ends[start], after - 1)
            if time[end] - time[start] >= shortest and end - start + 1 >= fewest:
                for k in range(kinds):
                    own = np.sum(kind[start + 1 : end + 1] == k)
                    others = trials[k] - own
                    if own > 0 and others >= max(LEAST_TRIALS, own):
                        chance = (equal[k] - own + 1) / (others + 2)
                        if chance <= MOST_CHANCE and own * np.log(chance) < LOG_CHANCE:
                            found[start : end + 1] = True
            start = end + 1
        first = after
    return found


def repeats(series: Ints, time: Ints, repeated: Bools, kind: Ints, *, run: Run) -> Bools:
    """Samples of runs that repeat their predecessor for longer than the rest of the series lets expect.

    The chance that a sample repeats the one before is counted over the other samples
    of the same series and kind; a run of n repetitions is then expected with that
    chance to the power of n, and found where that is below 1e-9. Nothing is found
    where fewer than 30 other samples tell, or fewer than the run has, nor where most of
    them repeat: a value that moves by less than its last digit stays for as long as it will.

    Args:
        series: Number of the series of each sample, ascending: shape (n,).
        time: Time of each sample, ascending within its series [µs]: shape (n,).
        repeated: Whether a sample repeats the one before: shape (n,).
        kind: Samples of one kind are compared to each other, such as those at rest; from 0; below 0, a
            sample that repeats says nothing: shape (n,).
        run: What a run is.
    """
    runs = np.cumsum(~repeated).astype(np.float64)
    ends = _ends(series, time, runs, run.reach)
    kinds = int(kind.max(initial=0)) + 1
    found: Bools = _repeats(series, time, ends, kind, kinds, run.shortest_us, run.fewest)
    return found


@njit(cache=True, nogil=True)
def _overtaken(series: Ints, arrival: Ints) -> Bools:
    n = len(series)
    found = np.zeros(n, np.bool_)
    earliest = 0
    for i in range(n - 1, -1, -1):
        if i == n - 1 or series[i] != series[i + 1]:
            earliest = arrival[i]
        found[i] = arrival[i] > earliest
        earliest = min(earliest, arrival[i])
    return found


def overtaken(series: Ints, arrival: Ints) -> Bools:
    """Samples that arrived after one of a later time.

    Args:
        series: Number of the series of each sample, ascending; times ascend within it: shape (n,).
        arrival: Place of each sample in the order of arrival: shape (n,).
    """
    return _overtaken(series, arrival)
