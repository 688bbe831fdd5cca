"""The description of the API: what each operation may answer, and in which form."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel

from bess_pipeline.api.listing import ARROW, CSV
from bess_pipeline.api.problems import Problem

_PROBLEM = {
    "application/problem+json": {
        "schema": {"$ref": "#/components/schemas/Problem"},
        "example": {
            "type": "about:blank",
            "title": "Not Found",
            "status": 404,
            "detail": "there is no battery 'R99'",
        },
    }
}
#: What the operations answered on a simulated fleet; `python -m bess_pipeline_tests.api_examples` writes it.
EXAMPLES = Path(__file__).with_name("examples.json")

#: What operations answer when they cannot answer.
_REFUSALS = {
    400: "A body that is none.",
    401: "A key is needed, and none was shown that is good.",
    403: "The key is for something else, or a page of another address asks.",
    404: "No such thing, or not yours to see.",
    406: "No such form.",
    408: "The body did not come.",
    409: "It is not clear which is meant.",
    413: "Too much at once.",
    415: "No kind of body that is understood.",
    422: "A parameter is not what it has to be.",
    429: "Too many requests.",
    503: "Nothing has been published yet, or the server cannot do its work.",
    507: "There is no room for it.",
}


def refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Problems with which an operation may answer, and that the client has the answer already."""
    told: dict[int | str, dict[str, Any]] = {304: {"description": "The client has it: `If-None-Match` is the `ETag`."}}
    return told | refused(*statuses)


def refused(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Problems with which any operation may answer, and those of one."""
    every = sorted({401, 403, 429, *statuses})
    return {status: {"description": _REFUSALS[status], "content": _PROBLEM} for status in every}


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


@cache
def examples() -> dict[str, dict[str, Any]]:
    """Operation → an example: what stands in its path, its body if it takes one, and its answer."""
    told: dict[str, dict[str, Any]] = json.loads(EXAMPLES.read_text(encoding="utf-8"))
    return told


def _exemplify(operation: dict[str, Any]) -> None:
    example = examples().get(operation["operationId"])
    if example is None:  # a test says so
        return
    for parameter in operation.get("parameters", []):
        if parameter["in"] == "path":
            parameter["example"] = example["path"][parameter["name"]]
    if "body" in example:
        operation["requestBody"]["content"]["application/json"]["example"] = example["body"]
    for status, told in operation["responses"].items():
        if status in {"200", "201", "202"}:
            told["content"]["application/json"]["example"] = example["answer"]


def describe(app: FastAPI, *, needs_key: bool) -> None:
    """Have the description know examples, what a problem is, and that a key is needed where one is."""
    plain = app.openapi

    def described() -> dict[str, Any]:
        is_new = app.openapi_schema is None
        document = plain()
        if is_new:
            for operations in document["paths"].values():
                for operation in operations.values():
                    _exemplify(operation)
        parts = document.setdefault("components", {})
        parts.setdefault("schemas", {}).setdefault(Problem.__name__, Problem.model_json_schema())
        if needs_key:
            parts["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer", "description": "`bess key add`"}}
            for address, operations in document["paths"].items():
                for operation in operations.values() if address != "/health" else ():
                    operation["security"] = [{"key": []}]
        return document

    app.openapi = described  # type: ignore[method-assign]
