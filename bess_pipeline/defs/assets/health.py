"""What the whole history of a fleet says of its batteries' capacity, resistance and charge."""

import dagster as dg
import polars as pl

from bess_pipeline.analytics import anchors, capacity, charge, health, intervals
from bess_pipeline.defs.house import spec
from bess_pipeline.tables import catalog


@dg.asset(**spec(catalog.CLOSED_INTERVALS))
def closed_intervals(intervals_5min: pl.DataFrame, day_evidence: pl.DataFrame, batteries: pl.DataFrame) -> pl.DataFrame:
    return intervals.closed(intervals_5min, day_evidence, batteries)


@dg.asset(**spec(catalog.CHARGE_ANCHORS))
def charge_anchors(closed_intervals: pl.DataFrame, batteries: pl.DataFrame, ocv_curves: pl.DataFrame) -> pl.DataFrame:
    return anchors.charge_anchors(closed_intervals, batteries, ocv_curves)


@dg.asset(**spec(catalog.CAPACITY_OBSERVATIONS))
def capacity_observations(
    closed_intervals: pl.DataFrame, charge_anchors: pl.DataFrame, day_evidence: pl.DataFrame, batteries: pl.DataFrame
) -> pl.DataFrame:
    return capacity.capacity_observations(closed_intervals, charge_anchors, day_evidence, batteries)


@dg.asset(**spec(catalog.STATE_OF_HEALTH))
def state_of_health(
    capacity_observations: pl.DataFrame,
    closed_intervals: pl.DataFrame,
    day_evidence: pl.DataFrame,
    batteries: pl.DataFrame,
) -> pl.DataFrame:
    return health.state_of_health(capacity_observations, closed_intervals, day_evidence, batteries)


@dg.asset(**spec(catalog.TELEMETRY_5MIN))
def telemetry_5min(
    closed_intervals: pl.DataFrame,
    charge_anchors: pl.DataFrame,
    state_of_health: pl.DataFrame,
    batteries: pl.DataFrame,
    ocv_curves: pl.DataFrame,
) -> pl.DataFrame:
    return charge.telemetry_5min(closed_intervals, charge_anchors, state_of_health, batteries, ocv_curves)
