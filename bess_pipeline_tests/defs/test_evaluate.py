"""`bess evaluate` on a small synthetic fleet that went through a whole run; the short way gives the same tables."""

import json
from datetime import date
from io import StringIO

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from rich.console import Console

from bess_pipeline.defs.evaluate import evaluated, shown, written
from bess_pipeline.defs.resources import Home
from bess_pipeline.lake.slices import Slice
from bess_pipeline.sources.simulate import Plan, simulate, write_fleet
from bess_pipeline.tables import catalog
from bess_pipeline_tests.deployments import run
from bess_pipeline_tests.fleet_tables import plan_without_clocks, simulated_tables

PLAN = plan_without_clocks(
    Plan("omega", batteries=3, days=4, seed=8, interval_seconds=300, start=date(2026, 3, 1), faults=("cooling",))
)


@pytest.fixture
def deployment(home):
    """A deployment whose fleet has been run, beside one that has no truth."""
    simulated = simulate(PLAN)
    write_fleet(simulated, home.root)
    assert run().failures == []
    return simulated


def test_a_run_and_the_short_way_agree_and_are_judged(deployment):
    directly = simulated_tables(deployment)
    for name, rows in directly.items():
        ran = Home().lake.read(catalog.TABLES[name], Slice("omega")).select(rows.columns)
        assert_frame_equal(ran, rows, check_exact=True)

    found = evaluated(Home(), ["omega", "elsewhere"], None)
    assert found.fleets == ["omega"]
    assert [line.split(":")[0] for line in found.left_out] == ["elsewhere"]
    said = json.loads(written(found))
    rows = {(row["section"], row["name"]): row for row in said["accuracy"]}
    cycles = rows["Resistance and throughput on day 4", "equivalent full cycles, p50"]
    assert (cycles["n"], cycles["baseline_n"]) == (2, 2)
    assert 0 < cycles["value"] < 3
    assert rows["Alarms of battery faults, after 30 days", "recall"]["n"] == 1
    assert pl.DataFrame(said["repairs"]).columns[0] == "kind"

    console = Console(width=100, record=True, file=StringIO())
    console.print(shown(found))
    text = console.export_text()
    assert "equivalent full cycles, p50 [%]" in text
    assert "left out: elsewhere" in text


def test_without_any_truth_there_is_nothing_to_hold_against(home):
    with pytest.raises(LookupError, match="no truth"):
        evaluated(Home(), ["omega"], None)
