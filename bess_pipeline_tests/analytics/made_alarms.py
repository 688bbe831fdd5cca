"""Alarms and features by hand, for tests of what alarms are worth."""

from __future__ import annotations

from datetime import UTC

import polars as pl

from bess_pipeline_tests.analytics.made_truth import FLEET, day

_EVENTS = {
    "fleet_id": pl.String,
    "battery_id": pl.String,
    "detected_at": pl.Datetime("us", "UTC"),
    "severity": pl.String,
    "family": pl.String,
    "detector": pl.String,
    "score": pl.Float64,
}
_SIGNALS = {
    "fleet_id": pl.String,
    "battery_id": pl.String,
    "raised_at": pl.Datetime("us", "UTC"),
    "lane": pl.String,
    "statistic": pl.Float64,
    "severity": pl.String,
    "family": pl.String,
}
_FEATURES = {
    "fleet_id": pl.String,
    "battery_id": pl.String,
    "date": pl.Date,
    "feature": pl.String,
    "z": pl.Float64,
    "observed_until": pl.Datetime("us", "UTC"),
}


def alarms(*raised: tuple[object, ...]) -> pl.DataFrame:
    """Battery and day of alarms; then severity, family, detector and score where they are not the usual ones."""
    usual = ("warning", "thermal", "statistics", 0.97)
    rows = [(FLEET, battery, day(at).replace(tzinfo=UTC), *more, *usual[len(more) :]) for battery, at, *more in raised]
    return pl.DataFrame(rows, schema=_EVENTS, orient="row")


def signals(*told: tuple[object, ...]) -> pl.DataFrame:
    """Battery and day of what a lane raised; then lane, statistic, severity and family where not the usual ones."""
    usual = ("statistics", 12.0, "warning", "thermal")
    rows = [(FLEET, battery, day(at).replace(tzinfo=UTC), *more, *usual[len(more) :]) for battery, at, *more in told]
    return pl.DataFrame(rows, schema=_SIGNALS, orient="row")


def no_features() -> pl.DataFrame:
    """No feature of any day."""
    return pl.DataFrame(schema=_FEATURES)


def features(*rows: tuple[str, int, str, float]) -> pl.DataFrame:
    """Battery, day, feature and z of features, known at the end of the day."""
    known = [
        (FLEET, battery, day(at).date(), name, z, day(at + 1).replace(tzinfo=UTC)) for battery, at, name, z in rows
    ]
    return pl.DataFrame(known, schema=_FEATURES, orient="row")
