"""The offset of each current sensor, and charge and energy without it."""

from __future__ import annotations

import polars as pl

from bess_pipeline.tables.health import CurrentOffset
from bess_pipeline.tables.keys import BATTERY, BATTERY_DAY
from bess_pipeline.tables.telemetry import ClosedInterval5min
from bess_pipeline.units import US_PER_HOUR

#: A battery idles below this current [C].
_IDLE_RATE = 0.01
#: Offsets less sure than this are not told [C].
_LEAST_SURE = 0.0005

_METHOD = "state filter"


def current_offsets(states: pl.DataFrame, batteries: pl.DataFrame) -> pl.DataFrame:
    """The offset of each battery's current sensor, where it is known to 0.0005 C.

    The filter finds it with the state of charge: what is left over between two
    voltages that say how full the battery is, per hour with a current. A current that
    the logger reports as exactly zero carries none.

    Args:
        states: `BatteryState` rows.
        batteries: `Battery` rows.

    Returns:
        `CurrentOffset` rows, one per battery and day, sorted; null where it is not sure enough.
    """
    sure = pl.col("offset_sigma_ampere") <= _LEAST_SURE * pl.col("rated_capacity_ah")
    return (
        states.join(batteries.select(*BATTERY, "rated_capacity_ah"), on=BATTERY, how="inner")
        .with_columns(method=pl.lit(_METHOD))
        .select(
            *BATTERY,
            "date",
            *(
                pl.when(sure).then(pl.col(name)).alias(name)
                for name in ("offset_ampere", "offset_sigma_ampere", "method")
            ),
        )
        .sort(*BATTERY_DAY)
        .pipe(CurrentOffset.validate)
    )


def without_offset(intervals: pl.DataFrame, offsets: pl.DataFrame, batteries: pl.DataFrame) -> pl.DataFrame:
    """Charge and energy of each row as they are once the sensor's offset is taken off.

    A current reported as exactly zero carries no offset. In a row that goes one way
    the offset is taken off that way; in one that goes both ways half of it off each.
    Of a row in which the battery idles the net remains: what goes to and fro is noise.

    Args:
        intervals: `ClosedInterval5min` rows.
        offsets: `CurrentOffset` rows; rows of days without one stay as they are.
        batteries: `Battery` rows.

    Returns:
        `ClosedInterval5min` rows, sorted by battery and start.
    """
    hours = pl.col("current_observed_us") / (pl.col("current_observed_us") * 0 + US_PER_HOUR)
    known = intervals.join(offsets.select(*BATTERY_DAY, "offset_ampere"), on=BATTERY_DAY, how="left").join(
        batteries.select(*BATTERY, "rated_capacity_ah"), on=BATTERY, how="left"
    )
    idle = pl.col("current_abs_max_ampere") < _IDLE_RATE * pl.col("rated_capacity_ah")
    off = pl.when(pl.col("current_ampere") != 0).then("offset_ampere").fill_null(0.0) * hours
    volt = pl.coalesce("voltage_volt", pl.col("power_watt") / pl.col("current_ampere"))
    return (
        known.with_columns(
            *_shifted("charging_capacity_ah", "discharging_capacity_ah", off, idle),
            *_shifted("charging_energy_wh", "discharging_energy_wh", off * volt.fill_null(0.0).fill_nan(0.0), idle),
        )
        .select(ClosedInterval5min.column_names())
        .sort(*BATTERY, "timestamp")
    )


def _shifted(into: str, out: str, off: pl.Expr, idle: pl.Expr) -> list[pl.Expr]:
    up, down = pl.col(into), pl.col(out)
    share = pl.when(down == 0).then(1.0).when(up == 0).then(0.0).otherwise(0.5)
    new_up, new_down = up - share * off, down + (1 - share) * off
    net = new_up - new_down
    crossed = (new_up < 0) | (new_down < 0) | idle.fill_null(value=False)
    return [
        pl.when(off == 0).then(up).when(crossed).then(pl.max_horizontal(net, 0.0)).otherwise(new_up).alias(into),
        pl.when(off == 0).then(down).when(crossed).then(pl.max_horizontal(-net, 0.0)).otherwise(new_down).alias(out),
    ]
