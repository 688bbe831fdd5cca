from datetime import date

import polars as pl
import pytest

from bess_pipeline.lake.contracts import stored_schema
from bess_pipeline.lake.recent import Recent
from bess_pipeline.lake.slices import Slice
from bess_pipeline.tables import catalog

TABLE = catalog.QUARANTINE
PART = Slice("alpha")


def rejected(*numbers):
    row = {"fleet_id": "alpha", "date": date(2026, 1, 5), "path": "a.csv", "reason": "no_battery", "original": "{}"}
    return pl.DataFrame([row | {"row_number": number} for number in numbers], schema=stored_schema(TABLE))


@pytest.fixture
def reads(lake, monkeypatch):
    """How often the lake itself was read."""
    counted, read = [], lake.read
    monkeypatch.setattr(lake, "read", lambda table, part: counted.append(part) or read(table, part))
    return counted


def test_what_did_not_change_is_read_once(lake, reads):
    lake.replace(TABLE, rejected(1, 2), PART)
    recent = Recent(lake)
    first, again = recent.read(TABLE, PART), recent.read(TABLE, PART)
    assert first.equals(again)
    assert reads == [PART]
    assert recent.read(TABLE, Slice("beta")).is_empty()
    assert reads == [PART, Slice("beta")]


def test_what_changed_is_read_again(lake, reads):
    lake.replace(TABLE, rejected(1), PART)
    recent = Recent(lake)
    assert recent.read(TABLE, PART)["row_number"].to_list() == [1]
    lake.replace(TABLE, rejected(1, 2), PART)
    assert recent.read(TABLE, PART)["row_number"].to_list() == [1, 2]
    assert len(reads) == 2


def test_no_more_is_kept_than_may_be(lake, reads):
    lake.replace(TABLE, rejected(1, 2, 3), PART)
    small = Recent(lake, most_bytes=8)
    assert small.read(TABLE, PART).equals(small.read(TABLE, PART))
    assert len(reads) == 2
    one = Recent(lake, most_bytes=lake.read(TABLE, PART).estimated_size())
    lake.replace(TABLE, rejected(4, 5, 6).with_columns(fleet_id=pl.lit("beta")), Slice("beta"))
    reads.clear()
    for part in (PART, PART, Slice("beta"), Slice("beta"), PART):  # what was read last is kept
        one.read(TABLE, part)
    assert reads == [PART, Slice("beta"), PART]


def test_a_frame_that_is_changed_in_place_is_not_what_others_get(lake):
    lake.replace(TABLE, rejected(1), PART)
    recent = Recent(lake)
    recent.read(TABLE, PART).drop_in_place("reason")
    assert "reason" in recent.read(TABLE, PART).columns


def test_what_is_too_large_does_not_push_out_others(lake, reads):
    lake.replace(TABLE, rejected(1), PART)
    lake.replace(TABLE, rejected(*range(99)).with_columns(fleet_id=pl.lit("beta")), Slice("beta"))
    recent = Recent(lake, most_bytes=2 * lake.read(TABLE, PART).estimated_size())
    reads.clear()
    for part in (PART, Slice("beta"), PART):
        recent.read(TABLE, part)
    assert reads == [PART, Slice("beta")]
