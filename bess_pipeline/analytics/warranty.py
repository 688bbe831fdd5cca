"""How each battery stands against its warranty: what is guaranteed and there, what is used up, when it is breached."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import polars as pl
from scipy.special import ndtr

from bess_pipeline.analytics.lives import ALIKE_DAYS, GAIN, OWN_SIGMA
from bess_pipeline.analytics.terms import Terms, age_years, anniversary, terms_of
from bess_pipeline.arrays import Floats
from bess_pipeline.tables.columns import NORMAL_90
from bess_pipeline.tables.keys import BATTERY, BATTERY_DAY
from bess_pipeline.tables.lifecycle import WarrantyDaily, WarrantyForecast, WarrantyYear

_YEAR = 365.25
#: Days over which pace and loss are told, and how many times the loss that is guaranteed is worth a notice.
_SPAN, _NOTICE = 90, 2.0
#: What is used up later than in so many days is not told.
_FOREVER = 100 * 365
#: Where the tenth of a normal distribution ends [standard deviations].
_NORMAL_80 = 1.2815515655446004
_PERCENTILES = ("soh_p10_percent", "soh_p50_percent", "soh_p90_percent")


def warranty_daily(
    assumptions: pl.DataFrame, health: pl.DataFrame, daily: pl.DataFrame, batteries: pl.DataFrame
) -> pl.DataFrame:
    """Hold each day of each battery against its warranty.

    The margin is the state of health less the guaranteed one (`Terms.guaranteed`), with the interval of the former. It
    is breached where even the upper end of the interval is below. Paces are those of the last 90 days.

    An early notice is given where the loss of 90 days, by the year, is over twice the loss that the guarantee allows
    over the same days, and the lower end of its 90 % interval is over that once. Errors of two estimates so far apart
    have exp(−90/150) in common (see `degradation`), their gain altogether.

    Args:
        assumptions: `Assumption` rows of the fleet.
        health: `StateOfHealth` rows.
        daily: `BatteryDaily` rows.
        batteries: `Battery` rows.

    Returns:
        `WarrantyDaily` rows, sorted; none where nothing was agreed, or outside the warranty.
    """
    terms = terms_of(assumptions)
    if terms is None:
        return WarrantyDaily.create_empty()
    used = _used(daily, batteries)
    known = health.select(*BATTERY_DAY, "soh_percent", "soh_lower_percent", "soh_upper_percent")
    rows = (
        used.join(known, on=BATTERY_DAY, how="full", coalesce=True)
        .sort(*BATTERY_DAY)
        .with_columns(pl.col("cycles", "energy").forward_fill().over(BATTERY))
        .join(_ages(terms, [*used["date"], *known["date"]]), on="date", how="inner")
        .sort(*BATTERY_DAY)
    )
    floor = terms.guaranteed(rows["age_years"].to_numpy(), rows["cycles"].to_numpy())
    rows = rows.with_columns(guaranteed_soh_percent=pl.Series(floor, nan_to_null=True, dtype=pl.Float64))
    return (
        rows.join(_before(rows), on=BATTERY_DAY, how="left", maintain_order="left")
        .with_columns(
            margin_percent=pl.col("soh_percent") - pl.col("guaranteed_soh_percent"),
            margin_lower_percent=pl.col("soh_lower_percent") - pl.col("guaranteed_soh_percent"),
            margin_upper_percent=pl.col("soh_upper_percent") - pl.col("guaranteed_soh_percent"),
            year=pl.col("age_years").floor(),
            # The day on which an amount would be used up at this pace.
            cycle_pace=(pl.col("cycles") - pl.col("cycles_before")) / _SPAN,
            energy_pace=(pl.col("energy") - pl.col("energy_before")) / _SPAN,
        )
        .with_columns(cycles_of_year=pl.col("own_cycles").fill_null(0).cum_sum().over(*BATTERY, "year"))
        .select(
            *BATTERY_DAY,
            "age_years",
            pl.col("cycles").alias("equivalent_full_cycles"),
            "guaranteed_soh_percent",
            "soh_percent",
            "margin_percent",
            "margin_lower_percent",
            "margin_upper_percent",
            _standing().alias("standing"),
            *_budget(terms, "cycles", "equivalent_full_cycles", 1.0, "cycles_used_percent", "cycles_run_out_on"),
            "cycles_of_year",
            (100 * pl.col("cycles_of_year") / _number(terms, "equivalent_full_cycles_per_year")).alias(
                "cycles_of_year_percent"
            ),
            *_budget(terms, "energy", "discharged_energy_mwh", 1e6, "energy_used_percent", "energy_runs_out_on"),
            *_notice(),
        )
        .pipe(WarrantyDaily.validate, cast=True)
    )


def _used(daily: pl.DataFrame, batteries: pl.DataFrame) -> pl.DataFrame:
    """Cycles and energy of each day, and of all days up to it."""
    first = batteries.select(*BATTERY, "initial_equivalent_full_cycles")
    return (
        daily.join(first, on=BATTERY, how="inner")
        .sort(*BATTERY_DAY)
        .select(
            *BATTERY_DAY,
            own_cycles=pl.col("equivalent_full_cycles"),
            cycles=pl.col("initial_equivalent_full_cycles")
            + pl.col("equivalent_full_cycles").fill_null(0).cum_sum().over(BATTERY),
            energy=pl.col("discharging_energy_wh").fill_null(0).cum_sum().over(BATTERY),
        )
    )


def _ages(terms: Terms, days: list[date]) -> pl.DataFrame:
    """The age on each day within the warranty."""
    within = sorted({day for day in days if terms.starts_on <= day < terms.ends_on})
    ages = [age_years(terms.starts_on, day) for day in within]
    return pl.DataFrame({"date": within, "age_years": ages}, schema={"date": pl.Date, "age_years": pl.Float64})


def _before(rows: pl.DataFrame) -> pl.DataFrame:
    """What was 90 days before each day."""
    told = ("soh_percent", "soh_upper_percent", "guaranteed_soh_percent", "cycles", "energy")
    return rows.select(
        *BATTERY,
        pl.col("date") + timedelta(days=_SPAN),
        *(pl.col(name).alias(f"{name}_before") for name in told),
    )


def _number(terms: Terms, name: str) -> pl.Expr:
    return pl.lit(terms.numbers.get(name), pl.Float64)


def _standing() -> pl.Expr:
    return (
        pl.when(pl.col("guaranteed_soh_percent").is_null())
        .then(pl.lit("nothing agreed"))
        .when(pl.col("margin_percent").is_null())
        .then(pl.lit("unknown"))
        .when(pl.col("margin_percent") >= 0)
        .then(pl.lit("within"))
        .when(pl.col("margin_upper_percent") < 0)
        .then(pl.lit("breached"))
        .otherwise(pl.lit("doubtful"))
    )


def _budget(terms: Terms, of: str, name: str, scale: float, used: str, runs_out: str) -> list[pl.Expr]:
    """How much of an amount that is allowed in all is used, and when it will be used up, or was."""
    allowed = _number(terms, name) * scale
    pace = pl.col("cycle_pace" if of == "cycles" else "energy_pace")
    left = ((allowed - pl.col(of)) / pace).ceil()
    was = pl.col("date").filter(pl.col(of) >= allowed).min().over(BATTERY)
    ahead = pl.when(pace > 0, left < _FOREVER).then(pl.col("date") + pl.duration(days=left.cast(pl.Int64)))
    return [
        (100 * pl.col(of) / allowed).alias(used),
        pl.when(pl.col(of) >= allowed).then(was).otherwise(ahead).alias(runs_out),
    ]


def _notice() -> list[pl.Expr]:
    """Loss over 90 days, what of it is guaranteed, and whether that is worth a notice."""
    a_year = _YEAR / _SPAN
    loss = (pl.col("soh_percent_before") - pl.col("soh_percent")) * a_year
    allowed = (pl.col("guaranteed_soh_percent_before") - pl.col("guaranteed_soh_percent")) * a_year
    own = [
        (((upper - middle) / NORMAL_90).pow(2) - (100 * GAIN) ** 2).clip(lower_bound=(100 * OWN_SIGMA) ** 2)
        for middle, upper in (
            (pl.col("soh_percent"), pl.col("soh_upper_percent")),
            (pl.col("soh_percent_before"), pl.col("soh_upper_percent_before")),
        )
    ]
    apart = 1 - float(np.exp(-_SPAN / ALIKE_DAYS))
    sigma = ((own[0] + own[1]) * apart).sqrt() * a_year
    return [
        loss.alias("loss_90d_percent_per_year"),
        allowed.alias("guaranteed_loss_percent_per_year"),
        ((loss > _NOTICE * allowed) & (loss - NORMAL_90 * sigma > allowed)).alias("is_early_notice"),
    ]


def warranty_forecast(assumptions: pl.DataFrame, warranty: pl.DataFrame, forecast: pl.DataFrame) -> pl.DataFrame:
    """When the state of health of each battery will fall below what is guaranteed.

    The forecast's percentiles are those of futures that hardly cross, so that the day on which a percentile falls
    below the guarantee is that percentile of the day of the breach; it may be today, by the interval of today's
    estimate. The probability is that of the worst day before the warranty ends, with a normal distribution between
    and beyond the percentiles. Cycles go on at the pace of the last 90 days.

    Args:
        assumptions: `Assumption` rows of the fleet.
        warranty: `WarrantyDaily` rows.
        forecast: `CapacityForecast` rows.

    Returns:
        `WarrantyForecast` rows, sorted; none where no state of health is guaranteed.
    """
    terms = terms_of(assumptions)
    if terms is None or not (terms.by_age.size or terms.by_cycles.size):
        return WarrantyForecast.create_empty()
    ahead = (
        forecast.join(_stands(warranty), on=[*BATTERY, "as_of"], how="inner")
        .with_columns(
            cycles=pl.col("equivalent_full_cycles")
            + pl.col("pace").fill_null(0) * (pl.col("date") - pl.col("as_of")).dt.total_days()
        )
        .select(*BATTERY, "as_of", "date", "cycles", "cycles_run_out_on", *_PERCENTILES)
    )
    today = _stands(warranty).join(forecast.select(*BATTERY, "as_of").unique(), on=[*BATTERY, "as_of"], how="semi")
    ahead = pl.concat([today.select(ahead.columns), ahead]).sort(*BATTERY, "as_of", "date")
    ages = np.array([age_years(terms.starts_on, day) for day in ahead["date"]])
    floor = terms.guaranteed(ages, ahead["cycles"].to_numpy())
    told = ahead.with_columns(floor=pl.Series(floor, dtype=pl.Float64, nan_to_null=True)).drop_nulls("floor")
    rows = []
    for key, days in told.group_by(*BATTERY, "as_of", maintain_order=True):
        rows.append(
            {
                **dict(zip((*BATTERY, "as_of"), key, strict=True)),
                "warranty_ends_on": terms.ends_on,
                "breach_probability": _breach_probability(days),
                **{f"breach_date_p{p}": _breach_date(days, f"soh_p{p}_percent") for p in (10, 50, 90)},
                "cycles_run_out_on": days["cycles_run_out_on"][0],
            }
        )
    return (
        pl.DataFrame(rows, schema=WarrantyForecast.create_empty().schema)
        .sort(*BATTERY, "as_of")
        .pipe(WarrantyForecast.validate)
    )


def _stands(warranty: pl.DataFrame) -> pl.DataFrame:
    """How each battery stands on each day: percentiles of its state of health, cycles so far, and cycles a day lately.

    The pace is that of the last 90 days, or of all days known if they are fewer.
    """
    cycles = warranty.select(*BATTERY_DAY, "equivalent_full_cycles").drop_nulls().sort(*BATTERY_DAY)
    then = cycles.select(*BATTERY, then="date", before="equivalent_full_cycles").sort("then")
    pace = (
        cycles.with_columns(since=pl.col("date") - timedelta(days=_SPAN))
        .sort("since")
        .join_asof(then, left_on="since", right_on="then", by=list(BATTERY), strategy="forward", check_sortedness=False)
        .select(
            *BATTERY_DAY,
            pace=(pl.col("equivalent_full_cycles") - pl.col("before"))
            / (pl.col("date") - pl.col("then")).dt.total_days().clip(lower_bound=1),
        )
    )
    part = _NORMAL_80 / NORMAL_90
    middle = pl.col("soh_percent")
    return warranty.join(pace, on=BATTERY_DAY, how="left").select(
        *BATTERY_DAY,
        "equivalent_full_cycles",
        "cycles_run_out_on",
        "pace",
        as_of="date",
        cycles="equivalent_full_cycles",
        soh_p10_percent=middle - part * (pl.col("margin_percent") - pl.col("margin_lower_percent")),
        soh_p50_percent=middle,
        soh_p90_percent=middle + part * (pl.col("margin_upper_percent") - pl.col("margin_percent")),
    )


def _breach_date(days: pl.DataFrame, column: str) -> date | None:
    """The day on which a percentile falls below the guarantee, between two days of the forecast on a straight line."""
    margin = (days[column] - days["floor"]).fill_null(0.0).to_numpy()
    below = np.flatnonzero(margin < 0)
    if not len(below):
        return None
    first = int(below[0])
    after: date = days["date"][first]
    if first == 0:
        return after
    before: date = days["date"][first - 1]
    share = margin[first - 1] / (margin[first - 1] - margin[first])
    return before + timedelta(days=int(np.ceil(share * (after - before).days)))


def _breach_probability(days: pl.DataFrame) -> float | None:
    known = days.drop_nulls(_PERCENTILES)
    if known.is_empty():
        return None
    low, middle, high = (known[name].to_numpy() for name in _PERCENTILES)
    above = known["floor"].to_numpy() - middle
    sigma = np.maximum(np.where(above < 0, middle - low, high - middle) / _NORMAL_80, 1e-9)
    found: Floats = ndtr(above / sigma)
    return float(found.max())


def warranty_years(
    assumptions: pl.DataFrame, daily: pl.DataFrame, availability: pl.DataFrame, batteries: pl.DataFrame
) -> pl.DataFrame:
    """What was used in each year of the warranty, and what availability is settled at.

    Availability is 100·(H − unavailable)/H, with H the hours that are neither excluded nor without any knowledge. Of
    the payment each point that is missing costs as many as the clause says.

    Args:
        assumptions: `Assumption` rows of the fleet.
        daily: `BatteryDaily` rows.
        availability: `Availability` rows.
        batteries: `Battery` rows.

    Returns:
        `WarrantyYear` rows, sorted.
    """
    terms = terms_of(assumptions)
    if terms is None:
        return WarrantyYear.create_empty()
    is_excluded = pl.any_horizontal(
        pl.lit(value=False), *(pl.col("date").is_between(first, last) for first, last in terms.exclusions)
    )
    observed = pl.col("observed_hours") + pl.col("lost_communication_hours") + pl.col("outage_hours")
    counted = availability.filter(~is_excluded).select(
        *BATTERY_DAY, hours=observed, unavailable=pl.col("outage_hours") + pl.col("standstill_hours")
    )
    days = (
        daily.select(*BATTERY_DAY, "equivalent_full_cycles", "discharging_energy_wh")
        .join(counted, on=BATTERY_DAY, how="full", coalesce=True)
        .join(batteries.select(*BATTERY), on=BATTERY, how="semi")
    )
    ages = _ages(terms, days["date"].to_list())
    guaranteed, cost = terms.numbers.get("availability_percent"), terms.numbers.get("availability_points_per_point")
    share = 100 * (pl.col("hours") - pl.col("unavailable_hours")) / pl.col("hours")
    found = (
        days.join(ages, on="date", how="inner")
        .with_columns(year=pl.col("age_years").floor().cast(pl.Int64) + 1)
        .group_by(*BATTERY, "year")
        .agg(
            pl.col("date").max().alias("last_day"),
            pl.col("equivalent_full_cycles", "discharging_energy_wh", "hours").sum(),
            unavailable_hours=pl.col("unavailable").sum(),
        )
        .with_columns(
            first_day=pl.col("year").map_elements(lambda k: anniversary(terms.starts_on, k - 1), return_dtype=pl.Date),
            cycles_allowed=_number(terms, "equivalent_full_cycles_per_year"),
            availability_percent=pl.when(pl.col("hours") > 0).then(share),
            guaranteed_availability_percent=pl.lit(guaranteed, pl.Float64),
        )
        .with_columns(settled_percent=settled(pl.col("availability_percent"), guaranteed, cost))
    )
    return found.select(WarrantyYear.column_names()).sort(*BATTERY, "year").pipe(WarrantyYear.validate)


def settled(availability: pl.Expr, guaranteed: float | None, points_per_point: float | None) -> pl.Expr:
    """Share of the payment that is due [%]: each point of availability that is missing costs so many.

    Examples:
        >>> rows = pl.DataFrame({"of": [95.0, 98.0, 99.5, 10.0]})
        >>> rows.select(settled(pl.col("of"), 98, 2))["of"].to_list()
        [94.0, 100.0, 100.0, 0.0]
    """
    if guaranteed is None or points_per_point is None:
        return pl.lit(None, pl.Float64)
    missing = (pl.lit(guaranteed, pl.Float64) - availability).clip(lower_bound=0)
    return (100 - points_per_point * missing).clip(lower_bound=0).alias(availability.meta.output_name())
