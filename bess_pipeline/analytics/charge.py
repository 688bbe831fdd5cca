"""The 5-minute rows that analysts see: what was measured, and how full the battery was."""

from __future__ import annotations

import polars as pl

from bess_pipeline.tables.columns import NORMAL_90
from bess_pipeline.tables.keys import BATTERY
from bess_pipeline.tables.telemetry import INTERVAL_US, ClosedInterval5min, Telemetry5min

#: What lasting errors of the model add to the filter's standard error: a factor, and at least so much [%]. Fleets of
#: one's own simulator, whose curves err less, would do with 1.0 and 0.2.
INFLATION, LEAST_SIGMA = 1.5, 0.3

_METHOD, _NO_VOLTAGE = "state filter, smoothed", "no voltage"


def telemetry_5min(intervals: pl.DataFrame, estimates: pl.DataFrame, batteries: pl.DataFrame) -> pl.DataFrame:
    """Put the state of charge beside what was measured, with a 90 % interval.

    The interval is the filter's, widened by what it was found to be too narrow by on
    simulated fleets. Batteries whose voltage was never known have no state of charge.

    Args:
        intervals: `ClosedInterval5min` rows, without the offset of the current sensor.
        estimates: `ChargeEstimate` rows of the same intervals.
        batteries: `Battery` rows.

    Returns:
        `Telemetry5min` rows, sorted by battery and start.
    """
    soc = pl.col("soc_percent")
    sigma = (INFLATION**2 * pl.col("soc_sigma_percent") ** 2 + LEAST_SIGMA**2).sqrt()
    observed = pl.when(pl.col("current_observed_us") > 0).then("current_observed_us").otherwise("power_observed_us")
    return (
        intervals.select(ClosedInterval5min.column_names())
        .join(batteries.select(BATTERY), on=BATTERY, how="semi")
        .join(
            estimates.select(*BATTERY, "timestamp", "soc_percent", "soc_sigma_percent"),
            on=[*BATTERY, "timestamp"],
            how="left",
        )
        .with_columns(
            soc_lower_percent=soc - NORMAL_90 * sigma,
            soc_upper_percent=soc + NORMAL_90 * sigma,
            soc_method=pl.when(soc.is_not_null()).then(pl.lit(_METHOD)).otherwise(pl.lit(_NO_VOLTAGE)),
            coverage_fraction=(observed.cast(pl.Float64) / INTERVAL_US).clip(0, 1).fill_null(0.0),
        )
        .select(Telemetry5min.column_names())
        .sort(*BATTERY, "timestamp")
    )
