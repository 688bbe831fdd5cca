"""Events as people deal with them: which there are, what one rests on, what is said of it."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta

import polars as pl

from bess_pipeline.lake.slices import Slice
from bess_pipeline.lake.store import Lake
from bess_pipeline.lake.views import EVENT_VERDICTS, answered
from bess_pipeline.tables import catalog
from bess_pipeline.tables.anomalies import EventFeedback


def events(lake: Lake, fleet_id: str | None = None) -> pl.DataFrame:
    """Every event with what people said of it, as the lake knows it now; see the view `event_verdicts`."""
    part = None if fleet_id is None else Slice(fleet_id)
    return answered(EVENT_VERDICTS, {table.name: lake.read(table, part) for table in EVENT_VERDICTS.reads})


def event(lake: Lake, beginning: str) -> dict[str, object]:
    """One event by its identity, or the beginning of it.

    Returns:
        The columns of `AnomalyEvent`, and those that the view `event_verdicts` adds.

    Raises:
        LookupError: If no event's identity begins like this, or those of several do.
    """
    is_meant = pl.col("event_id").str.starts_with(beginning)
    found = lake.ask(catalog.ANOMALY_EVENTS, None, lambda rows: rows.filter(is_meant))
    if found.height != 1:
        alike = ", ".join(found["event_id"].sort().head(5)) or "none"
        raise LookupError(f"{found.height} events begin with {beginning!r} ({alike}); `bess event list` shows them")
    row = found.row(0, named=True)
    judged = events(lake, str(row["fleet_id"])).filter(event_id=row["event_id"]).row(0, named=True)
    return row | judged


def say(
    lake: Lake, event_id: str, verdict: str, *, by: str, note: str | None = None, mute: timedelta | None = None
) -> pl.DataFrame:
    """Keep what a person says of an event.

    Args:
        lake: The tables.
        event_id: The event, or the beginning of its identity.
        verdict: One of `VERDICTS`.
        by: Who says it.
        note: A remark.
        mute: How long after the event, in data time, alike ones are no more than info; of dismissals only.

    Returns:
        The `EventFeedback` row.

    Raises:
        LookupError: As `event`.
        ValueError: If a safety event is to be muted, anything but a dismissal mutes, or an annotation says nothing.
    """
    if verdict == "annotated" and not note:
        raise ValueError("an annotation needs a note")
    told = event(lake, event_id)
    if mute is not None and verdict != "dismissed":
        raise ValueError("only a dismissal mutes alike events")
    if mute is not None and told["detector"] == "safety":
        raise ValueError(
            "events of the safety lane cannot be muted: each is to be looked at; dismiss it without muting"
        )
    fleet_id, battery_id = str(told["fleet_id"]), str(told["battery_id"])
    until = told["ended_at"] or _heard_until(lake, fleet_id, battery_id) or told["detected_at"]
    if not isinstance(until, datetime):
        raise TypeError(f"the end of event {told['event_id']} is {until!r}")
    row = {
        "feedback_id": uuid.uuid4().hex,
        "verdict": verdict,
        "note": note,
        "given_by": by,
        "given_at": datetime.now(UTC),
        "until_at": until,
        "mute_until": None if mute is None else until + mute,
    }
    names = EventFeedback.column_names()
    known = {name: told[name] for name in names if name in told}
    said = pl.DataFrame([known | row], schema=EventFeedback.create_empty().schema).select(names)
    lake.append(catalog.EVENT_FEEDBACK, said, Slice(fleet_id))
    return said


def _heard_until(lake: Lake, fleet_id: str, battery_id: str) -> object:
    latest = pl.col("timestamp").filter(pl.col("battery_id") == battery_id).max()
    return lake.ask(catalog.BATTERY_LATEST, Slice(fleet_id), lambda rows: rows.select(latest)).item()
