"""Capacity measured directly, and the capacity of each method beside the others."""

import dagster as dg
import polars as pl

from bess_pipeline.analytics import capacity_audit as audit
from bess_pipeline.analytics import direct_capacity
from bess_pipeline.defs.house import spec
from bess_pipeline.tables import catalog


@dg.asset(**spec(catalog.CAPACITY_TESTS))
def capacity_tests(
    capacity_evidence: pl.DataFrame,
    closed_intervals: pl.DataFrame,
    current_offsets: pl.DataFrame,
    repairs: pl.DataFrame,
    batteries: pl.DataFrame,
) -> pl.DataFrame:
    return direct_capacity.capacity_tests(capacity_evidence, closed_intervals, current_offsets, repairs, batteries)


@dg.asset(**spec(catalog.CAPACITY_AUDIT))
def capacity_audit(
    state_of_health: pl.DataFrame,
    capacity_observations: pl.DataFrame,
    charge_anchors: pl.DataFrame,
    capacity_tests: pl.DataFrame,
    batteries: pl.DataFrame,
) -> pl.DataFrame:
    return audit.capacity_audit(state_of_health, capacity_observations, charge_anchors, capacity_tests, batteries)
