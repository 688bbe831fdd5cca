"""Who asks, what for, and how often: keys, scopes, fleets, rates, and pages of somebody else."""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, get_args
from urllib.parse import urlsplit

from fastapi import Depends, HTTPException, Request
from limits import RateLimitItem, RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from bess_pipeline.api.keys import Key, Keys, Scope
from bess_pipeline.config import Settings

SCOPES: tuple[Scope, ...] = get_args(Scope)

#: Where a browser keeps the key of who has signed in.
COOKIE = "bess_key"

#: Wrong keys that an address may show in a minute: who tries keys is slowed down, who mistyped one is not.
_WRONG_PER_MINUTE = RateLimitItemPerMinute(20, namespace="wrong")
_CHANGES_NOTHING = {"GET", "HEAD", "OPTIONS"}
_KEY_WANTED = {"WWW-Authenticate": 'Bearer realm="bess"'}


@dataclass(frozen=True)
class Caller:
    """Who asks.

    Attributes:
        name: As it stands in the log of what was done.
        scopes: What it may do.
        fleets: Fleets that it may see; all where nothing is said.
    """

    name: str
    scopes: frozenset[Scope]
    fleets: tuple[str, ...] | None

    def may_see(self, fleet_id: str) -> bool:
        """Whether a fleet is one of those that it may see."""
        return self.fleets is None or fleet_id in self.fleets


#: Who asks on the machine itself, where no key is needed.
_ANYONE = Caller("anyone on this machine", frozenset(SCOPES), None)


class Access:
    """Tells who may do what.

    Args:
        settings: Where the keys are, and how often each may ask.
        needs_key: Whether a request without a key is refused.
    """

    def __init__(self, settings: Settings, *, needs_key: bool) -> None:
        self.needs_key = needs_key
        self._keys = Keys(settings.api_keys)
        self._rates = MovingWindowRateLimiter(MemoryStorage())
        self._of_key = RateLimitItemPerMinute(settings.api_requests_per_minute, namespace="key")
        self._origins = frozenset(settings.api_origins)

    def caller(self, request: Request, scopes: frozenset[Scope]) -> Caller:
        """Who makes a request.

        Args:
            request: The request.
            scopes: What it is good for: one of them is enough.

        Raises:
            HTTPException: 401 without a good key, 403 if the key is for something else or the request comes from a
                page of somebody else, 429 if there were too many.
        """
        word, _, token = request.headers.get("authorization", "").partition(" ")
        if not word:
            # A browser sends along what it knows, whoever made it ask.
            self.require_own_page(request)
            if not self.needs_key:
                return _ANYONE  # a cookie here is of another server on this machine: cookies know no ports
            word, token = "bearer", request.cookies.get(COOKIE, "")
        key = self.named(request, token.strip() if word.lower() == "bearer" else "")
        self._count(self._of_key, key.key_id)
        if scopes.isdisjoint(key.scopes):
            wanted = " or ".join(sorted(scopes))
            raise HTTPException(403, f"this key is for {', '.join(key.scopes)}; this needs one for {wanted}")
        return Caller(f"{key.name} ({key.key_id})", frozenset(key.scopes), key.fleets)

    def named(self, request: Request, token: str) -> Key:
        """The key that a client shows.

        Raises:
            HTTPException: 401 if it is not good, 429 if too many were not that came from there.
        """
        key = self._keys.of(token, datetime.now(UTC))
        if key is None:
            if token:
                self._count(_WRONG_PER_MINUTE, request.client.host if request.client else "")
            wanted = "a key is needed that is good: Authorization: Bearer bess_…; `bess key add` makes one"
            raise HTTPException(401, wanted, _KEY_WANTED)
        return key

    def _count(self, rate: RateLimitItem, who: str) -> None:
        if not self._rates.hit(rate, who):
            again = math.ceil(max(self._rates.get_window_stats(rate, who).reset_time - time.time(), 1))
            told = f"more than {rate.amount} requests a minute"
            raise HTTPException(429, f"{told}; ask again in {again} s", {"Retry-After": str(again)})

    def require_own_page(self, request: Request) -> None:
        """Refuse what a page of somebody else has a browser on this machine send: no key tells the two apart."""
        origin = request.headers.get("origin")
        if request.method in _CHANGES_NOTHING or origin is None or origin in self._origins:
            return
        try:
            where = urlsplit(origin).netloc
        except ValueError:
            where = ""
        if where != request.headers.get("host"):
            raise HTTPException(403, "a page of another address may not change anything here")


def may(*scopes: Scope) -> Callable[[Request], Awaitable[Caller]]:
    """A dependency: who asks, which has to be somebody who may do one of these."""

    async def caller(request: Request) -> Caller:
        access: Access = request.app.state.access
        return access.caller(request, frozenset(scopes))

    return caller


Reading = Annotated[Caller, Depends(may("read"))]
Delivering = Annotated[Caller, Depends(may("ingest"))]
Following = Annotated[Caller, Depends(may("read", "ingest"))]
Operating = Annotated[Caller, Depends(may("operate"))]
