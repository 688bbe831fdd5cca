"""The state of health that is taken up at an epoch goes on as if it had never been left."""

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from bess_pipeline.analytics.health import BEFORE, state_of_health
from bess_pipeline.analytics.health_memory import health_memory
from bess_pipeline.analytics.usable import with_usable_capacity
from bess_pipeline.tables.balance import CellBalance
from bess_pipeline.tables.health import BatteryState
from bess_pipeline.tables.memory import HealthMemory
from bess_pipeline.tables.resistance import ResistanceDaily
from bess_pipeline_tests.analytics import made_cells

FIRST = date(2024, 12, 1)
DAYS = 400
NAMES = [f"b{number}" for number in range(6)]
PLATES = pl.concat(made_cells.batteries(name, cells=1 if name == "b5" else 16) for name in NAMES)


def filled(rows, contract):
    """Rows with the other columns of a contract, empty or zero."""
    schema = contract.create_empty().schema
    columns = contract.columns()
    given = pl.DataFrame(rows, schema_overrides={name: schema[name] for name in rows[0]})
    missing = [
        pl.lit(None if columns[name].nullable else 0 if kind.is_numeric() else "").cast(kind).alias(name)
        for name, kind in schema.items()
        if name not in given.columns
    ]
    return given.with_columns(missing).select(schema.names())


def days_of(number, rng):
    """Days of a battery: one begins late, each is silent once for up to a hundred days, and misses single ones."""
    silent = range(70 * number, 70 * number + 25 * number)
    return [day for day in range(15 * number, DAYS) if day not in silent and rng.random() > 0.04]


@pytest.fixture(scope="module")
def made():
    """States, resistances and balance of six batteries, one of a single cell, one that learns late."""
    rng = np.random.default_rng(8)
    states, balances = [], []
    for number, name in enumerate(NAMES):
        known = 0.03
        for day in days_of(number, rng):
            key = {"fleet_id": "f", "battery_id": name, "date": FIRST + timedelta(days=day)}
            known = max(0.004, known * rng.uniform(0.97, 1.005))
            wide = (day // 60 + number) % 3
            states.append(
                key
                | {"capacity_ah": 100.0 - day / 80, "capacity_sigma_ah": known * 100.0, "corrections": day}
                | {"soc_min_percent": 50.0 - 20 * wide, "soc_max_percent": rng.choice([99.0, 60.0 + 10 * wide])}
            )
            if number != 4 or day > 200:
                seen = {
                    f"{kind}_{place}_{what}": value
                    for kind in ("deficit", "excess")
                    for place, soc in (("low", 10.0), ("middle", 50.0), ("high", 92.0))
                    if rng.random() < 0.3
                    for what, value in (
                        ("percent", rng.normal(1 + number / 2, 0.5)),
                        ("sigma_percent", rng.uniform(0.2, 2)),
                        ("soc_percent", soc + rng.uniform(-5, 5)),
                    )
                }
                balances.append(key | seen)
    columns = {name for row in balances for name in row}
    balances = [dict.fromkeys(columns) | row for row in balances]
    return filled(states, BatteryState), filled(balances, CellBalance)


def assessed(states, balance, memory=None):
    resistances = ResistanceDaily.create_empty()
    days = with_usable_capacity(state_of_health(states, resistances, PLATES, memory), balance, PLATES, memory)
    return days, health_memory(states, balance, memory)


@pytest.fixture(scope="module")
def whole(made):
    return assessed(*made)


def test_the_made_up_batteries_learn_at_other_times_and_are_seen_well_and_badly(made, whole):
    days, memory = whole
    assert set(days["observability"]) == {"full", "wide", "narrow"}
    assert memory["learnt_on"].null_count() > 3
    assert days.group_by("battery_id").agg(pl.col("date").min())["date"].n_unique() == len(NAMES)
    assert 0 < days["soh_usable_percent"].null_count() < days.height / 4
    assert memory["date"].n_unique() == 57
    assert memory["deficit"].n_unique() > 60


def test_taken_up_at_any_epoch_health_and_memories_are_those_of_the_whole(made, whole):
    states, balance = made
    days, memory = whole
    for epoch in memory["date"].unique().sort():
        later = pl.col("date") >= epoch - BEFORE
        told, kept = assessed(states.filter(later), balance.filter(later), memory.filter(date=epoch))
        assert told.equals(days.filter(pl.col("date") >= epoch)), epoch
        assert kept.equals(memory.filter(pl.col("date") > epoch)), epoch


def test_a_battery_that_has_fallen_silent_keeps_its_memory(made, whole):
    states, balance = made
    epoch = whole[1]["date"].unique().sort()[36]
    spoken = (pl.col("battery_id") != "b2") | (pl.col("date") < epoch - timedelta(days=200))
    _, kept = assessed(states.filter(spoken), balance.filter(spoken))
    later = spoken & (pl.col("date") >= epoch - BEFORE)
    _, again = assessed(states.filter(later), balance.filter(later), kept.filter(date=epoch))
    assert again.equals(kept.filter(pl.col("date") > epoch))
    assert "b2" in set(again["battery_id"])


def test_without_days_there_is_nothing_to_remember(made):
    days, memory = assessed(*(rows.clear() for rows in made))
    assert days.is_empty()
    assert memory.is_empty()
    HealthMemory.validate(memory)
