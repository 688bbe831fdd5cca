"""Records that stay open are those that Dagster itself keeps."""

import os
import sqlite3
from contextlib import closing
from datetime import date

import dagster as dg
import pytest
from dagster._core.instance.ref import InstanceRef
from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorage

from bess_pipeline.defs import records
from bess_pipeline.defs.instance import instance_of, prepare
from bess_pipeline.defs.partitions import day_key
from bess_pipeline_tests.deployments import run

PLAN_DAYS = (date(2026, 3, 1), date(2026, 3, 2))


def told(instance):
    """Everything that records say: runs, the events of each, and what was made."""
    runs = instance.get_runs()
    return {
        "runs": runs,
        "events": {record.run_id: instance.all_logs(record.run_id) for record in runs},
        "made": {key: instance.get_materialized_partitions(key) for key in instance.all_asset_keys()},
        "fleets": instance.get_dynamic_partitions("fleet"),
    }


def theirs(home):
    """The same records as the UI and the daemon open them."""
    return dg.DagsterInstance.from_config(str(home.dagster_home))


def test_dagsters_own_storage_reads_the_same_while_the_files_are_open_and_afterwards(ran):
    with instance_of(ran) as ours, theirs(ran) as other:
        found = told(ours)
        assert told(other) == found
    with theirs(ran) as other:
        assert told(other) == found
    assert found["fleets"] == ["alpha"]
    assert found["made"][dg.AssetKey("intervals_5min")] == {day_key("alpha", day) for day in PLAN_DAYS}
    assert {record.job_name for record in found["runs"]} == {"landing", "telemetry", "fleet", "publish"}
    assert all(found["events"].values())


def test_what_another_process_would_write_meanwhile_is_seen_and_none_waits_for_the_other(ran):
    with instance_of(ran) as ours, theirs(ran) as other:
        for number, (writer, reader) in enumerate([(ours, other), (other, ours)] * 3):
            writer.add_dynamic_partitions("fleet", [f"fleet{number}"])
            assert f"fleet{number}" in reader.get_dynamic_partitions("fleet")
            writer.report_runless_asset_event(dg.AssetMaterialization("outside", partition=str(number)))
            assert str(number) in reader.get_materialized_partitions(dg.AssetKey("outside"))


def test_records_that_are_wiped_begin_again(ran):
    with instance_of(ran) as ours:
        ours.wipe()
        assert told(ours)["runs"] == []
        assert told(ours)["made"] == {}
    assert run().did_nothing


@pytest.mark.parametrize(
    ("settings", "kept"),
    [
        pytest.param("telemetry: {enabled: false}", False, id="nothing said of a storage"),
        pytest.param("storage: {sqlite: {base_dir: elsewhere}}", False, id="SQLite in another place"),
        pytest.param(
            "event_log_storage:\n  module: dagster._core.storage.event_log\n"
            "  class: ConsolidatedSqliteEventLogStorage\n  config: {base_dir: elsewhere}\n",
            True,
            id="a storage of the deployment's own",
        ),
    ],
)
def test_a_storage_that_the_deployment_chose_is_left_alone(home, settings, kept):
    prepare(home)
    (home.dagster_home / "dagster.yaml").write_text(settings)
    own = InstanceRef.from_dir(str(home.dagster_home))
    found = records.ref_of(home.dagster_home)
    assert (found == own) == kept
    assert found.storage_data.config_yaml == own.storage_data.config_yaml


@pytest.mark.parametrize("database", ["runs.sqlite.sqlite_run_storage", "event_log.sqlite.sqlite_event_log"])
@pytest.mark.parametrize("step", ["check_alembic_revision", "stamp_alembic_rev"])
def test_a_process_that_dies_while_it_makes_the_records_leaves_none_that_are_half_made(
    home, monkeypatch, database, step
):
    def dies(*_, **__):
        raise SystemExit(137)

    prepare(home)
    with monkeypatch.context() as patch:
        patch.setattr(f"dagster._core.storage.{database}.{step}", dies)
        with pytest.raises(SystemExit):
            theirs(home)
    assert not (home.dagster_home / "history").exists()
    with instance_of(home) as instance:
        instance.add_dynamic_partitions("fleet", ["alpha"])
        assert instance.get_dynamic_partitions("fleet") == ["alpha"]
    assert [path.name for path in home.dagster_home.glob(".records*")] in ([], [".records.lock"])


def test_the_file_of_a_new_run_is_that_which_dagster_makes(ran):
    with instance_of(ran) as ours:
        events, theirs = ours.event_log_storage, ran.dagster_home / "theirs"
        for run_id in ("fresh", "other", "fresh"):
            with events.run_connection(run_id):
                pass
        own = SqliteEventLogStorage(str(theirs))
        with own.run_connection("fresh"):
            pass
    folder = ran.dagster_home / "history" / "runs"
    assert schema_of(folder / "fresh.db") == schema_of(theirs / "fresh.db")
    assert {path.suffix for path in folder.iterdir()} <= {".db", ".db-wal", ".db-shm"}


def test_without_links_dagster_makes_the_file_where_it_lies(ran, monkeypatch):
    def refused(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refused)
    with instance_of(ran) as ours, ours.event_log_storage.run_connection("fresh"):
        pass
    own = SqliteEventLogStorage(str(ran.dagster_home / "theirs"))
    with own.run_connection("fresh"):
        pass
    made = ran.dagster_home / "history" / "runs" / "fresh.db"
    assert schema_of(made) == schema_of(ran.dagster_home / "theirs" / "fresh.db")
    assert {path.suffix for path in made.parent.iterdir()} <= {".db", ".db-wal", ".db-shm"}


def schema_of(path):
    """What a file of SQLite holds: its tables and indexes, the version of Dagster's schema, and how it is written."""
    with closing(sqlite3.connect(path)) as file:
        told = file.execute("SELECT type, name, sql FROM sqlite_master ORDER BY name").fetchall()
        version = file.execute("SELECT version_num FROM alembic_version").fetchall()
        return (
            told,
            version,
            file.execute("PRAGMA journal_mode").fetchall(),
            file.execute("PRAGMA page_size").fetchall(),
        )
