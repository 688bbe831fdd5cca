"""Energy accounts of a battery's day, and the other daily numbers."""

from __future__ import annotations

import polars as pl

from bess_pipeline.analytics.resistance import day_resistance
from bess_pipeline.tables.energy import BatteryDaily

_KEY = ["fleet_id", "battery_id"]
_DAY = [*_KEY, "date"]
_DAY_US = 86_400 * 1_000_000
_INTERVAL_US = 300_000_000

#: Equivalent full cycles that a round-trip efficiency needs: of the day, each way; of 30 days.
_LEAST_DAY_CYCLES, _LEAST_WINDOW_CYCLES = 0.1, 5.0
#: Share of the 30 days' recorded time that must have been observed.
_LEAST_WINDOW_COVERAGE = 0.95
_WINDOW = "30d"


def battery_daily(
    telemetry: pl.DataFrame, evidence: pl.DataFrame, intervals: pl.DataFrame, batteries: pl.DataFrame
) -> pl.DataFrame:
    """Add up each battery's UTC day.

    Energies and charges are the sums over the day's intervals; equivalent full cycles
    are throughput over twice the rated energy. The day's efficiency is energy out over
    energy in and needs 0.1 equivalent full cycles each way. The 30-day efficiency is

        E_out / (E_in − ΔSOC/100 · E_rated)

    over the days up to this one, ΔSOC from the first interval's start to the last
    one's end; it needs 5 equivalent full cycles and 95 % of the time between these
    two observed. Resistance is the regression over the day's current steps, as
    measured, from 4 steps on.

    Args:
        telemetry: `Telemetry5min` rows.
        evidence: `DayEvidence` rows.
        intervals: `Interval5min` rows with midnights closed.
        batteries: `Battery` rows.

    Returns:
        `BatteryDaily` rows, one per battery and day with intervals, sorted by battery and day.

    References:
        Cycles: numberOfFullCycles of the EU Battery Passport. SOC-corrected efficiency: M. Schimpe et al. (2018),
        Applied Energy 210, 211, doi:10.1016/j.apenergy.2017.10.129.
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
            round_trip_efficiency_percent=pl.when(cycled).then(100 * out / into),
            efficiency_boundary=pl.lit("DC"),
        )
        .join(_window_efficiency(days), on=_DAY, how="left")
        .select(list(BatteryDaily.columns()))
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
    """State of charge over a day, and when its first interval begins and its last ends."""
    net = pl.col("charging_capacity_ah").fill_null(0) - pl.col("discharging_capacity_ah").fill_null(0)
    return (
        telemetry.sort(*_KEY, "timestamp")
        .group_by(_DAY, maintain_order=True)
        .agg(
            soc_min_percent=pl.col("soc_percent").min(),
            soc_max_percent=pl.col("soc_percent").max(),
            first_soc=pl.col("soc_percent").first(),
            last_soc=pl.col("soc_percent").last(),
            last_net=net.last(),
            begins=pl.col("timestamp").first(),
            ends=pl.col("timestamp").last() + pl.duration(microseconds=_INTERVAL_US),
        )
    )


def _window_efficiency(days: pl.DataFrame) -> pl.DataFrame:
    """Efficiency over the 30 days up to each, corrected for the change of the state of charge."""
    into, out, rated = pl.col("charging_energy_wh"), pl.col("discharging_energy_wh"), pl.col("rated_energy_wh")
    window = (
        days.sort(_DAY)
        .rolling("date", period=_WINDOW, group_by=_KEY)
        .agg(
            charging_energy_wh=into.sum(),
            discharging_energy_wh=out.sum(),
            rated_energy_wh=rated.last(),
            change=pl.col("last_soc").last()
            + 100 * pl.col("last_net").last() / pl.col("rated_capacity_ah").last()
            - pl.col("first_soc").first(),
            observed_us=pl.col("observed_us").sum(),
            lasted_us=(pl.col("ends").last() - pl.col("begins").first()).dt.total_microseconds(),
        )
    )
    spent = into - pl.col("change") / 100 * rated
    enough = (
        ((into + out) / (2 * rated) >= _LEAST_WINDOW_CYCLES)
        & (pl.col("observed_us") >= _LEAST_WINDOW_COVERAGE * pl.col("lasted_us"))
        & (spent > 0)
    )
    return window.select(*_DAY, round_trip_efficiency_30d_percent=pl.when(enough).then(100 * out / spent))
