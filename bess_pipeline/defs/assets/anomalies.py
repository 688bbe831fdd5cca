"""What is unusual: features of each day, scores of the detectors, events."""

from collections.abc import Iterator

import dagster as dg
import polars as pl

from bess_pipeline.analytics import (
    anomalies,
    anomaly_models,
    cell_patterns,
    failure_risk,
    features,
    fleet,
    lanes,
    limits,
    signals,
)
from bess_pipeline.analytics import chart_signals as charts
from bess_pipeline.analytics import event_onsets as onsets
from bess_pipeline.analytics import feature_evidence as days
from bess_pipeline.analytics.outlier_models import MODEL_DAYS
from bess_pipeline.defs.groups import by_battery, by_days
from bess_pipeline.defs.house import outs, spec
from bess_pipeline.defs.increments import Reach
from bess_pipeline.tables import catalog


@dg.asset(**spec(catalog.FEATURE_EVIDENCE, Reach(before=1)))
@by_days
def feature_evidence(
    closed_intervals: pl.DataFrame, day_evidence: pl.DataFrame, batteries: pl.DataFrame
) -> pl.DataFrame:
    return days.feature_evidence(closed_intervals, day_evidence, batteries)


@dg.multi_asset(
    name="featured",
    **outs(
        catalog.DAILY_FEATURES,
        catalog.FEATURE_MEMORY,
        reach=Reach(memory=catalog.FEATURE_MEMORY, back=features.BEFORE.days),
    ),
)
def featured(
    battery_daily: pl.DataFrame,
    feature_evidence: pl.DataFrame,
    resistance_daily: pl.DataFrame,
    state_of_health: pl.DataFrame,
    batteries: pl.DataFrame,
    feature_memory_before: pl.DataFrame,
) -> Iterator[dg.Output[pl.DataFrame]]:
    """Hold each day of a battery against its peers and against its own past."""
    found = features.daily_features(
        battery_daily, feature_evidence, resistance_daily, state_of_health, batteries, feature_memory_before
    )
    yield dg.Output(found.features, catalog.DAILY_FEATURES.name)
    yield dg.Output(found.memory, catalog.FEATURE_MEMORY.name)


@dg.multi_asset(
    name="limited", **outs(catalog.LIMIT_EPISODES, catalog.LIMIT_MEMORY, reach=Reach(memory=catalog.LIMIT_MEMORY))
)
@by_battery
def limited(
    closed_intervals: pl.DataFrame, batteries: pl.DataFrame, limit_memory_before: pl.DataFrame
) -> Iterator[dg.Output[pl.DataFrame]]:
    """Find the times that batteries spent outside their nameplates."""
    found = limits.limit_episodes(closed_intervals, batteries, limit_memory_before)
    yield dg.Output(found.episodes, catalog.LIMIT_EPISODES.name)
    yield dg.Output(found.memory, catalog.LIMIT_MEMORY.name)


@dg.asset(**spec(catalog.CELL_SIGNALS, Reach(before=cell_patterns.BEFORE.days)))
def cell_signals(cell_evidence: pl.DataFrame, batteries: pl.DataFrame, feature_evidence: pl.DataFrame) -> pl.DataFrame:
    return cell_patterns.cell_signals(cell_evidence, batteries, feature_evidence)


@dg.multi_asset(
    name="learned",
    **outs(
        catalog.ANOMALY_MODELS,
        catalog.MODEL_SIGNALS,
        # The models of an epoch rest on the days before it, as what is remembered does.
        reach=Reach(memory=catalog.ANOMALY_MODELS, back=anomaly_models.BEFORE.days, epoch=MODEL_DAYS),
        columns={catalog.DAILY_FEATURES: anomaly_models.READS},
    ),
)
def learned(daily_features: pl.DataFrame, anomaly_models_before: pl.DataFrame) -> Iterator[dg.Output[pl.DataFrame]]:
    """Learn every four weeks what ordinary fortnights look like, and hold each day against it."""
    found = anomaly_models.learned(daily_features, anomaly_models_before)
    yield dg.Output(found.models, catalog.ANOMALY_MODELS.name)
    yield dg.Output(found.signals, catalog.MODEL_SIGNALS.name)


