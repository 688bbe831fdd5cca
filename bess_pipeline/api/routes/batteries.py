"""Batteries: how each stands, and its tables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Query, Response

from bess_pipeline.api.deps import Asking, FleetChoice, fleet_of
from bess_pipeline.api.listing import Days, Listing, Page, one_of
from bess_pipeline.api.models import page_of_table
from bess_pipeline.api.openapi import forms
from bess_pipeline.tables import catalog
from bess_pipeline.tables.catalog import Table
from bess_pipeline.tables.fleet import HEALTH_STATUSES

router = APIRouter(tags=["batteries"])


@dataclass(frozen=True)
class Noun:
    """A table of batteries as a resource.

    Attributes:
        path: Last part of its address.
        table: The table.
        time: Column that days bound.
    """

    path: str
    table: Table
    time: str


NOUNS = (
    Noun("telemetry", catalog.TELEMETRY_5MIN, "timestamp"),
    Noun("daily", catalog.BATTERY_DAILY, "date"),
    Noun("health", catalog.STATE_OF_HEALTH, "date"),
    Noun("degradation", catalog.DEGRADATION, "as_of"),
    Noun("forecast", catalog.CAPACITY_FORECAST, "as_of"),
    Noun("cycles", catalog.CYCLES, "started_at"),
    Noun("resistance", catalog.RESISTANCE_DAILY, "date"),
    Noun("balance", catalog.CELL_BALANCE, "date"),
    Noun("availability", catalog.AVAILABILITY, "date"),
    Noun("interruptions", catalog.INTERRUPTIONS, "started_at"),
    Noun("scores", catalog.ANOMALY_SCORES, "date"),
    Noun("warranty", catalog.WARRANTY_DAILY, "date"),
    Noun("warranty-events", catalog.WARRANTY_EVENTS, "started_at"),
    Noun("warranty-forecast", catalog.WARRANTY_FORECAST, "as_of"),
    Noun("wear", catalog.WEAR_DAILY, "date"),
    Noun("wear-curves", catalog.WEAR_CURVES, "as_of"),
    Noun("decisions", catalog.DECISIONS, "as_of"),
    Noun("data-quality", catalog.BATTERY_DATA_QUALITY_DAILY, "date"),
)

_LATEST = Listing.of(catalog.BATTERY_LATEST)


def _add(noun: Noun) -> None:
    listing = Listing.of(noun.table, noun.time)

    @router.get(
        f"/batteries/{{battery_id:path}}/{noun.path}",
        summary=noun.table.grain,
        operation_id=f"battery_{noun.path.replace('-', '_')}",
        responses=forms(page_of_table(noun.table)),
    )
    def rows(
        asked: Asking,
        battery_id: str,
        days: Days,
        fleet_id: FleetChoice = None,
    ) -> Response:
        where = {"fleet_id": fleet_of(asked.publication, battery_id, fleet_id), "battery_id": battery_id}
        return asked.page(listing, days, where)


for noun in NOUNS:
    _add(noun)


@router.get(
    "/batteries",
    summary="Batteries, and how each stands at its last sample",
    operation_id="batteries",
    responses=forms(page_of_table(catalog.BATTERY_LATEST)),
)
def batteries(
    asked: Asking,
    page: Page,
    fleet_id: Annotated[str | None, Query(max_length=200, description="Only this fleet.")] = None,
    health_status: Annotated[
        str | None, Query(pattern=one_of(HEALTH_STATUSES), description="Only those that stand like this.")
    ] = None,
) -> Response:
    where = {"fleet_id": fleet_id, "health_status": health_status}
    return asked.page(_LATEST, page, where)
