"""State of health: capacity and resistance of each battery, day by day, and how well its use lets them be seen."""

from __future__ import annotations

from datetime import timedelta

import polars as pl

from bess_pipeline.analytics.memory import epoch_of
from bess_pipeline.tables.columns import NORMAL_90
from bess_pipeline.tables.health import USABLE, StateOfHealth
from bess_pipeline.tables.keys import BATTERY, BATTERY_DAY

#: Relative error of the gain of current sensors: it goes one to one into capacity, and nothing in the data tells it.
GAIN_ERROR = 0.004
#: What lasting errors of the model add to the filter's standard error: a factor, and at least so much of rated.
INFLATION, LEAST_SIGMA = 1.2, 0.004
#: An estimate begins when so much of the variance that there was before any data is gone.
_LEARNT, _PRIOR_SIGMA = 0.2, 0.025
#: Charge from which on a battery is full, and swing from which on its use is wide [%]; days that are looked at.
_FULL_PERCENT, _WIDE_PERCENT = 98.5, 60.0
_WINDOW_DAYS, _WINDOWS = 30, 3
_METHOD = "state filter"
_RESISTANCES = ("ohm", "lower_ohm", "upper_ohm", "increase_percent", "increase_lower_percent", "increase_upper_percent")


#: Days before the epoch of the memory whose use still counts.
BEFORE = timedelta(days=_WINDOWS * _WINDOW_DAYS)


def state_of_health(
    states: pl.DataFrame, resistances: pl.DataFrame, batteries: pl.DataFrame, memory: pl.DataFrame | None = None
) -> pl.DataFrame:
    """Say how much each battery holds at the end of each day, with a 90 % interval.

    The capacity is that of the filter. Its standard error is widened for errors of the
    model that last, and by the gain of the current sensor, 0.4 %, which no telemetry
    can tell.

    Observability: `full` when the battery reached 98.5 % in most of the last three
    30-day windows; `wide` when it swung by 60 points in these 90 days; else `narrow`.

    Args:
        states: `BatteryState` rows.
        resistances: `ResistanceDaily` rows.
        batteries: `Battery` rows.
        memory: `HealthMemory` rows of one epoch; none to begin at the beginning.

    Returns:
        `StateOfHealth` rows: one per day from the first on at which data tell of the capacity, of those from the epoch
        on if there is one; sorted.
    """
    rated = pl.col("rated_capacity_ah")
    relative = pl.col("capacity_sigma_ah") / pl.col("capacity_ah")
    sigma = ((INFLATION * relative) ** 2 + GAIN_ERROR**2 + LEAST_SIGMA**2).sqrt() * pl.col("capacity_ah") / rated
    known = (
        states.join(batteries.select(*BATTERY, "rated_capacity_ah"), on=BATTERY, how="inner")
        .join(beginnings(states, memory), on=BATTERY, how="left")
        .sort(*BATTERY_DAY)
        .with_columns(level=pl.col("capacity_ah") / rated, sigma=sigma)
    )
    days = _seen(known).filter(pl.col("date") >= pl.col("learnt_on"))
    epoch = epoch_of(memory)
    if epoch is not None:
        days = days.filter(pl.col("date") >= epoch)
    return (
        days.select(
            *BATTERY,
            "date",
            "capacity_ah",
            "observability",
            soh_percent=100 * pl.col("level"),
            soh_lower_percent=100 * (pl.col("level") - NORMAL_90 * pl.col("sigma")),
            soh_upper_percent=100 * (pl.col("level") + NORMAL_90 * pl.col("sigma")),
            **dict.fromkeys(USABLE, pl.lit(None, pl.Float64)),
            observations=pl.col("corrections"),
            method=pl.lit(_METHOD),
        )
        .join(
            resistances.select(*BATTERY_DAY, *(f"resistance_{name}" for name in _RESISTANCES)),
            on=BATTERY_DAY,
            how="left",
        )
        .select(StateOfHealth.column_names())
        .sort(*BATTERY_DAY)
        .pipe(StateOfHealth.validate)
    )


def beginnings(states: pl.DataFrame, memory: pl.DataFrame | None = None) -> pl.DataFrame:
    """When each battery began, and when data had first told of its capacity; see `HealthMemory`.

    Args:
        states: `BatteryState` rows.
        memory: `HealthMemory` rows of the epoch from which on there are rows; none to begin at the beginning.

    Returns:
        `begun_on` and `learnt_on` by battery.
    """
    tells = (pl.col("capacity_sigma_ah") / pl.col("capacity_ah")) ** 2 <= (1 - _LEARNT) * _PRIOR_SIGMA**2
    days = [states.select(*BATTERY, begun_on="date", learnt_on=pl.when(tells).then("date"))]
    if memory is not None:
        days.append(memory.select(*BATTERY, "begun_on", "learnt_on"))
    return pl.concat(days).group_by(BATTERY).agg(pl.col("begun_on", "learnt_on").min())


def _seen(days: pl.DataFrame) -> pl.DataFrame:
    """Each day with how well the use up to it lets the capacity be seen."""
    low, high = pl.col("soc_min_percent"), pl.col("soc_max_percent")

    def window(number: int) -> pl.DataFrame:
        return (
            days.with_columns(pl.col("date").dt.offset_by(f"{number * _WINDOW_DAYS}d"))
            .rolling("date", period=f"{_WINDOW_DAYS}d", group_by=BATTERY)
            .agg(high.max().alias(f"high_{number}"), low.min().alias(f"low_{number}"))
        )

    out = days.with_columns(
        windows=((pl.col("date") - pl.col("begun_on")).dt.total_days() // _WINDOW_DAYS + 1).clip(1, _WINDOWS)
    )
    for number in range(_WINDOWS):
        out = out.join(window(number), on=BATTERY_DAY, how="left")
    reached = pl.sum_horizontal(
        (pl.col(f"high_{number}") >= _FULL_PERCENT).fill_null(value=False).cast(pl.Int64) for number in range(_WINDOWS)
    )
    swing = pl.max_horizontal(f"high_{number}" for number in range(_WINDOWS)) - pl.min_horizontal(
        f"low_{number}" for number in range(_WINDOWS)
    )
    return out.with_columns(
        observability=pl.when(2 * reached > pl.col("windows"))
        .then(pl.lit("full"))
        .when(swing >= _WIDE_PERCENT)
        .then(pl.lit("wide"))
        .otherwise(pl.lit("narrow"))
    )
