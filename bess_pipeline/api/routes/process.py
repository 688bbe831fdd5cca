"""Telemetry that is delivered, and what became of it."""

from __future__ import annotations

import base64
import datetime as dt
import re
from contextlib import suppress
from typing import Annotated, Any, Literal

from anyio import to_thread
from fastapi import APIRouter, HTTPException, Path, Request, Response
from pydantic import BaseModel, Field
from starlette.datastructures import UploadFile

from bess_pipeline.api.access import Caller, Delivering, Following
from bess_pipeline.api.openapi import refused
from bess_pipeline.api.uploads import Delivery, UploadError, deliver
from bess_pipeline.config import Settings
from bess_pipeline.lake.failures import is_lack_of_room
from bess_pipeline.lake.reading import Seen, UnpublishedError
from bess_pipeline.sources.opening import Limits
from bess_pipeline.sources.register import Fleet, read_register

router = APIRouter(tags=["process"])

#: A delivery that holds no more than this is no danger, however well it is compressed [B].
_FREE_BYTES = 1 << 22
_SHA256 = re.compile(r"[0-9a-fA-F]{64}")
_PATH = re.compile(r"(?P<fleet_id>[A-Za-z0-9_-]+)/(?P<path>(uploads/[0-9a-f]{16}/)?[A-Za-z0-9_-][A-Za-z0-9._-]*)")

#: Whether all rows that the index counted on the days of a file have been accounted for: then they have been made.
_DAYS = """
    SELECT date, rows_received, rows_accepted, rows_quarantined, rows_duplicate FROM data_quality_daily
    WHERE fleet_id = $fleet_id AND rows_received > 0
        AND (date BETWEEN $first AND $last OR ($undated AND date IS NULL)) ORDER BY date NULLS FIRST
"""


class JobDay(BaseModel):
    """What became of all rows received of a UTC day, those of other files included."""

    date: dt.date | None = Field(description="UTC day; null for rows without a usable time")
    rows_received: int = Field(description="Rows received: accepted, quarantined and duplicate, once the day is made")
    rows_accepted: int = Field(description="Rows that became samples")
    rows_quarantined: int = Field(description="Rows that were refused; the table `quarantine` has each with its reason")
    rows_duplicate: int = Field(description="Rows that were there already")


class Job(BaseModel):
    """A file that was delivered, and what became of it."""

    job_id: str
    fleet_id: str
    path: str = Field(description="Where it lies, below the landing folder of its fleet")
    status: Literal["received", "indexed", "processed", "unreadable"] = Field(
        description="received: it lies in the landing zone; indexed: its rows are counted; processed: every row of "
        "its days is accounted for, and the tables that follow are published; unreadable: see `error`"
    )
    size_bytes: int | None = Field(description="Its size [B]")
    sha256: str | None = Field(description="Its checksum, as it came; null later")
    rows_received: int | None = Field(description="Its rows; null until they have been counted")
    rows_without_day: int | None = Field(description="Those of them without a usable time: they are quarantined")
    rows_quarantined: int | None = Field(description="Those of them in the quarantine; null until it is processed")
    first_timestamp: dt.datetime | None = Field(description="Earliest time in it")
    last_timestamp: dt.datetime | None = Field(description="Latest time in it")
    unmapped_columns: list[str] = Field(description="Columns that the fleet file does not map: they are not read")
    missing_columns: list[str] = Field(description="Columns that the fleet file maps, and it does not have")
    error: str | None = Field(description="Why it could not be read")
    days: list[JobDay] = Field(description="What became of its days, once they are made")


_FORM = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": ["file"],
                "properties": {
                    "file": {"type": "string", "format": "binary", "description": "A file as the fleet file says."},
                    "fleet_id": {"type": "string", "description": "May be left out where there is one fleet alone."},
                    "sha256": {
                        "type": "string",
                        "pattern": "^[0-9a-fA-F]{64}$",
                        "description": "Its checksum: a file that comes otherwise is refused.",
                    },
                },
            },
            "encoding": {"file": {"contentType": "application/octet-stream"}},
        }
    },
}


