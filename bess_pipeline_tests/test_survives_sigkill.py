"""A run that is killed leaves nothing that the next run does not put right."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from datetime import date

import pytest

from bess_pipeline.sources.simulate import Plan, simulate, write_fleet
from bess_pipeline_tests.deployments import differing, run, tables
from bess_pipeline_tests.thoroughness import size

pytestmark = pytest.mark.whole_runs

PLAN = Plan(fleet_id="alpha", batteries=2, days=6, seed=3, interval_seconds=300, start=date(2026, 3, 1))
KILLS = size(4, 20)


def _started(root):
    environment = {**os.environ, "BESS_HOME": str(root), "BESS_DAYS_PER_RUN": "2"}
    command = [sys.executable, "-m", "bess_pipeline", "run"]
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def test_runs_killed_at_random_moments_end_in_the_tables_of_an_undisturbed_run(tmp_path, monkeypatch):
    files = tmp_path / "files"
    write_fleet(simulate(PLAN), files)
    calm, killed = tmp_path / "calm", tmp_path / "killed"
    for root in (calm, killed):
        shutil.copytree(files, root)
    before = time.monotonic()
    assert _started(calm).wait() == 0
    whole = time.monotonic() - before
    chance = random.Random(4)
    deaths = 0
    while deaths < KILLS:
        begun = time.monotonic()
        process = _started(killed)
        try:
            process.wait(timeout=chance.uniform(0.3, 1.0) * whole)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            deaths += 1
        if process.wait() == 0:  # the machine has become quicker than it was
            whole = min(whole, time.monotonic() - begun)
            shutil.rmtree(killed)
            shutil.copytree(files, killed)
    monkeypatch.setenv("BESS_HOME", str(killed))
    assert run().failures == []
    assert differing(tables(calm / "lake"), tables(killed / "lake")) == []
    assert run().did_nothing


def test_a_run_that_is_told_to_end_ends_at_once_and_starts_nothing_more(tmp_path, monkeypatch):
    write_fleet(simulate(PLAN), tmp_path)
    process = _started(tmp_path)
    days = tmp_path / "lake" / "raw_telemetry" / "fleet_id=alpha"
    while not days.exists():
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=30) != 0
    monkeypatch.setenv("BESS_HOME", str(tmp_path))
    assert run().days["alpha"] >= PLAN.days - 2
