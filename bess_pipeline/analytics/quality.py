"""The account of every row received, and how much of each day was seen."""

from __future__ import annotations

from datetime import date

import polars as pl

from bess_pipeline.analytics.plausibility import charge_mismatch, voltage_mismatch
from bess_pipeline.tables import quality as contracts
from bess_pipeline.tables.keys import BATTERY, BATTERY_DAY
from bess_pipeline.tables.quality import REASONS, REPAIR_COUNTS, REPAIRS
from bess_pipeline.tables.telemetry import CHANNELS, FLAGS
from bess_pipeline.units import US_PER_DAY

#: Stands for no day where a day is part of a key.
NO_DAY = date(1970, 1, 1)


#: Columns of each battery's days of which a fleet's are made.
READS_BATTERIES = (
    *BATTERY_DAY,
    *REPAIR_COUNTS,
    "coverage_fraction",
    "rows_accepted",
    "excluded_fraction",
    "cell_voltage_mismatch_fraction",
    "soc_bms_mismatch_fraction",
)
#: What makes a battery the worst of its fleet's day: a share [1], the least worth a name, and how it is told.
_TROUBLES = (
    (1 - pl.col("coverage_fraction"), 0.05, "{} % of the day without data"),
    (pl.col("excluded_fraction"), 0.05, "{} % of its current voided by flags"),
    (pl.col("suspected_intervals") / 288, 0.05, "{} % of the day with a current of the wrong sign, it seems"),
    (pl.col("cell_voltage_mismatch_fraction"), 0.5, "voltage and cells disagree in {} % of the day"),
    (pl.col("soc_bms_mismatch_fraction"), 0.5, "reported and counted charge disagree in {} % of its hours at work"),
)


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


