"""What tests of the API share."""

import pytest
from fastapi.testclient import TestClient

from bess_pipeline.api.app import create_app
from bess_pipeline.lake.slices import Slice
from bess_pipeline.lake.store import Lake
from bess_pipeline.lake.warehouse import Warehouse
from bess_pipeline_tests.api.made_site import contents, settled


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A deployment whose warehouse holds rows in each table that the API lists."""
    settings = settled(tmp_path_factory.mktemp("site"))
    lake = Lake(settings.lake)
    for table, rows in contents().items():
        for fleet_id in ("alpha", "beta"):
            lake.replace(table, rows.filter(fleet_id=fleet_id), Slice(fleet_id))
    Warehouse(settings.warehouse).publish(lake)
    return settings


@pytest.fixture(scope="module")
def client(site):
    with TestClient(create_app(site), base_url="http://127.0.0.1") as asking:
        yield asking
