"""Headers by which a browser is told to be careful with what it gets."""

from __future__ import annotations

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_ALWAYS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # With "no-referrer" a browser would not say of a form that it is our own.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_POLICY = "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; frame-ancestors 'none'"
#: The library that draws charts adds rules of style.
_POLICY_OF_PAGES = f"{_POLICY}; style-src 'self' 'unsafe-inline'"
#: The page of the documentation begins with a script of its own.
_POLICY_OF_DOCS = f"{_POLICY}; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'"


class SecurityHeaders:
    """Puts them on every answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def careful(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in careful_headers(scope["path"]).items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, careful)


def careful_headers(path: str) -> dict[str, str]:
    """The headers of an answer at an address."""
    return {**_ALWAYS, "Content-Security-Policy": _policy(path)}


def _policy(path: str) -> str:
    if path.startswith("/docs"):
        return _POLICY_OF_DOCS
    return _POLICY if path.startswith("/api/") else _POLICY_OF_PAGES
