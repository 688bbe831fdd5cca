"""How fast batteries age, and how long they will do."""

from collections.abc import Iterator

import dagster as dg
import polars as pl

from bess_pipeline.analytics import ageing_clocks, lives
from bess_pipeline.analytics import degradation as ageing
from bess_pipeline.defs.groups import by_battery_or_days
from bess_pipeline.defs.house import outs, spec
from bess_pipeline.defs.increments import Reach
from bess_pipeline.tables import catalog


@dg.asset(**spec(catalog.DAILY_STRESS, Reach()))
@by_battery_or_days
def daily_stress(telemetry_5min: pl.DataFrame, battery_states: pl.DataFrame, batteries: pl.DataFrame) -> pl.DataFrame:
    return ageing_clocks.daily_stress(telemetry_5min, battery_states, batteries)


@dg.multi_asset(
    name="ageing",
    **outs(
        catalog.DEGRADATION,
        catalog.CAPACITY_FORECAST,
        catalog.AGEING_MEMORY,
        reach=Reach(
            memory=catalog.AGEING_MEMORY, whole=(catalog.STATE_OF_HEALTH, catalog.DAILY_STRESS), as_of_last=True
        ),
        columns={catalog.STATE_OF_HEALTH: lives.HEALTH, catalog.DAILY_STRESS: lives.STRESS},
    ),
)
def aged(
    state_of_health: pl.DataFrame,
    daily_stress: pl.DataFrame,
    batteries: pl.DataFrame,
    ageing_memory_before: pl.DataFrame,
) -> Iterator[dg.Output[pl.DataFrame]]:
    """Say at every month end how fast each battery ages, and what is to be expected."""
    found = ageing.ageing(state_of_health, daily_stress, batteries, ageing_memory_before)
    yield dg.Output(found.degradation, catalog.DEGRADATION.name)
    yield dg.Output(found.forecast, catalog.CAPACITY_FORECAST.name)
    yield dg.Output(found.memory, catalog.AGEING_MEMORY.name)
