from datetime import date, timedelta

import polars as pl
import pytest

from bess_pipeline.lake.contracts import stored_schema
from bess_pipeline.lake.groups import Days, Group, either, grouped, in_windows, rows_of, rows_of_group
from bess_pipeline.lake.pieces import Pieces, replace_changed
from bess_pipeline.lake.slices import Slice, Tail
from bess_pipeline.tables import catalog
from bess_pipeline.window import Window

TABLE, FLEET = catalog.CHARGE_ESTIMATES, Slice("alpha")
FIRST = date(2026, 1, 5)
BATTERIES = ["a", "b", "c", "d", "e"]


def estimates(batteries="abcde", days=3, soc=50.0):
    """A row of each battery and day."""
    rows = [
        {"fleet_id": "alpha", "battery_id": name, "date": FIRST + timedelta(days=day), "soc_percent": soc}
        for name in batteries
        for day in range(days)
    ]
    when = pl.col("date").cast(pl.Datetime("us", "UTC"))
    return pl.DataFrame(rows).select(
        pl.lit(None, kind).alias(name) if name not in {*rows[0], "timestamp"} else
        when.alias(name) if name == "timestamp" else pl.col(name)
        for name, kind in stored_schema(TABLE).items()
    )  # fmt: skip


@pytest.fixture
def there(lake):
    lake.replace(TABLE, estimates(), FLEET)
    return lake


def pieces(rows, folder, *bounds):
    made = Pieces(folder)
    for first, before in zip([None, *bounds], [*bounds, None], strict=True):
        group = Group(first, before, ("e",))
        made = made.with_rows(group, group.of(rows))
    return made


def test_a_fleet_that_is_not_large_is_one_group(there):
    assert grouped(there, {TABLE: FLEET}, BATTERIES, 15) == (Group(),)
    assert grouped(there, {catalog.BATTERIES: FLEET}, BATTERIES, 1) == (Group(),)


def test_every_battery_is_in_one_group_whatever_its_name(there):
    groups = grouped(there, {TABLE: FLEET}, BATTERIES, 7)
    assert [(group.first, group.before) for group in groups] == [(None, "c"), ("c", None)]
    names = pl.DataFrame({"battery_id": ["A", *BATTERIES, "z"]})
    assert [name for group in groups for name in names.filter(group.own())["battery_id"]] == names[
        "battery_id"
    ].to_list()


def test_days_that_are_not_read_do_not_count(there):
    tail = Tail.of(TABLE, "alpha", FIRST + timedelta(days=2))
    assert rows_of(there, TABLE, tail) == 5
    assert grouped(there, {TABLE: tail}, BATTERIES, 5) == (Group(),)


def test_windows_are_read_with_the_days_on_which_they_rest(there):
    assert in_windows(there, {TABLE: FLEET}, 15, before=1, ahead=0) == (Group(),)
    windows = in_windows(there, {TABLE: FLEET, catalog.BATTERIES: FLEET}, 11, before=1, ahead=0)
    begins, ends = (FIRST + timedelta(days=days) for days in (2, 3))
    assert windows == (
        Days(Window(FIRST, begins), Window(FIRST - timedelta(days=1), begins)),
        Days(Window(begins, ends), Window(FIRST + timedelta(days=1), ends)),
    )
    read = rows_of_group(there, TABLE, FLEET, windows[1])
    assert read["date"].unique().sort().to_list() == [FIRST + timedelta(days=1), begins]
    assert read.filter(windows[1].own())["date"].unique().to_list() == [begins]


def test_what_can_be_cut_either_way_is_cut_by_what_costs_less(there, monkeypatch):
    def cut(at_once, before):
        return either(there, {TABLE: FLEET}, BATTERIES, at_once, before=before, ahead=0)

    assert cut(15, before=2) == (Group(),)
    # Opening a file costs more than all rows here.
    assert cut(5, before=1) == in_windows(there, {TABLE: FLEET}, 5, before=1, ahead=0)
    monkeypatch.setattr("bess_pipeline.lake.groups._OPENING_ROWS", 0)
    by_battery = grouped(there, {TABLE: FLEET}, BATTERIES, 5)
    assert cut(5, before=0) == in_windows(there, {TABLE: FLEET}, 5, before=0, ahead=0)
    assert cut(5, before=1) == by_battery
    # A day of five rows may be four times what is held at once.
    assert cut(2, before=0) == in_windows(there, {TABLE: FLEET}, 2, before=0, ahead=0)
    assert cut(1, before=0) == by_battery


