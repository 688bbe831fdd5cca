"""Control charts: how far a value is from its own past, and how long it has stayed there."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

import numpy as np
import numpy.typing as npt
from numba import njit

from bess_pipeline.arrays import Bools

Numbers = npt.NDArray[np.float64]
Days = npt.NDArray[np.int64]

#: Scale of the median absolute deviation that makes it the standard deviation of a normal distribution.
MAD_TO_SIGMA = 1.4826
#: Distance between the first and the last decile of a normal distribution, in standard deviations.
DECILES_TO_SIGMA = 2.5631


@dataclass(frozen=True)
class ControlChart:
    """Constants of a two-sided CUSUM on robust z-scores against a trailing reference.

    The reference of a day is the median and the median absolute deviation of the days
    ``reference`` to ``recent`` before it. A score moves the sum by at most
    ``clip − slack``, so that no single day raises an alarm, however wild.

    The threshold follows from the false alarms that a healthy feature may raise. Daily
    features remember: their noise is closer to an AR(1) process than to white noise,
    which inflates the variance of a sum by (1 + φ)/(1 − φ). The scale of a score contains
    that factor, with φ from the jumps between the days of the reference. Simulated
    through these kernels (400 normal series of 3 years), a chart without floor raises
    per feature and year, both directions together::

        φ of the noise                           0.0    0.5    0.8    0.9    0.95
        scale blind to memory, threshold 15    0.001   0.04   1.36   2.60   2.79
        as it is, threshold 8                  0.000   0.03   0.06   0.07   0.08
        as it is, threshold 10                 0.000  0.012   0.04   0.05   0.05
        as it is, threshold 12                 0.000  0.003   0.03   0.02   0.05

    Fifteen features, most with φ below 0.5 and a floor above their noise, stay below half a false
    alarm a year at the threshold of 10, and by far where there are peers: see `unrest`.

    Attributes:
        reference: Length of the trailing window, its recent end included.
        recent: The days before a day that are no part of its reference.
        fewest: Days that a reference needs.
        clip: Largest magnitude with which a score enters the sum [σ].
        slack: Half the shift that the sum is to see at once, the ``k`` of the CUSUM [σ].
        threshold: Sum that raises an alarm, the ``h`` of the CUSUM [σ].
        ceiling: Largest sum kept, so that an alarm ends soon after its cause [σ].
        patience: Silence after which the sums start anew.
        accepted: Time after which a level that never left is the battery's own.

    References:
        E. S. Page, Continuous inspection schemes, Biometrika 41 (1954) 100,
        doi:10.1093/biomet/41.1-2.100.
        R. A. Johnson, M. Bagshaw, The effect of serial correlation on the performance of
        CUSUM tests, Technometrics 16 (1974) 103, doi:10.1080/00401706.1974.10489155.
        M. G. Kendall, Note on bias in the estimation of autocorrelation, Biometrika 41 (1954)
        403, doi:10.1093/biomet/41.3-4.403.
    """

    reference: timedelta = timedelta(days=90)
    recent: timedelta = timedelta(days=7)
    fewest: int = 14
    clip: float = 4.0
    slack: float = 1.0
    threshold: float = 10.0
    ceiling: float = 20.0
    patience: timedelta = timedelta(days=21)
    accepted: timedelta = timedelta(days=90)


CHART = ControlChart()

# Places in the state of a chart, its reference among them; behind it, bit by bit, which of the last days may be part of
# a reference.
UP, DOWN, UP_SINCE, DOWN_SINCE, _OPEN_SINCE, SCORED, _CENTRE, _SIGMA, _LEVEL, _MASK = range(10)
#: Bits of a float that count up without loss.
_BITS = 45


@njit(cache=True)
def _reference(values: Numbers) -> tuple[float, float]:
    """Median of a reference, and the deviation that a lasting shift has to beat.

    The deviation is the scaled median absolute one, or the scaled distance between the deciles
    where that is larger: days of another use, up to half of all, escape a median. It is
    multiplied by √((1 + φ)/(1 − φ)), with the memory φ from the median absolute jump between
    neighbours, corrected for the bias of short series; the variance of the median is added.
    """
    centre = np.median(values)
    sigma = MAD_TO_SIGMA * np.median(np.abs(values - centre))
    jump = MAD_TO_SIGMA * np.median(np.abs(np.diff(values)))
    phi = max(1.0 - jump * jump / (2.0 * sigma * sigma), 0.0) if sigma > 0.0 else 0.0
    phi = min(phi + (1.0 + 3.0 * phi) / len(values), 0.95)
    memory = (1.0 + phi) / (1.0 - phi)
    ordered = np.sort(values)
    tenth = (len(values) - 1) // 10
    sigma = max(sigma, (ordered[-1 - tenth] - ordered[tenth]) / DECILES_TO_SIGMA)
    return centre, sigma * np.sqrt(memory * (1.0 + np.pi / 2.0 * memory / len(values)))


@njit(cache=True)
def begin(state: Numbers, day: int) -> None:
    """Let the sums of a chart begin at a day."""
    state[: SCORED + 1] = np.nan
    state[UP] = state[DOWN] = 0.0
    state[SCORED] = day


@njit(cache=True)
def advance(state: Numbers, day: int, z: float, constants: Numbers) -> None:
    """Take one score into the sums."""
    clip, slack, threshold, ceiling = constants[:4]
    step = min(max(z, -clip), clip)
    state[SCORED] = day
    state[UP] = min(max(0.0, state[UP] + step - slack), ceiling)
    state[DOWN] = min(max(0.0, state[DOWN] - step - slack), ceiling)
    if state[UP] == 0.0:
        state[UP_SINCE] = np.nan
    elif np.isnan(state[UP_SINCE]):
        state[UP_SINCE] = day
    if state[DOWN] == 0.0:
        state[DOWN_SINCE] = np.nan
    elif np.isnan(state[DOWN_SINCE]):
        state[DOWN_SINCE] = day
    if max(state[UP], state[DOWN]) < threshold:
        state[_OPEN_SINCE] = np.nan
    elif np.isnan(state[_OPEN_SINCE]):
        state[_OPEN_SINCE] = day


@njit(cache=True)
def renewed(state: Numbers, day: int, constants: Numbers) -> bool:
    """Whether the sums start anew: after a long silence, or once a new level is the battery's own."""
    return bool(day - state[SCORED] > constants[4] or day - state[_OPEN_SINCE] >= constants[5])


