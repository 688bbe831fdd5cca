"""Data quality: what became of every row received, how much of each day was seen, and when it came."""

import dagster as dg
import polars as pl

from bess_pipeline.analytics import arrivals, quality
from bess_pipeline.defs.groups import by_battery_or_days
from bess_pipeline.defs.house import spec
from bess_pipeline.defs.increments import Reach
from bess_pipeline.defs.resources import Home
from bess_pipeline.tables import catalog


@dg.asset(**spec(catalog.DATA_QUALITY_DAILY, columns={catalog.BATTERY_DATA_QUALITY_DAILY: quality.READS_BATTERIES}))
def data_quality_daily(
    landing_days: pl.DataFrame,
    landing_files: pl.DataFrame,
    row_accounts: pl.DataFrame,
    battery_data_quality_daily: pl.DataFrame,
) -> pl.DataFrame:
    return quality.data_quality_daily(landing_days, landing_files, row_accounts, battery_data_quality_daily)


@dg.asset(**spec(catalog.INTERVAL_QUALITY, Reach(ahead=1)))
@by_battery_or_days
def interval_quality(closed_intervals: pl.DataFrame, repairs: pl.DataFrame, batteries: pl.DataFrame) -> pl.DataFrame:
    return quality.interval_quality(closed_intervals, repairs, batteries)


@dg.asset(**spec(catalog.BATTERY_DATA_QUALITY_DAILY, Reach(before=61)))
def battery_data_quality_daily(
    day_evidence: pl.DataFrame, interval_quality: pl.DataFrame, row_accounts: pl.DataFrame
) -> pl.DataFrame:
    return quality.battery_data_quality_daily(day_evidence, interval_quality, row_accounts)


@dg.asset(**spec(catalog.ARRIVALS_DAILY))
def arrivals_daily(
    landing_days: pl.DataFrame,
    landing_files: pl.DataFrame,
    data_quality_daily: pl.DataFrame,
    home: dg.ResourceParam[Home],
) -> pl.DataFrame:
    late_after = home.settings.late_after_hours
    return arrivals.arrivals_daily(landing_days, landing_files, data_quality_daily, late_after_hours=late_after)
