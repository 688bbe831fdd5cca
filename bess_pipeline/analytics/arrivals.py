"""When the days of a fleet came, and whether that was later than usual."""

from __future__ import annotations

from datetime import timedelta

import polars as pl

from bess_pipeline.analytics.verdicts import LEAST_COVERAGE
from bess_pipeline.tables.arrivals import ArrivalsDaily

#: Days before a day that tell what is usual, and how many of them have to be known.
USUAL, FEWEST = timedelta(days=30), 7
#: A day is late from three robust spreads beyond the usual on, and never within so many hours of it.
SPREADS, MARGIN_HOURS = 3.0, 6.0
#: Median absolute deviation → standard deviation, for normal errors.
_MAD_TO_SIGMA = 1.4826
_DAY = ("fleet_id", "date")


def arrivals_daily(
    landing_days: pl.DataFrame,
    landing_files: pl.DataFrame,
    quality: pl.DataFrame,
    *,
    late_after_hours: float | None = None,
) -> pl.DataFrame:
    """Say of each day of a fleet when its rows came, how long after its end, and whether that is late.

    Nobody knows when a day came that was over when the fleet was first looked at: its
    rows were there then, or are history that was delivered later. Such days, and days
    whose scan was not noted, have no delay, are not late, and do not count for what is usual.

    Args:
        landing_days: `LandingDay` rows: when the rows of each day in each file were seen.
        landing_files: `LandingFile` rows: when the fleet was first looked at.
        quality: `DataQualityDaily` rows: the days, and how much of each was seen.
        late_after_hours: Delay beyond which a day is late [h]; the usual one and a margin if absent.

    Returns:
        `ArrivalsDaily` rows, sorted.

    Raises:
        ValueError: If ``late_after_hours`` is negative.
    """
    if late_after_hours is not None and late_after_hours < 0:
        raise ValueError(f"late_after_hours must not be negative, got {late_after_hours}")
    looked = landing_files.group_by("fleet_id").agg(looked_at=pl.col("first_seen_at").min())
    ended = (pl.col("date") + timedelta(days=1)).cast(pl.Datetime("us", "UTC"))
    came = landing_days.group_by(_DAY).agg(
        # One file of which nobody knows may have been the first; the last is the last that somebody knows.
        first_seen_at=pl.when(pl.col("first_seen_at").is_not_null().all()).then(pl.col("first_seen_at").min()),
        last_seen_at=pl.col("changed_at").max(),
    )
    is_watched = (ended > pl.col("looked_at")).fill_null(value=False)
    days = (
        quality.drop_nulls("date")
        .select(*_DAY, "rows_received", "batteries_expected", "batteries_reporting", "coverage_fraction")
        .join(came, on=_DAY, how="left")
        .join(looked, on="fleet_id", how="left")
        .with_columns(pl.when(is_watched).then(pl.col("first_seen_at", "last_seen_at")))
        .with_columns(
            first_delay_hours=(pl.col("first_seen_at") - ended).dt.total_microseconds() / 3_600_000_000,
            last_delay_hours=(pl.col("last_seen_at") - ended).dt.total_microseconds() / 3_600_000_000,
        )
        .sort(_DAY)
    )
    own = pl.col("usual_delay_hours") + pl.max_horizontal(pl.lit(MARGIN_HOURS), SPREADS * pl.col("spread_hours"))
    return (
        days.join(_usual(days), on=_DAY, how="left")
        .with_columns(late_after_hours=own if late_after_hours is None else pl.lit(late_after_hours, pl.Float64))
        .with_columns(is_late=pl.col("last_delay_hours") > pl.col("late_after_hours"), status=_status())
        .select(ArrivalsDaily.column_names())
        .sort(_DAY)
    )


def _usual(days: pl.DataFrame) -> pl.DataFrame:
    """Median delay of the days before each day, and its robust spread [h]; null of too few."""
    delay = pl.col("last_delay_hours").drop_nulls()
    is_enough = delay.len() >= FEWEST
    return (
        days.sort(_DAY)
        .rolling("date", period=USUAL, offset=-USUAL, closed="left", group_by="fleet_id")
        .agg(
            usual_delay_hours=pl.when(is_enough).then(delay.median()),
            spread_hours=_MAD_TO_SIGMA * (delay - delay.median()).abs().median(),
        )
    )


def _status() -> pl.Expr:
    seen = pl.col("coverage_fraction")
    return (
        pl.when(pl.col("rows_received") == 0)
        .then(pl.lit("missing"))
        .when(seen < LEAST_COVERAGE)
        .then(pl.lit("partial"))
        .when(seen >= LEAST_COVERAGE)
        .then(pl.lit("complete"))
    )
