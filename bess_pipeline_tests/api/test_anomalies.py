"""Samples that are posted for their scores."""

import math
from datetime import UTC, datetime, timedelta

import pytest
from fastapi.testclient import TestClient

from bess_pipeline.api.app import create_app
from bess_pipeline.lake.slices import Slice
from bess_pipeline.lake.store import Lake
from bess_pipeline.lake.warehouse import Warehouse
from bess_pipeline.tables import catalog
from bess_pipeline_tests.api.made_site import made, settled

START = datetime(2026, 3, 1, tzinfo=UTC)
PLATE = {
    "chemistry": "LFP", "rated_capacity_ah": 100.0, "rated_energy_wh": 3200.0, "cells_in_series": 10,
    "cell_voltage_low_volt": 2.5, "cell_voltage_high_volt": 3.65, "temperature_low_celsius": 0.0,
    "temperature_high_celsius": 45.0, "resistance_ohm": 0.01, "sampling": "instant",
}  # fmt: skip


@pytest.fixture(scope="module")
def asking(tmp_path_factory):
    """The API of a warehouse with two fleets that share a battery's id: their nameplates are all that is in it."""
    settings = settled(tmp_path_factory.mktemp("home"))
    lake = Lake(settings.lake)
    for fleet_id, ids in (("alpha", ["b1", "b2"]), ("beta", ["b1"])):
        named = {"fleet_id": [fleet_id] * len(ids), "battery_id": ids}
        plates = made(catalog.BATTERIES, len(ids), **named, **{name: [told] * len(ids) for name, told in PLATE.items()})
        lake.replace(catalog.BATTERIES, plates, Slice(fleet_id))
    Warehouse(settings.warehouse).publish(lake)
    with TestClient(create_app(settings), base_url="http://127.0.0.1") as client:
        yield client


def samples(count=60):
    """Samples of a battery that is charged and discharged by turns, probes and all."""
    swing = [math.sin(n / 5) for n in range(count)]
    return [
        {
            "timestamp": (START + timedelta(minutes=5 * n)).isoformat(),
            "voltage_volt": round(33.0 + 0.4 * one + 0.001 * (n % 3), 3),
            "current_ampere": round(20 * one, 2),
            "temperature_celsius": round(25 + 0.01 * n, 2),
            "temperature_max_celsius": round(26 + 0.01 * n + 0.1 * (n % 4), 2),
        }
        for n, one in enumerate(swing)
    ]


def detect(asking, data, battery_id="b2", **more):
    return asking.post("/api/v1/anomalies/detect", json={"battery_id": battery_id, "data": data, **more})


def test_a_healthy_battery_has_no_anomaly_and_each_sample_its_score(asking):
    told = detect(asking, samples())
    assert told.status_code == 200, told.text
    answer = told.json()
    assert (answer["battery_id"], answer["fleet_id"], answer["samples"], answer["anomalies"]) == ("b2", "alpha", 60, 0)
    assert answer["judged"]["temperature_hot_spot"] == 60
    assert [datetime.fromisoformat(one["timestamp"]) for one in answer["scores"]] == [
        START + timedelta(minutes=5 * n) for n in range(60)
    ]
    assert all(0 <= one["score"] < 1 and not one["is_anomaly"] for one in answer["scores"])


def test_what_stands_out_is_told_with_its_reason_in_the_order_of_the_samples(asking):
    data = samples()
    data[20]["temperature_max_celsius"] += 6
    data[21]["temperature_max_celsius"] += 6
    data[40]["temperature_max_celsius"] = 52.0
    data.reverse()
    answer = detect(asking, data).json()
    found = {place: one for place, one in enumerate(answer["scores"]) if one["is_anomaly"]}
    assert {place: (one["detector"], one["kind"]) for place, one in found.items()} == {
        39: ("samples", "hot_spot"), 38: ("samples", "hot_spot"), 19: ("data_checks", "temperature_spike"),
    }  # fmt: skip
    assert answer["anomalies"] == 3
    assert found[38]["z"] > 8


