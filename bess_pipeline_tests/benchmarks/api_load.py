"""What the API bears: many connections that read this and that while the warehouse is replaced again and again.

    python -m bess_pipeline_tests.benchmarks.api_load HOME [--seconds 60] [--connections 64] [--publish-every 5]

The same clients ask two servers, one after the other: one that answers a constant, with the same framework and server,
and the API on a copy of the home's warehouse, which is copied and renamed over itself as a publication does. Clients,
the server and whoever publishes share the machine. An answer that is not 200 is an error, and so is a failed request.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import multiprocessing
import os
import platform
import random
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import httpx2
import numpy as np
import uvicorn
from fastapi import FastAPI
from rich.console import Console
from rich.table import Table as Grid

from bess_pipeline.api.app import create_app
from bess_pipeline.config import Settings
from bess_pipeline.lake.warehouse import Warehouse

_CONSTANT = "/constant"


@dataclass
class Asked:
    """What came of one round: seconds that each request took, and what went wrong."""

    seconds: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    lasted: float = 0.0


def main() -> None:
    """Ask both servers and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("home", type=Path)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--publish-every", type=float, default=5)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["BESS_HOME"] = folder
        settings = Settings()
        shutil.copytree(given.home / "warehouse", settings.warehouse.parent)
        addresses = mixed(Warehouse(settings.warehouse))
        size = sum(file.stat().st_size for file in settings.warehouse.parent.rglob("*") if file.is_file())
        rounds = {
            "a constant": asked("bare", [_CONSTANT], given),
            "the API": asked("api", addresses, given),
            "the API, published meanwhile": asked("api", addresses, given, publishing=settings.warehouse),
        }
    told(rounds, f"{len(addresses)} addresses, warehouse of {size / 1e6:.0f} MB, {given.connections} connections")


def mixed(warehouse: Warehouse) -> list[str]:
    """Addresses that an operator's screen asks for: of every fleet, and of some batteries each."""
    batteries = warehouse.query("SELECT fleet_id, battery_id FROM batteries ORDER BY ALL").rows()
    chosen = random.Random(1).sample(batteries, min(len(batteries), 12))
    found = ["/api/v1/fleets", "/api/v1/batteries", "/api/v1/events?limit=50", "/api/v1/events?open=true"]
    for fleet_id, battery_id in chosen:
        which, of = f"fleet_id={quote(fleet_id)}", f"/api/v1/batteries/{quote(battery_id, safe='')}"
        last = warehouse.query(f"SELECT max(date) FROM battery_daily WHERE fleet_id = '{fleet_id}'").item()  # noqa: S608
        found += [
            f"/api/v1/metrics/{quote(battery_id, safe='')}?{which}",
            f"{of}/health?{which}&limit=400",
            f"{of}/daily?{which}&limit=100",
            f"{of}/telemetry?{which}&from={last}&limit=288",
            f"{of}/forecast?{which}&limit=100",
            f"/api/v1/fleets/{quote(fleet_id)}/daily?limit=100",
        ]
    return found


def asked(which: str, addresses: list[str], given: argparse.Namespace, publishing: Path | None = None) -> Asked:
    """Ask a server for a while."""
    with served(which) as port:
        asyncio.run(_ask(port, addresses, 2, given.connections))  # what a server does once
        with published(publishing, given.publish_every):
            return asyncio.run(_ask(port, addresses, given.seconds, given.connections))


async def _ask(port: int, addresses: list[str], seconds: float, connections: int) -> Asked:
    found, end = Asked(), time.monotonic() + seconds
    limits = httpx2.Limits(max_connections=connections, max_keepalive_connections=connections)

    async def client(number: int, session: httpx2.AsyncClient) -> None:
        chance = random.Random(number)
        while time.monotonic() < end:
            address, began = chance.choice(addresses), time.perf_counter()
            try:
                answer = await session.get(address)
            except httpx2.HTTPError as error:
                found.errors.append(f"{address}: {error!r}")
                continue
            found.seconds.append(time.perf_counter() - began)
            if answer.status_code != 200:
                found.errors.append(f"{address}: {answer.status_code}")

    began = time.monotonic()
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", limits=limits, timeout=60) as session:
        await asyncio.gather(*(client(number, session) for number in range(connections)))
    found.lasted = time.monotonic() - began
    return found


@contextlib.contextmanager
def served(which: str) -> Iterator[int]:
    """A server in a process of its own, on a free port."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
    server = multiprocessing.get_context("spawn").Process(target=_serve, args=(which, port))
    server.start()
    try:
        for _ in itertools.count():
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                break
            time.sleep(0.05)
        yield port
    finally:
        server.terminate()
        server.join()


def _serve(which: str, port: int) -> None:
    app = FastAPI() if which == "bare" else create_app(Settings())
    if which == "bare":

        @app.get(_CONSTANT)
        async def constant() -> dict[str, str]:
            return {"status": "ok"}

    uvicorn.run(app, host="127.0.0.1", port=port, log_config=None, server_header=False)


@contextlib.contextmanager
def published(path: Path | None, every: float) -> Iterator[None]:
    """Replace a file by a copy of itself, as a publication does, in a process of its own."""
    if path is None:
        yield
        return
    publisher = multiprocessing.get_context("spawn").Process(target=_publish, args=(path, every))
    publisher.start()
    try:
        yield
    finally:
        publisher.terminate()
        publisher.join()


def _publish(path: Path, every: float) -> None:
    while True:
        time.sleep(every)
        built = path.with_name("built")
        shutil.copy(path, built)
        built.replace(path)


def told(rounds: dict[str, Asked], what: str) -> None:
    """Print a row for each round."""
    grid = Grid("asked", "requests", "a second", "p50 [ms]", "p99 [ms]", "most [ms]", "p99 over", "errors", title=what)
    first = np.quantile(next(iter(rounds.values())).seconds, 0.99)
    for name, found in rounds.items():
        middle, high, most = 1000 * np.quantile(found.seconds, [0.5, 0.99, 1.0])
        numbers = (f"{middle:.1f}", f"{high:.1f}", f"{most:.0f}", f"{high / first / 1000:.1f}", str(len(found.errors)))
        grid.add_row(name, f"{len(found.seconds):,}", f"{len(found.seconds) / found.lasted:,.0f}", *numbers)
    console = Console(width=120)
    console.print(grid)
    console.print(f"{platform.python_version()}, {os.cpu_count()} cores")
    for line in dict.fromkeys(error for found in rounds.values() for error in found.errors[:3]):
        console.print(line, style="red")


if __name__ == "__main__":
    main()
