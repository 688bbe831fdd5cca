"""Tables with a file a month: a night writes a month, and reads what it is not sure of, whatever the history holds."""

import os
from datetime import date, timedelta
from pathlib import Path

import deltalake
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bess_pipeline.lake import mending
from bess_pipeline.lake.changes import on_days
from bess_pipeline.lake.contracts import stored_schema
from bess_pipeline.lake.day_versions import DayVersions
from bess_pipeline.lake.slices import Months, Slice, Tail
from bess_pipeline.lake.store import Lake
from bess_pipeline.tables import catalog
from bess_pipeline.window import Window

TABLE = catalog.CURRENT_OFFSETS
FIRST = date(2025, 11, 20)
DAYS = [FIRST + timedelta(days=k) for k in range(80)]
LAST = DAYS[-1]


def offsets(days, fleet="alpha", run="run 1", **changed):
    """A row a day, all of one offset but for those in `changed`, by the day's number."""
    of_days = {day: changed.get(f"_{DAYS.index(day)}", 0.1) for day in days}
    rows = [
        {
            "fleet_id": fleet, "battery_id": "b1", "date": day, "offset_ampere": of_days[day],
            "offset_sigma_ampere": 0.01, "method": None, "run_id": run, "code_version": "1", "register_version": "r",
        }
        for day in days
    ]  # fmt: skip
    return pl.DataFrame(rows, schema=stored_schema(TABLE))


def tail(since, fleet="alpha"):
    return Tail.of(TABLE, fleet, since)


@pytest.fixture
def grown(lake):
    """A lake with the same days of two fleets."""
    for fleet in ("alpha", "beta"):
        lake.replace_changed(TABLE, offsets(DAYS, fleet), Slice(fleet))
    return lake


def files(lake):
    return {(row["fleet_id"], row["month"]): row["path"] for row in lake.files(TABLE).iter_rows(named=True)}


def test_a_new_day_writes_the_file_of_its_month_and_no_other(grown):
    before = files(grown)
    assert len(before) == 2 * 4
    grown.replace_changed(TABLE, offsets(DAYS[-40:], run="run 2", _79=0.2), tail(DAYS[-40]))
    after = files(grown)
    assert [place for place in after if after[place] != before[place]] == [("alpha", LAST.replace(day=1))]
    rows = grown.read(TABLE, Slice("alpha"))
    assert rows["date"].to_list() == DAYS
    assert rows.filter(run_id="run 2")["date"].to_list() == [LAST], "the others keep who said it first"


@pytest.mark.parametrize(
    "part",
    [
        Tail.of(TABLE, "alpha", date(2026, 1, 15)),
        Months("alpha", Window(date(2026, 1, 1), date(2026, 3, 1)), TABLE.until),
        Slice("alpha", Window(date(2026, 1, 15), date(2026, 2, 8))),
    ],
)
def test_files_of_other_months_are_not_opened(grown, part):
    """A night of a hundred months had opened them all, for 20 ms in each table."""
    whole = grown.read(TABLE, Slice("alpha"))
    for (fleet, month), path in files(grown).items():
        if (fleet, month) != ("alpha", date(2026, 1, 1)) and month != date(2026, 2, 1):
            Path(grown.address(TABLE), path).unlink()
    assert grown.read(TABLE, part).equals(whole.filter(part.rows()))
    assert grown.read(TABLE, part).height > 20


def test_rows_that_say_the_same_write_nothing(grown):
    version = grown.version(TABLE)
    assert grown.replace_changed(TABLE, offsets(DAYS[-40:], run="run 2"), tail(DAYS[-40])).version == version


def test_a_day_that_is_gone_is_taken_out_and_the_days_before_it_in_its_month_stay(grown):
    grown.replace_changed(TABLE, offsets(DAYS[-3:-1], run="run 2"), tail(DAYS[-3]))
    assert grown.read(TABLE, Slice("alpha"))["date"].to_list() == DAYS[:-1]
    assert grown.read(TABLE, Slice("beta"))["date"].to_list() == DAYS


def test_a_month_that_loses_all_of_its_days_has_no_file(grown):
    january = [day for day in DAYS if day < date(2026, 2, 1)]
    grown.replace_changed(TABLE, offsets(january), Slice("alpha"))
    assert ("alpha", date(2026, 2, 1)) not in files(grown)
    assert grown.read(TABLE, Slice("alpha"))["date"].to_list() == january


def test_what_is_read_from_a_lake_has_no_month(grown):
    assert grown.read(TABLE).columns == stored_schema(TABLE).names()
    assert grown.read(TABLE, Slice("alpha", Window(DAYS[3], DAYS[9])))["date"].to_list() == DAYS[3:9]


_SOME = st.sets(st.sampled_from(DAYS))


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    return Lake(str(tmp_path_factory.mktemp("shared")))


