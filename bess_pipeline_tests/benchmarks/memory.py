"""Peak memory of making days, for a short and a long range: `python -m bess_pipeline_tests.benchmarks.memory FOLDER`.

Each range is made by a process of its own, in one run of Dagster; the peak is that of the whole process [MB].
"""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import date
from pathlib import Path

from bess_pipeline.defs import jobs, plan
from bess_pipeline.defs.instance import instance_of
from bess_pipeline.defs.resources import Home
from bess_pipeline.defs.runs import Launcher
from bess_pipeline.sources.simulate import Plan, simulate, write_fleet

RANGES = (5, 30)
PLAN = {"fleet_id": "alpha", "batteries": 4, "interval_seconds": 10, "start": date(2026, 3, 1)}


def made() -> float:
    """Index the fleet of the home that the environment names and make its days; the peak of this process [MB]."""
    home = Home()
    with instance_of(home.settings) as instance:
        launcher = Launcher(instance, lambda: None)
        home.lake.create()
        launcher.add_fleet("alpha")
        index = plan.indexing(home, "alpha")
        for work in [*([index] if index else []), *([] if index else plan.making_days(home, "alpha"))]:
            result = launcher.run(work.job, work.tags)
            if result.failures:
                raise RuntimeError(result.failures)
            if work.job == jobs.TELEMETRY.name:
                sys.stdout.write(f"{work.what}\n")
    # Not what `getrusage` says: that begins with the memory of the process that started this one.
    told = Path("/proc/self/status").read_text()
    return int(told.split("VmHWM:")[1].split()[0]) / 1024


def main(folder: str) -> None:
    """Simulate fleets of so many days, make each, and tell the peaks."""
    for days in RANGES:
        root = Path(folder) / str(days)
        write_fleet(simulate(Plan(days=days, **PLAN)), root)
        environment = {**os.environ, "BESS_HOME": str(root), "BESS_ROWS_PER_BATCH": "40000"}
        for _ in ("index", "days"):
            subprocess.run([sys.executable, "-m", __spec__.name], env=environment, check=True)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(sys.argv[1])
    else:
        sys.stdout.write(f"{made():.0f} MB\n")
