"""The faults, one by one: how each is made, and what has to be done after it."""

from __future__ import annotations

import random
import signal
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bess_pipeline.lake.slices import Slice
from bess_pipeline.lake.store import Lake
from bess_pipeline.lake.warehouse import Warehouse
from bess_pipeline.tables import catalog
from bess_pipeline_tests.faults.homes import Bench, NotRecoveredError, Place, ended
from bess_pipeline_tests.faults.lakes import away_lake
from bess_pipeline_tests.faults.storage import Fault


@dataclass(frozen=True)
class Told:
    """What became of a fault.

    Attributes:
        happened: What was seen.
        operator: What a person has to do.
        seconds: From the end of the fault until nothing was due any more.
    """

    happened: str
    operator: str
    seconds: float


Scenario = Callable[[Bench, Place], Told]
SCENARIOS: dict[str, Scenario] = {}
CHANCE = random.Random(4)
NOTHING = "nothing"
#: A day of the lake that is not damaged when one is: the first that came.
_BEFORE_DAMAGE = "2026-03-01"


def scenario(name: str) -> Callable[[Scenario], Scenario]:
    """Enter a fault in the list."""

    def enter(function: Scenario) -> Scenario:
        SCENARIOS[name] = function
        return function

    return enter


def said(told: str) -> str:
    """The last error of a command, fit for a cell of a table."""
    lines = told.splitlines()
    return lines[0].removeprefix("error").strip().replace("|", "/")[:260] if lines else "no error"


def _run_until_well(place: Place, attempts: int = 1) -> float:
    """`bess run` until it goes well; how long that took [s]."""
    begun = time.monotonic()
    for _ in range(attempts):
        code, told = place.bess("run")
        if code == 0:
            return time.monotonic() - begun
    raise NotRecoveredError(f"`bess run` does not go well: {told}")


def _stopped_at_random(bench: Bench, place: Place, how: signal.Signals, times: int) -> tuple[str, float]:
    place.deliver(bench)
    moments = []
    while len(moments) < times:
        process = place.begin("run")
        moment = CHANCE.uniform(0.25, 0.95) * bench.seconds
        try:
            process.wait(moment)
        except subprocess.TimeoutExpired:
            process.send_signal(how)
            moments.append(f"{moment:.0f}")
            process.communicate()
        else:
            break  # nothing is left to be stopped
    return f"stopped after {', '.join(moments)} s", _run_until_well(place)


@scenario("`bess run` killed (SIGKILL), five times in a row")
def killed_runs(bench: Bench, place: Place) -> Told:
    happened, seconds = _stopped_at_random(bench, place, signal.SIGKILL, 5)
    return Told(happened, "`bess run` again", seconds)


@scenario("`bess run` told to end (SIGTERM), twice")
def ended_runs(bench: Bench, place: Place) -> Told:
    happened, seconds = _stopped_at_random(bench, place, signal.SIGTERM, 2)
    return Told(happened, "`bess run` again", seconds)


@scenario("two `bess run` at once")
def two_runs(bench: Bench, place: Place) -> Told:
    place.deliver(bench)
    first = place.begin("run")
    time.sleep(0.4 * bench.seconds)
    _, told = place.bess("run")
    code, _ = ended(first)
    if code:
        raise NotRecoveredError("the first run failed")
    return Told(f"the second: {said(told)}", NOTHING, 0.0)


@scenario("two writers of one slice")
def two_writers(bench: Bench, place: Place) -> Told:
    place.deliver(bench)
    _run_until_well(place)
    lost: list[str] = []
    lakes = [Lake(place.lake) for _ in range(2)]
    rows = lakes[0].read(catalog.BATTERY_DAILY, Slice("alpha"))

    def write(lake: Lake) -> None:
        try:
            lake.replace(catalog.BATTERY_DAILY, rows, Slice("alpha"))
        except Exception as error:  # noqa: BLE001 - which it is, is told
            lost.append(type(error).__name__)

    for _ in range(10):
        writers = [threading.Thread(target=write, args=[lake]) for lake in lakes]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()
    return Told(
        f"of 20 writes {len(lost)} lost the race ({', '.join(set(lost))}), each whole", NOTHING, _run_until_well(place)
    )


