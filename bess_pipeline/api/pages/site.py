"""What all pages share: how one is written, who may see it, and what is shown when it cannot be."""

from __future__ import annotations

import importlib.resources
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote, urlencode

from fastapi import Depends, HTTPException, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from jinja2 import Environment, PackageLoader, StrictUndefined
from pydantic_core import to_json

from bess_pipeline.api.access import COOKIE, Caller
from bess_pipeline.api.deps import Asked, posted
from bess_pipeline.api.problems import problem

STATIC = Path(__file__).parent / "static"

#: Charts are drawn by the browser with this file of the package `plotly`.
PLOTLY = Path(str(importlib.resources.files("plotly") / "package_data" / "plotly.min.js"))

#: Days that a page may be asked for.
FIRST_DAY, LAST_DAY = date(1970, 1, 2), date(2199, 12, 31)

#: What says that something is not known.
UNKNOWN = "–"


def number(value: float | None, digits: int = 1) -> str:
    """A number for people; a dash where it is not known.

    Examples:
        >>> number(12345.678), number(None), number(-0.04)
        ('12,345.7', '–', '0.0')
    """
    if value is None or value != value:  # noqa: PLR0124 - NaN alone is not itself
        return UNKNOWN
    return f"{round(value, digits) + 0.0:,.{digits}f}"


def when(value: date | datetime | None) -> str:
    """A day, or an instant to the minute, UTC."""
    if value is None:
        return UNKNOWN
    return f"{value:%Y-%m-%d %H:%M}" if isinstance(value, datetime) else f"{value:%Y-%m-%d}"


def words(value: str | None) -> str:
    """A name of ours as words."""
    return UNKNOWN if value is None else value.replace("_", " ")


def _as_json(value: object) -> str:
    """JSON that may stand within a page: nothing in it ends the element that it stands in."""
    text = to_json(value, inf_nan_mode="null").decode()
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def battery_address(fleet_id: str, battery_id: str) -> str:
    """Where the page of a battery is."""
    return f"/fleets/{quote(fleet_id, safe='')}/batteries/{quote(battery_id, safe='')}"


_ENVIRONMENT = Environment(
    loader=PackageLoader("bess_pipeline.api.pages"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_ENVIRONMENT.filters |= {"number": number, "when": when, "words": words, "json": _as_json}
_ENVIRONMENT.globals |= {"battery_address": battery_address, "unknown": UNKNOWN}

#: A page is not kept: what people say of events is on it at once.
_HEADERS = {"Cache-Control": "private, no-store"}


def filled(template: str, **content: Any) -> str:  # noqa: ANN401
    """A template, without its suffix, with what it shows."""
    return _ENVIRONMENT.get_template(f"{template}.html").render(**content)


def page(request: Request, template: str, code: int = 200, **content: Any) -> HTMLResponse:  # noqa: ANN401
    """A page.

    Args:
        request: What asked for it.
        template: Its template, without the suffix.
        code: Of the answer.
        content: What the template shows.
    """
    about = {"path": request.url.path, "signed_in": COOKIE in request.cookies, "version": request.app.version}
    written = filled(template, **about, **content)
    return HTMLResponse(written, code, _HEADERS)


def with_query(request: Request, **changes: object) -> str:
    """The address of a page with other values in its query; those that are nothing are left out."""
    values = dict(request.query_params) | changes
    kept = {name: value for name, value in values.items() if value not in {None, ""}}
    return f"?{urlencode(kept)}" if kept else request.url.path


class SignInNeeded(Exception):  # noqa: N818 - it is no error: who it is has to be asked first
    """A page that shows nothing without a key."""


def _viewer(request: Request) -> Caller:
    try:
        caller: Caller = request.app.state.access.caller(request, frozenset({"read"}))
    except HTTPException as refusal:
        if refusal.status_code == HTTPStatus.UNAUTHORIZED:
            raise SignInNeeded from None
        raise
    return caller


def _viewed(request: Request, caller: Annotated[Caller, Depends(_viewer)]) -> Iterator[Asked]:
    yield from posted(request, caller)


#: The newest publication, for a page.
Viewed = Annotated[Asked, Depends(_viewed)]


def is_page(request: Request) -> bool:
    """Whether a person asks, who wants to read what went wrong."""
    path = request.url.path
    return not path.startswith(("/api/", "/openapi")) and "text/html" in request.headers.get("accept", "")


def told(
    request: Request,
    status: int,
    detail: str,
    headers: Mapping[str, str] | None = None,
    errors: Sequence[dict[str, str]] = (),
) -> Response:
    """What went wrong: a page for people, problem details for programs."""
    if not is_page(request):
        return problem(status, detail, headers, errors)
    answer = page(request, "sorry", status, title=HTTPStatus(status).phrase, detail=detail, status=status)
    answer.headers.update(headers or {})
    return answer


def to_sign_in(request: Request) -> Response:
    """Ask who it is, and come back here afterwards."""
    here = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    return RedirectResponse(f"/sign-in?{urlencode({'next': here})}", HTTPStatus.SEE_OTHER)
