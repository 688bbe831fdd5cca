"""Tables of few files and of many are read by different ways, to the same rows."""

from datetime import date

import deltalake
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from bess_pipeline.lake import scans
from bess_pipeline.lake.contracts import stored_schema
from bess_pipeline.lake.slices import Slice
from bess_pipeline.lake.store import Lake
from bess_pipeline.tables import catalog
from bess_pipeline.window import Window

BY_DAY, BY_MONTH = catalog.QUARANTINE, catalog.CURRENT_OFFSETS
DAYS = [date(2026, 3, 30), date(2026, 3, 31), date(2026, 4, 1)]


def quarantine(fleet_id):
    rows = [
        {"fleet_id": fleet_id, "date": day, "path": "a.csv", "row_number": number, "reason": "no_battery",
         "original": "{}"}
        for number, day in enumerate(DAYS * 2)
    ]  # fmt: skip
    return pl.DataFrame(rows, schema=stored_schema(BY_DAY))


def offsets(fleet_id):
    rows = [
        {"fleet_id": fleet_id, "battery_id": "b", "date": day, "offset_ampere": 0.1, "offset_sigma_ampere": 0.01,
         "method": None, "run_id": "r", "code_version": "1", "register_version": "1"}
        for day in DAYS
    ]  # fmt: skip
    return pl.DataFrame(rows, schema=stored_schema(BY_MONTH))


@pytest.fixture
def filled(lake):
    for fleet_id in ("alpha", "beta"):
        lake.replace(BY_DAY, quarantine(fleet_id), Slice(fleet_id))
        lake.replace(BY_MONTH, offsets(fleet_id), Slice(fleet_id))
    return lake


def assert_read_the_same(lake, table, part, monkeypatch):
    few = lake.scan(table, part).collect()
    with monkeypatch.context() as patch:
        patch.setattr(scans, "_FEW_FILES", -1)
        many = lake.scan(table, part).collect()
    assert_frame_equal(few, many, check_row_order=False)
    assert few.schema == stored_schema(table)
    return few


@pytest.mark.parametrize("table", [BY_DAY, BY_MONTH, catalog.CYCLES], ids=["of days", "of months", "without a file"])
@pytest.mark.parametrize("part", [None, Slice("alpha"), Slice("alpha", Window(DAYS[1], DAYS[2])), Slice("nobody")])
def test_few_files_give_the_rows_that_many_give(filled, monkeypatch, table, part):
    if table is catalog.CYCLES and part is not None:
        part = Slice(part.fleet_id)
    found = assert_read_the_same(filled, table, part, monkeypatch)
    assert found.is_empty() == (table is catalog.CYCLES or part == Slice("nobody"))


def test_a_file_from_before_there_was_a_column_is_read_beside_one_that_has_it(lake, monkeypatch):
    old = quarantine("alpha").drop("original")
    deltalake.write_deltalake(lake.address(BY_DAY), old, partition_by=BY_DAY.partition_by)
    lake.create()
    lake.replace(BY_DAY, quarantine("beta"), Slice("beta"))
    found = assert_read_the_same(lake, BY_DAY, None, monkeypatch)
    assert dict(found.group_by("fleet_id").agg(pl.col("original").n_unique()).iter_rows()) == {"alpha": 1, "beta": 1}
    assert found.height == 2 * old.height


def test_what_another_process_wrote_is_seen_at_once(filled):
    other = Lake(filled.uri)
    assert other.read(BY_DAY).height == 12
    filled.replace(BY_DAY, quarantine("gamma"), Slice("gamma"))
    assert other.read(BY_DAY).height == 18
    other.replace(BY_DAY, quarantine("gamma").clear(), Slice("gamma"))
    assert filled.read(BY_DAY).height == 12


def test_a_table_that_was_put_back_is_read_as_it_is_now(filled, tmp_path):
    before = Lake(str(tmp_path / "before"))
    before.replace(BY_DAY, quarantine("alpha"), Slice("alpha"))
    assert filled.read(BY_DAY).height == 12
    (tmp_path / "lake" / BY_DAY.name).rename(tmp_path / "gone")
    (tmp_path / "before" / BY_DAY.name).rename(tmp_path / "lake" / BY_DAY.name)
    assert filled.read(BY_DAY).height == 6
