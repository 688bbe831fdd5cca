"""Events: the list, and what one rests on, with what people say of it."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, HTTPException, Query, Request, Response
from fastapi.responses import RedirectResponse
from pydantic import ValidationError

from bess_pipeline.analytics.features import FEATURE_BY_NAME
from bess_pipeline.analytics.limits import LIMITS, Limit
from bess_pipeline.api.deps import Operated, one
from bess_pipeline.api.listing import one_of
from bess_pipeline.api.pages.charts import Chart, Trace, axis, band, line, upright
from bess_pipeline.api.pages.site import Viewed, page, with_query
from bess_pipeline.api.routes.events import Saying, say_of
from bess_pipeline.lake import feedback
from bess_pipeline.lake.reading import Seen
from bess_pipeline.tables.anomalies import FAMILIES, SEVERITIES

router = APIRouter(include_in_schema=False)

_PER_PAGE = 50
_BEFORE, _AFTER = timedelta(days=120), timedelta(days=30)

_LISTED = """
    SELECT * FROM event_verdicts
    WHERE ($fleet IS NULL OR fleet_id = $fleet) AND ($family IS NULL OR family = $family)
        AND ($severity IS NULL OR effective_severity = $severity) AND ($every OR ended_at IS NULL)
    ORDER BY detected_at DESC, fleet_id, event_id
"""
#: A feature of a battery by day, beside the median and the middle half of the fleet's others.
_PEERS = """
    SELECT date, max(value) FILTER (battery_id = $battery_id) AS own,
        median(value) FILTER (battery_id <> $battery_id) AS middle,
        quantile_cont(value, 0.1) FILTER (battery_id <> $battery_id) AS low,
        quantile_cont(value, 0.9) FILTER (battery_id <> $battery_id) AS high
    FROM daily_features WHERE fleet_id = $fleet_id AND feature = $feature AND date BETWEEN $first AND $last
    GROUP BY date ORDER BY date
"""
_TELEMETRY = """
    SELECT * FROM telemetry_5min WHERE fleet_id = $fleet_id AND battery_id = $battery_id
        AND timestamp BETWEEN $first AND $last ORDER BY timestamp
