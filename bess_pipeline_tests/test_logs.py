"""What the log shows, and what it never shows."""

import io
import json
import logging
from contextlib import redirect_stderr

import pytest

from bess_pipeline import logs
from bess_pipeline.config import Settings

KEPT = "kept-as-it-is"


def lines(form, level="INFO", secrets=()):
    """What two modules and a library say, on standard error."""
    with redirect_stderr(io.StringIO()) as stderr:
        handler = logs.configure(level, form, secrets)
        try:
            log = logs.logger("bess_pipeline.lake.warehouse")
            log.debug("a detail")
            log.info("%d rows\nof %s", 3, "hunter22", extra={"fleet": "alpha", "days": ["2026-03-01"]})
            logging.getLogger("some.library").info("chatter")
            try:
                int("https://user:geheim@host/lake")
            except ValueError:
                log.exception("not published")
        finally:
            logging.getLogger().removeHandler(handler)
    return stderr.getvalue()


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("postgresql://bess:SECRET-1@db:5432/dagster", id="password of an address"),
        pytest.param("postgresql://bess:SECRET@1@db:5432/dagster", id="password with an @ in it"),
        pytest.param("https://SECRET-1@github.example/x", id="token as the user of an address"),
        pytest.param("https://acc.blob.core.windows.net/c/a?sv=2024-11-04&sig=SECRET-1%2F%3D&se=1", id="SAS token"),
        pytest.param("https://b.s3.amazonaws.com/k?X-Amz-Signature=SECRET-1&X-Amz-Date=1", id="signed address of S3"),
        pytest.param("AccountName=a;AccountKey=SECRET-1==;EndpointSuffix=core", id="connection string of Azure"),
        pytest.param("host=db user=bess password=SECRET-1 dbname=dagster", id="connection string of PostgreSQL"),
        pytest.param('{"user": "bess", "password": "SECRET-1"}', id="JSON"),
        pytest.param("Authorization: Bearer SECRET-1-abcdefgh", id="bearer token"),
        pytest.param("https://hooks.slack.example/services/T0/B0/SECRET-1", id="webhook of a chat"),
        pytest.param("https://discord.example/api/webhooks/123/SECRET-1", id="webhook of another chat"),
        pytest.param("refused by hunter22-SECRET-1 (known)", id="value of a setting"),
    ],
)
def test_no_secret_is_shown_and_what_stands_beside_it_is(text):
    shown = logs.Redactor(["hunter22-SECRET-1"]).text(f"{KEPT} {text} {KEPT}")
    assert "SECRET" not in shown
    assert logs.HIDDEN in shown
    assert shown.count(KEPT) == 2


@pytest.mark.parametrize(
    "text",
    ["s3://bess/lake/table/fleet_id=alpha/date=2026-03-01/part-0.parquet", "3 keys: a, b, c", "alpha@site: 5 rows"],
)
def test_what_is_no_secret_stays(text):
    assert logs.Redactor([]).text(text) == text


def test_a_line_for_machines_is_one_json_object_with_what_it_is_of():
    said, failed = map(json.loads, lines("json", secrets=["hunter22"]).splitlines())
    assert said["event"] == "3 rows\nof ***"
    assert (said["logger"], said["level"], said["fleet"]) == ("bess_pipeline.lake.warehouse", "info", "alpha")
    assert said["days"] == ["2026-03-01"]
    assert said["timestamp"].endswith("Z")
    assert failed["exception"].startswith("Traceback")
    assert "https://user:***@host/lake" in failed["exception"]


def test_a_line_for_people_shows_the_same_without_colours():
    said = lines("console", secrets=["hunter22"])
    assert "of *** [bess_pipeline.lake.warehouse]" in said
    assert "fleet=alpha" in said
    assert "geheim" not in said
    assert "\x1b" not in said


def test_details_and_the_chatter_of_libraries_are_not_told_unless_asked_for():
    assert "a detail" not in lines("json")
    assert "a detail" in lines("json", level="DEBUG")
    assert "chatter" not in lines("json", level="DEBUG")


def test_setting_up_the_log_again_writes_each_line_once():
    first = logs.configure("INFO", "json")
    assert logs.configured() is first
    assert lines("json").count("not published") == 1


def test_secrets_of_the_environment_are_known(monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "aws-secret")
    monkeypatch.setenv("AZURE_STORAGE_SAS_TOKEN", "sas-token")
    monkeypatch.setenv("BESS_DAGSTER_STORAGE", "postgresql://bess:p%40ss-word@db/dagster")
    monkeypatch.setenv("BESS_ALERT_WEBHOOKS", "chat:json=https://chat.example/abc ops:json=https://ops.example/def")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "public-name")
    monkeypatch.setenv("BESS_LOG_LEVEL", "ERROR")
    known = set(Settings().secrets)
    assert {"aws-secret", "sas-token", "p%40ss-word", "p@ss-word", "https://ops.example/def"} <= known
    assert not {"public-name", "ERROR"} & known
