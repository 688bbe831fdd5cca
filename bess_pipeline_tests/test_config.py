from pathlib import Path

import pytest
from pydantic import ValidationError

from bess_pipeline.config import Settings, settings_now


def test_everything_of_a_deployment_lies_below_its_home(monkeypatch, tmp_path):
    monkeypatch.setenv("BESS_HOME", str(tmp_path))
    settings = Settings()
    places = [settings.fleets, settings.landing, settings.warehouse, settings.truth, settings.dagster_home]
    assert all(place.is_relative_to(tmp_path) for place in [*places, Path(settings.lake)])


def test_the_lake_may_lie_elsewhere(monkeypatch):
    monkeypatch.setenv("BESS_LAKE_URI", "s3://bucket/lake")
    assert Settings().lake == "s3://bucket/lake"


def test_a_setting_that_makes_no_sense_is_refused(monkeypatch):
    monkeypatch.setenv("BESS_DAYS_PER_RUN", "0")
    with pytest.raises(ValidationError, match="days_per_run"):
        Settings()


def test_settings_are_those_of_the_moment_and_are_read_when_they_change(monkeypatch, tmp_path):
    monkeypatch.setenv("BESS_HOME", str(tmp_path / "one"))
    first = settings_now()
    assert first == Settings()
    assert settings_now() is first
    monkeypatch.setenv("BESS_HOME", str(tmp_path / "other"))
    assert settings_now().root == tmp_path / "other"
    monkeypatch.delenv("BESS_HOME")
    for folder in (tmp_path, tmp_path.parent):
        monkeypatch.chdir(folder)
        assert settings_now().root == folder / "data"


def test_programs_started_for_a_deployment_work_on_it(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BESS_HOME", raising=False)
    environment = Settings().environment()
    assert environment["BESS_HOME"] == str(tmp_path / "data")
    assert environment["DAGSTER_HOME"] == str(tmp_path / "data" / "dagster_home")
