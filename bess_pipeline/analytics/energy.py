"""Energy accounts of a battery's day, and the other daily numbers."""

from __future__ import annotations

import polars as pl

from bess_pipeline.analytics.efficiency import efficiencies, window_sums
from bess_pipeline.analytics.resistance import day_resistance
from bess_pipeline.tables.energy import BatteryDaily, EnergyEvidence
from bess_pipeline.tables.keys import BATTERY, BATTERY_DAY
from bess_pipeline.tables.telemetry import INTERVAL_US
from bess_pipeline.units import US_PER_DAY

#: Equivalent full cycles that a round-trip efficiency needs of the day, each way.
_LEAST_DAY_CYCLES = 0.1


def energy_evidence(
    telemetry: pl.DataFrame,
    evidence: pl.DataFrame,
    intervals: pl.DataFrame,
    offsets: pl.DataFrame,
    health: pl.DataFrame,
    batteries: pl.DataFrame,
    curves: pl.DataFrame,
) -> pl.DataFrame:
    """Add up each battery's UTC day.

    Energies and charges are the sums over the day's intervals. Resistance is the
    regression over the day's current steps, as measured. For what goes into windows of days see
    `efficiency.window_sums`.

    Args:
        telemetry: `Telemetry5min` rows.
        evidence: `DayEvidence` rows.
        intervals: `ClosedInterval5min` rows, without the offset of the current sensor.
        offsets: `CurrentOffset` rows.
        health: `StateOfHealth` rows.
        batteries: `Battery` rows.
        curves: `OcvPoint` rows.

    Returns:
        `EnergyEvidence` rows, one per battery and day with intervals, sorted. A day rests on the rows of its week and
        on the first of the next day.
    """
    return (
        _measured_days(intervals)
        .join(_charge_days(telemetry), on=BATTERY_DAY, how="left")
        .join(
            evidence.select(*BATTERY_DAY, "cell_voltage_spread_p95_volt").unique(BATTERY_DAY, keep="any"),
            on=BATTERY_DAY,
            how="left",
        )
        .join(day_resistance(intervals, batteries), on=BATTERY_DAY, how="left")
        .join(last_known(telemetry), on=BATTERY_DAY, how="left")
        .join(window_sums(telemetry, intervals, offsets, health, batteries, curves), on=BATTERY_DAY, how="left")
        .select(EnergyEvidence.column_names())
        .cast(EnergyEvidence.create_empty().schema)
        .sort(BATTERY_DAY)
        .pipe(EnergyEvidence.validate)
    )


def battery_daily(evidence: pl.DataFrame, batteries: pl.DataFrame) -> pl.DataFrame:
    """The daily numbers of each battery.

    Equivalent full cycles are throughput over twice the rated energy. The day's
    efficiency is energy out over energy in and needs 0.1 equivalent full cycles each
    way; for those of 30 days see `efficiency.efficiencies`.

    Args:
        evidence: `EnergyEvidence` rows.
        batteries: `Battery` rows.

    Returns:
        `BatteryDaily` rows, one per row of the evidence, sorted by battery and day.

    References:
        Cycles: numberOfFullCycles of the EU Battery Passport.
    """
    plates = batteries.select(*BATTERY, "rated_capacity_ah", "rated_energy_wh")
    into, out = pl.col("charging_energy_wh"), pl.col("discharging_energy_wh")
    rated = pl.col("rated_energy_wh")
    cycled = (into / rated >= _LEAST_DAY_CYCLES) & (out / rated >= _LEAST_DAY_CYCLES)
    return (
        evidence.join(plates, on=BATTERY, how="left")
        .with_columns(
            equivalent_full_cycles=(into + out) / (2 * rated),
            equivalent_full_cycles_charge=(pl.col("charging_capacity_ah") + pl.col("discharging_capacity_ah"))
            / (2 * pl.col("rated_capacity_ah")),
            round_trip_efficiency_percent=pl.when(cycled).then(100 * out / into),
            efficiency_boundary=pl.lit("DC"),
        )
        .drop("trips")
        .join(efficiencies(evidence, batteries), on=BATTERY_DAY, how="left")
        .select(BatteryDaily.column_names())
        .cast(BatteryDaily.create_empty().schema)
        .sort(BATTERY_DAY)
        .pipe(BatteryDaily.validate)
    )


def _measured_days(intervals: pl.DataFrame) -> pl.DataFrame:
    """What the intervals of a day say on their own."""
    observed = pl.max_horizontal("current_observed_us", "power_observed_us").clip(upper_bound=INTERVAL_US)
    weight = pl.when(pl.col("temperature_celsius").is_not_null()).then("temperature_observed_us")

    def total(column: str) -> pl.Expr:
        return pl.when(pl.col(column).count() > 0).then(pl.col(column).sum()).alias(column)

    return (
        intervals.sort(*BATTERY, "timestamp")
        .group_by(BATTERY_DAY, maintain_order=True)
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
            coverage_fraction=pl.min_horizontal(pl.col("observed_us"), pl.lit(US_PER_DAY)) / US_PER_DAY,
        )
    )


def _charge_days(telemetry: pl.DataFrame) -> pl.DataFrame:
    """State of charge over a day."""
    return telemetry.group_by(BATTERY_DAY).agg(
        soc_min_percent=pl.col("soc_percent").min(),
        soc_max_percent=pl.col("soc_percent").max(),
    )


#: What is kept as last known of a day, and its column.
LAST_KNOWN = {
    "soc": "soc_percent",
    "voltage": "voltage_volt",
    "current": "current_ampere",
    "temperature": "temperature_celsius",
}
LAST_KNOWN_COLUMNS = (
    *(f"last_{column}" for column in LAST_KNOWN.values()),
    *(f"last_{name}_at" for name in LAST_KNOWN),
)


def last_known(telemetry: pl.DataFrame) -> pl.DataFrame:
    """The last values known of each day, and when that was: columns `last_` of `EnergyEvidence`, by battery and day."""
    known = {name: pl.col(column).is_not_null() for name, column in LAST_KNOWN.items()}
    return (
        telemetry.sort(*BATTERY, "timestamp")
        .group_by(BATTERY_DAY, maintain_order=True)
        .agg(
            last_at=pl.col("timestamp").last(),
            **{f"last_{column}": pl.col(column).filter(known[name]).last() for name, column in LAST_KNOWN.items()},
            **{f"last_{name}_at": pl.col("timestamp").filter(known[name]).last() for name in LAST_KNOWN},
        )
    )
