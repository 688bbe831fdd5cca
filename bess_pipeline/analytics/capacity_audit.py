"""Capacity by each method side by side: estimate, total least squares over anchors, latest capacity test."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import polars as pl
from numba import njit

from bess_pipeline.analytics.capacity import GAIN_ERROR, LONGEST_PAIR
from bess_pipeline.analytics.traces import floats
from bess_pipeline.arrays import Floats, Ints
from bess_pipeline.tables.capacity import CapacityAudit
from bess_pipeline.tables.columns import NORMAL_90
from bess_pipeline.tables.keys import BATTERY, BATTERY_DAY

_SUMS = ("c1", "c2", "c3", "c4", "c5", "c6")

#: Days up to each that its total least squares rest on.
_WINDOW_DAYS = 90
#: How long before a day what it rests on may have begun, but for the latest test: window, and a pair that ends in it.
BEFORE = timedelta(days=_WINDOW_DAYS) + LONGEST_PAIR
#: Neighbouring pairs share an anchor, so that n of them count for n / 2.
_CORRELATION = 2.0
#: Share of a pair's variance that all pairs of a battery have in common: the open-circuit curve, the sensors.
_COMMON_SHARE = 0.5
#: Weight, in pairs, of the belief that their stated errors are right.
_BELIEF = 4.0
#: Least error of a pair's charge, and of a method beyond the gain of the sensor [share].
_LEAST_ERROR = 1e-3
_ITERATIONS = 30


@dataclass(frozen=True)
class LeastSquares:
    """Total least squares of y = Q·x, elementwise over rows of running sums.

    Attributes:
        slope: Q, where the merit function is least.
        variance: Twice the inverse of its second derivative there.
        merit: Its value there: about the number of points less one if their errors are right.
    """

    slope: Floats
    variance: Floats
    merit: Floats


def total_least_squares(sums: Floats) -> LeastSquares:
    """Fit y = Q·x to points with errors in both, from six sums over them.

    The merit function is that of approximate weighted total least squares,

        χ²(Q) = (c4·Q⁴ − 2·c5·Q³ + (c1 + c6)·Q² − 2·c2·Q + c3) / (Q² + 1)²

    with c1 = Σx²/σy², c2 = Σxy/σy², c3 = Σy²/σy², c4 = Σx²/σx², c5 = Σxy/σx²,
    c6 = Σy²/σx². It is exact where σx = k·σy for all points, once y is multiplied by k.
    That takes no other sums, for y only scales them: c1/k², c2/k, c3, c4, k·c5, k²·c6.
    Here k² = c1/c4, the ratio of the precisions. The least is found by Newton's steps on
    the numerator of the derivative, from the least squares in y.

    Args:
        sums: c1 to c6, shape (n, 6).

    Returns:
        Arrays of shape (n,); NaN where there are no points.

    References:
        G. L. Plett (2011), J. Power Sources 196, 2319, doi:10.1016/j.jpowsour.2010.09.048.

    Examples:
        >>> x, y, sigma = np.array([0.4, 0.8]), np.array([0.4, 0.8]), 0.01
        >>> c = np.array([(x * x).sum(), (x * y).sum(), (y * y).sum()]) / sigma**2
        >>> round(float(total_least_squares(np.concatenate([c, c])[None]).slope[0]), 6)
        1.0
    """
    known = np.where(sums[:, :1] > 0, sums, np.nan)
    k = np.sqrt(known[:, 0] / known[:, 3])
    c1, c2, c3, c4, c5, c6 = (known / np.stack([k**2, k, k**0, k**0, 1 / k, 1 / k**2], axis=1)).T
    # The derivative's numerator, halved, highest power first.
    derivative = np.stack([c5, 2 * c4 - c1 - c6, 3 * c2 - 3 * c5, c1 - 2 * c3 + c6, -c2])
    slope = c2 / c1
    for _ in range(_ITERATIONS):
        steep = np.zeros_like(slope)
        value = np.zeros_like(slope)
        for coefficient in derivative:
            steep = steep * slope + value
            value = value * slope + coefficient
        step = np.divide(value, steep, out=np.zeros_like(slope), where=steep > 0)
        slope = np.clip(slope - step, slope / 2, 2 * slope)
    square = slope * slope + 1
    merit = (c4 * slope**4 - 2 * c5 * slope**3 + (c1 + c6) * slope**2 - 2 * c2 * slope + c3) / square**2
    curvature = (
        -2 * c5 * slope**5
        + (3 * c1 - 6 * c4 + 3 * c6) * slope**4
        + (16 * c5 - 12 * c2) * slope**3
        + (10 * c3 - 8 * c1 + 6 * c4 - 8 * c6) * slope**2
        + (12 * c2 - 6 * c5) * slope
        + (c1 - 2 * c3 + c6)
    ) * (2 / square**4)
    variance = 2 / np.where(curvature > 0, curvature, np.nan)
    return LeastSquares(slope / k, variance / k**2, np.maximum(merit, 0.0))


def capacity_audit(
    health: pl.DataFrame,
    observations: pl.DataFrame,
    anchors: pl.DataFrame,
    tests: pl.DataFrame,
    batteries: pl.DataFrame,
) -> pl.DataFrame:
    """Set the capacity of each method beside the others, and say by how much they disagree.

    * Estimate: what `state_of_health` says of the day.
    * Anchors: approximate weighted total least squares of charge over change of the
      state of charge, over the pairs of anchors that ended in the last 90 days. Each
      day adds its six sums, in any order. The interval adds what scatter says of the
      errors, half of a pair's variance, which all pairs share, and the gain error.
    * Test: the latest discharge test up to the crossing, less the sensor's offset.

    They share the current sensor, so its gain error is not in the disagreements; they
    share anchors too, which is not taken out, so estimate and anchors should agree
    better than by chance. A test at a high rate leaves charge behind, and then it
    disagrees downwards: its C-rate stands beside it.

    Args:
        health: `StateOfHealth` rows.
        observations: `CapacityObservation` rows.
        anchors: `ChargeAnchor` rows that they were made from.
        tests: `CapacityTest` rows.
        batteries: `Battery` rows.

    Returns:
        `CapacityAudit` rows: one per battery and day for which the state of health has a row, or on which a pair
        or a test ends; sorted.
    """
    discharges = tests.filter(pl.col("kind").str.ends_with("discharge")).with_columns(date=pl.col("ended_at").dt.date())
    days = (
        pl.concat(
            [
                health.select(BATTERY_DAY),
                observations.select(*BATTERY, pl.col("ended_at").dt.date().alias("date")),
                discharges.select(BATTERY_DAY),
            ]
        )
        .unique()
        .join(batteries.select(*BATTERY, "rated_capacity_ah"), on=BATTERY, how="inner")
        .sort(BATTERY_DAY)
    )
    return (
        days.join(_estimates(health), on=BATTERY_DAY, how="left", maintain_order="left")
        .hstack(_by_anchors(days, observations, anchors))
        .pipe(_with_tests, discharges)
        .with_columns(
            estimate_to_anchors_errors=_disagreement("estimate", "anchors"),
            estimate_to_test_errors=_disagreement("estimate", "test"),
            anchors_to_test_errors=_disagreement("anchors", "test"),
        )
        .with_columns(
            largest_disagreement_errors=pl.max_horizontal(
                pl.col("estimate_to_anchors_errors", "estimate_to_test_errors", "anchors_to_test_errors").abs()
            )
        )
        .select(CapacityAudit.column_names())
        .sort(BATTERY_DAY)
        .pipe(CapacityAudit.validate)
    )


def _estimates(health: pl.DataFrame) -> pl.DataFrame:
    per_percent = pl.col("capacity_ah") / pl.col("soh_percent")
    return health.select(
        *BATTERY_DAY,
        estimate_capacity_ah="capacity_ah",
        estimate_lower_ah=pl.col("soh_lower_percent") * per_percent,
        estimate_upper_ah=pl.col("soh_upper_percent") * per_percent,
        estimate_observations="observations",
        estimate_method="method",
    )


def _by_anchors(days: pl.DataFrame, observations: pl.DataFrame, anchors: pl.DataFrame) -> pl.DataFrame:
    """Capacity by total least squares at the end of each day, in the order of the days."""
    plates = days.select(*BATTERY, "rated_capacity_ah").unique(maintain_order=True).with_row_index("battery_index")
    rows = days.join(plates.select(*BATTERY, "battery_index"), on=BATTERY, how="left", maintain_order="left")
    daily = _daily_sums(observations, anchors, plates).sort("battery_index", "date")
    window = _window_sums(
        _numbered_days(rows),
        _numbered_days(daily),
        np.stack([floats(daily[name]) for name in (*_SUMS, "pairs")], axis=1),
    )
    found = total_least_squares(window[:, : len(_SUMS)])
    pairs, rated_ah = window[:, -1], floats(rows["rated_capacity_ah"])
    scale = (_BELIEF + found.merit) / (_BELIEF + np.maximum(pairs - 1, 0))
    own = found.variance * (np.minimum(pairs, _CORRELATION) * scale + _COMMON_SHARE * pairs)
    sigma = np.sqrt(own + (GAIN_ERROR * found.slope) ** 2)
    scatter = np.sqrt(found.merit / np.where(pairs > 1, pairs - 1, np.nan))

    def known(values: Floats) -> pl.Series:
        return pl.Series(values, dtype=pl.Float64).fill_nan(None)

    return pl.DataFrame(
        {
            "anchors_capacity_ah": known(found.slope * rated_ah),
            "anchors_lower_ah": known((found.slope - NORMAL_90 * sigma) * rated_ah),
            "anchors_upper_ah": known((found.slope + NORMAL_90 * sigma) * rated_ah),
            "anchors_observations": pl.Series(pairs.astype(np.int64)),
            "anchors_scatter": known(scatter),
        }
    )


def _numbered_days(rows: pl.DataFrame) -> Ints:
    """Battery and day of each row, as two numbers."""
    days = rows["date"].to_physical().to_numpy().astype(np.int64)
    return np.stack([rows["battery_index"].to_numpy().astype(np.int64), days], axis=1).reshape(-1, 2)


@njit(cache=True)
def _window_sums(asked: Ints, daily: Ints, sums: Floats) -> Floats:
    """Sums over the window up to each battery-day, each from nothing: a sum that slides keeps what it rounded off."""
    out = np.zeros((len(asked), sums.shape[1]))
    low = 0
    for k in range(len(asked)):
        battery, day = asked[k]
        while low < len(daily) and (
            daily[low, 0] < battery or (daily[low, 0] == battery and daily[low, 1] <= day - _WINDOW_DAYS)
        ):
            low += 1
        j = low
        while j < len(daily) and daily[j, 0] == battery and daily[j, 1] <= day:
            out[k] += sums[j]
            j += 1
    return out


def _daily_sums(observations: pl.DataFrame, anchors: pl.DataFrame, rated: pl.DataFrame) -> pl.DataFrame:
    """The six sums over the pairs of anchors that end on each day."""
    errors = anchors.select(*BATTERY, "timestamp", "soc_sigma_percent")
    pairs = (
        observations.join(rated, on=BATTERY, how="inner")
        .join(
            errors.rename({"timestamp": "started_at", "soc_sigma_percent": "first_sigma"}), on=[*BATTERY, "started_at"]
        )
        .join(errors.rename({"timestamp": "ended_at", "soc_sigma_percent": "second_sigma"}), on=[*BATTERY, "ended_at"])
        .with_columns(
            date=pl.col("ended_at").dt.date(),
            x=pl.col("soc_change_percent") / 100,
            x_variance=(pl.col("first_sigma") ** 2 + pl.col("second_sigma") ** 2) / 1e4,
            relative=pl.col("capacity_sigma_ah") / pl.col("capacity_ah"),
        )
        .with_columns(y=pl.col("x") * pl.col("capacity_ah") / pl.col("rated_capacity_ah"))
        .with_columns(
            # What a pair's error holds beyond that of its anchors, and beyond the gain, which all pairs share.
            y_variance=(pl.col("relative") ** 2 - pl.col("x_variance") / pl.col("x") ** 2 - GAIN_ERROR**2).clip(
                lower_bound=_LEAST_ERROR**2
            )
            * pl.col("y") ** 2
        )
        .sort(*BATTERY_DAY, "ended_at", "started_at")
    )
    x, y, in_x, in_y = pl.col("x"), pl.col("y"), pl.col("x_variance"), pl.col("y_variance")
    return pairs.group_by("battery_index", "date", maintain_order=True).agg(
        c1=(x * x / in_y).sum(),
        c2=(x * y / in_y).sum(),
        c3=(y * y / in_y).sum(),
        c4=(x * x / in_x).sum(),
        c5=(x * y / in_x).sum(),
        c6=(y * y / in_x).sum(),
        pairs=pl.len().cast(pl.Int64),
    )


def _with_tests(days: pl.DataFrame, discharges: pl.DataFrame) -> pl.DataFrame:
    """The latest discharge test of each day or before, and how many there were."""
    offset = pl.col("sensor_offset_ah").fill_null(0)
    told = (
        discharges.sort(*BATTERY_DAY, "ended_at", "started_at")
        .select(
            *BATTERY_DAY,
            test_capacity_ah=pl.col("capacity_at_crossing_ah") - offset,
            test_lower_ah=pl.col("capacity_lower_ah") - offset,
            test_upper_ah=pl.col("capacity_upper_ah") - offset,
            tests=pl.int_range(1, pl.len() + 1).over(BATTERY).cast(pl.Int64),
            test_ended_at="ended_at",
            test_kind="kind",
            test_c_rate="c_rate",
        )
        .unique(BATTERY_DAY, keep="last", maintain_order=True)
    )
    asked = pl.concat([days.select(BATTERY_DAY), told], how="diagonal").sort(*BATTERY_DAY, "tests", nulls_last=False)
    carried = asked.with_columns(pl.exclude(BATTERY_DAY).forward_fill().over(BATTERY)).unique(
        BATTERY_DAY, keep="last", maintain_order=True
    )
    return days.join(carried, on=BATTERY_DAY, how="left", maintain_order="left").with_columns(
        pl.col("tests").fill_null(0)
    )


def _disagreement(one: str, other: str) -> pl.Expr:
    """Difference of two methods in standard errors, the gain of the sensor left out."""

    def variance(name: str) -> pl.Expr:
        capacity = pl.col(f"{name}_capacity_ah")
        whole = ((pl.col(f"{name}_upper_ah") - pl.col(f"{name}_lower_ah")) / (2 * NORMAL_90)) ** 2
        return pl.max_horizontal(whole - (GAIN_ERROR * capacity) ** 2, (_LEAST_ERROR * capacity) ** 2)

    known = pl.all_horizontal(pl.col(f"{name}_{part}_ah").is_not_null() for name in (one, other) for part in
                              ("capacity", "lower", "upper"))  # fmt: skip
    apart = pl.col(f"{one}_capacity_ah") - pl.col(f"{other}_capacity_ah")
    return pl.when(known).then(apart / (variance(one) + variance(other)).sqrt())
