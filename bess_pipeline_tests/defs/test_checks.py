"""Checks as Dagster keeps them, and what `bess run` says of them."""

import shutil
from datetime import date, timedelta

import dagster as dg
import polars as pl
import pytest
from typer.testing import CliRunner

from bess_pipeline.cli import app
from bess_pipeline.config import Settings
from bess_pipeline.definitions import defs
from bess_pipeline.defs import jobs
from bess_pipeline.defs.partitions import day_key
from bess_pipeline.defs.plan import is_fleet_stale, record_fleet
from bess_pipeline.defs.resources import Home
from bess_pipeline.lake.slices import Slice
from bess_pipeline.sources.simulate import Plan, simulate, write_fleet
from bess_pipeline.tables import catalog
from bess_pipeline.window import Window
from bess_pipeline_tests.deployments import records_at, run

START = date(2026, 3, 1)
PLAN = Plan(fleet_id="alpha", batteries=2, days=3, seed=2, interval_seconds=300, start=START, data_faults=False)
OF_A_FLEET = {
    "accounting": catalog.DATA_QUALITY_DAILY,
    "coverage": catalog.DATA_QUALITY_DAILY,
    "freshness": catalog.DATA_QUALITY_DAILY,
    "lateness": catalog.ARRIVALS_DAILY,
    "inputs_of_models": catalog.DAILY_FEATURES,
    "units": catalog.BATTERY_DATA_QUALITY_DAILY,
    "current_sign": catalog.BATTERY_DATA_QUALITY_DAILY,
    "voltage_and_cells": catalog.BATTERY_DATA_QUALITY_DAILY,
    "reported_charge": catalog.BATTERY_DATA_QUALITY_DAILY,
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A deployment on which everything has been run once, and what `bess run` said."""
    root = tmp_path_factory.mktemp("made")
    write_fleet(simulate(PLAN), root)
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("BESS_HOME", str(root))
        ran = CliRunner().invoke(app, ["run"], env={"COLUMNS": "500"})
        return Settings(), ran


@pytest.fixture
def deployment(made, home):
    """A copy of it, to be harmed."""
    shutil.copytree(made[0].root, home.root, dirs_exist_ok=True)
    return home


def evaluations(home, table, check, partition):
    """What Dagster keeps of a check of a partition, newest first."""
    with records_at(home.dagster_home) as instance:
        records = instance.event_log_storage.get_asset_check_execution_history(
            dg.AssetCheckKey(dg.AssetKey(table.name), check), limit=50
        )
    found = [record.event.dagster_event.event_specific_data for record in records]
    return [verdict for verdict in found if verdict.partition == partition]


def checks_of(job):
    return {key.name for key in defs.resolve_job_def(job.name).asset_layer.asset_graph.asset_check_keys}


def deliver_last_day_anew(home, *, suffix=""):
    """As half of its rows, of batteries with another name."""
    path = max((home.landing / "alpha").glob("*.parquet"))
    frame = pl.read_parquet(path)
    name = next(column for column, kind in frame.schema.items() if kind == pl.String)
    frame.head(frame.height // 2).with_columns(pl.col(name) + suffix).write_parquet(path)


def test_every_check_of_a_table_is_in_the_job_that_makes_it():
    assert checks_of(jobs.TELEMETRY) == {"rows"}
    assert checks_of(jobs.FLEET) == checks_of(jobs.CHECKS) == set(OF_A_FLEET)


def test_every_check_says_what_it_asks_and_has_the_partitions_of_its_table():
    graph = defs.resolve_asset_graph()
    for key in graph.asset_check_keys:
        spec = graph.get_check_spec(key)
        assert spec.description
        assert spec.partitions_def == graph.get(key.asset_key).partitions_def, key


def test_each_day_and_each_fleet_has_its_own_answers(made):
    home, _ = made
    for day in (START + timedelta(days=k) for k in range(PLAN.days)):
        (verdict,) = evaluations(home, catalog.ROW_ACCOUNTS, "rows", day_key("alpha", day))
        assert verdict.passed, (day, verdict.description)
        assert verdict.target_materialization_data is not None, "the page would show the day as never checked"
    for check, table in OF_A_FLEET.items():
        assert len(evaluations(home, table, check, "alpha")) == 1, check


def test_a_fleet_that_is_late_is_a_remark_and_no_failure(made):
    _, ran = made
    assert ran.exit_code == 0, ran.output
    (line,) = [line for line in ran.output.splitlines() if line.startswith("remark")]
    assert line.startswith(f"remark alpha: freshness: nothing came since {START + timedelta(days=2)}")


def test_a_day_of_which_half_came_is_named_with_its_worst_battery_whatever_its_name(deployment):
    deliver_last_day_anew(deployment, suffix="|\n<b>")
    outcome = run()
    assert outcome.failures == []
    last = START + timedelta(days=2)
    verdict, *_ = evaluations(deployment, catalog.ROW_ACCOUNTS, "rows", day_key("alpha", last))
    assert (verdict.passed, verdict.severity) == (False, dg.AssetCheckSeverity.WARN)
    worst = Home().battery_ids("alpha")[0]
    assert worst in verdict.description
    assert worst in verdict.metadata["worst"].value
    lines = verdict.metadata["worst"].value.splitlines()
    assert {line.replace("\\|", "").count("|") for line in lines} == {3}
    (line,) = [line for line in outcome.remarks if "coverage" in line]
    assert str(last) in line
    assert worst in line


def test_rows_that_nobody_accounts_for_stop_the_day_and_say_so_until_they_are_found(deployment):
    """The index is doctored: it says of the last day that a row more came than the file has."""
    lake, last = Home().lake, START + timedelta(days=2)
    of_last = pl.col("date") == last
    doctored = lake.read(catalog.LANDING_DAYS).with_columns(
        rows=pl.col("rows") + of_last.cast(pl.Int64),
        checksum=pl.when(of_last).then(pl.lit("another")).otherwise("checksum"),
    )
    lake.replace(catalog.LANDING_DAYS, doctored, Slice("alpha"))
    ran = CliRunner().invoke(app, ["run"], env={"COLUMNS": "500"})
    assert ran.exit_code == 1
    (line,) = [line for line in ran.output.splitlines() if line.startswith("error")]
    assert f"rows: {last}: " in line
    assert "by the next `bess run`" in line
    verdict, *_ = evaluations(deployment, catalog.ROW_ACCOUNTS, "rows", day_key("alpha", last))
    assert (verdict.passed, verdict.severity) == (False, dg.AssetCheckSeverity.ERROR)
    deliver_last_day_anew(deployment)
    assert run().failures == []
    verdict, *_ = evaluations(deployment, catalog.ROW_ACCOUNTS, "rows", day_key("alpha", last))
    assert verdict.severity == dg.AssetCheckSeverity.WARN


def test_an_account_of_a_fleet_that_does_not_add_up_fails_its_run_and_is_made_again(deployment):
    """The account is doctored: a row of the last day is struck out of it."""
    lake, last = Home().lake, START + timedelta(days=2)
    part = Slice("alpha", Window.of_day(last))
    struck = lake.read(catalog.ROW_ACCOUNTS, part)
    lake.replace(catalog.ROW_ACCOUNTS, struck.with_columns(pl.col("rows") - 1), part)
    record_fleet(Home(), "alpha", "another", run_id="none")
    outcome = run()
    (line,) = outcome.failures
    assert f"accounting: rows do not add up on 1 day, worst {last}" in line
    assert outcome.fleets == []
    assert is_fleet_stale(Home(), "alpha")