@njit(cache=True)
def _recalled(usable: Bools, days: Days, begun: int, carried: Numbers) -> int:
    """Fill in which of the days before ``begun`` may be part of a reference; how many rows these are."""
    i = 0
    while i < len(days) and days[i] < begun:
        back = begun - 1 - days[i]
        word = _MASK + back // _BITS
        usable[i] = word < len(carried) and carried[word] >= 0 and (np.int64(carried[word]) >> (back % _BITS)) & 1 == 1
        i += 1
    return i


@njit(cache=True)
def _kept(out: Numbers, usable: Bools, days: Days, end: int, epoch: int, state: Numbers) -> None:
    """What is carried into an epoch: the state, and which of the days before it may be part of a reference."""
    out[: len(state)] = state
    out[_MASK:] = 0.0
    for i in range(end - 1, -1, -1):
        back = epoch - 1 - days[i]
        word = _MASK + back // _BITS
        if word >= len(out):
            break
        if usable[i]:
            out[word] += 2.0 ** (back % _BITS)


@njit(cache=True)
def _held_against(at: Days, rows: Numbers, usable: Bools, i: int, window: Days, state: Numbers) -> bool:
    """Put the reference of a row into the state, if there are enough days before it."""
    reference, recent, fewest = window
    day, level = at[i]
    held = np.empty(reference + 1)
    found = 0
    j = i - 1
    while j >= 0 and day - at[j, 0] <= reference:
        if day - at[j, 0] > recent and usable[j] and at[j, 1] == level:
            held[found] = rows[j, 0]
            found += 1
        j -= 1
    if found < fewest:
        return False
    state[_CENTRE], state[_SIGMA] = _reference(held[:found][::-1].copy())
    state[_LEVEL] = level
    return True


