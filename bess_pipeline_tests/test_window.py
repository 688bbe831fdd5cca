from datetime import UTC, date, datetime

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bess_pipeline.window import Window, batched, contiguous

days = st.dates(min_value=date(2020, 1, 1), max_value=date(2020, 4, 1))


def test_a_window_is_half_open():
    window = Window(date(2026, 3, 28), date(2026, 3, 30))
    assert list(window) == [date(2026, 3, 28), date(2026, 3, 29)]
    assert date(2026, 3, 30) not in window
    times = pl.Series("timestamp", [window.start_time, window.end_time]).to_frame()
    assert times.select(window.times())["timestamp"].to_list() == [True, False]
    assert window.end_time == datetime(2026, 3, 30, tzinfo=UTC)


@pytest.mark.parametrize("end", [date(2026, 1, 1), date(2025, 12, 31)])
def test_a_window_without_days_is_refused(end):
    with pytest.raises(ValueError, match="at least one day"):
        Window(date(2026, 1, 1), end)


@given(st.sets(days), st.integers(1, 40))
def test_contiguous_windows_hold_each_day_once_and_none_besides(chosen, longest):
    windows = contiguous(chosen, longest=longest)
    assert [day for window in windows for day in window] == sorted(chosen)
    assert all(len(window) <= longest for window in windows)


@given(st.dictionaries(days, st.integers(0, 100)), st.integers(1, 200))
def test_batches_follow_on_each_other_and_respect_the_budget(rows, budget):
    whole = Window(date(2020, 1, 1), date(2020, 4, 2))
    windows = batched(whole, rows, budget=budget)
    assert [day for window in windows for day in window] == list(whole)
    assert all(len(window) == 1 or sum(rows.get(day, 0) for day in window) <= budget for window in windows)
