"""The table of accuracy: each row a figure, how many it rests on, and what an estimator without any effort reaches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import polars as pl

from bess_pipeline.analytics.accuracy import BMS, CHECK_DAYS, LINE, NEW, OURS, PLAIN, RATED, TODAY
from bess_pipeline.analytics.alarm_accuracy import PRECURSOR
from bess_pipeline.tables.keys import BATTERY

#: Columns of the table of accuracy.
FIGURES = {
    "section": pl.String,
    "name": pl.String,
    "unit": pl.String,
    "n": pl.Int64,
    "batteries": pl.Int64,
    "value": pl.Float64,
    "baseline": pl.String,
    "baseline_n": pl.Int64,
    "baseline_value": pl.Float64,
    "second_baseline": pl.String,
    "second_baseline_n": pl.Int64,
    "second_baseline_value": pl.Float64,
    "missing": pl.String,
}

_SIZE = pl.col("value").abs()
#: What is made of the errors of a row.
_STATISTICS = {
    "median": pl.col("value").median(),
    "mean": pl.col("value").mean(),
    "mean |error|": _SIZE.mean(),
    "median |error|": _SIZE.median(),
    "p95 |error|": _SIZE.quantile(0.95, interpolation="linear"),
    "rate": pl.col("value").sum() / pl.col("weight").sum(),
}


@dataclass(frozen=True)
class Row:
    """One row of the table.

    Attributes:
        section: Heading that it stands under.
        name: What it says.
        unit: Of the figure.
        metric: Errors that it is made of.
        statistic: One of mean, median, mean |error|, median |error|, p95 |error|, rate (sum over sum of weights), or
            ratio (median |error| over that of the baseline).
        where: Columns of the errors and the value they must have.
        least_day: Errors of earlier days do not count [days].
        baselines: Estimators without effort, two at the most.
        needs: Table and column that the estimate is in.
    """

    section: str
    name: str
    unit: str
    metric: str
    statistic: str
    needs: tuple[str, str]
    where: Mapping[str, str | int] = field(default_factory=dict)
    least_day: int = 0
    baselines: tuple[str, ...] = ()


_CLASSES = ("full", "wide", "narrow")
_SOC, _SOH = ("telemetry_5min", "soc_percent"), ("state_of_health", "soh_percent")


def _charge() -> list[Row]:
    interval = ("telemetry_5min", "soc_lower_percent")
    section = "State of charge, after 30 days"
    of: dict[str, dict[str, str | int]] = {"all": {}, **{name: {"anchor": name} for name in _CLASSES}}
    return [
        *(
            Row(section, f"RMSE of the median battery, {name}", "points", "soc_rmse", "median", _SOC, where, 0, (BMS,))
            for name, where in of.items()
        ),
        Row(section, "share of the time known", "1", "soc_availability", "mean", _SOC),
        *(
            Row(section, f"90 % coverage, {name}", "1", "soc_coverage", "mean", interval, where)
            for name, where in of.items()
        ),
        Row(section, "90 % interval, median width", "points", "soc_width", "median", interval),
    ]


def _health(day: int) -> list[Row]:
    section = f"Capacity on day {day}"
    rows = []
    for name in ("all", *_CLASSES):
        where: dict[str, str | int] = {"day": day} | ({} if name == "all" else {"anchor": name})
        for title, statistic in (("MAE", "mean |error|"), ("p95", "p95 |error|")):
            rows.append(
                Row(section, f"{title}, {name}", "points", "soh_error", statistic, _SOH, where, 0, (RATED, BMS))
            )
    interval, usable = ("state_of_health", "soh_lower_percent"), ("state_of_health", "soh_usable_percent")
    at: Mapping[str, str | int] = {"day": day}
    return [
        *rows,
        Row(section, "90 % coverage", "1", "soh_coverage", "mean", interval, at),
        Row(section, "90 % interval, median width", "points", "soh_width", "median", interval, at),
        Row(section, "usable capacity: MAE", "points", "soh_usable_error", "mean |error|", usable, at, 0, (RATED,)),
    ]


def _use(day: int) -> list[Row]:
    section, at = f"Resistance and throughput on day {day}", {"day": day}
    grown = ("state_of_health", "resistance_increase_percent")
    counted = ("battery_daily", "charging_capacity_ah")
    names = (("p50", "median |error|"), ("p95", "p95 |error|"))
    return [
        *(
            Row(section, f"resistance growth, {name}", "%", "resistance_error", statistic, grown, at, 0, (NEW,))
            for name, statistic in names
        ),
        *(
            Row(section, f"equivalent full cycles, {name}", "%", "efc_error", statistic, counted, at, 0, (PLAIN,))
            for name, statistic in names
        ),
    ]


def _cycling() -> list[Row]:
    section = "Cycles and efficiency"
    efficiency, deep = ("battery_daily", "round_trip_efficiency_30d_percent"), ("cycles", "depth_percent")
    names = (("p50", "median |error|"), ("p95", "p95 |error|"))
    rows = [
        Row(section, f"cycles deeper than 5 %, {name}", "%", "cycles_error", statistic, deep, {}, 0, (BMS,))
        for name, statistic in (("mean", "mean |error|"), *names)
    ]
    return rows + [
        Row(section, f"30-day efficiency, {name}", "points", "efficiency_error", statistic, efficiency, {}, 0, (PLAIN,))
        for name, statistic in names
    ]


def _future() -> list[Row]:
    section = "The future, said after a year of data or more"
    fade = ("degradation", "degradation_percent_per_year")
    life, p90 = ("degradation", "remaining_life_days_p50"), ("degradation", "remaining_life_days_p90")
    p95, ahead = ("degradation", "remaining_life_days_p95"), ("capacity_forecast", "soh_p50_percent")
    rows = [
        Row(section, "rate of fade: median error", "points/year", "fade_error", "median |error|", fade, {}, 0, (LINE,))
    ]
    for name, where in {"all": {}, "LFP": {"chemistry": "LFP"}, "NMC": {"chemistry": "NMC"}}.items():
        median, ratio = f"remaining life, {name}: median error", f"remaining life, {name}: over a straight line"
        rows += [
            Row(section, median, "%", "life_error", "median |error|", life, where, 0, (LINE,)),
            Row(section, ratio, "1", "life_error", "ratio", life, where, 0, (LINE,)),
        ]
    for least, name in ((0, "1 year"), (4 * 365, "4 years")):
        low, high = (f"remaining life: {part} % coverage after {name}" for part in (80, 90))
        rows += [
            Row(section, low, "1", "life_coverage_80", "mean", p90, {}, least),
            Row(section, high, "1", "life_coverage_90", "mean", p95, {}, least),
        ]
    return [
        *rows,
        Row(section, "capacity a year ahead: MAE", "points", "forecast_error", "mean |error|", ahead, {}, 0, (TODAY,)),
        Row(section, "capacity a year ahead: 80 % coverage", "1", "forecast_coverage_80", "mean", ahead),
    ]


def _events(kinds: list[str]) -> list[Row]:
    knee, event = ("degradation", "knee_detected_on"), ("anomaly_events", "detected_at")
    knees, alarms, cycled = "Knees", "Alarms of battery faults, after 30 days", {"kind": "cycled"}
    rows = [
        Row(knees, "found, cycled batteries", "1", "knee_found", "mean", knee, cycled),
        Row(knees, "delay, median, cycled batteries", "days", "knee_delay", "median", knee, cycled),
        Row(knees, "found, all", "1", "knee_found", "mean", knee),
        Row(knees, "delay, median, all", "days", "knee_delay", "median", knee),
        Row(knees, "false per healthy battery-year", "1", "knee_false", "rate", knee),
        Row(alarms, "recall", "1", "alarm_found", "mean", event),
        Row(alarms, "delay, median", "days", "alarm_delay", "median", event),
        Row(alarms, "false per healthy battery-year", "1", "alarm_false", "rate", event),
    ]
    if PRECURSOR in kinds:
        of = "precursors of a thermal runaway, by the safety lane"
        rows += [
            Row(alarms, f"{of}: seen 72 h before the trip", "1", "precursor_found", "mean", event),
            Row(alarms, f"{of}: delay, median", "hours", "precursor_delay", "median", event),
            Row(alarms, f"{of}: lead, median", "hours", "precursor_lead", "median", event),
        ]
    for kind in kinds:
        rows += [
            Row(alarms, f"{kind}: recall", "1", "alarm_found", "mean", event, {"kind": kind}),
            Row(alarms, f"{kind}: delay, median", "days", "alarm_delay", "median", event, {"kind": kind}),
        ]
    return rows


def table_rows(errors: pl.DataFrame) -> list[Row]:
    """The rows of the table: all of them, whatever there is to fill them with.

    Days beyond the usual ones, and kinds of faults, are those that the errors tell of.
    """
    days = sorted({*CHECK_DAYS, *errors.filter(pl.col("metric") == "efc_error")["day"].unique()})
    last = _last_day(errors)
    shown = [day for day in days if day <= max(last, 730)]
    kinds = errors.filter(pl.col("metric") == "alarm_found")["kind"].unique().drop_nulls().sort().to_list()
    rows = _charge()
    for part in (_health, _use):
        rows += [row for day in shown for row in part(day)]
    return [*rows, *_cycling(), *_future(), *_events(kinds)]


def figures(errors: pl.DataFrame, missing: frozenset[tuple[str, str]] = frozenset()) -> pl.DataFrame:
    """The table of accuracy over all the fleets that the errors are of.

    Args:
        errors: Rows in the form of `bess_pipeline.analytics.accuracy.ERRORS`.
        missing: Tables, each with a column, that are not there.

    Returns:
        `FIGURES`, one per row of `table_rows`: the figure with its `n` (what it rests on: batteries, or estimates of
        batteries on many days) and number of `batteries`; null with the reason in `missing` where there is none.
    """
    found = []
    for row in table_rows(errors):
        of = errors.filter(
            pl.col("metric") == row.metric,
            pl.col("day").is_null() | (pl.col("day") >= row.least_day),
            *(pl.col(name) == value for name, value in row.where.items()),
        )
        ours = of.filter(pl.col("estimator") == OURS)
        entry: dict[str, object] = {
            "section": row.section,
            "name": row.name,
            "unit": row.unit,
            "n": ours.height,
            "batteries": ours.select(BATTERY).n_unique() if ours.height else 0,
            "value": _figure(ours, row, of),
            "missing": _why(row, missing, errors) if ours.is_empty() else None,
        }
        for place, estimator in zip(("baseline", "second_baseline"), row.baselines, strict=False):
            theirs = of.filter(pl.col("estimator") == estimator)
            entry |= {place: estimator, f"{place}_n": theirs.height, f"{place}_value": _baseline(theirs, row)}
        found.append(entry)
    return pl.DataFrame(found, schema=FIGURES)


def _figure(ours: pl.DataFrame, row: Row, of: pl.DataFrame) -> float | None:
    if row.statistic != "ratio":
        return _statistic(ours, row.statistic)
    own = _statistic(ours, "median |error|")
    other = _statistic(of.filter(pl.col("estimator") == row.baselines[0]), "median |error|")
    return None if own is None or not other else own / other


def _baseline(theirs: pl.DataFrame, row: Row) -> float | None:
    return _statistic(theirs, "median |error|" if row.statistic == "ratio" else row.statistic)


def _statistic(errors: pl.DataFrame, name: str) -> float | None:
    if errors.is_empty() or (name == "rate" and not errors["weight"].sum()):
        return None
    return float(errors.select(_STATISTICS[name]).item())


def _why(row: Row, missing: frozenset[tuple[str, str]], errors: pl.DataFrame) -> str:
    """The reason that there is no figure."""
    table, column = row.needs
    if (table, "") in missing:
        return f"no table {table} yet"
    if row.needs in missing:
        return f"no column {table}.{column} yet"
    for name in ("anchor", "chemistry"):
        if name in row.where and row.where[name] not in errors[name]:
            return "no such battery"
    if int(row.where.get("day", row.least_day)) > _last_day(errors):
        return "the data end before"
    return "nothing to judge"


def _last_day(errors: pl.DataFrame) -> int:
    """The last day that anything was judged on; 0 where there is none."""
    last: int = errors.select(pl.col("day").max().fill_null(0)).item()
    return last
