"""Balance: cells against each other at rest, and the warmth of a battery over the day."""

from __future__ import annotations

import numpy as np
import polars as pl
from polars import selectors as cs

from bess_pipeline.analytics.ocv import OcvTable, ocv_table, rested_charge
from bess_pipeline.analytics.traces import floats
from bess_pipeline.arrays import Floats, Ints
from bess_pipeline.tables.balance import SOC_BINS, CellBalance
from bess_pipeline.tables.keys import BATTERY, BATTERY_DAY

#: Largest current at rest [C], and the 5-minute rows that it must have lasted before one that counts.
REST_RATE, REST_ROWS = 0.02, 6
#: Standard errors: of an extreme cell's voltage, and of the mean cell's where only the extremes are known [V].
_EXTREME_VOLT, _MIDDLE_VOLT = 0.002, 0.003
#: The open-circuit curve's own error [V], and the share by which its slope may be wrong.
_CURVE_VOLT, _SLOPE_SHARE = 0.010, 0.3
#: A state of charge is told when the curve's error leaves it within this,
#: a deviation when its error is within this [%].
_WORST_SOC, _WORST_DEVIATION = 12.0, 5.0
#: A gradient is taken over this many rows, and told from this many of them.
_GRADIENT_ROWS, _LEAST_GRADIENTS = 6, 12


def cell_balance(
    intervals: pl.DataFrame,
    evidence: pl.DataFrame,
    cell_evidence: pl.DataFrame,
    batteries: pl.DataFrame,
    curves: pl.DataFrame,
) -> pl.DataFrame:
    """How far the cells of each battery are apart, day by day.

    At rest (a current within 0.02 C for 30 minutes) the voltages of the lowest, the
    highest and the mean cell are read as states of charge off the open-circuit curve.
    Their differences are the deficit of the lowest and the excess of the highest cell,
    and together the imbalance. Errors of the curve move all three alike; what remains is
    2 mV per extreme through the local slope, and three tenths of the difference for a
    slope that is wrong. Where the curve is too flat to say where on it the cells are, as on the
    plateau of LFP, nothing is told.

    The mean cell is the battery's voltage over its cells in series; the middle of the
    extremes, with a larger error, where that is unknown. The extremes of a row are those of its
    samples, so that noise drives them apart; the mean spread of the samples corrects that.

    Args:
        intervals: `ClosedInterval5min` rows.
        evidence: `DayEvidence` rows.
        cell_evidence: `CellEvidence` rows; none where cells are not told one by one.
        batteries: `Battery` rows.
        curves: `OcvPoint` rows.

    Returns:
        `CellBalance` rows, one per battery and day of `intervals`; sorted.
    """
    days = intervals.select(BATTERY_DAY).unique().sort(BATTERY_DAY)
    heat = evidence.select(
        *BATTERY_DAY, "temperature_range_p95_kelvin", hot_spot_p95_kelvin="temperature_spread_p95_kelvin"
    )
    frames = (_rested(intervals, batteries, curves), heat, _gradients(intervals), _weakest(cell_evidence))
    for frame in frames:
        days = days.join(frame, on=BATTERY_DAY, how="left", maintain_order="left")
    return (
        days.with_columns(pl.col("rest_intervals").fill_null(0), cs.float().fill_nan(None))
        .select(CellBalance.column_names())
        .sort(BATTERY_DAY)
        .pipe(CellBalance.validate)
    )


def _rested(intervals: pl.DataFrame, batteries: pl.DataFrame, curves: pl.DataFrame) -> pl.DataFrame:
    plates = batteries.sort(BATTERY).with_row_index("battery_index")
    names = ("battery_index", "rated_capacity_ah", "cells_in_series")
    still = pl.col("current_abs_max_ampere") <= REST_RATE * pl.col("rated_capacity_ah")
    whole = still.fill_null(value=False).cast(pl.Int64).rolling_sum(REST_ROWS + 1).over(BATTERY) == REST_ROWS + 1
    since = pl.col("timestamp") - pl.col("timestamp").shift(REST_ROWS).over(BATTERY)
    rows = (
        intervals.join(plates.select(*BATTERY, *names), on=BATTERY, how="inner")
        .sort(*BATTERY, "timestamp")
        .filter(whole & (since == pl.duration(minutes=5 * REST_ROWS)))
        .filter((pl.col("cells_in_series") != 1).fill_null(value=True))
        .drop_nulls(["cell_voltage_min_volt", "cell_voltage_max_volt", "cell_voltage_spread_volt"])
    )
    middle = (floats(rows["cell_voltage_min_volt"]) + floats(rows["cell_voltage_max_volt"])) / 2
    spread = floats(rows["cell_voltage_spread_volt"])
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = floats(rows["voltage_volt"]) / floats(rows["cells_in_series"])
    read = _deviations(
        np.where(np.isfinite(mean), mean, middle),
        np.where(np.isfinite(mean), 0.0, _MIDDLE_VOLT),
        middle,
        spread,
        rows["battery_index"].to_numpy().astype(np.int64),
        ocv_table(plates, curves),
    )
    told = rows.select(*BATTERY_DAY, "timestamp", spread="cell_voltage_spread_volt").with_columns(
        **{name: pl.Series(values, dtype=pl.Float64).fill_nan(None) for name, values in read.items()}
    )
    within = {name: (pl.col("place") >= low) & (pl.col("place") < high) for name, (low, high) in SOC_BINS.items()}
    return told.group_by(BATTERY_DAY, maintain_order=True).agg(
        rest_intervals=pl.len().cast(pl.Int64),
        **{f"rest_spread_{name}_volt": pl.col("spread").filter(here).median() for name, here in within.items()},
        **_weighted("imbalance", "imbalance", pl.lit(value=True)),
        **{
            name: value
            for kind in ("deficit", "excess")
            for bin_name, here in within.items()
            for name, value in _weighted(kind, f"{kind}_{bin_name}", here).items()
        },
    )


