"""Bodies of requests: how much of one is taken, and how long it is waited for."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import anyio
from fastapi import HTTPException
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bess_pipeline.api.problems import problem

#: A multipart body is longer than the file in it [B].
AROUND_A_FILE = 1 << 16
_CHARSETS = re.compile(r'charset\s*=(?!\s*"?utf-?8"?\s*(;|$))', re.IGNORECASE)


@dataclass(frozen=True)
class Body:
    """What bodies of some addresses may be.

    Attributes:
        addresses: Pattern of the addresses.
        most: Most bytes.
        kind: The kind that it has to be; any where nothing is said.
    """

    addresses: str
    most: int
    kind: str | None = None


class Bodies:
    """Refuses bodies that are too long before they are taken, whatever they claim, and clients that stall.

    What reads a body reads all of it: how long one may be, and what it may be, is what it may cost.

    Args:
        app: What answers.
        bodies: What bodies may be; the first whose addresses fit counts, and one has to.
        patience_seconds: How long the next part of a body is waited for.
    """

    def __init__(self, app: ASGIApp, *, bodies: Sequence[Body], patience_seconds: float = 30) -> None:
        self._app = app
        self._bodies = [(re.compile(body.addresses), body) for body in bodies]
        self._patience = patience_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body = next(body for addresses, body in self._bodies if addresses.fullmatch(scope["path"]))
        headers, most = Headers(scope=scope), body.most
        kind, claimed = headers.get("content-type", ""), headers.get("content-length", "")
        if claimed.isdigit() and int(claimed) > most:
            await problem(413, _too_long(most), {"Connection": "close"})(scope, receive, send)
            return
        is_other = body.kind is not None and kind and kind.partition(";")[0].strip().lower() != body.kind
        if scope["method"] == "POST" and (is_other or _CHARSETS.search(kind)):
            wanted = f"a body of {body.kind or 'application/json'}, in UTF-8, is understood"
            await problem(415, wanted, {"Connection": "close"})(scope, receive, send)
            return
        taken, is_whole = 0, False

        async def measured() -> Message:
            nonlocal taken, is_whole
            if is_whole:
                return await receive()
            try:
                with anyio.fail_after(self._patience):
                    message = await receive()
            except TimeoutError:
                wait = f"no more of the body came within {self._patience:g} s"
                raise HTTPException(408, wait, {"Connection": "close"}) from None
            taken += len(message.get("body", b""))
            is_whole = not message.get("more_body", False)
            if taken > most:
                raise HTTPException(413, _too_long(most), {"Connection": "close"})
            return message

        await self._app(scope, measured, send)


def _too_long(most: int) -> str:
    return f"no more than {most:,} bytes are taken at once: deliver it in parts"
