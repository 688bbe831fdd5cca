import os
from datetime import UTC, date, datetime

import polars as pl
import pytest

from bess_pipeline.lake.contracts import stored_schema
from bess_pipeline.lake.slices import Slice
from bess_pipeline.lake.warehouse import QueryError, Warehouse
from bess_pipeline.tables import catalog
from bess_pipeline.window import Window


@pytest.fixture
def warehouse(tmp_path):
    return Warehouse(tmp_path / "warehouse" / "bess.duckdb")


def quarantined(*days):
    rows = [
        {"fleet_id": "alpha", "date": day, "path": "a.csv", "row_number": number, "reason": "conflict",
         "original": "{}", "timestamp": None if day is None else datetime(day.year, day.month, day.day, tzinfo=UTC)}
        for number, day in enumerate(days)
    ]  # fmt: skip
    return pl.DataFrame(rows, schema=stored_schema(catalog.QUARANTINE))


def test_what_is_published_equals_the_lake_row_for_row(lake, warehouse):
    day = date(2026, 1, 5)
    lake.replace(catalog.QUARANTINE, quarantined(None), Slice("alpha", no_day=True))
    lake.replace(catalog.QUARANTINE, quarantined(day, day), Slice("alpha", Window.of_day(day)))
    published = warehouse.publish(lake)
    answer = warehouse.query("SELECT * FROM quarantine ORDER BY date NULLS FIRST, row_number")
    assert answer.equals(lake.read(catalog.QUARANTINE).sort("date", "row_number", nulls_last=False))
    assert published.rows["quarantine"] == 3


def test_every_published_table_and_column_carries_its_meaning(lake, warehouse):
    warehouse.publish(lake)
    silent = warehouse.query(
        "SELECT table_name, column_name FROM duckdb_columns() WHERE comment IS NULL AND NOT internal"
        " AND table_name <> 'publication'"
    )
    assert silent.is_empty()
    assert warehouse.query("SELECT table_name FROM duckdb_tables() WHERE comment IS NULL AND NOT internal").is_empty()


def test_a_publication_is_current_until_the_lake_changes(lake, warehouse):
    assert not warehouse.is_current(lake)
    warehouse.publish(lake)
    assert warehouse.is_current(lake)
    lake.replace(catalog.QUARANTINE, quarantined(None), Slice("alpha", no_day=True))
    assert not warehouse.is_current(lake)


def test_a_reader_keeps_what_it_opened_while_a_new_file_is_put_in_place(lake, warehouse):
    warehouse.publish(lake)
    with warehouse.connection() as reader:
        lake.replace(catalog.QUARANTINE, quarantined(None), Slice("alpha", no_day=True))
        warehouse.publish(lake)
        assert reader.execute("SELECT count(*) FROM quarantine").fetchone() == (0,)
    assert warehouse.query("SELECT count(*) AS n FROM quarantine")["n"].item() == 1


def test_nothing_but_the_file_is_left_behind(lake, warehouse):
    warehouse.publish(lake)
    assert [path.name for path in warehouse.path.parent.iterdir()] == ["bess.duckdb"]


def test_what_a_killed_publication_left_behind_is_removed_once_it_is_old(lake, warehouse):
    old, young = (warehouse.path.parent / f".publish-{name}" for name in ("old", "young"))
    for folder in (old, young):
        folder.mkdir(parents=True)
    os.utime(old, (0, 0))
    warehouse.publish(lake)
    assert (old.exists(), young.exists()) == (False, True)


def test_before_the_first_publication_the_message_says_what_to_do(warehouse):
    with pytest.raises(FileNotFoundError, match="bess run"):
        warehouse.query("SELECT 1")


def test_a_query_that_cannot_be_answered_says_why(lake, warehouse):
    warehouse.publish(lake)
    with pytest.raises(QueryError, match="nonsense"):
        warehouse.query("SELECT * FROM nonsense")


@pytest.mark.parametrize("content", [b"", b"garbage", b"SQLite format 3\0"])
def test_a_damaged_file_is_behind_says_so_and_is_replaced(lake, warehouse, content):
    lake.create()
    warehouse.publish(lake)
    assert warehouse.is_current(lake)
    warehouse.path.write_bytes(content)
    assert warehouse.versions() == {}
    assert not warehouse.is_current(lake)
    with pytest.raises(QueryError, match="bess run"):
        warehouse.query("SELECT 1")
    warehouse.publish(lake)
    assert warehouse.is_current(lake)