def data_quality_daily(
    landing_days: pl.DataFrame, landing_files: pl.DataFrame, accounts: pl.DataFrame, batteries_daily: pl.DataFrame
) -> pl.DataFrame:
    """Set what the index counted against what became of it, and sum up the batteries, by fleet and day.

    Args:
        landing_days: `LandingDay` rows: rows by day, as the index counted them.
        landing_files: `LandingFile` rows: rows without a usable time.
        accounts: `RowAccount` rows: what became of each.
        batteries_daily: `BatteryDataQualityDaily` rows, of which `READS_BATTERIES` are read.

    Returns:
        `DataQualityDaily` rows, sorted: a day that only one side knows is there too, and so are days between the
        first and the last of which nobody knows anything.
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
    became = accounts.group_by("fleet_id", "date").agg(
        **_outcomes(),
        **{reason: _counted(reason) for reason in REASONS},
    )
    both = received.join(became, on=["fleet_id", "date"], how="full", coalesce=True)
    calendar = _calendar(pl.concat([both.select("fleet_id", "date"), batteries_daily.select("fleet_id", "date")]))
    # A day whose rows nobody has accounted for is not made yet.
    is_made = (pl.col("date") != NO_DAY) & (pl.col("rows_accepted").is_not_null() | pl.col("rows_received").is_null())
    told = ("coverage_fraction", "batteries_expected", "batteries_reporting")
    return (
        calendar.join(both, on=["fleet_id", "date"], how="left")
        .join(_over_batteries(calendar, batteries_daily), on=["fleet_id", "date"], how="left")
        .with_columns(pl.when(is_made).then(pl.col(*told, "worst_battery_id", "worst_battery_reason")))
        .with_columns(pl.exclude("fleet_id", "date", *told, "worst_battery_id", "worst_battery_reason").fill_null(0))
        .sort("fleet_id", "date")
        .with_columns(date=pl.when(pl.col("date") != NO_DAY).then("date"))
        .select(contracts.DataQualityDaily.column_names())
    )


def _counted(*outcomes: str) -> pl.Expr:
    return pl.col("rows").filter(pl.col("outcome").is_in(outcomes)).sum()


def _outcomes() -> dict[str, pl.Expr]:
    return {
        "rows_accepted": _counted("accepted"),
        "rows_quarantined": _counted(*REASONS),
        "rows_duplicate": _counted("duplicate"),
    }


def _calendar(known: pl.DataFrame) -> pl.DataFrame:
    """Every day of each fleet from its first to its last, and that which stands for none where it is known."""
    span = (
        known.filter(pl.col("date") != NO_DAY)
        .group_by("fleet_id")
        .agg(date=pl.date_ranges(pl.col("date").min(), pl.col("date").max()).first())
        .explode("date")
    )
    return pl.concat([span, known.filter(date=NO_DAY).unique()])


def _over_batteries(calendar: pl.DataFrame, batteries_daily: pl.DataFrame) -> pl.DataFrame:
    """The batteries of each day summed up, those known by then that are silent included, and the worst named."""
    rows, expected = batteries_daily.sort(BATTERY_DAY), pl.col("batteries_expected")
    summed = rows.group_by("fleet_id", "date", maintain_order=True).agg(
        pl.col(REPAIR_COUNTS).sum(),
        covered=pl.col("coverage_fraction").sum(),
        batteries_reporting=(pl.col("rows_accepted") > 0).sum().cast(pl.Int64),
    )
    known = rows.group_by(BATTERY, maintain_order=True).agg(first_day=pl.col("date").min())
    arrived = known.group_by("fleet_id", date="first_day").agg(batteries_expected=pl.len().cast(pl.Int64))
    days = (
        calendar.filter(pl.col("date") != NO_DAY)
        .sort("fleet_id", "date")
        .join(summed, on=["fleet_id", "date"], how="left", maintain_order="left")
        .join(arrived, on=["fleet_id", "date"], how="left", maintain_order="left")
        .with_columns(pl.col("covered", "batteries_reporting", "batteries_expected").fill_null(0))
        .with_columns(pl.col("batteries_expected").cum_sum().over("fleet_id"))
        .with_columns(coverage_fraction=pl.when(expected > 0).then(pl.col("covered") / expected))
    )
    worst = pl.concat([_absent(days, rows, known), troubles(rows).select("fleet_id", "date", "battery_id", "reason")])
    named = worst.group_by("fleet_id", "date", maintain_order=True).agg(
        worst_battery_id=pl.col("battery_id").first(), worst_battery_reason=pl.col("reason").first()
    )
    return days.join(named, on=["fleet_id", "date"], how="left")


def _absent(days: pl.DataFrame, rows: pl.DataFrame, known: pl.DataFrame) -> pl.DataFrame:
    """The first by name of the batteries known by a day that have no row on it."""
    numbered = known.with_row_index("battery")
    here = rows.group_by("fleet_id", "date").agg(here=pl.len())
    lacking = (
        days.join(here, on=["fleet_id", "date"], how="left")
        .filter(pl.col("here").fill_null(0) < pl.col("batteries_expected"))
        .select("fleet_id", "date")
    )
    # Days on which somebody is absent are few, and those on which everybody is there are years.
    present = (
        rows.join(lacking, on=["fleet_id", "date"], how="semi")
        .join(numbered.select(*BATTERY, "battery"), on=BATTERY)
        .select("battery", "date")
    )
    return (
        lacking.join(numbered.select("fleet_id", "battery", "first_day"), on="fleet_id")
        .filter(pl.col("date") >= pl.col("first_day"))
        .select("date", "battery", "fleet_id")
        .join(present, on=["battery", "date"], how="anti")
        .group_by("fleet_id", "date")
        .agg(pl.col("battery").min())
        .join(numbered.select("battery", "battery_id"), on="battery")
        .select("fleet_id", "date", "battery_id", reason=pl.lit("nothing came of it"))
        .sort("fleet_id", "date")
    )


def troubles(batteries_daily: pl.DataFrame) -> pl.DataFrame:
    """What is most wrong with each battery on each day, if it is worth a word.

    Args:
        batteries_daily: `BatteryDataQualityDaily` rows.

    Returns:
        A row per battery and day with such a trouble, the worst of a fleet's day first: ``share`` of the day [1],
        and a ``reason`` in words.
    """
    kinds = []
    for order, (share, least, words) in enumerate(_TROUBLES):
        percent = (100 * pl.col("share")).round().cast(pl.Int64)
        kind = batteries_daily.select(*BATTERY_DAY, share=share.cast(pl.Float64)).filter(pl.col("share") >= least)
        kinds.append(kind.with_columns(order=pl.lit(order), reason=pl.format(words, percent)))
    return (
        pl.concat(kinds)
        .sort(*BATTERY_DAY, "share", "order", descending=[False, False, False, True, False])
        .unique(BATTERY_DAY, keep="first", maintain_order=True)
        .sort("fleet_id", "date", "share", "battery_id", descending=[False, False, True, False])
        .drop("order")
    )


def interval_quality(intervals: pl.DataFrame, repairs: pl.DataFrame, batteries: pl.DataFrame) -> pl.DataFrame:
    """What the 5-minute rows of each battery and day say of the quality of its data.

    Args:
        intervals: `ClosedInterval5min` rows: midnights closed, repairs made.
        repairs: `Repair` rows.
        batteries: `Battery` rows.

    Returns:
        `IntervalQuality` rows, sorted. A day rests on its rows and on the first of the next.
    """
    seen = intervals.group_by(BATTERY_DAY).agg(
        seen_us=pl.max_horizontal("current_observed_us", "power_observed_us", "voltage_observed_us").sum()
    )
    return (
        seen.join(_repaired(intervals, repairs), on=BATTERY_DAY, how="left")
        .join(voltage_mismatch(intervals, batteries), on=BATTERY_DAY, how="left")
        .join(charge_mismatch(intervals, batteries), on=BATTERY_DAY, how="left")
        .select(contracts.IntervalQuality.column_names())
        .sort(BATTERY_DAY)
        .pipe(contracts.IntervalQuality.validate)
    )


def battery_data_quality_daily(evidence: pl.DataFrame, intervals: pl.DataFrame, accounts: pl.DataFrame) -> pl.DataFrame:
    """Say of each battery and day how much was seen, what was wrong with it, and what was done about it.

    Args:
        evidence: `DayEvidence` rows.
        intervals: `IntervalQuality` rows.
        accounts: `RowAccount` rows.

    Returns:
        `BatteryDataQualityDaily` rows, sorted. A day is there when evidence, intervals or accounts know it: also
        when all its rows were rejected, or when only a mean of the evening before reaches into it. It rests on
        60 days before it.
    """
    # By a column, because Polars would multiply by the reciprocal of a number, but divide a single row by it.
    seen = intervals.with_columns(coverage_fraction=pl.col("seen_us") / (pl.col("seen_us") * 0 + US_PER_DAY))
    named = accounts.filter((pl.col("battery_id") != "") & (pl.col("date") != NO_DAY))
    days = pl.concat([evidence.select(BATTERY_DAY), intervals.select(BATTERY_DAY), named.select(BATTERY_DAY)]).unique()
    told = ("longest_gap_us", "clock_shifted", *FLAGS)
    counts = ("coverage_fraction", *contracts.RepairCounts.column_names(), "longest_gap_us", *FLAGS, *_outcomes())
    return (
        days.sort(BATTERY_DAY)
        .join(evidence.select(*BATTERY_DAY, *told), on=BATTERY_DAY, how="left")
        .join(seen, on=BATTERY_DAY, how="left")
        .join(named.group_by(BATTERY_DAY).agg(**_outcomes()), on=BATTERY_DAY, how="left")
        .with_columns(pl.col(counts).fill_null(0))
        .join(_expected(days, evidence), on=BATTERY_DAY, how="left")
        .join(_complete(evidence), on=BATTERY_DAY, how="left")
        .sort(BATTERY_DAY)
        .select(contracts.BatteryDataQualityDaily.column_names())
    )


def _repaired(intervals: pl.DataFrame, repairs: pl.DataFrame) -> pl.DataFrame:
    """How many 5-minute rows of each battery and day the repairs are about."""
    rows = intervals.select(*BATTERY_DAY, "timestamp").sort(*BATTERY, "timestamp")
    for kind in REPAIRS:
        stretches = repairs.filter(kind=kind).select(*BATTERY, timestamp="started_at", until="ended_at", done="action")
        found = rows.select(*BATTERY, "timestamp").join_asof(
            stretches.sort("timestamp"), on="timestamp", by=list(BATTERY), check_sortedness=False
        )
        inside = found.select(pl.when(pl.col("timestamp") < pl.col("until")).then("done")).to_series()
        rows = rows.with_columns(inside.alias(kind))

    def done(action: str, kinds: tuple[str, ...]) -> pl.Expr:
        return pl.any_horizontal(pl.col(kind).eq_missing(pl.lit(action)) for kind in kinds).sum().cast(pl.Int64)

    return rows.group_by(BATTERY_DAY, maintain_order=True).agg(
        **{f"{kind}_intervals": done("converted", (kind,)) for kind in REPAIRS},
        mixed_intervals=done("excluded", REPAIRS),
        suspected_intervals=done("suspected", REPAIRS),
    )


def _expected(days: pl.DataFrame, evidence: pl.DataFrame) -> pl.DataFrame:
    """Samples that a whole day would have at the usual interval of the 30 days up to it."""
    usual = pl.col("usual_interval_us").cast(pl.Float64).rolling_median_by("date", window_size="30d").over(BATTERY)
    known = evidence.sort(BATTERY_DAY).select(*BATTERY_DAY, usual=usual)
    return (
        days.sort(BATTERY_DAY)
        .join_asof(known.sort("date"), on="date", by=list(BATTERY), tolerance="30d", check_sortedness=False)
        .select(*BATTERY_DAY, samples_expected=(US_PER_DAY / pl.col("usual")).round().cast(pl.Int64))
    )


def _complete(evidence: pl.DataFrame) -> pl.DataFrame:
    """The share of each day's samples in which a channel is usable; null for channels that it has not had lately."""

    def share(channel: str) -> pl.Expr:
        has_it = pl.col(f"{channel}_known").rolling_max_by("date", window_size="31d").over(BATTERY) > 0
        return pl.when(has_it & (pl.col("samples") > 0)).then(pl.col(f"{channel}_usable") / pl.col("samples"))

    def voided(channel: str) -> pl.Expr:
        known = pl.col(f"{channel}_known")
        return pl.when(known > 0).then((known - pl.col(f"{channel}_usable")) / known)

    return evidence.sort(BATTERY_DAY).select(
        *BATTERY_DAY,
        **{f"{channel}_completeness_fraction": share(channel) for channel in CHANNELS},
        excluded_fraction=pl.coalesce(voided("current"), voided("power")),
    )
