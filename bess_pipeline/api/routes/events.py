"""Events: what was unusual, and what people said of it."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

import dataframely as dy
from fastapi import APIRouter, HTTPException, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from bess_pipeline.api.deps import Asking, Operated, one
from bess_pipeline.api.listing import Days, Listing, one_of
from bess_pipeline.api.models import model_of, page_of
from bess_pipeline.api.openapi import forms, refusals, refused
from bess_pipeline.lake.feedback import say
from bess_pipeline.lake.views import EVENT_VERDICTS
from bess_pipeline.tables.anomalies import FAMILIES, SEVERITIES, AnomalyEvent

router = APIRouter(tags=["events"])

#: Columns of the view `event_verdicts`: those of an event, and what people said of it.
_SAID: dict[str, dy.Column] = {
    name: dy.Datetime(nullable=True, time_unit="us", time_zone="UTC", description=meaning)
    if name.endswith("_at")
    else dy.String(nullable=name != "effective_severity", description=meaning)
    for name, meaning in EVENT_VERDICTS.own.items()
}
_COLUMNS = {
    name: column for name, column in AnomalyEvent.columns().items() if name not in {"detected_on", "evidence"}
} | _SAID
_LISTING = Listing(
    EVENT_VERDICTS.name, _COLUMNS, ("detected_at", "fleet_id", "event_id"), time="detected_at", newest_first=True
)
_EVENT = model_of("Event", EVENT_VERDICTS.about, _COLUMNS)


class EventInFull(_EVENT):  # type: ignore[misc, valid-type]
    """An event, and what it rests on."""

    evidence: dict[str, Any] = Field(description="Features of the day of detection, and a series to plot")


@router.get(
    "/events",
    summary="Events, newest first, with what people said of them",
    operation_id="events",
    responses=forms(page_of(_EVENT)),
)
def events(
    asked: Asking,
    days: Days,
    fleet_id: Annotated[str | None, Query(max_length=200, description="Only of this fleet.")] = None,
    battery_id: Annotated[str | None, Query(max_length=200, description="Only of this battery.")] = None,
    family: Annotated[str | None, Query(pattern=one_of(FAMILIES), description="Only of this family.")] = None,
    severity: Annotated[
        str | None, Query(pattern=one_of(SEVERITIES), description="Only those that matter so much now.")
    ] = None,
    *,
    is_open: Annotated[bool | None, Query(alias="open", description="Only those that have not ended, or have.")] = None,
) -> Response:
    where = {"fleet_id": fleet_id, "battery_id": battery_id, "family": family, "effective_severity": severity}
    also = () if is_open is None else (f"ended_at IS {'' if is_open else 'NOT '}NULL",)
    return asked.page(_LISTING, days, where, also)


@router.get(
    "/events/{event_id}",
    summary="One event, and what it rests on",
    operation_id="event",
    responses=refusals(404, 422, 503),
)
def event(asked: Asking, event_id: str) -> EventInFull:
    sql = "SELECT v.*, evidence FROM event_verdicts v JOIN anomaly_events USING (event_id) WHERE event_id = $event_id"
    row = one(asked.publication.ask(sql, {"event_id": event_id}), f"there is no event {event_id!r}")
    full: EventInFull = EventInFull.model_validate(row | {"evidence": json.loads(str(row["evidence"]))})
    return full


class Saying(BaseModel):
    """What a person says of an event."""

    model_config = ConfigDict(extra="forbid")

    verdict: Literal["confirmed", "dismissed", "annotated", "withdrawn"] = Field(
        description="confirmed: it was what it looked like; dismissed: nothing that matters; annotated: a remark; "
        "withdrawn: what was said before counts no more"
    )
    note: str | None = Field(default=None, max_length=2000, description="A remark; an annotation needs one.")
    by: str | None = Field(default=None, max_length=100, description="Who says it, beside the name of the key.")
    mute_days: int | None = Field(
        default=None,
        ge=1,
        le=3650,
        description="Of a dismissal: days of data for which alike events, no worse, are no more than info.",
    )


class Said(BaseModel):
    """What was kept of it."""

    feedback_id: str
    event_id: str
    verdict: str
    note: str | None
    given_by: str
    given_at: datetime
    mute_until: datetime | None = Field(description="In data time")


@router.post(
    "/events/{event_id}/feedback",
    summary="Confirm, dismiss or annotate an event, or take back what was said of it",
    operation_id="say",
    status_code=201,
    responses=refused(400, 404, 408, 409, 413, 415, 422, 503),
)
def say_of(asked: Operated, request: Request, event_id: str, saying: Saying) -> Said:
    sql = "SELECT event_id FROM anomaly_events WHERE event_id = $event_id"
    one(asked.publication.ask(sql, {"event_id": event_id}), f"there is no event {event_id!r}")
    mute = None if saying.mute_days is None else timedelta(days=saying.mute_days)
    by = asked.caller.name if saying.by is None else f"{saying.by} ({asked.caller.name})"
    request.app.state.writes.require_writable()
    try:
        row = say(request.app.state.lake, event_id, saying.verdict, by=by, note=saying.note, mute=mute)
    except LookupError:
        raise HTTPException(409, f"event {event_id!r} is not there any more: late data have changed it") from None
    except ValueError as error:
        raise HTTPException(422, str(error)) from None
    said = Said.model_validate(row.row(0, named=True), extra="ignore")
    request.app.state.writes.note(by, saying.verdict, f"event {event_id}", feedback_id=said.feedback_id)
    return said
