"""Windows of days: added up day by day, so that a number does not rest on where the rows began."""

from __future__ import annotations

import numpy as np
from numba import njit

from bess_pipeline.arrays import Floats, Ints


def window_means(series: Ints, days: Ints, values: Floats, window: int, fewest: int) -> Floats:
    """Mean of the known values of each column over the days up to each row.

    Args:
        series: Number of the series that each row belongs to; rows of a series are neighbours.
        days: Day number of each row, ascending within a series.
        values: Shape (rows, columns), NaN where unknown.
        window: Days of the window, the row's own among them.
        fewest: Known values that a mean needs, at least 1.

    Returns:
        Shape (rows, columns); NaN of fewer than needed.
    """
    totals, known = _added_up(series, days, values, window)
    return np.where(known >= fewest, totals / np.maximum(known, 1), np.nan)


def window_totals(series: Ints, days: Ints, values: Floats, window: int) -> Floats:
    """Sum of the known values of each column over the days up to each row; see `window_means`.

    Returns:
        Shape (rows, columns); NaN where none is known.
    """
    totals, known = _added_up(series, days, values, window)
    return np.where(known > 0, totals, np.nan)


@njit(cache=True)
def _added_up(series: Ints, days: Ints, values: Floats, window: int) -> tuple[Floats, Ints]:
    """Sums of the known values of the window, and how many they are."""
    totals, known = np.zeros(values.shape), np.zeros(values.shape, np.int64)
    first = 0
    for i in range(len(days)):
        if i > 0 and series[i] != series[i - 1]:
            first = i
        while days[i] - days[first] >= window:
            first += 1
        for column in range(values.shape[1]):
            for j in range(first, i + 1):
                if not np.isnan(values[j, column]):
                    totals[i, column] += values[j, column]
                    known[i, column] += 1
    return totals, known
