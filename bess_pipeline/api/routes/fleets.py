"""Fleets: which there are, and their tables."""

from __future__ import annotations

from datetime import datetime

from fastapi import APIRouter, HTTPException, Response
from pydantic import BaseModel, Field

from bess_pipeline.api.deps import Asking
from bess_pipeline.api.listing import Days, Listing
from bess_pipeline.api.models import page_of_table
from bess_pipeline.api.openapi import forms, refusals
from bess_pipeline.lake.reading import Seen
from bess_pipeline.tables import catalog

router = APIRouter(tags=["fleets"])

_FLEETS = """
    SELECT b.fleet_id, count(*) AS batteries, sum(b.rated_energy_wh) AS rated_energy_wh,
        max(l.timestamp) AS last_sample_at, median(l.soh_percent) AS soh_median_percent, min(l.soh_percent) AS
        soh_min_percent, count(*) FILTER (l.health_status = 'critical') AS critical,
        count(*) FILTER (l.health_status = 'warning') AS warning, count(*) FILTER (l.health_status = 'watch') AS watch,
        count(*) FILTER (l.health_status = 'good') AS good,
        count(*) FILTER (coalesce(l.health_status, 'unknown') = 'unknown') AS unknown,
        coalesce(sum(l.open_events), 0)::BIGINT AS open_events
    FROM batteries b LEFT JOIN battery_latest l USING (fleet_id, battery_id) GROUP BY ALL ORDER BY ALL
"""
#: Last part of the address → table, and its column that days bound.
_TABLES: dict[str, tuple[catalog.Table, str]] = {
    "daily": (catalog.FLEET_DAILY, "date"),
    "data-quality": (catalog.DATA_QUALITY_DAILY, "date"),
    "arrivals": (catalog.ARRIVALS_DAILY, "date"),
    "assumptions": (catalog.ASSUMPTIONS, "stated_on"),
    "warranty-events": (catalog.WARRANTY_EVENTS, "started_at"),
    "warranty-years": (catalog.WARRANTY_YEARS, "first_day"),
    "wear-curves": (catalog.WEAR_CURVES, "as_of"),
    "decisions": (catalog.DECISIONS, "as_of"),
    "operating-limits": (catalog.OPERATING_LIMITS, "as_of"),
    "prices": (catalog.MARKET_PRICES, "timestamp"),
    "dispatch": (catalog.DISPATCH_DAILY, "date"),
    "augmentation-plan": (catalog.AUGMENTATION_PLAN, "as_of"),
}


class FleetNow(BaseModel):
    """How a fleet stands."""

    fleet_id: str
    batteries: int = Field(description="Batteries that its files ever named")
    rated_energy_wh: float = Field(description="Rated energy of all of them [Wh]")
    last_sample_at: datetime | None = Field(description="Instant of its last sample")
    soh_median_percent: float | None = Field(description="State of health, median over its batteries [%]")
    soh_min_percent: float | None = Field(description="State of health of the worst battery [%]")
    critical: int = Field(description="Batteries that are critical")
    warning: int = Field(description="Batteries with a warning")
    watch: int = Field(description="Batteries to be watched")
    good: int = Field(description="Batteries that are well")
    unknown: int = Field(description="Batteries of which it is not known")
    open_events: int = Field(description="Events that are open")


class Fleets(BaseModel):
    """All fleets."""

    items: list[FleetNow]


@router.get("/fleets", summary="Fleets, and how each stands", operation_id="fleets", responses=refusals(503))
def fleets(asked: Asking) -> Fleets:
    return Fleets(items=fleets_now(asked.publication))


def fleets_now(publication: Seen) -> list[FleetNow]:
    """Every fleet, and how it stands."""
    return [FleetNow.model_validate(row) for row in publication.ask(_FLEETS).to_dicts()]


def _require(publication: Seen, fleet_id: str) -> None:
    sql = "SELECT 1 FROM data_quality_daily WHERE fleet_id = $fleet_id LIMIT 1"
    known = publication.ask(sql, {"fleet_id": fleet_id})
    if known.is_empty():
        raise HTTPException(404, f"there is no fleet {fleet_id!r}")


def _add(path: str, table: catalog.Table, time: str) -> None:
    listing = Listing.of(table, time)

    @router.get(
        f"/fleets/{{fleet_id}}/{path}",
        summary=table.grain,
        operation_id=f"fleet_{path.replace('-', '_')}",
        responses=forms(page_of_table(table)),
    )
    def rows(asked: Asking, fleet_id: str, days: Days) -> Response:
        _require(asked.publication, fleet_id)
        return asked.page(listing, days, {"fleet_id": fleet_id})


for name, (of, bounded_by) in _TABLES.items():
    _add(name, of, bounded_by)
