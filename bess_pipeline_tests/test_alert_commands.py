"""`bess alerts`, as a person types it."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from typer.testing import CliRunner

from bess_pipeline import terminal
from bess_pipeline.alerting.channels import channels
from bess_pipeline.cli import app
from bess_pipeline.defs.alerts import put_down, send_waiting
from bess_pipeline.defs.resources import Home
from bess_pipeline_tests.alerting.made_alerts import NOW, occasion
from bess_pipeline_tests.receivers import free_port, web_receiver


@pytest.fixture
def bess(home, monkeypatch):
    """The command."""
    monkeypatch.setattr(terminal.out, "width", 200)
    monkeypatch.setattr(terminal.err, "width", 200)

    def typed(*words):
        return CliRunner().invoke(app, ["alerts", *words])

    return typed


def test_a_test_says_which_channel_took_it_and_fails_where_one_did_not(bess, monkeypatch):
    with web_receiver() as web:
        address = f"http://127.0.0.1:{free_port()}/T0SECRET"
        monkeypatch.setenv("BESS_ALERT_WEBHOOKS", f"ops:json={web.url} gone:slack={address}")
        ran = bess("test")
    assert ran.exit_code == 1
    assert [line for line in ran.output.splitlines() if "[bess_pipeline.alerts]" not in line] == [
        "log took it",
        "ops took it",
        "error gone: no answer: ConnectionError, ConnectionRefusedError, ECONNREFUSED",
    ]
    ((alert,),) = (body["alerts"] for body in web.bodies)
    assert (alert["kind"], alert["severity"], alert["fleet_id"]) == ("test", "info", None)


def test_the_list_tells_what_was_delivered_and_what_waits_and_why(bess, monkeypatch):
    assert "no alert" in bess("list").output
    address = f"http://127.0.0.1:{free_port()}/T0SECRET"
    monkeypatch.setenv("BESS_ALERT_WEBHOOKS", f"gone:slack={address}")
    put_down(Home(), [occasion(), occasion("rack-2", severity="critical")], now=NOW)
    send_waiting(Home(), channels(Home().settings), clock=lambda: datetime(2026, 5, 4, 13, tzinfo=UTC))
    listed = bess("list").output
    assert "log 05-04 13:00" in listed
    assert "gone waits until 05-04 13:00 after 1 try: no answer: ConnectionError" in listed
    assert "2 of 2 alerts; 2 wait" in listed
    assert "SECRET" not in listed
    monkeypatch.setenv("BESS_ALERT_WEBHOOKS", "")
    assert "no such channel is set up now" in bess("list", "--waiting", "--fleet", "alpha").output
    assert "no alert waits" in bess("list", "--waiting", "--fleet", "beta").output
