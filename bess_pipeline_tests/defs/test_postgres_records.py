"""A deployment with its records in PostgreSQL is the same deployment; a server that is away costs nothing but a run."""

import shutil
from datetime import timedelta

import dagster as dg
import pytest
from typer.testing import CliRunner

from bess_pipeline.cli import app
from bess_pipeline.config import Settings
from bess_pipeline.defs import operate, postgres_records
from bess_pipeline.defs.instance import RecordsError, instance_of, ready
from bess_pipeline.defs.plan import LAST_OF_DAY
from bess_pipeline.defs.resources import Home
from bess_pipeline_tests.defs.conftest import PLAN
from bess_pipeline_tests.deployments import Unwatched, differing, records_at, run, tables
from bess_pipeline_tests.postgres_server import PASSWORD


@pytest.fixture(scope="module")
def ran_on_postgres(ran_once, postgres, tmp_path_factory):
    """The folder of a deployment that was run with its records in PostgreSQL, and what `bess run` said."""
    root = tmp_path_factory.mktemp("postgres") / "home"
    for folder in ("fleets", "landing"):
        shutil.copytree(ran_once / folder, root / folder)
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("BESS_HOME", str(root))
        environment.setenv("BESS_DAGSTER_STORAGE", postgres.url())
        return root, CliRunner().invoke(app, ["run"], env={"COLUMNS": "500"})


@pytest.fixture
def on_postgres(ran_on_postgres, postgres, monkeypatch):
    """That deployment, named by the environment; its server runs again afterwards."""
    monkeypatch.setenv("BESS_HOME", str(ran_on_postgres[0]))
    monkeypatch.setenv("BESS_DAGSTER_STORAGE", postgres.url())
    for patience in ("TRIES_AT_START", "TRIES_WITHIN"):
        monkeypatch.setattr(postgres_records, patience, 0)
    yield Settings()
    postgres.stop()
    postgres.start()


def typed(*words):
    return CliRunner().invoke(app, words, env={"COLUMNS": "500"})


class StopsServer(Unwatched):
    """Progress during which the server goes away."""

    def __init__(self, server):
        self._server = server

    def advance(self):
        self._server.stop()


def test_a_run_makes_the_same_tables_and_records_as_with_sqlite(ran_on_postgres, ran_once, on_postgres):
    root, said = ran_on_postgres
    assert said.exit_code == 0, said.output
    assert differing(tables(ran_once / "lake"), tables(root / "lake")) == []
    with instance_of(on_postgres) as ours, records_at(ran_once / "dagster_home") as theirs:
        jobs = [record.job_name for record in ours.get_runs()]
        assert jobs == [record.job_name for record in theirs.get_runs()]
        for key in theirs.all_asset_keys():
            assert ours.get_materialized_partitions(key) == theirs.get_materialized_partitions(key)
    assert f"last run: {jobs[0]}, success" in typed("status").output
    assert run().did_nothing


def test_nothing_of_the_records_and_no_password_lies_in_the_home(on_postgres):
    files = [path for path in on_postgres.root.rglob("*") if path.is_file()]
    assert not [path for path in files if path.suffix == ".db"]
    assert not [path for path in files if PASSWORD.encode() in path.read_bytes()]


def test_a_server_that_is_restarted_between_two_events_is_not_noticed(on_postgres, postgres):
    with instance_of(on_postgres) as instance:
        for name in ("one", "two"):
            instance.add_dynamic_partitions("outside", [name])
            postgres.stop()
            postgres.start()
        assert set(instance.get_dynamic_partitions("outside")) == {"one", "two"}


def test_a_server_that_is_away_is_said_in_a_line_and_the_state_of_the_lake_is_told(on_postgres, postgres):
    postgres.stop()
    ran = typed("run")
    assert ran.exit_code == 1
    (line,) = [line for line in ran.output.splitlines() if line.startswith("error")]
    assert "do not answer" in line
    assert "***" in line
    assert PASSWORD not in ran.output
    told = typed("status")
    assert told.exit_code == 0, told.output
    assert "alpha" in told.output
    assert "last run: not known" in told.output
    assert typed("dev").exit_code == 1
    prepared = typed("prepare")
    assert (prepared.exit_code, PASSWORD in prepared.output) == (1, False)
    assert "do not answer" in prepared.output


def test_a_server_that_goes_away_in_the_middle_of_a_run_loses_no_row_and_the_next_run_does_the_rest(
    on_postgres, postgres
):
    before = tables(on_postgres.root / "lake")
    last = PLAN.start + timedelta(days=PLAN.days - 1)
    Home().ledger.record("alpha", LAST_OF_DAY, {last: "another"}, run_id="none")
    with pytest.raises(RecordsError, match="do not answer"):
        operate.run(Home(), StopsServer(postgres))
    postgres.start()
    outcome = run()
    assert outcome.failures == []
    assert outcome.days == {"alpha": 1}
    assert differing(before, tables(on_postgres.root / "lake")) == []
    with instance_of(on_postgres) as instance:
        of_days = [record.status for record in instance.get_runs() if record.job_name == "telemetry"]
    assert of_days == [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.SUCCESS]


def test_two_deployments_do_not_share_a_database_and_one_that_moved_says_so(on_postgres, home):
    with pytest.raises(RecordsError, match="a database of its own"):
        ready(Settings())
    assert typed("records", "claim").exit_code == 0
    ready(Settings())
    with instance_of(Settings()) as instance:
        assert instance.get_runs_count() > 0
