"""Keys of the API: who may ask, for what, and of which fleets; what is kept of a key cannot be used as one."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from filelock import FileLock
from pydantic import AwareDatetime, BaseModel, ConfigDict, TypeAdapter, ValidationError

from bess_pipeline.lake.durable import replace_private

#: What a key is for: to read what is published, to deliver telemetry, to say what events were.
Scope = Literal["read", "ingest", "operate"]

_TOKEN = re.compile(r"bess_(?P<key_id>[0-9a-f]{8})_(?P<secret>[A-Za-z0-9_-]{43})")


class KeysError(ValueError):
    """What was asked of the keys makes no sense, or their file cannot be read."""


class Key(BaseModel):
    """A key as it is kept.

    Attributes:
        key_id: Its public part; stands in the log of what was done.
        name: What people call it.
        digest: SHA-256 of its secret part. That part is 256 random bits, which nobody finds by trying: a slow hash,
            as passwords need it, would add nothing but time to each request.
        scopes: What it is for.
        fleets: Fleets that it may see; all, those to come included, where nothing is said.
        made_at: When it was made.
        expires_at: From when on it is no good.
        revoked_at: When it was taken back.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    key_id: str
    name: str
    digest: str
    scopes: tuple[Scope, ...]
    fleets: tuple[str, ...] | None = None
    made_at: AwareDatetime
    expires_at: AwareDatetime | None = None
    revoked_at: AwareDatetime | None = None

    def is_good(self, now: datetime) -> bool:
        """Whether it has neither expired nor been taken back."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


_KEYS = TypeAdapter(tuple[Key, ...])


class Keys:
    """The keys of a deployment, in one file that only its user may read; what others change in it counts at once.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read: tuple[tuple[int, int, int], tuple[Key, ...]] = (0, 0, 0), ()

    def every(self) -> tuple[Key, ...]:
        """All keys, in the order in which they were made.

        Raises:
            KeysError: If the file cannot be read.
        """
        try:
            stat = self._path.stat()
        except FileNotFoundError:
            return ()
        version = stat.st_ino, stat.st_mtime_ns, stat.st_size
        if self._read[0] != version:
            try:
                self._read = version, _KEYS.validate_json(self._path.read_bytes())
            except ValidationError:
                raise KeysError(f"{self._path} is damaged: restore it, or remove it and make new keys") from None
        return self._read[1]

    def of(self, token: str, now: datetime) -> Key | None:
        """The key that a client shows, if it is good."""
        shown = _TOKEN.fullmatch(token)
        if shown is None:
            return None
        for key in self.every():
            if key.key_id == shown["key_id"] and hmac.compare_digest(key.digest, _digest(shown["secret"])):
                return key if key.is_good(now) else None
        return None

    def add(
        self,
        name: str,
        scopes: Sequence[Scope],
        fleets: Sequence[str] | None = None,
        expires_at: datetime | None = None,
    ) -> str:
        """Make a key.

        Args:
            name: What people call it; no other that is good has it.
            scopes: What it is for.
            fleets: Fleets that it may see; all if nothing is said.
            expires_at: From when on it is no good.

        Returns:
            What the client has to show. It is kept nowhere.

        Raises:
            KeysError: If the name is taken, or the key would be for nothing.
        """
        if not name.strip() or not scopes or (fleets is not None and not fleets):
            raise KeysError("a key needs a name, and something that it is for")
        now = datetime.now(UTC)
        key_id, secret = secrets.token_hex(4), secrets.token_urlsafe(32)
        made = Key(
            key_id=key_id,
            name=name,
            digest=_digest(secret),
            scopes=tuple(dict.fromkeys(scopes)),
            fleets=None if fleets is None else tuple(dict.fromkeys(fleets)),
            made_at=now,
            expires_at=expires_at,
        )
        with self._alone():
            known = self.every()
            if any(key.name == name and key.is_good(now) for key in known):
                raise KeysError(f"there is a key named {name!r} already: revoke it first, or choose another name")
            replace_private(self._path, _KEYS.dump_json((*known, made), indent=1))
        return f"bess_{key_id}_{secret}"

    def revoke(self, which: str) -> Key:
        """Take a key back; it stays on record.

        Args:
            which: Its name, or its public part.

        Raises:
            KeysError: If there is no such key that is good.
        """
        now = datetime.now(UTC)
        with self._alone():
            known = self.every()
            for place, key in enumerate(known):
                if which in {key.name, key.key_id} and key.is_good(now):
                    revoked = key.model_copy(update={"revoked_at": now})
                    replace_private(
                        self._path, _KEYS.dump_json((*known[:place], revoked, *known[place + 1 :]), indent=1)
                    )
                    return revoked
        raise KeysError(f"there is no key {which!r} that is good: `bess key list` shows those that there are")

    def _alone(self) -> FileLock:
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        return FileLock(self._path.with_suffix(".lock"))


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
