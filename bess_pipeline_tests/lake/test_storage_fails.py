"""The lake on storage that fails: an object store that is away for a while, a full disk, damaged files."""

import os
import resource
import shutil
import threading
from contextlib import contextmanager
from datetime import date, timedelta

import polars as pl
import pytest

from bess_pipeline.lake.contracts import stored_schema
from bess_pipeline.lake.disk import Disk
from bess_pipeline.lake.failures import DamagedError, StorageAwayError, StorageDeniedError, StorageFullError
from bess_pipeline.lake.ledger import MARK, WHOLE_FLEET, Ledger, Notes
from bess_pipeline.lake.mending import Damage, damages, mend
from bess_pipeline.lake.slices import Slice
from bess_pipeline.lake.store import Lake
from bess_pipeline.tables import catalog
from bess_pipeline.window import Window
from bess_pipeline_tests.faults.storage import BUCKET, Fault, started

DAY = date(2026, 1, 5)
PART = Slice("alpha", Window.of_day(DAY))


def rejected(*numbers):
    rows = [
        {
            "fleet_id": "alpha",
            "date": DAY,
            "path": "a.csv",
            "row_number": number,
            "reason": "conflict",
            "original": "{}",
        }
        for number in numbers
    ]
    return pl.DataFrame(rows, schema=stored_schema(catalog.QUARANTINE))


@pytest.fixture(scope="module")
def storage():
    with started() as storage:
        yield storage


@pytest.fixture
def remote(storage, monkeypatch, request):
    """A lake on the storage, with one table so far."""
    for name, value in storage.environment.items():
        monkeypatch.setenv(name, value)
    lake = Lake(f"s3://{BUCKET}/{request.node.name[:40]}", patience=timedelta(seconds=30))
    lake._begin(catalog.QUARANTINE, "ignore")
    return lake


def test_a_write_and_a_read_go_through_although_the_storage_is_away_for_a_while(remote, storage):
    storage.fail(Fault("503"))
    back = threading.Timer(3, storage.fail, [None])
    back.start()
    written = remote.replace(catalog.QUARANTINE, [rejected(1), rejected(2)], PART)
    back.join()
    assert written.rows == 2
    storage.fail(Fault("reset"))
    back = threading.Timer(3, storage.fail, [None])
    back.start()
    assert remote.read(catalog.QUARANTINE, PART)["row_number"].to_list() == [1, 2]
    back.join()


@pytest.mark.parametrize("verb", ["replace", "append"])
def test_a_commit_whose_answer_was_lost_is_known_again_and_counts_once(remote, storage, verb):
    remote.replace(catalog.QUARANTINE, rejected(1), PART)
    with storage.failing(Fault("lost", methods=("PUT",), within="_delta_log", times=1)):
        getattr(remote, verb)(catalog.QUARANTINE, rejected(2, 3), PART)
    held = remote.read(catalog.QUARANTINE)["row_number"].to_list()
    assert held == ([2, 3] if verb == "replace" else [1, 2, 3])


def test_a_storage_that_stays_away_or_refuses_is_told_as_that(remote, storage):
    hurried = Lake(remote.uri, patience=timedelta(0))
    with storage.failing(Fault("reset")), pytest.raises(StorageAwayError, match="nothing is lost"):
        hurried.read(catalog.QUARANTINE)
    with storage.failing(Fault("403")), pytest.raises(StorageDeniedError, match="403 Forbidden"):
        remote.replace(catalog.QUARANTINE, rejected(1), PART)


def test_a_lake_that_may_be_read_alone_is_found_before_anything_is_to_be_written(remote, storage):
    disk = Disk(remote.uri)
    disk.try_writing()
    assert [file.path for file in disk.files() if "written" in file.path] == []
    with storage.failing(Fault("403", methods=("PUT", "POST"))):
        assert remote.read(catalog.QUARANTINE).is_empty()
        with pytest.raises(StorageDeniedError, match="give the pipeline the right"):
            disk.try_writing()


@contextmanager
def files_of_at_most(size):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_is_told_as_that_and_leaves_the_table_as_it_was(lake):
    lake.replace(catalog.QUARANTINE, rejected(1), PART)
    with files_of_at_most(512), pytest.raises(StorageFullError, match="free some"):
        lake.replace(catalog.QUARANTINE, rejected(*range(1000)), PART)
    assert lake.read(catalog.QUARANTINE)["row_number"].to_list() == [1]


