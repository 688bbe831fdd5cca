import os
import subprocess
import sys
from datetime import UTC, date, datetime
from pathlib import Path

import deltalake
import polars as pl
import pytest

from bess_pipeline.lake.contracts import ContractError, stored_schema
from bess_pipeline.lake.durable import force_commit
from bess_pipeline.lake.slices import Slice
from bess_pipeline.lake.store import Lake
from bess_pipeline.tables import catalog
from bess_pipeline.window import Window

JANUARY = Window(date(2026, 1, 1), date(2026, 2, 1))


def rejected(day, number, fleet="alpha", **changes):
    row = {
        "fleet_id": fleet,
        "date": day,
        "path": "a.csv",
        "row_number": number,
        "reason": "no_battery",
        "original": "{}",
    }
    return row | changes


def quarantine(*rows):
    return pl.DataFrame(list(rows), schema=stored_schema(catalog.QUARANTINE))


def cycle(battery, depth, run):
    return {
        "fleet_id": "alpha",
        "battery_id": battery,
        "started_at": datetime(2026, 1, 1, tzinfo=UTC),
        "ended_at": datetime(2026, 1, 2, tzinfo=UTC),
        "depth_percent": depth,
        "mean_soc_percent": 50.0,
        "count": 1.0,
        "run_id": run,
        "code_version": "1",
        "register_version": "r",
    }


def cycles(*rows):
    return pl.DataFrame(list(rows), schema=stored_schema(catalog.CYCLES))


def test_replacing_a_slice_leaves_every_other_slice_alone(lake):
    table = catalog.QUARANTINE
    lake.replace(table, quarantine(rejected(None, 0)), Slice("alpha", no_day=True))
    lake.replace(table, quarantine(rejected(date(2026, 1, 5), 1, fleet="beta")), Slice("beta", JANUARY))
    lake.replace(table, quarantine(rejected(date(2026, 1, 5), 2)), Slice("alpha", JANUARY))
    lake.replace(table, quarantine(rejected(date(2026, 1, 6), 3)), Slice("alpha", JANUARY))
    assert lake.read(table)["row_number"].sort().to_list() == [0, 1, 3]
    assert lake.rows_by_day(table, Slice("alpha")) == {date(2026, 1, 6): 1}


def test_written_twice_is_written_once(lake):
    rows = quarantine(rejected(date(2026, 1, 5), 1), rejected(date(2026, 1, 7), 2))
    for _ in range(2):
        lake.replace(catalog.QUARANTINE, rows, Slice("alpha", JANUARY))
    assert lake.read(catalog.QUARANTINE, Slice("alpha", JANUARY)).equals(rows)


