"""The truth of a synthetic fleet, in house names: what estimates are held against."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta

import polars as pl

from bess_pipeline.tables.keys import BATTERY

#: Below this share of rated capacity a simulated battery is no battery any more: such truth is left out.
_LEAST_SHARE = 0.5
#: A window of this many days shows how a battery is used [days].
_WINDOW = 30
#: A battery is anchored at full charge when most of its windows reach this state of charge; it swings widely when
#: the median window spans this much of it.
_FULL, _SWING = 0.985, 0.6
#: Cycles from this depth on are counted [1].
_DEPTH = 0.049


@dataclass(frozen=True)
class Truth:
    """What is known of a fleet. Every frame has fleet_id and battery_id; `day` counts from 0 at the first day.

    Attributes:
        first_day: First UTC day.
        days: Days that were simulated.
        end_of_life_percent: Capacity, of rated, at which a battery's life ends [percent].
        batteries: One row per battery: `chemistry`, `anchor` (full, wide or narrow), `is_healthy` (no battery fault
            planted), `end_of_life_day` and `knee_day` (null where there is none), `cycles_per_year`.
        faults: First planted battery fault of each battery that has one: `kind`, `onset_day`, `end_day`.
        daily: One row per battery and day: `date`, `day`, `soh_percent`, `soh_usable_percent`,
            `relative_resistance`, `cycles` so far, `charging_energy_wh`, `discharging_energy_wh`.
        soc: `timestamp` and `soc_percent`.
        deep_cycles: `cycles` deeper than 5 %, per battery.
        future: `day` and `soh_percent` after the last day, were every day like the last ones.
    """

    first_day: date
    days: int
    end_of_life_percent: float
    batteries: pl.DataFrame
    faults: pl.DataFrame
    daily: pl.DataFrame
    soc: pl.DataFrame
    deep_cycles: pl.DataFrame
    future: pl.DataFrame


#: Tables of truth that `known_truth` reads.
TRUTH_TABLES = ("daily", "racks", "faults", "soc_5min", "rainflow_hist", "future_q")


def known_truth(tables: Mapping[str, pl.DataFrame], run: Mapping[str, object], batteries: pl.DataFrame) -> Truth:
    """The truth of one fleet, of tables that may tell of several.

    Args:
        tables: `TRUTH_TABLES` by name, as the simulator writes them: batteries are called racks there, in capitals.
        run: Arguments of the simulation: `start`, `days`, `dt` (seconds from sample to sample), `eol`.
        batteries: `Battery` rows of one fleet.

    Raises:
        LookupError: If the truth knows none of the batteries.
    """
    first = date.fromisoformat(str(run["start"]))
    days, step = int(str(run["days"])), int(str(run["dt"]))
    names = batteries.select(*BATTERY, rack_id=pl.col("battery_id").str.to_uppercase())

    def named(table: pl.DataFrame) -> pl.DataFrame:
        known = table.with_columns(pl.col("rack_id").str.to_uppercase())
        return names.join(known, on="rack_id", how="inner", maintain_order="left_right").drop("rack_id")

    daily = named(tables["daily"]).with_columns(day=(pl.col("date") - first).dt.total_days()).sort(*BATTERY, "day")
    if daily.is_empty():
        raise LookupError(
            f"the truth knows none of the batteries of {', '.join(batteries['fleet_id'].unique().sort())}"
        )
    racks = named(tables["racks"])
    faults = _faults(named(tables["faults"]), first)
    own = (
        racks.join(_anchors(daily, days), on=BATTERY, how="left")
        .join(daily.group_by(BATTERY).agg(efc=pl.col("efc_cum").last(), seen=pl.len()), on=BATTERY, how="left")
        .select(
            *BATTERY,
            "anchor",
            chemistry="chem",
            end_of_life_day=pl.when(pl.col("eol_day") > 0).then("eol_day"),
            knee_day=pl.col("knee_day").cast(pl.Float64),
            cycles_per_year=pl.col("efc") / pl.col("seen") * 365.25,
        )
        .join(faults.select(*BATTERY, is_healthy=pl.lit(value=False)), on=BATTERY, how="left")
        .with_columns(pl.col("is_healthy").fill_null(value=True))
        .sort(BATTERY)
    )
    return Truth(
        first_day=first,
        days=days,
        end_of_life_percent=100 * float(str(run["eol"])),
        batteries=own,
        faults=faults,
        daily=_daily(daily),
        soc=_soc(named(tables["soc_5min"]), timedelta(seconds=step)),
        deep_cycles=named(tables["rainflow_hist"])
        .filter(pl.col("range_lo") >= _DEPTH)
        .group_by(BATTERY, maintain_order=True)
        .agg(cycles=pl.col("count").sum()),
        future=named(tables["future_q"])
        .filter(pl.col("q_future") >= _LEAST_SHARE)
        .select(*BATTERY, pl.col("day").cast(pl.Int64), soh_percent=100 * pl.col("q_future"))
        .sort(*BATTERY, "day"),
    )


def _anchors(daily: pl.DataFrame, days: int) -> pl.DataFrame:
    """How well a battery's use shows its state of charge, from whole windows of true days."""
    begins = pl.col("day") // _WINDOW * _WINDOW
    windows = (
        daily.filter(begins <= max(0, days - _WINDOW))
        .group_by(*BATTERY, begins=begins)
        .agg(high=pl.col("soc_max").max(), low=pl.col("soc_min").min())
    )
    is_full = (pl.col("high") >= _FULL).mean() > 0.5
    is_wide = (pl.col("high") - pl.col("low")).median() >= _SWING
    return windows.group_by(BATTERY).agg(
        anchor=pl.when(is_full).then(pl.lit("full")).when(is_wide).then(pl.lit("wide")).otherwise(pl.lit("narrow"))
    )


def _faults(faults: pl.DataFrame, first: date) -> pl.DataFrame:
    def day(column: str) -> pl.Expr:
        return (pl.col(column).cast(pl.Datetime("us")) - pl.lit(first).cast(pl.Datetime("us"))) / pl.duration(days=1)

    return faults.unique(BATTERY, keep="first", maintain_order=True).select(
        *BATTERY, kind="fault", onset_day=day("onset").cast(pl.Float64), end_day=day("end").cast(pl.Float64)
    )


def _daily(daily: pl.DataFrame) -> pl.DataFrame:
    return daily.filter(pl.col("q_mean") >= _LEAST_SHARE).select(
        *BATTERY,
        "date",
        "day",
        soh_percent=100 * pl.col("q_mean"),
        soh_usable_percent=100 * pl.col("soh_usable"),
        relative_resistance="r_rel",
        cycles="efc_cum",
        charging_energy_wh="wh_chg",
        discharging_energy_wh="wh_dis",
    )


def _soc(soc: pl.DataFrame, step: timedelta) -> pl.DataFrame:
    """The state of charge at its own instant: the truth is filed under the start of the sample whose end it tells."""
    at = pl.col("ts").cast(pl.Datetime("us")).dt.replace_time_zone("UTC") + pl.lit(step)
    return soc.select(*BATTERY, timestamp=at, soc_percent=100 * pl.col("soc_true").cast(pl.Float64)).sort(
        *BATTERY, "timestamp"
    )
