"""What use costs in capacity, and in money: each day as it was, and each way of use as it might be."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import polars as pl

from bess_pipeline.analytics.ageing_clocks import stress_of
from bess_pipeline.tables.keys import BATTERY, BATTERY_DAY
from bess_pipeline.tables.lifecycle import WearByDepth, WearCurve, WearDaily

_YEAR = 365.25
#: Days whose use is the usual one.
_LATELY = 90
#: A day with less discharge says nothing of a price per energy [of rated energy].
_LEAST_DISCHARGE = 0.02
#: Depths that are told together.
_BAND_PERCENT = 20.0
#: Levels at which each factor is told.
LEVELS: dict[str, tuple[float, ...]] = {
    "depth": (10, 20, 30, 40, 50, 60, 70, 80, 90, 100),
    "state of charge": (10, 20, 30, 40, 50, 60, 70, 80, 90, 100),
    "temperature": (5, 10, 15, 20, 25, 30, 35, 40, 45),
    "c_rate": (0.1, 0.2, 0.25, 0.33, 0.5, 0.75, 1.0),
}
#: Factor → what it is called among the inputs of the clocks, and its level over theirs.
_INPUTS = {
    "depth": ("depth", 100.0),
    "state of charge": ("soc", 100.0),
    "temperature": ("celsius", 1.0),
    "c_rate": ("rate", 1.0),
}


def cost_per_percent(assumptions: pl.DataFrame, batteries: pl.DataFrame) -> pl.DataFrame:
    """What each percent of rated capacity is worth: what replacing the battery costs, over the life it has.

    Args:
        assumptions: `Assumption` rows of the fleet.
        batteries: `Battery` rows.

    Returns:
        `fleet_id`, `battery_id` and `cost` [money/%]; null where no cost of replacement was stated.
    """
    stated = assumptions.filter(name="replacement_cost_per_kwh")["value"]
    price = pl.lit(stated[0] if stated.len() else None, pl.Float64)
    life = 100 - pl.col("end_of_life_percent")
    return batteries.select(*BATTERY, cost=pl.when(life > 0).then(price * pl.col("rated_energy_wh") / 1000 / life))


def wear_daily(
    assumptions: pl.DataFrame,
    stress: pl.DataFrame,
    degradation: pl.DataFrame,
    daily: pl.DataFrame,
    batteries: pl.DataFrame,
) -> pl.DataFrame:
    """What each day cost in capacity and in money.

    A day adds to the clocks of ageing (`daily_stress`); what a unit of each clock costs at the battery's age and pace
    is known at the end of its month (`degradation`). A percent of capacity is worth its share of a replacement.

    Args:
        assumptions: `Assumption` rows of the fleet; without a cost of replacement there is no money.
        stress: `DailyStress` rows.
        degradation: `Degradation` rows.
        daily: `BatteryDaily` rows.
        batteries: `Battery` rows.

    Returns:
        `WearDaily` rows, sorted; none of batteries whose ageing is not known yet.
    """
    units = degradation.select(*BATTERY, "as_of", "calendar_unit_percent", "cycle_unit_percent").sort("as_of")
    discharged = pl.col("discharging_energy_wh")
    costs = cost_per_percent(assumptions, batteries).join(batteries.select(*BATTERY, "rated_energy_wh"), on=BATTERY)
    is_enough = discharged >= _LEAST_DISCHARGE * pl.col("rated_energy_wh")
    return (
        stress.sort("date")
        .join_asof(
            units, left_on="date", right_on="as_of", by=list(BATTERY), strategy="forward", check_sortedness=False
        )
        .drop_nulls("as_of")
        .join(daily.select(*BATTERY_DAY, "discharging_energy_wh"), on=BATTERY_DAY, how="left")
        .join(costs, on=BATTERY, how="inner")
        .with_columns(
            calendar_loss_percent=pl.col("calendar") * pl.col("calendar_unit_percent"),
            cycle_loss_percent=pl.col("cycle") * pl.col("cycle_unit_percent"),
        )
        .with_columns(
            calendar_cost=pl.col("calendar_loss_percent") * pl.col("cost"),
            cycle_cost=pl.col("cycle_loss_percent") * pl.col("cost"),
        )
        .with_columns(cycle_cost_per_mwh=pl.when(is_enough).then(pl.col("cycle_cost") / (discharged / 1e6)))
        .select(WearDaily.column_names())
        .sort(*BATTERY_DAY)
        .pipe(WearDaily.validate)
    )


def wear_by_depth(wear: pl.DataFrame, cycles: pl.DataFrame, batteries: pl.DataFrame) -> pl.DataFrame:
    """What of each month's loss by cycling cycles of each depth cost.

    The month's loss (`WearDaily`) is shared out by what the clock of cycling says of each cycle that ended in it:
    its depth, its C-rate, and how much of a full cycle it is.

    Args:
        wear: `WearDaily` rows.
        cycles: `Cycle` rows.
        batteries: `Battery` rows.

    Returns:
        `WearByDepth` rows, sorted; of months without a cycle there are none.
    """
    # Sums in one order: of the same rows, however they come, the same to the last bit.
    ordered = cycles.sort(*BATTERY, "started_at", "ended_at")
    known = ordered.join(
        batteries.select(*BATTERY, "chemistry"), on=BATTERY, how="inner", maintain_order="left"
    ).select(
        *BATTERY,
        "chemistry",
        "count",
        date=pl.col("ended_at").dt.date(),
        celsius=pl.col("temperature_mean_celsius").fill_null(25.0),
        soc=(pl.col("mean_soc_percent") / 100).clip(0, 1),
        depth=(pl.col("depth_percent") / 100).clip(0, 1),
        volt=pl.lit(None, pl.Float64),
        rate=pl.col("c_rate_mean").fill_null(0.0),
        cycles=pl.col("count") * pl.col("depth_percent") / 100,
    )
    if known.is_empty() or wear.is_empty():
        return WearByDepth.create_empty()
    band = (pl.col("depth") * 100 / _BAND_PERCENT).floor().clip(0, 100 / _BAND_PERCENT - 1) * _BAND_PERCENT
    shares = (
        pl.concat([known, stress_of(known).select("cycle")], how="horizontal")
        .group_by(*BATTERY, month=pl.col("date").dt.month_start(), depth_lower_percent=band, maintain_order=True)
        .agg(cycles=pl.col("count").sum(), equivalent_full_cycles=pl.col("cycles").sum(), weight=pl.col("cycle").sum())
        .with_columns(share=pl.col("weight") / pl.col("weight").sum().over(*BATTERY, "month"))
    )
    months = wear.sort(*BATTERY_DAY).group_by(*BATTERY, month=pl.col("date").dt.month_start(), maintain_order=True)
    lost = months.agg(
        pl.col("cycle_loss_percent").sum(),
        cycle_cost=pl.when(pl.col("cycle_cost").is_not_null().any()).then(pl.col("cycle_cost").sum()),
    )
    return (
        shares.join(lost, on=[*BATTERY, "month"], how="inner")
        .with_columns(
            pl.col("cycle_loss_percent", "cycle_cost") * pl.col("share").fill_nan(None),
            depth_upper_percent=pl.col("depth_lower_percent") + _BAND_PERCENT,
        )
        .select(WearByDepth.column_names())
        .sort(*BATTERY, "month", "depth_lower_percent")
        .pipe(WearByDepth.validate)
    )


def wear_curves(
    assumptions: pl.DataFrame,
    degradation: pl.DataFrame,
    evidence: pl.DataFrame,
    batteries: pl.DataFrame,
    ocv_curves: pl.DataFrame,
) -> pl.DataFrame:
    """What wear would be if one thing about the use of a battery were different.

    The usual use is the mean of the last 90 days with data: temperature, the middle and the depth of the daily swing,
    the C-rate at work, cycles a day. One of the first four is varied; the clocks of ageing (`stress_of`) tell what a
    day of that use adds, and the battery's own pace at its age what that costs now. The energy that is cycled stays
    what it is: shallower cycles are more of them.

    Args:
        assumptions: `Assumption` rows of the fleet.
        degradation: `Degradation` rows.
        evidence: `EnergyEvidence` rows.
        batteries: `Battery` rows.
        ocv_curves: `OcvPoint` rows.

    Returns:
        `WearCurve` rows, sorted; none of batteries whose ageing is not known yet.
    """
    known = degradation.sort("as_of").group_by(*BATTERY).last()
    usual = usual_use(evidence, batteries).join(known, on=BATTERY, how="inner")
    if usual.is_empty():
        return WearCurve.create_empty()
    days = pl.concat([_varied(usual, factor) for factor in LEVELS])
    days = days.with_columns(volt=volts_at(days, ocv_curves), date=pl.lit(date(2000, 1, 1)))
    added = pl.concat([days, stress_of(days).select("calendar", "cycle")], how="horizontal")
    # A full cycle discharges about what the battery is rated for.
    energy = pl.col("cycles") * pl.col("rated_energy_wh") / 1e6
    by_cycling = pl.col("cycle") * pl.col("cycle_unit_percent")
    return (
        added.join(cost_per_percent(assumptions, batteries), on=BATTERY, how="inner")
        .with_columns(
            calendar_loss_percent_per_year=pl.col("calendar") * pl.col("calendar_unit_percent") * _YEAR,
            cycle_loss_percent_per_year=by_cycling * _YEAR,
            cycle_loss_percent_per_mwh=pl.when(energy > 0).then(by_cycling / energy),
        )
        .with_columns(
            cycle_cost_per_mwh=pl.col("cycle_loss_percent_per_mwh") * pl.col("cost"),
            calendar_cost_per_year=pl.col("calendar_loss_percent_per_year") * pl.col("cost"),
        )
        .select(WearCurve.column_names())
        .sort(*BATTERY, "factor", "level")
        .pipe(WearCurve.validate)
    )


def usual_use(evidence: pl.DataFrame, batteries: pl.DataFrame) -> pl.DataFrame:
    """How each battery was used on the last 90 days with data.

    Args:
        evidence: `EnergyEvidence` rows.
        batteries: `Battery` rows.

    Returns:
        One row per battery: `celsius` [°C], the middle `soc` and the `depth` of the daily swing [1], the C-rate at work
        `rate` [1/h], full `cycles` a day, and of its nameplate `chemistry`, `rated_capacity_ah`, `rated_energy_wh`.
    """
    low, high = pl.col("soc_min_percent"), pl.col("soc_max_percent")
    plates = batteries.select(*BATTERY, "chemistry", "rated_capacity_ah", "rated_energy_wh")
    rated = pl.col("rated_capacity_ah")
    return (
        evidence.filter(pl.col("date") > pl.col("date").max().over(BATTERY) - timedelta(days=_LATELY))
        .sort(*BATTERY_DAY)
        .group_by(*BATTERY, maintain_order=True)
        .agg(
            celsius=pl.col("temperature_mean_celsius").mean().fill_null(25.0),
            soc=((low + high) / 200).mean().clip(0, 1).fill_null(0.5),
            depth=((high - low) / 100).mean().clip(0, 1).fill_null(0.0),
            moved=(pl.col("charged") + pl.col("discharged")).sum(),
            hours=pl.col("active_hours").sum(),
            days=pl.len(),
        )
        .join(plates, on=BATTERY, how="inner")
        .with_columns(
            rate=pl.when(pl.col("hours") > 0).then(pl.col("moved") / pl.col("hours") / rated).otherwise(0.0),
            cycles=pl.col("moved") / (2 * rated) / pl.col("days"),
        )
    )


def _varied(usual: pl.DataFrame, factor: str) -> pl.DataFrame:
    """The usual use with one factor at each of its levels."""
    column, scale = _INPUTS[factor]
    levels = pl.DataFrame({"level": LEVELS[factor]}, schema={"level": pl.Float64})
    return usual.join(levels, how="cross").with_columns(
        (pl.col("level") / scale).alias(column), usual=pl.col(column) * scale, factor=pl.lit(factor)
    )


def volts_at(days: pl.DataFrame, ocv_curves: pl.DataFrame) -> pl.Series:
    """Open-circuit voltage of a cell at the state of charge of each row [V].

    Args:
        days: Rows of batteries with `soc` [1].
        ocv_curves: `OcvPoint` rows.
    """
    points = ocv_curves.sort(*BATTERY, "soc_percent")
    curves = {key: rows.select("soc_percent", "ocv_volt").to_numpy().T for key, rows in points.group_by(*BATTERY)}
    keyed = zip(days.select(*BATTERY).rows(), 100 * days["soc"].to_numpy(), strict=True)
    return pl.Series([float(np.interp(percent, *curves[key])) for key, percent in keyed])