def test_names_of_the_metrics_are_understood(asking):
    short = {"voltage_volt": "voltage", "current_ampere": "current", "temperature_celsius": "temperature"}
    renamed = [{short.get(name, name): told for name, told in one.items()} for one in samples()]
    assert detect(asking, renamed).json() == detect(asking, samples()).json()


def test_nothing_is_kept(asking, tmp_path):
    bad = samples()
    for one in bad[:20]:
        one["temperature_max_celsius"] = 55.0
    before = detect(asking, samples()).json()
    assert detect(asking, bad).json()["anomalies"] >= 20
    assert detect(asking, samples()).json() == before
    again = asking.post(
        "/api/v1/anomalies/detect", json={"battery_id": "b2", "data": samples()}, headers={"If-None-Match": "*"}
    )
    assert again.status_code == 200


def test_the_battery_has_to_be_one_and_known(asking):
    assert detect(asking, samples(1), "nobody").status_code == 404
    assert detect(asking, samples(1), "b1").status_code == 409
    assert detect(asking, samples(1), "b1", fleet_id="beta").json()["fleet_id"] == "beta"


@pytest.mark.parametrize(
    ("data", "more", "where"),
    [
        ([], {}, "data"),
        ([{"timestamp": "2026-03-01T00:00:00Z"}], {}, "needs a measurement"),
        ([{"voltage": 33}], {}, "timestamp"),
        ([{"timestamp": "yesterday", "voltage": 33}], {}, "timestamp"),
        ([{"timestamp": "0001-01-01T00:00:00+14:00", "voltage": 33}], {}, "timestamp"),
        ([{"timestamp": "9999-12-31T23:59:59-14:00", "voltage": 33}], {}, "timestamp"),
        ([{"timestamp": 1e300, "voltage": 33}], {}, "timestamp"),
        ([{"timestamp": "2026-03-01T00:00:00Z", "voltage": "33"}], {}, "voltage"),
        ([{"timestamp": "2026-03-01T00:00:00Z", "voltage": True}], {}, "voltage"),
        ([{"timestamp": "2026-03-01T00:00:00Z", "voltage": 1e308}], {}, "voltage"),
        ([{"timestamp": "2026-03-01T00:00:00Z", "voltage": 33, "volts": 1}], {}, "volts"),
        ([{"timestamp": "2026-03-01T00:00:00Z", "voltage": 33, "fleet_id": "beta"}], {}, "fleet_id"),
        ([{"timestamp": "2026-03-01T01:00+01:00", "voltage": 3}, {"timestamp": "2026-03-01", "voltage": 4}], {}, "two"),
        (samples(1), {"contamination": 0}, "contamination"),
        (samples(1), {"contamination": 0.6}, "contamination"),
        (samples(1), {"contamination": "auto"}, "contamination"),
        (samples(1), {"model": "x"}, "model"),
        (samples(1) * 20_001, {}, "data"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused_with_its_place(asking, data, more, where):
    told = detect(asking, data, **more)
    assert told.status_code == 422, told.text
    assert where in told.json()["detail"]


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_what_is_no_number_is_none(asking, number):
    body = f'{{"battery_id": "b2", "data": [{{"timestamp": "2026-03-01T00:00:00Z", "voltage": {number}}}]}}'
    told = asking.post("/api/v1/anomalies/detect", content=body, headers={"Content-Type": "application/json"})
    assert (told.status_code, "voltage" in told.json()["detail"]) == (422, True)


@pytest.mark.parametrize("body", ["", "[", "null", "[" * 100_000, '{"battery_id": "b2"}', "\x00"])
def test_a_body_that_is_none_is_refused(asking, body):
    told = asking.post("/api/v1/anomalies/detect", content=body, headers={"Content-Type": "application/json"})
    assert told.status_code in {400, 422}
    assert told.headers["content-type"] == "application/problem+json"
