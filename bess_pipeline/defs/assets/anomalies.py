"""What is unusual: features of each day, scores of the detectors, events."""

import dagster as dg
import polars as pl

from bess_pipeline.analytics import anomalies, features, fleet, limits
from bess_pipeline.defs.house import spec
from bess_pipeline.tables import catalog


@dg.asset(**spec(catalog.DAILY_FEATURES))
def daily_features(
    battery_daily: pl.DataFrame,
    closed_intervals: pl.DataFrame,
    day_evidence: pl.DataFrame,
    state_of_health: pl.DataFrame,
    batteries: pl.DataFrame,
) -> pl.DataFrame:
    return features.daily_features(battery_daily, closed_intervals, day_evidence, state_of_health, batteries)


@dg.asset(**spec(catalog.LIMIT_EPISODES))
def limit_episodes(closed_intervals: pl.DataFrame, batteries: pl.DataFrame) -> pl.DataFrame:
    return limits.limit_episodes(closed_intervals, batteries)


@dg.asset(**spec(catalog.ANOMALY_SCORES))
def anomaly_scores(daily_features: pl.DataFrame, limit_episodes: pl.DataFrame) -> pl.DataFrame:
    return anomalies.anomaly_scores(daily_features, limit_episodes)


@dg.asset(**spec(catalog.ANOMALY_EVENTS))
def anomaly_events(
    daily_features: pl.DataFrame, anomaly_scores: pl.DataFrame, limit_episodes: pl.DataFrame
) -> pl.DataFrame:
    return anomalies.anomaly_events(daily_features, anomaly_scores, limit_episodes)


@dg.asset(**spec(catalog.BATTERY_LATEST))
def battery_latest(
    telemetry_5min: pl.DataFrame,
    battery_daily: pl.DataFrame,
    state_of_health: pl.DataFrame,
    degradation: pl.DataFrame,
    anomaly_events: pl.DataFrame,
    batteries: pl.DataFrame,
) -> pl.DataFrame:
    return fleet.battery_latest(telemetry_5min, battery_daily, state_of_health, degradation, anomaly_events, batteries)
