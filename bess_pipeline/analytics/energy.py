"""Energy accounts of a battery's day, and the other daily numbers."""

from __future__ import annotations

import polars as pl

from bess_pipeline.analytics.efficiency import COLUMNS
from bess_pipeline.analytics.resistance import day_resistance
from bess_pipeline.tables.energy import BatteryDaily

_KEY = ["fleet_id", "battery_id"]
_DAY = [*_KEY, "date"]
_DAY_US = 86_400 * 1_000_000
_INTERVAL_US = 300_000_000

#: Equivalent full cycles that a round-trip efficiency needs of the day, each way.
_LEAST_DAY_CYCLES = 0.1


def battery_daily(
    telemetry: pl.DataFrame, evidence: pl.DataFrame, intervals: pl.DataFrame, batteries: pl.DataFrame
) -> pl.DataFrame:
    """Add up each battery's UTC day.

    Energies and charges are the sums over the day's intervals; equivalent full cycles
    are throughput over twice the rated energy. The day's efficiency is energy out over
    energy in and needs 0.1 equivalent full cycles each way. Resistance is the
    regression over the day's current steps, as measured, from 4 steps on. Efficiencies
    over more than a day are null: see `with_efficiency`.

    Args:
        telemetry: `Telemetry5min` rows.
        evidence: `DayEvidence` rows.
        intervals: `Interval5min` rows with midnights closed.
        batteries: `Battery` rows.

    Returns:
        `BatteryDaily` rows, one per battery and day with intervals, sorted by battery and day.

    References:
        Cycles: numberOfFullCycles of the EU Battery Passport.
    """
    plates = batteries.select(*_KEY, "rated_capacity_ah", "rated_energy_wh")
    days = (
        _measured_days(intervals)
        .join(_charge_days(telemetry), on=_DAY, how="left")
        .join(
            evidence.select(*_DAY, "cell_voltage_spread_p95_volt").unique(_DAY, keep="any"),
            on=_DAY,
            how="left",
        )
        .join(day_resistance(intervals), on=_DAY, how="left")
        .join(plates, on=_KEY, how="left")
        .sort(_DAY)
    )
    into, out = pl.col("charging_energy_wh"), pl.col("discharging_energy_wh")
    cycles_in, cycles_out = into / pl.col("rated_energy_wh"), out / pl.col("rated_energy_wh")
    cycled = (cycles_in >= _LEAST_DAY_CYCLES) & (cycles_out >= _LEAST_DAY_CYCLES)
    return (
        days.with_columns(
            equivalent_full_cycles=(into + out) / (2 * pl.col("rated_energy_wh")),
            equivalent_full_cycles_charge=(pl.col("charging_capacity_ah") + pl.col("discharging_capacity_ah"))
            / (2 * pl.col("rated_capacity_ah")),
            round_trip_efficiency_percent=pl.when(cycled).then(100 * out / into),
            efficiency_boundary=pl.lit("DC"),
            **{name: pl.lit(None) for name in COLUMNS},
        )
        .select(BatteryDaily.column_names())
        .cast(BatteryDaily.create_empty().schema)
        .sort(_DAY)
        .pipe(BatteryDaily.validate)
    )


def _measured_days(intervals: pl.DataFrame) -> pl.DataFrame:
    """What the intervals of a day say on their own."""
    observed = pl.max_horizontal("current_observed_us", "power_observed_us").clip(upper_bound=_INTERVAL_US)
    weight = pl.when(pl.col("temperature_celsius").is_not_null()).then("temperature_observed_us")

    def total(column: str) -> pl.Expr:
        return pl.when(pl.col(column).count() > 0).then(pl.col(column).sum()).alias(column)

    return (
        intervals.sort(*_KEY, "timestamp")
        .group_by(_DAY, maintain_order=True)
        .agg(
            total("charging_energy_wh"),
            total("discharging_energy_wh"),
            total("charging_capacity_ah"),
            total("discharging_capacity_ah"),
            total("charging_energy_ac_wh"),
            total("discharging_energy_ac_wh"),
            total("auxiliary_energy_wh"),
            temperature_weighted=(pl.col("temperature_celsius") * weight).sum(),
            temperature_weight=weight.sum(),
            temperature_max_celsius=pl.max_horizontal("temperature_max_celsius", "temperature_celsius").max(),
            observed_us=observed.sum(),
        )
        .with_columns(
            temperature_mean_celsius=pl.when(pl.col("temperature_weight") > 0).then(
                pl.col("temperature_weighted") / pl.col("temperature_weight")
            ),
            coverage_fraction=pl.min_horizontal(pl.col("observed_us"), pl.lit(_DAY_US)) / _DAY_US,
        )
    )


def _charge_days(telemetry: pl.DataFrame) -> pl.DataFrame:
    """State of charge over a day."""
    return telemetry.group_by(_DAY).agg(
        soc_min_percent=pl.col("soc_percent").min(),
        soc_max_percent=pl.col("soc_percent").max(),
    )
