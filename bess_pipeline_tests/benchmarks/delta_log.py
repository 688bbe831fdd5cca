"""What a Delta log costs that tells of many files, and how often many writers commit to one.

    python -m bess_pipeline_tests.benchmarks.delta_log sizes [--table intervals_5min] [--files 10000 100000 1000000]
    python -m bess_pipeline_tests.benchmarks.delta_log nights [--files 1000 10000 100000]
    python -m bess_pipeline_tests.benchmarks.delta_log writers [--writers 1 4 16] [--files 1000] [--latency 0.03]

`sizes` writes one real day of one fleet through `Lake`, has a checkpoint made, and writes that checkpoint anew with as
many other files in it: other fleets, a thousand days of each, other numbers in the statistics. Of these no
Parquet file is there, and none is read. Then each thing that the pipeline asks of such a table is done in a process of
its own, once; what the process needs before is not counted. `writers` lets processes replace a day, each of a fleet of
its own, again and again for a while, and reads off the log how many commits there were and how often each was tried:
in a folder, and on an S3 server on loopback that holds each answer back as long as a cloud takes for it.
Seconds of `sizes` are those of processors, for the files are at hand; they are of one machine: what holds elsewhere is
how they grow.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path

import deltalake
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from deltalake.exceptions import CommitFailedError
from rich.console import Console
from rich.table import Table as Grid

from bess_pipeline.defs import jobs, plan
from bess_pipeline.defs.instance import instance_of
from bess_pipeline.defs.resources import Home
from bess_pipeline.defs.runs import Launcher
from bess_pipeline.lake.slices import Slice
from bess_pipeline.lake.store import Lake
from bess_pipeline.sources.simulate import Plan, simulate, write_fleet
from bess_pipeline.tables import catalog
from bess_pipeline.tables.catalog import Table
from bess_pipeline.window import Window
from bess_pipeline_tests.benchmarks.fleet_day import process
from bess_pipeline_tests.faults.homes import named_by
from bess_pipeline_tests.faults.storage import BUCKET, Fault, started
from bess_pipeline_tests.fleet_tables import simulated_tables

#: So many days of each fleet are in a log, from the first one on.
DAYS, FIRST = 1000, date(2024, 1, 1)
_DAY = Window(FIRST, FIRST + timedelta(days=1))
#: Files that are written into a checkpoint at once.
_AT_ONCE = 20_000
#: What differs from file to file in statistics: numbers, and fingerprints.
_VARIED = re.compile(r"(?<=[:{,\[])-?\d+(?:\.\d+)?(?=[,}\]])|[0-9a-f]{32}")
_FLEET = "night"
_JOBS = (jobs.LANDING.name, jobs.TELEMETRY.name, jobs.FLEET.name)
#: How long writers write [s].
_WRITING_SECONDS = 15.0


def fleet_of(number: int) -> str:
    """Name of a fleet."""
    return f"fleet{number:06d}"


def a_day(table: Table, fleet_id: str) -> pl.DataFrame:
    """Some rows of a fleet's first day.

    Raises:
        ValueError: If no rows are known for that table.
    """
    if table == catalog.LEDGER:
        said = {"fleet_id": fleet_id, "date": FIRST, "signature": "0" * 32, "run_id": "0" * 32}
        return pl.DataFrame([{**said, "step": step} for step in ("raw_telemetry", "clean_telemetry", "day_evidence")])
    plan = Plan(fleet_id, batteries=1, days=1, interval_seconds=300, start=FIRST, faults=(), data_faults=False)
    made = simulated_tables(simulate(plan), wanted=(table.name,))
    if table.name not in made:
        raise ValueError(f"no rows of {table.name} are known")
    return made[table.name]


def write_log(lake: Lake, table: Table, files: int) -> None:
    """Begin a table whose log tells of so many files, the first of which is there."""
    lake._begin(table, "ignore")
    lake.replace(table, a_day(table, fleet_of(0)), Slice(fleet_of(0), _DAY))
    lengthen(lake, table, files)


def lengthen(lake: Lake, table: Table, files: int) -> None:
    """Have the log of a table that holds something tell of so many files, by a checkpoint that begins with its own.

    Raises:
        ValueError: If the table holds nothing.
    """
    lake.delta(table).create_checkpoint()
    log = Path(lake.address(table)) / "_delta_log"
    small = max(log.glob("*.checkpoint.parquet"))
    known = pq.read_table(small)
    # A column that is null as a whole is taken for one with nulls where it must have none.
    known = known.cast(pa.schema([pa.field(field.name, _nullable(field.type)) for field in known.schema]))
    places = [place for place, add in enumerate(known.column("add").to_pylist()) if add]
    if not places:
        raise ValueError(f"{table.name} holds nothing")
    add = known.column("add").combine_chunks().slice(places[0], 1)
    written = log / "new.parquet"
    with pq.ParquetWriter(written, known.schema, compression="snappy") as writer:
        writer.write_table(known)
        for begin in range(len(places), files, _AT_ONCE):
            writer.write_table(_adds(add, known.schema, range(begin, min(begin + _AT_ONCE, files))))
    size, rows = written.stat().st_size, known.num_rows - len(places) + files
    written.replace(small)
    told = {"version": lake.version(table), "size": rows, "sizeInBytes": size, "numOfAddFiles": files}
    (log / "_last_checkpoint").write_text(json.dumps(told))
    lake._open.pop(table.name)


def _adds(add: pa.StructArray, schema: pa.Schema, numbers: range) -> pa.Table:
    """Rows of a checkpoint, each of which adds the file of another day of another fleet."""
    many = len(numbers)
    fleets = [fleet_of(number // DAYS) for number in numbers]
    days = [str(FIRST + timedelta(days=number % DAYS)) for number in numbers]
    name = add.field("path")[0].as_py().rsplit("/", 1)[1]
    told = dict(add.field("partitionValues")[0].as_py())
    values = [{"fleet_id": fleet, "date": day} for fleet, day in zip(fleets, days, strict=True)]
    new = {
        "path": pa.array(
            f"fleet_id={fleet}/date={day}/{number:08x}{name[8:]}"
            for number, fleet, day in zip(numbers, fleets, days, strict=True)
        ),
        "partitionValues": pa.array(
            [[(of, value[of]) for of in told] for value in values], add.field("partitionValues").type
        ),
        "stats": _statistics(add.field("stats")[0].as_py(), many, seed=numbers.start),
    }
    fields = [new.get(field.name, pa.repeat(add.field(field.name)[0], many)) for field in add.type]
    adds = pa.StructArray.from_arrays(fields, fields=list(add.type))
    columns = [adds if field.name == "add" else pa.nulls(many, field.type) for field in schema]
    return pa.Table.from_arrays(columns, schema=schema)


def _nullable(kind: pa.DataType) -> pa.DataType:
    """The same type, of which every part may be null."""
    if not pa.types.is_struct(kind):
        return kind
    return pa.struct([pa.field(field.name, _nullable(field.type)) for field in kind])


def _statistics(told: str, many: int, seed: int) -> pa.Array:
    """The statistics of a file as often as asked for, each time with other numbers."""
    random = np.random.default_rng(seed)
    whole = [pl.lit((pieces := _VARIED.split(told))[0])]
    columns: dict[str, pl.Series] = {}
    for number, (held, piece) in enumerate(zip(_VARIED.findall(told), pieces[1:], strict=True)):
        columns[f"{number}"] = pl.Series(_others(held, many, random))
        whole += [pl.col(f"{number}").cast(pl.String), pl.lit(piece)]
    return pl.DataFrame(columns).select(pl.concat_str(whole)).to_series().to_arrow().cast(pa.string())


def _others(held: str, many: int, random: np.random.Generator) -> Iterable[object]:
    """As many others of the same kind as a number or a fingerprint."""
    if len(held) == 32:
        return [random.bytes(16).hex() for _ in range(many)]
    decimals = len(held.partition(".")[2])
    others = np.round(float(held) * random.uniform(0.5, 1.5, many), decimals)
    return others if decimals else others.astype(int)


def _asked(lake: Lake, table: Table) -> dict[str, Callable[[], object]]:
    """What the pipeline asks of a table, in the order in which a log is taken through it."""
    part = Slice(fleet_of(0), _DAY)

    def opened_before(ask: Callable[[], object]) -> Callable[[], object]:
        def asked() -> object:
            lake.delta(table)
            return clock(ask)

        return asked

    def clock(ask: Callable[[], object]) -> float:
        begun = time.process_time()
        ask()
        return time.process_time() - begun

    return {
        "open": lambda: clock(lambda: lake.delta(table)),
        "list its files": opened_before(lambda: lake.files(table)),
        "read a day": opened_before(lambda: lake.read(table, part)),
        "replace a day": opened_before(lambda: lake.replace(table, a_day_once(table), part)),
        "checkpoint": opened_before(lambda: lake.delta(table).create_checkpoint()),
    }


def a_day_once(table: Table) -> pl.DataFrame:
    """The rows that are there, so that making them is not measured."""
    return _HELD[table.name]


_HELD: dict[str, pl.DataFrame] = {}


def ask_one(address: str, table: Table, what: str) -> None:
    """Do one thing, and print its seconds and the peak memory of this process."""
    lake = Lake(address)
    if what == "replace a day":
        _HELD[table.name] = lake.read(table, Slice(fleet_of(0), _DAY))
        lake._open.clear()
    seconds = _asked(lake, table)[what]()
    sys.stdout.write(json.dumps([seconds, _peak()]) + "\n")


def _peak() -> float:
    """Most memory that this process ever had [MiB]."""
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 1024


def _child(*words: str) -> str:
    done = subprocess.run([sys.executable, "-m", __spec__.name, *words], check=True, stdout=subprocess.PIPE, text=True)
    return done.stdout.splitlines()[-1]


def sizes(table: Table, many: list[int]) -> Grid:
    """What is asked of a table, by the number of its files."""
    found: dict[int, dict[str, tuple[float, float]]] = {}
    logs: dict[int, int] = {}
    for files in many:
        with tempfile.TemporaryDirectory(prefix="bess-bench-") as folder:
            lake = Lake(folder)
            write_log(lake, table, files)
            checkpoints = Path(lake.address(table)) / "_delta_log"
            found[files] = {}
            for what in _asked(lake, table):
                seconds, peak = json.loads(_child("one", "--address", folder, "--table", table.name, "--what", what))
                found[files][what] = seconds, peak
            logs[files] = max(checkpoints.glob("*.checkpoint.parquet")).stat().st_size
    grid = Grid("asked", *(f"{files:,} files" for files in many))
    grid.title = f"{table.name}: seconds of processors (peak MiB)"
    for what in found[many[0]]:
        grid.add_row(what, *(f"{found[files][what][0]:.2f} ({found[files][what][1]:.0f})" for files in many))
    grid.add_row("checkpoint: MB", *(f"{logs[files] / 1e6:.1f}" for files in many))
    grid.add_row("bytes a file", *(f"{logs[files] / files:.0f}" for files in many))
    return grid


def make_night(job: str) -> None:
    """Do one of the jobs of a fleet's night in the home that the environment names, and print what it took."""
    home = Home()
    with instance_of(home.settings) as instance:
        launcher = Launcher(instance, lambda: None)
        works = {
            jobs.LANDING.name: lambda: [plan.indexing(home, _FLEET)],
            jobs.TELEMETRY.name: lambda: plan.making_days(home, _FLEET),
            jobs.FLEET.name: lambda: [plan.making_fleet(home, _FLEET)],
        }
        for work in works[job]():
            if work is None or (result := launcher.run(work.job, work.tags)).failures:
                raise RuntimeError(result.failures if work else f"no {job} is due")
    sys.stdout.write(json.dumps([time.process_time(), _peak()]) + "\n")