@dg.multi_asset(
    name="charted",
    **outs(
        catalog.CHART_SIGNALS,
        catalog.CHART_MEMORY,
        reach=Reach(memory=catalog.CHART_MEMORY, back=charts.BEFORE.days),
    ),
)
def charted(daily_features: pl.DataFrame, chart_memory_before: pl.DataFrame) -> Iterator[dg.Output[pl.DataFrame]]:
    """Add up what features say day after day, and tell days whose data are at fault."""
    found = charts.chart_signals(daily_features, chart_memory_before)
    yield dg.Output(found.signals, catalog.CHART_SIGNALS.name)
    yield dg.Output(found.memory, catalog.CHART_MEMORY.name)


# Knees are told at the next month end, by then up to a month ago.
@dg.asset(**spec(catalog.ANOMALY_SIGNALS, Reach(ahead=32)))
def anomaly_signals(
    chart_signals: pl.DataFrame,
    limit_episodes: pl.DataFrame,
    degradation: pl.DataFrame,
    safety_signals: pl.DataFrame,
    cell_signals: pl.DataFrame,
    model_signals: pl.DataFrame,
    shape_signals: pl.DataFrame,
) -> pl.DataFrame:
    others = (chart_signals, safety_signals, cell_signals, model_signals, shape_signals)
    return signals.anomaly_signals(limit_episodes, degradation, *others)


@dg.asset(**spec(catalog.ANOMALY_SCORES, Reach()))
def anomaly_scores(anomaly_signals: pl.DataFrame, daily_features: pl.DataFrame) -> pl.DataFrame:
    return lanes.anomaly_scores(anomaly_signals, daily_features)


@dg.asset(**spec(catalog.EVENT_ONSETS, Reach(before=onsets.SHOWN.days)))
def event_onsets(anomaly_signals: pl.DataFrame, daily_features: pl.DataFrame) -> pl.DataFrame:
    return onsets.event_onsets(anomaly_signals, daily_features)


@dg.asset(
    **spec(
        catalog.ANOMALY_EVENTS,
        columns={catalog.ANOMALY_SIGNALS: anomalies.READS_SIGNALS, catalog.BATTERY_DAILY: anomalies.HEARD},
    )
)
def anomaly_events(
    anomaly_signals: pl.DataFrame,
    limit_episodes: pl.DataFrame,
    event_onsets: pl.DataFrame,
    battery_daily: pl.DataFrame,
) -> pl.DataFrame:
    return anomalies.anomaly_events(anomaly_signals, limit_episodes, event_onsets, battery_daily)


@dg.asset(
    **spec(
        catalog.FAILURE_RISK,
        Reach(before=failure_risk.COUNTS.days, whole=(catalog.DEGRADATION,)),
        columns={catalog.DAILY_FEATURES: failure_risk.READS_FEATURES},
    )
)
def failure_risks(
    daily_features: pl.DataFrame, anomaly_signals: pl.DataFrame, degradation: pl.DataFrame
) -> pl.DataFrame:
    return failure_risk.failure_risk(daily_features, anomaly_signals, degradation)


@dg.asset(
    **spec(
        catalog.BATTERY_LATEST,
        columns={
            catalog.ENERGY_EVIDENCE: fleet.READS_EVIDENCE,
            catalog.BATTERY_DAILY: fleet.READS_DAILY,
            catalog.STATE_OF_HEALTH: fleet.READS_HEALTH,
        },
    )
)
def battery_latest(
    energy_evidence: pl.DataFrame,
    battery_daily: pl.DataFrame,
    state_of_health: pl.DataFrame,
    degradation: pl.DataFrame,
    anomaly_events: pl.DataFrame,
    batteries: pl.DataFrame,
) -> pl.DataFrame:
    return fleet.battery_latest(energy_evidence, battery_daily, state_of_health, degradation, anomaly_events, batteries)
