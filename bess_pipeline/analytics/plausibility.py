"""Whether channels that must agree by physics do: voltage with cells, reported charge with counted charge."""

from __future__ import annotations

import polars as pl

from bess_pipeline.tables.keys import BATTERY, BATTERY_DAY

#: Voltage and cells in series may differ by this share of the voltage.
VOLTAGE_TOLERANCE = 0.03

#: An hour is at work when it moves this share of the rated capacity [%].
LEAST_MOVED = 2.0

#: The reported charge may differ from the counted by this share of the latter, and by two digits of 1 %.
CHARGE_TOLERANCE = 0.5
_DIGITS = 2.0

#: An hour is whole when all but a minute of it is known.
_WHOLE_HOUR_US = 3_540_000_000


def voltage_mismatch(intervals: pl.DataFrame, batteries: pl.DataFrame) -> pl.DataFrame:
    """How much of each day the voltage is not that of the cells in series.

    The middle of the battery's lowest and highest voltage in 5 minutes stands against
    the cells in series times the middle of the lowest and highest cell. A single weak
    cell moves the latter by half of what it is low by, divided by the voltage of a cell.

    Args:
        intervals: `ClosedInterval5min` rows, in any order.
        batteries: `Battery` rows.

    Returns:
        A row per battery and day on which both are known, sorted: ``cell_voltage_mismatch_fraction`` [1].
    """
    cells = pl.when(pl.col("cells_in_series") > 0).then("cells_in_series")
    stack = cells * (pl.col("cell_voltage_min_volt") + pl.col("cell_voltage_max_volt")) / 2
    own = (pl.col("voltage_min_volt") + pl.col("voltage_max_volt")) / 2
    return (
        intervals.join(batteries.select(*BATTERY, "cells_in_series"), on=BATTERY, how="left")
        .select(*BATTERY_DAY, differs=(own - stack).abs() > VOLTAGE_TOLERANCE * stack)
        .drop_nulls("differs")
        .group_by(BATTERY_DAY)
        .agg(cell_voltage_mismatch_fraction=pl.col("differs").mean())
        .sort(BATTERY_DAY)
    )


def charge_mismatch(intervals: pl.DataFrame, batteries: pl.DataFrame) -> pl.DataFrame:
    """How far the reported state of charge moves otherwise than the charge that flowed.

    Compared are whole hours in which at least 2 % of the rated capacity moved: the
    digit of a report is often 1 %, as much as 5 minutes at C/8 move.

    Args:
        intervals: `ClosedInterval5min` rows, in any order.
        batteries: `Battery` rows.

    Returns:
        A row per battery and day with such an hour, sorted: ``soc_bms_deviation_percent``, the median difference
        of an hour [%], and ``soc_bms_mismatch_fraction``, the share of these hours in which it is more than half of
        what moved, and than two digits [1].
    """
    moved = 100 * (pl.col("charging_capacity_ah") - pl.col("discharging_capacity_ah"))
    hours = (
        intervals.sort(*BATTERY, "timestamp")
        .with_columns(hour=pl.col("timestamp").dt.truncate("1h"))
        .group_by(*BATTERY_DAY, "hour", maintain_order=True)
        .agg(
            report=pl.col("soc_bms_percent").filter(pl.col("timestamp") == pl.col("hour")).first(),
            moved=moved.sum(),
            known_us=pl.col("current_observed_us").sum(),
        )
    )
    follows = pl.col("hour").shift(-1).over(BATTERY) - pl.col("hour") == pl.duration(hours=1)
    reported = pl.when(follows).then(pl.col("report").shift(-1).over(BATTERY)) - pl.col("report")
    counted = pl.col("moved") / pl.col("rated_capacity_ah")
    return (
        hours.join(batteries.select(*BATTERY, "rated_capacity_ah"), on=BATTERY, how="left", maintain_order="left")
        .select(*BATTERY_DAY, "known_us", counted=counted, deviation=(reported - counted).abs())
        .filter((pl.col("known_us") >= _WHOLE_HOUR_US) & (pl.col("counted").abs() >= LEAST_MOVED))
        .drop_nulls("deviation")
        .with_columns(differs=pl.col("deviation") > (CHARGE_TOLERANCE * pl.col("counted").abs()).clip(_DIGITS))
        .group_by(BATTERY_DAY)
        .agg(
            soc_bms_deviation_percent=pl.col("deviation").median(),
            soc_bms_mismatch_fraction=pl.col("differs").mean(),
        )
        .sort(BATTERY_DAY)
    )
