"""Time in bands of state of charge, temperature and C-rate."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import numpy as np
import polars as pl

from bess_pipeline.tables.bands import QUANTITIES, TimeInBand
from bess_pipeline.tables.keys import BATTERY, BATTERY_DAY
from bess_pipeline.tables.telemetry import INTERVAL_US
from bess_pipeline.units import US_PER_HOUR

#: Where one band ends and the next begins: state of charge [%], temperature [°C], C-rate [C], positive charges.
#: A C-rate within 0.01 is idling.
EDGES: Mapping[str, tuple[float, ...]] = {
    "soc": (0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100),
    "temperature": (0, 10, 15, 20, 25, 30, 35, 40, 45, 60),
    "c_rate": (-2, -1, -0.5, -0.25, -0.1, -0.01, 0.01, 0.1, 0.25, 0.5, 1, 2),
}


def time_in_bands(telemetry: pl.DataFrame, intervals: pl.DataFrame, batteries: pl.DataFrame) -> pl.DataFrame:
    """Add up the time that each battery spent in each band, day by day.

    A row of 5 minutes is in one band, that of its mean: of the state of charge the
    middle between its start and the next row's, where that follows at once. It counts
    for as long as the quantity was seen. C-rates are of rated capacity. A band holds
    its lower end; those at either end are open.

    Args:
        telemetry: `Telemetry5min` rows.
        intervals: `ClosedInterval5min` rows of the same batteries.
        batteries: `Battery` rows.

    Returns:
        `TimeInBand` rows, sorted; bands in which no time was spent have none.
    """
    in_turn = telemetry.select(*BATTERY, "timestamp", "soc_percent").sort(*BATTERY, "timestamp")
    follows = (pl.col("timestamp").shift(-1) - pl.col("timestamp") == pl.duration(microseconds=INTERVAL_US)) & (
        pl.struct(BATTERY) == pl.struct(BATTERY).shift(-1)
    )
    ahead = pl.when(follows).then(pl.col("soc_percent").shift(-1))
    rows = (
        intervals.select(
            *BATTERY,
            "date",
            "timestamp",
            "temperature_celsius",
            "temperature_observed_us",
            "current_ampere",
            "current_observed_us",
            "power_observed_us",
        )
        .join(batteries.select(*BATTERY, "rated_capacity_ah"), on=BATTERY, how="inner")
        .join(
            in_turn.with_columns(soc=(pl.col("soc_percent") + pl.coalesce(ahead, "soc_percent")) / 2),
            on=[*BATTERY, "timestamp"],
            how="left",
        )
        .select(
            *BATTERY,
            "date",
            "soc",
            soc_us=pl.max_horizontal("current_observed_us", "power_observed_us"),
            temperature="temperature_celsius",
            temperature_us="temperature_observed_us",
            c_rate=pl.col("current_ampere") / pl.col("rated_capacity_ah"),
            c_rate_us="current_observed_us",
        )
    )
    return (
        pl.concat(_of(rows, name) for name in QUANTITIES)
        .select(TimeInBand.column_names())
        .sort(*BATTERY_DAY, "quantity", "position")
        .pipe(TimeInBand.validate)
    )


def _of(rows: pl.DataFrame, name: str) -> pl.DataFrame:
    """Time in the bands of one quantity."""
    edges = EDGES[name]
    lower, upper = [None, *edges], [*edges, None]
    words = [f"below {upper[0]:g}", *(f"{a:g} to {b:g}" for a, b in pairwise(edges))]
    bands = pl.DataFrame(
        {
            "position": range(len(edges) + 1),
            "band": [*words, f"{lower[-1]:g} and above"],
            "band_lower": lower,
            "band_upper": upper,
        },
        schema={"position": pl.Int64, "band": pl.String, "band_lower": pl.Float64, "band_upper": pl.Float64},
    )
    known = rows.select(*BATTERY_DAY, value=name, us=pl.col(f"{name}_us").clip(0, INTERVAL_US)).drop_nulls("value")
    return (
        known.with_columns(
            position=pl.Series(np.searchsorted(np.array(edges), known["value"].to_numpy(), side="right")).cast(pl.Int64)
        )
        .filter(pl.col("us") > 0)
        .group_by(*BATTERY_DAY, "position")
        .agg(observed_hours=pl.col("us").sum() / US_PER_HOUR)
        .join(bands, on="position", how="left")
        .with_columns(quantity=pl.lit(name))
    )
