"""Dagster's settings of a deployment: what is written, what stays, and where the records are."""

import shutil
import uuid

import dagster as dg
import pytest
import yaml
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.instance.config import PoolGranularity

from bess_pipeline.config import Settings
from bess_pipeline.defs.instance import RecordsError, instance_of, last_run, prepare

URL = "postgresql://bess:s3cret@127.0.0.1:1/bess"

OF_AN_OLDER_VERSION = """\
# Dagster's own settings for this deployment; yours to edit, see the Dagster documentation.
telemetry:
  enabled: false
nux:
  enabled: false
run_monitoring:
  enabled: true
compute_logs:
  module: dagster._core.storage.noop_compute_log_manager
  class: NoOpComputeLogManager
"""


@pytest.fixture
def file(home):
    return home.dagster_home / "dagster.yaml"


def test_dagster_takes_every_setting_as_it_is_meant(home):
    prepare(home)
    with dg.DagsterInstance.from_config(str(home.dagster_home)) as instance:
        assert not instance.telemetry_enabled
        assert not instance.nux_enabled
        assert instance.run_monitoring_enabled
        assert instance.run_monitoring_start_timeout_seconds == 120
        assert instance.run_monitoring_cancel_timeout_seconds == 120
        assert instance.run_monitoring_poll_interval_seconds == 60
        queue = instance.get_concurrency_config().run_queue_config
        assert queue.max_concurrent_runs == 2
        assert queue.tag_concurrency_limits == [
            {"key": "bess/fleet", "value": {"applyLimitPerUniqueValue": True}, "limit": 1}
        ]
        assert instance.get_concurrency_config().pool_config.pool_granularity == PoolGranularity.RUN
        assert (queue.max_user_code_failure_retries, queue.user_code_failure_retry_delay) == (3, 60)
        for kind in (InstigatorType.SENSOR, InstigatorType.SCHEDULE):
            days = {status.value: kept for status, kept in instance.get_tick_retention_settings(kind).items()}
            assert (days["SKIPPED"], days["SUCCESS"], days["FAILURE"]) == (2, 7, 30)


def test_as_many_runs_at_once_as_the_environment_says(home, file, monkeypatch):
    prepare(home)
    monkeypatch.setenv("BESS_CONCURRENT_RUNS", "5")
    prepare(Settings())
    with dg.DagsterInstance.from_config(str(home.dagster_home)) as instance:
        assert instance.get_concurrency_config().run_queue_config.max_concurrent_runs == 5


@pytest.mark.parametrize("line_ends", ["\n", "\r\n"])
def test_a_file_that_was_edited_is_never_written_again(home, file, monkeypatch, line_ends):
    prepare(home)
    edited = file.read_text().replace("max_concurrent_runs: 2", "max_concurrent_runs: 1").replace("\n", line_ends)
    file.write_bytes(edited.encode())
    monkeypatch.setenv("BESS_CONCURRENT_RUNS", "5")
    prepare(Settings())
    assert file.read_bytes() == edited.encode()


def test_a_file_of_an_older_version_is_brought_up_to_date_unless_it_was_edited(home, file):
    prepare(home)
    wanted = file.read_text()
    file.write_text(OF_AN_OLDER_VERSION)
    prepare(home)
    assert file.read_text() == wanted
    own = OF_AN_OLDER_VERSION + "sensors: {use_threads: true}\n"
    file.write_text(own)
    prepare(home)
    assert file.read_text() == own


def test_the_password_stays_in_the_environment(home, file, monkeypatch):
    monkeypatch.setenv("BESS_DAGSTER_STORAGE", URL)
    settings = Settings()
    prepare(settings)
    assert "s3cret" not in file.read_text()
    assert "s3cret" not in repr(settings)


def test_a_variable_that_is_forgotten_begins_no_second_history(home, file, monkeypatch):
    monkeypatch.setenv("BESS_DAGSTER_STORAGE", URL)
    prepare(Settings())
    in_postgres = file.read_text()
    monkeypatch.delenv("BESS_DAGSTER_STORAGE")
    with pytest.raises(RecordsError, match="BESS_DAGSTER_STORAGE is not set"):
        prepare(Settings())
    assert "BESS_DAGSTER_STORAGE is not set" in last_run(Settings())
    assert file.read_text() == in_postgres
    monkeypatch.setenv("BESS_DAGSTER_STORAGE", "sqlite")
    prepare(Settings())
    with instance_of(Settings()) as instance:
        assert instance.get_runs() == []


