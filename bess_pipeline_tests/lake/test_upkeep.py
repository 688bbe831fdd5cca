"""Upkeep changes how rows are stored, and nothing else."""

import os
import shutil
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import deltalake
import polars as pl
import pytest
from deltalake.exceptions import CommitFailedError

from bess_pipeline.lake import upkeep
from bess_pipeline.lake.contracts import stored_schema
from bess_pipeline.lake.day_versions import DayVersions
from bess_pipeline.lake.disk import Disk
from bess_pipeline.lake.erase import erase
from bess_pipeline.lake.search import searched_lake, searched_warehouse
from bess_pipeline.lake.slices import Slice
from bess_pipeline.lake.store import Lake
from bess_pipeline.lake.warehouse import Warehouse
from bess_pipeline.tables import catalog
from bess_pipeline.window import Window

FIRST = date(2026, 1, 1)
WEEK = timedelta(days=7)
PIECES = upkeep.MANY_FILES


def frame(table, rows):
    return pl.DataFrame(rows, schema=stored_schema(table), orient="row")


def cycle(fleet, day):
    start = datetime(FIRST.year, FIRST.month, FIRST.day, tzinfo=UTC) + timedelta(days=day)
    return {
        "fleet_id": fleet, "battery_id": f"{fleet}-1", "started_at": start, "ended_at": start + timedelta(hours=6),
        "depth_percent": 10.0, "mean_soc_percent": 50.0, "count": 1.0, "run_id": "r", "code_version": "1",
        "register_version": "r",
    }  # fmt: skip


def rejected(fleet, day):
    return {
        "fleet_id": fleet, "date": FIRST + timedelta(days=day), "path": "a.csv", "row_number": 0,
        "reason": "no_battery", "original": "{}",
    }  # fmt: skip


def at_work(*fleets):
    return lambda fleet: fleet in fleets


def nobody(fleet):
    return False


@pytest.fixture(scope="module")
def nights(tmp_path_factory):
    """Where a lake lies to which some nights have added a file each, for two fleets."""
    folder = tmp_path_factory.mktemp("nights") / "lake"
    lake = Lake(str(folder))
    for day in range(PIECES):
        for fleet in ("alpha", "beta"):
            lake.append(catalog.CYCLES, frame(catalog.CYCLES, [cycle(fleet, day)]), Slice(fleet))
            part = Slice(fleet, Window.of_day(FIRST + timedelta(days=day)))
            lake.replace(catalog.QUARANTINE, frame(catalog.QUARANTINE, [rejected(fleet, day)]), part)
    return folder


@pytest.fixture
def grown(nights, tmp_path):
    """A copy of that lake."""
    shutil.copytree(nights, tmp_path / "lake")
    return Lake(str(tmp_path / "lake"))


TABLES = (catalog.CYCLES, catalog.QUARANTINE)


def test_upkeep_puts_files_together_and_no_row_no_version_of_a_day_and_no_publication_changes(grown, tmp_path):
    warehouse = Warehouse(tmp_path / "bess.duckdb")
    warehouse.publish(grown)
    held = [grown.read(table) for table in TABLES]
    days = [DayVersions(grown, "alpha").of(table) for table in TABLES]
    done = [upkeep.tidy(grown, table, keep=WEEK, is_at_work=nobody) for table in TABLES]
    assert [(one.before.files, one.after.files) for one in done] == [(2 * PIECES, 2), (2 * PIECES, 2 * PIECES)]
    assert done[0].compacted == ("alpha", "beta")
    assert all(was.equals(grown.read(table)) for was, table in zip(held, TABLES, strict=True))
    assert all(was.equals(DayVersions(grown, "alpha").of(table)) for was, table in zip(days, TABLES, strict=True))
    assert warehouse.is_current(grown)
    lines = frame(catalog.CYCLES, [cycle("alpha", 40)])
    grown.append(catalog.CYCLES, lines, Slice("alpha"))
    assert not warehouse.is_current(grown)


def test_a_second_upkeep_finds_nothing_to_do(grown):
    for table in TABLES:
        upkeep.tidy(grown, table, keep=WEEK, is_at_work=nobody)
        version = grown.version(table)
        again = upkeep.tidy(grown, table, keep=WEEK, is_at_work=nobody)
        assert (again.before, grown.version(table)) == (again.after, version)


def test_the_files_of_a_fleet_that_is_at_work_stay_as_they_are(grown):
    done = upkeep.tidy(grown, catalog.CYCLES, keep=WEEK, is_at_work=at_work("beta"))
    assert (done.compacted, done.left, done.after.files) == (("alpha",), ("beta",), 1 + PIECES)


def test_what_killed_writes_left_behind_goes_once_it_is_old_and_nothing_younger(grown):
    folder = Disk(grown.address(catalog.CYCLES))
    old, young = (f"fleet_id=alpha/{name}.parquet" for name in ("old", "young"))
    for name in (old, young):
        Path(grown.address(catalog.CYCLES), name).write_bytes(b"half of a file")
    os.utime(f"{grown.address(catalog.CYCLES)}/{old}", (0, 0))
    upkeep.tidy(grown, catalog.CYCLES, keep=WEEK, is_at_work=nobody)
    there = {file.path for file in folder.files()}
    assert (old in there, young in there) == (False, True)
    assert grown.read(catalog.CYCLES).height == 2 * PIECES


