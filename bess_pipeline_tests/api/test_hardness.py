"""What an attacker, and what an accident, tried once with success: each is refused, or does no more than it should."""

import base64
import errno
import gzip
import json
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import polars as pl
import pytest
from fastapi.testclient import TestClient

from bess_pipeline.api.app import create_app
from bess_pipeline.lake.slices import Slice
from bess_pipeline.lake.store import Lake
from bess_pipeline.lake.warehouse import Warehouse
from bess_pipeline.lake.writes import Writes
from bess_pipeline.sources.opening import UnreadableFile
from bess_pipeline.sources.parquet import ParquetFile
from bess_pipeline.tables import catalog
from bess_pipeline_tests.api.made_site import made
from bess_pipeline_tests.api.test_process import FLEET, ROWS, deliver, landed

HERE = "http://127.0.0.1"


@pytest.fixture
def asking(home):
    (home.fleets / "alpha.yaml").write_text(FLEET.format(name="alpha", files="**/*", more=""))
    with TestClient(create_app(home), base_url=HERE, raise_server_exceptions=False) as client:
        yield client


def test_a_dictionary_of_a_few_bytes_does_not_fill_the_memory(tmp_path):
    rows = 20_000
    table = pl.select(time=pl.repeat(0, rows), rack=pl.repeat("R" * 100_000, rows))
    table.write_parquet(tmp_path / "a.parquet", compression="zstd")
    assert (tmp_path / "a.parquet").stat().st_size < 100_000
    file = ParquetFile(tmp_path / "a.parquet")
    with pytest.raises(UnreadableFile, match="bombs"):
        file.verify()
    file.close()
    pl.select(rack=pl.repeat("R01", rows), time=pl.int_range(rows)).write_parquet(tmp_path / "b.parquet")
    honest = ParquetFile(tmp_path / "b.parquet")
    honest.verify()
    honest.close()


def test_rows_that_hold_nothing_are_a_bomb_from_four_megabytes_on(asking, home):
    content = gzip.compress(b"timestamp,battery_id,voltage_volt,current_ampere\n" + b"1\n" * 3_000_000, 9)
    told = deliver(asking, content, "a.csv.gz")
    assert (told.status_code, "bombs" in told.json()["detail"]) == (422, True)
    assert landed(home) == []


@pytest.mark.parametrize("charset", ["punycode", "undefined", "utf-7", "idna"])
def test_no_other_alphabet_is_read(asking, charset):
    body = b'--b\r\nContent-Disposition: form-data; name="key"\r\n\r\n' + b"a" * 1000 + b"\r\n--b--\r\n"
    for address in ("/sign-in", "/events/e/say", "/api/v1/process"):
        kind = f"multipart/form-data; boundary=b; charset={charset}"
        assert asking.post(address, content=body, headers={"Content-Type": kind}).status_code == 415
    kind = f"application/json; charset={charset}"
    assert asking.post("/api/v1/anomalies/detect", content=b"{}", headers={"Content-Type": kind}).status_code == 415
    kind = 'application/json; charset="UTF-8"'
    assert asking.post("/api/v1/anomalies/detect", content=b"{}", headers={"Content-Type": kind}).status_code == 503


def test_what_is_short_may_not_be_long(asking):
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    for address in ("/sign-in", "/sign-out", "/events/e/say"):
        assert asking.post(address, content=b"&" * 20_000, headers=form).status_code == 413
    assert asking.post("/api/v1/process", content=b"&" * 100, headers=form).status_code == 415
    assert asking.post("/api/v1/events/e/feedback", content=b" " * 70_000).status_code == 413


def test_thousands_of_mistakes_are_told_in_a_few_lines(asking, home):
    Lake(home.lake).create()
    Warehouse(home.warehouse).publish(Lake(home.lake))
    many = {str(n): 0 for n in range(50_000)}
    for data in ([many], [{"timestamp": "x"}] * 5000, [{"timestamp": "2026-01-01", "k" * 10_000: 1}]):
        told = asking.post("/api/v1/anomalies/detect", json={"battery_id": "b", "data": data})
        assert told.status_code == 422
        assert len(told.content) < 20_000
    assert (
        "4980 mistakes more"
        in asking.post("/api/v1/anomalies/detect", json={"battery_id": "b", "data": [{"timestamp": "x"}] * 5000}).text
    )


@pytest.mark.usefixtures("every_processor")
def test_many_deliveries_at_once_are_all_taken(asking, home):
    with ThreadPoolExecutor(8) as pool:
        files = [ROWS.replace(b"790", b"7%d" % n) for n in range(10, 50)]
        told = list(pool.map(lambda content: deliver(asking, content), files))
    assert {one.status_code for one in told} == {202}
    assert len(landed(home)) == len(files)
    assert len(home.api_writes.read_text().splitlines()) == len(files)


def test_a_link_in_the_place_of_what_is_put_aside_is_not_followed(asking, home, tmp_path):
    away = tmp_path / "away" / ("0" * 32)
    away.mkdir(parents=True)
    os.utime(away, (0, 0))
    (home.landing / ".uploads").symlink_to(away.parent)
    assert deliver(asking).status_code == 422
    assert away.exists()


def test_a_name_of_ours_is_a_name_like_any_other(asking):
    for name in ("tried", "received", "uploads"):
        assert deliver(asking, name=name).status_code == 202