@contextmanager
def _small_disk(folder: Path, spare: int) -> Iterator[None]:
    """A disk of its own under a folder, with so much room left [B]."""
    aside = folder.with_name(f"{folder.name}.aside")
    folder.rename(aside)
    folder.mkdir()
    pages = sum(-(-file.stat().st_size // 4096) for file in aside.rglob("*") if file.is_file())
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={4096 * pages + spare}", "tmpfs", folder], check=True)
    try:
        subprocess.run(["cp", "-a", f"{aside}/.", folder], check=True)
        yield
    finally:
        subprocess.run(["rm", "-rf", aside], check=True)
        aside.mkdir()
        subprocess.run(["cp", "-a", f"{folder}/.", aside], check=True)
        subprocess.run(["umount", "-l", folder], check=True)
        folder.rmdir()
        aside.rename(folder)


def _full(bench: Bench, place: Place, folder: str, spare: int) -> Told:
    with _small_disk(place.root / folder, spare):
        place.deliver(bench)
        code, told = place.bess("run")
        if code == 0:
            raise NotRecoveredError("the disk was not full")
    return Told(said(told), "free some; `bess run` again", _run_until_well(place))


@scenario("disk of the lake full")
def full_lake(bench: Bench, place: Place) -> Told:
    return _full(bench, place, "lake", 300_000)


@scenario("disk of the warehouse full")
def full_warehouse(bench: Bench, place: Place) -> Told:
    return _full(bench, place, "warehouse", 1_000_000)


@scenario("disk of Dagster's records full")
def full_records(bench: Bench, place: Place) -> Told:
    return _full(bench, place, "dagster_home", 400_000)


def _broken_file(bench: Bench, place: Place, damage: Callable[[bytes], bytes]) -> Told:
    place.deliver(bench)
    victim = sorted((place.root / "landing" / "alpha").glob("*"))[1]
    good = victim.read_bytes()
    victim.write_bytes(damage(good))
    _, told = place.bess("run")
    if "beta" in told:
        raise NotRecoveredError(f"another fleet is befallen: {told}")
    victim.write_bytes(good)
    return Told(said(told), "deliver the file again; `bess run` again", _run_until_well(place))


@scenario("a file cut short, delivered whole later")
def cut_file(bench: Bench, place: Place) -> Told:
    return _broken_file(bench, place, lambda good: good[: len(good) // 2])


@scenario("a file of garbage, delivered well later")
def garbage(bench: Bench, place: Place) -> Told:
    return _broken_file(bench, place, lambda good: bytes(len(good)))


@scenario("a device that fails while a file is read")
def failing_device(bench: Bench, place: Place) -> Told:
    place.deliver(bench)
    victim = sorted((place.root / "landing" / "alpha").glob("*"))[1]
    good = victim.read_bytes()
    victim.unlink()
    victim.symlink_to("/proc/self/mem")
    _, told = place.bess("run")
    if "beta" in told:
        raise NotRecoveredError(f"another fleet is befallen: {told}")
    victim.unlink()
    victim.write_bytes(good)
    return Told(said(told), "deliver the file again; `bess run` again", _run_until_well(place))


@scenario("a fleet file with a mistake, mended later")
def broken_fleet_file(bench: Bench, place: Place) -> Told:
    place.deliver(bench)
    file = place.root / "fleets" / "alpha.yaml"
    good = file.read_text()
    file.write_text(good + "\n  - : [")
    _, told = place.bess("run")
    made = place.due()
    if any("beta" in what for what in made):
        raise NotRecoveredError(f"another fleet is befallen: {made}")
    file.write_text(good)
    return Told(said(told), "mend the file; `bess run` again", _run_until_well(place))


@scenario("SQLite of Dagster locked for 20 s")
def locked_records(bench: Bench, place: Place) -> Told:
    place.deliver(bench)
    process = place.begin("run")
    time.sleep(0.4 * bench.seconds)
    locks = []
    for file in (place.root / "dagster_home" / "history").rglob("*.db"):
        connection = sqlite3.connect(file, timeout=30, isolation_level=None)
        connection.execute("BEGIN IMMEDIATE")
        locks.append(connection)
    time.sleep(20)
    for connection in locks:
        connection.rollback()
        connection.close()
    begun = time.monotonic()
    code, told = ended(process)
    if code:
        return Told(said(told), "`bess run` again", _run_until_well(place))
    return Told(f"the run waited ({len(locks)} files locked)", NOTHING, time.monotonic() - begun)


@scenario("the warehouse open in a reader while it is published")
def open_warehouse(bench: Bench, place: Place) -> Told:
    place.deliver(bench)
    with Warehouse(place.root / "warehouse" / "bess.duckdb").connection() as reader:
        before = reader.sql("FROM fleet_daily").pl()
        begun = time.monotonic()
        _run_until_well(place)
        seconds = time.monotonic() - begun
        if not reader.sql("FROM fleet_daily").pl().equals(before):
            raise NotRecoveredError("the reader saw something else than what it had opened")
    return Told("the reader keeps what it opened, new ones see the new file", NOTHING, seconds)


def _failing_run(place: Place, *options: str) -> str:
    """`bess run` that has to meet a damage; what it told."""
    code, told = place.bess("run", *options)
    if code == 0:
        raise NotRecoveredError(f"`bess run` met no damage: {told}")
    return told


@scenario("a damaged file of a day in the lake")
def damaged_day(bench: Bench, place: Place) -> Told:
    victim = max((place.root / "lake" / "intervals_5min" / "fleet_id=alpha").rglob("*.parquet"))
    victim.write_bytes(victim.read_bytes()[:200])
    place.deliver(bench)
    # Another day: to make the damaged one again would put a new file in its place, and nobody would meet the damage.
    told = _failing_run(place, "--again", "--from", _BEFORE_DAMAGE, "--to", _BEFORE_DAMAGE)
    begun = time.monotonic()
    place.bess("mend")
    _run_until_well(place)
    return Told(said(told), "`bess mend`; `bess run`", time.monotonic() - begun)


@scenario("a damaged file of a fleet's table in the lake")
def damaged_table(bench: Bench, place: Place) -> Told:
    for victim in (place.root / "lake" / "battery_daily" / "fleet_id=alpha").rglob("*.parquet"):
        victim.write_bytes(victim.read_bytes()[:200])
    place.deliver(bench, "beta")
    told = _failing_run(place, "--fleet", "beta")
    place.deliver(bench)
    begun = time.monotonic()
    place.bess("mend")
    _run_until_well(place)
    return Told(said(told), "`bess mend`; `bess run`", time.monotonic() - begun)


def _wrong_clock(bench: Bench, place: Place, shift: str) -> Told:
    place.deliver(bench)
    code, told = place.bess("run", wrapped_by=("faketime", "-f", shift))
    return Told(f"exit {code}: {said(told)}", "`bess run` again, once the clock is right", _run_until_well(place))


@scenario("clock four years ahead during a run")
def clock_ahead(bench: Bench, place: Place) -> Told:
    return _wrong_clock(bench, place, "+4y")


@scenario("clock seven years behind during a run")
def clock_behind(bench: Bench, place: Place) -> Told:
    return _wrong_clock(bench, place, "-7y")


def _away(bench: Bench, place: Place, fault: Fault, seconds: float, times: int) -> Told:
    with away_lake(place) as storage:
        place.deliver(bench)
        process = place.begin("run")
        for _ in range(times):
            time.sleep(seconds)
            if process.poll() is None:
                with storage.failing(fault):
                    time.sleep(seconds)
        begun = time.monotonic()
        code, told = ended(process)
        happened = "the run waited" if code == 0 else said(told)
        if code:
            _run_until_well(place)
        taken = time.monotonic() - begun
        bench.require_equal(place)
    return Told(happened, NOTHING if code == 0 else "`bess run` again", taken)


@scenario("object store answers 503 for 15 s, three times")
def slow_down(bench: Bench, place: Place) -> Told:
    return _away(bench, place, Fault("503"), 15, 3)


@scenario("object store drops connections for 10 s, three times")
def resets(bench: Bench, place: Place) -> Told:
    return _away(bench, place, Fault("reset"), 10, 3)


@scenario("object store loses the answers to commits for 3 s, five times")
def lost_answers(bench: Bench, place: Place) -> Told:
    return _away(bench, place, Fault("lost", methods=("PUT",), within="_delta_log"), 3, 5)


@scenario("object store needs 2 s more for each answer, for 20 s")
def slow(bench: Bench, place: Place) -> Told:
    return _away(bench, place, Fault("slow", seconds=2), 20, 1)


@scenario("object store away for longer than a run is patient")
def long_away(bench: Bench, place: Place) -> Told:
    place.more["BESS_STORAGE_PATIENCE_SECONDS"] = "5"
    return _away(bench, place, Fault("503"), 30, 1)
