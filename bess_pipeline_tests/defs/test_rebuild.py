"""Records that are lost are made again from the lake."""

import shutil

import dagster as dg
from typer.testing import CliRunner

from bess_pipeline.cli import app
from bess_pipeline.defs.partitions import FLEETS
from bess_pipeline_tests.deployments import run, tables


def materialized(home):
    with dg.DagsterInstance.from_config(str(home.dagster_home)) as instance:
        assert instance.get_dynamic_partitions(FLEETS.name) == ["alpha"]
        return {
            key: instance.get_materialized_partitions(key) or instance.get_latest_materialization_event(key) is not None
            for key in instance.all_asset_keys()
        }


def test_the_state_of_every_partition_is_back_after_the_records_were_lost_and_no_row_has_changed(ran):
    before, rows = materialized(ran), tables(ran.root / "lake")
    shutil.rmtree(ran.dagster_home)
    said = CliRunner().invoke(app, ["records", "rebuild"])
    assert said.exit_code == 0, said.output
    assert materialized(ran) == before
    assert {name: frame.rows() for name, frame in tables(ran.root / "lake").items()} == {
        name: frame.rows() for name, frame in rows.items()
    }
    assert run().did_nothing
    assert "nothing is missing" in CliRunner().invoke(app, ["records", "rebuild"]).output
