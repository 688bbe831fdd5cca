"""What a night of one fleet leaves in the lake, and what it asks of an object store.

    python -m bess_pipeline_tests.benchmarks.fleet_night [--batteries 5] [--interval 60] [--days 10]

A fleet is simulated, with no faults; `bess run` makes all its days but the last; then the last file arrives and
`bess run` makes the night. Last come looks as the daemon takes of every fleet each half minute, at which nothing is
due. The lake is on an S3 server on loopback, whose requests are counted: what a store is paid for. Bytes are those of
Parquet files as the tables' logs tell them; the same batteries are never copied, for copies compress to nothing.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from urllib.parse import unquote

import polars as pl
from rich.console import Console
from rich.table import Table as Grid

from bess_pipeline.defs import plan
from bess_pipeline.defs.resources import Home
from bess_pipeline.lake.store import Lake
from bess_pipeline.sources.simulate import Plan, simulate, write_fleet
from bess_pipeline.tables import catalog
from bess_pipeline_tests.benchmarks.fleet_day import process
from bess_pipeline_tests.faults.homes import named_by
from bess_pipeline_tests.faults.storage import BUCKET, started

FLEET = "night"
_COLOURS = re.compile(r"\x1b\[[\d;]*m")
_REQUEST = re.compile(r'"(GET|PUT|POST|HEAD|DELETE) (\S+) HTTP')
#: Requests that a store is paid for by the first and by the second price; removals cost nothing.
WRITES, READS = ("PUT", "POST", "LIST"), ("GET", "HEAD")


@dataclass(frozen=True)
class Made:
    """What a table holds: files, rows, bytes, and its number of commits."""

    files: int
    rows: int
    size: int
    commits: int


def made(lake: Lake) -> dict[str, Made]:
    """What each table holds now."""
    found = {}
    for name, table in catalog.TABLES.items():
        files = lake.files(table)
        rows, size = (0, 0) if files.is_empty() else (int(files[of].sum()) for of in ("num_records", "size_bytes"))
        found[name] = Made(files.height, rows, size, lake.version(table) + 1)
    return found


@dataclass(frozen=True)
class Request:
    """A request for something of the bucket: how, of a table's log or of its rows, and of which table."""

    how: str
    of: str
    table: str


def request_in(line: str) -> Request | None:
    """The request that a line of the server's log tells of; none if it is not for the bucket.

    Examples:
        >>> request_in('"GET /bess/lake/ledger/_delta_log/_last_checkpoint HTTP/1.1" 404 -')
        Request(how='GET', of='log', table='ledger')
        >>> request_in('"GET /bess?list-type=2&prefix=lake/ledger/_delta_log/&start-after=0 HTTP/1.1" 200 -')
        Request(how='LIST', of='log', table='ledger')
    """
    found = _REQUEST.search(_COLOURS.sub("", line))
    if found is None or not found[2].startswith(f"/{BUCKET}"):
        return None
    path = unquote(found[2])
    table = path.partition("lake/")[2].partition("/")[0]
    return Request("LIST" if "list-type" in path else found[1], "log" if "_delta_log" in path else "rows", table)


class Told:
    """Requests that a server has told to a file, by kind."""

    def __init__(self, path: Path) -> None:
        self._path, self._read = path, 0

    @contextmanager
    def counted(self) -> Iterator[Counter[Request]]:
        """Fills a counter with the requests of a block."""
        self._read = self._path.stat().st_size
        counter: Counter[Request] = Counter()
        yield counter
        with self._path.open(encoding="utf-8") as lines:
            lines.seek(self._read)
            counter.update(one for one in map(request_in, lines) if one is not None)


def look(home: Home) -> None:
    """What the daemon asks of one fleet each time.

    Raises:
        RuntimeError: If anything is due.
    """
    due = [plan.indexing(home, FLEET), *plan.making_days(home, FLEET), plan.making_fleet(home, FLEET)]
    if any(due):
        raise RuntimeError(f"nothing should be due any more, but {[work.what for work in due if work]}")