def damaged_file(lake, table, part):
    (path,) = lake.files(table).filter(pl.col("fleet_id") == part.fleet_id)["path"]
    file = f"{lake.address(table)}/{path}"
    os.truncate(file, 100)
    return file


def test_a_damaged_file_of_a_day_is_named_and_its_day_is_made_again(lake):
    ledger = Ledger(lake)
    ledger.record("alpha", "day_evidence", {DAY: "x"}, run_id="r")
    ledger.record("alpha", "fleet", {WHOLE_FLEET: "y"}, run_id="r")
    lake.replace(catalog.QUARANTINE, rejected(1), PART)
    file = damaged_file(lake, catalog.QUARANTINE, PART)
    with pytest.raises(DamagedError, match=r"part-.*cannot be read.*bess mend"):
        lake.read(catalog.QUARANTINE)
    (damage,) = damages(lake)
    assert (damage.file, damage.day, damage.can_be_made_again) == (file, DAY, True)
    mend(lake, damage)
    assert ledger.signatures("alpha", "day_evidence") == {}
    assert ledger.signatures("alpha", "fleet") == {WHOLE_FLEET: "y"}
    lake.replace(catalog.QUARANTINE, rejected(1), PART)
    assert lake.read(catalog.QUARANTINE)["row_number"].to_list() == [1]


def test_a_damaged_file_of_a_fleet_is_written_over_when_its_table_is_made_again(lake):
    points = pl.DataFrame(
        [{"fleet_id": "alpha", "battery_id": "b", "soc_percent": soc, "ocv_volt": 3.2} for soc in (0.0, 1.0)],
        schema=stored_schema(catalog.OCV_CURVES),
    )
    lake.replace(catalog.OCV_CURVES, points, Slice("alpha"))
    Ledger(lake).record("alpha", "fleet", {WHOLE_FLEET: "y"}, run_id="r")
    damaged_file(lake, catalog.OCV_CURVES, Slice("alpha"))
    for damage in damages(lake, "alpha"):
        mend(lake, damage)
    assert Ledger(lake).signatures("alpha", "fleet") == {}
    lake.replace_changed(catalog.OCV_CURVES, points, Slice("alpha"))
    assert lake.read(catalog.OCV_CURVES).equals(points)


def test_a_table_that_was_put_back_from_a_backup_is_opened_anew(lake, tmp_path):
    lake.replace(catalog.QUARANTINE, rejected(1), PART)
    shutil.copytree(lake.address(catalog.QUARANTINE), tmp_path / "backup")
    lake.replace(catalog.QUARANTINE, rejected(2), PART)
    shutil.rmtree(lake.address(catalog.QUARANTINE))
    shutil.copytree(tmp_path / "backup", lake.address(catalog.QUARANTINE))
    assert lake.read(catalog.QUARANTINE)["row_number"].to_list() == [1]


def test_what_cannot_be_made_again_is_not_thrown_away(lake):
    with pytest.raises(ValueError, match="backup"):
        mend(lake, Damage(catalog.EVENT_FEEDBACK, "alpha", None, "part-0.parquet", "no footer"))


def test_where_the_mark_of_a_run_that_died_is_damaged_nothing_is_known_of_its_fleet(lake):
    for fleet_id in ("alpha", "beta"):
        notes = Notes(lake, fleet_id)
        notes.begin("cycles", None)
        notes.record("cycles", pl.DataFrame({"date": [DAY], "signature": [1]}))
        notes.close()
    Notes(lake, "alpha").begin("battery_daily", DAY)
    assert list(damages(lake)) == []
    (path,) = lake.files(catalog.MADE_FROM).filter(pl.col("name").str.starts_with(MARK))["path"]
    os.truncate(f"{lake.address(catalog.MADE_FROM)}/{path}", 10)
    (damage,) = damages(lake)
    mend(lake, damage)
    assert list(damages(lake)) == []
    assert Notes(lake, "alpha").signatures("cycles").is_empty()
    assert Notes(lake, "beta").signatures("cycles").height == 1
