"""A fleet's warranty and wear: how each battery stands, what was not kept, what use costs."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import polars as pl
from fastapi import APIRouter, Request, Response

from bess_pipeline.api.deps import one
from bess_pipeline.api.pages.charts import Chart, Trace, axis, level, line
from bess_pipeline.api.pages.site import PLOTLY, STATIC, Viewed, filled, page
from bess_pipeline.lake.reading import Publication, Seen

router = APIRouter(include_in_schema=False)

#: So many lines are told apart in a chart; the worst are drawn.
_LINES, _LONGEST_LIST = 6, 200
_ROLES = ("bad", "limit", "forecast", "own", "good", "other")

#: Each battery on its last day under warranty, the smallest margin first.
_STANDS = """
    WITH last AS (
        SELECT * FROM warranty_daily WHERE fleet_id = $fleet
        QUALIFY row_number() OVER (PARTITION BY battery_id ORDER BY date DESC) = 1
    ),
    ahead AS (
        SELECT battery_id, breach_probability, breach_date_p10, breach_date_p50, breach_date_p90, warranty_ends_on
        FROM warranty_forecast WHERE fleet_id = $fleet
        QUALIFY row_number() OVER (PARTITION BY battery_id ORDER BY as_of DESC) = 1
    ),
    kept AS (
        SELECT battery_id, count(*) FILTER (party = 'operator') AS by_operator,
            count(*) FILTER (party = 'supplier') AS by_supplier
        FROM warranty_events WHERE fleet_id = $fleet GROUP BY battery_id
    ),
    worn AS (
        SELECT battery_id, sum(calendar_loss_percent) AS calendar_loss, sum(cycle_loss_percent) AS cycle_loss,
            sum(calendar_cost) + sum(cycle_cost) AS cost,
            sum(cycle_cost) / nullif(sum(discharging_energy_wh) / 1e6, 0) AS cost_per_mwh
        FROM wear_daily WHERE fleet_id = $fleet
            AND date > (SELECT max(date) FROM wear_daily WHERE fleet_id = $fleet) - 30 GROUP BY battery_id
    )
    SELECT b.fleet_id, b.battery_id, last.* EXCLUDE (fleet_id, battery_id), ahead.* EXCLUDE (battery_id),
        coalesce(by_operator, 0) AS by_operator, coalesce(by_supplier, 0) AS by_supplier,
        worn.* EXCLUDE (battery_id)
    FROM batteries b LEFT JOIN last USING (battery_id) LEFT JOIN ahead USING (battery_id)
    LEFT JOIN kept USING (battery_id) LEFT JOIN worn USING (battery_id)
    WHERE b.fleet_id = $fleet ORDER BY margin_percent NULLS LAST, b.battery_id
"""
_BROKEN = f"""
    SELECT * FROM warranty_events WHERE fleet_id = $fleet ORDER BY started_at DESC, battery_id, term
    LIMIT {_LONGEST_LIST}
"""
_SUMS = """
    SELECT term, party, count(*) AS events, count(DISTINCT battery_id) AS batteries, sum(duration_hours) AS hours,
        max(ended_at) AS last_at
    FROM warranty_events WHERE fleet_id = $fleet GROUP BY term, party ORDER BY party, hours DESC, term
"""
#: Each battery's choices at the median, the best first, with the worse and the better future beside.
_CHOICES = """
    SELECT battery_id, option, any_value(place) FILTER (percentile = 'p50') AS place,
        any_value(net_present_value) FILTER (percentile = 'p10') AS low,
        any_value(net_present_value) FILTER (percentile = 'p50') AS middle,
        any_value(net_present_value) FILTER (percentile = 'p90') AS high,
        any_value(life_years) FILTER (percentile = 'p50') AS life,
        any_value(payback_years) FILTER (percentile = 'p50') AS payback,
        any_value(levelized_cost_per_mwh) FILTER (percentile = 'p50') AS levelized
    FROM decisions WHERE fleet_id = $fleet GROUP BY battery_id, option
    ORDER BY battery_id, place NULLS LAST, option
"""
_CHANGES = """
    SELECT battery_id, string_agg(DISTINCT varied, ', ' ORDER BY varied) AS by_what FROM decision_sensitivities
    WHERE fleet_id = $fleet AND is_another GROUP BY battery_id
