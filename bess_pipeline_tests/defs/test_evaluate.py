"""`bess evaluate` on a small synthetic fleet that went through a whole run; the short way gives the same tables."""

import json
import shutil
from datetime import date, timedelta
from io import StringIO
from pathlib import Path

import polars as pl
import pytest
import yaml
from polars.testing import assert_frame_equal
from rich.console import Console
from typer.testing import CliRunner

from bess_pipeline.cli import app
from bess_pipeline.defs.evaluate import evaluated, shown, written
from bess_pipeline.defs.plan import record_fleet
from bess_pipeline.defs.resources import Home
from bess_pipeline.lake.slices import Slice
from bess_pipeline.sources.simulate import Plan, simulate, write_fleet
from bess_pipeline.tables import catalog
from bess_pipeline_tests.deployments import run, run_at
from bess_pipeline_tests.fleet_tables import ECONOMICS, WARRANTY, made_prices, plan_without_clocks, simulated_tables

pytestmark = pytest.mark.whole_runs

PLAN = plan_without_clocks(
    Plan("omega", batteries=3, days=4, seed=8, interval_seconds=300, start=date(2026, 3, 1), faults=("cooling",))
)


@pytest.fixture(scope="module")
def omega(tmp_path_factory):
    """The folder of a deployment whose fleet has been run, and the fleet."""
    root = tmp_path_factory.mktemp("evaluated") / "home"
    simulated = simulate(PLAN)
    write_fleet(simulated, root)
    agreed = {"warranty": WARRANTY, "economics": ECONOMICS}
    said = {name: one.model_dump(mode="json", exclude_none=True) for name, one in agreed.items()}
    days = made_prices("omega", PLAN.start, PLAN.start + timedelta(days=PLAN.days - 1))
    days.write_parquet(root / "fleets" / "prices.parquet")
    with (root / "fleets" / "omega.yaml").open("a") as file:
        yaml.safe_dump(said, file)
    assert run_at(root).failures == []
    return root, simulated


@pytest.fixture
def deployment(omega, home):
    """The fleet of a copy of that deployment, which the environment names."""
    shutil.copytree(omega[0], home.root, dirs_exist_ok=True)
    return omega[1]


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


def test_a_lake_of_an_older_version_says_in_one_line_what_to_do_next(ran):
    lake = Home().lake
    record_fleet(Home(), "alpha", "what an older version rested on", run_id="older")
    shutil.rmtree(lake.address(catalog.CAPACITY_AUDIT))
    health = pl.read_delta(lake.address(catalog.STATE_OF_HEALTH)).drop("method")
    health.write_delta(
        lake.address(catalog.STATE_OF_HEALTH), mode="overwrite", delta_write_options={"schema_mode": "overwrite"}
    )
    (line,) = said_by_evaluate(ran)
    assert line.endswith("are missing or of an older version (state_of_health, capacity_audit): `bess run` makes them")
    assert not Path(lake.address(catalog.CAPACITY_AUDIT)).exists()
    assert run().failures == []
    assert lake.outdated() == []
    for table in (catalog.CAPACITY_AUDIT, catalog.STATE_OF_HEALTH):
        assert not lake.read(table).is_empty()


def test_a_fleet_of_which_nothing_has_been_made_yet_says_so(home):
    write_fleet(simulate(PLAN), home.root)
    (nothing_there,) = said_by_evaluate(home)
    assert nothing_there.endswith("`bess run` makes them")
    Home().lake.create()
    assert said_by_evaluate(home) == ["error omega: nothing has been made of it yet: `bess run --fleet omega` does"]


def said_by_evaluate(home):
    """What `bess evaluate` says when it gives up."""
    ended = CliRunner().invoke(app, ["evaluate"], env={"COLUMNS": "500"})
    assert (ended.exit_code, ended.stdout) == (1, "")
    return ended.stderr.splitlines()


def test_without_any_truth_there_is_nothing_to_hold_against(home):
    with pytest.raises(LookupError, match="no truth"):
        evaluated(Home(), ["omega"], None)
