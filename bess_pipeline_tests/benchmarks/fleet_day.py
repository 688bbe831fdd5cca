"""One fleet-day of 50 batteries at 1 s as CSV, through the pipeline and through a bare copy to Parquet.

    python -m bess_pipeline_tests.benchmarks.fleet_day [--batteries 50] [--interval 1] [--repeats 3]

Each repetition reads the same file twice, one after the other: Polars copies it from
CSV to Parquet (`scan_csv` with times parsed by their format, `sink_parquet`), then
`bess run` does all that it does in an empty home. The times of its steps are
Dagster's own. What is printed are ratios to the copy of the same repetition, because
machines differ and are shared. Peak memory is that of the whole process of `bess run`.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import polars as pl
import yaml
from dagster import DagsterInstance
from rich.console import Console
from rich.table import Table

from bess_pipeline.sources.simulate import Plan, simulate

FLEET = "fleet_day"
#: Steps from the landing zone to the 5-minute rows, in order, as Dagster names them.
STAGES = {
    "landing: index, rows without a day": "landing_index",
    "raw: read, verdicts, accounts": "received",
    "clean: flags": "clean_telemetry",
    "5-minute rows and evidence": "condensed",
}
_COLUMNS = [
    "timestamp",
    "battery_id",
    "voltage_volt",
    "current_ampere",
    "temperature_celsius",
    "temperature_min_celsius",
    "temperature_max_celsius",
    "cell_voltage_min_volt",
    "cell_voltage_max_volt",
    "soc_bms_percent",
]


def delivered(folder: Path, *, batteries: int, interval: int) -> Path:
    """Write the day as one CSV file in house names, rows by time; the home's fleet file beside it."""
    plan = Plan(FLEET, batteries=batteries, days=1, seed=5, interval_seconds=interval, faults=(), data_faults=False)
    simulated = simulate(plan)
    cells = simulated.cells
    landing = folder / "landing" / FLEET
    landing.mkdir(parents=True)
    (folder / "fleets").mkdir()
    said = {
        "fleet_id": FLEET,
        "battery": {
            "chemistry": plan.chemistry,
            "rated_capacity_ah": cells.capacity_ah,
            "rated_energy_wh": round(cells.capacity_ah * cells.in_series * cells.nominal_volt),
            "cells_in_series": cells.in_series,
        },
        "source": {
            "format": "csv",
            "columns": {
                "timestamp": {"from": "timestamp", "format": "%Y-%m-%d %H:%M:%S"},
                **{name: {"from": name} for name in _COLUMNS[1:]},
            },
        },
    }
    (folder / "fleets" / f"{FLEET}.yaml").write_text(yaml.safe_dump(said))
    path = landing / "day.csv"
    rows = simulated.samples.select(_COLUMNS).sort("timestamp", "battery_id")
    rows.with_columns(pl.col("timestamp").dt.strftime("%Y-%m-%d %H:%M:%S")).write_csv(path)
    return path


def copied(csv: Path, target: Path) -> float:
    """Seconds that a bare copy takes."""
    begun = time.perf_counter()
    moment = pl.col("timestamp").str.to_datetime("%Y-%m-%d %H:%M:%S", time_unit="us", time_zone="UTC")
    pl.scan_csv(csv).with_columns(moment).sink_parquet(target)
    return time.perf_counter() - begun


def run(home: Path) -> tuple[float, dict[str, float], float]:
    """Seconds of `bess run`, seconds of each of its steps, and its peak memory [MiB]."""
    for made in ("lake", "warehouse", "dagster_home"):
        shutil.rmtree(home / made, ignore_errors=True)
    environment = {**os.environ, "BESS_HOME": str(home)}
    begun = time.perf_counter()
    subprocess.run([sys.executable, "-m", "bess_pipeline.cli", "run"], env=environment, check=True, capture_output=True)
    took = time.perf_counter() - begun
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    steps: dict[str, float] = {}
    with DagsterInstance.from_config(str(home / "dagster_home")) as instance:
        for record in instance.get_run_records():
            for step in instance.get_run_step_stats(record.dagster_run.run_id):
                if step.start_time and step.end_time:
                    steps[step.step_key] = steps.get(step.step_key, 0.0) + step.end_time - step.start_time
    return took, steps, peak


def main() -> None:
    """Measure, and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batteries", type=int, default=50)
    parser.add_argument("--interval", type=int, default=1, help="seconds from sample to sample")
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bess-bench-") as name:
        home = Path(name)
        csv = delivered(home, batteries=given.batteries, interval=given.interval)
        rows = given.batteries * 86_400 // given.interval
        ratios: dict[str, list[float]] = {stage: [] for stage in STAGES}
        copies, sums, wholes = [], [], []
        peak = 0.0
        for _ in range(given.repeats):
            copy = copied(csv, home / "copy.parquet")
            took, steps, peak = run(home)
            copies.append(copy)
            wholes.append(took / copy)
            for stage, step in STAGES.items():
                ratios[stage].append(steps[step] / copy)
            sums.append(sum(steps[step] for step in STAGES.values()) / copy)
        grid = Table("stage", "median of the ratios", "least to most", "s per million rows")
        grid.title = f"{rows / 1e6:.2f} M rows, {csv.stat().st_size / 1e6:.0f} MB of CSV, as multiples of a bare copy"
        scale = statistics.median(copies) / rows * 1e6
        parts = {**ratios, "landing to 5-minute rows": sums, "bess run, fleet tables and warehouse included": wholes}
        for stage, found in parts.items():
            middle = statistics.median(found)
            grid.add_row(stage, f"{middle:.2f}", f"{min(found):.2f} to {max(found):.2f}", f"{middle * scale:.2f}")
        Console().print(grid)
        lake = sum(file.stat().st_size for file in (home / "lake").rglob("*.parquet"))
        Console().print(
            f"bare copy: median {statistics.median(copies):.2f} s ({scale:.2f} s per million rows), "
            f"{(home / 'copy.parquet').stat().st_size / 1e6:.0f} MB; the lake: {lake / 1e6:.0f} MB; "
            f"peak memory {peak:.0f} MiB; {os.cpu_count()} cores, "
            f"Python {sys.version.split()[0]}, Polars {pl.__version__}"
        )


if __name__ == "__main__":
    main()
