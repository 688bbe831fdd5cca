"""What each rule about samples costs, in seconds per million rows, and as share of all that `clean` does.

`python -m bess_pipeline_tests.benchmarks.flag_rules` simulates days of healthy batteries, and prints a Markdown table.
Rules share much of what they know of the samples: values without spikes, charge, rest. So each is told twice: *own* is
what it costs beyond what is shared, which has a row of its own, and these add up; *alone* is what it would cost if
there were no other.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import polars as pl
from rich.console import Console

from bess_pipeline.analytics.flags import RULES, Samples
from bess_pipeline.analytics.samples import portions
from bess_pipeline.analytics.telemetry import clean, in_order
from bess_pipeline.sources.simulate import Plan, simulate
from bess_pipeline.tables.telemetry import RawTelemetry
from bess_pipeline_tests.analytics.made_samples import nameplates

_FLAGS = tuple(rule.flag for rule in RULES)
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
        shared: What several rules know of the samples, the spikes among them.
        own: Each rule after that.
        alone: Each rule on samples of which nothing is known yet.
    """

    whole: float
    shared: float
    own: dict[str, float]
    alone: dict[str, float]


def measured(day: Day, repeats: int) -> Costs:
    """What `clean` and each of its rules cost; the first repetition, which compiles and fills caches, is left out."""
    rows = in_order(day.samples)
    whole, shared, own, alone = [], [], [], []
    for _ in range(repeats + 1):
        whole.append(seconds(lambda: clean(day.samples, day.batteries)))
        shared.append(0.0)
        own.append(dict.fromkeys(_FLAGS, 0.0))
        alone.append(dict.fromkeys(_FLAGS, 0.0))
        for some in portions(rows):
            samples = Samples(some, day.batteries)
            shared[-1] += seconds(lambda samples=samples: (samples.quiet, samples.response, samples.charged))
            for rule in RULES:
                finds, fresh = rule.finds, Samples(some, day.batteries)
                own[-1][rule.flag] += seconds(lambda finds=finds, samples=samples: finds(samples))
                alone[-1][rule.flag] += seconds(lambda finds=finds, fresh=fresh: finds(fresh))
    million = rows.height / 1e6
    return Costs(
        statistics.median(whole[1:]) / million,
        statistics.median(shared[1:]) / million,
        {flag: statistics.median(one[flag] for one in own[1:]) / million for flag in _FLAGS},
        {flag: statistics.median(one[flag] for one in alone[1:]) / million for flag in _FLAGS},
    )


def table(costs: dict[int, Costs]) -> str:
    """The costs at each sampling interval [s] as a Markdown table."""
    heads = [f"{kind}, {interval} s" for interval in costs for kind in ("own", "share", "alone")]
    lines = [f"| rule | {' | '.join(heads)} |", f"|---|{'---:|' * len(heads)}"]

    def add(name: str, cells: Iterable[tuple[float, float, str]]) -> None:
        told = (f"{own:.3f} | {own / whole:.1%} | {alone}" for own, whole, alone in cells)
        lines.append(f"| {name} | {' | '.join(told)} |")

    add("what rules share", ((cost.shared, cost.whole, "") for cost in costs.values()))
    for flag in _FLAGS:
        add(f"`{flag}`", ((cost.own[flag], cost.whole, f"{cost.alone[flag]:.3f}") for cost in costs.values()))
    add("all rules", ((cost.shared + sum(cost.own.values()), cost.whole, "") for cost in costs.values()))
    add("`clean`", ((cost.whole, cost.whole, "") for cost in costs.values()))
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
