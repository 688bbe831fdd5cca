"""A deployment that has been run, for tests of what Dagster remembers of it."""

import shutil
from datetime import date

import pytest

from bess_pipeline.sources.simulate import Plan, simulate, write_fleet
from bess_pipeline_tests.deployments import run_at
from bess_pipeline_tests.postgres_server import CARELESS, postgres_server

PLAN = Plan(
    fleet_id="alpha", batteries=1, days=2, seed=2, interval_seconds=300, start=date(2026, 3, 1), data_faults=False
)


@pytest.fixture(scope="session")
def written_once(tmp_path_factory):
    """The folder of a deployment with the files of a fleet, on which nothing has been run."""
    root = tmp_path_factory.mktemp("written") / "home"
    write_fleet(simulate(PLAN), root)
    return root


@pytest.fixture(scope="session")
def ran_once(written_once, tmp_path_factory):
    """The folder of a deployment on which everything has been run once."""
    root = tmp_path_factory.mktemp("ran") / "home"
    shutil.copytree(written_once, root)
    assert run_at(root).failures == []
    return root


@pytest.fixture
def ran(ran_once, home):
    """A copy of that deployment."""
    shutil.copytree(ran_once, home.root, dirs_exist_ok=True)
    return home


@pytest.fixture(scope="session")
def postgres():
    """A PostgreSQL server."""
    with postgres_server(*CARELESS) as server:
        yield server