"""
#: What each schedule brought in the last year of prices, battery by battery, and month by month.
_EARNED = """
    SELECT battery_id, schedule, sum(revenue) AS revenue, sum(wear_cost) AS wear, sum(profit) AS profit,
        sum(equivalent_full_cycles) / count(DISTINCT date) AS cycles, avg(seen_fraction) AS seen,
        sum(revenue) FILTER (spread_revenue IS NOT NULL) / nullif(sum(spread_revenue), 0) AS capture
    FROM dispatch_daily WHERE fleet_id = $fleet
        AND date > (SELECT max(date) FROM dispatch_daily WHERE fleet_id = $fleet) - 365
    GROUP BY battery_id, schedule ORDER BY battery_id, list_position(['done', 'revenue', 'wear'], schedule)
"""
_MONTHS = """
    SELECT date_trunc('month', date)::DATE AS month, schedule, sum(profit) AS profit
    FROM dispatch_daily WHERE fleet_id = $fleet GROUP BY month, schedule ORDER BY month, schedule
"""
_LIMITS = """
    SELECT battery_id, limited, lower, upper, any_value(usual_lower) AS usual_lower,
        any_value(usual_upper) AS usual_upper, any_value(energy_fraction) AS energy,
        any_value(life_gained_years) FILTER (percentile = 'p10') AS life_low,
        any_value(life_gained_years) FILTER (percentile = 'p50') AS life,
        any_value(life_gained_years) FILTER (percentile = 'p90') AS life_high,
        any_value(net_present_value_gain) FILTER (percentile = 'p10') AS low,
        any_value(net_present_value_gain) FILTER (percentile = 'p50') AS middle,
        any_value(net_present_value_gain) FILTER (percentile = 'p90') AS high
    FROM operating_limits WHERE fleet_id = $fleet AND is_recommended
    GROUP BY battery_id, limited, lower, upper ORDER BY battery_id, middle DESC
"""
_MODULES = "SELECT * FROM augmentation_plan WHERE fleet_id = $fleet ORDER BY percentile, year"
_ASSUMED = "SELECT * FROM assumptions WHERE fleet_id = $fleet ORDER BY name, position"
_YEARS = "SELECT * FROM warranty_years WHERE fleet_id = $fleet ORDER BY battery_id, year"
_MARGINS = "SELECT battery_id, date, margin_percent FROM warranty_daily WHERE fleet_id = $fleet ORDER BY date"
_CURVES = """
    SELECT factor, level, median(cycle_cost_per_mwh) AS cost, median(cycle_loss_percent_per_year) AS cycle,
        median(calendar_loss_percent_per_year) AS calendar, median(usual) AS usual
    FROM wear_curves WHERE fleet_id = $fleet GROUP BY factor, level ORDER BY factor, level
