"""Warranty, wear and money: what was agreed, how each battery stands, what use costs, what to do."""

import dagster as dg
import polars as pl

from bess_pipeline.analytics import decisions as choices
from bess_pipeline.analytics import dispatch_history, warranty, warranty_events, wear
from bess_pipeline.analytics import operating_limits as limits
from bess_pipeline.defs.groups import by_battery_or_days
from bess_pipeline.defs.house import spec
from bess_pipeline.defs.increments import Reach
from bess_pipeline.defs.resources import Home
from bess_pipeline.tables import catalog


@dg.asset(deps=[catalog.BATTERIES.name], **spec(catalog.ASSUMPTIONS))
def assumptions(context: dg.AssetExecutionContext, home: dg.ResourceParam[Home]) -> pl.DataFrame:
    return home.assumptions(context.partition_key)


@dg.asset(**spec(catalog.WARRANTY_PIECES, Reach()))
@by_battery_or_days
def warranty_pieces(assumptions: pl.DataFrame, telemetry_5min: pl.DataFrame, batteries: pl.DataFrame) -> pl.DataFrame:
    return warranty_events.warranty_pieces(assumptions, telemetry_5min, batteries)


@dg.asset(**spec(catalog.WARRANTY_DAILY))
def warranty_daily(
    assumptions: pl.DataFrame, state_of_health: pl.DataFrame, battery_daily: pl.DataFrame, batteries: pl.DataFrame
) -> pl.DataFrame:
    return warranty.warranty_daily(assumptions, state_of_health, battery_daily, batteries)


@dg.asset(**spec(catalog.WARRANTY_EVENTS))
def broken_terms(
    assumptions: pl.DataFrame, warranty_pieces: pl.DataFrame, warranty_daily: pl.DataFrame, battery_daily: pl.DataFrame
) -> pl.DataFrame:
    return warranty_events.warranty_events(assumptions, warranty_pieces, warranty_daily, battery_daily)


@dg.asset(**spec(catalog.WARRANTY_FORECAST))
def warranty_forecast(
    assumptions: pl.DataFrame, warranty_daily: pl.DataFrame, capacity_forecast: pl.DataFrame
) -> pl.DataFrame:
    return warranty.warranty_forecast(assumptions, warranty_daily, capacity_forecast)


@dg.asset(**spec(catalog.WARRANTY_YEARS))
def warranty_years(
    assumptions: pl.DataFrame, battery_daily: pl.DataFrame, availability: pl.DataFrame, batteries: pl.DataFrame
) -> pl.DataFrame:
    return warranty.warranty_years(assumptions, battery_daily, availability, batteries)


@dg.asset(**spec(catalog.WEAR_DAILY))
def wear_daily(
    assumptions: pl.DataFrame,
    daily_stress: pl.DataFrame,
    degradation: pl.DataFrame,
    battery_daily: pl.DataFrame,
    batteries: pl.DataFrame,
) -> pl.DataFrame:
    return wear.wear_daily(assumptions, daily_stress, degradation, battery_daily, batteries)


@dg.asset(**spec(catalog.WEAR_BY_DEPTH))
def wear_by_depth(wear_daily: pl.DataFrame, cycles: pl.DataFrame, batteries: pl.DataFrame) -> pl.DataFrame:
    return wear.wear_by_depth(wear_daily, cycles, batteries)


@dg.asset(**spec(catalog.WEAR_CURVES))
def wear_curves(
    assumptions: pl.DataFrame,
    degradation: pl.DataFrame,
    energy_evidence: pl.DataFrame,
    batteries: pl.DataFrame,
    ocv_curves: pl.DataFrame,
) -> pl.DataFrame:
    return wear.wear_curves(assumptions, degradation, energy_evidence, batteries, ocv_curves)


@dg.asset(**spec(catalog.DECISIONS))
def decisions(
    assumptions: pl.DataFrame,
    capacity_forecast: pl.DataFrame,
    battery_daily: pl.DataFrame,
    wear_curves: pl.DataFrame,
    state_of_health: pl.DataFrame,
    batteries: pl.DataFrame,
) -> pl.DataFrame:
    return choices.decisions(assumptions, capacity_forecast, battery_daily, wear_curves, state_of_health, batteries)


@dg.asset(**spec(catalog.DECISION_SENSITIVITIES))
def decision_sensitivities(
    assumptions: pl.DataFrame,
    capacity_forecast: pl.DataFrame,
    battery_daily: pl.DataFrame,
    wear_curves: pl.DataFrame,
    state_of_health: pl.DataFrame,
    batteries: pl.DataFrame,
) -> pl.DataFrame:
    return choices.sensitivities(assumptions, capacity_forecast, battery_daily, wear_curves, state_of_health, batteries)


@dg.asset(**spec(catalog.OPERATING_LIMITS))
def operating_limits(
    assumptions: pl.DataFrame,
    capacity_forecast: pl.DataFrame,
    battery_daily: pl.DataFrame,
    energy_evidence: pl.DataFrame,
    degradation: pl.DataFrame,
    market_prices: pl.DataFrame,
    batteries: pl.DataFrame,
    ocv_curves: pl.DataFrame,
) -> pl.DataFrame:
    return limits.operating_limits(
        assumptions,
        capacity_forecast,
        battery_daily,
        energy_evidence,
        degradation,
        market_prices,
        batteries,
        ocv_curves,
    )


@dg.asset(deps=[catalog.BATTERIES.name], **spec(catalog.MARKET_PRICES))
def market_prices(context: dg.AssetExecutionContext, home: dg.ResourceParam[Home]) -> pl.DataFrame:
    return home.market_prices(context.partition_key)


#: A week of prices is looked at as a whole, with the power of the one before, and what was last known before it.
_WEEKS = Reach(
    before=13,
    ahead=6,
    whole=(catalog.MARKET_PRICES, catalog.DEGRADATION, catalog.STATE_OF_HEALTH, catalog.BATTERY_DAILY),
)


@dg.asset(**spec(catalog.DISPATCH_DAILY, _WEEKS, columns={catalog.TELEMETRY_5MIN: dispatch_history.READS}))
def dispatch_daily(
    assumptions: pl.DataFrame,
    market_prices: pl.DataFrame,
    telemetry_5min: pl.DataFrame,
    degradation: pl.DataFrame,
    state_of_health: pl.DataFrame,
    battery_daily: pl.DataFrame,
    batteries: pl.DataFrame,
) -> pl.DataFrame:
    return dispatch_history.dispatch_daily(
        assumptions, market_prices, telemetry_5min, degradation, state_of_health, battery_daily, batteries
    )


@dg.asset(**spec(catalog.AUGMENTATION_PLAN))
def augmentation_plan(
    assumptions: pl.DataFrame, capacity_forecast: pl.DataFrame, batteries: pl.DataFrame
) -> pl.DataFrame:
    return choices.augmentation_plan(assumptions, capacity_forecast, batteries)
