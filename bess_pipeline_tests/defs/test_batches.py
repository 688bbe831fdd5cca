from datetime import date

import polars as pl
import pytest

from bess_pipeline.defs.batches import Aside, Batches
from bess_pipeline.lake.slices import Slice
from bess_pipeline.tables import catalog
from bess_pipeline.window import Window

DAYS = Window(date(2026, 1, 1), date(2026, 1, 4))


def rows(window):
    return pl.DataFrame({"date": list(window)})


def test_a_step_is_applied_batch_by_batch_and_only_when_asked_for():
    seen = []

    def step(frame):
        seen.append(frame.height)
        return frame

    batches = Batches(Slice("alpha", DAYS), tuple(Window.of_day(day) for day in DAYS), rows).map(step)
    assert seen == []
    assert [frame.height for frame in batches] == [1, 1, 1]
    assert seen == [1, 1, 1]


def test_batches_of_a_table_need_days(lake):
    with pytest.raises(ValueError, match="window of days"):
        Batches.of(lake, catalog.RAW_TELEMETRY, Slice("alpha"), budget=1)


def test_small_tables_are_kept_aside_while_the_large_one_is_streamed():
    made = Aside(
        lambda: ({"large": rows(Window.of_day(day)), "small": pl.DataFrame({"n": [day.day]})} for day in DAYS), "large"
    )
    next(iter(made))  # a pass that was broken off leaves nothing behind
    assert [frame["date"][0] for frame in made] == list(DAYS)
    assert made.kept("small")["n"].to_list() == [1, 2, 3]
