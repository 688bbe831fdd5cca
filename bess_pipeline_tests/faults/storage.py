"""Object storage that fails on demand: an S3 server in a process of its own, before which faults are put by name.

The server runs in another process because a client that waits for it may hold the interpreter's lock.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.error import URLError

BUCKET = "bess"
#: The address at which the storage is told how to fail.
CONTROL = "/faults-of-this-storage"


@dataclass(frozen=True)
class Fault:
    """What the storage does instead of answering.

    Attributes:
        kind: ``503``, ``500``, ``429``, ``403``; ``reset`` drops the connection; ``lost`` does what is asked and then
            drops it; ``slow`` waits and then does what is asked; ``hang`` waits and then drops it.
        methods: Requests that it befalls, by method.
        within: Requests that it befalls: those whose path holds this.
        times: How many requests it befalls; all if negative.
        seconds: How long it waits, where it waits.
    """

    kind: str
    methods: tuple[str, ...] = ("GET", "PUT", "POST", "HEAD", "DELETE")
    within: str = ""
    times: int = -1
    seconds: float = 0.0


class Storage:
    """An S3 server that works until it is told to fail.

    Args:
        port: Its port on loopback.
    """

    def __init__(self, port: int) -> None:
        self.endpoint = f"http://127.0.0.1:{port}"

    @property
    def environment(self) -> dict[str, str]:
        """What a client has to find in its environment."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ALLOW_HTTP": "true",
            "AWS_ACCESS_KEY_ID": "anybody",
            "AWS_SECRET_ACCESS_KEY": "anything",
            "AWS_REGION": "us-east-1",
        }

    def fail(self, fault: Fault | None) -> int:
        """Fail in this way from now on, or work again; how many requests the fault before befell."""
        return self._asked(json.dumps(fault and asdict(fault)).encode())

    @property
    def befallen(self) -> int:
        """How many requests the fault befell so far."""
        return self._asked(None)

    def _asked(self, body: bytes | None) -> int:
        with urllib.request.urlopen(self.endpoint + CONTROL, body, timeout=10) as answer:  # noqa: S310 - loopback
            return int(answer.read())

    @contextmanager
    def failing(self, fault: Fault) -> Iterator[None]:
        """Fail in this way for the length of a block."""
        self.fail(fault)
        try:
            yield
        finally:
            self.fail(None)

    def _is_up(self) -> bool:
        try:
            self.fail(None)
        except (URLError, ConnectionError):
            return False
        return True


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def started(told: Path | None = None) -> Iterator[Storage]:
    """Storage in a process of its own, with an empty bucket, for the length of a block.

    Args:
        told: File to which each request is told, a line each.
    """
    port = free_port()
    with (
        Path(os.devnull if told is None else told).open("wb") as lines,
        subprocess.Popen([sys.executable, "-m", f"{__package__}.storage_server", str(port)], stderr=lines) as process,
    ):
        storage = Storage(port)
        try:
            while not storage._is_up():
                if process.poll() is not None:
                    raise RuntimeError(f"the storage ended with {process.returncode}")
                time.sleep(0.05)
            asked = urllib.request.Request(f"{storage.endpoint}/{BUCKET}", method="PUT")  # noqa: S310 - loopback
            urllib.request.urlopen(asked, timeout=10).close()  # noqa: S310
            yield storage
        finally:
            process.kill()
