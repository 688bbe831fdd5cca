"""Errors of estimates on fleets whose truth is known: charge, health, resistance, throughput, cycles, efficiency."""

from __future__ import annotations

from datetime import timedelta

import polars as pl

from bess_pipeline.analytics.known_truth import Truth
from bess_pipeline.tables.keys import BATTERY, BATTERY_DAY

#: Columns of a frame of errors.
ERRORS = {
    "metric": pl.String,
    "estimator": pl.String,
    "fleet_id": pl.String,
    "battery_id": pl.String,
    "chemistry": pl.String,
    "anchor": pl.String,
    "kind": pl.String,
    "day": pl.Int64,
    "value": pl.Float64,
    "weight": pl.Float64,
}
#: Who made an estimate: the pipeline, or one that takes no effort.
OURS, BMS, RATED, NEW = "bess", "BMS", "as rated", "as new"
PLAIN, LINE, TODAY = "plain sum", "straight line", "as today"

#: After this many days the state of charge should be known, and alarms are counted [days].
WARM_UP = 30
#: Days of data after which capacity, resistance and throughput are judged; the last day is as well.
CHECK_DAYS = (30, 90, 180, 365, 730, 1095, 1460)
#: Growth of resistance is counted from this day of data on, or from the first estimate up to the later one.
_RESISTANCE_FROM, _RESISTANCE_UNTIL = 15, 60
_DEEP_PERCENT = 5.0
_WINDOW_DAYS = 30
_NEAR = timedelta(minutes=5)


def check_days(truth: Truth) -> list[int]:
    """Days of data after which estimates are judged.

    Examples:
        >>> [day for day in (30, 90, 180, 365) if day <= 200] + [200]
        [30, 90, 180, 200]
    """
    return sorted({*(day for day in CHECK_DAYS if day <= truth.days), truth.days})


def errors(
    rows: pl.DataFrame, truth: Truth, metric: str, estimator: str = OURS, *, healthy: bool = True
) -> pl.DataFrame:
    """Rows in the form of `ERRORS`, of healthy batteries where asked for; rows without a value are left out.

    Args:
        rows: fleet_id, battery_id, `value`, and `day`, `kind`, `weight` where they mean something.
        truth: Of the fleet.
        metric: What is measured.
        estimator: Who made the estimate.
        healthy: Whether batteries with a planted battery fault are left out.
    """
    of = truth.batteries.select(*BATTERY, "chemistry", "anchor", "is_healthy")
    given = {"day": None, "kind": None, "weight": 1.0}
    return (
        rows.with_columns(pl.lit(value).alias(name) for name, value in given.items() if name not in rows.columns)
        .join(of, on=BATTERY, how="inner")
        .filter(pl.col("value").is_not_null(), pl.col("is_healthy") | (not healthy))
        .with_columns(metric=pl.lit(metric), estimator=pl.lit(estimator))
        .select(pl.col(name).cast(kind) for name, kind in ERRORS.items())
        .sort("metric", "estimator", *BATTERY, "day", "kind")
    )


def charge_errors(telemetry: pl.DataFrame, truth: Truth) -> pl.DataFrame:
    """Errors of the state of charge, one row per healthy battery, from day 30 on.

    True and estimated values are those nearest in time, no more than 5 minutes apart.

    Args:
        telemetry: Key, `timestamp` and, where known, `soc_percent` with its interval and `soc_bms_percent` of
            `Telemetry5min` rows.
        truth: Of the fleet.

    Returns:
        `ERRORS`: `soc_rmse` [points] of the pipeline and of the management system; `soc_availability`,
        `soc_coverage` (share of true values within the interval), `soc_width` (its median width [points]).
    """
    begins = truth.first_day + timedelta(days=WARM_UP)
    true = truth.soc.filter(pl.col("timestamp") >= pl.lit(begins).cast(pl.Datetime("us", "UTC"))).sort("timestamp")
    known = true.join(telemetry.select(BATTERY).unique(), on=BATTERY, how="semi").rename({"soc_percent": "true"})
    off = pl.col("soc") - pl.col("true")
    parts = []
    for estimator, column in ((OURS, "soc_percent"), (BMS, "soc_bms_percent")):
        bounds = ["soc_lower_percent", "soc_upper_percent"] if estimator == OURS else []
        read = telemetry.select(*BATTERY, "timestamp", *bounds, soc=column).drop_nulls("soc").sort("timestamp")
        both = known.join_asof(
            read, on="timestamp", by=BATTERY, strategy="nearest", tolerance=_NEAR, check_sortedness=False
        )
        by_battery = both.group_by(BATTERY)
        parts.append(errors(by_battery.agg(value=off.pow(2).mean().sqrt()), truth, "soc_rmse", estimator))
        if estimator == OURS:
            there = both.drop_nulls(["soc", *bounds])
            inside = pl.col("true").is_between(bounds[0], bounds[1])
            width = pl.col(bounds[1]) - pl.col(bounds[0])
            parts += [
                errors(by_battery.agg(value=pl.col("soc").is_not_null().mean()), truth, "soc_availability"),
                errors(there.group_by(BATTERY).agg(value=inside.mean()), truth, "soc_coverage"),
                errors(there.group_by(BATTERY).agg(value=width.median()), truth, "soc_width"),
            ]
    return pl.concat(parts)


