"""Repairs taken up at epochs are those of the whole history, to the last digit."""

from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from bess_pipeline.analytics.repairs import AHEAD_DAYS, READS, repaired, repairs
from bess_pipeline.tables.memory import EpochMemory
from bess_pipeline.tables.quality import Repair
from bess_pipeline.window import EPOCH_DAYS, epoch_start
from bess_pipeline_tests.analytics.made_days import made_batteries
from bess_pipeline_tests.analytics.made_faults import faulty_fleet

BATTERIES = made_batteries(3)
few = settings(max_examples=6, deadline=None)
seeds = st.integers(0, 2**32)


@cache
def found_of(seed):
    """120 days of three batteries with every fault there is, and what is found of them at once."""
    rows = faulty_fleet(seed, 120, apart_minutes=60)
    return rows, repairs(rows, BATTERIES)


def midnight(day):
    return datetime.combine(day, time(), UTC)


def days(first=None, last=None):
    return pl.col("date").is_between(first or date.min, last or date.max)


@few
@given(seeds)
def test_what_is_remembered_of_an_epoch_is_enough_and_rests_on_nothing_later(seed):
    rows, whole = found_of(seed)
    random = np.random.default_rng(seed)
    seen = rows["date"].max()
    for epoch in whole.memory["date"].unique().sort():
        known_on = epoch + timedelta(days=int(random.integers(0, (seen - epoch).days + 1)))
        early = repairs(rows.filter(days(last=known_on)), BATTERIES).memory.filter(date=epoch)
        memory = whole.memory.filter(date=epoch)
        if rows.filter(days(epoch, known_on)).height:
            assert_frame_equal(early, memory, check_exact=True)
        again = repairs(rows.filter(days(first=epoch)), BATTERIES, memory)
        assert_frame_equal(again.repairs, whole.repairs.filter(pl.col("ended_at") > midnight(epoch)), check_exact=True)
        assert_frame_equal(again.memory, whole.memory.filter(pl.col("date") > epoch), check_exact=True)


@few
@given(seeds)
def test_a_fleet_that_grows_by_days_comes_to_the_same_repairs_as_all_at_once(seed):
    rows, whole = found_of(seed)
    random = np.random.default_rng(seed)
    every = rows["date"].unique().sort().to_list()
    table, memory = Repair.create_empty(), EpochMemory.create_empty()
    at = 0
    while at < len(every):
        first, at = every[at], at + int(random.integers(1, 4))
        seen = rows.filter(days(last=every[min(at, len(every)) - 1]))
        known = memory.filter(pl.col("date") <= epoch_start(first - timedelta(days=AHEAD_DAYS)))
        since = known["date"].max()
        made = repairs(seen.filter(days(first=since)), BATTERIES, known.filter(date=since) if since else None)
        if since:
            table = table.filter(pl.col("ended_at") <= midnight(since))
        table = pl.concat([table.clear() if since is None else table, made.repairs])
        memory = pl.concat([memory.filter(pl.col("date") <= since) if since else memory.clear(), made.memory])
    assert_frame_equal(table.sort("battery_id", "kind", "started_at"), whole.repairs, check_exact=True)
    assert_frame_equal(memory.sort("battery_id", "date"), whole.memory, check_exact=True)


@few
@given(seeds, st.integers(0, 100))
def test_what_is_repaired_on_a_day_is_final_after_three_weeks(seed, day):
    rows, whole = found_of(seed)
    last = rows["date"].min() + timedelta(days=day)
    early = repairs(rows.filter(days(last=last + timedelta(days=AHEAD_DAYS))), BATTERIES).repairs
    past = rows.filter(days(last=last))
    assert_frame_equal(repaired(past, early), repaired(past, whole.repairs), check_exact=True)
    over = pl.col("ended_at") <= midnight(last + timedelta(days=1))
    assert_frame_equal(early.filter(over), whole.repairs.filter(over), check_exact=True)


@few
@given(seeds)
def test_any_days_are_read_as_the_repairs_of_the_whole_history_say(seed):
    rows, whole = found_of(seed)
    read = repaired(rows, whole.repairs)
    random = np.random.default_rng(seed)
    first, last = sorted(random.choice(rows["date"].unique().sort().to_list(), 2))
    part = rows.filter(days(first, last)).sample(fraction=1.0, shuffle=True, seed=1)
    assert_frame_equal(repaired(part, whole.repairs), read.filter(days(first, last)), check_exact=True)


@few
@given(seeds)
def test_repairs_of_a_kind_do_not_overlap(seed):
    _, whole = found_of(seed)
    Repair.validate(whole.repairs)
    EpochMemory.validate(whole.memory)
    ends = pl.col("ended_at").shift().over("battery_id", "kind")
    assert whole.repairs.filter(pl.col("started_at") < ends).is_empty()


def test_the_faults_made_here_lead_to_every_kind_of_repair():
    """So that the properties above are about something."""
    found = pl.concat(found_of(seed)[1].repairs for seed in range(12))
    kinds = set(found.select("kind", "action").unique().rows())
    assert kinds == {
        *((kind, "converted") for kind in ("current_sign", "temperature_unit", "soc_unit")),
        *((kind, action) for kind in ("current_sign", "temperature_unit") for action in ("excluded", "suspected")),
    }
    spans = (pl.col("started_at").dt.date() < pl.col("epoch")) & (pl.col("ended_at").dt.date() > pl.col("epoch"))
    for seed in range(12):
        epochs = found_of(seed)[1].memory.select(epoch="date").unique()
        if found_of(seed)[1].repairs.join(epochs, how="cross").filter(spans)["kind"].n_unique() == 3:
            return
    pytest.fail("no fleet with an open stretch of each kind at an epoch")


def test_a_battery_is_remembered_from_the_epoch_after_its_first_row_on_also_when_it_is_silent():
    first = faulty_fleet(5, 120, batteries=1, apart_minutes=60)
    begun, last = first["date"].min(), first["date"].max()
    later = first.with_columns(
        battery_id=pl.lit("b1"),
        date=pl.col("date") + timedelta(days=100),
        timestamp=pl.col("timestamp") + timedelta(days=100),
    )
    memory = repairs(pl.concat([first, later]), BATTERIES).memory
    of_first = memory.filter(battery_id="b0")["date"].to_list()
    assert of_first[0] == epoch_start(begun) + timedelta(days=EPOCH_DAYS)
    assert of_first[-1] == epoch_start(last + timedelta(days=100))
    assert {(b - a).days for a, b in pairwise(of_first)} == {EPOCH_DAYS}
    of_second = memory.filter(battery_id="b1")["date"]
    assert of_second.min() == epoch_start(begun + timedelta(days=100)) + timedelta(days=EPOCH_DAYS)


def test_a_memory_is_of_one_epoch_and_of_rows_before():
    rows, whole = found_of(1)
    with pytest.raises(ValueError, match="several epochs"):
        repairs(rows, BATTERIES, whole.memory)
    with pytest.raises(ValueError, match="rows before"):
        repairs(rows, BATTERIES, whole.memory.filter(date=whole.memory["date"].max()))


def test_only_the_columns_that_are_said_are_read():
    rows, whole = found_of(1)
    assert_frame_equal(repairs(rows.select(READS), BATTERIES).repairs, whole.repairs, check_exact=True)


def test_nothing_follows_from_no_rows_at_a_memory():
    rows, whole = found_of(1)
    epoch = whole.memory["date"].max()
    found = repairs(rows.clear(), BATTERIES, whole.memory.filter(date=epoch))
    assert found.repairs.is_empty()
    assert found.memory.is_empty()
