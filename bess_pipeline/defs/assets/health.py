"""What the whole history of a fleet says of its batteries' capacity, resistance and charge."""

from collections.abc import Iterator

import dagster as dg
import polars as pl

from bess_pipeline.analytics import (
    anchors,
    balance,
    capacity,
    charge,
    health,
    intervals,
    normalized_resistance,
    offsets,
    resistance,
    usable,
)
from bess_pipeline.analytics import battery_states as estimating
from bess_pipeline.analytics import repairs as repairing
from bess_pipeline.analytics import resistance_evidence as measuring
from bess_pipeline.analytics.health_memory import health_memory
from bess_pipeline.defs.groups import by_battery, by_battery_or_days
from bess_pipeline.defs.house import outs, spec
from bess_pipeline.defs.increments import Reach
from bess_pipeline.tables import catalog


@dg.multi_asset(
    name="repaired",
    **outs(
        catalog.REPAIRS,
        catalog.REPAIR_MEMORY,
        reach=Reach(before=1, ahead=repairing.AHEAD_DAYS, memory=catalog.REPAIR_MEMORY),
    ),
)
@by_battery
def repaired(
    intervals_5min: pl.DataFrame, batteries: pl.DataFrame, repair_memory_before: pl.DataFrame
) -> Iterator[dg.Output[pl.DataFrame]]:
    """Find what is in another unit, or of the wrong sign."""
    found = repairing.repairs(intervals_5min, batteries, repair_memory_before)
    yield dg.Output(found.repairs, catalog.REPAIRS.name)
    yield dg.Output(found.memory, catalog.REPAIR_MEMORY.name)


@dg.asset(**spec(catalog.CLOSED_INTERVALS, Reach(before=1, ahead=1)))
@by_battery_or_days
def closed_intervals(
    intervals_5min: pl.DataFrame, day_evidence: pl.DataFrame, repairs: pl.DataFrame, batteries: pl.DataFrame
) -> pl.DataFrame:
    return repairing.repaired(intervals.closed(intervals_5min, day_evidence, batteries), repairs)


@dg.multi_asset(
    name="anchored",
    **outs(
        catalog.CHARGE_ANCHORS,
        catalog.ANCHOR_MEMORY,
        reach=Reach(before=2, ahead=1, memory=catalog.ANCHOR_MEMORY),
    ),
)
@by_battery
def anchored(
    closed_intervals: pl.DataFrame,
    batteries: pl.DataFrame,
    ocv_curves: pl.DataFrame,
    anchor_memory_before: pl.DataFrame,
) -> Iterator[dg.Output[pl.DataFrame]]:
    """Find instants at which voltage alone says how full a battery is."""
    found = anchors.charge_anchors(closed_intervals, batteries, ocv_curves, anchor_memory_before)
    yield dg.Output(found.anchors, catalog.CHARGE_ANCHORS.name)
    yield dg.Output(found.memory, catalog.ANCHOR_MEMORY.name)


@dg.multi_asset(
    name="estimated",
    **outs(
        catalog.CHARGE_ESTIMATES,
        catalog.BATTERY_STATES,
        catalog.FILTER_MEMORY,
        reach=Reach(block=estimating.BLOCK_DAYS, memory=catalog.FILTER_MEMORY),
    ),
)
@by_battery
def estimated(
    closed_intervals: pl.DataFrame,
    batteries: pl.DataFrame,
    ocv_curves: pl.DataFrame,
    filter_memory_before: pl.DataFrame,
) -> Iterator[dg.Output[pl.DataFrame]]:
    """Estimate charge, capacity, resistance and the sensor's offset together, row by row."""
    found = estimating.estimates(closed_intervals, batteries, ocv_curves, filter_memory_before)
    yield dg.Output(found.charge, catalog.CHARGE_ESTIMATES.name)
    yield dg.Output(found.states, catalog.BATTERY_STATES.name)
    yield dg.Output(found.memory, catalog.FILTER_MEMORY.name)


@dg.asset(**spec(catalog.CURRENT_OFFSETS, Reach()))
def current_offsets(battery_states: pl.DataFrame, batteries: pl.DataFrame) -> pl.DataFrame:
    return offsets.current_offsets(battery_states, batteries)


