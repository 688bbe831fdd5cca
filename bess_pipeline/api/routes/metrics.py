"""How one battery stands now."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

import polars as pl
from fastapi import APIRouter
from pydantic import BaseModel, Field

from bess_pipeline.api.deps import Asking, FleetChoice, fleet_of, one
from bess_pipeline.api.openapi import refusals

router = APIRouter(tags=["metrics"])

_OPEN = "SELECT * FROM event_verdicts WHERE fleet_id = $fleet_id AND battery_id = $battery_id AND ended_at IS NULL"


class Metrics(BaseModel):
    """What is known of a battery at its last sample; unknown is null."""

    state_of_health: float | None = Field(description="State of health, of rated capacity [%]")
    state_of_charge: float | None = Field(description="State of charge, of today's capacity [%]")
    voltage: float | None = Field(description="Voltage [V]")
    current: float | None = Field(description="Current; positive charges [A]")
    temperature: float | None = Field(description="Mean cell temperature [°C]")
    cycle_count: float | None = Field(description="Equivalent full cycles since new, as far as known")
    degradation_rate: float | None = Field(description="Loss of state of health; positive is loss [%/a]")


class OpenEvent(BaseModel):
    """An event that has not ended."""

    event_id: str
    family: str
    kind: str
    detector: str
    severity: str = Field(description="Severity; info where people dismissed it and it has not got worse since")
    component: str | None = Field(description="The cell, probe or sensor, if it is of one")
    started_at: datetime
    detected_at: datetime
    detected_on: date
    score: float | None
    next_step: str | None = Field(description="What to do")


class BatteryMetrics(BaseModel):
    """How a battery stands."""

    battery_id: str
    timestamp: datetime = Field(description="Instant of the last sample known")
    metrics: Metrics
    anomalies: list[OpenEvent] = Field(description="Events that are open, the newest first")
    health_status: str = Field(description="good, watch, warning, critical or unknown")


@router.get(
    "/metrics/{battery_id:path}",
    summary="How a battery stands at its last sample, and what is open",
    operation_id="metrics",
    responses=refusals(404, 409, 422, 503),
)
def metrics(asked: Asking, battery_id: str, fleet_id: FleetChoice = None) -> BatteryMetrics:
    which = {"fleet_id": fleet_of(asked.publication, battery_id, fleet_id), "battery_id": battery_id}
    latest = "SELECT * FROM battery_latest WHERE fleet_id = $fleet_id AND battery_id = $battery_id"
    row: dict[str, Any] = one(asked.publication.ask(latest, which), f"battery {battery_id!r} has no sample yet")
    events = asked.publication.ask(_OPEN, which).sort("detected_at", "event_id", descending=[True, False])
    shown = events.with_columns(
        severity=pl.col("effective_severity"), detected_on=pl.col("detected_at").dt.date()
    ).select(list(OpenEvent.model_fields))
    return BatteryMetrics(
        battery_id=battery_id,
        timestamp=row["timestamp"],
        metrics=Metrics(
            state_of_health=row["soh_percent"],
            state_of_charge=row["soc_percent"],
            voltage=row["voltage_volt"],
            current=row["current_ampere"],
            temperature=row["temperature_celsius"],
            cycle_count=row["equivalent_full_cycles"],
            degradation_rate=row["degradation_percent_per_year"],
        ),
        anomalies=[OpenEvent.model_validate(event) for event in shown.to_dicts()],
        health_status=row["health_status"],
    )
