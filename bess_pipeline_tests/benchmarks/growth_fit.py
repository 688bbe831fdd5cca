"""How seconds grow with rows: exponents, and a sum of what starting, a row and a fleet-day cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import optimize, stats

from bess_pipeline.arrays import Floats

#: The largest decade of rows: from a tenth of the most on.
DECADE = 10.0


@dataclass(frozen=True)
class Exponent:
    """The exponent of a power law: 1 where a cost grows as the rows do, 0 where it does not grow.

    Attributes:
        value: The slope of a straight line through logarithms [1].
        error: Its standard error [1]; none where two points leave nothing to judge it by.
    """

    value: float
    error: float | None

    def __str__(self) -> str:
        return f"{self.value:.2f}" if self.error is None else f"{self.value:.2f} ± {self.error:.2f}"


def exponent(rows: Sequence[float], costs: Sequence[float]) -> Exponent:
    """The exponent with which a cost grows with rows, by least squares of the logarithms.

    Args:
        rows: Rows of each measurement, above zero.
        costs: Its cost in any unit, above zero.

    Raises:
        ValueError: If all measurements have as many rows, or if one of them is not above zero.

    Examples:
        >>> str(exponent([10, 100, 1000], [3, 30, 300]))
        '1.00 ± 0.00'
    """
    if min(*rows, *costs) <= 0:
        raise ValueError("a power law has neither rows nor costs of zero or less")
    if len(set(rows)) < 2:
        raise ValueError("an exponent needs measurements of different numbers of rows")
    line = stats.linregress(np.log(rows), np.log(costs))
    return Exponent(float(line.slope), float(line.stderr) if len(rows) > 2 else None)


def largest_decade(rows: Sequence[float]) -> list[int]:
    """Places of the measurements with at least a tenth of the most rows.

    Examples:
        >>> largest_decade([1, 50, 99, 100, 1000])
        [3, 4]
    """
    return [place for place, number in enumerate(rows) if number * DECADE >= max(rows)]


@dataclass(frozen=True)
class Sum:
    """Seconds as a sum of parts, none of which is below zero.

    Attributes:
        start: What is needed whatever there is to do [s].
        per_million_rows: What a million raw rows cost [s].
        per_partition: What a fleet-day costs apart from its rows [s].
        residuals: Of each measurement, seconds over those of the sum, less one [1].
    """

    start: float
    per_million_rows: float
    per_partition: float
    residuals: tuple[float, ...]

    def seconds(self, rows: float, partitions: float) -> float:
        """Seconds of so many rows in so many fleet-days [s]."""
        return self.start + self.per_million_rows * rows / 1e6 + self.per_partition * partitions

    @property
    def worst(self) -> float:
        """The largest residual by amount [1]."""
        return max(self.residuals, key=abs)

    @property
    def typical(self) -> float:
        """The median of the residuals' amounts [1]."""
        return float(np.median(np.abs(self.residuals)))


def summed(rows: Sequence[float], partitions: Sequence[float], seconds: Sequence[float]) -> Sum:
    """The sum that comes closest, where a tenth too much counts as much for a second as for an hour.

    Non-negative least squares of relative errors: otherwise the largest measurement alone would decide.

    Args:
        rows: Raw rows of each measurement.
        partitions: Its fleet-days.
        seconds: What it took [s], above zero.

    Raises:
        ValueError: If there are fewer measurements than parts, or if one took no time.
    """
    if len(seconds) < 3:
        raise ValueError(f"a sum of three parts needs three measurements or more, got {len(seconds)}")
    if min(seconds) <= 0:
        raise ValueError("a measurement that took no time has no relative error")
    took: Floats = np.asarray(seconds, float)
    parts = np.column_stack([np.ones(len(took)), np.asarray(rows, float) / 1e6, np.asarray(partitions, float)])
    relative = parts / took[:, None]
    # The solver's tolerance is absolute: parts are brought to like size before.
    sizes = np.linalg.norm(relative, axis=0)
    found, _ = optimize.nnls(relative / sizes, np.ones(len(took)))
    start, per_million, per_partition = (float(part) for part in found / sizes)
    with np.errstate(divide="ignore"):
        residuals = took / (parts @ (found / sizes)) - 1
    return Sum(start, per_million, per_partition, tuple(float(residual) for residual in residuals))
