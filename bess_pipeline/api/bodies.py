"""Bodies of requests: how much of one is taken, and how long it is waited for."""

from __future__ import annotations

import anyio
from fastapi import HTTPException
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bess_pipeline.api.problems import problem

#: A question is short; only telemetry that is delivered may be long [B].
_LONGEST_QUESTION = 1 << 23
#: A multipart body is longer than the file in it [B].
_AROUND_A_FILE = 1 << 16


class Bodies:
    """Refuses bodies that are too long before they are taken, whatever they claim, and clients that stall.

    Args:
        app: What answers.
        uploads: Address to which files are delivered.
        largest_upload: Most bytes of such a file.
        patience_seconds: How long the next part of a body is waited for.
    """

    def __init__(self, app: ASGIApp, *, uploads: str, largest_upload: int, patience_seconds: float = 30) -> None:
        self._app = app
        self._uploads = uploads
        self._largest_upload = largest_upload
        self._patience = patience_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        is_upload = scope["path"] == self._uploads
        most = self._largest_upload + _AROUND_A_FILE if is_upload else _LONGEST_QUESTION
        claimed = Headers(scope=scope).get("content-length", "")
        if claimed.isdigit() and int(claimed) > most:
            await problem(413, _too_long(most), {"Connection": "close"})(scope, receive, send)
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
