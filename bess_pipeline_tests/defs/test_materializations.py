"""What Dagster remembers of a run: metadata of each partition, tags, and runs that died."""

import uuid
from datetime import date

import dagster as dg
import pytest

from bess_pipeline.defs.instance import AnotherRunError, instance_of
from bess_pipeline.defs.partitions import day_key


@pytest.fixture
def instance(ran):
    with dg.DagsterInstance.from_config(str(ran.dagster_home)) as opened:
        yield opened


def told(instance, asset, partition):
    """Metadata of the newest materialization of a partition."""
    wanted = dg.AssetRecordsFilter(asset_key=dg.AssetKey(asset), asset_partitions=[partition])
    (record,) = instance.fetch_materializations(wanted, limit=1).records
    return {name: value.value for name, value in record.asset_materialization.metadata.items()}


def test_every_day_tells_its_own_rows_and_how_much_came_and_the_newest_shows_a_picture(instance):
    for day in (date(2026, 3, 1), date(2026, 3, 2)):
        metadata = told(instance, "intervals_5min", day_key("alpha", day))
        assert metadata["dagster/row_count"] == 288
        assert ("plot" in metadata) == (day == date(2026, 3, 2))
        came = told(instance, "row_accounts", day_key("alpha", day))
        assert (came["rows_accepted"], came["rows_quarantined"], came["batteries"]) == (288, 0, 1)
        assert told(instance, "day_evidence", day_key("alpha", day))["coverage_fraction"] == 1.0


def test_a_fleet_table_names_its_worst_batteries_and_shows_a_small_picture(instance):
    metadata = told(instance, "battery_daily", "alpha")
    assert "ALPHA-R00" in metadata["worst"]
    assert metadata["plot"].startswith("![Equivalent full cycles")
    assert len(metadata["plot"]) < 12_000
    assert "page" not in metadata


def test_columns_that_nobody_reads_are_listed_and_the_sampling_is_said(instance):
    record = instance.get_latest_materialization_event(dg.AssetKey("landing_files"))
    metadata = record.asset_materialization.metadata
    assert metadata["unmapped_columns"].value == "none"
    assert metadata["sampling"].value == "mean, detected"


def test_runs_are_those_of_the_code_location_so_that_the_page_can_repeat_them(instance):
    runs = {record.job_name: record for record in instance.get_runs()}
    assert set(runs) == {"landing", "telemetry", "fleet", "publish"}
    for record in runs.values():
        origin = record.remote_job_origin
        assert origin.location_name == "bess_pipeline.definitions"
        assert origin.job_name == record.job_name
    assert runs["telemetry"].tags["bess/fleet"] == "alpha"


def test_only_one_run_works_on_a_deployment_at_a_time(home):
    with instance_of(home), pytest.raises(AnotherRunError, match="another `bess run`"), instance_of(home):
        pass


def test_a_run_whose_process_died_is_marked_as_failed_by_the_next(instance, home):
    record = instance.get_runs(limit=1)[0]
    dead = instance.add_run(record._replace(run_id=str(uuid.uuid4()), status=dg.DagsterRunStatus.STARTED))
    with instance_of(home):
        pass
    assert instance.get_run_by_id(dead.run_id).status == dg.DagsterRunStatus.FAILURE
