"""Where and for how long a term of the warranty was not kept."""

from __future__ import annotations

import polars as pl

from bess_pipeline.analytics.terms import Terms, terms_of
from bess_pipeline.tables.keys import BATTERY, BATTERY_DAY
from bess_pipeline.tables.lifecycle import OPERATING_TERMS, WarrantyEvent, WarrantyPiece
from bess_pipeline.tables.telemetry import INTERVAL_US

#: From here on a current is work [C].
_WORK_RATE = 0.02
_INTERVAL = pl.duration(microseconds=INTERVAL_US)
#: Lower limits: what lies below them breaks the term.
_FLOORS = {"soc_low", "temperature_low"}
_UNITS = {"soc": "%", "temperature": "°C", "charging": "C", "discharging": "C"}
_SHOWN = "telemetry_5min: "
_EVIDENCE = {
    "soc_low": "soc_bms_percent, else soc_upper_percent",
    "soc_high": "soc_bms_percent, else soc_lower_percent",
    "temperature_low": "temperature_min_celsius, else temperature_celsius",
    "temperature_high": "temperature_max_celsius, else temperature_celsius",
    "charging_rate": "current_ampere over batteries.rated_capacity_ah",
    "discharging_rate": "current_ampere over batteries.rated_capacity_ah",
}


def warranty_pieces(assumptions: pl.DataFrame, telemetry: pl.DataFrame, batteries: pl.DataFrame) -> pl.DataFrame:
    """Find the stretches of each day in which a limit of use was not kept, and those of work.

    A row of 5 minutes breaks a limit if its value is beyond it: the state of charge that the battery reports, or where
    it reports none the near end of our 90 % interval; the coldest and the warmest probe, or the mean where there is
    none; the mean current over the rated capacity. Rows that follow each other at once are one stretch. Work is a
    current from 0.02 C on.

    Args:
        assumptions: `Assumption` rows of the fleet.
        telemetry: `Telemetry5min` rows.
        batteries: `Battery` rows.

    Returns:
        `WarrantyPiece` rows, sorted. A day rests on itself.
    """
    terms = terms_of(assumptions)
    if terms is None:
        return WarrantyPiece.create_empty()
    rate = pl.col("current_ampere") / pl.col("rated_capacity_ah")
    value = {
        "soc_low": pl.coalesce("soc_bms_percent", "soc_upper_percent"),
        "soc_high": pl.coalesce("soc_bms_percent", "soc_lower_percent"),
        "temperature_low": pl.coalesce("temperature_min_celsius", "temperature_celsius"),
        "temperature_high": pl.coalesce("temperature_max_celsius", "temperature_celsius"),
        "charging_rate": rate,
        "discharging_rate": -rate,
    }
    rows = (
        telemetry.filter(pl.col("date").is_between(terms.starts_on, terms.ends_on, closed="left"))
        .join(batteries.select(*BATTERY, "rated_capacity_ah"), on=BATTERY, how="inner")
        .sort(*BATTERY, "timestamp")
        .select(*BATTERY_DAY, "timestamp", **value)
    )
    found = [_stretches(rows, name, limit) for name, limit in terms.limits.items()]
    if "rest_minutes" in terms.numbers:
        found.append(_stretches(rows.with_columns(work=pl.col("charging_rate").abs()), "work", _WORK_RATE, told=False))
    return (
        pl.concat([WarrantyPiece.create_empty(), *found])
        .sort(*BATTERY_DAY, "term", "started_at")
        .pipe(WarrantyPiece.validate)
    )


def _stretches(rows: pl.DataFrame, term: str, limit: float, *, told: bool = True) -> pl.DataFrame:
    """Rows beyond a limit that follow each other at once within a day."""
    value, is_floor = pl.col(term), term in _FLOORS
    beyond = rows.filter(value < limit if is_floor else value > limit if told else value >= limit)
    follows = (pl.col("timestamp") - pl.col("timestamp").shift(1) == _INTERVAL).fill_null(value=False)
    worst = value.min() if is_floor else value.max()
    return (
        beyond.with_columns(stretch=(~follows).cum_sum().over(BATTERY_DAY))
        .group_by(*BATTERY_DAY, "stretch")
        .agg(
            started_at=pl.col("timestamp").min(),
            ended_at=pl.col("timestamp").max() + _INTERVAL,
            intervals=pl.len().cast(pl.Int64),
            worst=worst,
        )
        .select(
            *BATTERY_DAY,
            "started_at",
            "ended_at",
            "intervals",
            "worst",
            term=pl.lit(term),
            agreed=pl.lit(limit if told else None, pl.Float64),
        )
        .select(WarrantyPiece.column_names())
    )


def warranty_events(
    assumptions: pl.DataFrame, pieces: pl.DataFrame, warranty: pl.DataFrame, daily: pl.DataFrame
) -> pl.DataFrame:
    """Put together for how long each term was not kept, and who has to answer for it.

    Stretches that meet, at midnight too, are one; those no longer than the grace that the warranty gives are none.
    Rest is missing where a battery worked for more than so many days without a pause as long as agreed; time without
    telemetry counts as a pause, for nothing shows that it was none. Capacity and efficiency are short on the days on
    which even the upper ends of their 90 % intervals are.

    Args:
        assumptions: `Assumption` rows of the fleet.
        pieces: `WarrantyPiece` rows.
        warranty: `WarrantyDaily` rows.
        daily: `BatteryDaily` rows.

    Returns:
        `WarrantyEvent` rows, sorted.
    """
    terms = terms_of(assumptions)
    if terms is None:
        return WarrantyEvent.create_empty()
    schema = WarrantyEvent.create_empty().schema
    found = [_limits(terms, pieces), _unrested(terms, pieces), _capacity(warranty), _efficiency(terms, daily)]
    return (
        pl.concat([part.select(pl.col(name).cast(kind) for name, kind in schema.items()) for part in found])
        .sort(*BATTERY, "started_at", "term")
        .pipe(WarrantyEvent.validate)
    )