def test_less_than_a_day_is_not_enough_for_readers(grown):
    with pytest.raises(ValueError, match="at least a day"):
        upkeep.tidy(grown, catalog.CYCLES, keep=timedelta(hours=23), is_at_work=nobody)


class Disturbed(Lake):
    """A lake in which something happens after a write has looked at its table, and before it commits."""

    def __init__(self, uri, happens):
        super().__init__(uri)
        self._happens = [happens]

    def _committed(self, table, opened, write):
        def disturbed(delta, commit):
            if self._happens:
                self._happens.pop()(Lake(self.uri))
            write(delta, commit)

        return super()._committed(table, opened, disturbed)


LAST = Slice("alpha")
LATER = frame(catalog.CYCLES, [cycle("alpha", day) for day in range(PIECES + 1)])


def test_a_write_that_upkeep_ran_into_is_done_again(grown):
    def tidied(lake):
        upkeep.tidy(lake, catalog.CYCLES, keep=WEEK, is_at_work=nobody)
        lake.replace(catalog.CYCLES, frame(catalog.CYCLES, [cycle("gamma", 0)]), Slice("gamma"))

    Disturbed(grown.uri, tidied).replace(catalog.CYCLES, LATER, LAST)
    assert grown.read(catalog.CYCLES, LAST).equals(LATER)
    assert grown.count(catalog.CYCLES, Slice("gamma")) == 1


def test_a_race_for_the_same_rows_is_lost_loudly_with_upkeep_or_without(grown):
    def written(lake):
        lake.replace(catalog.CYCLES, LATER.head(1), LAST)
        upkeep.tidy(lake, catalog.CYCLES, keep=WEEK, is_at_work=nobody)

    with pytest.raises(CommitFailedError):
        Disturbed(grown.uri, written).replace(catalog.CYCLES, LATER, LAST)
    assert grown.count(catalog.CYCLES, LAST) == 1


def test_notes_of_tables_that_are_no_longer_and_of_fleets_that_are_gone_are_pruned_and_no_others(lake):
    for fleet in ("alpha", "gone", "aside"):
        notes = [(fleet, "cycles", FIRST, 1), (fleet, "table_of_old", FIRST, 2)]
        lake.append(catalog.MADE_FROM, frame(catalog.MADE_FROM, notes), Slice(fleet))
        lake.append(catalog.LEDGER, frame(catalog.LEDGER, [(fleet, "fleet", FIRST, "s", "r")]), Slice(fleet))
        seen = [(fleet, "battery_daily", FIRST, FIRST, 1, 2), (fleet, "table_of_old", FIRST, FIRST, 1, 2)]
        lake.replace(catalog.DAY_VERSIONS, frame(catalog.DAY_VERSIONS, seen), Slice(fleet))
    assert upkeep.prune(lake, {"alpha", "aside"}) == {"ledger": 1, "made_from": 4, "day_versions": 4}
    left = lake.read(catalog.MADE_FROM).select("fleet_id", "name").rows()
    assert left == [("alpha", "cycles"), ("aside", "cycles")]
    assert upkeep.prune(lake, {"alpha", "aside"}) == {"ledger": 0, "made_from": 0, "day_versions": 0}


def test_an_erased_fleet_is_in_no_row_no_file_and_no_log_and_the_others_are_whole(grown, tmp_path):
    warehouse = Warehouse(tmp_path / "warehouse" / "bess.duckdb")
    warehouse.publish(grown)
    assert len(searched_warehouse(warehouse, "alpha").found) == len(TABLES)
    others = [grown.read(table, Slice("beta")) for table in TABLES]
    for table in TABLES:
        assert {place.rpartition(": ")[2] for place in searched_lake(grown.address(table), "alpha").found} > {
            "its path"
        }
        assert erase(grown.address(table), "alpha")
        assert not erase(grown.address(table), "alpha")
    searched = searched_lake(grown.uri, "alpha")
    assert searched.found == ()
    assert searched.rows >= 2 * PIECES
    assert all(held.equals(grown.read(table)) for held, table in zip(others, TABLES, strict=True))
    warehouse.publish(grown)
    assert searched_warehouse(warehouse, "alpha").found == ()


def test_an_erasure_that_was_killed_before_the_log_kept_anything_again_is_finished(grown):
    address = grown.address(catalog.CYCLES)
    delta = deltalake.DeltaTable(address)
    delta.delete("fleet_id = 'alpha'")
    nothing = "interval 0 seconds"
    delta.alter.set_table_properties(
        {"delta.logRetentionDuration": nothing, "delta.deletedFileRetentionDuration": nothing}
    )
    assert erase(address, "alpha")
    assert searched_lake(address, "alpha").found == ()
    assert nothing not in deltalake.DeltaTable(address).metadata().configuration.values()


def test_a_handle_from_before_an_erasure_reads_and_writes_on(grown):
    grown.read(catalog.CYCLES)
    erase(grown.address(catalog.CYCLES), "beta")
    grown.replace(catalog.CYCLES, LATER, LAST)
    assert grown.read(catalog.CYCLES).equals(LATER)
