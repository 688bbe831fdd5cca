"""Every hour: what it says of a battery, and the lane that looks for danger in it."""

import dagster as dg
import polars as pl

from bess_pipeline.analytics import day_shapes, hours, safety
from bess_pipeline.defs.groups import by_battery_or_days
from bess_pipeline.defs.house import spec
from bess_pipeline.defs.increments import Reach
from bess_pipeline.tables import catalog


@dg.asset(**spec(catalog.HOURLY_EVIDENCE, Reach()))
@by_battery_or_days
def hourly_evidence(closed_intervals: pl.DataFrame, batteries: pl.DataFrame) -> pl.DataFrame:
    return hours.hourly_evidence(closed_intervals, batteries)


@dg.asset(**spec(catalog.SAFETY_SIGNALS, Reach(before=safety.BEFORE.days)))
def safety_signals(hourly_evidence: pl.DataFrame) -> pl.DataFrame:
    return safety.safety_signals(hourly_evidence)


@dg.asset(**spec(catalog.SHAPE_SIGNALS, Reach(before=day_shapes.BEFORE.days)))
def shape_signals(hourly_evidence: pl.DataFrame) -> pl.DataFrame:
    return day_shapes.shape_signals(hourly_evidence)
