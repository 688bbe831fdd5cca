"""Landing folders that may not be looked through."""

import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest

from bess_pipeline.defs.report import status
from bess_pipeline.defs.resources import Home
from bess_pipeline.sources.folder import telemetry_files
from bess_pipeline.sources.register import read_register
from bess_pipeline.terminal import Console
from bess_pipeline_tests.deployments import run

FLEET = """
fleet_id: {name}
commissioned: 2024-01-01
battery: {{chemistry: LFP, rated_capacity_ah: 280, cells_in_series: 240}}
source: {{files: "**/*.csv", format: csv}}
"""


@contextmanager
def as_somebody_else():
    """What the administrator may do, nobody else may: rights count only for others."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(before)


@pytest.fixture
def landing():
    """A landing folder that everybody may read."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    for path in folder.rglob("*"):
        path.chmod(0o755)
    shutil.rmtree(folder)


@pytest.fixture
def fleet(home):
    (home.fleets / "alpha.yaml").write_text(FLEET.format(name="alpha"))
    return read_register(home.fleets).fleets["alpha"]


def test_a_folder_that_may_not_be_listed_is_no_empty_one(fleet, landing):
    inner = landing / "site" / "2026"
    inner.mkdir(parents=True)
    (inner / "a.csv").touch()
    with as_somebody_else():
        assert list(telemetry_files(fleet, landing)) == ["site/2026/a.csv"]
    for closed in (inner, landing / "site"):
        closed.chmod(0)
        with as_somebody_else(), pytest.raises(PermissionError, match=f"{closed} may not be listed"):
            telemetry_files(fleet, landing)


def test_a_folder_that_goes_while_it_is_looked_through_costs_another_look(fleet, landing, monkeypatch):
    (landing / "a.csv").touch()
    looks, found = [], Path.glob

    def going(self, pattern):
        looks.append(pattern)
        if len(looks) % 5:
            raise FileNotFoundError(2, "No such file or directory")
        return found(self, pattern)

    monkeypatch.setattr(Path, "glob", going)
    assert list(telemetry_files(fleet, landing)) == ["a.csv"]
    assert len(looks) == 5


def test_a_folder_that_is_not_there_is_empty(fleet, landing):
    assert telemetry_files(fleet, landing / "none") == {}


def test_one_fleet_whose_folder_is_closed_says_so_and_the_others_go_on(fleet, home, monkeypatch):
    (home.fleets / "beta.yaml").write_text(FLEET.format(name="beta"))
    for name in ("alpha", "beta"):
        (home.landing / name).mkdir()
    (home.landing / "beta" / "a.csv").write_text("timestamp,battery_id,voltage_volt,current_ampere\n")
    listed = os.scandir

    def refusing(path="."):
        if str(path).endswith("/alpha"):
            raise PermissionError(13, "Permission denied", str(path))
        return listed(path)

    monkeypatch.setattr(os, "scandir", refusing)
    outcome = run()
    (said,) = (line for line in outcome.failures if line.startswith("alpha"))
    assert said == f"alpha: {home.landing}/alpha may not be listed: give the user of the pipeline the right to read it"
    console = Console(width=200)
    with console.capture() as told:
        console.print(status(Home()))
    assert said in told.get()
    assert "beta" in told.get()
    assert outcome.published


def test_files_that_the_pattern_does_not_take_are_named_and_files_that_wait_are_told(fleet, home):
    folder = home.landing / "alpha"
    folder.mkdir()
    (folder / "LOG.CSV").touch()
    (folder / ".hidden").touch()
    (folder / "a.csv.part").touch()
    console = Console(width=200)
    with console.capture() as told:
        console.print(status(Home()))
    assert "alpha: 1 file is not looked at, the fleet file takes **/*.csv: LOG.CSV" in told.get()
    assert "files wait" not in told.get()
    assert run().remarks == ["alpha: 1 file is not looked at, the fleet file takes **/*.csv: LOG.CSV"]
    (folder / "b.csv").write_text("timestamp,battery_id,voltage_volt,current_ampere\n")
    with console.capture() as told:
        console.print(status(Home()))
    assert "files wait for fleet alpha" in told.get()
