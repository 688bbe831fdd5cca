"""Condensed days of made-up batteries: intervals, evidence and daily numbers that agree with each other."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl

from bess_pipeline.analytics import features
from bess_pipeline.analytics.feature_evidence import feature_evidence
from bess_pipeline.analytics.resistance import resistance_daily, step_resistance
from bess_pipeline.analytics.resistance_evidence import resistance_evidence
from bess_pipeline.tables.energy import BatteryDaily
from bess_pipeline.tables.fleet import Battery
from bess_pipeline.tables.health import StateOfHealth
from bess_pipeline.tables.telemetry import ClosedInterval5min, DayEvidence

START = datetime(2026, 1, 1, tzinfo=UTC)
FIVE_MINUTES = timedelta(minutes=5)
CELLS = 100
KEYS = ["fleet_id", "battery_id", "date"]


def made_batteries(count: int) -> pl.DataFrame:
    return pl.DataFrame(
        [
            {
                "fleet_id": "f",
                "battery_id": f"b{number}",
                "chemistry": "NMC",
                "rated_capacity_ah": 100.0,
                "rated_energy_wh": 36_000.0,
                "cells_in_series": CELLS,
                "resistance_ohm": None,
                "initial_equivalent_full_cycles": 0.0,
                "end_of_life_percent": 80.0,
                "cell_voltage_low_volt": 3.0,
                "cell_voltage_high_volt": 4.2,
                "temperature_low_celsius": 0.0,
                "temperature_high_celsius": 45.0,
                "sampling": "instant",
            }
            for number in range(count)
        ],
        schema=Battery.create_empty().schema,
    )


def made_intervals(rows: list[dict[str, object]]) -> pl.DataFrame:
    """Intervals of the given columns; what is not given is null, and durations and counts are whole."""
    schema = ClosedInterval5min.create_empty().schema
    frame = pl.DataFrame(rows)
    durations = [name for name in schema if name.endswith("_us")]
    missing = [
        pl.lit(
            300_000_000 if name in durations else 1 if name == "samples" else 0 if name.startswith("step_") else None
        )
        .cast(kind)
        .alias(name)
        for name, kind in schema.items()
        if name not in frame.columns and name not in {"fleet_id", "date"}
    ]
    return frame.with_columns(*missing, fleet_id=pl.lit("f"), date=pl.col("timestamp").dt.date()).select(
        pl.col(name).cast(kind) for name, kind in schema.items()
    )


def made_days(
    count: int, days: int, *, seed: int = 0, change: Callable[[pl.DataFrame], pl.DataFrame] = lambda rows: rows
) -> dict[str, pl.DataFrame]:
    """All that `daily_features` reads, of batteries that cycle once a day in the middle of their range.

    One interval in three has a row, so that 30 days of five batteries stay small. `change` alters
    the intervals; evidence and daily numbers follow from what it leaves.
    """
    random = np.random.default_rng(seed)
    batteries = made_batteries(count)
    steps = 96
    grid = pl.DataFrame({"battery_id": batteries["battery_id"]}).join(
        pl.DataFrame({"step": np.arange(days * steps)}), how="cross"
    )
    phase = 2 * np.pi * (grid["step"].to_numpy() % steps) / steps
    noise = random.normal(size=(4, grid.height))
    current = np.round(40 * np.sin(phase), 3) + 0.2 * noise[0]
    mean_cell = 3.75 - 0.02 * np.cos(phase) + 0.002 * current + 0.0005 * noise[1]
    hot = 22 + 2 * np.sin(phase) + 0.3 * noise[2]
    wide = 0.010 + 0.001 * np.abs(noise[3])
    intervals = change(
        made_intervals(
            grid.with_columns(
                timestamp=pl.lit(START) + pl.duration(minutes=15) * pl.col("step"),
                current_ampere=pl.Series(current),
                current_abs_max_ampere=pl.Series(np.abs(current)),
                voltage_volt=pl.Series(CELLS * mean_cell),
                voltage_min_volt=pl.Series(CELLS * mean_cell),
                voltage_max_volt=pl.Series(CELLS * mean_cell),
                cell_voltage_min_volt=pl.Series(mean_cell - wide / 2),
                cell_voltage_max_volt=pl.Series(mean_cell + wide / 2),
                temperature_celsius=pl.Series(hot),
                temperature_min_celsius=pl.Series(hot - 1),
                temperature_max_celsius=pl.Series(hot + 1),
            )
            .drop("step")
            .with_columns(_steps("current_ampere", "voltage_volt"))
            .to_dicts()
        )
    )
    return {
        "intervals": intervals,
        "batteries": batteries,
        "evidence": _evidence(intervals),
        "battery_daily": _filled(
            intervals.group_by(KEYS, maintain_order=True).agg(coverage_fraction=pl.lit(1.0)), BatteryDaily
        ),
        "health": pl.DataFrame(schema=StateOfHealth.create_empty().schema),
    }


def _steps(current: str, voltage: str) -> list[pl.Expr]:
    """The step from one row of a battery to the next, as sums of a single steady step."""
    turns, volts = (pl.col(name).diff().over("battery_id").fill_null(0.0) for name in (current, voltage))
    return [
        pl.lit(1, pl.Int64).alias("step_steady_count"),
        (turns * volts).alias("step_steady_current_voltage_sum"),
        (turns**2).alias("step_steady_current_square_sum"),
        (volts**2).alias("step_steady_voltage_square_sum"),
    ]


def _evidence(intervals: pl.DataFrame) -> pl.DataFrame:
    days = intervals.group_by(KEYS, maintain_order=True).agg(
        samples=pl.len(),
        cell_voltage_spread_p95_volt=(pl.col("cell_voltage_max_volt") - pl.col("cell_voltage_min_volt")).quantile(0.95),
        temperature_spread_p95_kelvin=(pl.col("temperature_max_celsius") - pl.col("temperature_celsius")).quantile(
            0.95
        ),
    )
    return _filled(days, DayEvidence)


def _filled(frame: pl.DataFrame, contract: type) -> pl.DataFrame:
    """The frame with the contract's other columns: zero for whole numbers, else null."""
    return frame.select(
        pl.col(name).cast(kind)
        if name in frame.columns
        else pl.lit(0 if kind == pl.Int64 else None).cast(kind).alias(name)
        for name, kind in contract.create_empty().schema.items()
    )


def resistances_of(frames: dict[str, pl.DataFrame]) -> pl.DataFrame:
    """`ResistanceDaily` rows of frames as `made_days` makes them."""
    intervals, batteries = frames["intervals"], frames["batteries"]
    steps = step_resistance(intervals, batteries)
    return resistance_daily(resistance_evidence(intervals, batteries), steps, batteries).daily


def daily_features(**frames: pl.DataFrame) -> pl.DataFrame:
    """`DailyFeature` rows of frames as `made_days` makes them; `resistances` may be given as well."""
    own = feature_evidence(frames["intervals"], frames["evidence"], frames["batteries"])
    resistances = frames.get("resistances", resistances_of(frames))
    found = features.daily_features(frames["battery_daily"], own, resistances, frames["health"], frames["batteries"])
    return found.features
