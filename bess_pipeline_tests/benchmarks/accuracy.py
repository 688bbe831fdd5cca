"""Accuracy on synthetic fleets of given seeds: every row of the table, with n, beside estimators without effort.

    python -m bess_pipeline_tests.benchmarks.accuracy --seeds 1 2 3 --chemistry LFP --profile arbitrage --days 400

Without `--home`, each fleet goes straight from its samples to the tables (see
`bess_pipeline_tests.fleet_tables`): the same functions in the same order, without
files, Dagster runs and faults of clocks. With `--home DIR`, the fleets are written
into that home, `bess run` does all that it does, and the home is evaluated.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import subprocess
import sys
import time
from datetime import date
from pathlib import Path
from typing import get_args

import polars as pl
from rich.console import Console

from bess_pipeline.analytics.accuracy_table import figures
from bess_pipeline.analytics.alarm_points import Raised
from bess_pipeline.analytics.evaluation import struck_batteries
from bess_pipeline.analytics.fleet_accuracy import JUDGED, Accuracy, fleet_accuracy
from bess_pipeline.analytics.known_truth import known_truth
from bess_pipeline.defs.evaluate import accuracy_grids, alarm_grid
from bess_pipeline.sources.simulate import Plan, simulate, write_fleet
from bess_pipeline.sources.simulate.data_faults import delivered, events_table
from bess_pipeline.sources.simulate.plan import ProfileName
from bess_pipeline.sources.simulate.truth import END_OF_LIFE, truth_tables
from bess_pipeline_tests.fleet_tables import plan_without_clocks, simulated_tables


def plan_accuracy(plan: Plan) -> Accuracy:
    """How the tables of a synthetic fleet, made without files, compare with its truth."""
    simulated = simulate(plan_without_clocks(plan))
    tables = simulated_tables(simulated, wanted=JUDGED)
    batteries = tables["batteries"]
    run = {"start": plan.start.isoformat(), "days": plan.days, "dt": plan.interval_seconds, "eol": END_OF_LIFE}
    truth = known_truth(truth_tables(simulated), run, batteries)
    events = events_table(delivered(simulated.plan, simulated.samples).events)
    return fleet_accuracy(
        {name: tables[name] for name in JUDGED if name in tables}, batteries, truth, struck_batteries(events, batteries)
    )


def table_of(every: list[Accuracy]) -> pl.DataFrame:
    """The table of accuracy over several fleets."""
    return figures(pl.concat(each.errors for each in every), frozenset().union(*(each.missing for each in every)))


def _plans(given: argparse.Namespace) -> list[Plan]:
    return [
        Plan(
            fleet_id=f"{chemistry.lower()}-{profile.replace('_', '-')}-{seed}",
            batteries=given.batteries,
            days=given.days,
            seed=seed,
            interval_seconds=given.interval,
            chemistry=chemistry,
            profile=profile,
            start=given.start,
            faults=tuple(given.faults),
            data_faults=not given.clean,
        )
        for chemistry in given.chemistry
        for profile in given.profile
        for seed in given.seeds
    ]


def _directly(plans: list[Plan], console: Console) -> pl.DataFrame:
    found = []
    for plan in plans:
        begun = time.perf_counter()
        found.append(plan_accuracy(plan))
        gc.collect()
        console.print(f"{plan.fleet_id}: {time.perf_counter() - begun:.1f} s", highlight=False)
    console.print(alarm_grid(Raised.of(each.raised for each in found)))
    return table_of(found)


def _through_a_home(plans: list[Plan], home: Path, console: Console) -> pl.DataFrame:
    for plan in plans:
        write_fleet(simulate(plan), home)
    environment = {**os.environ, "BESS_HOME": str(home)}
    first = min(plan.start for plan in plans).isoformat()
    environment.setdefault("BESS_FIRST_DAY", first)
    out = home / "accuracy.json"
    for command in (["run"], ["evaluate", "--json", str(out)]):
        begun = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "bess_pipeline", *command],
            env=environment,
            check=True,
            stdout=subprocess.DEVNULL,
        )
        console.print(f"bess {command[0]}: {time.perf_counter() - begun:.1f} s", highlight=False)
    said = json.loads(out.read_text())
    return pl.DataFrame(said["accuracy"], infer_schema_length=None)


def main() -> None:
    """Simulate, estimate, judge, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--chemistry", nargs="+", default=["LFP"], choices=["LFP", "NMC"])
    parser.add_argument("--profile", nargs="+", default=["arbitrage"], choices=get_args(ProfileName))
    parser.add_argument("--batteries", type=int, default=6)
    parser.add_argument("--days", type=int, default=400)
    parser.add_argument("--interval", type=int, default=300, help="seconds from sample to sample")
    parser.add_argument("--start", type=date.fromisoformat, default=date(2022, 1, 1))
    parser.add_argument("--faults", nargs="*", default=[], help="battery faults to plant, e.g. knee")
    parser.add_argument("--clean", action="store_true", help="deliver without data faults")
    parser.add_argument("--home", type=Path, help="go through files and `bess run` in this home")
    parser.add_argument("--json", type=Path, help="write the table to this file as well")
    given = parser.parse_args()
    console = Console()
    plans = _plans(given)
    table = _directly(plans, console) if given.home is None else _through_a_home(plans, given.home, console)
    console.print(*accuracy_grids(table))
    if given.json is not None:
        given.json.write_text(json.dumps(table.to_dicts(), indent=1))


if __name__ == "__main__":
    main()
