"""However the days of a fleet arrive, what is said of its ageing is that of the whole, to the last digit."""

from datetime import timedelta

import polars as pl
import pytest

from bess_pipeline.analytics.degradation import ageing
from bess_pipeline_tests.analytics.test_degradation import START, lived, tables
from bess_pipeline_tests.growing_lake import GrowingLake

LIVES = [lived(420, knee=200, steep=8e-4)[1], lived(420, seed=1)[1]]
AGED = ("degradation", "capacity_forecast", "ageing_memory")


class Grown:
    """A lake of two batteries of whose days some are there."""

    def __init__(self, folder):
        health, stress, self.batteries = tables(LIVES)
        self.health = health.with_columns(
            observability=pl.lit("full"), observations=pl.lit(1, pl.Int64), method=pl.lit("made")
        )
        self.stress = stress.with_columns(cycles=pl.lit(1.0))
        self.lake = GrowingLake(folder, "f")

    def bring(self, days, missing=()):
        """What is said when these days are there, but not those of some batteries."""
        there = pl.col("date").is_in([START + timedelta(days=day) for day in days])
        for battery, day in missing:
            there &= (pl.col("battery_id") != battery) | (pl.col("date") != START + timedelta(days=day))
        health, stress = self.health.filter(there), self.stress.filter(there)
        given = {"state_of_health": health, "daily_stress": stress, "batteries": self.batteries}
        self.lake.arrive(given, ())
        self.lake.follow(*AGED)
        self.whole = ageing(health, stress, self.batteries)

    def assert_whole(self):
        made = self.lake.tables()
        whole = (self.whole.degradation, self.whole.forecast, self.whole.memory)
        assert [name for name, rows in zip(AGED, whole, strict=True) if not made[name].equals(rows)] == []


@pytest.fixture
def grown(tmp_path):
    return Grown(tmp_path)


def test_night_after_night_over_the_end_of_a_month(grown):
    """Day 304 is the last of October: it stays, and of every other only the last."""
    grown.bring(range(300))
    for days in range(303, 308):
        grown.bring(range(days))
        grown.assert_whole()
    assert grown.whole.degradation["knee_date"].count() > 0
    assert START + timedelta(days=304) in grown.whole.degradation["as_of"]


def test_after_a_silence_of_months_their_ends_are_told_and_the_day_that_was_last_no_more(grown):
    grown.bring(range(290))
    grown.bring([*range(290), *range(400, 405)])
    grown.assert_whole()


def test_a_day_that_comes_late_changes_what_was_said_from_then_on(grown):
    late = [day for day in range(380) if day not in {310, 350}]
    grown.bring(late)
    grown.bring(sorted([*late, 350]))
    grown.assert_whole()
    grown.bring(range(380))
    grown.assert_whole()


def test_when_days_are_gone_that_before_them_is_the_last(grown):
    grown.bring(range(350))
    grown.bring(range(310))
    grown.assert_whole()


def test_a_battery_that_is_not_heard_is_told_of_until_it_is(grown):
    """Its clocks go on as they ran; a night without it had failed."""
    grown.bring(range(340))
    grown.bring(range(345), missing=[("b0", day) for day in range(338, 345)])
    grown.assert_whole()
    last = grown.whole.degradation.filter(as_of=START + timedelta(days=344))
    assert last["battery_id"].to_list() == ["b0", "b1"]
    assert last["days_known"].to_list() == [338, 345]
    grown.bring(range(346))
    grown.assert_whole()
