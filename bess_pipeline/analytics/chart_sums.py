"""Cumulative sums of scores, series by series, taken up where they were left."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from bess_pipeline.analytics.control_charts import (
    CHART,
    SCORED,
    UP,
    ControlChart,
    advance,
    begin,
    constants_of,
    renewed,
)
from bess_pipeline.arrays import Floats, Ints

#: What is carried behind the state of a chart: the magnitude of the last score, and the last scores that the upper and
#: the lower sum were told with, against its direction and not a number where it did not raise.
_STATE = SCORED + 1
LAST, _PUSHES, _HELD = _STATE, (_STATE + 1, _STATE + 4), 3
CARRIED = _STATE + 1 + 2 * _HELD
#: Columns of the sums: the upper and the lower one, the days on which each left zero, and how strong the scores behind
#: each are.
STRENGTH = 4


class Sums(NamedTuple):
    """Cumulative sums of series.

    Attributes:
        rows: Shape (scores, 6): the upper and the lower sum [σ], the day numbers on which each left zero, NaN while it
            is zero, and the mean of the last four scores with which each was told [σ], NaN where none of them raised.
        kept: What is carried into each epoch, shape (series, epochs, 13).
    """

    rows: Floats
    kept: Floats


def nothing_carried(series: int) -> Floats:
    """What is carried into series that begin: one row for each."""
    return np.full((series, CARRIED), np.nan)


def followed_sums(
    offsets: Ints,
    days: Ints,
    scores: Floats,
    given: Floats,
    carried: Floats,
    epochs: Ints,
    *,
    least: float = 0.0,
    chart: ControlChart = CHART,
) -> Sums:
    """The two-sided CUSUM of each series.

    Args:
        offsets: Where each series begins, and where the last ends.
        days: Day number of each row, ascending within a series.
        scores: Scores [σ]; NaN leaves the sums as they are.
        given: The same before any was left out [σ], for the strength of what is told.
        carried: What is carried into each series; see `nothing_carried`.
        epochs: Day numbers of which it is asked what is carried into them, rising.
        least: Sum from which on it is told [σ].
        chart: Constants.
    """
    return Sums(
        *_followed(offsets, days, np.column_stack([scores, given]), carried, epochs, least, constants_of(chart))
    )


def cumulative_sums(series: Ints, days: Ints, scores: Floats, *, chart: ControlChart = CHART) -> Floats:
    """The two-sided CUSUM of series from their beginning.

    Args:
        series: Number of the series that each row belongs to; rows of a series are neighbours.
        days: Day number of each row, ascending within a series.
        scores: Scores [σ]; NaN leaves the sums as they are.
        chart: Constants.

    Returns:
        One row per score: the upper and the lower sum [σ], and the day numbers on which each left zero, NaN while it is
        zero.

    Examples:
        >>> same = np.zeros(3, dtype=np.int64)
        >>> cumulative_sums(same, np.arange(3), np.array([0.5, 3.0, 9.0]))[:, 0]
        array([0., 2., 5.])
    """
    bounds = np.append(np.flatnonzero(np.diff(series, prepend=series[:1] - 1)), len(series))
    none = np.array([], dtype=np.int64)
    carried = nothing_carried(len(bounds) - 1)
    return followed_sums(bounds.astype(np.int64), days, scores, scores, carried, none, chart=chart).rows[:, :STRENGTH]


@njit(cache=True)
def _followed(
    offsets: Ints, days: Ints, scores: Floats, carried: Floats, epochs: Ints, least: float, constants: Floats
) -> tuple[Floats, Floats]:
    out = np.full((len(days), 6), np.nan)
    kept = np.empty((len(carried), len(epochs), carried.shape[1]))
    for k in range(len(carried)):
        held = carried[k].copy()
        state = held[:_STATE]
        epoch = 0
        for i in range(offsets[k], offsets[k + 1]):
            while epoch < len(epochs) and epochs[epoch] <= days[i]:
                kept[k, epoch] = held
                epoch += 1
            if np.isnan(state[SCORED]) or renewed(state, days[i], constants):
                begin(state, days[i])
            if not np.isnan(scores[i, 0]):
                advance(state, days[i], scores[i, 0], constants)
            out[i, :STRENGTH] = state[:STRENGTH]
            for side in range(2):
                if state[UP + side] >= least:
                    raises = state[UP + side] >= constants[2]
                    push = scores[i, 1] * (1 - 2 * side) if raises else np.nan
                    out[i, STRENGTH + side] = _strength(held[_PUSHES[side] : _PUSHES[side] + _HELD], push)
            held[LAST] = abs(scores[i, 1])
        for late in range(epoch, len(epochs)):
            kept[k, late] = held
    return out, kept


@njit(cache=True)
def _strength(before: Floats, push: float) -> float:
    """Mean of a score and those before it that are known; takes it in."""
    total, known = 0.0, 0
    for score in (before[0], before[1], before[2], push):
        if not np.isnan(score):
            total += score
            known += 1
    before[0], before[1], before[2] = before[1], before[2], push
    return total / known if known else np.nan
