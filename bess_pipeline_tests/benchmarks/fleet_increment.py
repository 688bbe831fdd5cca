"""What one new day costs a fleet with a long history.

    python -m bess_pipeline_tests.benchmarks.fleet_increment [--batteries 100] [--years 1 5 10] [--batteries-made 4]

A few batteries are simulated over 13 weeks and copied until the fleet is as large as
asked for; all its tables are made. Then the lake is given a past: every table is copied
back in time, period by period. Of 5-minute tables only one row per battery and day is
kept in that past, for a night does not read it (a file per day is there as in a lake that grew).
One more day arrives, and each asset is timed. Seconds of one process in which
everything ran once before; the ratio to the first number of years is what holds on another machine.
"""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
from collections.abc import Iterable
from datetime import date, timedelta
from pathlib import Path

import polars as pl
from polars import selectors as cs
from rich.console import Console
from rich.table import Table as Grid

from bess_pipeline.defs.increments import increment
from bess_pipeline.lake.ledger import Notes
from bess_pipeline.lake.slices import Slice
from bess_pipeline.sources.simulate import Plan, simulate
from bess_pipeline.tables import catalog
from bess_pipeline.window import EPOCH_DAYS, epoch_start
from bess_pipeline_tests.fleet_tables import Frames, plan_without_clocks, simulated_tables, steps
from bess_pipeline_tests.growing_lake import GrowingLake

#: Days of a period of the past: whole epochs, so that what is remembered of one lies at the beginning of one.
PERIOD = 3 * EPOCH_DAYS
_GIVEN = ("intervals_5min", "cell_evidence", "capacity_evidence", "day_evidence", "batteries", "ocv_curves")
_FLEET = "fleet"


def given(batteries: int, made: int, seed: int) -> Frames:
    """What the day level and the register say of a fleet over a period and two weeks."""
    begin = epoch_start(date(2025, 1, 1)) + timedelta(days=EPOCH_DAYS)
    plan = plan_without_clocks(
        Plan(_FLEET, batteries=made, days=PERIOD + 14, seed=seed, interval_seconds=300, start=begin)
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


def give_past(lake: GrowingLake, years: float) -> None:
    """Copy every table back in time, and note that all of it was made from what is there."""
    periods = round(365.25 * years / PERIOD)
    for table in catalog.TABLES.values():
        rows = whole = lake.lake.read(table, Slice(_FLEET))
        if table in {catalog.BATTERIES, catalog.OCV_CURVES} or table.layer == "landing" or rows.is_empty():
            continue
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


def seconds(tables: Frames, years: float) -> dict[str, float]:
    """Time of each asset for one new day [s]."""
    days = sorted(tables["intervals_5min"]["date"].unique())
    took: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        lake = GrowingLake(Path(folder), _FLEET, took.__setitem__)
        lake.arrive(of_days(tables, days[:-2]), days[:-2])
        lake.follow()
        give_past(lake, years)
        for day in days[-2:]:
            lake.arrive(of_days(tables, [day]), [day])
            took.clear()
            lake.follow()
    return took


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batteries", type=int, default=100)
    parser.add_argument("--batteries-made", type=int, default=4)
    parser.add_argument("--years", type=float, nargs="+", default=[1, 5, 10])
    parser.add_argument("--seed", type=int, default=3)
    asked = parser.parse_args()
    tables = given(asked.batteries, asked.batteries_made, asked.seed)
    costs = [seconds(tables, years) for years in sorted(asked.years)]
    grid = Grid("made", *(f"{years:g} years" for years in sorted(asked.years)), "growth")
    grid.title = f"Seconds for one new day, {asked.batteries} batteries"
    for name in sorted(costs[-1], key=lambda name: -costs[-1][name]):
        cells = [cost[name] for cost in costs]
        grid.add_row(name, *(f"{cell:.2f}" for cell in cells), f"{cells[-1] / cells[0]:.1f}")
    totals = [sum(cost.values()) for cost in costs]
    grid.add_row("all", *(f"{total:.1f}" for total in totals), f"{totals[-1] / totals[0]:.1f}", style="bold")
    console = Console()
    console.print(grid)
    console.print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")


if __name__ == "__main__":
    main()
