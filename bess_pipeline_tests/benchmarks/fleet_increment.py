"""What one new day costs the tables of a fleet with a long history.

    python -m bess_pipeline_tests.benchmarks.fleet_increment [--batteries 100] [--days 30 300 3000] [--nights 3]

A few batteries are simulated and copied until the fleet is as large as asked for; all its tables are made of the newest
days, of 12 weeks to 24, or of all where they are fewer. Then the lake is given the rest of its past: every table is
copied back in time, period by period. Of 5-minute tables only one row per battery and day is kept in that past, for a
night does not read it (a file per day is there as in a lake that grew).
More days arrive, one by one, the same ones whatever the history; of all but the first, each asset is timed. Seconds of
one process, medians of the nights; the ratio to the first history is what holds on another machine. What reads files,
Dagster and the warehouse are not in it: see `growth --night`.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Iterable
from datetime import date, timedelta
from pathlib import Path

import polars as pl
from polars import selectors as cs
from rich.console import Console
from rich.progress import track
from rich.table import Table as Grid

from bess_pipeline.analytics.outlier_models import MODEL_DAYS
from bess_pipeline.defs.increments import increment
from bess_pipeline.lake.ledger import Notes
from bess_pipeline.lake.slices import Slice
from bess_pipeline.sources.simulate import Plan, simulate
from bess_pipeline.tables import catalog
from bess_pipeline.window import epoch_start
from bess_pipeline_tests.fleet_tables import Frames, plan_without_clocks, simulated_tables, steps
from bess_pipeline_tests.growing_lake import GrowingLake

#: Days of a period of the past: whole epochs, so that what is remembered of one lies at the beginning of one.
PERIOD = 3 * MODEL_DAYS
_GIVEN = ("intervals_5min", "cell_evidence", "capacity_evidence", "day_evidence", "batteries", "ocv_curves")
_FLEET = "fleet"
_COMPUTED = "all, of processors"
#: The day after the last: the nights are in the midst of an epoch, and of the time for which models are in force.
_END = epoch_start(date(2025, 7, 1), MODEL_DAYS) + timedelta(days=19)


def in_full(history: int) -> int:
    """How many of the newest days of a history are made in full; the rest is whole periods.

    Examples:
        >>> [in_full(days) for days in (30, 167, 168, 300, 3000)]
        [30, 167, 84, 132, 144]
    """
    return history if history < 2 * PERIOD else PERIOD + history % PERIOD


def given(batteries: int, made: int, days: int, seed: int) -> Frames:
    """What the day level and the register say of a fleet over so many days."""
    plan = plan_without_clocks(
        Plan(_FLEET, batteries=made, days=days, seed=seed, interval_seconds=300, start=_END - timedelta(days=days))
    )
    few = simulated_tables(simulate(plan), wanted=_GIVEN)
    copies = range(-(-batteries // made))
    names = sorted(few["batteries"]["battery_id"].to_list())
    kept = {f"{name}-{copy:03d}" for copy in copies for name in names}
    kept = set(sorted(kept)[:batteries])
    return {
        name: pl.concat(few[name].with_columns(pl.col("battery_id") + f"-{copy:03d}") for copy in copies).filter(
            pl.col("battery_id").is_in(kept)
        )
        for name in _GIVEN
    }


def of_days(tables: Frames, days: Iterable[date]) -> Frames:
    """The rows of some days, and the register."""
    chosen = list(days)
    return {
        name: rows.filter(pl.col("date").is_in(chosen)) if "date" in rows.columns else rows
        for name, rows in tables.items()
    }


def give_past(lake: GrowingLake, periods: int) -> None:
    """Copy every table back in time, and note that all of it was made from what is there."""
    for table in catalog.TABLES.values():
        rows = whole = lake.lake.read(table, Slice(_FLEET))
        if table in {catalog.BATTERIES, catalog.OCV_CURVES} or table.layer == "landing" or rows.is_empty():
            continue
        if table is catalog.ANOMALY_MODELS:
            # Those in force were trained on fewer days than there are now, and would be trained anew each night.
            whole = whole.filter(pl.col("date") < pl.col("date").max())
        if table.by_day:
            rows = rows.group_by("battery_id", "date", maintain_order=True).first()
        first = pl.col(table.until).cast(pl.Date).min() if table.until in rows.columns else pl.lit(None)
        begun = rows.select(first).item()
        if begun is None:
            continue
        period = rows.filter(pl.col(table.until).cast(pl.Date) < begun + timedelta(days=PERIOD))
        # What a night does not read of the past is left empty: it would tell of instants in nested columns.
        period = period.with_columns(cs.list(cs.struct()).list.head(0))
        past = pl.concat(
            period.with_columns(cs.temporal().dt.offset_by(f"-{PERIOD * back}d")) for back in range(1, periods + 1)
        ).select(whole.columns)
        lake.lake.replace(table, pl.concat([past, whole]), Slice(_FLEET))
    notes = Notes(lake.lake, _FLEET)
    for step in steps():
        if step.reach is not None:
            reads = [catalog.TABLES[name] for name in sorted(step.needs)]
            makes = [catalog.TABLES[name] for name in step.makes]
            wanted = increment(lake.lake, _FLEET, reads, makes, step.reach, notes, made_by="")
            for table in makes:
                notes.record(table.name, wanted.basis)
    notes.close()


def seconds(tables: Frames, history: int, nights: int) -> dict[str, float]:
    """Median time of each asset for one new day after so many, and of processors for all of them [s]."""
    full = in_full(history)
    days = sorted(tables["intervals_5min"]["date"].unique())[-(full + 1 + nights) :]
    took: dict[str, float] = {}
    found: list[dict[str, float]] = []
    with tempfile.TemporaryDirectory() as folder:
        lake = GrowingLake(Path(folder), _FLEET, took.__setitem__)
        lake.arrive(of_days(tables, days[:full]), days[:full])
        lake.follow()
        if history > full:
            give_past(lake, (history - full) // PERIOD)
        for day in days[full:]:
            lake.arrive(of_days(tables, [day]), [day])
            took.clear()
            computed = time.process_time()
            lake.follow()
            found.append(took | {_COMPUTED: time.process_time() - computed})
    return {name: statistics.median(night[name] for night in found[1:]) for name in found[-1]}


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batteries", type=int, default=100)
    parser.add_argument("--batteries-made", type=int, default=4)
    parser.add_argument("--days", type=int, nargs="+", default=[30, 300, 3000], help="days that are there before")
    parser.add_argument("--nights", type=int, default=3, help="new days that are timed, after one that is not")
    parser.add_argument("--seed", type=int, default=3)
    asked = parser.parse_args()
    histories = sorted(asked.days)
    made = max(map(in_full, histories)) + 1 + asked.nights
    tables = given(asked.batteries, asked.batteries_made, made, asked.seed)
    costs = [
        seconds(tables, history, asked.nights)
        for history in track(histories, "histories", console=Console(stderr=True), transient=True)
    ]
    grid = Grid("made", *(f"{history:,} days" for history in histories), "growth")
    grid.title = f"Seconds for one new day, {asked.batteries} batteries"
    rows = {name: [cost[name] for cost in costs] for name in costs[-1]}
    computed = rows.pop(_COMPUTED)
    for name in sorted(rows, key=lambda name: -rows[name][-1]):
        cells = rows[name]
        grid.add_row(name, *(f"{cell:.2f}" for cell in cells), f"{cells[-1] / cells[0]:.1f}")
    for name, totals in (("all", [sum(each) for each in zip(*rows.values(), strict=True)]), (_COMPUTED, computed)):
        grid.add_row(name, *(f"{total:.1f}" for total in totals), f"{totals[-1] / totals[0]:.1f}", style="bold")
    console = Console()
    console.print(grid)
    console.print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")


if __name__ == "__main__":
    main()
