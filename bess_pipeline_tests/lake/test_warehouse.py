import os
from datetime import UTC, date, datetime

import duckdb
import polars as pl
import pytest
from dataframely.random import Generator

from bess_pipeline.lake import monthly
from bess_pipeline.lake.contracts import stored_contract, stored_schema
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


def test_spans_of_time_are_told_as_text(lake, warehouse):
    """Polars has no type for them, and says so with a panic where they are within others."""
    warehouse.publish(lake)
    span = "INTERVAL 90 MINUTE"
    answer = warehouse.query(f'SELECT 1 AS n, {span} AS "a ""span""", [{span}] AS n, DATE \'2026-01-02\' AS day')
    assert answer.rows() == [(1, "01:30:00", "['01:30:00']", date(2026, 1, 2))]


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


def five_minutes(fleet_id, *days, count=3):
    """Rows of two batteries at the beginning of each day."""
    rows = [
        {"fleet_id": fleet_id, "date": day, "battery_id": battery_id,
         "timestamp": datetime(day.year, day.month, day.day, 0, 5 * number, tzinfo=UTC)}
        for day in days for number in range(count) for battery_id in ("b2", "b1")
    ]  # fmt: skip
    return stored_contract(catalog.TELEMETRY_5MIN).sample(overrides=rows, generator=Generator(seed=7))


def write_days(lake, fleet_id, *days, count=3):
    for day in days:
        part = Slice(fleet_id, Window.of_day(day))
        lake.replace(catalog.TELEMETRY_5MIN, five_minutes(fleet_id, day, count=count), part)


JANUARY, FEBRUARY = (date(2026, 1, 5), date(2026, 1, 31)), (date(2026, 2, 1),)


def test_a_large_table_equals_the_lake_in_its_order(lake, warehouse):
    write_days(lake, "alpha", *JANUARY, *FEBRUARY)
    write_days(lake, "beta", *JANUARY)
    published = warehouse.publish(lake)
    answer = warehouse.query("SELECT * FROM telemetry_5min ORDER BY fleet_id, battery_id, timestamp")
    assert answer.equals(lake.read(catalog.TELEMETRY_5MIN))
    assert published.rows["telemetry_5min"] == answer.height == 30
    assert [path.rsplit("-", 1)[0] for path in warehouse.files()] == [
        "telemetry_5min/fleet_id=alpha/2026-01-05",
        "telemetry_5min/fleet_id=alpha/2026-02-01",
        "telemetry_5min/fleet_id=beta/2026-01-05",
    ]


def scores(fleet_id, *days):
    rows = [{"fleet_id": fleet_id, "date": day, "battery_id": name} for day in days for name in ("b2", "b1")]
    return stored_contract(catalog.ANOMALY_SCORES).sample(overrides=rows, generator=Generator(seed=7))


def test_a_large_table_of_months_equals_the_lake_and_only_its_new_month_is_written(lake, warehouse):
    for fleet_id in ("alpha", "beta"):
        lake.replace_changed(catalog.ANOMALY_SCORES, scores(fleet_id, *JANUARY, *FEBRUARY), Slice(fleet_id))
    warehouse.publish(lake)
    before = {path: (warehouse.path.parent / path).stat().st_ino for path in warehouse.files()}
    assert sorted(path.rsplit("-", 1)[0] for path in before) == [
        f"anomaly_scores/fleet_id={fleet_id}/2026-0{month}-01" for fleet_id in ("alpha", "beta") for month in (1, 2)
    ]
    more = scores("alpha", *JANUARY, *FEBRUARY, date(2026, 2, 2))
    lake.replace_changed(catalog.ANOMALY_SCORES, more, Slice("alpha"))
    published = warehouse.publish(lake)
    after = {path: (warehouse.path.parent / path).stat().st_ino for path in warehouse.files()}
    assert len(before.items() & after.items()) == len(after) - 1 == 3
    answer = warehouse.query("SELECT * FROM anomaly_scores ORDER BY fleet_id, battery_id, date, detector")
    assert answer.equals(lake.read(catalog.ANOMALY_SCORES))
    assert published.rows["anomaly_scores"] == answer.height == 2 * 6 + 2


