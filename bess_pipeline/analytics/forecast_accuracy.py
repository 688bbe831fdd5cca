"""Errors of what is said of the future on fleets whose truth is known: fade, remaining life, forecast, knees."""

from __future__ import annotations

import polars as pl

from bess_pipeline.analytics.accuracy import LINE, OURS, TODAY, errors
from bess_pipeline.analytics.known_truth import Truth
from bess_pipeline.tables.keys import BATTERY, BATTERY_DAY

#: What is said of the future is judged from this age of the data on [days].
_YEAR = 365
#: A straight line that hardly falls says that a battery lives for ever: no longer than this [days].
_FOR_EVER = 50 * 365.25
#: A forecast for a day this close to a year ahead is one for a year ahead [days].
_NEARLY = 20
#: Detections of a knee closer than this are of the same knee [days].
_SAME_KNEE = 180.0
#: A battery that does this many equivalent full cycles a year is cycled.
_CYCLED = 100.0
#: Names of the ends of intervals of the remaining life: of the central 80 % and, where there is one, 90 %.
LIFE_80 = ("remaining_life_days_p10", "remaining_life_days_p90")
LIFE_90 = ("remaining_life_days_p05", "remaining_life_days_p95")


def straight_lines(health: pl.DataFrame) -> pl.DataFrame:
    """The straight line through all capacities of a battery so far, by least squares, at the end of each day.

    Args:
        health: `StateOfHealth` rows.

    Returns:
        fleet_id, battery_id, date, `level_percent` of the line at that day, and its `slope_percent_per_day`; from the
        second estimate on.
    """
    x, y, n = pl.col("x"), pl.col("y"), pl.col("n")

    def so_far(value: pl.Expr) -> pl.Expr:
        return value.cum_sum().over(BATTERY)

    sums = (
        health.drop_nulls("soh_percent")
        .sort(*BATTERY_DAY)
        .with_columns(
            x=(pl.col("date") - pl.col("date").min().over(BATTERY)).dt.total_days().cast(pl.Float64),
            y=pl.col("soh_percent"),
            n=pl.int_range(1, pl.len() + 1).over(BATTERY),
        )
        .with_columns(sx=so_far(x), sy=so_far(y), sxx=so_far(x * x), sxy=so_far(x * y))
        .filter(n >= 2)
    )
    slope = (n * pl.col("sxy") - pl.col("sx") * pl.col("sy")) / (n * pl.col("sxx") - pl.col("sx").pow(2))
    return sums.with_columns(slope_percent_per_day=slope).select(
        *BATTERY,
        "date",
        "slope_percent_per_day",
        level_percent=pl.col("sy") / n + pl.col("slope_percent_per_day") * (x - pl.col("sx") / n),
    )


def fade_errors(degradation: pl.DataFrame, lines: pl.DataFrame, truth: Truth) -> pl.DataFrame:
    """Errors of the rate of fade at every `as_of` after a year of data, of healthy batteries.

    The true rate is what was lost in the year up to then.

    Args:
        degradation: `as_of` and `degradation_percent_per_year`.
        lines: Rows of `straight_lines`.
        truth: Of the fleet.

    Returns:
        `ERRORS`: `fade_error` [points per year] of the pipeline and of the straight line.
    """
    now = truth.daily.select(*BATTERY, "day", "date", now="soh_percent")
    before = truth.daily.select(*BATTERY, day=pl.col("day") + _YEAR, before="soh_percent")
    true = now.join(before, on=[*BATTERY, "day"]).with_columns(true=(pl.col("before") - pl.col("now")) / _YEAR * 365.25)
    said = _made(degradation, truth).join(true, on=BATTERY_DAY).join(lines, on=BATTERY_DAY, how="left")
    said = said.drop_nulls("degradation_percent_per_year")
    found = {OURS: pl.col("degradation_percent_per_year"), LINE: -365.25 * pl.col("slope_percent_per_day")}
    return pl.concat(
        errors(said.select(*BATTERY, "day", value=value - pl.col("true")), truth, "fade_error", estimator)
        for estimator, value in found.items()
    )


