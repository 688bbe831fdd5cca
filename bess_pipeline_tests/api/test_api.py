"""The API on a warehouse whose tables hold made-up rows: every answer against what was put in."""

import base64
import io
import json
import shutil
from datetime import datetime
from urllib.parse import quote

import polars as pl
import pytest
from fastapi.testclient import TestClient
from pydantic_core import to_json

from bess_pipeline.api.app import create_app
from bess_pipeline.api.routes.batteries import NOUNS
from bess_pipeline.lake.slices import Slice
from bess_pipeline.lake.store import Lake
from bess_pipeline.lake.warehouse import Warehouse
from bess_pipeline.tables import catalog
from bess_pipeline.tables.fleet import HEALTH_STATUSES
from bess_pipeline_tests.api.made_site import BATTERIES, ODD, PER_BATTERY, settled


@pytest.fixture(scope="module")
def held(site):
    """Asks the warehouse without the API."""
    return Warehouse(site.warehouse).query


def walked(client, address, **query):
    """Every row of a listing, three at a time."""
    found, cursor = [], None
    while True:
        told = client.get(address, params={**query, "limit": 3} | ({"cursor": cursor} if cursor else {}))
        assert told.status_code == 200, told.text
        page = told.json()
        assert len(page["items"]) <= 3
        found += page["items"]
        cursor = page["next_cursor"]
        if cursor is None:
            return found


def as_json(rows):
    """Rows as an answer tells them."""
    return json.loads(to_json(rows.to_dicts(), inf_nan_mode="null"))


def of(battery_id, part):
    return f"/api/v1/batteries/{quote(battery_id, safe='')}/{part}"


@pytest.mark.parametrize("noun", NOUNS, ids=lambda noun: noun.path)
def test_pages_of_a_battery_are_its_rows_in_order_and_none_twice(client, held, noun):
    for fleet_id, battery_id in BATTERIES:
        answer = walked(client, of(battery_id, noun.path), fleet_id=fleet_id)
        order = ", ".join(f'"{name}"' for name in noun.table.sort)
        rows = held(f"FROM {noun.table.name} ORDER BY fleet_id, {order}")
        expected = rows.filter(fleet_id=fleet_id, battery_id=battery_id)
        assert expected.height == PER_BATTERY
        assert answer == as_json(expected)


@pytest.mark.parametrize("noun", NOUNS, ids=lambda noun: noun.path)
def test_days_are_bounded_with_both_ends(client, noun):
    bounds = {"fleet_id": "alpha", "from": "2026-03-02", "to": "2026-03-04"}
    answer = walked(client, of("b1", noun.path), **bounds)
    assert sorted(row[noun.time][:10] for row in answer) == ["2026-03-02", "2026-03-03", "2026-03-04"]


def test_rows_without_a_day_come_first_and_are_not_lost_on_the_way(client, held):
    answer = walked(client, "/api/v1/fleets/alpha/data-quality")
    expected = held("FROM data_quality_daily WHERE fleet_id = 'alpha' ORDER BY date NULLS FIRST")
    assert expected["date"].null_count() == 1
    assert answer == as_json(expected)
    assert len(answer) == 6


def test_events_come_newest_first_and_can_be_chosen(client):
    every = walked(client, "/api/v1/events")
    assert [row["event_id"] for row in every] == [f"e{n}" for n in reversed(range(9))]
    still = walked(client, "/api/v1/events", open=True)
    assert [row["event_id"] for row in still] == ["e8", "e7", "e5", "e4", "e2", "e1"]
    assert [row["event_id"] for row in walked(client, "/api/v1/events", open=False)] == ["e6", "e3", "e0"]
    assert [row["event_id"] for row in walked(client, "/api/v1/events", battery_id=ODD)] == ["e5", "e1"]
    assert [row["event_id"] for row in walked(client, "/api/v1/events", **{"from": "2026-03-08"})] == ["e8", "e7"]
    (one,) = {row["severity"] for row in walked(client, "/api/v1/events", severity="critical")}
    assert one == "critical"
    assert client.get("/api/v1/events/e4").json()["evidence"] == {"features": [{"name": "x", "value": 4}]}


