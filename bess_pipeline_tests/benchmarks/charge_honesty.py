"""Whether the state of charge is where its interval says, on synthetic fleets, with the maker's curve or without one.

    python -m bess_pipeline_tests.benchmarks.charge_honesty --seeds 101 102 --profile arbitrage reserve --days 7

Without `--maker`, the estimator knows no more of the open-circuit voltage than what is
built in for the chemistry. Fleets have data faults, but no battery faults, and go from
samples to estimates without files (see `bess_pipeline_tests.fleet_tables`).
"""

from __future__ import annotations

import argparse
from typing import get_args

import polars as pl

from bess_pipeline.analytics.battery_states import estimates
from bess_pipeline.analytics.charge import telemetry_5min
from bess_pipeline.sources.simulate import Plan, simulate
from bess_pipeline.sources.simulate.plan import ChemistryName, ProfileName
from bess_pipeline.sources.simulate.truth import truth_tables
from bess_pipeline_tests.fleet_tables import plan_without_clocks, simulated_tables

#: A state of charge that is wrong by more than this, outside its interval, is grossly wrong [points].
GROSS = 20.0


def charge_beside_truth(plan: Plan, *, maker: bool) -> pl.DataFrame:
    """One row per battery and 5 minutes: `true` state of charge, estimate and interval of 90 % [%], error [points].

    Args:
        plan: The fleet.
        maker: Whether the estimator has the maker's open-circuit curve.
    """
    simulated = simulate(plan_without_clocks(plan))
    tables = simulated_tables(simulated, wanted=["closed_intervals", "batteries", "ocv_curves"])
    rows, batteries, curves = (tables[name] for name in ("closed_intervals", "batteries", "ocv_curves"))
    found = estimates(rows, batteries, curves if maker else curves.clear())
    ends = pl.col("ts").dt.truncate("5m").dt.offset_by("5m").dt.replace_time_zone("UTC")
    true = truth_tables(simulated)["soc_5min"].select(
        battery_id="rack_id", timestamp=ends, true=100 * pl.col("soc_true").cast(pl.Float64)
    )
    return (
        telemetry_5min(rows, found.charge, batteries)
        .select("battery_id", "timestamp", "soc_percent", "soc_lower_percent", "soc_upper_percent")
        .join(true, on=["battery_id", "timestamp"])
        .drop_nulls()
        .with_columns(
            error=pl.col("soc_percent") - pl.col("true"),
            inside=pl.col("true").is_between("soc_lower_percent", "soc_upper_percent"),
        )
    )


def honesty(rows: pl.DataFrame) -> dict[str, float]:
    """What is said of one fleet.

    Args:
        rows: Those of `charge_beside_truth`.
    """
    off = pl.col("error").abs()
    each = rows.group_by("battery_id").agg(
        gross=((off > GROSS) & ~pl.col("inside")).any(), inside=pl.col("inside").mean()
    )
    return {
        "batteries": each.height,
        "grossly wrong": int(each["gross"].sum()),
        "mostly outside": int((each["inside"] < 0.5).sum()),
        "inside [%]": 100 * rows.select(pl.col("inside").mean()).item(),
        "median [points]": rows.select(off.median()).item(),
        "p95 [points]": rows.select(off.quantile(0.95)).item(),
        "width [points]": rows.select((pl.col("soc_upper_percent") - pl.col("soc_lower_percent")).median()).item(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", required=True)
    parser.add_argument("--chemistry", nargs="+", choices=get_args(ChemistryName), default=["LFP"])
    parser.add_argument("--profile", nargs="+", choices=get_args(ProfileName), default=list(get_args(ProfileName)))
    parser.add_argument("--batteries", type=int, default=100)
    parser.add_argument("--days", type=int, default=7)
    parser.add_argument("--interval", type=int, default=300, help="seconds from sample to sample")
    parser.add_argument("--maker", action="store_true", help="with the maker's open-circuit curve")
    given = parser.parse_args()
    for chemistry in given.chemistry:
        for profile in given.profile:
            for seed in given.seeds:
                plan = Plan(
                    f"{chemistry.lower()}-{seed}",
                    batteries=given.batteries,
                    days=given.days,
                    seed=seed,
                    interval_seconds=given.interval,
                    chemistry=chemistry,
                    profile=profile,
                    faults=(),
                )
                figures = honesty(charge_beside_truth(plan, maker=given.maker))
                said = ", ".join(f"{name} {value:.4g}" for name, value in figures.items())
                print(f"{chemistry} {profile} {seed}: {said}", flush=True)  # noqa: T201 - what it is for


if __name__ == "__main__":
    main()