@settings(max_examples=30, deadline=None)
@given(before=_SOME, came=_SOME, since=st.sampled_from(DAYS))
def test_whatever_was_there_and_comes_a_part_is_what_came_and_the_rest_what_was(shared, before, came, since):
    lake = shared
    lake.replace_changed(TABLE, offsets(sorted(before)), Slice("alpha"))
    lake.replace_changed(TABLE, offsets(sorted(day for day in came if day >= since), _60=0.3), tail(since))
    held = lake.read(TABLE, Slice("alpha"))
    kept = offsets(sorted(day for day in before if day < since))
    fresh = offsets(sorted(day for day in came if day >= since), _60=0.3)
    said = ["date", "offset_ampere"]
    assert held.select(said).equals(pl.concat([kept, fresh]).select(said))


def test_a_lake_from_before_there_were_months_begins_anew(tmp_path):
    address = str(tmp_path / "lake" / TABLE.name)
    deltalake.write_deltalake(address, offsets(DAYS).to_arrow(), partition_by=["fleet_id"])
    lake = Lake(str(tmp_path / "lake"))
    lake.create()
    assert lake.read(TABLE).is_empty()
    lake.replace_changed(TABLE, offsets(DAYS), Slice("alpha"))
    assert set(files(lake)) == {("alpha", date(2025, month, 1)) for month in (11, 12)} | {
        ("alpha", date(2026, month, 1)) for month in (1, 2)
    }


def read_whole(lake, fleet="alpha"):
    """The versions of all days, from their rows."""
    rows = on_days(TABLE, lake.read(TABLE, Slice(fleet)))
    return rows.group_by("date").agg(pl.col("version").sum().reinterpret(signed=True)).sort("date")


def asked(lake, monkeypatch):
    """The days whose rows of the table are read from now on."""
    found, ask = [], lake.ask

    def noted(table, part, question):
        rows = ask(table, part, question)
        if table is TABLE:
            found.extend(sorted(set(rows["date"])))
        return rows

    monkeypatch.setattr(lake, "ask", noted)
    return found


def versions(lake, fleet="alpha"):
    """What the days hold, as a run finds it and writes it down."""
    known = DayVersions(lake, fleet)
    told = known.of(TABLE)
    known.close()
    return told


def test_versions_of_days_are_those_of_their_rows_and_only_months_with_other_files_are_read(grown, monkeypatch):
    assert versions(grown).equals(read_whole(grown))
    grown.replace_changed(TABLE, offsets(DAYS[-3:], run="run 2", _78=0.2), tail(DAYS[-3]))
    whole = read_whole(grown)
    found = asked(grown, monkeypatch)
    assert versions(grown).equals(whole)
    assert set(found) == {day for day in DAYS if day >= LAST.replace(day=1)}
    found.clear()
    assert versions(grown).equals(whole)
    assert found == []


def test_a_month_in_the_middle_that_is_other_is_read_again(grown):
    versions(grown)
    grown.replace(TABLE, offsets(DAYS[12:20], _15=0.4), Slice("alpha", Window(DAYS[12], DAYS[20])))
    assert versions(grown).equals(read_whole(grown))


def test_months_that_are_gone_are_forgotten(grown):
    versions(grown)
    grown.replace_changed(TABLE, offsets(DAYS[:5]), Slice("alpha"))
    assert versions(grown)["date"].to_list() == DAYS[:5]
    assert grown.read(catalog.DAY_VERSIONS, Slice("alpha"))["date"].to_list() == DAYS[:5]


def test_each_fleet_has_versions_of_its_own(grown):
    grown.replace_changed(TABLE, offsets(DAYS, "beta", _3=0.5), Slice("beta"))
    alpha, beta = versions(grown), versions(grown, "beta")
    assert alpha.equals(read_whole(grown)), "fleets have a share in no fingerprint of files"
    assert beta.equals(read_whole(grown, "beta"))


def test_versions_that_cannot_be_read_are_made_again(grown):
    whole = versions(grown)
    for path in grown.files(catalog.DAY_VERSIONS)["path"]:
        os.truncate(f"{grown.address(catalog.DAY_VERSIONS)}/{path}", 20)
    assert versions(grown).equals(whole)
    assert list(mending.damages(grown)) == []
    assert versions(grown).equals(whole)


def test_mending_a_file_of_versions_makes_nothing_else_again(grown):
    versions(grown)
    grown.replace(
        catalog.MADE_FROM,
        pl.DataFrame([("alpha", "x", FIRST, 1)], schema=stored_schema(catalog.MADE_FROM), orient="row"),
        Slice("alpha"),
    )
    path = grown.files(catalog.DAY_VERSIONS)["path"][0]
    os.truncate(f"{grown.address(catalog.DAY_VERSIONS)}/{path}", 20)
    (damage,) = mending.damages(grown)
    mending.mend(grown, damage)
    assert list(mending.damages(grown)) == []
    assert grown.count(catalog.MADE_FROM, Slice("alpha")) == 1
