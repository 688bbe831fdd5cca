"""What the tables of a fleet cost, and how that grows with its years.

    python -m bess_pipeline_tests.benchmarks.fleet_history [--batteries 4] [--years 1 2 4] [--repeats 2]

Simulates one fleet of 5-minute means over the longest span, and makes all tables of
the fleet level from the first years of it: seconds of each asset per million 5-minute
rows. The last column is the cost per row after the most years over that after the
fewest: 1 means that work grows as the rows do. Every time is of one process in which
each function ran once before.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
from datetime import timedelta

import polars as pl
from rich.console import Console
from rich.table import Table as Grid

from bess_pipeline.sources.simulate import Plan, simulate
from bess_pipeline.tables import catalog
from bess_pipeline_tests.fleet_tables import Frames, followed, plan_without_clocks, simulated_tables

#: What the day level hands to the fleet level, and the register.
_GIVEN = (
    catalog.INTERVALS_5MIN, catalog.CELL_EVIDENCE, catalog.DAY_EVIDENCE, catalog.BATTERIES, catalog.OCV_CURVES,
)  # fmt: skip


def given(plan: Plan) -> Frames:
    """The tables of the day level of a synthetic fleet."""
    names = [table.name for table in _GIVEN]
    tables = simulated_tables(simulate(plan_without_clocks(plan)), wanted=names)
    return {name: tables[name] for name in tables if catalog.TABLES[name].per == "fleet_day" or name in names}


def first_years(tables: Frames, years: float) -> Frames:
    """The rows of the first years."""
    begun = tables[catalog.INTERVALS_5MIN.name]["date"].min()
    assert begun is not None
    before = pl.col("date") < begun + timedelta(days=365.25 * years)  # type: ignore[operator]
    return {name: frame.filter(before) if "date" in frame.columns else frame for name, frame in tables.items()}


def seconds(tables: Frames) -> dict[str, float]:
    """Time of each asset of the fleet level [s]."""
    took: dict[str, float] = {}
    followed(tables, told=took.__setitem__)
    return took


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batteries", type=int, default=4)
    parser.add_argument("--years", type=float, nargs="+", default=[1, 2, 4])
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--seed", type=int, default=3)
    asked = parser.parse_args()
    years = sorted(asked.years)
    plan = Plan(
        "history", batteries=asked.batteries, days=round(365.25 * years[-1]), seed=asked.seed, interval_seconds=300
    )
    whole = given(plan)
    seconds(first_years(whole, 0.2))
    parts = [first_years(whole, span) for span in years]
    rows = [part[catalog.INTERVALS_5MIN.name].height / 1e6 for part in parts]
    runs = [[seconds(part) for _ in range(asked.repeats)] for part in parts]
    costs = [
        {name: statistics.median(run[name] for run in several) / million for name in several[0]}
        for several, million in zip(runs, rows, strict=True)
    ]
    grid = Grid("made", *(f"{span:g} years" for span in years), "growth")
    grid.title = "Seconds per million 5-minute rows"
    for name in sorted(costs[-1], key=lambda name: -costs[-1][name]):
        cells = [cost[name] for cost in costs]
        grid.add_row(name, *(f"{cell:.2f}" for cell in cells), f"{cells[-1] / cells[0]:.2f}")
    sums = [sum(cost.values()) for cost in costs]
    grid.add_row("all", *(f"{cell:.2f}" for cell in sums), f"{sums[-1] / sums[0]:.2f}", style="bold")
    console = Console()
    console.print(grid)
    console.print(
        f"{', '.join(f'{million:.2f}' for million in rows)} million rows of {asked.batteries} batteries; "
        f"{os.cpu_count()} cores, Python {platform.python_version()}, Polars {pl.__version__}"
    )


if __name__ == "__main__":
    main()