@dg.asset(**spec(catalog.CAPACITY_OBSERVATIONS, Reach(before=16, ahead=1)))
@by_battery
def capacity_observations(
    closed_intervals: pl.DataFrame, current_offsets: pl.DataFrame, charge_anchors: pl.DataFrame, batteries: pl.DataFrame
) -> pl.DataFrame:
    counted = offsets.without_offset(closed_intervals, current_offsets, batteries)
    return capacity.capacity_observations(counted, charge_anchors, batteries)


@dg.asset(**spec(catalog.RESISTANCE_EVIDENCE, Reach(before=1)))
@by_battery_or_days
def resistance_evidence(closed_intervals: pl.DataFrame, batteries: pl.DataFrame) -> pl.DataFrame:
    return measuring.resistance_evidence(closed_intervals, batteries)


@dg.asset(**spec(catalog.STEP_RESISTANCE, Reach()))
@by_battery_or_days
def step_resistance(closed_intervals: pl.DataFrame, batteries: pl.DataFrame) -> pl.DataFrame:
    return resistance.step_resistance(closed_intervals, batteries)


@dg.multi_asset(
    name="resisting",
    **outs(
        catalog.RESISTANCE_DAILY,
        catalog.RESISTANCE_MEMORY,
        reach=Reach(memory=catalog.RESISTANCE_MEMORY, back=normalized_resistance.BEFORE.days),
    ),
)
def resisting(
    resistance_evidence: pl.DataFrame,
    step_resistance: pl.DataFrame,
    batteries: pl.DataFrame,
    resistance_memory_before: pl.DataFrame,
) -> Iterator[dg.Output[pl.DataFrame]]:
    """Follow each battery's resistance through its steps, whatever the warmth and the charge at which they were."""
    found = resistance.resistance_daily(resistance_evidence, step_resistance, batteries, resistance_memory_before)
    yield dg.Output(found.daily, catalog.RESISTANCE_DAILY.name)
    yield dg.Output(found.memory, catalog.RESISTANCE_MEMORY.name)


@dg.asset(**spec(catalog.CELL_BALANCE, Reach(before=1)))
@by_battery_or_days
def cell_balance(
    closed_intervals: pl.DataFrame,
    day_evidence: pl.DataFrame,
    cell_evidence: pl.DataFrame,
    batteries: pl.DataFrame,
    ocv_curves: pl.DataFrame,
) -> pl.DataFrame:
    return balance.cell_balance(closed_intervals, day_evidence, cell_evidence, batteries, ocv_curves)


@dg.multi_asset(
    name="assessed",
    **outs(
        catalog.STATE_OF_HEALTH,
        catalog.HEALTH_MEMORY,
        reach=Reach(memory=catalog.HEALTH_MEMORY, back=health.BEFORE.days),
    ),
)
def assessed(
    battery_states: pl.DataFrame,
    resistance_daily: pl.DataFrame,
    cell_balance: pl.DataFrame,
    batteries: pl.DataFrame,
    health_memory_before: pl.DataFrame,
) -> Iterator[dg.Output[pl.DataFrame]]:
    """Say how much each battery holds, how much of that its cells leave, and how well its use lets that be seen."""
    found = health.state_of_health(battery_states, resistance_daily, batteries, health_memory_before)
    days = usable.with_usable_capacity(found, cell_balance, batteries, health_memory_before)
    yield dg.Output(days, catalog.STATE_OF_HEALTH.name)
    yield dg.Output(health_memory(battery_states, cell_balance, health_memory_before), catalog.HEALTH_MEMORY.name)


@dg.asset(**spec(catalog.TELEMETRY_5MIN, Reach()))
@by_battery_or_days
def telemetry_5min(
    closed_intervals: pl.DataFrame,
    current_offsets: pl.DataFrame,
    charge_estimates: pl.DataFrame,
    batteries: pl.DataFrame,
) -> pl.DataFrame:
    counted = offsets.without_offset(closed_intervals, current_offsets, batteries)
    return charge.telemetry_5min(counted, charge_estimates, batteries)