def test_how_a_battery_stands_has_the_shape_of_the_contract(client, held):
    told = client.get(f"/api/v1/metrics/{quote(ODD, safe='')}")
    answer = told.json()
    assert list(answer) == ["battery_id", "timestamp", "metrics", "anomalies", "health_status"]
    names = "state_of_health state_of_charge voltage current temperature cycle_count degradation_rate"
    assert list(answer["metrics"]) == names.split()
    row = held("FROM battery_latest").filter(battery_id=ODD).row(0, named=True)
    assert answer["battery_id"] == ODD
    assert answer["health_status"] == row["health_status"]
    assert datetime.fromisoformat(answer["timestamp"]) == row["timestamp"]
    columns = "soh_percent soc_percent voltage_volt current_ampere temperature_celsius equivalent_full_cycles"
    expected = [row[name] for name in f"{columns} degradation_percent_per_year".split()]
    assert list(answer["metrics"].values()) == expected
    assert [event["event_id"] for event in answer["anomalies"]] == ["e5", "e1"]


def test_a_battery_is_found_or_it_is_said_what_to_say(client):
    assert client.get("/api/v1/metrics/b2").status_code == 200
    several = client.get("/api/v1/metrics/b1")
    assert several.status_code == 409
    assert "fleet_id" in several.json()["detail"]
    assert client.get("/api/v1/metrics/b1", params={"fleet_id": "beta"}).status_code == 200
    for address in ("/api/v1/metrics/b9", of("b9", "daily"), "/api/v1/fleets/gamma/daily", "/api/v1/events/e99"):
        told = client.get(address)
        assert told.status_code == 404
        assert told.headers["content-type"] == "application/problem+json"
        assert told.json() | {"detail": ""} == {
            "type": "about:blank", "title": "Not Found", "status": 404, "detail": "",
        }  # fmt: skip
    assert client.get("/api/v1/metrics/b2", params={"fleet_id": "alpha"}).status_code == 404


def test_fleets_are_summed_up(client, held):
    answer = {row["fleet_id"]: row for row in client.get("/api/v1/fleets").json()["items"]}
    latest = held("FROM battery_latest")
    assert list(answer) == ["alpha", "beta"]
    for fleet_id, row in answer.items():
        own = latest.filter(fleet_id=fleet_id)
        assert row["batteries"] == 2
        counts = [row[status] for status in HEALTH_STATUSES]
        assert counts == [own.filter(health_status=status).height for status in HEALTH_STATUSES]
        assert row["open_events"] == own["open_events"].sum()
        assert row["soh_min_percent"] == own["soh_percent"].min()


def test_the_same_rows_come_as_json_as_csv_and_as_arrow(client):
    address = of("b2", "telemetry")
    rows = client.get(address, params={"limit": 5}).json()
    arrow = client.get(address, params={"limit": 5}, headers={"Accept": "application/vnd.apache.arrow.stream"})
    frame = pl.read_ipc_stream(io.BytesIO(arrow.content))
    assert as_json(frame) == rows["items"]
    link = arrow.headers["link"]
    assert f"cursor={rows['next_cursor']}" in link
    csv = client.get(address, params={"limit": 5}, headers={"Accept": "text/html;q=0.9, text/csv;q=0.5"})
    assert csv.headers["content-type"].startswith("text/csv")
    read = pl.read_csv(io.BytesIO(csv.content), infer_schema=False)
    assert read.columns == frame.columns
    assert [datetime.fromisoformat(text) for text in read["timestamp"]] == frame["timestamp"].to_list()
    assert read["soc_percent"].cast(pl.Float64).equals(frame["soc_percent"])
    refused = client.get(address, headers={"Accept": "image/png"})
    assert refused.status_code == 406


@pytest.mark.parametrize(
    "query",
    [
        {"cursor": "x"},
        {"cursor": "W10"},
        {"cursor": base64.urlsafe_b64encode(b'["alpha", "b1", "no time"]').decode()},
        {"cursor": base64.urlsafe_b64encode(b'["alpha", "b1", 7]').decode()},
        {"cursor": base64.urlsafe_b64encode(b'["alpha", "b1", "2026-03-01", "4"]').decode()},
        {"limit": 0},
        {"limit": 10_001},
        {"limit": "1; DROP TABLE batteries"},
        {"from": "yesterday"},
        {"to": "2026-02-30"},
        {"fleet_id": "x" * 201},
    ],
)
def test_what_is_no_query_is_refused_with_its_reason(client, query):
    told = client.get(of("b2", "daily"), params=query)
    assert told.status_code == 422
    assert told.headers["content-type"] == "application/problem+json"
    assert next(iter(query)) in told.json()["detail"]


