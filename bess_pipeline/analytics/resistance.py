"""Resistance: from the current steps of a day to a resistance at 25 °C, and its growth."""

from __future__ import annotations

import polars as pl

#: Activation energy of the resistance over one sample, 0.2 eV [J/mol], and the gas constant [J/(mol K)].
_ACTIVATION, _GAS = 20_000.0, 8.314462618
_REFERENCE_KELVIN = 298.15
#: Steps that are needed before a resistance is said.
LEAST_STEPS = 4
#: A day's steps count for 1/e after this many days, and for nothing after three times as many.
_FORGETTING_DAYS = 30
_FIRST_DAYS = 30
_KEY = ["fleet_id", "battery_id"]


def day_steps(intervals: pl.DataFrame) -> pl.DataFrame:
    """The current steps of each day, added up.

    Args:
        intervals: `ClosedInterval5min` rows.

    Returns:
        One row per battery and day: `step_count`, the sums `step_current_voltage_sum` [AV],
        `step_current_square_sum` [A²] and `step_voltage_square_sum` [V²], and
        `step_temperature_celsius` [°C], the mean over the steps; sorted.
    """
    heat = pl.when(pl.col("temperature_celsius").is_not_null()).then("step_count")
    return (
        intervals.sort(*_KEY, "timestamp")
        .group_by(*_KEY, "date", maintain_order=True)
        .agg(
            pl.col(
                "step_count", "step_current_voltage_sum", "step_current_square_sum", "step_voltage_square_sum"
            ).sum(),
            heat=(pl.col("temperature_celsius") * heat).sum(),
            weight=heat.sum(),
        )
        .with_columns(step_temperature_celsius=pl.when(pl.col("weight") > 0).then(pl.col("heat") / pl.col("weight")))
        .drop("heat", "weight")
    )


def day_resistance(intervals: pl.DataFrame) -> pl.DataFrame:
    """Resistance of each day, as measured: the regression of voltage steps on current steps.

    Args:
        intervals: `ClosedInterval5min` rows.

    Returns:
        One row per battery and day with `internal_resistance_ohm` [Ω]; null with fewer than 4 steps,
        or where the steps give no positive resistance.
    """
    resistance = pl.col("step_current_voltage_sum") / pl.col("step_current_square_sum")
    usable = (pl.col("step_count") >= LEAST_STEPS) & (pl.col("step_current_square_sum") > 0) & (resistance > 0)
    return (
        day_steps(intervals)
        .select(*_KEY, "date", internal_resistance_ohm=pl.when(usable).then(resistance))
        .sort(*_KEY, "date")
    )


def normalized_resistance(intervals: pl.DataFrame, days: pl.DataFrame) -> pl.DataFrame:
    """Resistance at 25 °C and its growth, from the current steps up to each day.

    Steps of earlier days count with exp(−age/30 days); each day's current steps are
    first scaled to 25 °C with exp(Ea/R·(1/T − 1/298.15 K)), Ea = 20 kJ/mol. The
    growth is over the median of the single days of the battery's first 30 days, and
    unknown before those are over. Days without a temperature, and days whose steps
    show the wrong sign, do not count.

    Args:
        intervals: `ClosedInterval5min` rows.
        days: The battery-days that are asked for: `fleet_id`, `battery_id`, `date`.

    Returns:
        One row per asked battery-day: `resistance_ohm` [Ω], `resistance_increase_percent` [%].

    References:
        W. Waag, S. Käbitz, D. U. Sauer (2013), Applied Energy 102, 885, doi:10.1016/j.apenergy.2012.09.030.
    """
    evidence = day_steps(intervals)
    kelvin = pl.col("step_temperature_celsius") + 273.15
    factor = (_ACTIVATION / _GAS * (1 / kelvin - 1 / _REFERENCE_KELVIN)).exp()
    steps = (
        evidence.filter(
            pl.col("step_count") > 0, pl.col("step_current_voltage_sum") > 0, pl.col("step_temperature_celsius") > -60
        )
        .select(
            *_KEY,
            "date",
            day_number=pl.col("date").to_physical().cast(pl.Float64),
            steps=pl.col("step_count"),
            voltage=pl.col("step_current_voltage_sum"),
            current=pl.col("step_current_square_sum") * factor,
        )
        .filter(pl.col("current") > 0)
        .sort(*_KEY, "date")
    )
    began = evidence.group_by(_KEY).agg(began=pl.col("date").min())
    first = (
        steps.join(began, on=_KEY)
        .filter(pl.col("date") < pl.col("began").dt.offset_by(f"{_FIRST_DAYS}d"), pl.col("steps") >= LEAST_STEPS)
        .group_by(_KEY)
        .agg(when_new=(pl.col("voltage") / pl.col("current")).median())
    )
    asked = days.select(*_KEY, "date").unique().sort(*_KEY, "date")
    window = f"{3 * _FORGETTING_DAYS}d"
    weight = ((pl.col("day_number") - pl.col("day_number").last()) / _FORGETTING_DAYS).exp()
    sums = (
        asked.join(steps.drop("day_number"), on=[*_KEY, "date"], how="full", coalesce=True)
        .with_columns(day_number=pl.col("date").to_physical().cast(pl.Float64))
        .sort(*_KEY, "date")
        .rolling("date", period=window, group_by=_KEY)
        .agg(
            steps=pl.col("steps").sum(),
            resistance_ohm=(pl.col("voltage") * weight).sum() / (pl.col("current") * weight).sum(),
        )
    )
    new_enough = pl.col("date") >= pl.col("began").dt.offset_by(f"{_FIRST_DAYS - 1}d")
    return (
        asked.join(sums, on=[*_KEY, "date"], how="left")
        .join(first, on=_KEY, how="left")
        .join(began, on=_KEY, how="left")
        .with_columns(resistance_ohm=pl.when(pl.col("steps") >= LEAST_STEPS).then("resistance_ohm").fill_nan(None))
        .select(
            *_KEY,
            "date",
            "resistance_ohm",
            resistance_increase_percent=pl.when(new_enough).then(
                100 * (pl.col("resistance_ohm") / pl.col("when_new") - 1)
            ),
        )
        .sort(*_KEY, "date")
    )
