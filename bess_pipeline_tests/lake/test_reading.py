"""Readers of the warehouse that live long: what they see while it is published anew."""

import threading
from pathlib import Path

import polars as pl
import pytest

from bess_pipeline.lake.contracts import stored_schema
from bess_pipeline.lake.reading import Reader, UnpublishedError
from bess_pipeline.lake.slices import Slice
from bess_pipeline.lake.warehouse import Warehouse
from bess_pipeline.tables import catalog

_COUNT = "SELECT count(*) FROM quarantine"


@pytest.fixture
def warehouse(tmp_path):
    return Warehouse(tmp_path / "warehouse" / "bess.duckdb")


@pytest.fixture
def reader(warehouse):
    made = Reader(warehouse.path)
    yield made
    made.close()


def publish(lake, warehouse, rows):
    """Publish a lake with so many rejected rows."""
    given = [
        {
            "fleet_id": "alpha",
            "date": None,
            "path": "a.csv",
            "row_number": number,
            "reason": "conflict",
            "original": "{}",
        }
        for number in range(rows)
    ]
    frame = pl.DataFrame(given, schema=stored_schema(catalog.QUARANTINE))
    lake.replace(catalog.QUARANTINE, frame, Slice("alpha", no_day=True))
    warehouse.publish(lake)


def files_open(path):
    """How many files of this process lie, or lay, at a path."""
    there = [str(link.readlink()) for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
    return sum(name.startswith(str(path)) for name in there)


def test_what_is_asked_next_is_answered_by_what_was_published_last(lake, warehouse, reader):
    with pytest.raises(UnpublishedError, match="bess run"), reader.reading():
        pass
    tags = []
    for rows in (1, 2, 2):
        publish(lake, warehouse, rows)
        with reader.reading() as publication:
            assert publication.ask(_COUNT).item() == rows
            tags.append(publication.tag)
    assert tags[0] != tags[1]


def test_one_that_is_held_stays_what_it_is_and_is_closed_by_its_last_reader(lake, warehouse, reader):
    publish(lake, warehouse, 1)
    with reader.reading() as older, reader.reading() as same:
        assert older is same
        publish(lake, warehouse, 2)
        with reader.reading() as newer:
            assert newer.ask(_COUNT).item() == 2
            assert older.ask(_COUNT).item() == 1
        assert files_open(warehouse.path) == 2
    assert files_open(warehouse.path) == 1
    reader.close()
    assert files_open(warehouse.path) == 0


def test_the_same_rows_published_again_have_the_same_tag(lake, warehouse, reader):
    publish(lake, warehouse, 3)
    with reader.reading() as publication:
        tag = publication.tag
    warehouse.publish(lake)
    with reader.reading() as publication:
        assert publication.tag == tag


@pytest.mark.usefixtures("every_processor")
def test_threads_see_whole_publications_while_others_are_put_in_place(lake, warehouse, reader):
    publish(lake, warehouse, 1)
    seen, stop = [], threading.Event()

    def read():
        while not stop.is_set():
            with reader.reading() as publication:
                first, second = (publication.ask(_COUNT).item() for _ in range(2))
                seen.append((first, second))

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        for rows in range(2, 7):
            publish(lake, warehouse, rows)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert all(first == second for first, second in seen)
    with reader.reading() as publication:
        assert publication.ask(_COUNT).item() == 6
    assert len({first for first, _ in seen}) > 1
    assert files_open(warehouse.path) == 1


def test_instants_come_in_utc_and_values_are_never_taken_for_sql(lake, warehouse, reader):
    publish(lake, warehouse, 1)
    with reader.reading() as publication:
        told = publication.ask("SELECT TIMESTAMPTZ '2026-03-01 12:00:00+02' AS at, $text AS text", {"text": "'; DROP"})
        assert told.schema["at"] == pl.Datetime("us", "UTC")
        assert told.row(0)[0].hour == 10
        assert told["text"].item() == "'; DROP"
