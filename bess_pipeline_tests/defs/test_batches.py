from datetime import date

import polars as pl
import pytest

from bess_pipeline.defs.batches import Aside, Batches, ahead
from bess_pipeline.lake.slices import Slice
from bess_pipeline.window import Window

DAYS = Window(date(2026, 1, 1), date(2026, 1, 4))


def rows(window):
    return pl.DataFrame({"date": list(window)})


def test_a_step_is_applied_portion_by_portion_in_their_order_and_only_when_asked_for():
    seen = []

    def step(frame):
        seen.append(frame.height)
        return frame

    mapped = Batches(Slice("alpha", DAYS), lambda: (rows(Window.of_day(day)) for day in DAYS)).map(step)
    assert seen == []
    for _ in range(2):  # each time it is gone through
        assert [frame["date"].to_list() for frame in mapped] == [[day] for day in DAYS]
    assert seen == [1] * 6


def test_no_more_portions_are_begun_than_are_at_work_and_one_to_be_used():
    begun = []

    def portions():
        for number in range(50):
            begun.append(number)
            yield pl.DataFrame({"n": [number]})

    made = ahead(portions(), lambda frame: frame["n"][0])
    assert next(made) == 0
    assert len(begun) <= 5
    assert list(made) == list(range(1, 50))


def test_what_a_step_fails_with_comes_in_its_place():
    def step(frame):
        if frame["n"][0] == 2:
            raise ValueError("the third")
        return frame["n"][0]

    made = ahead((pl.DataFrame({"n": [number]}) for number in range(9)), step)
    assert [next(made), next(made)] == [0, 1]
    with pytest.raises(ValueError, match="the third"):
        next(made)


def test_small_tables_are_kept_aside_while_the_large_one_is_streamed():
    def passes():
        for day in DAYS:
            yield {"large": rows(Window.of_day(day)), "small": pl.DataFrame({"n": [day.day]})}
        yield {"small": pl.DataFrame({"n": [4]})}

    made = Aside(passes, "large")
    next(iter(made))  # a pass that was broken off leaves nothing behind
    assert [frame["date"][0] for frame in made] == list(DAYS)
    assert made.kept("small")["n"].to_list() == [1, 2, 3, 4]