"""


@router.get("/events")
def events(
    asked: Viewed,
    request: Request,
    fleet: Annotated[str | None, Query(max_length=200)] = None,
    family: Annotated[str | None, Query(pattern=f"{one_of(FAMILIES)}|^$")] = None,
    severity: Annotated[str | None, Query(pattern=f"{one_of(SEVERITIES)}|^$")] = None,
    part: Annotated[int, Query(ge=0, le=100_000)] = 0,
    *,
    every: Annotated[bool, Query()] = False,
) -> Response:
    """Events, the newest first."""
    values = {"fleet": fleet or None, "family": family or None, "severity": severity or None, "every": every}
    found = asked.publication.ask(f"{_LISTED} LIMIT {_PER_PAGE + 1} OFFSET {part * _PER_PAGE}", values)
    fleets = asked.publication.ask("SELECT DISTINCT fleet_id FROM batteries ORDER BY ALL")["fleet_id"].to_list()
    parts = {
        "before": with_query(request, part=part - 1 or None) if part else None,
        "after": with_query(request, part=part + 1) if found.height > _PER_PAGE else None,
    }
    return page(
        request,
        "events",
        events=found.head(_PER_PAGE).to_dicts(),
        parts=parts,
        families=FAMILIES,
        severities=SEVERITIES,
        fleets=fleets,
        chosen=values,
    )


@router.get("/events/{event_id}")
def event(asked: Viewed, request: Request, event_id: str) -> Response:
    """One event: what it rests on, what to do, and what was said of it."""
    sql = "SELECT v.*, evidence FROM event_verdicts v JOIN anomaly_events USING (event_id) WHERE event_id = $event_id"
    told = one(asked.publication.ask(sql, {"event_id": event_id}), f"there is no event {event_id!r}")
    evidence = json.loads(str(told["evidence"]))
    features = evidence.get("features") or [evidence]
    return page(
        request,
        "event",
        event=told | _said_since(request, event_id),
        features=[
            {name: value for name, value in row.items() if not isinstance(value, list | dict)} for row in features
        ],
        charts=_charts(asked.publication, told, features),
        may_say="operate" in asked.caller.scopes,
        is_safety=told["detector"] == "safety",
    )


def _said_since(request: Request, event_id: str) -> dict[str, Any]:
    """What the lake knows to have been said of an event, which the publication may not know yet."""
    names = ("verdict", "verdict_by", "verdict_at", "notes", "muted_by", "effective_severity")
    try:
        told = feedback.event(request.app.state.lake, event_id)
    except LookupError:  # it is another one by now: what was published is what there is to be shown
        return {}
    return {name: told[name] for name in names}


def _charts(seen: Seen, event: dict[str, Any], features: list[dict[str, Any]]) -> list[Chart]:
    detected: datetime = event["detected_at"]
    ended: datetime | None = event["ended_at"]
    mark = upright(detected, "limit")
    for limit in LIMITS:
        if limit.code == event["kind"]:
            return [_limit(seen, event, limit, features[0], mark)]
    which = {name: event[name] for name in ("fleet_id", "battery_id")}
    days = {"first": (detected - _BEFORE).date(), "last": ((ended or detected) + _AFTER).date()}
    charts = []
    for name in dict.fromkeys(str(row["feature"]) for row in features if row.get("feature")):
        rows = seen.ask(_PEERS, which | days | {"feature": name})
        known = FEATURE_BY_NAME.get(name)
        traces: list[Trace] = [
            *band(rows, "date", "low", "high", "8 in 10 of the others", "other"),
            line(rows, "date", "middle", "median of the others", "other", line={"dash": "dot"}),
            line(rows, "date", "own", str(event["battery_id"])),
        ]
        about = known.sees if known is not None else "As the evidence of the event names it."
        title = name.replace("_", " ").capitalize()
        charts.append(
            Chart(title, about, traces, {"yaxis": axis(known.unit if known else ""), "shapes": [mark]}, height=280)
        )
    return charts[:4]


def _limit(seen: Seen, event: dict[str, Any], limit: Limit, evidence: dict[str, Any], mark: dict[str, Any]) -> Chart:
    column, unit = limit.watched[0], "V" if limit.relative else "°C"
    started, ended = event["started_at"], event["ended_at"] or event["detected_at"]
    bounds = {"first": started - timedelta(days=1), "last": ended + timedelta(days=1)}
    rows = seen.ask(_TELEMETRY, {name: event[name] for name in ("fleet_id", "battery_id")} | bounds)
    layout: dict[str, Any] = {"yaxis": axis(unit), "shapes": [mark]}
    if evidence.get("limit") is not None:
        end = {"xref": "paper", "x0": 0, "x1": 1, "y0": evidence["limit"], "y1": evidence["limit"], "role": "bad"}
        layout["shapes"] = [mark, {"type": "line", **end}]
    about = "5-minute rows about it; the line across is the limit of the nameplate."
    return Chart(
        column.rpartition("_")[0].replace("_", " ").capitalize(),
        about,
        [line(rows, "timestamp", column, column)],
        layout,
    )


def _spoken(
    verdict: Annotated[str, Form()],
    note: Annotated[str | None, Form()] = None,
    by: Annotated[str | None, Form()] = None,
    mute_days: Annotated[str | None, Form()] = None,
) -> Saying:
    """What a form says; what was left empty is nothing."""
    told = {"verdict": verdict, "note": note or None, "by": by or None, "mute_days": mute_days or None}
    try:
        return Saying.model_validate(told)
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
        raise HTTPException(422, f"what was said makes no sense: {wrong}") from None


@router.post("/events/{event_id}/say")
def say(asked: Operated, request: Request, event_id: str, saying: Annotated[Saying, Depends(_spoken)]) -> Response:
    """Keep what was said, and show the event again."""
    say_of(asked, request, event_id, saying)
    return RedirectResponse(f"/events/{event_id}", HTTPStatus.SEE_OTHER)
