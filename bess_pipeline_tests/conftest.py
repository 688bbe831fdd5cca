"""What tests share: an empty home, an empty lake, and the shared data where it is there."""

import os
from pathlib import Path

_PROCESSORS = frozenset(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else frozenset()
if int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "0")) >= len(_PROCESSORS) > 1:
    # A processor each, where every one has a worker: to wake a thread on another takes longer than most questions to
    # small tables, and whole runs took half as long again. As many threads as there would be; before they are counted.
    for counted in ("POLARS_MAX_THREADS", "TOKIO_WORKER_THREADS"):
        os.environ.setdefault(counted, str(len(_PROCESSORS)))
    worker = int(os.environ["PYTEST_XDIST_WORKER"].removeprefix("gw"))
    os.sched_setaffinity(0, {sorted(_PROCESSORS)[worker % len(_PROCESSORS)]})

import pytest  # noqa: E402

import bess_pipeline.definitions  # noqa: E402, F401 - what is there when it is loaded is let go of by nobody
from bess_pipeline.config import Settings  # noqa: E402
from bess_pipeline.lake.store import Lake  # noqa: E402

_SHARED = Path(os.environ.get("BESS_SHARED_DATA", Path(__file__).parents[2] / "shared" / "data"))


def pytest_collection_modifyitems(items):
    """Long runs first, so that no worker is left with them at the end; xdist is told to keep this order."""
    items.sort(key=lambda item: not any(map(item.get_closest_marker, ("real_data", "whole_runs"))))


@pytest.fixture
def every_processor():
    """Threads and processes that begin in the test run at once, on all processors."""
    if not _PROCESSORS:
        yield
        return
    own = os.sched_getaffinity(0)
    os.sched_setaffinity(0, _PROCESSORS)
    yield
    os.sched_setaffinity(0, own)


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
