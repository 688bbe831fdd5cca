"""Samples condensed to 5 minutes, the evidence of each day, and midnights closed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl

from bess_pipeline.analytics.integration import binned_integrals
from bess_pipeline.analytics.telemetry import in_order
from bess_pipeline.tables import telemetry as contracts
from bess_pipeline.tables.keys import BATTERY, BATTERY_DAY
from bess_pipeline.tables.telemetry import (
    CELL_VOLTAGES,
    FLAGS,
    INTERVAL_US,
    STEP_COUNTS,
    STEP_SUMS,
    TEMPERATURES,
    VOIDS,
)
from bess_pipeline.units import US_PER_DAY, US_PER_HOUR

#: Silences of up to this many usual intervals, and of up to a minute, are bridged.
GAP_INTERVALS = 5
SHORTEST_GAP_US = 60_000_000

#: The usual interval of a day with few samples cannot be told from its gaps: it is at most this.
LONGEST_USUAL_US = 900_000_000

#: A change of current of this share of 1 C between neighbours this far apart at most is a step.
STEP_C_RATE = 0.05
STEP_US = 60_000_000
#: Before a steady step the current changed by this share of the step at most: what was before does not linger in it.
STEADY_SHARE = 0.25
#: The voltage may have drifted by this share of the step. The drift is taken off where a current of this many C flowed.
DRIFT_SHARE, DRIFT_RATE = 0.2, 0.02

_SUFFIX = {
    "voltage": "voltage_volt",
    "current": "current_ampere",
    "power": "power_watt",
    "temperature": "temperature_celsius",
    "ambient_temperature": "ambient_temperature_celsius",
    "power_ac": "power_ac_watt",
    "auxiliary_power": "auxiliary_power_watt",
}
#: How a channel is known of a sample.
_IS_KNOWN = {
    "voltage": pl.col("voltage_volt").is_not_null(),
    "current": pl.col("current_ampere").is_not_null(),
    "power": (pl.col("voltage_volt") * pl.col("current_ampere")).is_not_null() | pl.col("power_watt").is_not_null(),
    "temperature": pl.any_horizontal(pl.col(TEMPERATURES).is_not_null()),
    "cell_voltage": pl.any_horizontal(pl.col(CELL_VOLTAGES).is_not_null()),
    "soc_bms": pl.col("soc_bms_percent").is_not_null(),
}
#: The same after what flags void is taken away; the extremes do not stand for a mean that stands still.
_IS_USABLE = _IS_KNOWN | {"temperature": _IS_KNOWN["temperature"] & ~pl.col("temperature_stuck")}
_AMOUNTS = {
    "current": ("charging_capacity_ah", "discharging_capacity_ah"),
    "power": ("charging_energy_wh", "discharging_energy_wh"),
    "power_ac": ("charging_energy_ac_wh", "discharging_energy_ac_wh"),
    "auxiliary_power": ("auxiliary_energy_wh", "auxiliary_energy_returned_wh"),
}


@dataclass(frozen=True)
class Condensed:
    """What is left of samples.

    Attributes:
        intervals: `Interval5min` rows.
        evidence: `DayEvidence` rows.
    """

    intervals: pl.DataFrame
    evidence: pl.DataFrame


def intervals_5min(clean: pl.DataFrame, batteries: pl.DataFrame) -> pl.DataFrame:
    """Condense samples to 5-minute rows, each battery and UTC day on its own.

    Each channel is integrated between its own neighbouring known samples. Current and
    power are split into their charging and discharging parts first; power is voltage ×
    current where both are known. Values flagged as out of range are unknown.

    Args:
        clean: `CleanTelemetry` rows of one or several days, in any order.
        batteries: `Battery` rows of their batteries.

    Returns:
        `Interval5min` rows, sorted by fleet, battery and start.
    """
    return _intervals(*_prepared(clean, batteries))


def _intervals(samples: pl.DataFrame, days: pl.DataFrame) -> pl.DataFrame:
    rows = _sampled(samples).join(_steps(samples, days), on=["series", "bin"], how="left", maintain_order="left")
    for channel in _SUFFIX:
        rows = rows.join(_integrated(samples, days, channel), on=["series", "bin"], how="full", coalesce=True)
    named = days.select("series", *BATTERY_DAY)
    return _finished(
        rows.join(named, on="series", how="left").with_columns(timestamp=pl.col("bin").cast(pl.Datetime("us", "UTC")))
    )


def closed(intervals: pl.DataFrame, evidence: pl.DataFrame, batteries: pl.DataFrame) -> pl.DataFrame:
    """Add what happened between the last known value of each day and the first of the next.

    Args:
        intervals: `Interval5min` rows of a fleet over all its days.
        evidence: `DayEvidence` rows of the same days.
        batteries: `Battery` rows of the fleet.

    Returns:
        `Interval5min` rows: what condensing the whole history at once would give.
    """
    edges = (
        evidence.select(*BATTERY_DAY, "usual_interval_us", "max_gap_us", "edges")
        .explode("edges")
        .drop_nulls("edges")
        .unnest("edges")
        .join(batteries.select(*BATTERY, "sampling"), on=BATTERY, how="left")
    )
    following = edges.select(
        "fleet_id", "battery_id", "channel", pl.col("date").dt.offset_by("-1d"),
        next_timestamp="first_timestamp", next_value="first_value",
    )  # fmt: skip
    bridges = (
        edges.join(following, on=["fleet_id", "battery_id", "channel", "date"], how="left")
        .with_columns(silence=(pl.col("next_timestamp") - pl.col("last_timestamp")).dt.total_microseconds())
        .with_columns(is_mean=pl.col("sampling") == "mean")
        .filter(pl.col("is_mean") | (pl.col("silence") <= pl.col("max_gap_us")))
        .sort(*BATTERY_DAY, "channel")
    )
    rows = intervals.sort(*BATTERY, "timestamp")
    for channel in _SUFFIX:
        across = bridges.filter(channel=channel)
        rows = rows if across.is_empty() else _merged(rows, _bridged(across), channel)
    return _finished(rows)


def day_evidence(clean: pl.DataFrame, batteries: pl.DataFrame) -> pl.DataFrame:
    """Gather what the fleet level needs of each day beyond its 5-minute rows.

    Args:
        clean: `CleanTelemetry` rows of one or several days, in any order.
        batteries: `Battery` rows of their batteries.

    Returns:
        `DayEvidence` rows, sorted by fleet, battery and day.
    """
    return _evidence(*_prepared(clean, batteries))


def _evidence(samples: pl.DataFrame, days: pl.DataFrame) -> pl.DataFrame:
    hotter = pl.col("temperature_max_celsius") - pl.col("temperature")
    probes = pl.col("temperature_max_celsius") - pl.col("temperature_min_celsius")
    counted = samples.group_by("series", maintain_order=True).agg(
        *(pl.col(flag).sum().cast(pl.Int64) for flag in FLAGS),
        *(pl.col(f"{channel}_known").sum().cast(pl.Int64) for channel in _IS_KNOWN),
        *(usable.sum().cast(pl.Int64).alias(f"{channel}_usable") for channel, usable in _IS_USABLE.items()),
        clock_shifted=(pl.col("clock_shift_us") != 0).sum().cast(pl.Int64),
        longest_gap_us=pl.col("time").diff().max().fill_null(0),
        cell_voltage_spread_p95_volt=pl.col("cell_spread").quantile(0.95, "linear"),
        temperature_spread_p95_kelvin=hotter.quantile(0.95, "linear"),
        temperature_range_p95_kelvin=pl.when(probes >= 0).then(probes).quantile(0.95, "linear"),
    )
    return (
        days.join(counted, on="series", how="left")
        .join(_edges(samples), on="series", how="left")
        .with_columns(pl.col("edges").fill_null([]))
        .sort(BATTERY_DAY)
        .select(contracts.DayEvidence.column_names())
    )


def condensed(clean: pl.DataFrame, batteries: pl.DataFrame) -> Condensed:
    """The 5-minute rows and the evidence of each day, from samples that are made ready once.

    Args:
        clean: `CleanTelemetry` rows of one or several days, in any order.
        batteries: `Battery` rows of their batteries.
    """
    samples, days = _prepared(clean, batteries)
    return Condensed(_intervals(samples, days), _evidence(samples, days))


def _prepared(clean: pl.DataFrame, batteries: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    samples = _known(clean)
    return samples, _days(samples, batteries)


def _known(clean: pl.DataFrame) -> pl.DataFrame:
    """Samples in order, with each channel null where it is unknown or flagged.

    Battery and day are numbered, and so are the instants: grouping 4 million rows by
    one column of numbers in order takes a fifth of the time of grouping by names.
    """
    doubts: dict[str, list[str]] = {}
    for flag, columns in VOIDS.items():
        for column in columns:
            doubts.setdefault(column, []).append(flag)

    def is_new(column: str) -> pl.Expr:
        return pl.col(column) != pl.col(column).shift()

    starts = pl.any_horizontal(is_new(column).fill_null(value=False) for column in BATTERY_DAY)
    return (
        in_order(clean)
        .with_columns(
            *(
                pl.when(~pl.any_horizontal(flags)).then(pl.col(column)).alias(column)
                for column, flags in doubts.items()
            ),
            series=starts.cum_sum().cast(pl.Int64).set_sorted(),
            time=pl.col("timestamp").cast(pl.Int64),
            **{f"{channel}_known": known for channel, known in _IS_KNOWN.items()},
        )
        .with_columns(
            voltage="voltage_volt",
            current="current_ampere",
            power=pl.coalesce(pl.col("voltage_volt") * pl.col("current_ampere"), "power_watt"),
            temperature="temperature_celsius",
            ambient_temperature="ambient_temperature_celsius",
            power_ac="power_ac_watt",
            auxiliary_power="auxiliary_power_watt",
            cell_spread=pl.col(CELL_VOLTAGES[1]) - pl.col(CELL_VOLTAGES[0]),
        )
    )


def _days(samples: pl.DataFrame, batteries: pl.DataFrame) -> pl.DataFrame:
    """One row per battery and day, in order: usual interval, gap rule, nameplate."""
    usual = pl.col("time").diff().median().clip(upper_bound=LONGEST_USUAL_US).fill_null(SHORTEST_GAP_US)
    plates = batteries.select(*BATTERY, "sampling", "rated_capacity_ah", "cells_in_series")
    days = (
        samples.group_by("series", maintain_order=True)
        .agg(
            pl.col(BATTERY_DAY).first(),
            samples=pl.len().cast(pl.Int64),
            usual_interval_us=usual.cast(pl.Int64),
        )
        .with_columns(max_gap_us=(GAP_INTERVALS * pl.col("usual_interval_us")).clip(lower_bound=SHORTEST_GAP_US))
        .join(plates, on=BATTERY, how="left", maintain_order="left")
    )
    unnamed = days.filter(pl.col("sampling").is_null())
    if unnamed.height:
        raise ValueError(f"no nameplate for {', '.join(sorted(unnamed['battery_id'].unique()))}")
    return days


def _sampled(samples: pl.DataFrame) -> pl.DataFrame:
    """What is read off the samples of a bin without integrating."""
    return (
        samples.with_columns(bin=pl.col("time") // INTERVAL_US * INTERVAL_US)
        .with_columns(run=((pl.col("bin").diff() != 0) | (pl.col("series").diff() != 0)).cum_sum().set_sorted())
        .group_by(pl.col("run").fill_null(0), maintain_order=True)
        .agg(
            pl.col("series", "bin").first(),
            samples=pl.len().cast(pl.Int64),
            current_abs_max_ampere=pl.col("current").abs().max(),
            voltage_min_volt=pl.col("voltage").min(),
            voltage_max_volt=pl.col("voltage").max(),
            cell_voltage_min_volt=pl.col("cell_voltage_min_volt").min(),
            cell_voltage_max_volt=pl.col("cell_voltage_max_volt").max(),
            cell_voltage_spread_volt=pl.col("cell_spread").mean(),
            temperature_min_celsius=pl.min_horizontal("temperature_min_celsius", "temperature").min(),
            temperature_max_celsius=pl.max_horizontal("temperature_max_celsius", "temperature").max(),
            soc_bms_percent=pl.col("soc_bms_percent").drop_nulls().first(),
            soh_bms_percent=pl.col("soh_bms_percent").drop_nulls().first(),
        )
        .drop("run")
    )


def _integrated(samples: pl.DataFrame, days: pl.DataFrame, channel: str) -> pl.DataFrame:
    """One channel's integrals by battery, day and bin."""
    known = samples.select("series", "time", channel).drop_nulls(channel)
    binned = binned_integrals(
        known["series"].to_numpy(),
        known["time"].to_numpy(),
        known[channel].to_numpy(),
        gap=days["max_gap_us"].to_numpy(),
        hold=days["usual_interval_us"].to_numpy(),
        limit=days["date"].cast(pl.Datetime("us")).cast(pl.Int64).to_numpy() + US_PER_DAY,
        mean=(days["sampling"] == "mean").to_numpy(),
    )
    pieces = pl.DataFrame(
        {
            "series": binned.series,
            "bin": binned.bin,
            "us": binned.observed,
            "up": binned.positive,
            "down": binned.negative,
        }
    )
    return pieces.select("series", "bin", *_columns_of(channel))


