"""What is taken up at an epoch goes on as if it had been begun at the beginning."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from bess_pipeline.analytics.anchors import charge_anchors
from bess_pipeline.analytics.battery_states import estimates
from bess_pipeline.analytics.capacity_counts import LONGEST_DAYS
from bess_pipeline.analytics.capacity_marks import capacity_evidence
from bess_pipeline.analytics.direct_capacity import capacity_tests
from bess_pipeline.analytics.limits import limit_episodes
from bess_pipeline.tables.health import CurrentOffset
from bess_pipeline.tables.quality import Repair
from bess_pipeline.tables.telemetry import ClosedInterval5min
from bess_pipeline.window import epoch_start
from bess_pipeline_tests.analytics import made_cells
from bess_pipeline_tests.analytics.made_tests import cell, clean_of, cycled

BATTERIES = ("a", "b", "c", "d")
PLATES = made_cells.batteries(*BATTERIES)
CURVES = made_cells.curves(PLATES)


def midnight(day):
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


@pytest.fixture(scope="module")
def intervals():
    """Four batteries over 100 days: one that falls silent for weeks, one that begins late, one that ends early, and one
    whose voltage is not known at first; all too warm for days on end around the beginnings of epochs."""
    rates = made_cells.cycling(100, low=15, high=95)
    rows = made_cells.intervals(rates, first_soc=40)
    first = rows["timestamp"].min()
    day = (pl.col("timestamp") - first).dt.total_days()
    # The second epoch begins within the silence, the third within the heat of the first battery.
    hot = pl.when(day % 28 < 9).then(57.0).otherwise(25.0)
    parts = {
        "a": rows.filter(~day.is_between(20, 55)),
        "b": rows.filter(day >= 35),
        "c": rows.filter(day < 50),
        "d": rows.with_columns(
            pl.when(day < 40).then(None).otherwise(pl.col(name)).alias(name)
            for name in ("voltage_volt", "cell_voltage_min_volt", "cell_voltage_max_volt")
        ),
    }
    return pl.concat(
        part.with_columns(battery_id=pl.lit(name), temperature_celsius=hot, temperature_max_celsius=hot)
        for name, part in parts.items()
    )


def found_by(name, rows, memory=None):
    if name == "estimates":
        found = estimates(rows, PLATES, CURVES, memory)
        return {"charge": found.charge, "states": found.states}, found.memory
    if name == "anchors":
        found = charge_anchors(rows, PLATES, CURVES, memory)
        return {"anchors": found.anchors}, found.memory
    found = limit_episodes(rows, PLATES, memory)
    return {"episodes": found.episodes}, found.memory


#: First instants of which the rows are the same whether they were begun at an epoch or at the beginning.
SINCE = {
    "estimates": lambda epoch: pl.col("date") >= epoch,
    "anchors": lambda epoch: pl.col("timestamp") >= midnight(epoch + timedelta(days=2)),
    "episodes": lambda epoch: (pl.col("settled_at") >= midnight(epoch)).fill_null(value=True),
}


@pytest.mark.parametrize("name", list(SINCE))
def test_rows_from_an_epoch_on_are_those_of_the_whole(name, intervals):
    whole, memory = found_by(name, intervals)
    assert memory["date"].n_unique() >= 3
    for epoch in memory["date"].unique().sort():
        again, kept = found_by(name, intervals.filter(pl.col("date") >= epoch), memory.filter(date=epoch))
        for table, rows in whole.items():
            since = SINCE[name](epoch)
            assert_frame_equal(again[table].filter(since), rows.filter(since), check_exact=True)
            assert rows.filter(since).height > 0 or epoch == memory["date"].max()
        assert_frame_equal(kept, memory.filter(pl.col("date") > epoch), check_exact=True)


@pytest.mark.parametrize("name", list(SINCE))
def test_a_memory_does_not_know_what_comes_after(name, intervals):
    _, memory = found_by(name, intervals)
    for epoch in memory["date"].unique().sort():
        early = intervals.filter(pl.col("date") < epoch + timedelta(days=1))
        _, known = found_by(name, early)
        assert_frame_equal(known.filter(date=epoch), memory.filter(date=epoch), check_exact=True)


def test_a_memory_of_several_epochs_is_refused(intervals):
    _, memory = found_by("estimates", intervals)
    with pytest.raises(ValueError, match="memory of several epochs"):
        found_by("estimates", intervals, memory)


def test_capacity_tests_are_taken_up_in_the_middle_of_anything():
    """A cell that is cycled slowly without a rest, with silences of hours and of days."""
    random = np.random.default_rng(3)
    steps = []
    for gap in random.choice([0.0, 0.0, 5.0, 100.0], 60):
        steps += [("charge", 0.1), ("taper", 0.05), ("rest", 5), ("discharge", 0.1), ("rest", 5)]
        steps += [("gap", gap)] if gap else []
    plates = cell()
    evidence = capacity_evidence(clean_of(cycled(steps, every=300)), plates)
    nothing = (ClosedInterval5min.create_empty(), CurrentOffset.create_empty(), Repair.create_empty())
    whole = capacity_tests(evidence, *nothing, plates)
    assert whole.tests.height > 50
    for epoch in whole.memory["date"]:
        rows = evidence.filter(pl.col("date") >= epoch)
        again = capacity_tests(rows, *nothing, plates, whole.memory.filter(date=epoch))
        since = pl.col("ended_at") >= midnight(epoch + timedelta(days=LONGEST_DAYS + 1))
        assert_frame_equal(again.tests.filter(since), whole.tests.filter(since), check_exact=True)
        early = capacity_tests(evidence.filter(pl.col("date") < epoch + timedelta(days=5)), *nothing, plates)
        assert early.memory.filter(date=epoch).equals(whole.memory.filter(date=epoch))
        assert epoch == epoch_start(epoch)
