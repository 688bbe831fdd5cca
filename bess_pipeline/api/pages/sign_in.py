"""Signing in with a key, where the pages need one."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Form, HTTPException, Query, Request, Response
from fastapi.responses import RedirectResponse

from bess_pipeline.api.access import COOKIE
from bess_pipeline.api.pages.site import page

router = APIRouter(include_in_schema=False)

_DAY_SECONDS = 86_400


def _own(address: str) -> str:
    """An address on this server; anything else is the first page."""
    is_own = address.startswith("/") and not address.startswith(("//", "/\\"))
    return address if is_own and address.isprintable() else "/"


@router.get("/sign-in")
def asked_for_key(request: Request, next: Annotated[str, Query(max_length=2000)] = "/") -> Response:  # noqa: A002
    """Ask for a key."""
    return page(request, "sign_in", next=_own(next), refusal=None)


@router.post("/sign-in")
def signed_in(
    request: Request,
    key: Annotated[str, Form(max_length=200)],
    next: Annotated[str, Form(max_length=2000)] = "/",  # noqa: A002
) -> Response:
    """Keep a key that is good in the browser, and show what was asked for."""
    request.app.state.access.require_own_page(request)
    try:
        request.app.state.access.named(request, key.strip())
    except HTTPException as refusal:
        return page(request, "sign_in", refusal.status_code, next=_own(next), refusal=str(refusal.detail))
    answer = RedirectResponse(_own(next), HTTPStatus.SEE_OTHER)
    answer.set_cookie(
        COOKIE, key.strip(), _DAY_SECONDS, httponly=True, samesite="strict", secure=request.url.scheme == "https"
    )
    return answer


@router.post("/sign-out")
def signed_out(request: Request) -> Response:
    """Have the browser forget the key."""
    request.app.state.access.require_own_page(request)
    answer = RedirectResponse("/sign-in", HTTPStatus.SEE_OTHER)
    answer.delete_cookie(COOKIE, httponly=True, samesite="strict")
    return answer