@pytest.mark.parametrize("text", ["'", "b1' OR '1'='1", "../../etc/passwd", "%00", "\u202e", "NaN", "1e308", "$x", "?"])
def test_odd_values_find_nothing_and_break_nothing(client, text):
    for address in (
        f"/api/v1/metrics/{quote(text, safe='')}",
        of(text, "daily"),
        f"/api/v1/events/{quote(text, safe='')}",
    ):
        assert client.get(address).status_code == 404
    for name in ("fleet_id", "battery_id"):
        told = client.get("/api/v1/events", params={name: text})
        assert (told.status_code, told.json()["items"]) == (200, [])


def test_a_client_that_has_the_answer_gets_none_until_something_else_is_published(client, site):
    address = "/api/v1/batteries"
    tag = client.get(address).headers["etag"]
    same = client.get(address, headers={"If-None-Match": f'"other", {tag}'})
    assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", tag)
    assert client.get(address, headers={"If-None-Match": '"other"'}).status_code == 200
    before = client.get(address).json()["items"]
    lake = Lake(site.lake)
    latest = lake.read(catalog.BATTERY_LATEST, Slice("beta"))
    lake.replace(catalog.BATTERY_LATEST, latest.with_columns(soh_percent=pl.lit(50.0)), Slice("beta"))
    Warehouse(site.warehouse).publish(lake)
    after = client.get(address, headers={"If-None-Match": tag})
    assert after.status_code == 200
    assert after.headers["etag"] != tag
    assert [row["soh_percent"] for row in after.json()["items"]] == [
        *(row["soh_percent"] for row in before[:2]), 50.0, 50.0,
    ]  # fmt: skip
    lake.replace(catalog.BATTERY_LATEST, latest, Slice("beta"))
    Warehouse(site.warehouse).publish(lake)


def test_before_the_first_publication_it_says_so_and_afterwards_answers(site, tmp_path):
    settings = settled(tmp_path)
    with TestClient(create_app(settings), base_url="http://127.0.0.1") as asking:
        told = asking.get("/api/v1/fleets")
        assert (told.status_code, told.headers["retry-after"]) == (503, "30")
        assert str(tmp_path) not in told.text
        assert asking.get("/health").json()["status"] == "unpublished"
        shutil.copytree(site.warehouse.parent, settings.warehouse.parent)
        assert asking.get("/api/v1/fleets").status_code == 200
        assert asking.get("/health").json()["status"] == "ok"


def test_a_page_of_somebody_else_that_means_this_machine_is_refused(client):
    assert client.get("/api/v1/fleets", headers={"Host": "evil.example"}).status_code == 400
    assert client.get("/api/v1/fleets", headers={"Host": "localhost:8000"}).status_code == 200


def test_a_browser_is_told_to_be_careful(client):
    for address in ("/api/v1/fleets", "/api/v1/metrics/none", "/health", "/docs"):
        told = client.get(address)
        assert told.headers["x-content-type-options"] == "nosniff"
        assert "default-src 'self'" in told.headers["content-security-policy"]
        assert "access-control-allow-origin" not in told.headers


def test_the_description_works_without_a_network_and_knows_every_answer(client):
    assert "//" not in client.get("/docs").text.replace("http://127.0.0.1", "")
    described = client.get("/openapi.json").json()
    schemas = described["components"]["schemas"]
    assert set(schemas["Problem"]["properties"]) == {"type", "title", "status", "detail", "errors"}
    for address, operations in described["paths"].items():
        for operation in operations.values():
            assert operation["summary"], address
    soc = schemas["Telemetry5Min"]["properties"]["soc_percent"] if "Telemetry5Min" in schemas else None
    assert soc is None or soc["description"].endswith("[%]")


@pytest.mark.parametrize("said", ["0", "1e3", "20260301", "2026-3-1", "2026-03-01T00:00:00", "2026-02-30"])
def test_a_day_that_is_not_written_as_one_is_refused(client, said):
    told = client.get("/api/v1/events", params={"to": said})
    assert told.status_code == 422, told.text
    assert client.get("/api/v1/events", params={"to": "2026-03-01"}).status_code == 200
