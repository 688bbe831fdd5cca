"""Hours of a battery, condensed from its 5-minute rows."""

from __future__ import annotations

import polars as pl

from bess_pipeline.analytics.feature_evidence import LOAD, middle_of
from bess_pipeline.tables.hours import HourlyEvidence
from bess_pipeline.tables.keys import BATTERY


def hourly_evidence(intervals: pl.DataFrame, batteries: pl.DataFrame) -> pl.DataFrame:
    """How far the lowest cell and the hottest probe are from the average, hour by hour.

    The medians of the hour's 5-minute rows: one row that is off does not move them. The
    lowest cell counts only while the mean cell is between the steep ends of the open-circuit curve,
    where a cell that holds less charge than the others lies below them whatever it does.

    Args:
        intervals: `ClosedInterval5min` rows.
        batteries: `Battery` rows.

    Returns:
        `HourlyEvidence` rows, sorted by battery and hour. An hour rests on its own rows.
    """
    plates = batteries.select(*BATTERY, "chemistry", "cells_in_series")
    cells = pl.col("cells_in_series")
    mean_cell = pl.col("voltage_min_volt") / cells
    low, high = middle_of("chemistry")
    below = pl.when((cells > 1) & mean_cell.is_between(low - LOAD, high + LOAD)).then(
        mean_cell - pl.col("cell_voltage_min_volt")
    )
    return (
        intervals.join(plates, on=BATTERY, how="inner")
        .with_columns(
            below=below,
            above=pl.col("temperature_max_celsius") - pl.col("temperature_celsius"),
            mean_cell=pl.col("voltage_volt") / cells,
            hour=pl.col("timestamp").dt.truncate("1h"),
        )
        .sort(*BATTERY, "timestamp")
        .group_by(*BATTERY, "hour", maintain_order=True)
        .agg(
            date=pl.col("date").first(),
            observed_until=pl.col("timestamp").max() + pl.duration(minutes=5),
            intervals=pl.len().cast(pl.Int64),
            cell_below_volt=pl.col("below").median(),
            hot_spot_kelvin=pl.col("above").median(),
            cell_voltage_mean_volt=pl.col("mean_cell").mean(),
            temperature_celsius=pl.col("temperature_celsius").mean(),
        )
        .rename({"hour": "timestamp"})
        .select(HourlyEvidence.column_names())
        .pipe(HourlyEvidence.validate)
    )
