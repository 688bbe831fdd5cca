"""A daemon, a code server and a web server on one home, as processes that can be killed one by one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.error import URLError

from bess_pipeline.defs.instance import prepare
from bess_pipeline.defs.runs import MODULE
from bess_pipeline_tests.faults.homes import NotRecoveredError, Place, named_by
from bess_pipeline_tests.faults.storage import free_port

NAMES = ("code server", "daemon", "web server")


@dataclass
class Services:
    """The long-lived processes of a deployment; what was killed is started again by `start`, as a supervisor would."""

    place: Place
    wrapped_by: tuple[str, ...] = ()
    ports: dict[str, int] = field(default_factory=lambda: {"code server": free_port(), "web server": free_port()})
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, *names: str) -> None:
        """Start some of the processes, all if none is named."""
        for name in names or NAMES:
            log = (self.place.root / f"{name}.log").open("ab")
            self.processes[name] = subprocess.Popen(
                [*self.wrapped_by, *self._command(name)],
                env={**os.environ, **self.place.environment},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _command(self, name: str) -> list[str]:
        tools, workspace = Path(sys.executable).parent, self.place.root / "workspace.yaml"
        address = ["-h", "127.0.0.1", "-p"]
        if name == "code server":
            return [sys.executable, "-m", "dagster", "api", "grpc", *address, str(self.ports[name]), "-m", MODULE]
        if name == "daemon":
            return [str(tools / "dagster-daemon"), "run", "-w", str(workspace)]
        return [str(tools / "dagster-webserver"), *address, str(self.ports[name]), "-w", str(workspace)]

    def kill(self, name: str) -> None:
        """Kill one of the processes, and not what it started."""
        self.processes[name].kill()
        self.processes[name].wait()

    def stop(self) -> None:
        """Kill everything that works on the home."""
        for pid in self.of_home():
            _kill(pid)
        for process in self.processes.values():
            process.wait()

    def of_home(self) -> list[int]:
        """Every process that works on the home."""
        mark = f"BESS_HOME={self.place.root}".encode()
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                environment = (folder / "environ").read_bytes().split(b"\0")
            except OSError:  # it ended meanwhile
                continue
            if mark in environment and int(folder.name) != os.getpid():
                found.append(int(folder.name))
        return found

    def workers(self) -> list[int]:
        """The processes that work on runs."""
        return [pid for pid in self.of_home() if b"spawn_main" in _command_of(pid)]

    def worker(self, *, within: float) -> int:
        """A process that works on a run, as soon as there is one.

        Raises:
            NotRecoveredError: If there is none after ``within`` seconds.
        """
        begun = time.monotonic()
        while time.monotonic() - begun < within:
            if found := self.workers():
                return found[-1]
            time.sleep(0.1)
        raise NotRecoveredError(f"no run was started within {within:.0f} s")

    def answers(self) -> bool:
        """Whether the web server answers."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.ports['web server']}/server_info", timeout=5):
                return True
        except (URLError, ConnectionError, TimeoutError):
            return False


@contextmanager
def running(place: Place, *, wrapped_by: tuple[str, ...] = ()) -> Iterator[Services]:
    """The services of a home for the length of a block."""
    with named_by(place.environment) as home:
        prepare(home.settings)
    services = Services(place, wrapped_by)
    (place.root / "workspace.yaml").write_text(
        "load_from:\n"
        f"  - grpc_server: {{host: 127.0.0.1, port: {services.ports['code server']}, location_name: {MODULE}}}\n"
    )
    services.start()
    try:
        yield services
    finally:
        services.stop()


def _command_of(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:  # it ended meanwhile
        return b""


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:  # it ended meanwhile
        return
