"""What a fleet earned at the prices of its file, week by week, beside the best it could have."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, timedelta

import polars as pl

from bess_pipeline.analytics.wear import cost_per_percent
from bess_pipeline.analytics.what_if import Unit, what_if
from bess_pipeline.tables.keys import BATTERY, BATTERY_DAY
from bess_pipeline.tables.lifecycle import DispatchDaily

#: Columns of telemetry that are read.
READS = (*BATTERY, "timestamp", "power_watt", "soc_percent")
#: Efficiency and temperature are those of so many days before a week.
_BEFORE = timedelta(days=28)
_WEEK = timedelta(days=7)
#: The rarest values of power are those of a faulty meter, as often as not.
_RARELY = 0.995


def dispatch_daily(
    assumptions: pl.DataFrame,
    prices: pl.DataFrame,
    telemetry: pl.DataFrame,
    degradation: pl.DataFrame,
    health: pl.DataFrame,
    daily: pl.DataFrame,
    batteries: pl.DataFrame,
) -> pl.DataFrame:
    """Hold each week of each battery against the best it could have done at the fleet's prices.

    A week goes from Monday to Sunday, UTC. What the battery could do, and what wear cost, is what one knew of it when
    the week began (capacity, ageing, efficiency, temperature); only its power, where the fleet file states none, is
    the most that it was seen to give or take in the week and the one before. A week that has just begun is told as far
    as it has come. See `what_if`.

    Args:
        assumptions: `Assumption` rows of the fleet.
        prices: `MarketPrice` rows.
        telemetry: `Telemetry5min` rows, of which `READS` are read.
        degradation: `Degradation` rows.
        health: `StateOfHealth` rows.
        daily: `BatteryDaily` rows.
        batteries: `Battery` rows.

    Returns:
        `DispatchDaily` rows, sorted; none without prices or a cost of replacement, nor of batteries whose ageing,
        capacity, efficiency or temperature was not known when the week began.
    """
    if prices.is_empty() or telemetry.is_empty():
        return DispatchDaily.create_empty()
    found = []
    rows = telemetry.select(READS).sort("timestamp")
    for monday, units in _units(assumptions, rows, degradation, health, daily, batteries):
        seen = _of_week(rows, monday)
        week = _of_week(prices, monday).filter(pl.col("timestamp") <= seen["timestamp"].max())
        told = what_if(week, seen, units).days if week.height else week.clear()
        if told.height:
            found.append(told.with_columns(fleet_id=pl.lit(rows["fleet_id"][0])))
    if not found:
        return DispatchDaily.create_empty()
    return (
        pl.concat(found)
        .select(DispatchDaily.column_names())
        .sort(*BATTERY_DAY, "schedule")
        .pipe(DispatchDaily.validate, cast=True)
    )


def _of_week(rows: pl.DataFrame, monday: date) -> pl.DataFrame:
    """The rows that begin in a week."""
    begin = datetime.combine(monday, datetime.min.time())
    inside = pl.col("timestamp").is_between(pl.lit(begin, _INSTANT), pl.lit(begin + _WEEK, _INSTANT), closed="left")
    return rows.filter(inside)


_INSTANT = pl.Datetime("us", "UTC")


def _units(
    assumptions: pl.DataFrame,
    telemetry: pl.DataFrame,
    degradation: pl.DataFrame,
    health: pl.DataFrame,
    daily: pl.DataFrame,
    batteries: pl.DataFrame,
) -> Iterator[tuple[date, list[Unit]]]:
    """What each battery was at the beginning of each week that has telemetry, as far as that was known."""
    stated = assumptions.filter(name="power_kw")["value"]
    costs = cost_per_percent(assumptions, batteries).rename({"cost": "cost_per_percent"})
    plates = batteries.select(*BATTERY, "chemistry", "rated_energy_wh").join(costs, on=BATTERY)
    weeks = telemetry.select(*BATTERY, monday=pl.col("timestamp").dt.date().dt.truncate("1w")).unique().sort("monday")
    ageing = degradation.select(*BATTERY, "as_of", "calendar_unit_percent", "cycle_unit_percent").sort("as_of")
    known = health.drop_nulls("soh_percent").select(*BATTERY, "date", "soh_percent").sort("date")
    whole = (
        weeks.join(plates, on=BATTERY, how="inner")
        .pipe(_before, ageing, "as_of")
        .pipe(_before, known, "date")
        .join(_used(weeks, daily), on=[*BATTERY, "monday"], how="left")
        .join(_power(weeks, telemetry), on=[*BATTERY, "monday"], how="left")
        .with_columns(power_mw=pl.lit(stated[0] / 1000) if stated.len() else pl.col("power_mw"))
        .select(
            *BATTERY,
            "monday",
            "chemistry",
            energy_mwh=pl.col("rated_energy_wh") / 1e6 * pl.col("soh_percent") / 100,
            power_mw=pl.when(pl.col("power_mw") > 0).then("power_mw"),
            efficiency=pl.col("efficiency") / 100,
            celsius="celsius",
            calendar_unit="calendar_unit_percent",
            cycle_unit="cycle_unit_percent",
            cost_per_percent="cost_per_percent",
        )
        .drop_nulls()
        .sort("monday", *BATTERY)
    )
    for (monday,), rows in whole.group_by("monday", maintain_order=True):
        if isinstance(monday, date):
            yield monday, [Unit(**row) for row in rows.drop("monday", "fleet_id").iter_rows(named=True)]


def _before(weeks: pl.DataFrame, told: pl.DataFrame, day: str) -> pl.DataFrame:
    """The last that was told before each week."""
    return weeks.sort("monday").join_asof(
        told, left_on="monday", right_on=day, by=list(BATTERY), strategy="backward", allow_exact_matches=False,
        check_sortedness=False,
    )  # fmt: skip


def _used(weeks: pl.DataFrame, daily: pl.DataFrame) -> pl.DataFrame:
    """Efficiency and temperature of the four weeks before each week."""
    efficiency = pl.col("round_trip_efficiency_30d_percent")
    # More out than in is a meter's error, and tells nothing of the battery.
    possible = pl.when((efficiency > 0) & (efficiency <= 100)).then(efficiency)
    days = daily.select(*BATTERY, "date", "temperature_mean_celsius", efficiency=possible)
    inside = pl.col("date").is_between(pl.col("monday") - _BEFORE, pl.col("monday"), closed="left")
    return (
        weeks.join(days.sort(*BATTERY_DAY), on=BATTERY, how="inner", maintain_order="left_right")
        .filter(inside)
        .group_by(*BATTERY, "monday", maintain_order=True)
        .agg(
            efficiency=pl.col("efficiency").median(),
            celsius=pl.col("temperature_mean_celsius").mean(),
        )
    )


def _power(weeks: pl.DataFrame, telemetry: pl.DataFrame) -> pl.DataFrame:
    """The most power of each week and the one before, but for the rarest values [MW]."""
    week = pl.col("timestamp").dt.date().dt.truncate("1w")
    both = pl.concat(telemetry.select(*BATTERY, "power_watt", monday=week + shift) for shift in (timedelta(0), _WEEK))
    most = both.group_by(*BATTERY, "monday").agg(power_mw=pl.col("power_watt").abs().quantile(_RARELY) / 1e6)
    return weeks.join(most, on=[*BATTERY, "monday"], how="inner")