def nights(many: list[int]) -> Grid:
    """What the night of a small fleet takes, by how many files the tables of days have in all."""
    grid = Grid("files in each table of days", "s of processors", *_JOBS, "peak MiB")
    grid.title = "a night of 2 batteries, a process for each job"
    for files in many:
        with tempfile.TemporaryDirectory(prefix="bess-bench-") as folder:
            fleet = Plan(
                _FLEET, batteries=2, days=3, seed=4, interval_seconds=300, start=FIRST, faults=(), data_faults=False
            )
            root = Path(folder)
            write_fleet(simulate(fleet), root)
            last = max((root / "landing" / _FLEET).glob("*"))
            aside = last.rename(root / last.name)
            with named_by({"BESS_HOME": folder, "BESS_FIRST_DAY": str(FIRST)}) as home:
                process("-m", "bess_pipeline", "run")
                for table in catalog.TABLES.values():
                    if table.by_day and not home.lake.files(table).is_empty():
                        lengthen(home.lake, table, files)
                aside.rename(last)
                took = {job: json.loads(_child("night", "--what", job)) for job in _JOBS}
        seconds = [took[job][0] for job in _JOBS]
        grid.add_row(
            f"{files:,}",
            f"{sum(seconds):.1f}",
            *(f"{one:.1f}" for one in seconds),
            f"{max(peak for _, peak in took.values()):.0f}",
        )
    return grid


