"""Integrals of sampled signals over 5-minute bins, exact to the microsecond of observed time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numba import njit

from bess_pipeline.arrays import Floats, Ints
from bess_pipeline.tables.telemetry import INTERVAL_US


@dataclass(frozen=True)
class BinnedIntegrals:
    """Integrals of one signal by series and bin.

    Attributes:
        series: Number of the series.
        bin: Start of the bin [µs since 1970].
        observed: Time over which the signal is known in the bin [µs].
        positive: Integral of the positive part [unit·µs], never negative.
        negative: Integral of the negative part [unit·µs], never negative.
    """

    series: Ints
    bin: Ints
    observed: Ints
    positive: Floats
    negative: Floats


@njit(cache=True, nogil=True)
def _bins_touched(start: int, end: int) -> int:
    """How many bins the time from ``start`` to ``end`` lies in."""
    return (end - 1) // INTERVAL_US - start // INTERVAL_US + 1


@njit(cache=True, nogil=True)
def _spans(series: Ints, time: Ints, gap: Ints, hold: Ints, limit: Ints, mean: npt.NDArray[np.bool_]) -> Ints:
    """For each sample, the end of the time that it accounts for; its own time where it accounts for none."""
    n = len(time)
    ends = time.copy()
    for i in range(n):
        s = series[i]
        follows = i + 1 < n and series[i + 1] == s
        if mean[s]:
            end = time[i] + hold[s]
            if follows and time[i + 1] < end:
                end = time[i + 1]
            ends[i] = min(end, limit[s])
        elif follows and time[i + 1] - time[i] <= gap[s]:
            ends[i] = time[i + 1]
    return ends


@njit(cache=True, nogil=True)
def _accumulate(
    series: Ints, time: Ints, value: Floats, ends: Ints, mean: npt.NDArray[np.bool_]
) -> tuple[Ints, Ints, Ints, Floats, Floats]:
    total = 0
    for i in range(len(time)):
        if ends[i] > time[i]:
            total += _bins_touched(time[i], ends[i])
    out_series = np.empty(total, np.int64)
    out_bin = np.empty(total, np.int64)
    observed = np.zeros(total, np.int64)
    positive = np.zeros(total, np.float64)
    negative = np.zeros(total, np.float64)
    k = -1
    for i in range(len(time)):
        start, end = time[i], ends[i]
        if end <= start:
            continue
        s = series[i]
        up0, down0 = max(value[i], 0.0), max(-value[i], 0.0)
        up1, down1 = up0, down0
        if not mean[s]:
            up1, down1 = max(value[i + 1], 0.0), max(-value[i + 1], 0.0)
        length = end - start
        a = start
        while a < end:
            bin_start = a // INTERVAL_US * INTERVAL_US
            b = min(end, bin_start + INTERVAL_US)
            if k < 0 or out_series[k] != s or out_bin[k] != bin_start:
                k += 1
                out_series[k] = s
                out_bin[k] = bin_start
            middle = (0.5 * (a - start) + 0.5 * (b - start)) / length
            observed[k] += b - a
            positive[k] += (up0 + (up1 - up0) * middle) * (b - a)
            negative[k] += (down0 + (down1 - down0) * middle) * (b - a)
            a = b
    return out_series[: k + 1], out_bin[: k + 1], observed[: k + 1], positive[: k + 1], negative[: k + 1]


def binned_integrals(
    series: Ints,
    time: Ints,
    value: Floats,
    *,
    gap: Ints,
    hold: Ints,
    limit: Ints,
    mean: npt.NDArray[np.bool_],
) -> BinnedIntegrals:
    """Integrate sampled signals over bins of 5 minutes.

    Instantaneous samples are joined by straight lines, after their positive and
    negative parts have been taken apart; neighbours further apart than ``gap`` are
    not joined. A sample that is a mean holds from its time on for ``hold``, or until
    the next sample if that comes sooner, and not past ``limit``.

    Args:
        series: Number of the series of each sample, in order: shape (n,).
        time: Time of each sample, ascending within its series [µs since 1970]: shape (n,).
        value: Known values: shape (n,).
        gap: Longest silence that is bridged, by series [µs]: shape (m,).
        hold: How long a mean holds, by series [µs]: shape (m,).
        limit: End of the time that a series accounts for, by series [µs since 1970]: shape (m,).
        mean: Whether the samples of a series are means: shape (m,).

    Returns:
        One entry per series and bin in which anything is known, in order.
    """
    ends = _spans(series, time, gap, hold, limit, mean)
    return BinnedIntegrals(*_accumulate(series, time, value, ends, mean))