#: A write whose rows are read from the lake while it goes on, where there is one processor for all of it.
_ON_ONE_PROCESSOR = """
import os, sys
os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
import polars as pl
from bess_pipeline.lake.contracts import stored_schema
from bess_pipeline.lake.slices import Slice
from bess_pipeline.lake.store import Lake
from bess_pipeline.tables import catalog

class Read:
    def __iter__(self):
        rows = Lake(sys.argv[1]).read(catalog.QUARANTINE, Slice("alpha", no_day=True))
        yield rows.with_columns(fleet_id=pl.lit("beta"))

class Failing:
    def __iter__(self):
        yield from Read()
        raise OSError("the disk is gone")

assert pl.thread_pool_size() == int(os.environ.get("POLARS_MAX_THREADS", 1))
print(Lake(sys.argv[1]).replace(catalog.QUARANTINE, Read(), Slice("beta", no_day=True)).rows)
try:
    Lake(sys.argv[1]).replace(catalog.QUARANTINE, Failing(), Slice("beta", no_day=True))
except OSError as error:
    print(error)
"""


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="processors cannot be chosen here")
@pytest.mark.parametrize("of_polars", [{}, {"POLARS_MAX_THREADS": "3"}], ids=["as counted", "more threads of Polars"])
def test_where_there_is_one_processor_rows_are_read_while_rows_are_written_and_what_fails_is_told(lake, of_polars):
    lake.replace(catalog.QUARANTINE, quarantine(rejected(None, 1)), Slice("alpha", no_day=True))
    said = {
        name: value for name, value in os.environ.items() if name not in {"POLARS_MAX_THREADS", "TOKIO_WORKER_THREADS"}
    }
    done = subprocess.run(
        [sys.executable, "-c", _ON_ONE_PROCESSOR, lake.uri],
        env={**said, **of_polars, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "1\nthe disk is gone\n"), done.stderr


def test_batches_are_written_as_one_commit(lake):
    before = lake.version(catalog.QUARANTINE)
    batches = [quarantine(rejected(day, number)) for number, day in enumerate(JANUARY)]
    written = lake.replace(catalog.QUARANTINE, batches, Slice("alpha", JANUARY))
    assert (written.rows, written.version) == (31, before + 1)


@pytest.mark.parametrize(
    ("row", "part", "message"),
    [
        pytest.param(rejected(date(2026, 2, 1), 1), Slice("alpha", JANUARY), "outside the slice", id="another day"),
        pytest.param(rejected(date(2026, 1, 1), 1, fleet="beta"), Slice("alpha"), "outside the slice", id="fleet"),
        pytest.param(rejected(None, 1), Slice("alpha", JANUARY), "outside the slice", id="no day"),
        pytest.param(rejected(date(2026, 1, 1), 1, reason="dislike"), Slice("alpha"), "known_option", id="a word"),
        pytest.param(rejected(date(2026, 1, 1), -1), Slice("alpha"), "min", id="a bound"),
        pytest.param(rejected(date(2026, 1, 1), 1, original=None), Slice("alpha"), "nullability", id="a null"),
    ],
)
def test_rows_that_do_not_belong_are_refused_and_nothing_is_written(lake, row, part, message):
    lake.replace(catalog.QUARANTINE, quarantine(rejected(date(2026, 1, 3), 9)), Slice("alpha", JANUARY))
    with pytest.raises(ContractError, match=message):
        lake.replace(catalog.QUARANTINE, quarantine(row), part)
    assert lake.read(catalog.QUARANTINE)["row_number"].to_list() == [9]


def test_a_frame_with_other_columns_is_refused(lake):
    with pytest.raises(ContractError, match="row_number Int64"):
        lake.replace(catalog.QUARANTINE, quarantine(rejected(None, 1)).drop("row_number"), Slice("alpha", no_day=True))


def test_a_failing_producer_leaves_the_table_as_it_was(lake):
    class Rows:
        def __iter__(self):
            yield quarantine(rejected(date(2026, 1, 1), 1))
            raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        lake.replace(catalog.QUARANTINE, Rows(), Slice("alpha", JANUARY))
    assert lake.read(catalog.QUARANTINE).is_empty()


def test_unchanged_rows_are_not_written_again_and_keep_their_run(lake):
    whole = Slice("alpha")
    first = lake.replace_changed(catalog.CYCLES, cycles(cycle("b1", 10.0, "run 1")), whole)
    again = lake.replace_changed(catalog.CYCLES, cycles(cycle("b1", 10.0, "run 2")), whole)
    assert again.version == first.version
    lake.replace_changed(catalog.CYCLES, cycles(cycle("b1", 10.0, "run 3"), cycle("b2", 5.0, "run 3")), whole)
    assert lake.read(catalog.CYCLES)["run_id"].to_list() == ["run 1", "run 3"]


def test_only_days_in_which_a_row_differs_are_written(lake):
    table, whole = catalog.QUARANTINE, Slice("alpha")
    rows = [rejected(day, number) for number, day in enumerate(JANUARY)]
    lake.replace_changed(table, quarantine(*rows), whole)
    kept = {path for path in lake.snapshot(table).files if "2026-01-09" not in path}
    rows[8] = rejected(date(2026, 1, 9), 99)
    lake.replace_changed(table, quarantine(*rows), whole)
    assert kept < set(lake.snapshot(table).files)
    assert 99 in lake.read(table)["row_number"]
    assert lake.read(table).height == 31


def test_a_slice_that_loses_all_its_rows_is_empty(lake):
    lake.replace_changed(catalog.CYCLES, cycles(cycle("b1", 10.0, "run 1")), Slice("alpha"))
    lake.replace_changed(catalog.CYCLES, cycles(), Slice("alpha"))
    assert lake.read(catalog.CYCLES).is_empty()


def test_a_fleet_name_cannot_break_out_of_the_predicate():
    assert Slice("o'neil").delta_predicate() == "fleet_id = 'o''neil'"


def test_rows_are_read_in_the_order_of_the_table_however_they_came(lake):
    rows = quarantine(*(rejected(date(2026, 1, 5), number, path=path) for path in "ba" for number in (2, 1)))
    lake.replace(catalog.QUARANTINE, rows, Slice("alpha", JANUARY))
    read = lake.read(catalog.QUARANTINE, Slice("alpha")).select("path", "row_number")
    assert read.rows() == [("a", 1), ("a", 2), ("b", 1), ("b", 2)]


@pytest.mark.parametrize("write", [Lake.replace, Lake.append])
def test_rows_in_chunks_lie_in_a_file_in_the_order_in_which_they_were_given(lake, write):
    day = date(2026, 1, 5)
    halves = (quarantine(*(rejected(day, number) for number in part)) for part in (range(2000), range(2000, 4000)))
    rows = pl.concat(halves, rechunk=False)
    assert rows.n_chunks() == 2
    for _ in range(5):  # a writer that takes both at once puts them the right way round by chance
        write(lake, catalog.QUARANTINE, rows, Slice("alpha", JANUARY))
        for file in lake.files(catalog.QUARANTINE)["path"]:
            path = Path(lake.address(catalog.QUARANTINE)) / file
            assert pl.read_parquet(path, hive_partitioning=False)["row_number"].to_list() == list(range(4000))


def test_what_was_replaced_stays_in_the_versions_of_the_table(lake):
    table, part = catalog.QUARANTINE, Slice("alpha", JANUARY)
    before = lake.replace(table, quarantine(rejected(date(2026, 1, 5), 1)), part)
    lake.replace(table, quarantine(rejected(date(2026, 1, 5), 2)), part)
    then = pl.scan_delta(lake.address(table), version=before.version).collect()
    assert then["row_number"].to_list() == [1]


class TestALakeOfAnEarlierVersion:
    def earlier(self, tmp_path, table, without, **changed):
        """A lake whose table lacks columns, or has them in another type, with the rows that it had."""
        kinds = {name: kind for name, kind in stored_schema(table).items() if name not in without} | changed
        row = {name: "a.csv" if kind == pl.String else None for name, kind in kinds.items()}
        row |= {"fleet_id": "alpha", "date": date(2026, 1, 5), "rows": "7" if kinds.get("rows") == pl.String else 7}
        rows = pl.DataFrame([{name: row[name] for name in kinds}], schema=kinds)
        by = [name for name in table.partition_by if name in kinds]
        deltalake.write_deltalake(str(tmp_path / "lake" / table.name), rows.to_arrow(), partition_by=by)
        return Lake(str(tmp_path / "lake"))

    def test_received_rows_get_new_columns_and_keep_what_they_had(self, tmp_path):
        lake = self.earlier(tmp_path, catalog.LANDING_DAYS, {"clock_version"})
        lake.create()
        (row,) = lake.read(catalog.LANDING_DAYS).to_dicts()
        assert (row["rows"], row["clock_version"]) == (7, "")

    def test_what_is_made_from_them_begins_anew_and_its_history_stays(self, tmp_path):
        lake = self.earlier(tmp_path, catalog.CYCLES, {"depth_percent"})
        lake.create()
        assert lake.read(catalog.CYCLES).is_empty()
        assert lake.delta(catalog.CYCLES).metadata().partition_columns == ["fleet_id", "month"]
        assert pl.scan_delta(lake.address(catalog.CYCLES), version=0).collect().height == 1

    def test_received_rows_of_another_type_are_refused(self, tmp_path):
        lake = self.earlier(tmp_path, catalog.LANDING_DAYS, set(), rows=pl.String)
        with pytest.raises(ContractError, match="rows had another type"):
            lake.create()

    def test_a_lake_of_today_is_left_alone(self, lake):
        lake.create()
        before = lake.version(catalog.CYCLES)
        lake.create()
        assert lake.version(catalog.CYCLES) == before


def test_a_write_is_on_the_disk_before_the_next_begins(lake, monkeypatch):
    forced = []

    def remember(*known):
        forced.append(force_commit(*known))

    monkeypatch.setattr("bess_pipeline.lake.store.force_commit", remember)
    lake.replace(catalog.QUARANTINE, quarantine(rejected(date(2026, 1, 1), 1)), Slice("alpha"))
    address = Path(lake.address(catalog.QUARANTINE))
    (paths,) = forced
    day = address / "fleet_id=alpha" / "date=2026-01-01"
    assert [*day.glob("*.parquet"), address / "_delta_log" / f"{1:020}.json"] == paths[:2]
    assert {day, address, address / "_delta_log"} == set(paths[2:])
