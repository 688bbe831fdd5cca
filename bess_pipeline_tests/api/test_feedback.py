"""What people say of events by way of the API."""

import json

import pytest
from fastapi.testclient import TestClient

from bess_pipeline.api.app import create_app
from bess_pipeline.api.keys import Keys
from bess_pipeline.lake.slices import Slice
from bess_pipeline.lake.store import Lake
from bess_pipeline.lake.warehouse import Warehouse
from bess_pipeline.tables import catalog
from bess_pipeline_tests.api.made_site import events


@pytest.fixture
def lake(home):
    """A lake with events of two fleets, which are published."""
    lake = Lake(home.lake)
    for fleet_id in ("alpha", "beta"):
        lake.replace(catalog.ANOMALY_EVENTS, events().filter(fleet_id=fleet_id), Slice(fleet_id))
    Warehouse(home.warehouse).publish(lake)
    return lake


@pytest.fixture
def asking(home, lake):
    with TestClient(create_app(home), base_url="http://127.0.0.1") as client:
        yield client


def say(asking, event_id, headers=None, **saying):
    return asking.post(f"/api/v1/events/{event_id}/feedback", json=saying, headers=headers)


def test_what_is_said_is_kept_at_once_and_shown_from_the_next_publication_on(asking, home, lake):
    told = say(asking, "e1", verdict="dismissed", note="sensor swapped", by="anna", mute_days=30)
    assert told.status_code == 201, told.text
    said = told.json()
    assert (said["verdict"], said["given_by"]) == ("dismissed", "anna (anyone on this machine)")
    assert say(asking, "e1", verdict="annotated", note="looked again").status_code == 201
    kept = lake.read(catalog.EVENT_FEEDBACK)
    assert kept.filter(feedback_id=said["feedback_id"]).select("event_id", "note", "fleet_id").row(0) == (
        "e1", "sensor swapped", "alpha",
    )  # fmt: skip
    assert asking.get("/api/v1/events/e1").json()["verdict"] is None
    Warehouse(home.warehouse).publish(lake)
    shown = asking.get("/api/v1/events/e1").json()
    assert (shown["verdict"], shown["effective_severity"]) == ("dismissed", "info")
    assert shown["notes"].splitlines() == [
        "anna (anyone on this machine): sensor swapped", "anyone on this machine: looked again",
    ]  # fmt: skip
    assert say(asking, "e1", verdict="withdrawn").status_code == 201
    Warehouse(home.warehouse).publish(lake)
    assert asking.get("/api/v1/events/e1").json()["verdict"] is None
    noted = [json.loads(line) for line in home.api_writes.read_text().splitlines()]
    assert [one["did"] for one in noted] == ["dismissed", "annotated", "withdrawn"]
    assert {one["what"] for one in noted} == {"event e1"}


@pytest.mark.parametrize(
    ("event_id", "saying", "status", "reason"),
    [
        ("e", {"verdict": "confirmed"}, 404, "no event 'e'"),
        ("none", {"verdict": "confirmed"}, 404, "no event"),
        ("e1", {"verdict": "annotated"}, 422, "needs a note"),
        ("e1", {"verdict": "confirmed", "mute_days": 3}, 422, "only a dismissal mutes"),
        ("e1", {"verdict": "dismissed", "mute_days": 0}, 422, "mute_days"),
        ("e1", {"verdict": "deleted"}, 422, "verdict"),
        ("e1", {"verdict": "confirmed", "note": "x" * 2001}, 422, "note"),
        ("e1", {"verdict": "confirmed", "severity": "info"}, 422, "severity"),
        ("e1", {}, 422, "verdict"),
    ],
)
def test_what_makes_no_sense_is_refused_and_nothing_is_kept(asking, lake, event_id, saying, status, reason):
    told = say(asking, event_id, **saying)
    assert (told.status_code, reason in told.json()["detail"]) == (status, True), told.text
    assert lake.read(catalog.EVENT_FEEDBACK).is_empty()


def test_who_has_a_key_speaks_under_its_name(asking, home, lake):
    keys = Keys(home.api_keys)
    headers = {"Authorization": f"Bearer {keys.add('control room', ['operate'], ['alpha'])}"}
    (key,) = keys.every()
    assert say(asking, "e1", headers, verdict="confirmed").json()["given_by"] == f"control room ({key.key_id})"
    assert say(asking, "e1", headers, verdict="confirmed", by="ben").json()["given_by"].startswith("ben (control room")
    assert say(asking, "e2", headers, verdict="confirmed").status_code == 404
    reader = {"Authorization": f"Bearer {keys.add('screen', ['read'])}"}
    assert say(asking, "e1", reader, verdict="confirmed").status_code == 403
    assert lake.read(catalog.EVENT_FEEDBACK).height == 2


def test_an_event_that_late_data_have_changed_is_told_apart_from_none(asking, lake):
    lake.replace(catalog.ANOMALY_EVENTS, events().filter(fleet_id="alpha").filter(event_id="e0"), Slice("alpha"))
    told = say(asking, "e1", verdict="confirmed")
    assert (told.status_code, "late data" in told.json()["detail"]) == (409, True)
