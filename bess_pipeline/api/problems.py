"""What goes wrong, as problem details.

References:
    RFC 9457, "Problem Details for HTTP APIs".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from bess_pipeline.api.headers import careful_headers
from bess_pipeline.api.keys import KeysError
from bess_pipeline.lake.reading import UnpublishedError

_SOON_SECONDS = 30
_MISTAKES_TOLD, _LONGEST_PLACE = 20, 100


class Problem(BaseModel):
    """Why a request could not be answered (RFC 9457)."""

    type: str = Field(default="about:blank", description="Kind of the problem; about:blank says that its title is all.")
    title: str = Field(description="The status, in words.")
    status: int = Field(description="The status of the answer.")
    detail: str = Field(description="What was wrong with this request, and what to do.")
    errors: list[dict[str, str]] = Field(default_factory=list, description="Each mistake, with where it is.")


class NotModified(Exception):  # noqa: N818 - it is no error: the client has the answer already
    """The client has what it asks for."""

    def __init__(self, headers: dict[str, str]) -> None:
        self.headers = headers


def problem(
    status: int, detail: str, headers: Mapping[str, str] | None = None, errors: Sequence[dict[str, str]] = ()
) -> JSONResponse:
    """The answer to a request that could not be answered."""
    told = Problem(title=HTTPStatus(status).phrase, status=status, detail=detail, errors=[*errors])
    content = told.model_dump(exclude_defaults=True) | {"type": told.type}
    return JSONResponse(content, status, headers, "application/problem+json")


def install(app: FastAPI, told: Callable[..., Response]) -> None:
    """Have an application say what went wrong.

    Args:
        app: The application.
        told: The answer to a request, of what `problem` takes.
    """

    @app.exception_handler(HTTPException)
    def refused(request: Request, error: HTTPException) -> Response:
        return told(request, error.status_code, str(error.detail), error.headers)

    @app.exception_handler(RequestValidationError)
    def invalid(request: Request, error: RequestValidationError) -> Response:
        mistakes = error.errors()
        errors = [
            {"at": ".".join(map(str, mistake["loc"]))[:_LONGEST_PLACE], "message": mistake["msg"]}
            for mistake in mistakes[:_MISTAKES_TOLD]
        ]
        if len(mistakes) > _MISTAKES_TOLD:
            errors.append({"at": "…", "message": f"{len(mistakes) - _MISTAKES_TOLD} mistakes more"})
        return told(request, 422, "; ".join(f"{found['at']}: {found['message']}" for found in errors), errors=errors)

    @app.exception_handler(UnpublishedError)
    def unpublished(request: Request, nothing: UnpublishedError) -> Response:
        return told(request, 503, str(nothing), {"Retry-After": str(_SOON_SECONDS)})

    @app.exception_handler(KeysError)
    def locked(request: Request, _: KeysError) -> Response:
        return told(request, 503, "the keys of this server cannot be read: who runs it has to restore them")

    @app.exception_handler(NotModified)
    def unchanged(_: Request, same: NotModified) -> Response:
        return Response(status_code=304, headers=same.headers)

    @app.exception_handler(Exception)
    def failed(request: Request, _: Exception) -> Response:  # the server logs it
        # What answers here stands around everything else, what adds headers included.
        headers = careful_headers(request.url.path)
        return told(request, 500, "the server failed on this request; its log tells why", headers)