def health_errors(health: pl.DataFrame, reported: pl.DataFrame, truth: Truth) -> pl.DataFrame:
    """Errors of the capacity, one row per healthy battery and day of `check_days`.

    Args:
        health: `StateOfHealth` rows.
        reported: What the management systems say: fleet_id, battery_id, date, `soh_bms_percent`.
        truth: Of the fleet.

    Returns:
        `ERRORS`: `soh_error` [points] of the pipeline, of the management system and of the rating; `soh_coverage`
        and `soh_width` [points] of the 90 % interval; `soh_usable_error` [points], of the pipeline and of the rating.
    """
    true = _at_checks(truth)
    ours = true.join(health, on=BATTERY_DAY, suffix="_est")
    usable = pl.col("soh_usable_percent")
    lower, upper = pl.col("soh_lower_percent"), pl.col("soh_upper_percent")
    theirs = true.join(reported, on=BATTERY_DAY)
    found = {
        ("soh_error", OURS): (ours, pl.col("soh_percent_est") - pl.col("soh_percent")),
        ("soh_error", BMS): (theirs, pl.col("soh_bms_percent") - pl.col("soh_percent")),
        ("soh_error", RATED): (true, 100 - pl.col("soh_percent")),
        ("soh_coverage", OURS): (ours, pl.col("soh_percent").is_between(lower, upper).cast(pl.Float64)),
        ("soh_width", OURS): (ours, upper - lower),
        ("soh_usable_error", OURS): (ours, pl.col("soh_usable_percent_est") - usable),
        ("soh_usable_error", RATED): (true, 100 - usable),
    }
    return pl.concat(
        errors(rows.select(*BATTERY, day=pl.col("day") + 1, value=value), truth, metric, estimator)
        for (metric, estimator), (rows, value) in found.items()
    )


def resistance_errors(health: pl.DataFrame, truth: Truth) -> pl.DataFrame:
    """Errors of the growth of resistance, one row per healthy battery and day of `check_days`.

    Growth is counted from day 15 of the data on; where there is no estimate then, from the first one up to day 60.

    Args:
        health: `StateOfHealth` rows.
        truth: Of the fleet.

    Returns:
        `ERRORS`: `resistance_error`, estimated over true growth, as a change [percent], of the pipeline and of a
        resistance that never changes.
    """
    rows = truth.daily.select(*BATTERY_DAY, day=pl.col("day") + 1, true="relative_resistance").join(
        health.select(*BATTERY_DAY, found=1 + pl.col("resistance_increase_percent") / 100), on=BATTERY_DAY
    )
    rows = rows.drop_nulls("found").sort(*BATTERY, "day")
    base = (
        rows.filter(pl.col("day").is_between(_RESISTANCE_FROM, _RESISTANCE_UNTIL))
        .group_by(BATTERY, maintain_order=True)
        .agg(true_then=pl.col("true").first(), found_then=pl.col("found").first(), from_day=pl.col("day").first())
    )
    both = rows.join(base, on=BATTERY).filter(
        pl.col("day").is_in(check_days(truth)), pl.col("day") > pl.col("from_day"), pl.col("found_then") > 0
    )
    true = pl.col("true") / pl.col("true_then")
    ours = 100 * (pl.col("found") / pl.col("found_then") / true - 1)
    return pl.concat(
        [
            errors(both.select(*BATTERY, "day", value=ours), truth, "resistance_error"),
            errors(both.select(*BATTERY, "day", value=100 * (1 / true - 1)), truth, "resistance_error", NEW),
        ]
    )


def full_cycle_errors(daily: pl.DataFrame, plain: pl.DataFrame, batteries: pl.DataFrame, truth: Truth) -> pl.DataFrame:
    """Errors of the equivalent full cycles so far, one row per healthy battery and day of `check_days`.

    Args:
        daily: `BatteryDaily` rows.
        plain: Charge moved as measured: fleet_id, battery_id, date, charging_capacity_ah, discharging_capacity_ah.
        batteries: `Battery` rows.
        truth: Of the fleet.

    Returns:
        `ERRORS`: `efc_error` [percent] of the pipeline and of the plain sum.
    """
    true = _at_checks(truth).select(*BATTERY_DAY, "day", true="cycles").filter(pl.col("true") > 0)
    rated = batteries.select(*BATTERY, "rated_capacity_ah")
    moved = pl.col("charging_capacity_ah").fill_null(0) + pl.col("discharging_capacity_ah").fill_null(0)

    def error(accounts: pl.DataFrame, estimator: str) -> pl.DataFrame:
        cycles = accounts.join(rated, on=BATTERY).sort(*BATTERY_DAY)
        cycles = cycles.select(*BATTERY_DAY, found=(moved / (2 * pl.col("rated_capacity_ah"))).cum_sum().over(BATTERY))
        both = true.join(cycles, on=BATTERY_DAY)
        value = 100 * (pl.col("found") / pl.col("true") - 1)
        return errors(both.select(*BATTERY, day=pl.col("day") + 1, value=value), truth, "efc_error", estimator)

    return pl.concat([error(daily, OURS), error(plain, PLAIN)])


