"""What each rule about samples costs, in seconds per million rows, and as share of all that `clean` does.

`python -m bess_pipeline_tests.benchmarks.flag_rules` simulates days of healthy batteries, and prints a Markdown table.
Rules share what they know of the samples, so that each is told twice: *added* is what it costs in its turn, after
those before it, and these add up; *alone* is what it would cost if there were no other.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import polars as pl
from rich.console import Console

from bess_pipeline.analytics.flags import RULES, Samples
from bess_pipeline.analytics.telemetry import clean, in_order
from bess_pipeline.sources.simulate import Plan, simulate
from bess_pipeline.tables.telemetry import RawTelemetry
from bess_pipeline_tests.analytics.made_samples import nameplates

_NOT_OF_SAMPLES = {"path", "row_number", "first_seen", "verdict"}
_SAMPLE = {name: kind for name, kind in RawTelemetry.create_empty().schema.items() if name not in _NOT_OF_SAMPLES}


@dataclass(frozen=True)
class Day:
    """A day of healthy batteries, as `clean` takes it: accepted samples, and nameplates."""

    samples: pl.DataFrame
    batteries: pl.DataFrame


def made_day(*, rows: int, interval: int, seed: int) -> Day:
    """About so many samples of batteries in regulation, each seen for a day.

    Args:
        rows: How many samples, at least those of one battery.
        interval: From sample to sample [s].
        seed: Of the simulation.
    """
    count = max(1, round(rows * interval / 86_400))
    plan = Plan(
        "rules", batteries=count, days=1, seed=seed, interval_seconds=interval, profile="frequency",
        faults=(), data_faults=False,
    )  # fmt: skip
    made = simulate(plan)
    known = made.samples.with_columns(
        fleet_id=pl.lit(plan.fleet_id),
        date=pl.col("timestamp").dt.date(),
        arrival=pl.int_range(pl.len()),
        clock_shift_us=pl.lit(0, pl.Int64),
    )
    absent = {name: pl.lit(None, kind) for name, kind in _SAMPLE.items() if name not in known.columns}
    plates = nameplates(
        [plan.battery_id(number) for number in range(count)],
        fleet_id=plan.fleet_id,
        rated_capacity_ah=made.cells.capacity_ah,
        rated_energy_wh=made.cells.capacity_ah * made.cells.in_series * made.cells.nominal_volt,
        cells_in_series=made.cells.in_series,
    )
    return Day(known.with_columns(**absent).select(*_SAMPLE, "arrival"), plates)


def seconds(work: Callable[[], object]) -> float:
    """Wall time of some work [s]."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


@dataclass(frozen=True)
class Costs:
    """Medians over the repetitions [s per million rows].

    Attributes:
        whole: All of `clean`.
        added: Each rule after those before it.
        alone: Each rule on samples of which nothing is known yet.
    """

    whole: float
    added: dict[str, float]
    alone: dict[str, float]


def measured(day: Day, repeats: int) -> Costs:
    """What `clean` and each of its rules cost; the first repetition, which compiles and fills caches, is left out."""
    rows = in_order(day.samples)
    whole: list[float] = []
    added: dict[str, list[float]] = {rule.flag: [] for rule in RULES}
    alone: dict[str, list[float]] = {rule.flag: [] for rule in RULES}
    for _ in range(repeats + 1):
        whole.append(seconds(lambda: clean(day.samples, day.batteries)))
        shared = Samples(rows, day.batteries)
        for rule in RULES:
            finds, fresh = rule.finds, Samples(rows, day.batteries)
            added[rule.flag].append(seconds(lambda finds=finds, shared=shared: finds(shared)))
            alone[rule.flag].append(seconds(lambda finds=finds, fresh=fresh: finds(fresh)))
    million = rows.height / 1e6
    return Costs(
        statistics.median(whole[1:]) / million,
        {flag: statistics.median(found[1:]) / million for flag, found in added.items()},
        {flag: statistics.median(found[1:]) / million for flag, found in alone.items()},
    )


def table(costs: dict[int, Costs]) -> str:
    """The costs at each sampling interval [s] as a Markdown table."""
    heads = [f"{kind}, {interval} s" for interval in costs for kind in ("added", "share", "alone")]
    lines = [f"| rule | {' | '.join(heads)} |", f"|---|{'---:|' * len(heads)}"]
    for rule in RULES:
        cells = [
            cell
            for cost in costs.values()
            for cell in (
                f"{cost.added[rule.flag]:.3f}",
                f"{cost.added[rule.flag] / cost.whole:.0%}",
                f"{cost.alone[rule.flag]:.3f}",
            )
        ]
        lines.append(f"| `{rule.flag}` | {' | '.join(cells)} |")
    rules = [
        f"{sum(cost.added.values()):.2f} | {sum(cost.added.values()) / cost.whole:.0%} | " for cost in costs.values()
    ]
    lines.append(f"| all rules | {'| '.join(rules)}|")
    lines.append(f"| `clean` | {'| '.join(f'{cost.whole:.2f} | 100% | ' for cost in costs.values())}|")
    return "\n".join(lines)


def main() -> None:
    """Measure at each sampling interval, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000, help="about how many samples")
    parser.add_argument("--intervals", type=int, nargs="+", default=[1, 60], help="from sample to sample, in seconds")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seed", type=int, default=5)
    given = parser.parse_args()
    costs = {
        interval: measured(made_day(rows=given.rows, interval=interval, seed=given.seed), given.repeats)
        for interval in given.intervals
    }
    console = Console(soft_wrap=True)
    console.print(table(costs), markup=False, highlight=False)
    console.print(
        f"\nSeconds per million rows, medians of {given.repeats} on {os.cpu_count()} cores ({platform.machine()}), "
        f"Python {platform.python_version()}, Polars {pl.__version__}; {given.rows / 1e6:g} million rows of healthy "
        "batteries in regulation.",
        markup=False,
        highlight=False,
    )


if __name__ == "__main__":
    main()
