"""Faults under the daemon: what starts runs, works on them or shows them is killed, held up or misled."""

from __future__ import annotations

import sqlite3
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from bess_pipeline_tests.faults.homes import Bench, NotRecoveredError, Place
from bess_pipeline_tests.faults.scenarios import CHANCE, NOTHING, Told, said, scenario
from bess_pipeline_tests.faults.services import running


def _with_daemon(bench: Bench, place: Place, befall: Callable[[object], str], operator: str) -> Told:
    with running(place) as services:
        while not services.answers():
            time.sleep(1)
        place.deliver(bench)
        happened = befall(services)
        seconds = place.settle(within=600)
    return Told(happened, operator, seconds)


SUPERVISED = "nothing, if a supervisor starts it again"


@scenario("daemon: worker of a run killed, three times")
def killed_worker(bench: Bench, place: Place) -> Told:
    def befall(services):
        for _ in range(3):
            pid = services.worker(within=400)
            time.sleep(CHANCE.uniform(0, 8))
            if Path(f"/proc/{pid}").exists():
                subprocess.run(["kill", "-9", str(pid)], check=False)
        return "the runs are marked as failed, their work is done again"

    return _with_daemon(bench, place, befall, NOTHING)


def _service_killed(bench: Bench, place: Place, name: str) -> Told:
    def befall(services):
        services.worker(within=400)
        for _ in range(2):
            time.sleep(CHANCE.uniform(0, 8))
            services.kill(name)
            time.sleep(3)
            services.start(name)
        return "started again 3 s later"

    return _with_daemon(bench, place, befall, SUPERVISED)


@scenario("daemon: the daemon killed, twice")
def killed_daemon(bench: Bench, place: Place) -> Told:
    return _service_killed(bench, place, "daemon")


@scenario("daemon: the code server killed, twice")
def killed_code_server(bench: Bench, place: Place) -> Told:
    return _service_killed(bench, place, "code server")


@scenario("daemon: the web server killed, twice")
def killed_web_server(bench: Bench, place: Place) -> Told:
    return _service_killed(bench, place, "web server")


@scenario("daemon: everything killed at once, twice")
def killed_all(bench: Bench, place: Place) -> Told:
    def befall(services):
        for _ in range(2):
            services.worker(within=400)
            time.sleep(CHANCE.uniform(0, 8))
            services.stop()
            services.start()
        return "started again at once"

    return _with_daemon(bench, place, befall, "start it again")


@scenario("daemon: a file that is written for half a minute")
def slow_file(bench: Bench, place: Place) -> Told:
    def befall(services):
        victim = sorted((place.root / "landing" / "alpha").glob("*"))[1]
        good = victim.read_bytes()
        for part in range(1, 11):
            victim.write_bytes(good[: len(good) * part // 10])
            time.sleep(3)
        return "read once it is whole, or again"

    return _with_daemon(bench, place, befall, NOTHING)


@scenario("daemon: SQLite of Dagster locked for 20 s")
def locked_daemon(bench: Bench, place: Place) -> Told:
    def befall(services):
        services.worker(within=400)
        locks = []
        for file in (place.root / "dagster_home").rglob("*.db"):
            connection = sqlite3.connect(file, timeout=60, isolation_level=None)
            connection.execute("BEGIN IMMEDIATE")
            locks.append(connection)
        time.sleep(20)
        for connection in locks:
            connection.rollback()
            connection.close()
        return f"{len(locks)} files locked"

    return _with_daemon(bench, place, befall, NOTHING)


@scenario("daemon: `bess run` beside it")
def run_beside(bench: Bench, place: Place) -> Told:
    def befall(services):
        services.worker(within=400)
        code, told = place.bess("run")
        return f"exit {code}: {said(told)}"

    return _with_daemon(bench, place, befall, NOTHING)


@scenario("daemon: clock four years ahead for a minute")
def daemon_ahead(bench: Bench, place: Place) -> Told:
    with running(place, wrapped_by=("faketime", "-f", "+4y")) as services:
        while not services.answers():
            time.sleep(1)
        time.sleep(60)
    code, told = place.bess("run", "--fleet", "beta")
    if code:
        raise NotRecoveredError(told)
    return _with_daemon(bench, place, lambda _: "sensors noted the year to come", "restart; `bess run` once")
