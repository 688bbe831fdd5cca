"""What the quality tables of a fleet say about it: one verdict a question, with the worst cases named."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, timedelta

import polars as pl

from bess_pipeline.analytics.quality import NO_DAY
from bess_pipeline.tables.quality import REASONS
from bess_pipeline.units import US_PER_DAY
from bess_pipeline.window import Window

#: A day is covered when this share of it is seen, on average over the batteries [1].
LEAST_COVERAGE = 0.95

#: Newest days whose coverage and channels are judged: what was wrong before is told by the tables.
RECENT = 30

#: A fleet is late when this many whole days have gone by since its newest.
LATE_DAYS = 2

#: Channels disagree on a day when they do in this share of it [1].
_MOSTLY = 0.5
_SHOWN = 5
#: What to do about rows that are not accounted for.
_WHAT_TO_DO = (
    "a file that changed while it was read is read again by the next `bess run`; if it stays so, rows were lost:"
    " do not use the day, and report it with what the table row_accounts says of it"
)


@dataclass(frozen=True)
class Verdict:
    """The answer to one question about a fleet, or about one of its days.

    Attributes:
        passed: Whether all is well.
        summary: What is wrong, where it is worst, and what to do; or that nothing is.
        worst: The worst cases, at most five, worst first.
        is_error: Whether what follows from the data cannot be relied upon; else it is worth a look.
    """

    passed: bool
    summary: str
    worst: pl.DataFrame
    is_error: bool = False


def _verdict(cases: pl.DataFrame, summary: str, otherwise: str) -> Verdict:
    return Verdict(cases.is_empty(), otherwise if cases.is_empty() else summary, cases.head(_SHOWN))


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def accounting(quality: pl.DataFrame, waiting: Collection[date] = ()) -> Verdict:
    """Whether every row received was accepted, quarantined for a reason, or a duplicate.

    Args:
        quality: `DataQualityDaily` rows of a fleet.
        waiting: Days that the index knows and that are still to be made from it.
    """
    became = pl.sum_horizontal("rows_accepted", "rows_quarantined", "rows_duplicate")
    cases = (
        quality.filter(pl.col("date").is_null() | ~pl.col("date").is_in(list(waiting)))
        .select("date", "rows_received", "rows_accepted", "rows_quarantined", "rows_duplicate",
                missing=pl.col("rows_received") - became, reasons=pl.sum_horizontal(REASONS))
        .filter((pl.col("missing") != 0) | (pl.col("reasons") != pl.col("rows_quarantined")))
        .sort(pl.col("missing").abs(), "date", descending=[True, False])
        .drop("reasons")
    )  # fmt: skip
    if cases.is_empty():
        return _verdict(cases, "", f"every row of {_counted(quality.height, 'day')} is accounted for")
    worst = cases.row(0, named=True)
    where = worst["date"] or "rows without a usable time"
    summary = (
        f"rows do not add up on {_counted(cases.height, 'day')}, worst {where}:"
        f" {worst['rows_received']:,} received, {worst['rows_received'] - worst['missing']:,} accounted for; "
    )
    return Verdict(passed=False, summary=summary + _WHAT_TO_DO, worst=cases.head(_SHOWN), is_error=True)


def rows_of_days(
    landing_days: pl.DataFrame, landing_files: pl.DataFrame, accounts: pl.DataFrame, *, within: Window, today: date
) -> dict[date, Verdict]:
    """Whether every row that the index counted on a day was accounted for, and whether enough came of each battery.

    What came of a battery is the share of the day that its samples fill at the usual interval of the day's files.
    Rows that are not accounted for are an error; too few rows are none.

    Args:
        landing_days: `LandingDay` rows of a fleet over all its days.
        landing_files: `LandingFile` rows of it.
        accounts: `RowAccount` rows of the days asked for.
        within: The days asked for.
        today: The current UTC day, of which nobody can say yet whether enough came.

    Returns:
        A verdict for each of the days that index or account know.
    """
    known = landing_days.filter(pl.col("battery_id") != "").group_by("battery_id").agg(first_day=pl.col("date").min())
    counted = landing_days.filter(within.days())
    held = accounts.filter(pl.col("date") != NO_DAY)
    usual = (
        counted.select("date", "path")
        .unique()
        .join(landing_files.select("path", "usual_interval_us"), on="path")
        .group_by("date")
        .agg(pl.col("usual_interval_us").median())
    )
    samples = held.filter(outcome="accepted").group_by("date", "battery_id").agg(samples=pl.col("rows").sum())
    filled_us = pl.min_horizontal(pl.col("samples").fill_null(0) * pl.col("usual_interval_us"), pl.lit(US_PER_DAY))
    shares = (
        usual.filter((pl.col("date") < today) & (pl.col("usual_interval_us") > 0))
        .join(known, how="cross")
        .filter(pl.col("date") >= pl.col("first_day"))
        .join(samples, on=["date", "battery_id"], how="left")
        # By a column, because Polars would multiply by the reciprocal of a number, but divide a single row by it.
        .select("date", "battery_id", share=filled_us / (filled_us * 0 + US_PER_DAY))
        .sort("date", "share", "battery_id")
        .partition_by("date", as_dict=True, include_key=False, maintain_order=True)
    )
    nothing = pl.DataFrame(schema={"battery_id": pl.String, "share": pl.Float64})
    received = counted.group_by("date").agg(received=pl.col("rows").sum())
    became = held.group_by("date").agg(accounted=pl.col("rows").sum())
    days = received.join(became, on="date", how="full", coalesce=True).with_columns(pl.exclude("date").fill_null(0))
    return {
        day: _lost(day, rows, accounted) if rows != accounted else _came(rows, shares.get((day,), nothing))
        for day, rows, accounted in days.select("date", "received", "accounted").sort("date").iter_rows()
    }


def _lost(day: date, received: int, accounted: int) -> Verdict:
    summary = f"{day}: {received:,} rows received, {accounted:,} accounted for; {_WHAT_TO_DO}"
    return Verdict(passed=False, summary=summary, worst=pl.DataFrame(), is_error=True)


def _came(rows: int, shares: pl.DataFrame) -> Verdict:
    cases = shares.filter(pl.col("share") < LEAST_COVERAGE)
    named = ", ".join(f"{name} ({share:.0%})" for name, share in cases.head(_SHOWN).iter_rows())
    return _verdict(
        cases,
        f"of {cases.height} of {shares.height} batteries less than {LEAST_COVERAGE:.0%} came, least of {named}",
        f"all of {_counted(rows, 'row')} accounted for",
    )


def coverage(quality: pl.DataFrame, batteries_daily: pl.DataFrame, *, today: date) -> Verdict:
    """Whether enough was seen of each of the newest days that are over.

    Args:
        quality: `DataQualityDaily` rows of a fleet.
        batteries_daily: `BatteryDataQualityDaily` rows of it.
        today: The current UTC day.
    """
    recent = _recent(quality, before=today)
    cases = (
        recent.filter(pl.col("coverage_fraction") < LEAST_COVERAGE)
        .select("date", "coverage_fraction", "batteries_reporting", "batteries_expected",
                "worst_battery_id", "worst_battery_reason")
        .sort("coverage_fraction", "date")
    )  # fmt: skip
    seen = (
        batteries_daily.group_by("battery_id")
        .agg(first_day=pl.col("date").min())
        .join(cases.select("date"), how="cross")
        .filter(pl.col("date") >= pl.col("first_day"))
        .join(batteries_daily.select("battery_id", "date", "coverage_fraction"), on=["battery_id", "date"], how="left")
        .sort("battery_id", "date")
        .group_by("battery_id", maintain_order=True)
        .agg(pl.col("coverage_fraction").fill_null(0).mean())
        .sort("coverage_fraction", "battery_id")
    )
    named = ", ".join(f"{name} ({share:.0%})" for name, share in seen.head(_SHOWN).iter_rows() if share < 1)
    worst = "".join(str(day) for day in cases["date"].head(1))
    return _verdict(
        cases,
        f"less than {LEAST_COVERAGE:.0%} seen on {cases.height} of the newest {_counted(recent.height, 'day')}, worst"
        f" {worst}; of the batteries, least of {named}",
        f"at least {LEAST_COVERAGE:.0%} seen on each of the newest {_counted(recent.height, 'day')}",
    )


def days_late(newest: date, *, today: date) -> int:
    """Whole UTC days that have gone by since the newest day of which something came.

    Examples:
        >>> [days_late(date(2026, 3, 1), today=date(2026, 3, day)) for day in (1, 2, 3)]
        [0, 0, 1]
    """
    return max((today - newest).days - 1, 0)


def freshness(quality: pl.DataFrame, batteries_daily: pl.DataFrame, *, today: date) -> Verdict:
    """Whether days or batteries are missing up to the newest day, and whether that day is long ago.

    Args:
        quality: `DataQualityDaily` rows of a fleet.
        batteries_daily: `BatteryDataQualityDaily` rows of it.
        today: The current UTC day.
    """
    days = quality.drop_nulls("date").sort("date")
    came: list[date] = days.filter(pl.col("rows_received") > 0)["date"].to_list()
    if not came:
        return Verdict(passed=False, summary="no day has come yet", worst=pl.DataFrame())
    newest = came[-1]
    silent: list[date] = days.filter((pl.col("rows_received") == 0) & (pl.col("date") < newest))["date"].to_list()
    cases = (
        batteries_daily.filter(pl.col("rows_accepted") > 0)
        .group_by("battery_id")
        .agg(newest_day=pl.col("date").max())
        .with_columns(days_behind=(pl.lit(newest) - pl.col("newest_day")).dt.total_days())
        .filter(pl.col("days_behind") > 0)
        .sort("days_behind", "battery_id", descending=[True, False])
    )
    late = days_late(newest, today=today)
    parts = []
    if late > LATE_DAYS:
        parts.append(f"nothing came since {newest}, {late} days ago")
    if silent:
        parts.append(f"nothing came for {_counted(len(silent), 'day')} in between, last {silent[-1]}")
    if cases.height:
        named = ", ".join(f"{name} (since {day})" for name, day, _ in cases.head(_SHOWN).iter_rows())
        parts.append(f"silent before the fleet's newest day: {named}")
    return Verdict(not parts, "; ".join(parts) or f"newest day {newest}, none missing before it", cases.head(_SHOWN))


def lateness(arrivals: pl.DataFrame, *, today: date) -> Verdict:
    """Whether one of the newest days that are over came later than the fleet's days usually do.

    Args:
        arrivals: `ArrivalsDaily` rows of a fleet.
        today: The current UTC day.
    """
    recent = _recent(arrivals, before=today)
    known = recent.drop_nulls("is_late")
    cases = (
        known.filter("is_late")
        .select("date", "last_delay_hours", "usual_delay_hours", "late_after_hours", "last_seen_at", "status")
        .sort("last_delay_hours", "date", descending=[True, False])
    )
    named = ", ".join(
        f"{day} ({delay:.0f} h after its end{'' if usual is None else f', usually {usual:.0f} h'})"
        for day, delay, usual, *_ in cases.head(_SHOWN).iter_rows()
    )
    unknown = recent.height - known.height
    return _verdict(
        cases,
        f"{cases.height} of the newest {_counted(recent.height, 'day')} came late: {named}",
        f"none of the newest {_counted(recent.height, 'day')} came late"
        + (f"; of {unknown} nobody knows when they came, or what is usual" if unknown else ""),
    )


def units(repairs: pl.DataFrame, batteries_daily: pl.DataFrame) -> Verdict:
    """Whether values came in another unit than the fleet file says: where that was repaired.

    Args:
        repairs: `Repair` rows of a fleet.
        batteries_daily: `BatteryDataQualityDaily` rows of it.
    """
    columns = ("battery_id", "kind", "started_on", "ended_on")
    stretches = repairs.filter((pl.col("kind") != "current_sign") & (pl.col("action") == "converted")).select(
        "battery_id", "kind", started_on=pl.col("started_at").dt.date(), ended_on=pl.col("ended_at").dt.date()
    )
    millivolt = (
        batteries_daily.filter(pl.col("cell_voltage_in_millivolt") > 0)
        .group_by("battery_id")
        .agg(kind=pl.lit("cell_voltage_in_millivolt"), started_on=pl.col("date").min(), ended_on=pl.col("date").max())
    )
    cases = pl.concat([stretches.select(columns), millivolt.select(columns)]).sort(
        "ended_on", "battery_id", "kind", "started_on", descending=[True, False, False, False]
    )
    return _verdict(
        cases,
        f"repaired: {_spans(cases)}; if a source goes on like this, say its unit in the fleet file",
        "every value seems to have the unit that the fleet file says",
    )


def current_sign(repairs: pl.DataFrame) -> Verdict:
    """Whether currents had the wrong sign, or seem to have it throughout.

    Args:
        repairs: `Repair` rows of a fleet.
    """
    cases = (
        repairs.filter((pl.col("kind") == "current_sign") & pl.col("action").is_in(["converted", "suspected"]))
        .select(
            "battery_id", "action", started_on=pl.col("started_at").dt.date(), ended_on=pl.col("ended_at").dt.date()
        )
        .sort("action", "ended_on", "battery_id", "started_on", descending=[True, True, False, False])
    )
    suspects = cases.filter(action="suspected")["battery_id"].unique().sort()
    parts = []
    if len(suspects):
        named = ", ".join(suspects.head(_SHOWN))
        parts.append(
            f"the current of {named} seems to have the wrong sign throughout, and was left as it is:"
            " set `positive: discharge` for current_ampere in the fleet file"
        )
    turned = cases.filter(action="converted")
    if turned.height:
        parts.append(f"charge and discharge changed places: {_spans(turned)}")
    return _verdict(cases, "; ".join(parts), "every current seems to have the sign that the fleet file says")


def voltage_and_cells(batteries_daily: pl.DataFrame, *, today: date) -> Verdict:
    """Whether voltages are those of the cells in series on the newest days.

    Args:
        batteries_daily: `BatteryDataQualityDaily` rows of a fleet.
        today: The current UTC day.
    """
    cases = _disagreeing(batteries_daily, "cell_voltage_mismatch_fraction", today)
    return _verdict(
        cases,
        f"voltage and cells in series differ by more than 3 %: {_days_of(cases)}; either cells_in_series in the fleet"
        " file is wrong, or a sensor, or a cell has drifted far from the others",
        "voltages are those of the cells in series",
    )


def reported_charge(batteries_daily: pl.DataFrame, *, today: date) -> Verdict:
    """Whether the reported charge follows the counted charge on the newest days.

    Args:
        batteries_daily: `BatteryDataQualityDaily` rows of a fleet.
        today: The current UTC day.
    """
    cases = _disagreeing(batteries_daily, "soc_bms_mismatch_fraction", today)
    return _verdict(
        cases,
        f"the reported charge does not follow the current: {_days_of(cases)}; either rated_capacity_ah or the sign"
        " of the current in the fleet file is wrong, or the report is",
        "reported charge follows the counted",
    )


def _recent(days: pl.DataFrame, *, before: date) -> pl.DataFrame:
    """Rows of the newest days that are over."""
    over = days.filter(pl.col("date") < before)
    newest = over["date"].max()
    return over if newest is None else over.filter(pl.col("date") > pl.lit(newest) - timedelta(days=RECENT))


def _disagreeing(batteries_daily: pl.DataFrame, column: str, today: date) -> pl.DataFrame:
    recent = _recent(batteries_daily, before=today).filter(pl.col(column) > _MOSTLY)
    return (
        recent.group_by("battery_id")
        .agg(days=pl.len(), last_day=pl.col("date").max(), worst_fraction=pl.col(column).max())
        .sort("days", "battery_id", descending=[True, False])
    )


def _days_of(cases: pl.DataFrame) -> str:
    return ", ".join(
        f"{name} ({_counted(days, 'day')}, last {last})" for name, days, last, _ in cases.head(_SHOWN).iter_rows()
    )


def _spans(cases: pl.DataFrame) -> str:
    named = [
        f"{name} {kind}, {first} to {last}" if first != last else f"{name} {kind}, {first}"
        for name, kind, first, last in cases.head(_SHOWN).iter_rows()
    ]
    more = cases.height - len(named)
    return "; ".join(named) + (f"; and {more} more" if more > 0 else "")