def test_only_months_in_which_a_day_changed_are_written_again(lake, warehouse):
    write_days(lake, "alpha", *JANUARY, *FEBRUARY)
    warehouse.publish(lake)
    before = {path: (warehouse.path.parent / path).stat().st_ino for path in warehouse.files()}
    write_days(lake, "alpha", *FEBRUARY, count=4)
    warehouse.publish(lake)
    after = {path: (warehouse.path.parent / path).stat().st_ino for path in warehouse.files()}
    assert len(before.items() & after.items()) == 1
    assert len(after) == 2
    assert warehouse.query("SELECT count(*) AS n FROM telemetry_5min")["n"].item() == 12 + 8


def test_many_rows_of_a_month_are_in_several_files_of_whole_days(lake, warehouse, monkeypatch):
    monkeypatch.setattr(monthly, "_MOST_ROWS", 10)
    write_days(lake, "alpha", *(date(2026, 1, day) for day in (1, 2, 3, 4)))
    warehouse.publish(lake)
    assert [path.rsplit("-", 1)[0][-10:] for path in warehouse.files()] == ["2026-01-01", "2026-01-03"]
    answer = warehouse.query("SELECT * FROM telemetry_5min ORDER BY fleet_id, battery_id, timestamp")
    assert answer.equals(lake.read(catalog.TELEMETRY_5MIN))


def test_a_reader_goes_on_with_files_that_were_replaced_until_they_are_a_day_old(lake, warehouse):
    write_days(lake, "alpha", *JANUARY)
    warehouse.publish(lake)
    (old,) = warehouse.files()
    os.utime(warehouse.path.parent / old, (0, 0))
    with warehouse.connection() as reader:
        write_days(lake, "alpha", *JANUARY, count=5)
        warehouse.publish(lake)
        assert reader.execute("SELECT count(*) FROM telemetry_5min").fetchone() == (12,)
    assert warehouse.query("SELECT count(*) AS n FROM telemetry_5min")["n"].item() == 20
    os.utime(warehouse.path.parent / old, (0, 0))
    warehouse.publish(lake)
    assert not (warehouse.path.parent / old).exists()
    assert warehouse.is_current(lake)


def test_files_that_are_not_to_linger_go_at_once_with_their_folder(lake, warehouse):
    write_days(lake, "alpha", *JANUARY)
    warehouse.publish(lake)
    lake.replace(catalog.TELEMETRY_5MIN, five_minutes("alpha"), Slice("alpha"))
    warehouse.publish(lake, linger_seconds=0)
    assert warehouse.files() == []
    assert list((warehouse.path.parent / "telemetry_5min").iterdir()) == []


def test_a_warehouse_without_one_of_its_files_is_behind_and_is_made_whole(lake, warehouse):
    write_days(lake, "alpha", *JANUARY)
    warehouse.publish(lake)
    (file,) = warehouse.files()
    (warehouse.path.parent / file).unlink()
    assert not warehouse.is_current(lake)
    warehouse.publish(lake)
    assert warehouse.is_current(lake)
    assert warehouse.query("SELECT count(*) AS n FROM telemetry_5min")["n"].item() == 12


def test_a_warehouse_that_was_moved_is_read_where_it_is(lake, warehouse):
    write_days(lake, "alpha", *JANUARY)
    warehouse.publish(lake)
    elsewhere = warehouse.path.parent.with_name("copy of it's")
    warehouse.path.parent.rename(elsewhere)
    moved = Warehouse(elsewhere / "bess.duckdb")
    assert moved.is_current(lake)
    assert moved.query("SELECT count(*) AS n FROM telemetry_5min")["n"].item() == 12
    with duckdb.connect(str(moved.path), read_only=True) as anybody:
        with pytest.raises(duckdb.IOException, match="telemetry_5min"):
            anybody.execute("FROM telemetry_5min")
        anybody.execute(f"SET VARIABLE warehouse_folder = {monthly.quoted(f'{elsewhere}/')}")
        assert anybody.execute("SELECT count(*) FROM telemetry_5min").fetchone() == (12,)
