"""Tables of what begins and ends are files of months by when it is over; what is not over has a file of its own."""

from datetime import UTC, date, datetime, time, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bess_pipeline.lake.changes import on_days
from bess_pipeline.lake.contracts import stored_schema
from bess_pipeline.lake.day_versions import DayVersions
from bess_pipeline.lake.slices import NOT_YET, Months, Slice, Tail
from bess_pipeline.lake.store import Lake
from bess_pipeline.tables import catalog
from bess_pipeline.window import Window

TABLE = catalog.LIMIT_EPISODES
FIRST = date(2025, 11, 20)


def episodes(*found, run="run 1"):
    """Episodes: the day of the start, that of the end or none, and the extreme."""

    def noon(day):
        return None if day is None else datetime.combine(FIRST, time(12), UTC) + timedelta(days=day)

    rows = [
        {
            "fleet_id": "alpha", "battery_id": "b1", "code": f"OVER {number}", "started_at": noon(start),
            "ended_at": noon(end), "detected_at": noon(start), "settled_at": noon(end), "limit": 3.6,
            "extreme": extreme, "intervals": 1, "run_id": run, "code_version": "1", "register_version": "r",
        }
        for number, (start, end, extreme) in enumerate(found)
    ]  # fmt: skip
    return pl.DataFrame(rows, schema=stored_schema(TABLE)).sort(TABLE.sort)


LONG = ((0, 3, 3.7), (2, 70, 3.8), (30, 31, 3.9), (60, None, 4.0))


@pytest.fixture
def grown(lake):
    lake.replace_changed(TABLE, episodes(*LONG), Slice("alpha"))
    return lake


def files(lake):
    return {row["month"]: row["path"] for row in lake.files(TABLE).iter_rows(named=True)}


def test_an_episode_lies_in_the_month_of_its_end_and_one_without_an_end_behind_all(grown):
    assert set(files(grown)) == {date(2025, 11, 1), date(2025, 12, 1), date(2026, 1, 1), NOT_YET}
    assert grown.read(TABLE, Slice("alpha")).drop("run_id").equals(episodes(*LONG).drop("run_id"))


def test_one_that_ends_moves_to_its_month_and_what_was_over_before_is_not_written(grown):
    before = files(grown)
    since = FIRST + timedelta(days=65)
    part = Tail.of(TABLE, "alpha", since)
    over = episodes(*LONG[:3], (60, 75, 4.1), run="run 2")
    grown.replace_changed(TABLE, over.filter(part.rows()), part)
    after = files(grown)
    assert set(after) == set(before) - {NOT_YET} | {date(2026, 2, 1)}
    assert {month for month in after if after[month] == before.get(month)} == set(before) - {NOT_YET}
    rows = grown.read(TABLE, Slice("alpha"))
    assert rows.drop("run_id").equals(over.drop("run_id"))
    assert rows.filter(run_id="run 2")["extreme"].to_list() == [4.1]


def test_a_night_reads_the_newest_month_and_what_is_not_over(grown):
    part = Tail.of(TABLE, "alpha", FIRST + timedelta(days=65))
    assert grown.read(TABLE, part)["extreme"].to_list() == [3.8, 4.0]


def test_months_are_whole():
    with pytest.raises(ValueError, match="whole months are needed, got 2026-01-01 to 2026-01-30"):
        Months("alpha", Window(date(2026, 1, 1), date(2026, 1, 31)), "settled_at")


def read_whole(lake):
    rows = on_days(TABLE, lake.read(TABLE, Slice("alpha")))
    return rows.group_by("date").agg(pl.col("version").sum().reinterpret(signed=True)).sort("date")


def versions(lake):
    known = DayVersions(lake, "alpha")
    told = known.of(TABLE)
    known.close()
    return told


def test_what_is_not_over_is_of_no_day_and_an_episode_counts_on_each_that_it_touches(grown):
    told = versions(grown)
    assert told.equals(read_whole(grown))
    assert told["date"].null_count() == 1
    assert told["date"].drop_nulls().to_list() == [FIRST + timedelta(days=day) for day in range(71)]


def cycles(*found):
    """Cycles: the days on which they start, end and are certain or not yet, and how many they are."""

    def noon(day):
        return None if day is None else datetime.combine(FIRST, time(12), UTC) + timedelta(days=day)

    rows = [
        {
            "fleet_id": "alpha", "battery_id": "b1", "started_at": noon(start), "ended_at": noon(end),
            "counted_at": noon(counted), "depth_percent": 50.0, "mean_soc_percent": 50.0, "count": count,
            "run_id": "run 1", "code_version": "1", "register_version": "r",
        }
        for start, end, counted, count in found
    ]  # fmt: skip
    return pl.DataFrame(rows, schema=stored_schema(catalog.CYCLES)).sort(catalog.CYCLES.sort)


def test_a_half_cycle_that_may_still_close_counts_on_its_days_and_changes_no_others(lake):
    def told(*found):
        lake.replace_changed(catalog.CYCLES, cycles(*found), Slice("alpha"))
        return DayVersions(lake, "alpha").of(catalog.CYCLES)

    over, outer = (0, 1, 2, 1.0), (1, 40, None, 0.5)
    before, grown = told(over, outer, (50, 51, None, 0.5)), told(over, outer, (50, 52, None, 0.5))
    assert before["date"].null_count() == 0
    assert before["date"].to_list() == [FIRST + timedelta(days=day) for day in (*range(41), 50, 51)]
    differs = grown.join(before, on=["date", "version"], how="anti")["date"].to_list()
    assert differs == [FIRST + timedelta(days=day) for day in (50, 51, 52)]
    closed = told(over, (1, 40, 53, 1.0), (50, 52, None, 0.5))
    assert closed.join(grown, on=["date", "version"], how="anti")["date"].min() == FIRST + timedelta(days=1)


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    return Lake(str(tmp_path_factory.mktemp("shared")))


_EPISODE = st.tuples(st.integers(0, 90), st.none() | st.integers(0, 40), st.sampled_from([3.7, 3.8])).map(
    lambda told: (told[0], None if told[1] is None else told[0] + told[1], told[2])
)


@settings(max_examples=40, deadline=None)
@given(came=st.lists(_EPISODE, max_size=6), since=st.integers(0, 100))
def test_whatever_comes_the_rest_is_what_was_and_versions_are_those_of_the_rows(shared, came, since):
    part = Tail.of(TABLE, "alpha", FIRST + timedelta(days=since))
    before = shared.read(TABLE, Slice("alpha"))
    fresh = episodes(*came).with_columns(code=pl.format("OVER {}", pl.col("started_at").rank("ordinal") + 10 * since))
    fresh = fresh.filter(part.rows())
    kept = before.filter(~part.rows())
    shared.replace_changed(TABLE, fresh, part)
    held = shared.read(TABLE, Slice("alpha"))
    assert held.drop("run_id").equals(pl.concat([kept, fresh]).sort(TABLE.sort).drop("run_id"))
    assert versions(shared).equals(read_whole(shared))
