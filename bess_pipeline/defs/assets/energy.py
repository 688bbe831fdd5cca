"""Energy accounts and cycles, by battery and by fleet."""

import dagster as dg
import polars as pl

from bess_pipeline.analytics import cycles as rainflow
from bess_pipeline.analytics import energy, fleet, offsets
from bess_pipeline.defs.house import spec
from bess_pipeline.tables import catalog


@dg.asset(**spec(catalog.CYCLES))
def cycles(telemetry_5min: pl.DataFrame) -> pl.DataFrame:
    return rainflow.cycles(telemetry_5min)


@dg.asset(**spec(catalog.BATTERY_DAILY))
def battery_daily(
    telemetry_5min: pl.DataFrame,
    day_evidence: pl.DataFrame,
    closed_intervals: pl.DataFrame,
    current_offsets: pl.DataFrame,
    batteries: pl.DataFrame,
) -> pl.DataFrame:
    counted = offsets.without_offset(closed_intervals, current_offsets, batteries)
    return energy.battery_daily(telemetry_5min, day_evidence, counted, batteries)


@dg.asset(**spec(catalog.FLEET_DAILY))
def fleet_daily(battery_daily: pl.DataFrame, batteries: pl.DataFrame) -> pl.DataFrame:
    return fleet.fleet_daily(battery_daily, batteries)
