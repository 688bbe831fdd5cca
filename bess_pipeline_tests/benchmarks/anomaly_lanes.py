"""What anomalies cost: each asset from features to events and risk, per battery-day, and the memory of a large fleet.

    python -m bess_pipeline_tests.benchmarks.anomaly_lanes [--batteries 1000] [--days 365] [--batteries-made 20]

A few batteries are simulated with faults and copied until the fleet is as large as asked for. Every asset
runs once on a tenth of the fleet before it is timed on all of it, so that kernels are compiled. The last column is
the cost per battery-day on the whole fleet over that on the tenth: 1 means that work grows as the rows do. All of
that happens in a process of its own, whose largest memory is told, inputs included.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import platform
import resource
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import polars as pl
from rich.console import Console
from rich.table import Table as Grid

from bess_pipeline.sources.simulate import Plan, simulate
from bess_pipeline.tables import catalog
from bess_pipeline_tests.fleet_tables import Frames, plan_without_clocks, simulated_tables, steps

#: Tables of this part, in the order in which they rest on each other.
MADE = (
    catalog.DAILY_FEATURES, catalog.SAFETY_SIGNALS, catalog.CELL_SIGNALS, catalog.MODEL_SIGNALS,
    catalog.ANOMALY_SIGNALS, catalog.ANOMALY_SCORES, catalog.ANOMALY_EVENTS, catalog.FAILURE_RISK,
)  # fmt: skip


def inputs(batteries: int, made: int, days: int, seed: int) -> Frames:
    """All that these tables rest on, of a fleet of copies."""
    own = {table.name for table in MADE} | {catalog.ANOMALY_MODELS.name}
    needed = {need for step in steps() if own & set(step.makes) for need in step.needs} - own
    plan = plan_without_clocks(Plan("fleet", batteries=made, days=days, seed=seed, interval_seconds=300))
    few = simulated_tables(simulate(plan), wanted=needed)
    copies = -(-batteries // made)
    many = {
        name: pl.concat(
            few[name].with_columns(pl.col("battery_id") + pl.format("-{}", pl.lit(copy))) for copy in range(copies)
        )
        for name in needed
    }
    kept = many["batteries"]["battery_id"].unique().sort().head(batteries).implode()
    return {name: rows.filter(pl.col("battery_id").is_in(kept)) for name, rows in many.items()}


def part_of(tables: Frames, share: float) -> Frames:
    """The same of a share of the batteries."""
    names = tables["batteries"]["battery_id"].unique().sort()
    kept = names.head(max(1, round(share * names.len()))).implode()
    return {name: rows.filter(pl.col("battery_id").is_in(kept)) for name, rows in tables.items()}


def seconds(tables: Frames) -> dict[str, float]:
    """Time of each asset [s]."""
    took: dict[str, float] = {}
    held = dict(tables)
    for table in MADE:
        step = next(step for step in steps() if table.name in step.makes)
        begun = time.perf_counter()
        held |= step.run({name: held[name] for name in step.needs})
        took[table.name] = time.perf_counter() - begun
    return took


def measured(folder: Path) -> tuple[dict[str, float], dict[str, float], float, float]:
    """Seconds of each asset on the whole fleet and on a tenth of it; size of the inputs, largest memory [GB]."""
    tables = {file.stem: pl.read_parquet(file) for file in folder.glob("*.parquet")}
    given = sum(rows.estimated_size("gb") for rows in tables.values())
    tenth = part_of(tables, 0.1)
    seconds(tenth)
    small = seconds(tenth)
    large = seconds(tables)
    return large, small, given, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batteries", type=int, default=1000)
    parser.add_argument("--batteries-made", type=int, default=20)
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--seed", type=int, default=3)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for name, rows in inputs(asked.batteries, asked.batteries_made, asked.days, asked.seed).items():
            rows.write_parquet(Path(folder) / f"{name}.parquet")
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
            large, small, given, largest = process.submit(measured, Path(folder)).result()
    days, few = asked.batteries * asked.days, max(1, round(0.1 * asked.batteries)) * asked.days
    grid = Grid("made", "seconds", "µs per battery-day", "over a tenth of the fleet")
    grid.title = f"{asked.batteries} batteries, {asked.days} days"
    for name, took in large.items():
        grid.add_row(name, f"{took:.2f}", f"{1e6 * took / days:.1f}", f"{took / days / (small[name] / few):.2f}")
    total, short = sum(large.values()), sum(small.values())
    grid.add_row(
        "all", f"{total:.1f}", f"{1e6 * total / days:.1f}", f"{total / days / (short / few):.2f}", style="bold"
    )
    console = Console()
    console.print(grid)
    console.print(f"inputs {given:.2f} GB in columns, largest memory {largest:.2f} GB")
    console.print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")


if __name__ == "__main__":
    main()