"""


def _content(seen: Seen, fleet_id: str) -> dict[str, Any]:
    """What the page and the report show."""
    which: dict[str, Any] = {"fleet": fleet_id}
    stands, assumed = seen.ask(_STANDS, which), seen.ask(_ASSUMED, which)
    broken = seen.ask(_BROKEN, which)
    sums = seen.ask(_SUMS, which)
    priced = assumed.filter(name="replacement_cost_per_kwh")["unit"].str.split("/").list.first()
    currency = priced[0] if priced.len() else "money"
    return {
        "fleet": fleet_id,
        "batteries": stands.to_dicts(),
        "sums": sums.to_dicts(),
        "broken": broken.to_dicts(),
        "more": max(int(sums["events"].sum()) - broken.height, 0),
        "years": seen.ask(_YEARS, which).to_dicts(),
        "choices": seen.ask(_CHOICES, which).to_dicts(),
        "changes": dict(seen.ask(_CHANGES, which).iter_rows()),
        "earned": seen.ask(_EARNED, which).to_dicts(),
        "months": _months(seen.ask(_MONTHS, which), currency),
        "limits": seen.ask(_LIMITS, which).to_dicts(),
        "modules": _modules(seen.ask(_MODULES, which)),
        "assumed": assumed.to_dicts(),
        "currency": currency,
        "charts": [_margins(seen.ask(_MARGINS, which), stands), *_wear(seen.ask(_CURVES, which), fleet_id, currency)],
    }


@router.get("/fleets/{fleet_id}/lifecycle")
def lifecycle(asked: Viewed, request: Request, fleet_id: str) -> Response:
    """How a fleet stands against its warranty, and what its use costs."""
    known = "SELECT 1 FROM batteries WHERE fleet_id = $fleet LIMIT 1"
    one(asked.publication.ask(known, {"fleet": fleet_id}), f"there is no fleet {fleet_id!r}")
    return page(request, "lifecycle", **_content(asked.publication, fleet_id))


def warranty_report(publication: Publication, fleet_id: str) -> str:
    """A fleet's warranty as one page that holds all it needs.

    Raises:
        LookupError: If the fleet is not known, or has no warranty.
    """
    content = _content(publication.for_fleets(None), fleet_id)
    if not content["batteries"]:
        raise LookupError(f"there is no fleet {fleet_id!r}")
    if not any(row["name"] == "starts_on" for row in content["assumed"]):
        raise LookupError(f"the file of fleet {fleet_id!r} says nothing of a warranty: see docs/warranty.md")
    return filled(
        "warranty_report",
        **content,
        style=(STATIC / "pages.css").read_text("utf-8"),
        scripts=[PLOTLY.read_text("utf-8"), (STATIC / "charts.js").read_text("utf-8")],
        publication=publication.tag,
    )


def _modules(rows: pl.DataFrame) -> list[Chart]:
    """Energy of the fleet year by year, with what has to be added."""
    if rows.is_empty():
        return []
    roles = (("p10", "bad"), ("p50", "own"), ("p90", "good"))
    traces = [line(rows.filter(percentile=of), "year", "energy_before_mwh", of, role) for of, role in roles]
    added = rows.filter(percentile="p50")
    bars: Trace = {"type": "bar", "name": "added at p50", "role": "forecast", "x": added["year"].to_list()}
    bars["y"] = added["added_mwh"].round(4).to_list()
    about = "Before anything is added in that year; p10 is the worse future. The table augmentation_plan has the costs."
    layout = {"yaxis": axis("MWh"), "xaxis": axis("years from now")}
    return [Chart("Energy of the fleet, and new modules", about, [*traces, bars], layout)]


def _months(rows: pl.DataFrame, currency: str) -> list[Chart]:
    """What was left after wear, month by month, of each schedule."""
    if rows.is_empty():
        return []
    roles = (("done", "own"), ("revenue", "bad"), ("wear", "good"))
    traces: list[Trace] = [
        {
            "type": "bar",
            "name": name,
            "role": role,
            "x": part["month"].to_list(),
            "y": part["profit"].round(2).to_list(),
        }
        for name, role in roles
        for part in [rows.filter(schedule=name)]
    ]
    about = "All batteries together. Nobody knows prices beforehand: the best of each week is a bound."
    return [Chart("Left after wear, by month", about, traces, {"yaxis": axis(currency)})]


def _margins(rows: pl.DataFrame, stands: pl.DataFrame) -> Chart:
    worst = stands.drop_nulls("margin_percent")["battery_id"].head(_LINES).to_list()
    traces: list[Trace] = [
        line(rows.filter(battery_id=name), "date", "margin_percent", name, role)
        for name, role in zip(worst, _ROLES, strict=False)
    ]
    about = f"State of health above the guaranteed one; the {len(worst)} batteries with the least of it."
    return Chart("Margin to the guarantee", about, traces, {"yaxis": axis("points"), **level(0.0, "guaranteed")})


def _wear(rows: pl.DataFrame, fleet_id: str, currency: str) -> list[Chart]:
    source = f"/api/v1/fleets/{quote(fleet_id, safe='')}/wear-curves"
    told = (
        ("Cost of a discharged MWh by depth", "depth", "cost", "%", f"{currency}/MWh"),
        ("Capacity that cycling costs, by C-rate", "c_rate", "cycle", "C", "% a year"),
        ("Capacity that resting costs, by charge", "state of charge", "calendar", "%", "% a year"),
        ("Capacity that resting costs, by temperature", "temperature", "calendar", "°C", "% a year"),
    )
    charts = []
    for name, factor, column, across, unit in told:
        points = rows.filter(factor=factor)
        usual = points["usual"].median()
        about = "Median battery, everything else as in the last 90 days"
        about += f"; usual is {usual:.3g} {across}." if isinstance(usual, float) else "."
        layout = {"yaxis": axis(unit), "xaxis": axis(across), "showlegend": False}
        charts.append(Chart(name, about, [line(points, "level", column, name)], layout, source, 240))
    return charts
