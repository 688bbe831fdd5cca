"""What tests of the API share."""

import pytest
from fastapi.testclient import TestClient

from bess_pipeline.api.app import create_app
from bess_pipeline_tests.api.made_site import contents, put, settled


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A deployment whose warehouse holds rows in each table that the API lists."""
    settings = settled(tmp_path_factory.mktemp("site"))
    put(settings, contents())
    return settings


@pytest.fixture(scope="module")
def client(site):
    with TestClient(create_app(site), base_url="http://127.0.0.1") as asking:
        yield asking
