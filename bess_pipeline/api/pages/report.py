"""The report of a fleet and a month: one file to mail, with the charts of the pages in it."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import polars as pl

from bess_pipeline.api.pages.charts import Chart, axis, band, line
from bess_pipeline.api.pages.quality import COVERAGE, calendar
from bess_pipeline.api.pages.site import PLOTLY, STATIC, filled
from bess_pipeline.lake.reading import Publication

_DAYS = "SELECT * FROM fleet_daily WHERE fleet_id = $fleet AND date BETWEEN $first AND $last ORDER BY date"
#: Each battery at the end of the month, beside the month before.
_BATTERIES = """
    WITH used AS (
        SELECT battery_id, sum(equivalent_full_cycles) AS cycles, sum(discharging_energy_wh) / 1e6 AS discharged_mwh,
            max(temperature_max_celsius) AS warmest_celsius, avg(coverage_fraction) AS coverage_fraction
        FROM battery_daily WHERE fleet_id = $fleet AND date BETWEEN $first AND $last GROUP BY battery_id
    ),
    health AS (
        SELECT battery_id, max_by(soh_percent, date) AS soh_percent,
            max_by(soh_lower_percent, date) AS soh_lower_percent,
            max_by(soh_upper_percent, date) AS soh_upper_percent,
            max_by(soh_percent, date) - max_by(soh_percent, date) FILTER (date < $first) AS soh_change
        FROM state_of_health WHERE fleet_id = $fleet AND date BETWEEN $first - 31 AND $last GROUP BY battery_id
    ),
    raised AS (
        SELECT battery_id, count(*) FILTER (effective_severity <> 'info') AS events FROM event_verdicts
        WHERE fleet_id = $fleet AND detected_at >= $first AND detected_at < $last + 1 GROUP BY battery_id
    )
    SELECT * FROM batteries LEFT JOIN used USING (battery_id) LEFT JOIN health USING (battery_id)
    LEFT JOIN raised USING (battery_id) WHERE fleet_id = $fleet ORDER BY soh_percent NULLS LAST, battery_id
"""
_EVENTS = """
    SELECT * FROM event_verdicts WHERE fleet_id = $fleet AND detected_at >= $first AND detected_at < $last + 1
    ORDER BY detected_at, event_id
"""
_ROWS = """
    SELECT sum(rows_received)::DOUBLE AS received, sum(rows_accepted)::DOUBLE AS accepted,
        sum(rows_quarantined)::DOUBLE AS refused, sum(rows_duplicate)::DOUBLE AS duplicate,
        100 * sum(coverage_fraction) / $days AS seen_percent, max(date) FILTER (coverage_fraction > 0) AS last_seen
    FROM data_quality_daily WHERE fleet_id = $fleet AND date BETWEEN $first AND $last
"""
_EFFICIENCY = """
    SELECT date, median(round_trip_efficiency_30d_percent) AS middle,
        quantile_cont(round_trip_efficiency_30d_percent, 0.1) AS low,
        quantile_cont(round_trip_efficiency_30d_percent, 0.9) AS high
    FROM battery_daily WHERE fleet_id = $fleet AND date BETWEEN $first AND $last GROUP BY date ORDER BY date
"""


def month_of(text: str) -> tuple[date, date]:
    """First and last day of a month.

    Raises:
        ValueError: If the text names none.

    Examples:
        >>> month_of("2026-02")
        (datetime.date(2026, 2, 1), datetime.date(2026, 2, 28))
    """
    try:
        first = date.fromisoformat(f"{text}-01")
    except ValueError:
        raise ValueError(f"{text!r} is no month: write it as 2026-03") from None
    return first, (first + timedelta(days=31)).replace(day=1) - timedelta(days=1)


def report(publication: Publication, fleet_id: str, month: str, *, today: date) -> str:
    """The report of a fleet and a month as a page that holds all it needs.

    Args:
        publication: What is told of.
        fleet_id: The fleet.
        month: The month, as `2026-03`.
        today: The current UTC day: the days of a month that goes on are those up to now.

    Raises:
        LookupError: If nothing is known of that fleet in that month.
        ValueError: If the month is none.
    """
    first, last = month_of(month)
    which: dict[str, Any] = {"fleet": fleet_id, "first": first, "last": last}
    days = publication.ask(_DAYS, which)
    if days.is_empty():
        raise LookupError(f"nothing is known of fleet {fleet_id!r} in {month}")
    count = (min(last, max(today, first)) - first).days + 1
    batteries = publication.ask(_BATTERIES, which)
    return filled(
        "report",
        fleet=fleet_id,
        month=month,
        rows=publication.ask(_ROWS, which | {"days": count}).row(0, named=True),
        days_of_month=count,
        energy=days.select(pl.col("charging_energy_wh", "discharging_energy_wh").sum() / 1e6).row(0, named=True),
        batteries=batteries.to_dicts(),
        events=publication.ask(_EVENTS, which).to_dicts(),
        charts=[
            _energy(days),
            _efficiency(publication.ask(_EFFICIENCY, which)),
            _health(batteries),
            calendar(publication.ask(COVERAGE, which), fleet_id),
        ],
        style=(STATIC / "pages.css").read_text("utf-8"),
        scripts=[PLOTLY.read_text("utf-8"), (STATIC / "charts.js").read_text("utf-8")],
        publication=publication.tag,
    )


def _energy(days: pl.DataFrame) -> Chart:
    bars = [
        {
            "type": "bar",
            "x": days["date"].to_list(),
            "y": (days[column] / 1e6).round(4).to_list(),
            "name": name,
            "role": role,
        }
        for column, name, role in (
            ("charging_energy_wh", "charged", "own"),
            ("discharging_energy_wh", "discharged", "forecast"),
        )
    ]
    return Chart("Energy", "Energy of the fleet, day by day.", bars, {"yaxis": axis("MWh"), "barmode": "group"})


def _efficiency(days: pl.DataFrame) -> Chart:
    traces = [
        *band(days, "date", "low", "high", "8 in 10 batteries"),
        line(days, "date", "middle", "median of the batteries"),
    ]
    about = "Energy out over energy in of the 30 days up to each, corrected for the charge at both ends."
    return Chart("Round-trip efficiency", about, traces, {"yaxis": axis("%")})


def _health(batteries: pl.DataFrame) -> Chart:
    known = batteries.drop_nulls("soh_percent")
    soh, names = known["soh_percent"].round(3), known["battery_id"].to_list()
    errors = {
        "type": "data", "symmetric": False, "array": (known["soh_upper_percent"] - soh).round(3).to_list(),
        "arrayminus": (soh - known["soh_lower_percent"]).round(3).to_list(),
    }  # fmt: skip
    points = {"type": "scatter", "mode": "markers", "x": names, "y": soh.to_list(), "error_y": errors, "role": "own"}
    about = "At the end of the month, with its 90 % interval; the worst first."
    layout = {"yaxis": axis("%"), "xaxis": axis("", type="category"), "showlegend": False}
    return Chart("State of health", about, [points | {"name": "state of health"}], layout)
