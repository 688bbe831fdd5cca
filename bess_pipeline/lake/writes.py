"""What was changed by way of the API, and by whom: one JSON object a line, added to until a fleet is erased."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock
from pydantic_core import to_json

from bess_pipeline import logs
from bess_pipeline.lake.durable import replace_private

_ERASED = "a file of a fleet that was erased"
_PATIENCE_SECONDS = 20
_LOG = logs.logger(__name__)


class Writes:
    """The record of changes.

    Args:
        path: Its file; only the user of the server may read it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def note(self, who: str, did: str, what: str, **more: object) -> None:
        """Put down one change, on the disk before it returns.

        Args:
            who: Who made it.
            did: What was done.
            what: To what.
            more: Whatever else tells what happened.
        """
        said = {"at": datetime.now(UTC), "who": who, "did": did, "what": what, **more}
        with self._opened() as file:
            # A line that a crash, or a full disk, has cut off ends here.
            begun = os.fstat(file).st_size
            cut = begun > 0 and os.pread(file, 1, begun - 1) != b"\n"
            rest = (b"\n" if cut else b"") + to_json(said) + b"\n"
            try:
                while rest:
                    rest = rest[os.write(file, rest) :]
                os.fsync(file)
            except OSError:
                os.ftruncate(file, begun)
                raise
        _LOG.info("%s %s %s", who, did, what)

    def forget(self, fleet_id: str) -> None:
        """Have lines about files of a fleet tell no more than that somebody delivered something, and when."""
        if not self._path.exists():
            return
        with self._alone():
            kept = [_without(line, fleet_id) for line in self._path.read_bytes().splitlines() if line.strip()]
            replace_private(self._path, b"".join(to_json(line) + b"\n" for line in kept))

    def require_writable(self) -> None:
        """Refuse to go on where nothing could be put down.

        Raises:
            OSError: If the file cannot be written.
        """
        with self._opened():
            pass

    @contextmanager
    def _opened(self) -> Iterator[int]:
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with self._alone():
            file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
            try:
                yield file
            finally:
                os.close(file)

    def _alone(self) -> FileLock:
        return FileLock(self._path.with_suffix(".lock"), timeout=_PATIENCE_SECONDS)


def _without(line: bytes, fleet_id: str) -> dict[str, object]:
    """A line as it stays; one that cannot be read may name anybody."""
    try:
        told = json.loads(line)
        what = str(told["what"])
    except (ValueError, TypeError, KeyError):
        return {"what": "a line that could not be read"}
    if not what.startswith(f"{fleet_id}/"):
        return dict(told)
    return {name: told[name] for name in ("at", "who", "did") if name in told} | {"what": _ERASED}
