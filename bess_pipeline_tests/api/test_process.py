"""Telemetry that is delivered by way of the API."""

import errno
import gzip
import hashlib
import json
import os
from datetime import UTC, date, datetime, timedelta

import pytest
from fastapi.testclient import TestClient

from bess_pipeline.api import uploads
from bess_pipeline.api.app import create_app
from bess_pipeline.api.keys import Keys
from bess_pipeline.lake.slices import Slice
from bess_pipeline.lake.store import Lake
from bess_pipeline.lake.warehouse import Warehouse
from bess_pipeline.sources.folder import telemetry_files
from bess_pipeline.sources.register import read_register
from bess_pipeline.tables import catalog
from bess_pipeline_tests.api.made_site import made

FLEET = """
fleet_id: {name}
commissioned: 2024-01-01
battery: {{chemistry: LFP, rated_capacity_ah: 280, cells_in_series: 240}}
source: {{files: "{files}", format: csv{more}}}
"""
ROWS = b"timestamp,battery_id,voltage_volt,current_ampere,colour\n" + b"".join(
    b"2026-03-0%dT00:%02d:00Z,b1,790.%d,12,red\n" % (1 + n // 30, n % 30, n) for n in range(60)
)
UNTIMED = b"yesterday,b1,790,12,red\n"


@pytest.fixture
def asking(home):
    """The API of a home with two fleets, one whose file has a mistake, and one that names batteries by files."""
    for name, files, more in (
        ("alpha", "**/*.csv*", ""),
        ("flat", "*.csv", ""),
        ("named", "**/*", ", columns: {battery_id: {path: '(?P<battery_id>[^/]+)[.]csv'}}"),
    ):
        (home.fleets / f"{name}.yaml").write_text(FLEET.format(name=name, files=files, more=more))
    (home.fleets / "broken.yaml").write_text("fleet_id: broken\n")
    with TestClient(create_app(home), base_url="http://127.0.0.1") as client:
        yield client


def deliver(asking, content=ROWS, name="march.csv", fleet_id="alpha", headers=None, **fields):
    data = fields | ({"fleet_id": fleet_id} if fleet_id else {})
    return asking.post("/api/v1/process", files={"file": (name, content)}, data=data, headers=headers)


def landed(home):
    """Everything below the landing zone, folders left out."""
    return sorted(path.relative_to(home.landing).as_posix() for path in home.landing.rglob("*") if path.is_file())


def test_a_file_is_looked_through_and_lands_where_the_fleet_looks(asking, home):
    told = deliver(asking, ROWS + UNTIMED)
    assert told.status_code == 202, told.text
    job = told.json()
    digest = hashlib.sha256(ROWS + UNTIMED).hexdigest()
    assert job["path"] == f"uploads/{digest[:16]}/march.csv"
    assert (job["status"], job["fleet_id"], job["sha256"]) == ("received", "alpha", digest)
    assert (job["rows_received"], job["rows_without_day"], job["size_bytes"]) == (61, 1, len(ROWS + UNTIMED))
    assert (job["first_timestamp"], job["last_timestamp"]) == ("2026-03-01T00:00:00Z", "2026-03-02T00:29:00Z")
    assert job["unmapped_columns"] == ["colour"]
    assert landed(home) == [f"alpha/{job['path']}"]
    fleet = read_register(home.fleets).fleets["alpha"]
    assert list(telemetry_files(fleet, home.landing / "alpha")) == [job["path"]]
    assert (home.landing / "alpha" / job["path"]).read_bytes() == ROWS + UNTIMED
    later = asking.get(told.headers["location"])
    assert (later.status_code, later.json()["status"]) == (200, "received")


def test_the_same_file_twice_is_one_and_another_of_that_name_takes_nobodys_place(asking, home):
    first = deliver(asking)
    stamp = (home.landing / "alpha" / first.json()["path"]).stat().st_mtime_ns
    again = deliver(asking)
    assert (first.status_code, again.status_code) == (202, 200)
    assert again.json()["job_id"] == first.json()["job_id"]
    assert (home.landing / "alpha" / first.json()["path"]).stat().st_mtime_ns == stamp
    other = deliver(asking, ROWS.replace(b"790", b"791"))
    assert other.status_code == 202
    assert len(landed(home)) == 2
    assert all(path.endswith("/march.csv") for path in landed(home))


def test_where_the_fleets_files_lie_flat_the_checksum_is_in_the_name(asking, home):
    assert deliver(asking, fleet_id="flat").json()["path"] == f"march.{hashlib.sha256(ROWS).hexdigest()[:16]}.csv"


def test_a_battery_that_the_name_tells_stays_the_same(asking, home):
    rows = b"timestamp,voltage_volt,current_ampere\n2026-03-01T00:00:00Z,790,12\n"
    told = deliver(asking, rows, "rack 7.csv", "named")
    assert told.status_code == 202, told.text
    assert told.json()["path"].endswith("/rack_7.csv")


def test_a_compressed_file_is_taken_as_it_is(asking, home):
    told = deliver(asking, gzip.compress(ROWS), "march.csv.gz")
    assert told.status_code == 202
    assert told.json()["rows_received"] == 60
    assert told.json()["path"].endswith("/march.csv.gz")


def test_a_checksum_is_held_against_what_came(asking, home):
    right = hashlib.sha256(ROWS).hexdigest()
    assert deliver(asking, sha256=right.upper()).status_code == 202
    told = deliver(asking, ROWS + b"\n", sha256=right)
    assert (told.status_code, "deliver it again" in told.json()["detail"]) == (422, True)
    assert deliver(asking, sha256="abc").status_code == 422


def png():
    return b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 40


@pytest.mark.parametrize(
    ("content", "name", "fleet_id", "status", "reason"),
    [
        (b"", "a.csv", "alpha", 422, "a.csv"),
        (b"timestamp,battery_id,voltage_volt,current_ampere\n", "a.csv", "alpha", 422, "holds no row"),
        (b"time,rack,U\n1,2,3\n", "a.csv", "alpha", 422, "a.csv"),
        (png(), "a.csv", "alpha", 422, "a.csv"),
        (gzip.compress(ROWS)[:-20], "a.csv.gz", "alpha", 422, "damaged"),
        (gzip.compress(b"\n" * (1 << 27)), "a.csv.gz", "alpha", 422, "bombs"),
        (ROWS, "a.parquet", "alpha", 422, "no other is looked at"),
        (ROWS, "a.csv.part", "alpha", 422, "no other is looked at"),
        (ROWS, "..", "alpha", 422, "needs a name"),
        (ROWS, "./.", "alpha", 422, "needs a name"),
        (ROWS, "a.csv", "nobody", 404, "no fleet 'nobody'"),
        (ROWS, "a.csv", "../alpha", 404, "no fleet"),
        (ROWS, "a.csv", "' OR '1'='1", 404, "no fleet"),
        (ROWS, "a.csv", "broken", 409, "has to be corrected first"),
        (ROWS, "a.csv", None, 422, "say for which fleet"),
    ],
)
def test_what_cannot_be_taken_is_refused_with_its_reason_and_nothing_is_kept(
    asking, home, content, name, fleet_id, status, reason
):
    told = deliver(asking, content, name, fleet_id)
    assert told.status_code == status, told.text
    assert reason in told.json()["detail"]
    assert str(home.root) not in told.text
    assert landed(home) == []
    assert not home.api_writes.exists() or home.api_writes.read_bytes() == b""


@pytest.mark.parametrize(
    "name",
    [
        "../../../etc/cron.d/x.csv",
        "..\\..\\x.csv",
        "/etc/passwd/x.csv",
        "C:\\x.csv",
        ".hidden.csv",
        "a\r\nSet-Cookie: x=1.csv",
        "a\x00b.csv",
        "ä ö'; DROP TABLE batteries;.csv",
        "$(reboot).csv",
        "x" * 300 + ".csv",
        "%2e%2e%2fx.csv",
    ],
)
def test_a_name_never_leads_anywhere(asking, home, name):
    boundary = "zzz"
    body = b"".join(
        (
            f'--{boundary}\r\nContent-Disposition: form-data; name="fleet_id"\r\n\r\nalpha\r\n'.encode(),
            f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="'.encode(),
            name.encode(),
            b'"\r\n\r\n' + ROWS + f"\r\n--{boundary}--\r\n".encode(),
        )
    )
    headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
    told = asking.post("/api/v1/process", content=body, headers=headers)
    assert told.status_code in {202, 400, 422}, told.text
    assert "set-cookie" not in told.headers
    folder = f"alpha/uploads/{hashlib.sha256(ROWS).hexdigest()[:16]}/"
    for path in landed(home):
        assert path.startswith(folder)
        last = path.removeprefix(folder)
        assert last.endswith(".csv")
        assert not last.startswith(".")
        assert set(last) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
        assert len(last) <= 120
    assert len(landed(home)) == (told.status_code == 202)


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"", "multipart/form-data; boundary=x"),
        (b"garbage", "multipart/form-data; boundary=x"),
        (b"--x\r\n\r\n", "multipart/form-data"),
        (b"--x\r\n\r\n", "multipart/mixed; boundary=x"),
        (b'{"file": "x"}', "application/json"),
        (ROWS, "text/csv"),
        (b"file=abc&fleet_id=alpha", "application/x-www-form-urlencoded"),
    ],
)
def test_what_is_no_form_with_a_file_is_refused(asking, home, body, kind):
    told = asking.post("/api/v1/process", content=body, headers={"Content-Type": kind})
    assert told.status_code in ({400, 422} if kind.startswith("multipart/form-data") else {415}), told.text
    assert told.headers["content-type"] == "application/problem+json"
    assert landed(home) == []