def life_errors(degradation: pl.DataFrame, lines: pl.DataFrame, truth: Truth) -> pl.DataFrame:
    """Errors of the remaining life at every `as_of` after a year of data, of healthy batteries: none has a knee.

    Judged where the life has not ended, both ends of the interval are given, and the
    end of life meant is that of the truth. The straight line is judged where the
    pipeline is; a line that does not fall lives for 50 years more.

    Args:
        degradation: `as_of`, `remaining_life_days_p10`, `_p50`, `_p90` and, where there are, `_p05` and `_p95`.
        lines: Rows of `straight_lines`.
        truth: Of the fleet.

    Returns:
        `ERRORS`: `life_error` [percent of the true remaining life] of the pipeline and of the straight line;
        `life_coverage_80` and, where there are the columns, `life_coverage_90`.
    """
    needed = ["remaining_life_days_p50", *LIFE_80]
    true = truth.batteries.filter(pl.col("knee_day").is_null()).select(*BATTERY, "end_of_life_day").drop_nulls()
    said = (
        _made(degradation, truth)
        .drop_nulls(needed)
        .join(true, on=BATTERY)
        .join(lines, on=BATTERY_DAY, how="left")
        .with_columns(true=(pl.col("end_of_life_day") - pl.col("day")).cast(pl.Float64))
        .filter(pl.col("true") > 0)
    )
    if "end_of_life_percent" in said.columns:
        said = said.filter((pl.col("end_of_life_percent") - truth.end_of_life_percent).abs() < 0.1)
    above = pl.col("level_percent") - truth.end_of_life_percent
    falls = pl.col("slope_percent_per_day") < 0
    straight = pl.when(falls).then(-above / pl.col("slope_percent_per_day")).otherwise(_FOR_EVER).clip(0, _FOR_EVER)
    found = {OURS: pl.col("remaining_life_days_p50"), LINE: pl.when(above.is_not_null()).then(straight)}
    parts = [
        errors(
            said.select(*BATTERY, "day", value=100 * (value / pl.col("true") - 1)), truth, "life_error", estimator
        )
        for estimator, value in found.items()
    ]  # fmt: skip
    for metric, ends in (("life_coverage_80", LIFE_80), ("life_coverage_90", LIFE_90)):
        if set(ends) <= set(said.columns):
            inside = pl.col("true").is_between(*ends).cast(pl.Float64)
            parts.append(errors(said.drop_nulls(ends).select(*BATTERY, "day", value=inside), truth, metric))
    return pl.concat(parts)


def forecast_errors(forecast: pl.DataFrame, health: pl.DataFrame, truth: Truth) -> pl.DataFrame:
    """Errors of the capacity forecast one year ahead, made at every `as_of` after a year of data, of healthy batteries.

    Of the days that a forecast is for, the one closest to a year ahead counts, if
    within 20 days. Truth beyond the data is what would be, were every day like the
    last ones.

    Args:
        forecast: `as_of`, `date`, `soh_p50_percent` and, where there are, `soh_p10_percent`, `soh_p90_percent`.
        health: `StateOfHealth` rows.
        truth: Of the fleet.

    Returns:
        `ERRORS`: `forecast_error` [points] of the pipeline and of capacity staying as it was estimated;
        `forecast_coverage_80`.
    """
    past = truth.daily.select(*BATTERY, "day", "soh_percent")
    to_come = truth.future.filter(pl.col("day") >= truth.days).select(past.columns)
    true = pl.concat([past, to_come]).rename({"soh_percent": "true", "day": "on"}).sort("on")
    year = (pl.col("on") - pl.col("day") - _YEAR).abs()
    said = (
        _made(forecast.rename({"date": "target"}), truth)
        .drop_nulls("soh_p50_percent")
        .with_columns(on=(pl.col("target") - truth.first_day).dt.total_days())
        .filter(year <= _NEARLY)
        .sort(*BATTERY, "day", year, "on")
        .unique([*BATTERY, "day"], keep="first", maintain_order=True)
        .sort("on")
        .join_asof(true, on="on", by=BATTERY, strategy="nearest", tolerance=7, check_sortedness=False)
        .join(health.select(*BATTERY_DAY, today="soh_percent"), on=BATTERY_DAY, how="left")
    )
    parts = [
        errors(said.select(*BATTERY, "day", value=pl.col(column) - pl.col("true")), truth, "forecast_error", estimator)
        for column, estimator in (("soh_p50_percent", OURS), ("today", TODAY))
    ]
    ends = ("soh_p10_percent", "soh_p90_percent")
    if set(ends) <= set(said.columns):
        inside = pl.col("true").is_between(*ends).cast(pl.Float64)
        parts.append(errors(said.drop_nulls(ends).select(*BATTERY, "day", value=inside), truth, "forecast_coverage_80"))
    return pl.concat(parts)


