"""One fleet-day of 50 batteries at 1 s as CSV: the pipeline, a pandas program that does less, and two that are bare.

    python -m bess_pipeline_tests.benchmarks.fleet_day [--batteries 50] [--interval 1] [--repeats 5]

Each repetition takes the same file four times, one after the other: Polars copies it from CSV to Parquet
(`scan_csv` with times parsed by their format, `sink_parquet`); Polars stores what the pipeline stores of samples, and
decides nothing of them: by battery, stored, read again and stored once more, condensed; `pandas_program` does its work;
`bess run` does all that it does in an empty home, up to the published warehouse. Each is a process of its own. The
times of steps are Dagster's own; what a process needs until it begins is told apart. What is printed are ratios of the
same repetition, because machines differ and are shared.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import polars as pl
import yaml
from rich.console import Console
from rich.progress import track
from rich.table import Table

from bess_pipeline.config import Settings
from bess_pipeline.defs.instance import instance_of
from bess_pipeline.sources.simulate import Plan, simulate

FLEET = "fleet_day"
#: Steps from the landing zone to the 5-minute rows, in order, as Dagster names them.
STAGES = {
    "landing: index, rows without a day": "landing_index",
    "raw: read, verdicts, accounts": "received",
    "clean: flags": "clean_telemetry",
    "5-minute rows and evidence": "condensed",
    "fleet tables": "",
    "warehouse": "warehouse",
}
BESS_RUN = ("-m", "bess_pipeline", "run")
_COPY = """
import polars as pl, sys
moment = pl.col("timestamp").str.to_datetime("%Y-%m-%d %H:%M:%S", time_unit="us", time_zone="UTC")
pl.scan_csv(sys.argv[1]).with_columns(moment).sink_parquet(sys.argv[2])
"""
_STORE = """
import polars as pl, sys
csv, folder = sys.argv[1:]
moment = pl.col("timestamp").str.to_datetime("%Y-%m-%d %H:%M:%S", time_unit="us", time_zone="UTC")
rows = pl.scan_csv(csv).with_columns(moment).with_row_index("row_number").collect(engine="streaming")
zstd = {"compression": "zstd", "compression_level": 1}
pl.concat(rows.partition_by("battery_id", maintain_order=True)).lazy().sink_parquet(f"{folder}/raw.parquet", **zstd)
power = pl.col("voltage_volt") * pl.col("current_ampere")
pl.scan_parquet(f"{folder}/raw.parquet").with_columns(power_watt=power).sink_parquet(f"{folder}/clean.parquet", **zstd)
values = pl.selectors.float()
five = pl.scan_parquet(f"{folder}/clean.parquet").group_by("battery_id", pl.col("timestamp").dt.truncate("5m"))
five = five.agg(values.mean().name.suffix("_mean"), values.min().name.suffix("_min"), values.max().name.suffix("_max"))
five.collect(engine="streaming").write_parquet(f"{folder}/five_minutes.parquet", **zstd)
"""
#: A small process between the one that measures and the one that is measured: the peak of a process that was begun by a
#: large one is at least as large, whatever it does.
_MEASURED = """
import json, os, subprocess, sys, time
begun = time.perf_counter()
with subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL) as child:
    _, status, used = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
