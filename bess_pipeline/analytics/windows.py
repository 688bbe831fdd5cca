"""Windows of days: added up day by day, so that a number does not rest on where the rows began."""

from __future__ import annotations

import numpy as np
from numba import njit

from bess_pipeline.arrays import Floats, Ints


@njit(cache=True)
def window_means(series: Ints, days: Ints, values: Floats, window: int, fewest: int) -> Floats:
    """Mean of the known values of each column over the days up to each row.

    Args:
        series: Number of the series that each row belongs to; rows of a series are neighbours.
        days: Day number of each row, ascending within a series.
        values: Shape (rows, columns), NaN where unknown.
        window: Days of the window, the row's own among them.
        fewest: Known values that a mean needs.

    Returns:
        Shape (rows, columns); NaN of fewer than needed.
    """
    out = np.full(values.shape, np.nan)
    first = 0
    for i in range(len(days)):
        if i > 0 and series[i] != series[i - 1]:
            first = i
        while days[i] - days[first] >= window:
            first += 1
        for column in range(values.shape[1]):
            total, known = 0.0, 0
            for j in range(first, i + 1):
                if not np.isnan(values[j, column]):
                    total += values[j, column]
                    known += 1
            if known >= fewest:
                out[i, column] = total / known
    return out


@njit(cache=True)
def window_totals(series: Ints, days: Ints, values: Floats, window: int) -> Floats:
    """Sum of the known values of each column over the days up to each row; NaN where none is known.

    Args:
        series: Number of the series that each row belongs to; rows of a series are neighbours.
        days: Day number of each row, ascending within a series.
        values: Shape (rows, columns), NaN where unknown.
        window: Days of the window, the row's own among them.

    Returns:
        Shape (rows, columns).
    """
    out = np.full(values.shape, np.nan)
    first = 0
    for i in range(len(days)):
        if i > 0 and series[i] != series[i - 1]:
            first = i
        while days[i] - days[first] >= window:
            first += 1
        for column in range(values.shape[1]):
            total, known = 0.0, False
            for j in range(first, i + 1):
                if not np.isnan(values[j, column]):
                    total += values[j, column]
                    known = True
            if known:
                out[i, column] = total
    return out
