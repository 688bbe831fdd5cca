"""How much was seen of whom on which day."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Annotated, Any

import polars as pl
from fastapi import APIRouter, HTTPException, Query, Request, Response

from bess_pipeline.api.pages.charts import Chart, axis
from bess_pipeline.api.pages.site import FIRST_DAY, LAST_DAY, Viewed, page

router = APIRouter(include_in_schema=False)

_DAYS = 90

#: How much was seen of each day, by battery; of 200 at most.
COVERAGE = """
    SELECT battery_id, date, coverage_fraction FROM battery_data_quality_daily
    WHERE fleet_id = $fleet AND date BETWEEN $first AND $last AND battery_id IN (
        SELECT DISTINCT battery_id FROM battery_data_quality_daily
        WHERE fleet_id = $fleet AND date BETWEEN $first AND $last ORDER BY battery_id LIMIT 200)
    ORDER BY battery_id, date
"""
_ROWS = """
    SELECT * FROM data_quality_daily WHERE fleet_id = $fleet AND (date BETWEEN $first AND $last OR date IS NULL)
    ORDER BY date DESC NULLS FIRST
"""
_REASONS = """
    SELECT reason, path, count(*) AS rows, min(detail) AS example FROM quarantine WHERE fleet_id = $fleet
    GROUP BY ALL ORDER BY rows DESC, path, reason LIMIT 50
"""
_FILES = """
    SELECT path, error FROM landing_files WHERE fleet_id = $fleet AND status = 'unreadable' ORDER BY path LIMIT 50
"""


@router.get("/quality")
def quality(
    asked: Viewed,
    request: Request,
    fleet: Annotated[str | None, Query(max_length=200)] = None,
    until: Annotated[date | None, Query(ge=FIRST_DAY, le=LAST_DAY)] = None,
) -> Response:
    """How much of each day was seen of whom, and what became of every row."""
    seen = asked.publication
    known = seen.ask("SELECT fleet_id, max(date) AS last FROM data_quality_daily GROUP BY ALL ORDER BY ALL").rows()
    fleets = dict(known)
    if fleet and fleet not in fleets:
        raise HTTPException(404, f"there is no fleet {fleet!r}")
    chosen = fleet or next(iter(fleets), None)
    content: dict[str, Any] = {
        "fleets": list(fleets),
        "fleet": chosen,
        "charts": [],
        "days": [],
        "reasons": [],
        "files": [],
    }
    if chosen is None:
        return page(request, "quality", **content, last=None, before=None, after=None)
    newest = fleets[chosen]
    last = until or newest
    # Rows without a usable time have no day: they are told in any case.
    first = None if last is None else last - timedelta(days=_DAYS - 1)
    which = {"fleet": chosen, "first": first, "last": last}
    content |= {
        "charts": [] if last is None else [calendar(seen.ask(COVERAGE, which), chosen)],
        "days": seen.ask(_ROWS, which).to_dicts(),
        "reasons": seen.ask(_REASONS, {"fleet": chosen}).to_dicts(),
        "files": seen.ask(_FILES, {"fleet": chosen}).to_dicts(),
    }
    before = None if last is None else last - timedelta(days=_DAYS)
    after = None if last is None or newest is None or last >= newest else last + timedelta(days=_DAYS)
    return page(request, "quality", **content, last=last, before=before, after=after)


def calendar(rows: pl.DataFrame, fleet: str) -> Chart:
    """Day × battery: how much of each day was seen.

    Args:
        rows: ``battery_id``, ``date``, ``coverage_fraction``, in that order.
        fleet: The fleet that they are of.
    """
    wide = rows.pivot("date", index="battery_id", values="coverage_fraction", sort_columns=True)
    days = [name for name in wide.columns if name != "battery_id"]
    shares = [[None if share is None else round(100 * share, 1) for share in row] for row in wide.select(days).rows()]
    heat = {
        "type": "heatmap", "x": days, "y": wide["battery_id"].to_list(), "z": shares, "zmin": 0, "zmax": 100,
        "role": "own", "hovertemplate": "%{y}, %{x}: %{z} % seen<extra></extra>", "xgap": 1, "ygap": 1,
        "colorbar": {"title": {"text": "%"}},
    }  # fmt: skip
    layout = {"yaxis": axis("", type="category", autorange="reversed"), "xaxis": axis("", type="category", nticks=12)}
    about = "Share of each day of which samples tell, of 200 batteries at most; a day of which nothing came is empty."
    height = min(max(160 + 18 * wide.height, 220), 1200)
    return Chart(f"Coverage of {fleet}", about, [heat], layout, height=height)
