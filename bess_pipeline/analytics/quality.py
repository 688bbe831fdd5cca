"""The account of every row received, and how much of each day was seen."""

from __future__ import annotations

from datetime import date

import polars as pl

from bess_pipeline.tables import quality as contracts
from bess_pipeline.tables.quality import REASONS
from bess_pipeline.tables.telemetry import FLAGS

#: Stands for no day where a day is part of a key.
NO_DAY = date(1970, 1, 1)

_DAY_US = 86_400_000_000


def row_accounts(raw: pl.DataFrame, rejected: pl.DataFrame) -> pl.DataFrame:
    """Count the rows of a slice by what became of them.

    Args:
        raw: `RawTelemetry` rows; those that lost a conflict are counted from here.
        rejected: `QuarantinedRow` rows that never became raw telemetry.

    Returns:
        `RowAccount` rows, sorted.
    """
    return (
        pl.concat(
            [
                raw.select("fleet_id", "date", "battery_id", outcome="verdict"),
                rejected.select("fleet_id", "date", "battery_id", outcome="reason"),
            ]
        )
        .with_columns(pl.col("date").fill_null(NO_DAY), pl.col("battery_id").fill_null(""))
        .group_by("fleet_id", "date", "battery_id", "outcome")
        .agg(rows=pl.len().cast(pl.Int64))
        .sort("fleet_id", "date", "battery_id", "outcome")
    )


def data_quality_daily(landing_days: pl.DataFrame, landing_files: pl.DataFrame, accounts: pl.DataFrame) -> pl.DataFrame:
    """Set what the index counted against what became of it, by fleet and day.

    Args:
        landing_days: `LandingDay` rows: rows by day, as the index counted them.
        landing_files: `LandingFile` rows: rows without a usable time.
        accounts: `RowAccount` rows: what became of each.

    Returns:
        `DataQualityDaily` rows, sorted; a day that only one side knows is there too.
    """
    received = (
        pl.concat(
            [
                landing_days.select("fleet_id", "date", "rows"),
                landing_files.select("fleet_id", date=pl.lit(NO_DAY), rows="rows_without_day").filter(
                    pl.col("rows") > 0
                ),
            ]
        )
        .group_by("fleet_id", "date")
        .agg(rows_received=pl.col("rows").sum())
    )

    def counted(*outcomes: str) -> pl.Expr:
        return pl.col("rows").filter(pl.col("outcome").is_in(outcomes)).sum()

    became = accounts.group_by("fleet_id", "date").agg(
        rows_accepted=counted("accepted"),
        rows_quarantined=counted(*REASONS),
        rows_duplicate=counted("duplicate"),
        **{reason: counted(reason) for reason in REASONS},
    )
    both = received.join(became, on=["fleet_id", "date"], how="full", coalesce=True)
    return (
        both.with_columns(pl.exclude("fleet_id", "date").fill_null(0))
        .sort("fleet_id", "date")
        .with_columns(date=pl.when(pl.col("date") != NO_DAY).then("date"))
        .select(contracts.DataQualityDaily.column_names())
    )


def battery_data_quality_daily(evidence: pl.DataFrame, intervals: pl.DataFrame, accounts: pl.DataFrame) -> pl.DataFrame:
    """Say of each battery and day how much was seen and what was wrong with it.

    Args:
        evidence: `DayEvidence` rows.
        intervals: `Interval5min` rows with midnights closed.
        accounts: `RowAccount` rows.

    Returns:
        `BatteryDataQualityDaily` rows, sorted. A day is there when any of the three knows it: also when all its
        rows were rejected, or when only a mean of the evening before reaches into it.
    """
    day = ("fleet_id", "battery_id", "date")
    seen = intervals.group_by(day).agg(
        seen_us=pl.max_horizontal("current_observed_us", "power_observed_us", "voltage_observed_us").sum()
    )
    # By a column, because Polars would multiply by the reciprocal of a number, but divide a single row by it.
    seen = seen.select(*day, coverage_fraction=pl.col("seen_us") / (pl.col("seen_us") * 0 + _DAY_US))

    def counted(*outcomes: str) -> pl.Expr:
        return pl.col("rows").filter(pl.col("outcome").is_in(outcomes)).sum()

    named = accounts.filter((pl.col("battery_id") != "") & (pl.col("date") != NO_DAY))
    became = named.group_by(day).agg(
        rows_accepted=counted("accepted"), rows_quarantined=counted(*REASONS), rows_duplicate=counted("duplicate")
    )
    days = pl.concat([evidence.select(day), intervals.select(day), named.select(day)]).unique()
    return (
        days.join(evidence.select(*day, "longest_gap_us", *FLAGS), on=day, how="left")
        .join(seen, on=day, how="left")
        .join(became, on=day, how="left")
        .with_columns(pl.exclude(day).fill_null(0))
        .sort(day)
        .select(contracts.BatteryDataQualityDaily.column_names())
    )