@njit(cache=True)
def _robust_scores(
    at: Days, rows: Numbers, window: Days, constants: Numbers, begun: int, carried: Numbers, epochs: Days, kept: Numbers
) -> Numbers:
    """Scores of one series from the day ``begun`` on; fills in what is carried into each epoch.

    Rows are of day number and level, and of value, least deviation and unrest.
    """
    days = at[:, 0].copy()
    scores = np.full(len(days), np.nan)
    usable = np.ones(len(days), dtype=np.bool_)
    state = carried[:_MASK].copy()
    epoch = 0
    for i in range(_recalled(usable, days, begun, carried), len(days)):
        day = days[i]
        while epoch < len(epochs) and epochs[epoch] <= day:
            _kept(kept[epoch], usable, days, i, epochs[epoch], state)
            epoch += 1
        if np.isnan(state[SCORED]):
            begin(state, day)
        elif renewed(state, day, constants):
            usable[:i] = True
            begin(state, day)
        was_open = not np.isnan(state[_OPEN_SINCE])
        known = at[i, 1] == state[_LEVEL] if was_open else _held_against(at, rows, usable, i, window, state)
        if not known:
            continue
        scores[i] = (rows[i, 0] - state[_CENTRE]) / (max(state[_SIGMA], rows[i, 1]) * rows[i, 2])
        advance(state, day, scores[i], constants)
        if not np.isnan(state[_OPEN_SINCE]):
            usable[i] = False
            j = i - 1
            since = state[UP_SINCE] if state[UP] >= state[DOWN] else state[DOWN_SINCE]
            while not was_open and j >= 0 and days[j] >= since:
                usable[j] = False
                j -= 1
    for late in range(epoch, len(epochs)):
        _kept(kept[late], usable, days, len(days), epochs[late], state)
    return scores


@njit(cache=True)
def _all_scores(
    offsets: Days,
    at: Days,
    rows: Numbers,
    window: Days,
    constants: Numbers,
    begun: int,
    carried: Numbers,
    epochs: Days,
) -> tuple[Numbers, Numbers]:
    scores = np.empty(len(rows))
    kept = np.empty((len(carried), len(epochs), carried.shape[1]))
    for k in range(len(carried)):
        a, b = offsets[k], offsets[k + 1]
        scores[a:b] = _robust_scores(at[a:b], rows[a:b], window, constants, begun, carried[k], epochs, kept[k])
    return scores, kept


@njit(cache=True)
def _others_median(group: Days, values: Numbers) -> Numbers:
    out = np.full(len(values), np.nan)
    start = 0
    for i in range(1, len(values) + 1):
        if i < len(values) and group[i] == group[start]:
            continue
        others = i - start - 1
        for rank in range(others + 1 if others else 0):
            low, high = (others - 1) // 2, others // 2
            low += low >= rank
            high += high >= rank
            out[start + rank] = (values[start + low] + values[start + high]) / 2.0
        start = i
    return out


def robust_scores(
    series: Days,
    days: Days,
    levels: Days,
    values: Numbers,
    floors: Numbers,
    *,
    unrest: Numbers | None = None,
    chart: ControlChart = CHART,
) -> Numbers:
    """How far each day's value is from the days before it, in robust standard deviations.

    While an alarm of the same chart is open the reference stays that of the day it opened,
    and the days since the sum left zero are kept out of later references.

    Args:
        series: Number of the series that each row belongs to; rows of a series are neighbours.
        days: Day number of each row, ascending within a series.
        levels: Only rows with equal levels are compared: a value beside its peers has
            another level than one without peers.
        values: The values, none of them NaN.
        floors: Least standard deviation credited to each row, in the unit of the values.
        unrest: By what the standard deviation of each row is multiplied [1], see `unrest`; 1 where it is left out.
        chart: Constants.

    Returns:
        Scores [σ], one per row; NaN where the reference has too few days.

    Examples:
        >>> days = np.arange(30)
        >>> values = np.where(days == 29, 5.0, days % 2)
        >>> same = np.zeros(30, dtype=np.int64)
        >>> robust_scores(same, days, same, values, np.full(30, 0.1))[[20, 29]].round(2)
        array([ nan, 5.59])
    """
    offsets = np.append(np.flatnonzero(np.diff(series, prepend=np.nan)), len(series))
    calm = np.ones(len(values)) if unrest is None else unrest
    begins = nothing_carried(len(offsets) - 1, chart=chart)
    return followed_scores(Followed(offsets, days, levels, values, floors), calm, begins, chart=chart)[0]