def test_an_edited_file_and_the_environment_have_to_agree(home, file, monkeypatch):
    prepare(home)
    own = file.read_text() + "sensors: {use_threads: true}\n"
    file.write_text(own)
    monkeypatch.setenv("BESS_DAGSTER_STORAGE", URL)
    with pytest.raises(RecordsError, match="was edited") as refused:
        prepare(Settings())
    own = own[: own.index("# Records in SQLite")] + str(refused.value).split("`storage`:\n")[1]
    file.write_text(own)
    prepare(Settings())
    monkeypatch.setenv("BESS_DAGSTER_STORAGE", "sqlite")
    with pytest.raises(RecordsError, match="take its `storage` out"):
        prepare(Settings())


def test_a_deployment_that_was_copied_elsewhere_has_records_of_its_own(home, tmp_path, monkeypatch):
    prepare(home)
    copied = tmp_path / "copied"
    shutil.copytree(home.root, copied)
    monkeypatch.setenv("BESS_HOME", str(copied))
    with dg.DagsterInstance.from_config(str(copied / "dagster_home")) as instance:
        instance.add_dynamic_partitions("fleet", ["alpha"])
    with instance_of(home) as original, instance_of(Settings()) as own:
        assert original.get_dynamic_partitions("fleet") == []
        assert own.get_dynamic_partitions("fleet") == ["alpha"]


@pytest.mark.parametrize("said", ["mysql://bess:s3cret@host/bess", "postgres://bess:s3cret@host/bess", "s3cret"])
def test_another_kind_of_records_is_refused_without_telling_the_password(home, monkeypatch, said):
    monkeypatch.setenv("BESS_DAGSTER_STORAGE", said)
    with pytest.raises(RecordsError, match="has to be `sqlite` or postgresql://") as refused:
        prepare(Settings())
    assert "s3cret" not in str(refused.value)


def test_the_state_tells_runs_that_go_on_from_those_that_wait_and_the_last_that_ended(home):
    def begun(instance, job, status):
        instance.add_run(dg.DagsterRun(job_name=job, run_id=str(uuid.uuid4()), status=status))

    assert last_run(home) == "nothing has been run yet"
    with instance_of(home) as instance:
        begun(instance, "landing", dg.DagsterRunStatus.NOT_STARTED)
        assert last_run(home) == "no run has ended yet; 0 going on, 1 waiting"
        begun(instance, "telemetry", dg.DagsterRunStatus.SUCCESS)
        begun(instance, "fleet", dg.DagsterRunStatus.STARTED)
        told = last_run(home)
        assert told.startswith("last run: telemetry, success (")
        assert told.endswith("; 1 going on, 1 waiting")


def test_runs_are_jobs_of_a_cluster_where_the_environment_names_one(home, file, monkeypatch):
    prepare(home)
    assert "run_launcher" not in yaml.safe_load(file.read_text())
    monkeypatch.setenv("BESS_RAY_ADDRESS", "http://head.example:8265")
    monkeypatch.setenv("BESS_RAY_CPUS_PER_RUN", "0.5")
    prepare(Settings())
    settings = yaml.safe_load(file.read_text())
    # The cluster may have to get a machine first: of 120 s a run that waits for one would be marked as failed.
    assert settings["run_monitoring"]["start_timeout_seconds"] == 600
    said = settings["run_launcher"]
    assert (said["module"], said["class"]) == ("bess_pipeline.defs.ray_launcher", "RunsOnRay")
    assert said["config"] == {"ray": {"address": "http://head.example:8265", "num_cpus": 0.5}}
    monkeypatch.delenv("BESS_RAY_ADDRESS")
    prepare(Settings())
    settings = yaml.safe_load(file.read_text())
    assert "run_launcher" not in settings
    assert settings["run_monitoring"]["start_timeout_seconds"] == 120


@pytest.mark.parametrize(
    ("missing", "extra"), [("dagster_ray", "ray"), ("ray.job_submission", "ray"), ("dagster_postgres", "postgres")]
)
def test_an_extra_that_is_not_installed_is_named(home, monkeypatch, missing, extra):
    def fail(*_):
        raise ModuleNotFoundError(f"No module named {missing!r}", name=missing)

    monkeypatch.setattr(dg.DagsterInstance, "from_ref", fail)
    with pytest.raises(RecordsError, match=rf"pip install 'bess-pipeline\[{extra}\]'"), instance_of(home):
        pass