def cycle_errors(cycles: pl.DataFrame, reported: pl.DataFrame, truth: Truth) -> pl.DataFrame:
    """Errors of the number of cycles deeper than 5 %, one row per healthy battery.

    Args:
        cycles: `Cycle` rows.
        reported: `Cycle` rows counted on the management system's own state of charge.
        truth: Of the fleet.

    Returns:
        `ERRORS`: `cycles_error` [percent] of both.
    """

    def error(counted: pl.DataFrame, estimator: str) -> pl.DataFrame:
        deep = counted.filter(pl.col("depth_percent") >= _DEEP_PERCENT)
        number = deep.group_by(BATTERY, maintain_order=True).agg(found=pl.col("count").sum())
        both = truth.deep_cycles.join(number, on=BATTERY).filter(pl.col("cycles") > 0)
        value = 100 * (pl.col("found") / pl.col("cycles") - 1)
        return errors(both.select(*BATTERY, value=value), truth, "cycles_error", estimator)

    return pl.concat([error(cycles, OURS), error(reported, BMS)])


def efficiency_errors(daily: pl.DataFrame, batteries: pl.DataFrame, truth: Truth) -> pl.DataFrame:
    """Errors of the round-trip efficiency over 30 days, every 30 days of each healthy battery.

    The true efficiency corrects for the energy that stays in the battery as the
    estimate does: by the change of the true state of charge between the two
    midnights, of the true capacity at nominal voltage.

    Args:
        daily: `BatteryDaily` rows.
        batteries: `Battery` rows.
        truth: Of the fleet.

    Returns:
        `ERRORS`: `efficiency_error` [points], of the pipeline and of energy out over energy in.
    """
    out, into = pl.col("discharging_energy_wh"), pl.col("charging_energy_wh")
    windows = (
        truth.daily.filter(pl.col("day") < truth.days // _WINDOW_DAYS * _WINDOW_DAYS)
        .join(batteries.select(*BATTERY, "rated_energy_wh"), on=BATTERY)
        .sort(*BATTERY, "day")
        .group_by(*BATTERY, window=pl.col("day") // _WINDOW_DAYS, maintain_order=True)
        .agg(
            date=pl.col("date").last(),
            day=pl.col("day").last(),
            seen=pl.len(),
            out=out.sum(),
            into=into.sum(),
            holds=pl.col("rated_energy_wh").last() * pl.col("soh_percent").last() / 100,
        )
        .filter(pl.col("seen") == _WINDOW_DAYS)
        .with_columns(
            ends=(pl.col("date") + timedelta(days=1)).cast(pl.Datetime("us")).dt.replace_time_zone("UTC"),
            begins=(pl.col("date") - timedelta(days=_WINDOW_DAYS - 1))
            .cast(pl.Datetime("us"))
            .dt.replace_time_zone("UTC"),
        )
    )
    for edge in ("begins", "ends"):
        at = truth.soc.select(*BATTERY, **{edge: "timestamp", f"soc_{edge}": "soc_percent"}).sort(edge)
        windows = windows.sort(edge).join_asof(
            at, on=edge, by=BATTERY, strategy="nearest", tolerance=2 * _NEAR, check_sortedness=False
        )
    kept = (pl.col("soc_ends") - pl.col("soc_begins")) / 100 * pl.col("holds")
    true = windows.select(*BATTERY_DAY, day=pl.col("day") + 1, true=100 * pl.col("out") / (pl.col("into") - kept))
    summed = daily.sort(*BATTERY_DAY).rolling("date", period=f"{_WINDOW_DAYS}d", group_by=BATTERY).agg(
        plain=100 * out.sum() / into.sum(), days=pl.len()
    )  # fmt: skip
    ours = daily.select(*BATTERY_DAY, found="round_trip_efficiency_30d_percent").join(summed, on=BATTERY_DAY)
    both = true.join(ours, on=BATTERY_DAY).drop_nulls("found").filter(pl.col("true").is_finite())
    return pl.concat(
        errors(
            both.select(*BATTERY, "day", value=pl.col(column) - pl.col("true")), truth, "efficiency_error", estimator
        )
        for column, estimator in (("found", OURS), ("plain", PLAIN))
    )


def _at_checks(truth: Truth) -> pl.DataFrame:
    return truth.daily.filter((pl.col("day") + 1).is_in(check_days(truth)))
