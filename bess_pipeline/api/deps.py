"""What operations need: who asks, the publication that they read, and the battery that is meant."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import urlencode

import polars as pl
import xxhash
from fastapi import Depends, HTTPException, Query, Request, Response

from bess_pipeline.api.access import Caller, Operating, Reading
from bess_pipeline.api.listing import Listing, PageQuery, form_of, written
from bess_pipeline.api.problems import NotModified
from bess_pipeline.lake.reading import Seen

FleetChoice = Annotated[
    str | None, Query(max_length=200, description="Fleet; may be left out where the battery's id is in one fleet only.")
]


@dataclass(frozen=True)
class Asked:
    """A request, and the publication that answers it.

    Attributes:
        request: The request.
        publication: What is read: of the fleets that whoever asks may see.
        caller: Who asks.
        headers: Of the answer.
    """

    request: Request
    publication: Seen
    caller: Caller
    headers: Mapping[str, str]

    def page(
        self, listing: Listing, query: PageQuery, where: Mapping[str, object | None], also: Sequence[str] = ()
    ) -> Response:
        """A page of a listing, in the form that the client wants; see `Listing.page`."""
        rows, cursor = listing.page(self.publication, query, where, also)
        headers = dict(self.headers)
        if cursor is not None:
            others = [(name, value) for name, value in self.request.query_params.multi_items() if name != "cursor"]
            headers["Link"] = f'<?{urlencode([*others, ("cursor", cursor)])}>; rel="next"'
        form = form_of(self.request.headers.get("accept", "*/*"))
        return Response(written(rows, form, cursor), headers=headers, media_type=form)


def _asked(request: Request, response: Response, caller: Reading) -> Iterator[Asked]:
    """The newest publication for a request; a client that has an answer of the same rows is told so."""
    with request.app.state.reader.reading() as newest:
        publication = newest.for_fleets(caller.fleets)
        address = xxhash.xxh3_64_hexdigest(str(request.url).encode())
        headers = {
            "ETag": f'W/"{publication.tag}-{request.app.version}-{address}"',
            "Cache-Control": "private, no-cache",
            "Vary": "Accept, Authorization",
        }
        known = [tag.strip() for tag in request.headers.get("if-none-match", "").split(",")]
        if headers["ETag"] in known:
            raise NotModified(headers)
        response.headers.update(headers)
        yield Asked(request, publication, caller, headers)


Asking = Annotated[Asked, Depends(_asked)]


def posted(request: Request, caller: Caller) -> Iterator[Asked]:
    """The newest publication for a request whose answer is nobody's to keep."""
    with request.app.state.reader.reading() as newest:
        yield Asked(request, newest.for_fleets(caller.fleets), caller, {})


def _posed(request: Request, caller: Reading) -> Iterator[Asked]:
    yield from posted(request, caller)


def _operated(request: Request, caller: Operating) -> Iterator[Asked]:
    yield from posted(request, caller)


Posed = Annotated[Asked, Depends(_posed)]
Operated = Annotated[Asked, Depends(_operated)]


def fleet_of(publication: Seen, battery_id: str, fleet_id: str | None) -> str:
    """The fleet of a battery.

    Raises:
        HTTPException: 404 if there is no such battery, 409 if there are several and no fleet was said.
    """
    found = publication.ask(
        "SELECT fleet_id FROM batteries WHERE battery_id = $battery_id ORDER BY fleet_id", {"battery_id": battery_id}
    )["fleet_id"]
    fleets = found if fleet_id is None else found.filter(found == fleet_id)
    if len(fleets) == 1:
        return str(fleets[0])
    if fleets.is_empty():
        where = "" if fleet_id is None else f" in fleet {fleet_id!r}"
        raise HTTPException(404, f"there is no battery {battery_id!r}{where}")
    raise HTTPException(409, f"battery {battery_id!r} is in several fleets: say which with fleet_id")


def one(rows: pl.DataFrame, missing: str) -> dict[str, object]:
    """The only row.

    Raises:
        HTTPException: 404 if there is none.
    """
    if rows.is_empty():
        raise HTTPException(404, missing)
    return rows.row(0, named=True)
