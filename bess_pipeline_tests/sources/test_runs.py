from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bess_pipeline.sources.runs import runs

START = datetime(2024, 1, 1, tzinfo=UTC)


def rows(*minutes, battery="b"):
    times = [None if minute is None else START + timedelta(minutes=minute) for minute in minutes]
    schema = {"row_number": pl.Int64, "battery_id": pl.String, "timestamp": pl.Datetime("us", "UTC")}
    numbers = list(range(len(times)))
    return pl.DataFrame({"row_number": numbers, "battery_id": [battery] * len(times), "timestamp": times}, schema)


def cut(frame):
    """First row, last row, first minute, last minute and order of each run."""
    minute = timedelta(minutes=1)
    return [
        (first, last, (start - START) / minute, (end - START) / minute, ordered)
        for first, last, start, end, ordered in runs(frame)
        .select("first_row", "last_row", "first_timestamp", "last_timestamp", "is_ordered")
        .iter_rows()
    ]


STEADY = list(range(20))


@pytest.mark.parametrize(
    ("minutes", "expected"),
    [
        pytest.param(STEADY, [(0, 19, 0, 19, True)], id="steady"),
        pytest.param([*STEADY, *range(21, 41)], [(0, 39, 0, 40, True)], id="one sample is missing"),
        pytest.param([*STEADY, *range(80, 100)], [(0, 19, 0, 19, True), (20, 39, 80, 99, True)], id="a gap"),
        pytest.param([*STEADY, *range(10, 30)], [(0, 19, 0, 19, True), (20, 39, 10, 29, True)], id="a step back"),
        pytest.param([m for m in STEADY for _ in (1, 2)], [(0, 39, 0, 19, True)], id="every row twice"),
        pytest.param(
            [*STEADY, 25, 21, 27, 23, 20, 26, 24, 22, *range(28, 48)],
            [(0, 19, 0, 19, True), (20, 27, 20, 27, False), (28, 47, 28, 47, True)],
            id="rows out of order are one run",
        ),
        pytest.param(
            [*STEADY, *range(80, 100)][::-1], [(20, 39, 0, 19, True), (0, 19, 80, 99, True)], id="latest first"
        ),
        pytest.param([None, *STEADY], [(1, 20, 0, 19, True)], id="a row without a time is in none"),
        pytest.param([3], [(0, 0, 3, 3, True)], id="a single row"),
        pytest.param([], [], id="nothing"),
    ],
)
def test_rows_are_cut_where_time_jumps(minutes, expected):
    """Worked out by hand."""
    assert cut(rows(*minutes)) == expected


def test_rows_without_a_battery_are_in_no_run():
    assert runs(rows(*STEADY, battery=None)).is_empty()


def test_irregular_times_give_a_bounded_number_of_runs():
    minutes = [position**2 % 9973 for position in range(20_000)]
    assert runs(rows(*minutes)).height <= 400
    widening = [position**2 for position in range(3_000)]
    assert runs(rows(*widening)).height <= 400


orders = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 40)), max_size=60)


@given(orders)
@settings(max_examples=60, deadline=None)
def test_the_rows_of_each_battery_are_cut_as_if_they_were_alone(order):
    both = pl.concat([rows(minute, battery=name) for name, minute in order] or [rows()]).with_columns(
        row_number=pl.int_range(len(order), dtype=pl.Int64)
    )
    told = runs(both)
    assert told["rows"].sum() == len(order)
    for name in told["battery_id"].unique():
        alone = runs(both.filter(battery_id=name))
        numbers = both.filter(battery_id=name)["row_number"]
        mine = told.filter(battery_id=name)
        assert mine.equals(alone)
        for first, last, count in mine.select("first_row", "last_row", "rows").iter_rows():
            assert count == numbers.is_between(first, last).sum()
