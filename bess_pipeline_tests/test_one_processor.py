import os
import subprocess
import sys
from datetime import date

import pytest

from bess_pipeline.sources.simulate import Plan, simulate, write_fleet

pytestmark = pytest.mark.whole_runs

_ON_ONE = """
import os, runpy
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
runpy.run_module("bess_pipeline", run_name="__main__")
"""


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system does not bind processes to a processor")
def test_a_machine_with_one_processor_makes_everything(tmp_path):
    """deltalake has as many threads as processors, and its writer keeps one while rows are read from the lake."""
    plan = Plan("alpha", batteries=1, days=2, seed=3, interval_seconds=300, start=date(2026, 3, 1))
    write_fleet(simulate(plan), tmp_path)
    environment = {**os.environ, "BESS_HOME": str(tmp_path)}
    environment.pop("TOKIO_WORKER_THREADS", None)  # as this process has set it
    command = [sys.executable, "-c", _ON_ONE, "run"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "warehouse" / "bess.duckdb").exists()
