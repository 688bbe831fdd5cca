"""Capacity observations: charge counted between two instants at which the state of charge is known."""

from __future__ import annotations

from datetime import timedelta
from typing import NamedTuple

import numpy as np
import polars as pl
from numba import njit

from bess_pipeline.analytics.traces import traces
from bess_pipeline.arrays import Floats, Ints
from bess_pipeline.tables.health import CapacityObservation
from bess_pipeline.tables.keys import BATTERY
from bess_pipeline.tables.telemetry import INTERVAL_US
from bess_pipeline.units import US_PER_HOUR

_UNIT_AH = 1e-9

#: Least change of the state of charge, longest time and longest unobserved time between two anchors.
_LEAST_CHANGE_PERCENT = 30.0
LONGEST_PAIR = timedelta(days=14)
_LONGEST_US = LONGEST_PAIR // timedelta(microseconds=1)
_UNOBSERVED_US = 30 * 60 * 1_000_000
#: How many anchors back a partner is looked for.
_PARTNERS = 24
#: Error of the current sensor: offset [C] and gain [1].
OFFSET_RATE, GAIN_ERROR = 0.001, 0.004
#: What a battery's capacity may be, of rated.
_PLAUSIBLE = (0.2, 1.5)


class _Pairs(NamedTuple):
    first: Ints
    second: Ints
    capacity_ah: Floats
    sigma_ah: Floats


def capacity_observations(intervals: pl.DataFrame, anchors: pl.DataFrame, batteries: pl.DataFrame) -> pl.DataFrame:
    """Divide the charge between two anchors by the change of the state of charge.

    Every anchor is paired with at most one earlier one: of the last 24, the one that
    gives the smallest relative error, provided that the state of charge differs by at
    least 30 points, at most 14 days lie between them, and at most 30 minutes of these
    were unobserved.

    The error adds both anchors', a current offset of 0.1 % of C over the time
    between them, the mean current over the unobserved time, and a gain error of
    0.4 %, below which nobody gets without a capacity test.

    Args:
        intervals: `Interval5min` rows with midnights closed.
        anchors: `ChargeAnchor` rows.
        batteries: `Battery` rows.

    Returns:
        `CapacityObservation` rows, sorted by battery and end.

    References:
        G. L. Plett (2011), J. Power Sources 196, 2319, doi:10.1016/j.jpowsour.2010.09.048.
    """
    series = traces(intervals, batteries)
    plates = series.batteries.select(BATTERY).with_row_index("battery_index")
    points = anchors.join(plates, on=BATTERY, how="inner").sort("battery_index", "timestamp")
    battery = points["battery_index"].to_numpy().astype(np.int64)
    at_us = points["timestamp"].dt.epoch("us").to_numpy().astype(np.int64)

    start_us, owner = series.start_us, series.battery_index
    into, out = series.charge()
    net = np.nan_to_num(into) - np.nan_to_num(out)
    throughput = np.nan_to_num(into) + np.nan_to_num(out)
    unobserved = np.maximum(INTERVAL_US - np.nan_to_num(series.observed_us()), 0)
    if len(start_us) > 1:
        between = (start_us[1:] - start_us[:-1] - INTERVAL_US) * (owner[1:] == owner[:-1])
        unobserved[:-1] += np.maximum(between, 0)
    # Whole nanoampere-hours, so that the difference of two sums does not depend on where they began.
    counted = np.rint(np.stack([net / _UNIT_AH, throughput / _UNIT_AH, unobserved], axis=1)).astype(np.int64)
    summed = _summed(at_us, battery, start_us, series.offsets, counted)
    pairs = _Pairs(
        *_paired(
            at_us,
            battery,
            points["soc_percent"].to_numpy(),
            points["soc_sigma_percent"].to_numpy(),
            summed,
            series.nameplate("rated_capacity_ah"),
        )
    )
    first, second = points[pairs.first], points[pairs.second]
    return (
        second.select(
            *BATTERY,
            started_at=first["timestamp"],
            ended_at=pl.col("timestamp"),
            capacity_ah=pl.Series(pairs.capacity_ah, dtype=pl.Float64),
            capacity_sigma_ah=pl.Series(pairs.sigma_ah, dtype=pl.Float64),
            soc_change_percent=pl.col("soc_percent") - first["soc_percent"],
            method=first["kind"] + " to " + pl.col("kind"),
        )
        .sort(*BATTERY, "ended_at", "started_at")
        .pipe(CapacityObservation.validate)
    )


@njit(cache=True)
def _summed(at_us: Ints, battery: Ints, start_us: Ints, offsets: Ints, counted: Ints) -> Ints:
    """Sums over the rows of its battery that start before each instant; instants sorted by battery and time."""
    out = np.empty((len(at_us), counted.shape[1]), np.int64)
    total = np.zeros(counted.shape[1], np.int64)
    k = 0
    for j in range(len(at_us)):
        if j == 0 or battery[j] != battery[j - 1]:
            k = offsets[battery[j]]
            total[:] = 0
        while k < offsets[battery[j] + 1] and start_us[k] < at_us[j]:
            total += counted[k]
            k += 1
        out[j] = total
    return out


@njit(cache=True)
def _paired(at_us: Ints, battery: Ints, soc: Floats, sigma: Floats, summed: Ints, rated: Floats):  # type: ignore[no-untyped-def]  # noqa: ANN202
    n = len(at_us)
    first, second = np.empty(n, np.int64), np.empty(n, np.int64)
    capacity, error = np.empty(n), np.empty(n)
    found = 0
    for j in range(n):
        best = np.inf
        for i in range(j - 1, max(j - 1 - _PARTNERS, -1), -1):
            elapsed = at_us[j] - at_us[i]
            if battery[i] != battery[j] or elapsed > _LONGEST_US:
                break
            net, throughput = (summed[j, 0] - summed[i, 0]) * _UNIT_AH, (summed[j, 1] - summed[i, 1]) * _UNIT_AH
            unobserved = summed[j, 2] - summed[i, 2]
            if unobserved > _UNOBSERVED_US:
                break
            change = soc[j] - soc[i]
            if abs(change) < _LEAST_CHANGE_PERCENT:
                continue
            value = 100 * net / change
            size = rated[battery[j]]
            if not _PLAUSIBLE[0] * size <= value <= _PLAUSIBLE[1] * size:
                continue
            offset = OFFSET_RATE * size * elapsed / US_PER_HOUR
            missed = throughput / elapsed * unobserved
            relative = np.sqrt(
                (sigma[i] ** 2 + sigma[j] ** 2) / change**2 + (offset**2 + missed**2) / net**2 + GAIN_ERROR**2
            )
            if relative < best:
                best = relative
                first[found], second[found], capacity[found], error[found] = i, j, value, relative * value
        found += best < np.inf
    return first[:found], second[:found], capacity[:found], error[:found]
