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
        Reach(before=13, ahead=6, whole=(catalog.DEGRADATION, catalog.BATTERY_DAILY)),
    ],
)
def test_a_reach_is_what_its_tag_says(reach):
    assert Reach.of_text(reach.to_text()) == reach


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