def write_for_a_while(address: str, table: Table, number: int) -> None:
    """Replace a day of one fleet again and again, once told to, and print how often, and how often in vain."""
    lake, fleet_id = Lake(address), fleet_of(number)
    rows = a_day(table, fleet_id)
    lake.delta(table)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    begun = time.monotonic()
    done = failed = 0
    while time.monotonic() < begun + _WRITING_SECONDS:
        try:
            lake.replace(table, rows, Slice(fleet_id, _DAY))
            done += 1
        except CommitFailedError:
            failed += 1
    sys.stdout.write(json.dumps([done, failed]) + "\n")


def _wrote(address: str, table: Table, writers: int) -> tuple[int, int, int]:
    """Commits, commits in vain, and further tries of those that were made, of some processes at once."""
    command = [sys.executable, "-m", __spec__.name, "writer", "--address", address, "--table", table.name]
    before = Lake(address).version(table)
    running = [
        subprocess.Popen([*command, "--number", str(number)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for number in range(1, writers + 1)
    ]
    for one in running:
        assert one.stdout is not None
        one.stdout.readline()
    for one in running:
        assert one.stdin is not None
        one.stdin.write("go\n")
        one.stdin.flush()
    told = [json.loads(one.communicate()[0]) for one in running]
    delta = Lake(address).delta(table)
    history = delta.history(delta.version() - before)
    retries = sum(int(commit.get("operationMetrics", {}).get("num_retries", 0)) for commit in history)
    return sum(done for done, _ in told), sum(failed for _, failed in told), retries


@contextmanager
def _place(latency: float | None) -> Iterator[str]:
    """An address for a lake: a folder, or a server that answers after a while."""
    if latency is None:
        with tempfile.TemporaryDirectory(prefix="bess-bench-") as folder:
            yield folder
        return
    with started() as storage, named_by(storage.environment):
        storage.fail(Fault("slow", seconds=latency))
        yield f"s3://{BUCKET}/lake"


def writers(table: Table, many: list[int], files: int, latency: float | None) -> Grid:
    """How often processes commit to one table."""
    grid = Grid("place", "writers", "commits a second", "tries a commit", "in vain")
    grid.title = f"{table.name}: {_WRITING_SECONDS:.0f} s of writing, each to a fleet of its own"
    where = f"a folder, {files:,} files" if latency is None else f"S3, {latency * 1000:.0f} ms an answer"
    for number in many:
        with _place(latency) as address:
            lake = Lake(address)
            if latency is None:
                write_log(lake, table, files)
            else:
                lake._begin(table, "ignore")
            done, failed, retries = _wrote(address, table, number)
        rate, tries = done / _WRITING_SECONDS, 1 + retries / max(done, 1)
        grid.add_row(where, f"{number}", f"{rate:.1f}", f"{tries:.2f}", f"{failed}")
    return grid


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mode", choices=("sizes", "nights", "writers", "one", "night", "writer"))
    parser.add_argument("--table", choices=("intervals_5min", "ledger"), default="intervals_5min")
    parser.add_argument("--files", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--writers", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--latency", type=float, help="on an S3 server that takes so long for each answer [s]")
    for name, kind in {"address": str, "what": str, "number": int}.items():
        parser.add_argument(f"--{name}", type=kind, help=argparse.SUPPRESS)
    given = parser.parse_args()
    table = catalog.TABLES[given.table]
    if given.mode == "one":
        ask_one(given.address, table, given.what)
    elif given.mode == "night":
        make_night(given.what)
    elif given.mode == "writer":
        write_for_a_while(given.address, table, given.number)
    else:
        made = {
            "sizes": lambda: sizes(table, given.files),
            "nights": lambda: nights(given.files),
            "writers": lambda: writers(table, given.writers, given.files[0], given.latency),
        }[given.mode]()
        console = Console()
        console.print(made)
        console.print(f"{os.cpu_count()} cores, deltalake {deltalake.__version__}, Polars {pl.__version__}")


if __name__ == "__main__":
    main()