def _merged(stretches: pl.DataFrame, by: list[str], pause: pl.Expr) -> pl.DataFrame:
    """Number stretches that belong together: those whose distance is no pause."""
    ordered = stretches.sort(*by, "started_at")
    gap = pl.col("started_at") - pl.col("ended_at").shift(1).over(by)
    return ordered.with_columns(number=(gap.is_null() | (gap >= pause)).cum_sum().over(by))


def _told(frame: pl.DataFrame, party: str) -> pl.DataFrame:
    hours = (pl.col("ended_at") - pl.col("started_at")).dt.total_microseconds() / 3.6e9
    return frame.with_columns(party=pl.lit(party), duration_hours=hours)


def _limits(terms: Terms, pieces: pl.DataFrame) -> pl.DataFrame:
    by = [*BATTERY, "term"]
    own = pieces.filter(pl.col("term").is_in(OPERATING_TERMS))
    is_floor = pl.col("term").is_in(list(_FLOORS))
    merged = (
        _merged(own, by, pl.duration(microseconds=1))
        .group_by(*by, "number")
        .agg(
            pl.col("started_at").min(),
            pl.col("ended_at").max(),
            pl.col("agreed").first(),
            seen_hours=pl.col("intervals").sum() * (INTERVAL_US / 3.6e9),
            lowest=pl.col("worst").min(),
            highest=pl.col("worst").max(),
        )
        .with_columns(worst=pl.when(is_floor).then("lowest").otherwise("highest"))
        .with_columns(
            unit=pl.col("term").str.split("_").list.first().replace_strict(_UNITS, return_dtype=pl.String),
            evidence=pl.lit(_SHOWN) + pl.col("term").replace_strict(_EVIDENCE, return_dtype=pl.String),
        )
    )
    grace = terms.numbers.get("grace_minutes", 0.0) / 60
    return _told(merged, "operator").filter(pl.col("duration_hours") > grace + 1e-9)


def _unrested(terms: Terms, pieces: pl.DataFrame) -> pl.DataFrame:
    minutes, days = terms.numbers.get("rest_minutes"), terms.numbers.get("rest_days", 1.0)
    work = pieces.filter((pl.col("term") == "work") & pl.lit(minutes is not None))
    merged = (
        _merged(work, list(BATTERY), pl.duration(seconds=60 * (minutes or 0.0)))
        .group_by(*BATTERY, "number")
        .agg(
            pl.col("started_at").min() + pl.duration(seconds=86_400 * days),
            pl.col("ended_at").max(),
            seen_hours=pl.col("intervals").sum() * (INTERVAL_US / 3.6e9),
        )
        .filter(pl.col("ended_at") > pl.col("started_at"))
    )
    return _told(merged, "operator").with_columns(
        pl.min_horizontal("seen_hours", "duration_hours").alias("seen_hours"),
        term=pl.lit("rest"),
        worst=24 * days + pl.col("duration_hours"),
        agreed=pl.lit(24 * days),
        unit=pl.lit("h"),
        evidence=pl.lit(f"{_SHOWN}current_ampere; hours of work without a pause of {minutes or 0:g} min"),
    )


def _of_days(days: pl.DataFrame, term: str, unit: str, evidence: str) -> pl.DataFrame:
    """Stretches of whole days, each as bad as its worst: `date`, `value` and `agreed` of the days that are short."""
    midnight = pl.col("date").cast(pl.Datetime("us", "UTC"))
    stretches = days.with_columns(started_at=midnight, ended_at=midnight.dt.offset_by("1d"))
    merged = (
        _merged(stretches, list(BATTERY), pl.duration(microseconds=1))
        .group_by(*BATTERY, "number")
        .agg(
            pl.col("started_at").min(),
            pl.col("ended_at").max(),
            seen_hours=24.0 * pl.len(),
            worst=pl.col("value").sort_by(pl.col("value") - pl.col("agreed"), "date").first(),
            agreed=pl.col("agreed").sort_by(pl.col("value") - pl.col("agreed"), "date").first(),
        )
    )
    return _told(merged, "supplier").with_columns(term=pl.lit(term), unit=pl.lit(unit), evidence=pl.lit(evidence))


def _capacity(warranty: pl.DataFrame) -> pl.DataFrame:
    short = warranty.filter(standing="breached")
    days = short.select(*BATTERY_DAY, value="soh_percent", agreed="guaranteed_soh_percent")
    return _of_days(days, "capacity", "%", "warranty_daily: margin_upper_percent")


def _efficiency(terms: Terms, daily: pl.DataFrame) -> pl.DataFrame:
    floor = terms.numbers.get("round_trip_efficiency_percent")
    within = pl.col("date").is_between(terms.starts_on, terms.ends_on, closed="left")
    short = daily.filter(within & (pl.col("round_trip_efficiency_30d_upper_percent") < pl.lit(floor, pl.Float64)))
    days = short.select(*BATTERY_DAY, value="round_trip_efficiency_30d_percent", agreed=pl.lit(floor, pl.Float64))
    return _of_days(days, "efficiency", "%", "battery_daily: round_trip_efficiency_30d_upper_percent")