def main() -> None:
    """Measure, and print what was counted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batteries", type=int, default=5)
    parser.add_argument("--interval", type=int, default=60, help="seconds from sample to sample")
    parser.add_argument("--days", type=int, default=10, help="days before the night")
    given = parser.parse_args()
    console = Console()
    fleet = Plan(
        FLEET, batteries=given.batteries, days=given.days + 1, seed=4, interval_seconds=given.interval, faults=(),
        data_faults=False, start=date(2026, 3, 1),
    )  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="bess-bench-") as folder:
        root, told = Path(folder), Told(Path(folder) / "requests")
        write_fleet(simulate(fleet), root)
        last = max((root / "landing" / FLEET).glob("*"))
        aside = last.rename(root / last.name)
        with started(root / "requests") as storage:
            address = f"s3://{BUCKET}/lake"
            named = storage.environment | {"BESS_HOME": str(root), "BESS_LAKE_URI": address, "BESS_DAYS_PER_RUN": "366"}
            named |= {"BESS_FIRST_DAY": fleet.start.isoformat()}
            with named_by(named) as home:
                with told.counted() as history:
                    process("-m", "bess_pipeline", "run")
                before = made(Lake(address))
                aside.rename(last)
                with told.counted() as night:
                    took = process("-m", "bess_pipeline", "run")
                after = made(Lake(address))
                look(home)
                with told.counted() as looks:
                    look(home)
                plan.publishing(home)
                with told.counted() as behind:
                    plan.publishing(home)
    console.print(
        f"{given.batteries} batteries, a sample every {given.interval} s, a night after {given.days} days: "
        f"{took.processors:.1f} s of processors, {took.peak:.0f} MiB"
    )
    console.print(_tables(before, after, given.days))
    console.print(
        _requests(
            {
                f"{given.days} days": history,
                "the night": night,
                "a look at a fleet": looks,
                "a look at the warehouse": behind,
            }
        )
    )
    console.print(f"most read in the night: {_most_read(night)}; by a look: {_most_read(looks)}")
    console.print(f"{os.cpu_count()} cores, Python {sys.version.split()[0]}, Polars {pl.__version__}")


def _tables(before: dict[str, Made], after: dict[str, Made], days: int) -> Grid:
    """Each table: what it holds, and what the night added."""
    grid = Grid("table", "rows", "bytes", "bytes a row", "files", "new files", "commits of the night")
    for name in sorted(after, key=lambda name: -after[name].size):
        now, new = after[name], after[name].commits - before[name].commits
        a_row = f"{now.size / now.rows:.2f}" if now.rows else ""
        grid.add_row(
            name, f"{now.rows}", f"{now.size}", a_row, f"{now.files}", f"{now.files - before[name].files}", f"{new}"
        )
    apart = {"raw_telemetry", "clean_telemetry"}
    rest = sum(one.size for name, one in after.items() if name not in apart)
    by_day = sum(after[name].files - before[name].files for name in after if catalog.TABLES[name].by_day)
    commits = sum(after[name].commits - before[name].commits for name in after)
    touched = sum(after[name].commits > before[name].commits for name in after)
    grid.caption = (
        f"but for raw and clean {rest / (days + 1):.0f} bytes a day; {by_day} new files in tables of days; "
        f"{commits} commits to {touched} tables"
    )
    return grid


def _requests(counted: dict[str, Counter[Request]]) -> Grid:
    """Requests by kind."""
    kinds = sorted({(one.how, one.of) for counter in counted.values() for one in counter})
    grid = Grid("requests", *(" of ".join(kind) for kind in kinds), "writes and lists", "reads")
    for what, counter in counted.items():
        of_kinds = [_how_many(counter, how=(how,), of=(of,)) for how, of in kinds]
        paid = [_how_many(counter, how=hows, of=("log", "rows")) for hows in (WRITES, READS)]
        grid.add_row(what, *map(str, [*of_kinds, *paid]))
    return grid


def _how_many(counter: Counter[Request], *, how: tuple[str, ...], of: tuple[str, ...]) -> int:
    return sum(many for one, many in counter.items() if one.how in how and one.of in of)


def _most_read(counter: Counter[Request]) -> str:
    """The tables whose files are read most often."""
    read = Counter({one.table: many for one, many in counter.items() if (one.how, one.of) == ("GET", "rows")})
    return ", ".join(f"{table} {many}" for table, many in read.most_common(5))


if __name__ == "__main__":
    main()
