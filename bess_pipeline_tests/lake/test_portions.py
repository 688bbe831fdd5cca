from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bess_pipeline.lake.failures import DamagedError
from bess_pipeline.lake.portions import portions, whole_days
from bess_pipeline.lake.slices import Slice
from bess_pipeline.tables import catalog
from bess_pipeline.window import Window
from bess_pipeline_tests.strategies import START, clean, sample

DAYS = Window(START.date(), START.date() + timedelta(days=3))
PART = Slice("f", DAYS)
TABLE = catalog.CLEAN_TELEMETRY
KEY = ("fleet_id", "battery_id", "date")
ORDER = ("fleet_id", "battery_id", "timestamp")


def keys(frame):
    return set(frame.select(KEY).unique().iter_rows())


@given(
    counts=st.dictionaries(st.tuples(st.sampled_from("abcd"), st.integers(0, 2)), st.integers(1, 9), min_size=1),
    portion=st.integers(1, 20),
    cuts=st.lists(st.integers(0, 60), max_size=5),
)
def test_whole_days_lose_nothing_and_cut_no_day_of_a_battery(counts, portion, cuts):
    rows = pl.DataFrame(
        [("f", battery, day, number) for (battery, day), n in sorted(counts.items()) for number in range(n)],
        schema=[*KEY, "n"],
        orient="row",
    )
    ends = sorted({min(cut, rows.height) for cut in cuts} | {0, rows.height})
    frames = [rows[a:b] for a, b in pairwise(ends)]
    cut = list(whole_days(frames, portion))
    assert pl.concat(cut).equals(rows)
    told = [keys(frame) for frame in cut]
    assert sum(map(len, told)) == len(set().union(*told))
    longest = max(counts.values())
    assert all(frame.height <= 2 * portion + longest for frame in cut)


def samples(*days, batteries="abc", each=5):
    """Samples of batteries on some days, counted from the first."""
    return clean(
        sample(86_400 * day + 60 * number, battery=battery, voltage_volt=float(number), clock_shift_us=0)
        for battery in batteries
        for day in days
        for number in range(each)
    )


def through(lake, portion, budget=1_000_000):
    return list(portions(lake, TABLE, PART, budget=budget, portion=portion))


@pytest.mark.parametrize("portion", [1, 7, 1000])
@pytest.mark.parametrize("budget", [1, 1_000_000])
def test_portions_hold_the_rows_of_the_slice_in_whole_battery_days(lake, portion, budget):
    rows = samples(0, 1, 2)
    lake.replace(TABLE, rows, PART)
    parts = through(lake, portion, budget)
    assert pl.concat(parts).sort(ORDER).equals(lake.read(TABLE, PART).sort(ORDER))
    told = [keys(part) for part in parts]
    assert sum(map(len, told)) == len(set().union(*told)) == 9
    assert all(part.equals(part.sort(TABLE.sort)) for part in parts)


def test_a_day_that_lies_in_several_files_is_put_in_order_first(lake):
    lake.replace(TABLE, samples(0, 1), PART)
    later = samples(1).with_columns(pl.col("timestamp") + pl.duration(seconds=30))
    lake.append(TABLE, later, PART)
    assert lake.files_by_day(TABLE, PART) == {DAYS.start: (1, 15), DAYS.start + timedelta(days=1): (2, 30)}
    parts = through(lake, 1)
    told = [keys(part) for part in parts]
    assert sum(map(len, told)) == len(set().union(*told)) == 6
    assert all(part.equals(part.sort(TABLE.sort)) for part in parts)
    assert sum(part.height for part in parts) == 45


def test_a_slice_without_rows_is_one_portion_without_rows(lake):
    assert [part.height for part in through(lake, 10)] == [0]
    assert through(lake, 10)[0].schema == lake.read(TABLE).schema


def test_portions_need_days(lake):
    with pytest.raises(ValueError, match="window of days"):
        next(portions(lake, TABLE, Slice("f"), budget=1))


def test_a_file_that_cannot_be_read_is_named(lake):
    lake.replace(TABLE, samples(0), PART)
    (path,) = lake.files(TABLE)["path"].to_list()
    file = Path(lake.address(TABLE)) / path
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(DamagedError, match="clean_telemetry"):
        through(lake, 10)
