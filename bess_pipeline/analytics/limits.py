"""Limits: how long a battery was outside its nameplate."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import numpy.typing as npt
import polars as pl
from numba import njit

from bess_pipeline.tables.chemistry import CHEMISTRY

_BATTERY = ("fleet_id", "battery_id")

#: Silence after which an episode has ended: unknown is no alarm.
_SILENCE = timedelta(hours=1)
_INTERVAL = timedelta(minutes=5)


@dataclass(frozen=True)
class Limit:
    """One threshold alarm.

    Attributes:
        code: Name of the event in SunSpec information model 802, `Evt1`.
        watched: Column that must stay inside; the first that is known.
        nameplate: Column of the battery's nameplate with the limit.
        upper: Whether the limit is an upper one.
        beyond: How far outside the nameplate the alarm begins: relative for voltages, in kelvin for temperatures.
        release: How far back inside of where it began the value must come for the alarm to end, likewise.
    """

    code: str
    watched: tuple[str, ...]
    nameplate: str
    upper: bool
    beyond: float
    release: float

    @property
    def relative(self) -> bool:
        """Whether the margins are shares of the limit."""
        return "voltage" in self.nameplate


#: A warning begins beyond the nameplate by what the extreme of several samples of many sensors may err
#: (0.5 % of a cell's voltage, 1 K), an alarm 2.5 % or 5 K beyond. Both end 1 % or 2 K inside of where they began.
LIMITS: tuple[Limit, ...] = tuple(
    Limit(f"{name}_{level}", watched, nameplate, upper=upper, beyond=beyond, release=release)
    for name, watched, nameplate, upper, margins, release in (
        ("OVER_VOLT", ("cell_voltage_max_volt",), "limit_cell_voltage_high_volt", True, (0.005, 0.025), 0.01),
        ("UNDER_VOLT", ("cell_voltage_min_volt",), "limit_cell_voltage_low_volt", False, (0.005, 0.025), 0.01),
        (
            "OVER_TEMP",
            ("temperature_max_celsius", "temperature_celsius"),
            "limit_temperature_high_celsius",
            True,
            (1.0, 5.0),
            2.0,
        ),
        (
            "UNDER_TEMP",
            ("temperature_min_celsius", "temperature_celsius"),
            "limit_temperature_low_celsius",
            False,
            (1.0, 5.0),
            2.0,
        ),
    )
    for level, beyond in zip(("WARNING", "ALARM"), margins, strict=True)
)


@njit(cache=True)
def _episodes(  # noqa: C901 - one state machine, read from top to bottom
    series: npt.NDArray[np.int64],
    times: npt.NDArray[np.int64],
    outside: npt.NDArray[np.float64],
    release: npt.NDArray[np.float64],
    silence: int,
    interval: int,
) -> npt.NDArray[np.int64]:
    """Rows of series, start, end (−1 while open), detection, row of the extreme and intervals outside."""
    out = np.empty((len(outside), 6), dtype=np.int64)
    found = 0
    begun = -1  # first row outside
    inside = True
    extreme = -1
    count = 0
    for i in range(len(outside)):
        fresh = i == 0 or series[i] != series[i - 1]
        if not fresh and begun >= 0 and times[i] - times[i - 1] > silence:
            if not inside:
                out[found - 1, 2] = times[i - 1] + interval
            begun = -1
            inside = True
        if fresh:
            begun = -1
            inside = True
        if outside[i] > 0:
            count += 1
            if begun < 0:
                begun = extreme = i
                count = 1
            elif inside:
                inside = False
                out[found] = (series[i], times[begun], -1, times[i] + interval, i, count)
                found += 1
            if outside[i] > outside[extreme]:
                extreme = i
        elif inside:
            begun = -1
        elif outside[i] <= -release[i]:
            out[found - 1, 2] = times[i]
            begun = -1
            inside = True
        if not inside:
            out[found - 1, 4] = extreme
            out[found - 1, 5] = count
    return out[:found]


def limit_episodes(intervals: pl.DataFrame, batteries: pl.DataFrame) -> pl.DataFrame:
    """The times that a battery spent outside its nameplate, by alarm code.

    An episode needs two neighbouring known intervals outside the limit, so that a single sample is
    never enough, and ends with the first that is back inside by the release margin, or with the
    last before an hour of silence. Where no cell voltages are known, the battery's voltage speaks for its average cell.

    Args:
        intervals: `ClosedInterval5min` rows in any order.
        batteries: `Battery` rows.

    Returns:
        `LimitEpisode` rows by battery, start and code. An episode that its battery's data end in has no end.

    References:
        SunSpec Alliance, Energy Storage Information Models 802, `Evt1`.
    """
    plates = batteries.select(
        *_BATTERY,
        "chemistry",
        "cells_in_series",
        pl.selectors.starts_with("cell_voltage_", "temperature_").name.prefix("limit_"),
    )
    rows = _with_cells(intervals.join(plates, on=_BATTERY, how="inner").sort(*_BATTERY, "timestamp"))
    found = [_of_limit(rows, limit) for limit in LIMITS]
    return pl.concat(found).sort(*_BATTERY, "started_at", "code")


def _with_cells(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows whose unknown cell extremes are those of the average cell: a limit that it leaves, some cell leaves."""
    low, high = (
        pl.col("chemistry").replace_strict({name: cell.plausible_cell_volt[side] for name, cell in CHEMISTRY.items()})
        for side in (0, 1)
    )
    average = {end: pl.col(f"voltage_{end}_volt") / pl.col("cells_in_series") for end in ("min", "max")}
    return rows.with_columns(
        pl.coalesce(f"cell_voltage_{end}_volt", pl.when(value.is_between(low, high)).then(value)).alias(
            f"cell_voltage_{end}_volt"
        )
        for end, value in average.items()
    )


def _of_limit(rows: pl.DataFrame, limit: Limit) -> pl.DataFrame:
    size = pl.col(limit.nameplate).abs() if limit.relative else pl.lit(1.0)
    side = 1.0 if limit.upper else -1.0
    known = rows.select(
        *_BATTERY,
        "timestamp",
        value=pl.coalesce(limit.watched),
        limit=pl.col(limit.nameplate) + side * limit.beyond * size,
        release=limit.release * size,
        battery=pl.struct(_BATTERY).rle_id().cast(pl.Int64),
    ).drop_nulls("value")
    outside = side * (known["value"] - known["limit"])
    table = _episodes(
        known["battery"].to_numpy(),
        known["timestamp"].to_physical().to_numpy(),
        outside.to_numpy(),
        known["release"].to_numpy(),
        _SILENCE // timedelta(microseconds=1),
        _INTERVAL // timedelta(microseconds=1),
    )
    instant = pl.Datetime("us", "UTC")
    extremes = known[table[:, 4]]
    return extremes.select(
        *_BATTERY,
        code=pl.lit(limit.code),
        started_at=pl.Series(table[:, 1]).cast(instant),
        ended_at=pl.Series(table[:, 2]).replace(-1, None).cast(instant),
        detected_at=pl.Series(table[:, 3]).cast(instant),
        limit="limit",
        extreme="value",
        intervals=pl.Series(table[:, 5]),
    )
