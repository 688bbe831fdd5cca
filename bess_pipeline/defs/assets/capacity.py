"""Capacity measured directly, and the capacity of each method beside the others."""

from collections.abc import Iterator

import dagster as dg
import polars as pl

from bess_pipeline.analytics import capacity_audit as audit
from bess_pipeline.analytics import direct_capacity
from bess_pipeline.analytics.capacity_counts import LONGEST_DAYS
from bess_pipeline.defs.groups import by_battery
from bess_pipeline.defs.house import outs, spec
from bess_pipeline.defs.increments import Reach
from bess_pipeline.tables import catalog


@dg.multi_asset(
    name="tested",
    **outs(
        catalog.CAPACITY_TESTS,
        catalog.TEST_MEMORY,
        reach=Reach(
            before=LONGEST_DAYS + 1,
            ahead=4,
            memory=catalog.TEST_MEMORY,
            whole=(catalog.CURRENT_OFFSETS, catalog.REPAIRS),
        ),
    ),
)
@by_battery
def tested(
    capacity_evidence: pl.DataFrame,
    closed_intervals: pl.DataFrame,
    current_offsets: pl.DataFrame,
    repairs: pl.DataFrame,
    batteries: pl.DataFrame,
    test_memory_before: pl.DataFrame,
) -> Iterator[dg.Output[pl.DataFrame]]:
    """Measure capacity wherever a battery goes from one end of its voltage to the other."""
    found = direct_capacity.capacity_tests(
        capacity_evidence, closed_intervals, current_offsets, repairs, batteries, test_memory_before
    )
    yield dg.Output(found.tests, catalog.CAPACITY_TESTS.name)
    yield dg.Output(found.memory, catalog.TEST_MEMORY.name)


@dg.asset(**spec(catalog.CAPACITY_AUDIT, Reach(before=audit.BEFORE.days, whole=(catalog.CAPACITY_TESTS,))))
def capacity_audit(
    state_of_health: pl.DataFrame,
    capacity_observations: pl.DataFrame,
    charge_anchors: pl.DataFrame,
    capacity_tests: pl.DataFrame,
    batteries: pl.DataFrame,
) -> pl.DataFrame:
    return audit.capacity_audit(state_of_health, capacity_observations, charge_anchors, capacity_tests, batteries)
