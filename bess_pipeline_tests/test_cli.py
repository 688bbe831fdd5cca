"""The commands, as a person types them."""

import shutil
from importlib.metadata import version
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bess_pipeline import terminal
from bess_pipeline.cli import app

SAMPLE = Path(__file__).parents[1] / "data" / "sample"


@pytest.fixture
def bess(home, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    for console in (terminal.out, terminal.err):
        monkeypatch.setattr(console, "width", 200)

    def typed(*words):
        return CliRunner().invoke(app, words)

    return typed


@pytest.fixture
def sample(home):
    """The example that the README points to, put in place as it says."""
    shutil.copy(SAMPLE / "example.yaml", home.fleets)
    (home.landing / "example").mkdir()
    shutil.copy(SAMPLE / "example.csv", home.landing / "example")
    return home


def test_the_example_of_the_readme_runs_and_can_be_asked(bess, sample):
    ran = bess("run")
    assert ran.exit_code == 0, ran.output
    assert "made 1 day of example" in ran.output
    asked = bess("sql", "SELECT rows_received, rows_accepted, date FROM data_quality_daily")
    assert "4" in asked.output
    assert "2026-07-01" in asked.output
    again = bess("run")
    assert (again.exit_code, "nothing new" in again.output) == (0, True)
    status = bess("status")
    assert status.exit_code == 0
    assert "example" in status.output
    assert "up to date" in status.output


def test_a_mistake_in_a_fleet_file_is_one_clear_line_and_an_exit_code(bess, sample):
    file = sample.fleets / "example.yaml"
    file.write_text(file.read_text().replace("positive: discharge", "positive: upwards"))
    ran = bess("run")
    assert ran.exit_code == 1
    (line,) = [line for line in ran.output.splitlines() if "example.yaml" in line]
    assert "source.columns.current_ampere.positive" in line


def test_settings_that_make_no_sense_are_told_in_a_line(bess, monkeypatch, tmp_path):
    monkeypatch.setenv("BESS_DAYS_PER_RUN", "0")
    ran = bess("status")
    assert ran.exit_code == 1
    assert "days_per_run: Input should be greater than or equal to 1" in ran.output
    monkeypatch.setenv("BESS_DAYS_PER_RUN", "1")
    monkeypatch.setenv("BESS_HOME", str(tmp_path / "my home"))
    assert "set BESS_HOME" in bess("status").output


def test_a_fleet_that_is_not_there_is_named(bess):
    ran = bess("run", "--fleet", "nowhere")
    assert ran.exit_code == 1
    assert "nowhere" in ran.output


def test_days_the_wrong_way_round_are_refused(bess):
    assert bess("run", "--from", "2026-02-01", "--to", "2026-01-01").exit_code == 2


def test_the_version_is_said_without_a_home(bess):
    result = bess("--version")
    assert (result.exit_code, result.stdout.split()) == (0, ["bess-pipeline", version("bess-pipeline")])


def test_an_empty_home_says_what_to_do(bess):
    assert "put <fleet_id>.yaml there" in bess("status").output
    asked = bess("sql", "SELECT 1")
    assert asked.exit_code == 1
    assert "bess run" in asked.output


def test_a_simulated_fleet_is_ready_to_run(bess, home):
    made = bess("simulate", "--fleet", "tiny", "--batteries", "1", "--days", "1", "--interval", "900", "--seed", "2")
    assert made.exit_code == 0, made.output
    assert (home.fleets / "tiny.yaml").exists()
    assert (home.truth / "tiny" / "truth" / "daily.parquet").exists()
    assert not list(home.landing.glob("**/truth"))


def test_a_fleet_file_can_be_drafted_and_is_never_overwritten(bess, sample, tmp_path):
    out = tmp_path / "mine.yaml"
    drafted = bess("fleet", "draft", str(SAMPLE / "example.csv"), "--fleet", "mine", "--out", str(out))
    assert drafted.exit_code == 0, drafted.output
    assert "left to decide" in drafted.output
    written = out.read_text(encoding="utf-8")
    assert "rated_capacity_ah: TODO" in written
    again = bess("fleet", "draft", str(SAMPLE / "example.csv"), "--out", str(out))
    assert (again.exit_code, "stays as it is" in again.output) == (1, True)
    assert out.read_text(encoding="utf-8") == written
