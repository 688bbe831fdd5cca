"""What a step reads and makes again."""

from datetime import date, timedelta

import polars as pl
import pytest

from bess_pipeline.defs.increments import Increment, Reach
from bess_pipeline.lake.slices import Slice, Tail
from bess_pipeline.tables import catalog

DAY = date(2026, 3, 5)


@pytest.mark.parametrize(
    "reach",
    [
        Reach(),
        Reach(before=3, ahead=1),
        Reach(memory=catalog.FEATURE_MEMORY, back=118),
        Reach(memory=catalog.ANOMALY_MODELS, back=194, epoch=28),
        Reach(memory=catalog.FILTER_MEMORY, block=7),
        Reach(before=13, ahead=6, whole=(catalog.DEGRADATION, catalog.BATTERY_DAILY)),
        Reach(memory=catalog.AGEING_MEMORY, as_of_last=True),
        Reach(whole=(catalog.DEGRADATION,), as_of_last=True),
    ],
)
def test_a_reach_is_what_its_tag_says(reach):
    assert Reach.of_text(reach.to_text()) == reach


@pytest.mark.parametrize(
    ("reach", "changed", "first"),
    [
        (Reach(), "2026-03-05", "2026-03-05"),
        (Reach(ahead=3), "2026-03-05", "2026-03-02"),
        (Reach(block=7), "2026-03-05", "2026-02-26"),  # a Thursday, as 1970-01-01 was: a block begins
        (Reach(block=7), "2026-03-11", "2026-02-26"),
        (Reach(block=7, ahead=1), "2026-03-12", "2026-03-04"),
    ],
)
def test_days_before_a_change_are_made_again_as_far_as_it_may_have_changed_them(reach, changed, first):
    assert reach.first(date.fromisoformat(changed)) == date.fromisoformat(first)


class Asked:
    """A reader that tells what it was asked for."""

    def __init__(self):
        self.parts = {}

    def read(self, table, part):
        self.parts[table.name] = part
        return pl.DataFrame()


def asked(reach, *tables, reads_from=DAY):
    reader = Asked()
    wanted = Increment(reach, reads_from, reads_from, pl.DataFrame())
    for table in tables:
        wanted.rows(reader, "alpha", table)
    return reader.parts


def test_rows_are_read_from_the_first_day_that_counts_on_but_of_tables_of_which_any_may_count():
    reach = Reach(before=16, whole=(catalog.CAPACITY_TESTS,))
    parts = asked(reach, catalog.CLOSED_INTERVALS, catalog.CHARGE_ANCHORS, catalog.CAPACITY_TESTS, catalog.BATTERIES)
    assert parts == {
        "closed_intervals": Tail("alpha", DAY, "date", at_instants=False),
        "charge_anchors": Tail("alpha", DAY, "timestamp", at_instants=True),
        "capacity_tests": Slice("alpha"),
        "batteries": Slice("alpha"),
    }


def test_beside_a_memory_days_before_its_epoch_are_read_where_it_is_not_all():
    (part,) = asked(Reach(memory=catalog.FEATURE_MEMORY, back=118), catalog.BATTERY_DAILY).values()
    assert part.since == DAY - timedelta(days=118)


def test_all_is_read_where_all_is_made():
    parts = asked(Reach(before=1), catalog.CLOSED_INTERVALS, reads_from=None)
    assert parts == {"closed_intervals": Slice("alpha")}
