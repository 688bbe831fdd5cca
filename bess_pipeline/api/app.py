"""The application: `bess serve` runs it."""

from __future__ import annotations

import importlib.metadata
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from ipaddress import ip_address

from anyio import CapacityLimiter
from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.responses import FileResponse
from fastapi_offline import FastAPIOffline
from pydantic import BaseModel, Field
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.staticfiles import StaticFiles

from bess_pipeline.api import problems
from bess_pipeline.api.access import Access
from bess_pipeline.api.bodies import AROUND_A_FILE, Bodies, Body
from bess_pipeline.api.headers import SecurityHeaders
from bess_pipeline.api.openapi import describe
from bess_pipeline.api.pages import about, battery, lifecycle, overview, quality, sign_in, site
from bess_pipeline.api.pages import events as events_pages
from bess_pipeline.api.routes import anomalies, batteries, events, fleets, metrics, process
from bess_pipeline.config import Settings
from bess_pipeline.lake.reading import Reader, UnpublishedError
from bess_pipeline.lake.store import Lake
from bess_pipeline.lake.writes import Writes

_ABOUT = """
Numbers of battery storage, as the newest publication of the warehouse has them.

Lists come in pages (`limit`, `cursor`, `next_cursor`), as JSON, CSV or Arrow (`Accept`). Each answer has an `ETag`:
sent back as `If-None-Match` it costs nothing until something else is published. Times are UTC. What cannot be answered
is told as problem details (RFC 9457).
"""

#: Names under which a browser reaches this machine itself: another name would be somebody else's page that means it.
#: Of an address of IPv6 all that is looked at stands before its first colon.
_LOOPBACK = ["127.0.0.1", "localhost", "["]

_API = "/api/v1"
#: Deliveries that are looked through at the same time: each may take a gigabyte.
_SURVEYS_AT_ONCE = 2

#: What bodies may be, beside files that are delivered: samples, what people say, forms of the pages, anything else.
_BODIES = (
    Body(f"{_API}/anomalies/detect", 1 << 24, "application/json"),
    Body(f"{_API}/.*", 1 << 16),
    Body(r"/sign-in|/sign-out|/events/.*", 1 << 14, "application/x-www-form-urlencoded"),
    Body(r"(?s).*", 1 << 14),
)


class Health(BaseModel):
    """Whether the server works."""

    status: str = Field(description="ok, or unpublished before the first publication")
    publication: str | None = Field(description="The same for publications of the same rows")
    version: str = Field(description="Version of the pipeline")


def create_app(settings: Settings) -> FastAPI:
    """The API of a deployment.

    Where it listens on this machine alone, no key is needed unless the settings say so, and it answers to no other
    name than this machine's for itself; elsewhere every request needs one.

    Args:
        settings: Where the deployment is, and who may ask.
    """
    reader = Reader(settings.warehouse)
    needs_key = settings.api_needs_key or not _is_loopback(settings.api_host)
    names = [*(settings.api_names or (["*"] if needs_key else [])), *_LOOPBACK]

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        try:
            yield
        finally:
            reader.close()

    version = importlib.metadata.version("bess-pipeline")
    app = FastAPIOffline(
        title="BESS Analytics Platform", description=_ABOUT, version=version, lifespan=lifespan, redoc_url=None
    )
    app.state.reader = reader
    app.state.settings = settings
    app.state.lake = Lake(settings.lake, patience=timedelta(seconds=settings.storage_patience_seconds))
    app.state.writes = Writes(settings.api_writes)
    app.state.surveys = CapacityLimiter(_SURVEYS_AT_ONCE)
    app.state.access = Access(settings, needs_key=needs_key)
    largest = settings.api_largest_upload_bytes + AROUND_A_FILE
    app.add_middleware(Bodies, bodies=[Body(f"{_API}/process", largest, "multipart/form-data"), *_BODIES])
    if settings.api_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.api_origins,
            allow_methods=["GET", "POST"],
            allow_headers=["Authorization", "Content-Type", "If-None-Match"],
            expose_headers=["ETag", "Link", "Location", "Retry-After"],
        )
    app.add_middleware(SecurityHeaders)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=names)
    problems.install(app, site.told)
    describe(app, needs_key=needs_key)

    @app.get("/health", summary="Whether the server works", operation_id="health", tags=["health"])
    def health() -> Health:
        try:
            with reader.reading() as publication:
                return Health(status="ok", publication=publication.tag, version=version)
        except UnpublishedError:
            return Health(status="unpublished", publication=None, version=version)

    api = APIRouter(prefix=_API)
    for routes in (metrics, fleets, batteries, events, process, anomalies):
        api.include_router(routes.router)
    app.include_router(api)
    _add_pages(app)
    return app


def _add_pages(app: FastAPI) -> None:
    for pages in (overview, lifecycle, battery, events_pages, quality, about, sign_in):
        app.include_router(pages.router)
    app.mount("/static", StaticFiles(directory=site.STATIC), name="static")

    @app.get("/plotly.js", include_in_schema=False)
    def plotly() -> FileResponse:
        return FileResponse(
            site.PLOTLY, media_type="text/javascript", headers={"Cache-Control": "public, max-age=86400"}
        )

    @app.exception_handler(site.SignInNeeded)
    def unknown(request: Request, _: site.SignInNeeded) -> Response:
        return site.to_sign_in(request) if site.is_page(request) else site.told(request, 401, "a key is needed")


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
