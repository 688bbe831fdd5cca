"""Everything that can be judged of a fleet whose truth is known, in one frame of errors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import polars as pl

from bess_pipeline.analytics import accuracy, alarm_accuracy, forecast_accuracy
from bess_pipeline.analytics.alarm_points import Raised, raised
from bess_pipeline.analytics.cycles import cycles
from bess_pipeline.analytics.known_truth import Truth
from bess_pipeline.tables.keys import BATTERY, BATTERY_DAY

#: Tables that are judged, and the columns of the large ones that are needed.
JUDGED: dict[str, tuple[str, ...]] = {
    "telemetry_5min": (
        *BATTERY, "timestamp", "date", "soc_percent", "soc_lower_percent", "soc_upper_percent", "soc_bms_percent",
    ),
    "closed_intervals": (
        *BATTERY, "timestamp", "date", "soh_bms_percent", "charging_capacity_ah", "discharging_capacity_ah",
    ),
    "state_of_health": (),
    "battery_daily": (),
    "cycles": (),
    "degradation": (),
    "capacity_forecast": (),
    "anomaly_events": (),
    "anomaly_signals": (*BATTERY, "lane", "family", "severity", "statistic", "raised_at"),
    "daily_features": (*BATTERY_DAY, "feature", "z", "observed_until"),
}  # fmt: skip

#: Columns that come later than their tables.
_LATER = {
    "telemetry_5min": ("soc_percent", "soc_lower_percent"),
    "state_of_health": (
        "soh_percent",
        "soh_lower_percent",
        "soh_usable_percent",
        "resistance_increase_percent",
    ),
    "battery_daily": ("charging_capacity_ah", "round_trip_efficiency_30d_percent"),
    "cycles": ("depth_percent",),
    "degradation": (
        "degradation_percent_per_year",
        "remaining_life_days_p50",
        "remaining_life_days_p90",
        "remaining_life_days_p95",
        "knee_detected_on",
    ),
    "capacity_forecast": ("soh_p50_percent",),
    "anomaly_events": ("detected_at",),
    "anomaly_signals": ("raised_at",),
    "daily_features": ("z",),
}


@dataclass(frozen=True)
class Accuracy:
    """How the estimates of a fleet compare with its truth.

    Attributes:
        errors: Rows in the form of `bess_pipeline.analytics.accuracy.ERRORS`.
        missing: Tables, each with a column, that are not there; the table alone, with no column, where it is not.
        raised: Alarms, and what they should have told.
    """

    errors: pl.DataFrame
    missing: frozenset[tuple[str, str]]
    raised: Raised


def fleet_accuracy(
    tables: Mapping[str, pl.DataFrame],
    batteries: pl.DataFrame,
    truth: Truth,
    data_faults: pl.DataFrame | None = None,
) -> Accuracy:
    """Judge all that is there.

    Args:
        tables: Those of `JUDGED` that there are, by name, with the rows of one fleet.
        batteries: `Battery` rows.
        truth: Of the fleet.
        data_faults: Data faults that were planted, by battery.
    """
    missing = {(name, "") for name in _LATER if name not in tables} | {
        (name, column)
        for name, columns in _LATER.items()
        for column in columns
        if name not in tables or column not in tables[name].columns
    }
    judges: tuple[tuple[tuple[tuple[str, str], ...], Callable[[], pl.DataFrame]], ...] = (
        (_has("telemetry_5min", "soc_percent"), lambda: accuracy.charge_errors(tables["telemetry_5min"], truth)),
        (
            _has("state_of_health", "soh_percent"),
            lambda: accuracy.health_errors(tables["state_of_health"], _reported_health(tables, truth), truth),
        ),
        (
            _has("state_of_health", "resistance_increase_percent"),
            lambda: accuracy.resistance_errors(tables["state_of_health"], truth),
        ),
        (
            _has("battery_daily", "charging_capacity_ah"),
            lambda: accuracy.full_cycle_errors(tables["battery_daily"], _plain_sums(tables), batteries, truth),
        ),
        (
            _has("cycles", "depth_percent"),
            lambda: accuracy.cycle_errors(tables["cycles"], _reported_cycles(tables, batteries), truth),
        ),
        (
            _has("battery_daily", "round_trip_efficiency_30d_percent"),
            lambda: accuracy.efficiency_errors(tables["battery_daily"], batteries, truth),
        ),
        (
            _has("degradation", "degradation_percent_per_year"),
            lambda: forecast_accuracy.fade_errors(tables["degradation"], _lines(tables), truth),
        ),
        (
            (*_has("degradation", "remaining_life_days_p50"), *_has("degradation", "remaining_life_days_p90")),
            lambda: forecast_accuracy.life_errors(tables["degradation"], _lines(tables), truth),
        ),
        (
            _has("capacity_forecast", "soh_p50_percent"),
            lambda: forecast_accuracy.forecast_errors(tables["capacity_forecast"], tables["state_of_health"], truth),
        ),
        (
            _has("degradation", "knee_detected_on"),
            lambda: forecast_accuracy.knee_errors(tables["degradation"], truth),
        ),
        (
            _ALARMS,
            lambda: alarm_accuracy.alarm_errors(alarms, truth),
        ),
    )
    alarms = Raised.of(())
    if missing.isdisjoint(_ALARMS):
        events, signals = tables["anomaly_events"], tables["anomaly_signals"]
        alarms = raised(events, signals, tables["daily_features"], truth, data_faults)
    found = [judge() for needed, judge in judges if not missing.intersection(needed)]
    return Accuracy(pl.concat([pl.DataFrame(schema=accuracy.ERRORS), *found]), frozenset(missing), alarms)


_ALARMS = (("anomaly_events", "detected_at"), ("anomaly_signals", "raised_at"), ("daily_features", "z"))


def _has(table: str, column: str) -> tuple[tuple[str, str], ...]:
    return ((table, column),)


def _lines(tables: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    return forecast_accuracy.straight_lines(tables["state_of_health"])


def _reported_health(tables: Mapping[str, pl.DataFrame], truth: Truth) -> pl.DataFrame:
    """What the management systems say of the capacity on the days that are judged: the median of the day."""
    days = truth.daily.filter((pl.col("day") + 1).is_in(accuracy.check_days(truth))).select("date").unique()
    said = tables["closed_intervals"].select(*BATTERY_DAY, "soh_bms_percent").join(days, on="date", how="semi")
    return said.drop_nulls("soh_bms_percent").group_by(*BATTERY_DAY).agg(pl.col("soh_bms_percent").median())


def _plain_sums(tables: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """Charge moved per day as measured, without the work of telling a sensor's offset."""
    return (
        tables["closed_intervals"]
        .sort(*BATTERY, "timestamp")
        .group_by(*BATTERY_DAY, maintain_order=True)
        .agg(pl.col("charging_capacity_ah", "discharging_capacity_ah").sum())
    )


def _reported_cycles(tables: Mapping[str, pl.DataFrame], batteries: pl.DataFrame) -> pl.DataFrame:
    """Rainflow cycles of the state of charge that the management systems report."""
    telemetry = tables["telemetry_5min"]
    nothing = {name: pl.lit(None, pl.Float64) for name in ("current_ampere", "temperature_celsius")}
    return cycles(telemetry.with_columns(soc_percent=pl.col("soc_bms_percent"), **nothing), batteries).cycles
