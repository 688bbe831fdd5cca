"""Energy accounts, cycles, time in bands and availability, by battery and by fleet."""

from collections.abc import Iterator

import dagster as dg
import polars as pl

from bess_pipeline.analytics import availability as presence
from bess_pipeline.analytics import bands, efficiency, energy, fleet, offsets
from bess_pipeline.analytics import cycles as rainflow
from bess_pipeline.defs.groups import by_battery, by_battery_or_days, by_days
from bess_pipeline.defs.house import outs, spec
from bess_pipeline.defs.increments import Reach
from bess_pipeline.tables import catalog


@dg.multi_asset(name="cycled", **outs(catalog.CYCLES, catalog.CYCLE_MEMORY, reach=Reach(memory=catalog.CYCLE_MEMORY)))
@by_battery
def cycled(
    telemetry_5min: pl.DataFrame, batteries: pl.DataFrame, cycle_memory_before: pl.DataFrame
) -> Iterator[dg.Output[pl.DataFrame]]:
    """Count cycles from where the count was certain."""
    found = rainflow.cycles(telemetry_5min, batteries, cycle_memory_before)
    yield dg.Output(found.cycles, catalog.CYCLES.name)
    yield dg.Output(found.memory, catalog.CYCLE_MEMORY.name)


@dg.asset(**spec(catalog.CYCLE_HISTOGRAM, Reach()))
def cycle_histogram(cycles: pl.DataFrame) -> pl.DataFrame:
    return rainflow.cycle_histogram(cycles)


@dg.asset(**spec(catalog.ENERGY_EVIDENCE, Reach(before=6, ahead=1)))
@by_battery_or_days
def energy_evidence(
    telemetry_5min: pl.DataFrame,
    day_evidence: pl.DataFrame,
    closed_intervals: pl.DataFrame,
    current_offsets: pl.DataFrame,
    state_of_health: pl.DataFrame,
    batteries: pl.DataFrame,
    ocv_curves: pl.DataFrame,
) -> pl.DataFrame:
    counted = offsets.without_offset(closed_intervals, current_offsets, batteries)
    return energy.energy_evidence(
        telemetry_5min, day_evidence, counted, current_offsets, state_of_health, batteries, ocv_curves
    )


@dg.asset(**spec(catalog.BATTERY_DAILY, Reach(before=efficiency.WINDOW.days - 1)))
def battery_daily(energy_evidence: pl.DataFrame, batteries: pl.DataFrame) -> pl.DataFrame:
    return energy.battery_daily(energy_evidence, batteries)


@dg.asset(**spec(catalog.TIME_IN_BANDS, Reach(ahead=1)))
@by_battery_or_days
def time_in_bands(
    telemetry_5min: pl.DataFrame, closed_intervals: pl.DataFrame, batteries: pl.DataFrame
) -> pl.DataFrame:
    return bands.time_in_bands(telemetry_5min, closed_intervals, batteries)


@dg.asset(**spec(catalog.PRESENCE_EVIDENCE, Reach()))
@by_days
def presence_evidence(telemetry_5min: pl.DataFrame, batteries: pl.DataFrame) -> pl.DataFrame:
    return presence.presence_evidence(telemetry_5min, batteries)


@dg.multi_asset(
    name="interrupted",
    **outs(catalog.INTERRUPTIONS, catalog.PRESENCE_MEMORY, reach=Reach(memory=catalog.PRESENCE_MEMORY)),
)
def interrupted(
    presence_evidence: pl.DataFrame, presence_memory_before: pl.DataFrame
) -> Iterator[dg.Output[pl.DataFrame]]:
    """Find when batteries were silent, or stood still while others worked."""
    found = presence.interruptions(presence_evidence, presence_memory_before)
    yield dg.Output(found.interruptions, catalog.INTERRUPTIONS.name)
    yield dg.Output(found.memory, catalog.PRESENCE_MEMORY.name)


@dg.asset(**spec(catalog.AVAILABILITY, Reach()))
def availability(presence_evidence: pl.DataFrame, interruptions: pl.DataFrame) -> pl.DataFrame:
    return presence.availability(presence_evidence, interruptions)


@dg.asset(**spec(catalog.FLEET_DAILY, Reach()))
def fleet_daily(battery_daily: pl.DataFrame, batteries: pl.DataFrame) -> pl.DataFrame:
    return fleet.fleet_daily(battery_daily, batteries)
