"""Rainflow cycles of the state of charge, the same under any cut of the history."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from bess_pipeline.analytics import rainflow
from bess_pipeline.analytics.memory import Recalled, Stretch
from bess_pipeline.analytics.traces import traces
from bess_pipeline.arrays import Floats
from bess_pipeline.tables.cycles import Cycle, CycleHistogram
from bess_pipeline.tables.keys import BATTERY, BATTERY_DAY

#: Widths of the bins of a histogram: depth and middle of the cycles [percent].
DEPTH_BIN_PERCENT, MEAN_SOC_BIN_PERCENT = 5.0, 10.0

#: Ranges below this are noise of the estimate rather than use of the battery [percent].
SMALLEST_PERCENT = 0.5


@dataclass(frozen=True)
class Cycles:
    """What was counted.

    Attributes:
        cycles: `Cycle` rows, sorted by battery, start and end.
        memory: `EpochMemory` rows of the epochs that begin within the rows.
    """

    cycles: pl.DataFrame
    memory: pl.DataFrame


def cycles(
    telemetry: pl.DataFrame,
    batteries: pl.DataFrame,
    memory: pl.DataFrame | None = None,
    *,
    smallest_percent: float = SMALLEST_PERCENT,
) -> Cycles:
    """Count the rainflow cycles of each battery's state of charge, and what each asked of the battery.

    Every cycle is counted first and those below ``smallest_percent`` are left out
    afterwards, so that leaving out changes no other cycle. The end of the data is itself
    a reversal: cycles that it closes, and half cycles that nothing has closed, may still change,
    and have no `counted_at`.

    Temperature and C-rate are those of the rows that begin from the first of the two turning
    points on and before the second. A closed cycle is there and back; its span is the
    way there, as rainflow counting knows no way back of its own.

    Args:
        telemetry: `Telemetry5min` rows in any order; with a memory, those from its epoch on.
        batteries: `Battery` rows.
        memory: `EpochMemory` rows of one epoch; none to begin at the beginning.
        smallest_percent: Least range of a cycle that is told [percent].

    Returns:
        All cycles that were not certain before the epoch.

    References:
        ASTM E1049-85 (2017), Standard Practices for Cycle Counting in Fatigue Analysis, section 5.4.4.
    """
    names = ("timestamp", "date", "soc_percent", "temperature_celsius", "current_ampere")
    series = traces(telemetry.select(*BATTERY, *names), batteries)
    start, value, celsius = series.start_us, series.column("soc_percent"), series.column("temperature_celsius")
    rate = np.abs(series.column("current_ampere")) / series.nameplate("rated_capacity_ah")[series.battery_index]
    recalled = Recalled(series, memory)
    found: list[tuple[int, Floats]] = []

    def counted(part: Stretch) -> list[Floats]:
        carried = rainflow.nothing() if part.carried is None else part.carried
        own, kept = rainflow.counted(
            start[part.rows], value[part.rows], celsius[part.rows], rate[part.rows], carried, part.keep_at
        )
        found.append((part.battery, own))
        return list(kept)

    recalled.over(counted)
    told = [_named(series.batteries[battery], own) for battery, own in found]
    rows = pl.concat([Cycle.create_empty(), *told]).filter(pl.col("depth_percent") >= smallest_percent)
    return Cycles(rows.sort(*BATTERY, "started_at", "ended_at").pipe(Cycle.validate), recalled.memory())


def _named(battery: pl.DataFrame, found: Floats) -> pl.DataFrame:
    """One battery's cycles with the names of the contract."""
    first, second = found[:, rainflow.FIRST], found[:, rainflow.SECOND]
    loads = found[:, 6:]
    with np.errstate(invalid="ignore"):
        warmth, rate = (
            loads[:, total] / loads[:, count]
            for total, count in ((rainflow.WARMTH, rainflow.WARM), (rainflow.RATES, rainflow.RATED))
        )
    columns = {
        "depth_percent": np.abs(first - second),
        "mean_soc_percent": (first + second) / 2,
        "count": found[:, rainflow.COUNT],
        "temperature_mean_celsius": warmth,
        "c_rate_mean": rate,
        "c_rate_max": np.where(loads[:, rainflow.RATED] > 0, loads[:, rainflow.LARGEST], np.nan),
    }
    instants = {"started_at": rainflow.STARTED, "ended_at": rainflow.ENDED, "counted_at": rainflow.COUNTED}
    times = {
        name: pl.Series(found[:, at]).fill_nan(None).cast(pl.Int64).cast(pl.Datetime("us", "UTC"))
        for name, at in instants.items()
    }
    fleet, name = battery.select(BATTERY).row(0)
    rows = pl.DataFrame(times | {column: pl.Series(values).fill_nan(None) for column, values in columns.items()})
    return rows.with_columns(fleet_id=pl.lit(fleet), battery_id=pl.lit(name)).select(Cycle.column_names())


def cycle_histogram(found: pl.DataFrame) -> pl.DataFrame:
    """Count cycles by the day in which they ended, their depth and their middle.

    Args:
        found: `Cycle` rows.

    Returns:
        `CycleHistogram` rows, sorted; bins without a cycle have none. A half cycle that is closed later
        becomes a whole one, so that days are final only once all cycles that began before have closed.
    """

    def lower(column: str, width: float) -> pl.Expr:
        value = pl.col(column)
        begin = (value / width).floor() * width
        # A quotient that is rounded up to a whole number is one bin too far.
        return pl.when(begin > value).then(begin - width).otherwise(begin)

    depth, middle = "depth_lower_percent", "mean_soc_lower_percent"
    bins = [*BATTERY_DAY, depth, middle]
    return (
        found.with_columns(
            lower("depth_percent", DEPTH_BIN_PERCENT).alias(depth),
            lower("mean_soc_percent", MEAN_SOC_BIN_PERCENT).alias(middle),
            date=pl.col("ended_at").dt.date(),
        )
        .group_by(bins)
        .agg(pl.col("count").sum())
        .with_columns(
            depth_upper_percent=pl.col(depth) + DEPTH_BIN_PERCENT,
            mean_soc_upper_percent=pl.col(middle) + MEAN_SOC_BIN_PERCENT,
        )
        .select(CycleHistogram.column_names())
        .sort(bins)
        .pipe(CycleHistogram.validate)
    )