def _deviations(
    mean: Floats, mean_error: Floats, middle: Floats, spread: Floats, battery: Ints, table: OcvTable
) -> dict[str, Floats]:
    """States of charge of lowest, highest and mean cell, as differences with errors, elementwise; NaN where untold."""
    count = len(mean)
    at = rested_charge(mean, battery, table, sigma_volt=np.full(count, _CURVE_VOLT))
    low = rested_charge(middle - spread / 2, battery, table, sigma_volt=np.hypot(_EXTREME_VOLT, mean_error))
    high = rested_charge(middle + spread / 2, battery, table, sigma_volt=np.hypot(_EXTREME_VOLT, mean_error))
    sure = at.sigma_percent < _WORST_SOC
    found = {"place": at.soc_percent}
    for name, value, own in (
        ("deficit", at.soc_percent - low.soc_percent, low.sigma_percent),
        ("excess", high.soc_percent - at.soc_percent, high.sigma_percent),
        ("imbalance", high.soc_percent - low.soc_percent, np.hypot(low.sigma_percent, high.sigma_percent)),
    ):
        sigma = np.hypot(own, _SLOPE_SHARE * value)
        told = sure & (sigma < _WORST_DEVIATION)
        found |= {name: np.where(told, value, np.nan), f"{name}_sigma": np.where(told, sigma, np.nan)}
        found[f"{name}_soc"] = np.where(told, np.clip(at.soc_percent, 0.0, 100.0), np.nan)
    return found


def _weighted(name: str, as_name: str, here: pl.Expr) -> dict[str, pl.Expr]:
    """Means by inverse variance, and the error of the best row: errors of curve and sensors do not average out."""
    value, sigma, soc = (pl.col(column).filter(here) for column in (name, f"{name}_sigma", f"{name}_soc"))
    weight = 1 / sigma**2

    def mean(of: pl.Expr) -> pl.Expr:
        return pl.when(weight.count() > 0).then((of * weight).sum() / weight.sum())

    return {
        f"{as_name}_percent": mean(value),
        f"{as_name}_sigma_percent": sigma.min(),
        f"{as_name}_soc_percent": mean(soc),
    }


def _gradients(intervals: pl.DataFrame) -> pl.DataFrame:
    """Fastest rise and fall of the mean temperature over half an hour."""

    def ago(name: str) -> pl.Expr:
        return pl.col(name).shift(_GRADIENT_ROWS).over(BATTERY)

    unbroken = pl.col("timestamp") - ago("timestamp") == pl.duration(minutes=5 * _GRADIENT_ROWS)
    pace = (pl.col("temperature_celsius") - ago("temperature_celsius")) * (12 / _GRADIENT_ROWS)
    enough = pl.col("pace").count() >= _LEAST_GRADIENTS
    return (
        intervals.sort(*BATTERY, "timestamp")
        .with_columns(pace=pl.when(unbroken).then(pace))
        .group_by(BATTERY_DAY, maintain_order=True)
        .agg(
            heating_kelvin_per_hour=pl.when(enough).then(pl.col("pace").max().clip(lower_bound=0.0)),
            cooling_kelvin_per_hour=pl.when(enough).then((-pl.col("pace").min()).clip(lower_bound=0.0)),
        )
    )


def _weakest(cell_evidence: pl.DataFrame) -> pl.DataFrame:
    """The cell that is lowest below the others where these are low; at rest, where no such deviation is known."""
    own = pl.coalesce("low_deviation", "resting_deviation")
    return (
        cell_evidence.filter(pl.col("kind") == "voltage")
        .with_columns(weakest_cell_deviation_volt=own)
        .filter(pl.col("weakest_cell_deviation_volt") < 0)
        .sort(*BATTERY_DAY, "weakest_cell_deviation_volt", "position", "component")
        .group_by(BATTERY_DAY, maintain_order=True)
        .agg(
            weakest_cell=pl.col("component").first(),
            weakest_cell_deviation_volt=pl.first("weakest_cell_deviation_volt"),
        )
    )