def test_columns_that_are_not_asked_for_are_not_read(there):
    names = ("fleet_id", "battery_id", "timestamp", "soc_percent")
    assert there.read(TABLE, FLEET, columns=names).equals(there.read(TABLE, FLEET).select(names))


def test_companions_have_rows_on_the_last_day(lake):
    lake.replace(TABLE, pl.concat([estimates(), estimates("bd", days=4)]).unique().sort("battery_id", "date"), FLEET)
    groups = grouped(lake, {TABLE: FLEET}, BATTERIES, 7)
    assert [group.companions for group in groups] == [("d",), ("b",)]
    read = rows_of_group(lake, TABLE, FLEET, groups[0])
    assert read["battery_id"].unique().sort().to_list() == ["a", "b", "d"]
    assert read.equals(lake.read(TABLE, FLEET).filter(pl.col("battery_id").is_in(["a", "b", "d"])))


def test_a_group_with_batteries_of_the_last_day_needs_no_others(there):
    assert [group.companions for group in grouped(there, {TABLE: FLEET}, BATTERIES, 7)] == [(), ()]


def test_what_does_not_differ_is_not_written_and_what_does_by_days(there, tmp_path):
    version, begun = there.version(TABLE), []
    replace_changed(there, TABLE, pieces(estimates(), tmp_path, "c"), FLEET, first=lambda: begun.append(1))
    assert (there.version(TABLE), begun) == (version, [])
    first, *others = (there.files(TABLE).filter(date=FIRST + timedelta(days=day))["path"].to_list() for day in range(3))
    changed = estimates().with_columns(
        soc_percent=pl.when((pl.col("battery_id") == "d") & (pl.col("date") == FIRST))
        .then(9.0)
        .otherwise("soc_percent")
    )
    replace_changed(there, TABLE, pieces(changed, tmp_path, "c"), FLEET, first=lambda: begun.append(1))
    assert there.read(TABLE, FLEET).equals(changed.sort("battery_id", "timestamp"))
    files = [there.files(TABLE).filter(date=FIRST + timedelta(days=day))["path"].to_list() for day in range(3)]
    assert (files[1:], begun) == (others, [1])
    assert files[0] != first


def test_a_battery_that_is_no_more_goes(there, tmp_path):
    few = estimates("ac")
    replace_changed(there, TABLE, pieces(few, tmp_path, "c"), FLEET)
    assert there.read(TABLE, FLEET).equals(few)


def test_what_is_large_lies_in_files_and_is_the_same(there, tmp_path, monkeypatch):
    monkeypatch.setattr("bess_pipeline.lake.pieces._SMALL_BYTES", 0)
    rows = estimates(soc=7.0)
    made = pieces(rows, tmp_path / "pieces", "c")
    assert len(list((tmp_path / "pieces").iterdir())) == 2
    assert made.whole().equals(rows)
    replace_changed(there, TABLE, made.map(lambda frame: frame.with_columns(soc_percent=8.0)), FLEET)
    assert there.read(TABLE, FLEET).equals(estimates(soc=8.0))


def test_rows_without_a_day_are_kept_with_the_others(tmp_path, monkeypatch):
    monkeypatch.setattr("bess_pipeline.lake.pieces._SMALL_BYTES", 0)
    rows = estimates(days=9).with_columns(date=pl.when(pl.col("battery_id") != "a").then("date"))
    assert pieces(rows, tmp_path, "c").whole().sort("battery_id", "timestamp").equals(rows)


def test_days_are_written_some_after_the_other(there, tmp_path, monkeypatch):
    monkeypatch.setattr("bess_pipeline.lake.pieces._SMALL_BYTES", 0)
    monkeypatch.setattr("bess_pipeline.lake.pieces._FILE_DAYS", 2)
    monkeypatch.setattr("bess_pipeline.lake.pieces._WRITTEN_AT_ONCE", 10)
    rows = estimates(days=9, soc=7.0).filter(pl.col("date") != FIRST + timedelta(days=5))
    made = pieces(rows, tmp_path / "pieces", "c")
    assert len(list((tmp_path / "pieces").iterdir())) == 2 * 4
    version = there.version(TABLE)
    replace_changed(there, TABLE, made, FLEET)
    # Of five batteries two days at once: five days, and three after a day without rows.
    assert there.version(TABLE) - version == 3 + 2
    written = there.read(TABLE, FLEET)
    assert written.equals(rows)
    assert written["battery_id"].to_list() == sorted(written["battery_id"])