@dataclass(frozen=True)
class Followed:
    """Series of daily values that are taken up at an epoch.

    Attributes:
        offsets: First row of each series, and the number of all rows.
        days: Day number of each row, ascending within a series.
        levels: Only rows with equal levels are compared.
        values: The values, none of them NaN.
        floors: Least standard deviation credited to each row, in the unit of the values.
        begun: Number of the day at which they are taken up: rows of days before are what references are of.
        epochs: Numbers of the days, ascending, of which it is asked what is carried into them.
    """

    offsets: Days
    days: Days
    levels: Days
    values: Numbers
    floors: Numbers
    begun: int = -(1 << 40)
    epochs: Days = field(default_factory=lambda: np.empty(0, dtype=np.int64))


def nothing_carried(series: int, *, chart: ControlChart = CHART) -> Numbers:
    """What is carried into series that begin: one row for each."""
    return np.full((series, _MASK + -(-chart.reference.days // _BITS)), np.nan)


def has_begun(carried: Numbers) -> Bools:
    """Whether series had begun when this was carried; the last axis is what is carried."""
    return np.asarray(~np.isnan(carried[..., SCORED]))


def followed_scores(
    rows: Followed, unrest: Numbers, carried: Numbers, *, chart: ControlChart = CHART
) -> tuple[Numbers, Numbers]:
    """Robust scores of series that are taken up where they were left: see `robust_scores`.

    Args:
        rows: The series, with all of their rows of the days of a reference before they are taken up.
        unrest: By what the standard deviation of each row is multiplied [1].
        carried: What is carried into each series; see `nothing_carried`.
        chart: Constants.

    Returns:
        Scores [σ], one per row, NaN before the series are taken up; and what is carried into each epoch, shape
        (series, epochs, what is carried).
    """
    window = np.array([chart.reference.days, chart.recent.days, chart.fewest])
    at, numbers = np.stack([rows.days, rows.levels], axis=1), np.stack([rows.values, rows.floors, unrest], axis=1)
    constants = constants_of(chart)
    scores, kept = _all_scores(rows.offsets, at, numbers, window, constants, rows.begun, carried, rows.epochs)
    return np.asarray(scores), np.asarray(kept)


def others_median(group: Days, values: Numbers) -> Numbers:
    """Median of the other values of a group, for each of its values.

    Args:
        group: Number of the group of each row; rows of a group are neighbours.
        values: Values, ascending within a group.

    Returns:
        The medians; NaN for a value that is alone.

    Examples:
        >>> others_median(np.zeros(4, dtype=np.int64), np.array([1.0, 2.0, 4.0, 9.0]))
        array([4., 4., 2., 2.])
    """
    return np.asarray(_others_median(group, values))


def unrest(group: Days, scores: Numbers) -> Numbers:
    """By how much the others of a group are further from their own past than noise puts them, at least 1.

    A change of season or of use moves many batteries of a fleet at once, each by its own
    amount, so that taking off the median of the peers is not enough. The median magnitude of
    the others' scores over that of a normal distribution says how unusual the day is
    for everybody; what it is for one battery has to be held against that.

    Args:
        group: Number of the group of each row; rows of a group are neighbours.
        scores: Scores [σ], their magnitudes ascending within a group.

    Returns:
        Factors [1]; 1 for a value that is alone.

    Examples:
        >>> unrest(np.zeros(4, dtype=np.int64), np.array([0.1, 2.0, -2.0, 6.0])).round(2)
        array([2.97, 2.97, 2.97, 2.97])
    """
    typical = np.nan_to_num(others_median(group, np.abs(scores)))
    return np.asarray(np.maximum(1.0, MAD_TO_SIGMA * typical))


def constants_of(chart: ControlChart) -> Numbers:
    """The constants of a chart for compiled code: clip, slack, threshold, ceiling, patience and acceptance [days]."""
    return np.array(
        [chart.clip, chart.slack, chart.threshold, chart.ceiling, chart.patience.days, chart.accepted.days], dtype=float
    )