@router.post(
    "/process",
    summary="Deliver a file of telemetry: it is looked through, and put into the landing zone",
    operation_id="process",
    status_code=202,
    response_model=Job,
    responses={
        200: {"description": "It had been delivered before.", "model": Job},
        **refused(400, 404, 408, 409, 413, 415, 422, 503, 507),
    },
    openapi_extra={"requestBody": _FORM},
)
async def process(request: Request, response: Response, caller: Delivering) -> Job:
    # The body is taken only now that it is known who sends it.
    try:
        async with request.form(max_files=1, max_fields=4, max_part_size=1024) as form:
            file, fleet_id, sha256 = form.get("file"), form.get("fleet_id"), form.get("sha256")
            if not isinstance(file, UploadFile):
                raise HTTPException(422, "file: is missing; a form (multipart/form-data) has it, with its name")
            if sha256 is not None and not (isinstance(sha256, str) and _SHA256.fullmatch(sha256)):
                raise HTTPException(422, "sha256: is no checksum: 64 hexadecimal digits")
            said = fleet_id if isinstance(fleet_id, str) else None
            job, is_new = await to_thread.run_sync(
                _taken, request.app.state, caller, file, said, sha256, limiter=request.app.state.surveys
            )
    except PermissionError:
        raise HTTPException(
            503, "the landing folder of the fleet does not let the server write: who runs it has to mend that"
        ) from None
    except OSError as error:
        if not is_lack_of_room(error):
            raise
        raise HTTPException(507, "there is no room for the file: nothing of it was kept; try again later") from None
    response.status_code = 202 if is_new else 200
    response.headers["Location"] = f"/api/v1/jobs/{job.job_id}"
    return job


def _taken(state: Any, caller: Caller, file: UploadFile, fleet_id: str | None, sha256: str | None) -> tuple[Job, bool]:  # noqa: ANN401
    """What became of a file that came, and whether it is new."""
    fleet = _fleet(state.settings, caller, fleet_id)
    state.writes.require_writable()
    delivery = _delivered(state.settings, fleet, file, sha256)
    what = f"{fleet.fleet_id}/{delivery.path}"
    state.writes.note(caller.name, "delivered", what, sha256=delivery.sha256, is_new=delivery.is_new)
    if not delivery.is_new:
        with suppress(UnpublishedError), state.reader.reading() as newest:
            known = _published(newest.for_fleets(caller.fleets), fleet.fleet_id, delivery.path)
            if known is not None:
                return known, False
    return _received(fleet.fleet_id, delivery), delivery.is_new


@router.get(
    "/jobs/{job_id}",
    summary="What became of a file that was delivered",
    operation_id="job",
    responses=refused(404),
)
def job(
    request: Request,
    caller: Following,
    job_id: Annotated[str, Path(max_length=600, description="As the delivery told it, also in `Location`.")],
) -> Job:
    try:
        named = _PATH.fullmatch(base64.urlsafe_b64decode(job_id + "=" * (-len(job_id) % 4)).decode())
    except ValueError:
        named = None
    if named is None or not caller.may_see(named["fleet_id"]):
        raise HTTPException(404, _NO_JOB)
    settings: Settings = request.app.state.settings
    try:
        with request.app.state.reader.reading() as newest:
            published = _published(newest.for_fleets(caller.fleets), named["fleet_id"], named["path"])
    except UnpublishedError:
        published = None
    if published is not None:
        return published
    file = settings.landing / named["fleet_id"] / named["path"]
    try:
        is_there = file.is_file() and not file.is_symlink()
    except OSError:  # no file has such a name
        is_there = False
    if not is_there:
        raise HTTPException(404, _NO_JOB)
    return _job(named["fleet_id"], named["path"], status="received", size_bytes=file.stat().st_size)


_NO_JOB = "there is no such job"
_NOT_OURS = "the landing folder of the fleet does not let the server write: who runs it has to mend that"


