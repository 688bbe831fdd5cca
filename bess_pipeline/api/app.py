"""The application: `bess serve` runs it."""

from __future__ import annotations

import importlib.metadata
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import APIRouter, FastAPI
from fastapi_offline import FastAPIOffline
from pydantic import BaseModel, Field
from starlette.middleware.trustedhost import TrustedHostMiddleware

from bess_pipeline.api import problems
from bess_pipeline.api.headers import SecurityHeaders
from bess_pipeline.api.openapi import describe
from bess_pipeline.api.routes import batteries, events, fleets, metrics
from bess_pipeline.config import Settings
from bess_pipeline.lake.reading import Reader, UnpublishedError

_ABOUT = """
Numbers of battery storage, as the newest publication of the warehouse has them.

Lists come in pages (`limit`, `cursor`, `next_cursor`), as JSON, CSV or Arrow (`Accept`). Each answer has an `ETag`:
sent back as `If-None-Match` it costs nothing until something else is published. Times are UTC. What cannot be answered
is told as problem details (RFC 9457).
"""

#: Names under which a browser reaches this machine itself: another name would be somebody else's page that means it.
_LOOPBACK = ["127.0.0.1", "localhost"]


class Health(BaseModel):
    """Whether the server works."""

    status: str = Field(description="ok, or unpublished before the first publication")
    publication: str | None = Field(description="The same for publications of the same rows")
    version: str = Field(description="Version of the pipeline")


def create_app(settings: Settings, hosts: list[str] | None = None) -> FastAPI:
    """The API of a deployment.

    Args:
        settings: Where the deployment is.
        hosts: Names under which it may be asked; those of this machine for itself where nothing is said.
    """
    reader = Reader(settings.warehouse)

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
    app.add_middleware(SecurityHeaders)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=hosts or _LOOPBACK)
    problems.install(app)
    describe(app)

    @app.get("/health", summary="Whether the server works", operation_id="health", tags=["health"])
    def health() -> Health:
        try:
            with reader.reading() as publication:
                return Health(status="ok", publication=publication.tag, version=version)
        except UnpublishedError:
            return Health(status="unpublished", publication=None, version=version)

    api = APIRouter(prefix="/api/v1")
    for routes in (metrics, fleets, batteries, events):
        api.include_router(routes.router)
    app.include_router(api)
    return app
