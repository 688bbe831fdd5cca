"""The description of the API: what each operation may answer, and in which form."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel

from bess_pipeline.api.listing import ARROW, CSV
from bess_pipeline.api.problems import Problem

_PROBLEM = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}

#: What operations answer when they cannot answer.
_REFUSALS = {
    404: "No such thing, or not yours to see.",
    406: "No such form.",
    409: "It is not clear which is meant.",
    422: "A parameter is not what it has to be.",
    503: "Nothing has been published yet.",
}


def refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Problems with which an operation may answer, and that the client has the answer already."""
    told: dict[int | str, dict[str, Any]] = {304: {"description": "The client has it: `If-None-Match` is the `ETag`."}}
    return told | {status: {"description": _REFUSALS[status], "content": _PROBLEM} for status in statuses}


def forms(page: type[BaseModel]) -> dict[int | str, dict[str, Any]]:
    """Answers of an operation that lists rows: JSON of a model, CSV or Arrow."""
    binary = {"schema": {"type": "string", "format": "binary"}}
    listed = {
        "model": page,
        "description": "A page of rows, in the form that `Accept` names.",
        "content": {CSV: {"schema": {"type": "string"}}, ARROW: binary},
        "headers": {"Link": {"description": "The next page, if there is one.", "schema": {"type": "string"}}},
    }
    return {200: listed, **refusals(404, 406, 409, 422, 503)}


def describe(app: FastAPI) -> None:
    """Have the description know what a problem is."""
    plain = app.openapi

    def described() -> dict[str, Any]:
        document = plain()
        schemas = document.setdefault("components", {}).setdefault("schemas", {})
        schemas.setdefault(Problem.__name__, Problem.model_json_schema())
        return document

    app.openapi = described  # type: ignore[method-assign]
