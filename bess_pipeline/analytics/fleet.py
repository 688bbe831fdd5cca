"""The fleet: sums over a day, and how each battery stands now."""

from __future__ import annotations

import polars as pl

from bess_pipeline.analytics.energy import LAST_KNOWN, LAST_KNOWN_COLUMNS
from bess_pipeline.tables.fleet import BatteryLatest, FleetDaily
from bess_pipeline.tables.keys import BATTERY, BATTERY_DAY

#: Columns of every day's rows that say how a battery stands now.
READS_EVIDENCE = (*BATTERY_DAY, "last_at", *LAST_KNOWN_COLUMNS)
READS_DAILY = (*BATTERY_DAY, "equivalent_full_cycles")
READS_HEALTH = (*BATTERY_DAY, "soh_percent")
#: State of health below which a battery is in a bad way [%].
_WARNING_PERCENT, _CRITICAL_PERCENT = 80.0, 70.0


def fleet_daily(daily: pl.DataFrame, batteries: pl.DataFrame) -> pl.DataFrame:
    """Add up the batteries of a fleet, day by day.

    Energies and charges are sums; equivalent full cycles are the mean weighted by
    rated energy; the efficiency is that of the batteries which have one that day,
    energy out over energy in; temperature and coverage are plain means over the
    batteries with data.

    Args:
        daily: `BatteryDaily` rows.
        batteries: `Battery` rows.

    Returns:
        `FleetDaily` rows, sorted by day.
    """

    def total(column: str) -> pl.Expr:
        return pl.when(pl.col(column).count() > 0).then(pl.col(column).sum()).alias(column)

    rated = pl.when(pl.col("equivalent_full_cycles").is_not_null()).then("rated_energy_wh")
    cycled = pl.col("round_trip_efficiency_percent").is_not_null()
    into = pl.col("charging_energy_wh").filter(cycled).sum()
    out = pl.col("discharging_energy_wh").filter(cycled).sum()
    return (
        daily.join(batteries.select(*BATTERY, "rated_energy_wh"), on=BATTERY, how="left")
        .sort("fleet_id", "date", "battery_id")
        .group_by("fleet_id", "date", maintain_order=True)
        .agg(
            total("charging_energy_wh"),
            total("discharging_energy_wh"),
            total("charging_capacity_ah"),
            total("discharging_capacity_ah"),
            pl.col("temperature_mean_celsius").mean(),
            pl.col("temperature_max_celsius").max(),
            pl.col("coverage_fraction").mean().clip(upper_bound=1),
            batteries=pl.len().cast(pl.Int64),
            equivalent_full_cycles=pl.when(rated.sum() > 0).then(
                (pl.col("equivalent_full_cycles") * rated).sum() / rated.sum()
            ),
            round_trip_efficiency_percent=pl.when(into > 0).then(100 * out / into),
        )
        .select(list(FleetDaily.columns()))
        .pipe(FleetDaily.validate)
    )


def battery_latest(
    evidence: pl.DataFrame,
    daily: pl.DataFrame,
    health: pl.DataFrame,
    degradation: pl.DataFrame,
    events: pl.DataFrame,
    batteries: pl.DataFrame,
) -> pl.DataFrame:
    """Say how each battery stands at the end of its data.

    Every measured value is the last one known, at most a day before the battery's last
    interval: a value older than that says nothing of now. Cycles are those of the
    register plus the sum over the days.

    The status is the worst of: `critical` and `warning` for an open event of that
    severity, or a state of health below 70 and 80 %; `watch` for any other open event;
    `good`; `unknown` where there is neither a state of health nor an open event.

    The degradation is the newest of the battery's, positive for loss.

    Args:
        evidence: `EnergyEvidence` rows, of which `READS_EVIDENCE` are read.
        daily: `BatteryDaily` rows, of which `READS_DAILY` are read.
        health: `StateOfHealth` rows, of which `READS_HEALTH` are read.
        degradation: `Degradation` rows.
        events: `AnomalyEvent` rows; an event without an end is open.
        batteries: `Battery` rows.

    Returns:
        `BatteryLatest` rows, one per battery with data, sorted by battery.
    """
    latest_health = (
        health.sort(*BATTERY_DAY).group_by(BATTERY, maintain_order=True).agg(pl.col("soh_percent").drop_nulls().last())
    )
    lost = (
        degradation.sort(*BATTERY, "as_of")
        .group_by(BATTERY, maintain_order=True)
        .agg(pl.col("degradation_percent_per_year").last())
    )
    cycles = daily.sort(*BATTERY_DAY).group_by(BATTERY, maintain_order=True).agg(pl.col("equivalent_full_cycles").sum())
    opened = (
        events.filter(pl.col("ended_at").is_null())
        .group_by(BATTERY)
        .agg(
            open_events=pl.len().cast(pl.Int64),
            any_critical=(pl.col("severity") == "critical").any(),
            any_warning=(pl.col("severity") == "warning").any(),
        )
    )
    soh = pl.col("soh_percent")
    status = (
        pl.when(pl.col("any_critical") | (soh < _CRITICAL_PERCENT).fill_null(value=False))
        .then(pl.lit("critical"))
        .when(pl.col("any_warning") | (soh < _WARNING_PERCENT).fill_null(value=False))
        .then(pl.lit("warning"))
        .when(pl.col("open_events") > 0)
        .then(pl.lit("watch"))
        .when(soh.is_not_null())
        .then(pl.lit("good"))
        .otherwise(pl.lit("unknown"))
    )
    return (
        _last_known(evidence)
        .join(latest_health, on=BATTERY, how="left")
        .join(cycles, on=BATTERY, how="left")
        .join(lost, on=BATTERY, how="left")
        .join(opened, on=BATTERY, how="left")
        .join(batteries.select(*BATTERY, "initial_equivalent_full_cycles"), on=BATTERY, how="left")
        .with_columns(
            pl.col("open_events").fill_null(0),
            pl.col("any_critical", "any_warning").fill_null(value=False),
            equivalent_full_cycles=pl.col("equivalent_full_cycles") + pl.col("initial_equivalent_full_cycles"),
        )
        .with_columns(health_status=status)
        .select(list(BatteryLatest.columns()))
        .sort(BATTERY)
        .pipe(BatteryLatest.validate)
    )


def _last_known(evidence: pl.DataFrame) -> pl.DataFrame:
    """The last values known, of the day before each battery's last interval."""
    until = pl.col("last_at").max().over(BATTERY)

    def known(name: str, column: str) -> pl.Expr:
        fresh = pl.col(f"last_{name}_at") > pl.col("until").dt.offset_by("-1d")
        return pl.col(f"last_{column}").filter(fresh).last().alias(column)

    return (
        evidence.sort(*BATTERY_DAY)
        .with_columns(until=until)
        .group_by(BATTERY, maintain_order=True)
        .agg(
            (pl.col("until").last() + pl.duration(minutes=5)).alias("timestamp"),
            *(known(name, column) for name, column in LAST_KNOWN.items()),
        )
    )
