"""What tests share: an empty home, an empty lake, and the shared data where it is there."""

import os
from pathlib import Path

import pytest

import bess_pipeline.definitions  # noqa: F401 - what is there when it is loaded is let go of by nobody
from bess_pipeline.config import Settings
from bess_pipeline.lake.store import Lake

_SHARED = Path(os.environ.get("BESS_SHARED_DATA", Path(__file__).parents[2] / "shared" / "data"))


def pytest_collection_modifyitems(items):
    """Long runs first, so that no worker is left with them at the end; xdist is told to keep this order."""
    items.sort(key=lambda item: not any(map(item.get_closest_marker, ("real_data", "whole_runs"))))


@pytest.fixture
def lake(tmp_path):
    """An empty lake."""
    return Lake(str(tmp_path / "lake"))


@pytest.fixture
def home(tmp_path, monkeypatch):
    """The settings of an empty deployment, which the environment names for the length of the test."""
    monkeypatch.setenv("BESS_HOME", str(tmp_path / "home"))
    settings = Settings()
    for folder in (settings.fleets, settings.landing):
        folder.mkdir(parents=True)
    return settings


@pytest.fixture(scope="session")
def shared_data():
    """The shared real and synthetic telemetry; tests that read it are skipped, and say so, where it is not there."""
    if not _SHARED.is_dir():
        pytest.skip(f"shared data sets are not at {_SHARED}: set BESS_SHARED_DATA to the folder that holds them")
    return _SHARED
