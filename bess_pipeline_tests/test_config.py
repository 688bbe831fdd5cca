from datetime import date
from pathlib import Path

import polars as pl
import pytest
from pydantic import ValidationError

from bess_pipeline.config import Settings, settings_now
from bess_pipeline.lake.slices import Slice
from bess_pipeline.lake.store import Lake
from bess_pipeline.tables import catalog


def test_everything_of_a_deployment_lies_below_its_home(monkeypatch, tmp_path):
    monkeypatch.setenv("BESS_HOME", str(tmp_path))
    settings = Settings()
    places = [settings.fleets, settings.landing, settings.warehouse, settings.truth, settings.dagster_home]
    assert all(place.is_relative_to(tmp_path) for place in [*places, Path(settings.lake)])


def test_the_lake_may_lie_elsewhere(monkeypatch):
    monkeypatch.setenv("BESS_LAKE_URI", "s3://bucket/lake")
    assert Settings().lake == "s3://bucket/lake"


@pytest.mark.parametrize("name", ["my home", "höhe", "a[1]", "50%", "a=b"])
def test_a_place_that_no_lake_could_be_read_from_is_refused(monkeypatch, tmp_path, name):
    monkeypatch.setenv("BESS_HOME", str(tmp_path / name))
    with pytest.raises(ValidationError, match=r"could not be read.*BESS_HOME, or BESS_LAKE_URI"):
        Settings()
    monkeypatch.setenv("BESS_LAKE_URI", "s3://bucket/lake")
    assert Settings().root == tmp_path / name


@pytest.mark.parametrize("sign", "!$&'()*+,-.:;@_~")
def test_what_is_allowed_in_the_path_of_a_lake_can_be_read(tmp_path, sign):
    lake, day = Lake(Settings(home=tmp_path / f"x{sign}y").lake), date(2026, 1, 2)
    rows = pl.DataFrame({"fleet_id": ["f"], "name": ["n"], "date": [day], "signature": [1]})
    lake.replace(catalog.MADE_FROM, rows, Slice("f"))
    assert lake.read(catalog.MADE_FROM, Slice("f")).row(0)[:3] == rows.row(0)[:3]


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


HOOK = "https://hooks.example/services/SECRET"


@pytest.mark.parametrize(
    "settings",
    [
        {"ALERT_WEBHOOKS": f"slak={HOOK}"},
        {"ALERT_WEBHOOKS": HOOK},
        {"ALERT_WEBHOOKS": "slack=//SECRET"},
        {"ALERT_WEBHOOKS": "slack=https://[SECRET"},
        {"ALERT_WEBHOOKS": f"a!b:slack={HOOK}"},
        {"ALERT_WEBHOOKS": f"slack={HOOK} slack={HOOK}2"},
        {"ALERT_WEBHOOKS": f"log:slack={HOOK}"},
        {"ALERT_EMAIL_HOST": "mail.example", "ALERT_EMAIL_PASSWORD": "SECRET"},
        {"ALERT_EMAIL_PASSWORD": "SECRET", "ALERT_EMAIL_USER": "bess", "ALERT_EMAIL_SECURITY": "none"},
        {"ALERT_WEBHOOKS": f"slack={HOOK}", "ALERT_LEAST_SEVERITY": "slak=critical"},
        {"PAGES_URL": "bess.example/SECRET"},
    ],
)
def test_a_mistake_in_a_setting_is_told_without_the_secret_in_it(monkeypatch, settings):
    for name, value in settings.items():
        monkeypatch.setenv(f"BESS_{name}", value)
    with pytest.raises(ValidationError) as refused:
        Settings()
    assert "SECRET" not in str(refused.value)


def test_webhooks_have_names_and_their_addresses_are_not_shown(monkeypatch):
    monkeypatch.setenv("BESS_ALERT_WEBHOOKS", f"slack={HOOK} ops:json={HOOK}?a=b")
    settings = Settings()
    assert [(one.name, one.kind) for one in settings.alert_webhooks] == [("slack", "slack"), ("ops", "json")]
    assert settings.alert_webhooks[1].url.get_secret_value() == f"{HOOK}?a=b"
    assert "SECRET" not in repr(settings)


def test_a_setting_that_is_empty_is_not_set(monkeypatch):
    monkeypatch.setenv("BESS_ALERT_EMAIL_PASSWORD", "")
    monkeypatch.setenv("BESS_PAGES_URL", "")
    assert (Settings().alert_email_password, Settings().pages_url) == (None, None)