def test_what_servers_left_when_they_died_goes_after_a_day(asking, home):
    for name, age in (("0" * 32, 90_000), ("f" * 32, 3600), ("mine", 90_000)):
        folder = home.landing / ".uploads" / name
        folder.mkdir(parents=True)
        then = datetime.now(UTC).timestamp() - age
        os.utime(folder, (then, then))
    assert deliver(asking).status_code == 202
    assert sorted(path.name for path in (home.landing / ".uploads").iterdir()) == ["f" * 32, "mine"]


def test_a_landing_folder_that_is_somebody_elses_is_said_and_nothing_is_kept(asking, home, monkeypatch):
    def refused(*_):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(uploads, "_place", refused)
    told = deliver(asking)
    assert (told.status_code, "does not let the server write" in told.json()["detail"]) == (503, True)
    assert landed(home) == []


def test_a_full_disk_is_said_and_nothing_is_kept(asking, home, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(uploads, "_received", full)
    told = deliver(asking)
    assert (told.status_code, "no room" in told.json()["detail"]) == (507, True)
    assert landed(home) == []


def test_each_delivery_is_on_record_with_who_made_it(asking, home):
    keys = Keys(home.api_keys)
    token = keys.add("site a", ["ingest"], ["alpha"])
    headers = {"Authorization": f"Bearer {token}"}
    assert deliver(asking, headers=headers).status_code == 202
    assert deliver(asking, fleet_id=None, headers=headers).status_code == 200
    assert deliver(asking, fleet_id="flat", headers=headers).status_code == 404
    assert deliver(asking, ROWS + UNTIMED).status_code == 202
    noted = [json.loads(line) for line in home.api_writes.read_text().splitlines()]
    (key,) = keys.every()
    assert [one["who"] for one in noted] == [f"site a ({key.key_id})"] * 2 + ["anyone on this machine"]
    assert [one["is_new"] for one in noted] == [True, False, True]
    assert {one["did"] for one in noted} == {"delivered"}
    assert token not in home.api_writes.read_text()
    assert oct(home.api_writes.stat().st_mode)[-3:] == "600"


def published(home, job, **file):
    """A publication that knows a file, and a day of it."""
    lake = Lake(home.lake)
    known = {
        "path": [job["path"]], "fleet_id": ["alpha"], "status": ["ok"], "rows_received": [60], "rows_without_day": [0],
        "first_timestamp": [datetime(2026, 3, 1, tzinfo=UTC)], "last_timestamp": [datetime(2026, 3, 2, tzinfo=UTC)],
        "unmapped_columns": ["colour,size"], "missing_columns": [""], "error": [None],
    }  # fmt: skip
    row = made(catalog.LANDING_FILES, 1, **(known | {name: [value] for name, value in file.items()}))
    lake.replace(catalog.LANDING_FILES, row, Slice("alpha"))
    return lake


def counted(lake, home, *days):
    columns = ("rows_received", "rows_accepted", "rows_quarantined", "rows_duplicate")
    counts = {name: [day[place] for day in days] for place, name in enumerate(columns)}
    dates = [date(2026, 3, 1) + timedelta(days=n) for n in range(len(days))]
    rows = made(catalog.DATA_QUALITY_DAILY, len(days), fleet_id=["alpha"] * len(days), date=dates, **counts)
    lake.replace(catalog.DATA_QUALITY_DAILY, rows, Slice("alpha"))
    Warehouse(home.warehouse).publish(lake)


def test_a_job_tells_what_became_of_its_file(asking, home):
    told = deliver(asking)
    where = told.headers["location"]
    lake = published(home, told.json())
    # Its rows are counted; those of the second day are not accounted for.
    counted(lake, home, (30, 28, 1, 1), (30, 0, 0, 0), (5, 0, 0, 0))
    job = asking.get(where).json()
    assert (job["status"], job["rows_received"], job["rows_quarantined"], job["days"]) == ("indexed", 60, None, [])
    assert job["unmapped_columns"] == ["colour", "size"]
    # The third day is none of its own: whether that is made is nothing to it.
    counted(lake, home, (30, 28, 1, 1), (30, 30, 0, 0), (5, 0, 0, 0))
    job = asking.get(where).json()
    assert (job["status"], job["rows_quarantined"]) == ("processed", 0)
    assert [(day["date"], day["rows_received"], day["rows_accepted"]) for day in job["days"]] == [
        ("2026-03-01", 30, 28), ("2026-03-02", 30, 30),
    ]  # fmt: skip
    counted(published(home, told.json(), status="unreadable", error="march.csv: is gone"), home, (1, 1, 0, 0))
    job = asking.get(where).json()
    assert (job["status"], job["error"]) == ("unreadable", "march.csv: is gone")


@pytest.mark.parametrize(
    "job_id", ["x", "Li4vLi4vZXRjL3Bhc3N3ZA", "YWxwaGEvLmhpZGRlbg", "YWxwaGEvbm9uZS5jc3Y", "%00", "ä"]
)
def test_there_are_no_jobs_but_those_that_were_given(asking, job_id):
    assert asking.get(f"/api/v1/jobs/{job_id}").status_code == 404


def test_a_job_is_nothing_to_who_may_not_see_its_fleet(asking, home):
    where = deliver(asking).headers["location"]
    token = Keys(home.api_keys).add("flat", ["ingest"], ["flat"])
    assert asking.get(where, headers={"Authorization": f"Bearer {token}"}).status_code == 404
    assert asking.get(where).status_code == 200