def knee_errors(degradation: pl.DataFrame, truth: Truth) -> pl.DataFrame:
    """How soon planted knees are told, and how often one is told where there is none.

    Detections of one battery that are less than 180 days apart are one. One before a
    planted knee is false. Batteries with another battery fault are left out.

    Args:
        degradation: `as_of` and `knee_detected_on`.
        truth: Of the fleet.

    Returns:
        `ERRORS`: `knee_found` (1 or 0) and `knee_delay` [days] of each planted knee, `kind` cycled or idle;
        `knee_false`, number of false detections weighted by the years of each battery without a knee.
    """
    told = (
        degradation.drop_nulls("knee_detected_on")
        .select(*BATTERY, at=(pl.col("knee_detected_on") - truth.first_day).dt.total_days().cast(pl.Float64))
        .unique()
        .sort(*BATTERY, "at")
    )
    others = truth.faults.filter(pl.col("kind") != "knee")
    of = truth.batteries.join(others, on=BATTERY, how="anti").select(*BATTERY, "knee_day", "cycles_per_year")
    of = of.with_columns(
        kind=pl.when(pl.col("cycles_per_year") >= _CYCLED).then(pl.lit("cycled")).otherwise(pl.lit("idle"))
    )
    both = told.join(of, on=BATTERY)
    found = both.filter(pl.col("at") >= pl.col("knee_day")).group_by(BATTERY).agg(first=pl.col("at").min())
    planted = of.drop_nulls("knee_day").join(found, on=BATTERY, how="left")
    is_new = (pl.col("at").diff().over(BATTERY) >= _SAME_KNEE).fill_null(value=True)
    false = (
        both.filter(pl.col("knee_day").is_null() | (pl.col("at") < pl.col("knee_day")))
        .filter(is_new)
        .group_by(BATTERY)
        .agg(value=pl.len())
    )
    years = pl.min_horizontal(pl.col("knee_day"), pl.lit(truth.days, pl.Float64)) / 365.25
    counts = of.join(false, on=BATTERY, how="left").select(*BATTERY, "kind", pl.col("value").fill_null(0), weight=years)
    first = pl.col("first")
    return pl.concat(
        [
            errors(planted.select(*BATTERY, "kind", value=first.is_not_null()), truth, "knee_found", healthy=False),
            errors(
                planted.select(*BATTERY, "kind", value=first - pl.col("knee_day")), truth, "knee_delay", healthy=False
            ),
            errors(counts, truth, "knee_false", healthy=False),
        ]
    )


def _made(table: pl.DataFrame, truth: Truth) -> pl.DataFrame:
    """What was said after a year of data, with its `date` and `day`."""
    day = (pl.col("as_of").cast(pl.Date) - truth.first_day).dt.total_days()
    return table.with_columns(date=pl.col("as_of").cast(pl.Date), day=day).filter(pl.col("day") >= _YEAR)
