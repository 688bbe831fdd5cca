"""How the cost of everything, from files to the published warehouse, grows with rows.

    python -m bess_pipeline_tests.benchmarks.growth FOLDER [--cells 1x1 10x1 ...] [--interval 60] [--repeats 1]
    python -m bess_pipeline_tests.benchmarks.growth FOLDER --plot-only

A cell is so many batteries over so many days, one fleet, which a site delivers as a Parquet file a day, without faults.
A few batteries are simulated; the others are copies of them under other names and with sensors of their own, so that no
row equals another. `bess run` works on it in an empty home, in a process of its own. With `--night` one more day comes
after that, and it runs again.

What a cell took is a line of `FOLDER/growth.jsonl` at once, and what is there is not measured again: a measurement that
was interrupted goes on. Another version of the pipeline wants another folder. The cell's files are deleted after it.
At the end, of all lines that are there: tables, and the picture `docs/pictures/growth.svg`.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import IO, Any, Self

import numpy as np
import polars as pl
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from bess_pipeline.sources.simulate import Plan, simulate, write_fleet
from bess_pipeline.tables import catalog
from bess_pipeline_tests.benchmarks.fleet_day import BESS_RUN, Took, process, stages_of
from bess_pipeline_tests.benchmarks.growth_report import drawn, grids

FLEET = "growth"
CELLS = (
    "1x1", "10x1", "100x1", "1000x1", "1x30", "10x30", "100x30", "1x365", "10x365", "100x100", "1000x10", "100x365",
    "1000x30",
)  # fmt: skip
#: Most batteries that are simulated; the others are copies.
MADE = 4
PICTURE = Path("docs/pictures/growth.svg")
#: What is no step: the process until it begins, and what Dagster does in between.
OUTSIDE = "outside steps"
#: Noise of sensors, and digits that they give, as those of the simulation.
_SENSORS = {
    "voltage_volt": (0.15, 1),
    "current_ampere": (0.11, 1),
    "temperature_celsius": (0.1, 1),
    "temperature_min_celsius": (0.1, 1),
    "temperature_max_celsius": (0.1, 1),
    "cell_voltage_min_volt": (0.001, 3),
    "cell_voltage_max_volt": (0.001, 3),
}
#: Tables with a file a day, in the order in which they are made: how many there are tells how far a run is.
_MILESTONES = (catalog.RAW_TELEMETRY, catalog.CLEAN_TELEMETRY, catalog.INTERVALS_5MIN, catalog.TELEMETRY_5MIN)


@dataclass(frozen=True)
class Cell:
    """So many batteries over so many days, with so many seconds from sample to sample."""

    batteries: int
    days: int
    interval: int

    @classmethod
    def of(cls, text: str, interval: int) -> Self:
        """A cell as it is typed, ``100x365``.

        Raises:
            ValueError: If that is no cell.
        """
        batteries, _, days = text.partition("x")
        return cls(int(batteries), int(days), interval)

    @property
    def rows(self) -> int:
        """Raw rows of all batteries and days."""
        return self.batteries * self.days * 86_400 // self.interval

    def __str__(self) -> str:
        return f"{self.batteries}x{self.days}"


def deliver(home: Path, cell: Cell, told: Callable[[], None] = lambda: None) -> int:
    """Write a fleet file, and a landing file a day.

    Args:
        home: The deployment's folder.
        cell: How many batteries and days.
        told: Called after each day.

    Returns:
        Bytes of the landing files.
    """
    plan = partial(Plan, FLEET, seed=2, interval_seconds=cell.interval, faults=(), data_faults=False)
    write_fleet(simulate(plan(batteries=1, days=1)), home)
    for unwanted in (home / "landing" / FLEET, home / "truth"):
        shutil.rmtree(unwanted)
    (home / "landing" / FLEET).mkdir()
    few = simulate(plan(batteries=min(MADE, cell.batteries), days=cell.days)).samples
    by_day = few.with_columns(day=pl.col("timestamp").dt.date()).partition_by("day", as_dict=True, include_key=False)
    chance = np.random.default_rng(5)
    size = 0
    for (day,), rows in by_day.items():
        path = home / "landing" / FLEET / f"{day}.parquet"
        copied(rows, cell.batteries, chance).sort("timestamp", "battery_id").write_parquet(path)
        size += path.stat().st_size
        told()
    return size


def copied(rows: pl.DataFrame, batteries: int, chance: np.random.Generator) -> pl.DataFrame:
    """Rows of as many batteries: those that are there again and again, under other names and with other noise."""
    times = -(-batteries // rows["battery_id"].n_unique())
    whole = pl.concat(rows.with_columns(pl.col("battery_id") + f"-{copy:03d}") for copy in range(times))
    kept = whole["battery_id"].unique().sort()[:batteries]
    whole = whole.filter(pl.col("battery_id").is_in(kept.implode()))
    noise = {name: pl.Series(size * chance.standard_normal(whole.height)) for name, (size, _) in _SENSORS.items()}
    noisy = {name: (pl.col(name) + noise[name]).round(digits) for name, (_, digits) in _SENSORS.items()}
    # At rest a current of zero stays one: rests are what much of the work depends on.
    noisy["current_ampere"] = pl.when(pl.col("current_ampere") == 0).then(0.0).otherwise(noisy["current_ampere"])
    return whole.with_columns(**noisy)


def measured(home: Path, cell: Cell, delivered: int, said: IO[str], watch: Callable[[], None]) -> dict[str, Any]:
    """What `bess run` takes on a home with nothing but deliveries: a line of results.

    Args:
        home: The deployment's folder.
        cell: What was delivered.
        delivered: Bytes of it.
        said: Where the run says what it does.
        watch: Called every second meanwhile.
    """
    os.sync()  # what was just delivered is on the disk before the clock runs
    start = statistics.median(process("-c", "import bess_pipeline.definitions").wall for _ in range(3))
    took = process(*BESS_RUN, home=home, said=said, watch=watch)
    return {
        **asdict(cell),
        "rows": cell.rows,
        "partitions": cell.days,
        "delivered_bytes": delivered,
        **named(took, stages_of(home)),
        "start_seconds": start,
        "lake_bytes": size_of(home / "lake"),
        "warehouse_bytes": size_of(home / "warehouse"),
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "cores": len(os.sched_getaffinity(0)),
        "python": sys.version.split()[0],
        "polars": pl.__version__,
    }


def named(took: Took, stages: dict[str, float]) -> dict[str, Any]:
    """What a run took, under names that tell the units; what is no step is a stage, too."""
    between = took.wall - sum(stages.values())
    return {
        "wall_seconds": took.wall,
        "processor_seconds": took.processors,
        "peak_mib": took.peak,
        "stage_seconds": {**stages, OUTSIDE: between},
    }


def night(home: Path, late: Path, said: IO[str]) -> dict[str, Any]:
    """What one more day takes, which was kept aside."""
    before = stages_of(home)
    shutil.move(late, home / "landing" / FLEET / late.name)
    os.sync()
    took = process(*BESS_RUN, home=home, said=said)
    return named(took, {stage: seconds - before[stage] for stage, seconds in stages_of(home).items()})


def size_of(folder: Path) -> int:
    """Bytes of all files below a folder."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def results(folder: Path) -> list[dict[str, Any]]:
    """The lines that are there."""
    path = folder / "growth.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def measure(folder: Path, cells: list[Cell], *, repeats: int, with_night: bool, console: Console) -> None:
    """Measure the cells that were not measured as often as asked for, from the smallest on.

    Raises:
        subprocess.CalledProcessError: If a run fails.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lines = [line for line in results(folder) if "night" in line or not with_night]
    there = Counter(tuple(line[name] for name in ("batteries", "days", "interval")) for line in lines)
    wanted = [cell for cell in dict.fromkeys(cells) for _ in range(repeats - there[tuple(asdict(cell).values())])]
    wanted.sort(key=lambda cell: (cell.rows, cell.days))
    if not wanted:
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with (
        Progress(*columns, TimeElapsedColumn(), console=console) as progress,
        (folder / "runs.log").open("a") as said,
    ):
        whole = progress.add_task("cells", total=len(wanted))
        # What a machine does once, such as compiling, is no cost of the first cell.
        for is_counted, cell in [(False, Cell(1, 1, wanted[0].interval)), *((True, cell) for cell in wanted)]:
            home = folder / "growth-home"
            try:
                line = one(home, cell, with_night=with_night and is_counted, said=said, progress=progress)
            except subprocess.CalledProcessError as error:
                error.add_note(f"{cell} is left as it is in {home}; {said.name} tells more")
                raise
            if is_counted:
                with (folder / "growth.jsonl").open("a") as stream:
                    stream.write(json.dumps(line) + "\n")
                took, peak = line["wall_seconds"], line["peak_mib"]
                progress.console.print(f"{cell}: {cell.rows:,} rows in {took:.1f} s, {peak:,.0f} MiB")
                progress.advance(whole)


def one(home: Path, cell: Cell, *, with_night: bool, said: IO[str], progress: Progress) -> dict[str, Any]:
    """Deliver a cell, measure it, and delete it."""
    shutil.rmtree(home, ignore_errors=True)  # of a measurement that was interrupted
    delivering = Cell(cell.batteries, cell.days + with_night, cell.interval)
    task = progress.add_task(f"{cell}: deliver", total=delivering.days)
    size = deliver(home, delivering, lambda: progress.advance(task))
    late = max((home / "landing" / FLEET).iterdir())
    aside = home / late.name
    if with_night:
        size -= late.stat().st_size
        shutil.move(late, aside)
    progress.remove_task(task)
    task = progress.add_task(f"{cell}: bess run, day files", total=cell.days * len(_MILESTONES))

    def watch() -> None:
        made = (folder for table in _MILESTONES for folder in (home / "lake").glob(f"{table.name}/fleet_id=*/date=*"))
        progress.update(task, completed=sum(1 for _ in made))

    said.write(f"{cell} at {cell.interval} s\n")
    said.flush()
    line = measured(home, cell, size, said, watch)
    progress.remove_task(task)
    if with_night:
        task = progress.add_task(f"{cell}: one more day", total=None)
        line["night"] = night(home, aside, said)
        progress.remove_task(task)
    shutil.rmtree(home)
    return line


def main() -> None:
    """Measure what is not measured yet; print the tables and draw the picture of all that is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="of results, and of the home of the cell that is measured")
    parser.add_argument("--cells", nargs="+", default=list(CELLS), metavar="BATTERIESxDAYS")
    parser.add_argument("--interval", type=int, default=60, help="seconds from sample to sample")
    parser.add_argument("--repeats", type=int, default=1, help="measurements of each cell; the median counts")
    parser.add_argument("--night", action="store_true", help="also measure one more day, after the others")
    parser.add_argument("--plot-only", action="store_true", help="measure nothing")
    parser.add_argument("--picture", type=Path, default=PICTURE)
    given = parser.parse_args()
    console = Console()
    if not given.plot_only:
        cells = [Cell.of(text, given.interval) for text in given.cells]
        measure(given.folder, cells, repeats=given.repeats, with_night=given.night, console=console)
    lines = [line for line in results(given.folder) if line["interval"] == given.interval]
    if not lines:
        parser.error(f"{given.folder} holds no results at {given.interval} s yet")
    for grid in grids(lines):
        console.print(grid)
    drawn(lines, given.picture)
    console.print(f"drawn: {given.picture}", soft_wrap=True)


if __name__ == "__main__":
    main()
