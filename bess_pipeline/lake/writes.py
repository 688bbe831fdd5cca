"""What was changed by way of the API, and by whom: one JSON object a line, added to until a fleet is erased."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock
from pydantic_core import to_json

from bess_pipeline import logs

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
        line = to_json(said) + b"\n"
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with self._alone():
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            try:
                os.write(descriptor, line)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        _LOG.info("%s %s %s", who, did, what)

    def forget(self, fleet_id: str) -> None:
        """Have lines about files of a fleet tell no more than that somebody delivered something, and when."""
        if not self._path.exists():
            return
        with self._alone():
            kept = [_without(json.loads(line), fleet_id) for line in self._path.read_bytes().splitlines()]
            fresh = self._path.with_suffix(".new")
            with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                file.writelines(to_json(line) + b"\n" for line in kept)
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(self._path)

    def _alone(self) -> FileLock:
        return FileLock(self._path.with_suffix(".lock"))


def _without(line: dict[str, object], fleet_id: str) -> dict[str, object]:
    if not str(line["what"]).startswith(f"{fleet_id}/"):
        return line
    return {name: line[name] for name in ("at", "who", "did")} | {"what": "a file of a fleet that was erased"}
