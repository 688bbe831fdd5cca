"""The pipeline with its lake on Azure Blob Storage: `python -m bess_pipeline_tests.on_azure FOLDER --azurite PROGRAM`.

The store is Azurite, Microsoft's emulator (`npm install azurite`; the program is `node_modules/.bin/azurite-blob`), on
loopback. Two fleets are made in a home whose lake is there, first of some of their files and then of all; then runs are
killed, two run at once, two write the same slice, and the store goes away for a while. All tables have to be those of a
home with its lake in a folder.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import hmac
import shutil
import subprocess
import sys
import time
import traceback
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from urllib.error import URLError

from bess_pipeline_tests.faults.homes import Bench, NotRecoveredError, Place, ended, named_by
from bess_pipeline_tests.faults.scenarios import ended_runs, killed_runs, two_runs, two_writers
from bess_pipeline_tests.faults.storage import free_port

#: The account that Azurite has, and its key, which everybody knows.
_ACCOUNT = "devstoreaccount1"
_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
_API = "2021-08-06"
_AWAY_SECONDS = 20


class Azurite:
    """An Azure Blob Storage on loopback that can be stopped, and goes on with what it held.

    Args:
        program: `azurite-blob`.
        folder: Where it keeps blobs.
    """

    def __init__(self, program: Path, folder: Path) -> None:
        self._program, self._folder, self._port = program, folder, free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def environment(self) -> dict[str, str]:
        """What a client has to find in its environment."""
        return {
            "AZURE_STORAGE_ACCOUNT_NAME": _ACCOUNT,
            "AZURE_STORAGE_ACCOUNT_KEY": _KEY,
            "AZURE_STORAGE_USE_EMULATOR": "true",
            "AZURE_ALLOW_HTTP": "true",
            "AZURITE_BLOB_STORAGE_URL": f"http://127.0.0.1:{self._port}",
        }

    def start(self) -> None:
        """Start it, and wait until it answers."""
        address = ["--blobHost", "127.0.0.1", "--blobPort", str(self._port), "--location", str(self._folder)]
        quiet = ["--silent", "--disableTelemetry", "--skipApiVersionCheck"]
        self._process = subprocess.Popen([self._program, *address, *quiet], stdout=subprocess.DEVNULL)
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{self._port}/", timeout=5).close()
            except urllib.request.HTTPError:
                return
            except (URLError, ConnectionError):
                time.sleep(0.1)
            else:
                return

    def stop(self) -> None:
        """End it as it wants to be: killed, it would lose what it has acknowledged in the last seconds."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait()

    def make(self, container: str) -> None:
        """Make a container, by a request that is signed with the account's key."""
        now = datetime.now(UTC).strftime("%a, %d %b %Y %H:%M:%S GMT")
        resource = f"/{_ACCOUNT}/{_ACCOUNT}/{container}\nrestype:container"
        signed = "PUT" + 12 * "\n" + f"x-ms-date:{now}\nx-ms-version:{_API}\n{resource}"
        digest = hmac.new(base64.b64decode(_KEY), signed.encode(), hashlib.sha256).digest()
        headers = {
            "x-ms-date": now, "x-ms-version": _API, "Content-Length": "0", "Content-Type": "",
            "Authorization": f"SharedKey {_ACCOUNT}:{base64.b64encode(digest).decode()}",
        }  # fmt: skip
        address = f"http://127.0.0.1:{self._port}/{_ACCOUNT}/{container}?restype=container"
        asked = urllib.request.Request(address, data=b"", method="PUT", headers=headers)
        urllib.request.urlopen(asked, timeout=10).close()  # noqa: S310


@contextmanager
def azurite(program: Path, folder: Path) -> Iterator[Azurite]:
    """A store for the length of a block."""
    store = Azurite(program, folder)
    store.start()
    try:
        yield store
    finally:
        store.stop()


def home(bench: Bench, store: Azurite, name: str) -> Place:
    """A home that has run on what came first, with its lake in a container of its own."""
    store.make(name)
    place = Place(bench.root / name, {**store.environment, "BESS_LAKE_URI": f"az://{name}/lake"})
    for part in ("fleets", "landing"):
        shutil.copytree(bench.root / "before" / part, place.root / part)
    code, told = place.bess("run")
    if code:
        raise NotRecoveredError(f"`bess run` does not work on this store: {told}")
    return place


def _all_delivered(bench: Bench, place: Place, _: Azurite) -> str:
    place.deliver(bench)
    code, told = place.bess("run")
    return f"exit {code} {told if code else ''}"


def _away(bench: Bench, place: Place, store: Azurite) -> str:
    place.deliver(bench)
    working = place.begin("run")
    time.sleep(0.5 * bench.seconds)
    store.stop()
    time.sleep(_AWAY_SECONDS)
    store.start()
    code, told = ended(working)
    return f"away for {_AWAY_SECONDS} s in the middle of a run, which ended with {code} {told if code else ''}"


_Faulty = Callable[[Bench, Place, Azurite], str]
_WAYS: dict[str, _Faulty] = {
    "late files": _all_delivered,
    "killed five times": lambda bench, place, _: killed_runs(bench, place).happened,
    "told to end twice": lambda bench, place, _: ended_runs(bench, place).happened,
    "two runs at once": lambda bench, place, _: two_runs(bench, place).happened,
    "two writers of one slice": lambda bench, place, _: two_writers(bench, place).happened,
    "the store goes away": _away,
}


def main() -> None:
    """Try each way, and tell what became of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--azurite", type=Path, required=True, help="the program azurite-blob")
    parser.add_argument("--only", default="", help="ways in whose names this occurs")
    given = parser.parse_args()
    shutil.rmtree(given.folder, ignore_errors=True)
    bench, failed = Bench.at(given.folder), 0
    sys.stdout.write(
        f"undisturbed, in a folder: {bench.seconds:.0f} s\n| way | what happened | tables equal |\n|---|---|---|\n"
    )
    with azurite(given.azurite, given.folder / "blobs") as store:
        for number, (name, way) in enumerate(_WAYS.items()):
            if given.only not in name:
                continue
            try:
                place = home(bench, store, f"way{number}")
                with named_by(place.environment):
                    happened = way(bench, place, store)
                    place.settle(within=60)
                    bench.require_equal(place)
                sys.stdout.write(f"| {name} | {' '.join(happened.split())} | yes |\n")
            except Exception as error:  # noqa: BLE001 - it is the answer
                failed += 1
                traceback.print_exc()
                sys.stdout.write(f"| {name} | {' '.join(str(error).split())[:200]} | **no** |\n")
            sys.stdout.flush()
    sys.exit(min(failed, 1))


if __name__ == "__main__":
    main()