def test_another_disk_gets_the_file_whole(asking, home, monkeypatch):
    moved = []
    rename = Path.rename

    def elsewhere(self, target):
        moved.append((self, Path(target)))
        if self.is_relative_to(home.landing / ".uploads") and Path(target).is_relative_to(home.landing / "alpha"):
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", elsewhere)
    told = deliver(asking)
    assert told.status_code == 202
    assert landed(home) == [f"alpha/{told.json()['path']}"]
    assert (home.landing / "alpha" / told.json()["path"]).read_bytes() == ROWS
    assert moved[-1][0].name.startswith(".")


@pytest.mark.parametrize(
    "address",
    [
        "/api/v1/jobs/" + base64.urlsafe_b64encode(b"alpha/" + b"a" * 400).decode().rstrip("="),
        "/quality?until=0001-01-01", "/quality?until=9999-12-31", "/fleets/a/batteries/b?day=0001-01-01",
        "/api/v1/batteries?cursor=" + base64.urlsafe_b64encode(b"[" * 1400).decode().rstrip("="),
        "/api/v1/batteries?cursor=" + base64.urlsafe_b64encode(json.dumps(["\ud800", "x"]).encode()).decode(),
    ],
)  # fmt: skip
def test_addresses_that_nobody_thought_of_are_refused(asking, home, address):
    Lake(home.lake).create()
    Warehouse(home.warehouse).publish(Lake(home.lake))
    assert asking.get(address).status_code in {404, 422}


def test_an_origin_that_is_no_address_is_another(asking):
    assert asking.post("/sign-out", headers={"Origin": "http://[evil"}).status_code == 403


def test_an_answer_to_what_failed_is_as_careful_as_any_other(asking, home, monkeypatch):
    monkeypatch.setattr(asking.app.state.reader, "reading", lambda: 1 / 0)
    told = asking.get("/api/v1/fleets")
    assert (told.status_code, told.headers["x-content-type-options"]) == (500, "nosniff")
    assert "default-src" in told.headers["content-security-policy"]


def test_where_nothing_can_be_put_down_nothing_is_done(asking, home):
    home.api_writes.mkdir(parents=True)
    assert deliver(asking).status_code == 500
    assert landed(home) == []


def test_a_damaged_warehouse_is_passed_over_until_a_good_one_comes(asking, home):
    lake = Lake(home.lake)
    lake.create()
    Warehouse(home.warehouse).publish(lake)
    good = home.warehouse.read_bytes()
    assert asking.get("/api/v1/fleets").status_code == 200
    for bad in (b"", b"garbage" * 1000, good[:5000], good[:40] + b"\0" * (len(good) - 40)):
        fresh = home.warehouse.with_suffix(".new")
        fresh.write_bytes(bad)
        fresh.replace(home.warehouse)
        assert asking.get("/api/v1/fleets").json() == {"items": []}
        assert asking.get("/health").json()["status"] == "ok"
        with TestClient(create_app(home), base_url=HERE) as anew:
            told = anew.get("/api/v1/fleets")
            assert (told.status_code, "cannot be read" in told.json()["detail"]) == (503, True)
    plates = made(catalog.BATTERIES, 1, fleet_id=["alpha"], battery_id=["b"])
    lake.replace(catalog.BATTERIES, plates, Slice("alpha"))
    Warehouse(home.warehouse).publish(lake)
    assert [fleet["fleet_id"] for fleet in asking.get("/api/v1/fleets").json()["items"]] == ["alpha"]


def test_rows_without_a_day_are_told_where_there_is_nothing_else(asking, home):
    lake = Lake(home.lake)
    lake.create()
    rows = made(catalog.DATA_QUALITY_DAILY, 1, fleet_id=["alpha"], date=[None], rows_received=[7], rows_quarantined=[7])
    lake.replace(catalog.DATA_QUALITY_DAILY, rows, Slice("alpha"))
    Warehouse(home.warehouse).publish(lake)
    for address in ("/quality", "/quality?fleet=alpha&until=2026-01-01"):
        told = asking.get(address)
        assert told.status_code == 200
        assert "no usable time" in told.text


def test_a_line_that_was_cut_off_ends_there_and_keeps_nobody_from_being_forgotten(tmp_path):
    writes = Writes(tmp_path / "writes.ndjson")
    writes.note("a", "delivered", "alpha/1")
    with (tmp_path / "writes.ndjson").open("ab") as file:
        file.write(b'{"at":"2026","who":"alph')
    writes.note("a", "delivered", "beta/2")
    with (tmp_path / "writes.ndjson").open("ab") as file:
        file.write(b"\n\0\0\nnull\n{}\n")
    writes.forget("alpha")
    text = (tmp_path / "writes.ndjson").read_text()
    assert "alph" not in text
    assert [json.loads(line)["what"] for line in text.splitlines()] == [
        "a file of a fleet that was erased", "a line that could not be read", "beta/2",
        *["a line that could not be read"] * 3,
    ]  # fmt: skip


@pytest.mark.usefixtures("every_processor")
def test_many_who_write_at_once_cut_no_line(tmp_path):
    def note(n):
        Writes(tmp_path / "writes.ndjson").note("a", "delivered", f"alpha/{n}")

    threads = [threading.Thread(target=note, args=(n,)) for n in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    told = [json.loads(line)["what"] for line in (tmp_path / "writes.ndjson").read_text().splitlines()]
    assert sorted(told) == sorted(f"alpha/{n}" for n in range(40))