took = time.perf_counter() - begun, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024
print(json.dumps([child.returncode, *took]))
"""
#: What each process needs before it begins with the file.
_STARTS = {
    "copy": "import polars",
    "store": "import polars",
    "pandas": "import bess_pipeline_tests.benchmarks.pandas_program",
    "bess run": "import bess_pipeline.definitions",
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


@dataclass(frozen=True)
class Took:
    """What a process took: wall time and time of processors [s], and its peak memory [MiB]."""

    wall: float
    processors: float
    peak: float


def process(
    *command: str, home: Path | None = None, said: IO[str] | None = None, watch: Callable[[], None] | None = None
) -> Took:
    """Run Python with these arguments, and measure it and the processes that it begins and waits for.

    Args:
        command: The arguments.
        home: The deployment that it works on; that of the environment by default.
        said: Where its standard error goes, if not where that of this process goes.
        watch: Called every second while it runs.

    Raises:
        subprocess.CalledProcessError: If it fails.
    """
    environment = os.environ if home is None else {**os.environ, "BESS_HOME": str(home)}
    whole = [sys.executable, "-c", _MEASURED, sys.executable, *command]
    with subprocess.Popen(whole, env=environment, stdout=subprocess.PIPE, stderr=said, text=True) as child:
        while True:
            try:
                told, _ = child.communicate(timeout=None if watch is None else 1.0)
                break
            except subprocess.TimeoutExpired:
                if watch is not None:
                    watch()
    if child.returncode:
        raise subprocess.CalledProcessError(child.returncode, whole)
    status, wall, processors, peak = json.loads(told)
    if status:
        raise subprocess.CalledProcessError(status, command)
    return Took(wall, processors, peak)


def steps_of(home: Path) -> dict[str, float]:
    """Seconds of each step of the runs of a home."""
    found: dict[str, float] = {}
    with instance_of(Settings(home=home)) as instance:
        for record in instance.get_run_records():
            for step in instance.get_run_step_stats(record.dagster_run.run_id):
                if step.start_time and step.end_time:
                    found[step.step_key] = found.get(step.step_key, 0.0) + step.end_time - step.start_time
    return found


def stages_of(home: Path) -> dict[str, float]:
    """Seconds of the runs of a home by stage."""
    steps = steps_of(home)
    named = {stage: steps.pop(step) for stage, step in STAGES.items() if step}
    return {stage: named.get(stage, sum(steps.values())) for stage in STAGES}


def run(home: Path) -> tuple[Took, dict[str, float]]:
    """What `bess run` takes in an empty home, and seconds by stage."""
    emptied(home)
    return process(*BESS_RUN, home=home), stages_of(home)


def emptied(home: Path) -> None:
    """Leave nothing in a home but what is delivered."""
    for made in ("lake", "warehouse", "dagster_home"):
        shutil.rmtree(home / made, ignore_errors=True)


def main() -> None:
    """Measure, and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batteries", type=int, default=50)
    parser.add_argument("--interval", type=int, default=1, help="seconds from sample to sample")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--engine", choices=("c", "pyarrow"), default="c", help="of pandas.read_csv")
    given = parser.parse_args()
    console = Console()
    with tempfile.TemporaryDirectory(prefix="bess-bench-") as name:
        home = Path(name)
        csv = delivered(home, batteries=given.batteries, interval=given.interval)
        rows = given.batteries * 86_400 // given.interval
        copy, program = str(home / "copy.parquet"), ("-m", "bess_pipeline_tests.benchmarks.pandas_program")
        (home / "stored").mkdir()
        found: dict[str, list[Took]] = {who: [] for who in _STARTS}
        stages: list[dict[str, float]] = []
        for _ in track(range(given.repeats), "repetitions", console=console, transient=True):
            found["copy"].append(process("-c", _COPY, str(csv), copy))
            found["store"].append(process("-c", _STORE, str(csv), str(home / "stored")))
            found["pandas"].append(process(*program, str(csv), str(home / "pandas"), "--engine", given.engine))
            took, steps = run(home)
            found["bess run"].append(took)
            stages.append(steps)
        starts = {who: statistics.median(process("-c", what).wall for _ in range(3)) for who, what in _STARTS.items()}
        lake = sum(file.stat().st_size for file in (home / "lake").rglob("*.parquet"))
        pandas_bytes = sum(file.stat().st_size for file in (home / "pandas").iterdir())
        console.print(
            f"{rows / 1e6:.2f} M rows, {csv.stat().st_size / 1e6:.0f} MB of CSV; written: copy "
            f"{Path(copy).stat().st_size / 1e6:.0f} MB, pandas {pandas_bytes / 1e6:.0f} MB, lake {lake / 1e6:.0f} MB; "
            f"{os.cpu_count()} cores, Python {sys.version.split()[0]}, Polars {pl.__version__}"
        )
        console.print(_whole(found, starts))
        console.print(_by_stage(stages, found, starts))


def _whole(found: dict[str, list[Took]], starts: dict[str, float]) -> Table:
    """Each program: medians, and ratios of each repetition without what a process needs until it begins."""
    grid = Table("program", "s", "start of it", "s of processors", "peak MiB", "over the copy", "pandas over it")
    grid.title = "medians; ratios without starts, least to most"
    for who, took in found.items():
        net = [one.wall - starts[who] for one in took]
        over = [mine / (one.wall - starts["copy"]) for mine, one in zip(net, found["copy"], strict=True)]
        faster = [(one.wall - starts["pandas"]) / mine for mine, one in zip(net, found["pandas"], strict=True)]
        grid.add_row(
            who, f"{statistics.median(one.wall for one in took):.2f}", f"{starts[who]:.2f}",
            f"{statistics.median(one.processors for one in took):.1f}", f"{max(one.peak for one in took):.0f}",
            _spread(over), _spread(faster),
        )  # fmt: skip
    return grid


def _by_stage(stages: list[dict[str, float]], found: dict[str, list[Took]], starts: dict[str, float]) -> Table:
    """Where the time of `bess run` goes."""
    grid = Table("stage of bess run", "s", "over the copy")
    copies = [one.wall - starts["copy"] for one in found["copy"]]
    rest = [
        one.wall - starts["bess run"] - sum(steps.values())
        for one, steps in zip(found["bess run"], stages, strict=True)
    ]
    parts = {stage: [steps[stage] for steps in stages] for stage in STAGES} | {"between steps": rest}
    for stage, took in parts.items():
        grid.add_row(
            stage, f"{statistics.median(took):.2f}", _spread([a / b for a, b in zip(took, copies, strict=True)])
        )
    return grid


def _spread(ratios: list[float]) -> str:
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


if __name__ == "__main__":
    main()