def _columns_of(channel: str) -> Iterator[pl.Expr]:
    """The contract's columns of a channel from its integrals ``up`` and ``down`` over ``us``."""
    yield pl.col("us").alias(f"{channel}_observed_us")
    yield ((pl.col("up") - pl.col("down")) / pl.col("us")).alias(_SUFFIX[channel])
    if channel in _AMOUNTS:
        for part, name in zip(("up", "down"), _AMOUNTS[channel], strict=True):
            yield _hours(part).alias(name)


def _hours(integral: str) -> pl.Expr:
    """An integral [unit·µs] in [unit·h], the same to the last digit however many rows are divided at once.

    Polars multiplies a column by the reciprocal of a number, but divides a single row by it.
    """
    return pl.col(integral) / (pl.col(integral) * 0 + US_PER_HOUR)


def _finished(rows: pl.DataFrame) -> pl.DataFrame:
    return (
        rows.with_columns(
            pl.col("samples", *STEP_COUNTS, *(f"{channel}_observed_us" for channel in _SUFFIX)).fill_null(0),
            pl.col(STEP_SUMS).fill_null(0.0),
        )
        .select(contracts.Interval5min.column_names())
        .sort(*BATTERY, "timestamp")
    )


def _edges(samples: pl.DataFrame) -> pl.DataFrame:
    def first_and_last(channel: str) -> pl.DataFrame:
        known = samples.select("series", "timestamp", channel).drop_nulls(channel)
        return known.group_by("series", maintain_order=True).agg(
            channel=pl.lit(channel).first(),
            first_timestamp=pl.col("timestamp").first(),
            first_value=pl.col(channel).first(),
            last_timestamp=pl.col("timestamp").last(),
            last_value=pl.col(channel).last(),
        )

    fields = ("channel", "first_timestamp", "first_value", "last_timestamp", "last_value")
    return (
        pl.concat(first_and_last(channel) for channel in _SUFFIX)
        .group_by("series", maintain_order=True)
        .agg(edges=pl.struct(fields))
    )