def _fleet(settings: Settings, caller: Caller, fleet_id: str | None) -> Fleet:
    """The fleet for which a file is delivered.

    Raises:
        HTTPException: 404 if there is none, 409 if its file has mistakes, 422 if there are several and none was said.
    """
    register = read_register(settings.fleets)
    mine = {name: fleet for name, fleet in register.fleets.items() if caller.may_see(name)}
    if fleet_id is None:
        if len(mine) != 1:
            raise HTTPException(422, "fleet_id: say for which fleet the file is")
        return next(iter(mine.values()))
    if fleet_id in mine:
        return mine[fleet_id]
    mistakes = register.mistakes.get(f"{fleet_id}.yaml")
    if mistakes and caller.may_see(fleet_id):
        raise HTTPException(409, f"the file of fleet {fleet_id} has to be corrected first: {'; '.join(mistakes)}")
    raise HTTPException(404, f"there is no fleet {fleet_id!r}")


def _delivered(settings: Settings, fleet: Fleet, file: UploadFile, sha256: str | None) -> Delivery:
    limits = Limits(settings.largest_file_bytes, settings.largest_compression_ratio, free_bytes=_FREE_BYTES)
    try:
        return deliver(
            fleet,
            settings.landing / fleet.fleet_id,
            file.filename or "",
            file.file,
            first_day=settings.first_day,
            today=dt.datetime.now(dt.UTC).date(),
            limits=limits,
            sha256=sha256,
        )
    except UploadError as error:
        raise HTTPException(422, str(error)) from None


def _received(fleet_id: str, delivery: Delivery) -> Job:
    found = delivery.survey
    return _job(
        fleet_id,
        delivery.path,
        status="received",
        size_bytes=delivery.size_bytes,
        sha256=delivery.sha256,
        rows_received=found.rows,
        rows_without_day=found.rows_without_day,
        first_timestamp=found.first_timestamp,
        last_timestamp=found.last_timestamp,
        unmapped_columns=list(found.unmapped_columns),
        missing_columns=list(found.missing_columns),
    )


def _published(seen: Seen, fleet_id: str, path: str) -> Job | None:
    """What the publication knows of a file; nothing if it does not know it."""
    which = {"fleet_id": fleet_id, "path": path}
    file = seen.ask("SELECT * FROM landing_files WHERE fleet_id = $fleet_id AND path = $path", which)
    if file.is_empty():
        return None
    row: dict[str, Any] = file.row(0, named=True)
    known = ("size_bytes", "rows_received", "rows_without_day", "first_timestamp", "last_timestamp", "error")
    told = {name: row[name] for name in known} | {
        name: [one for one in row[name].split(",") if one] for name in ("unmapped_columns", "missing_columns")
    }
    if row["status"] != "ok":
        return _job(fleet_id, path, status="unreadable", **told)
    first, last = (row[name] and row[name].date() for name in ("first_timestamp", "last_timestamp"))
    undated = row["rows_without_day"] > 0
    days = seen.ask(_DAYS, {"fleet_id": fleet_id, "first": first, "last": last, "undated": undated}).to_dicts()
    made = all(
        day["rows_received"] == day["rows_accepted"] + day["rows_quarantined"] + day["rows_duplicate"] for day in days
    )
    if not days or not made:
        return _job(fleet_id, path, status="indexed", **told)
    sql = "SELECT count(*) FROM quarantine WHERE fleet_id = $fleet_id AND path = $path"
    return _job(
        fleet_id,
        path,
        status="processed",
        rows_quarantined=seen.ask(sql, which).item(),
        days=[JobDay.model_validate(day) for day in days],
        **told,
    )


def _job(fleet_id: str, path: str, **told: Any) -> Job:  # noqa: ANN401 - what is known of it so far
    job_id = base64.urlsafe_b64encode(f"{fleet_id}/{path}".encode()).decode().rstrip("=")
    unknown: dict[str, Any] = dict.fromkeys(Job.model_fields)
    unknown |= {"unmapped_columns": [], "missing_columns": [], "days": []}
    return Job.model_validate(unknown | told | {"job_id": job_id, "fleet_id": fleet_id, "path": path})
