"""What was changed by way of the API, and by whom: one JSON object a line, which is only ever added to."""

from __future__ import annotations

import os
import threading
from datetime import UTC, datetime
from pathlib import Path

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
        self._lock = threading.Lock()

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
        with self._lock:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            try:
                os.write(descriptor, line)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        _LOG.info("%s %s %s", who, did, what)