def _steps(samples: pl.DataFrame, days: pl.DataFrame) -> pl.DataFrame:
    """Steps of the current between neighbours at which both current and voltage are known, by bin."""
    least = days.select(
        pl.when(pl.col("sampling") == "instant").then(STEP_C_RATE * pl.col("rated_capacity_ah"))
    ).to_series()
    low, high = CELL_VOLTAGES
    both = samples.select("series", "time", "voltage", "current", low, high).drop_nulls(["voltage", "current"])
    middle = days["cells_in_series"].cast(pl.Float64).gather(both["series"]) * (pl.col(low) + pl.col(high)) / 2
    stepped = (
        both.with_columns(
            di=pl.col("current").diff(),
            before=pl.col("current").diff().shift(),
            settled=(pl.col("series").diff(2) == 0) & (pl.col("time").diff().shift() <= STEP_US),
            dv=pl.col("voltage").diff(),
            least=least.gather(both["series"]),
            dm=pl.col("current").abs().diff(),
            do=(pl.col("voltage") - middle).diff(),
            ds=(pl.col(high) - pl.col(low)).diff(),
            drift=pl.when(pl.col("current").shift().abs() >= DRIFT_RATE / STEP_C_RATE * least.gather(both["series"]))
            .then(pl.col("voltage").diff().shift() * pl.col("time").diff() / pl.col("time").diff().shift())
            .otherwise(0.0),
        )
        .with_columns(jump=pl.col("dv") - pl.col("drift"))
        .filter(
            (pl.col("series").diff() == 0)
            & (pl.col("time").diff() <= STEP_US)
            & (pl.col("di").abs() >= pl.col("least"))
        )
    )
    of_cells = pl.col("ds").is_not_null()
    steady = (
        pl.col("settled").fill_null(value=False)
        & (pl.col("before").abs() <= STEADY_SHARE * pl.col("di").abs())
        & (pl.col("drift").abs() <= DRIFT_SHARE * pl.col("jump").abs())
    )
    return stepped.group_by("series", bin=pl.col("time") // INTERVAL_US * INTERVAL_US, maintain_order=True).agg(
        step_count=pl.len().cast(pl.Int64),
        step_current_voltage_sum=(pl.col("di") * pl.col("dv")).sum(),
        step_current_square_sum=pl.col("di").pow(2).sum(),
        step_voltage_square_sum=pl.col("dv").pow(2).sum(),
        step_steady_count=steady.sum().cast(pl.Int64),
        step_steady_current_voltage_sum=(pl.col("di") * pl.col("jump")).filter(steady).sum(),
        step_steady_current_square_sum=pl.col("di").filter(steady).pow(2).sum(),
        step_steady_voltage_square_sum=pl.col("jump").filter(steady).pow(2).sum(),
        step_cell_count=of_cells.sum().cast(pl.Int64),
        step_cell_current_square_sum=pl.col("di").filter(of_cells).pow(2).sum(),
        step_outside_current_sum=(pl.col("di") * pl.col("do")).sum(),
        step_outside_square_sum=pl.col("do").pow(2).sum(),
        step_magnitude_square_sum=pl.col("dm").filter(of_cells).pow(2).sum(),
        step_spread_magnitude_sum=(pl.col("dm") * pl.col("ds")).sum(),
        step_spread_square_sum=pl.col("ds").pow(2).sum(),
    )


def _bridged(bridges: pl.DataFrame) -> pl.DataFrame:
    """What one channel adds to the bins around each midnight."""
    count = bridges.height
    times = bridges.select(
        a=pl.col("last_timestamp").cast(pl.Int64),
        b=pl.col("next_timestamp").cast(pl.Int64).fill_null(np.iinfo(np.int64).max // 2),
    )
    midnight = bridges["date"].cast(pl.Datetime("us")).cast(pl.Int64).to_numpy() + US_PER_DAY
    binned = binned_integrals(
        np.repeat(np.arange(count, dtype=np.int64), 2),
        times.to_numpy().astype(np.int64).ravel(),
        bridges.select("last_value", pl.col("next_value").fill_null(0.0)).to_numpy().astype(np.float64).ravel(),
        gap=bridges["max_gap_us"].to_numpy(),
        hold=bridges["usual_interval_us"].to_numpy(),
        limit=times["b"].to_numpy(),
        mean=bridges["is_mean"].to_numpy(),
    )
    keep = ~(bridges["is_mean"].to_numpy()[binned.series]) | (binned.bin >= midnight[binned.series])
    owners: pl.DataFrame = bridges.select(BATTERY)[binned.series[keep].tolist()]
    return owners.with_columns(
        timestamp=pl.Series(binned.bin[keep]).cast(pl.Datetime("us", "UTC")),
        us=pl.Series(binned.observed[keep]),
        up=pl.Series(binned.positive[keep]),
        down=pl.Series(binned.negative[keep]),
    ).with_columns(date=pl.col("timestamp").dt.date())


def _merged(rows: pl.DataFrame, added: pl.DataFrame, channel: str) -> pl.DataFrame:
    where = (*BATTERY_DAY, "timestamp")
    summed = added.group_by(where, maintain_order=True).agg(pl.col("us", "up", "down").sum())
    both = rows.join(summed, on=where, how="full", coalesce=True)
    observed, mean = f"{channel}_observed_us", _SUFFIX[channel]
    before = pl.col(observed).fill_null(0)
    after = before + pl.col("us").fill_null(0)
    touched = pl.col("us").is_not_null()
    updates = [
        pl.when(touched)
        .then((pl.col(mean).fill_null(0.0) * before + pl.col("up") - pl.col("down")) / after)
        .otherwise(pl.col(mean))
        .alias(mean),
        after.alias(observed),
    ]
    if channel in _AMOUNTS:
        for part, name in zip(("up", "down"), _AMOUNTS[channel], strict=True):
            grown = pl.col(name).fill_null(0.0) + _hours(part)
            updates.append(pl.when(touched).then(grown).otherwise(pl.col(name)).alias(name))
    return both.with_columns(updates).drop("us", "up", "down")
