"""The resistance that is taken up at an epoch goes on as if it had never been left."""

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from bess_pipeline.analytics.normalized_resistance import BEFORE, normalized_resistance
from bess_pipeline.analytics.resistance import resistance_daily
from bess_pipeline.tables.memory import ResistanceMemory
from bess_pipeline.tables.resistance import ResistanceEvidence, StepResistance
from bess_pipeline_tests.analytics import made_cells

FIRST = date(2024, 12, 1)
DAYS = 400
NAMES = [f"b{number}" for number in range(6)]
CHEMISTRIES = ("NMC", "LFP", "NCA", "NMC", "LFP", "LTO")
PLATES = pl.concat(
    made_cells.batteries(name, chemistry=chemistry) for name, chemistry in zip(NAMES, CHEMISTRIES, strict=True)
)


def steps_of(number, day, rng):
    """Measurements of a day: `b3` has none in its first hundred days, `b4` one day in twenty, `b5` none at all."""
    if number == 5 or (number == 3 and day < 145) or rng.random() < (0.95 if number == 4 else 0.3):
        return
    for method in ("steps", "means") if number == 1 else ("steps",) if number != 2 else ("means",):
        for third in range(int(rng.integers(1, 4))):
            cold, charge = rng.uniform(-0.1, 0.25), (third - 1) / 3
            jump = 0.3 * (day > 220) if number == 0 else 0.0
            yield {
                "method": method, "third": third, "unwarmed": float(rng.choice([0.0, 0.4, 1.0])), "cold": cold,
                "log_resistance": -3 + 0.0004 * day + 2.3 * cold + 0.1 * charge + jump + rng.standard_t(3) * 0.02,
                "variance": rng.uniform(0.01, 0.04) ** 2, "charge": charge, "charge_square": charge**2,
                "steps": float(rng.integers(0, 4)), "celsius": 25.0, "ohm": 0.05,
            }  # fmt: skip


@pytest.fixture(scope="module")
def made():
    """Evidence and steps of six batteries that begin one after the other, and fall silent for up to 125 days."""
    rng = np.random.default_rng(4)
    evidence, days = [], []
    for number, name in enumerate(NAMES):
        silent = range(70 * number, 70 * number + 25 * number)
        for day in range(15 * number, DAYS):
            if day in silent:
                continue
            key = {"fleet_id": "f", "battery_id": name, "date": FIRST + timedelta(days=day)}
            days.append(key)
            evidence.extend(key | row for row in steps_of(number, day, rng))
    steps = pl.DataFrame(days, schema_overrides={"date": pl.Date})
    nothing = StepResistance.create_empty().schema.items()
    steps = steps.with_columns(pl.lit(None, kind).alias(name) for name, kind in nothing if name not in steps.columns)
    kinds = ResistanceEvidence.create_empty().schema
    return pl.DataFrame(evidence, schema_overrides=kinds).select(kinds.names()), steps


def followed(evidence, steps, memory=None):
    found = resistance_daily(evidence, steps, PLATES, memory)
    return found.daily, found.memory


@pytest.fixture(scope="module")
def whole(made):
    return followed(*made)


def test_the_made_up_batteries_are_told_by_both_methods_and_not_always(made, whole):
    days, memory = whole
    told = days.filter(pl.col("resistance_ohm").is_not_null())
    assert set(told["battery_id"]) == set(NAMES[:5])
    assert set(told["method"]) == {"steps", "means"}
    assert days.filter(battery_id="b4")["resistance_ohm"].null_count() > 0
    assert told["resistance_increase_percent"].null_count() > 0
    assert memory["date"].n_unique() == 57
    assert set(memory["carried"].list.len()) > {0, 36, 36 + 6 * 3}
    # Who began and was not measured is remembered, too: the first days of a battery are over at some time.
    assert memory.filter(battery_id="b3", method="steps")["carried"].list.len().to_list()[0] == 0
    assert (
        days.filter(battery_id="b3")["resistance_increase_percent"].null_count() == days.filter(battery_id="b3").height
    )


def test_taken_up_at_any_epoch_resistances_and_memories_are_those_of_the_whole(made, whole):
    evidence, steps = made
    days, memory = whole
    for epoch in memory["date"].unique().sort():
        later = pl.col("date") >= epoch - BEFORE
        told, kept = followed(evidence.filter(later), steps.filter(later), memory.filter(date=epoch))
        assert told.equals(days.filter(pl.col("date") >= epoch)), epoch
        assert kept.equals(memory.filter(pl.col("date") > epoch)), epoch


def test_a_battery_that_has_fallen_silent_keeps_its_memory(made, whole):
    evidence, steps = made
    epoch = whole[1]["date"].unique().sort()[36]
    spoken = (pl.col("battery_id") != "b2") | (pl.col("date") < epoch - timedelta(days=200))
    _, kept = followed(evidence.filter(spoken), steps.filter(spoken))
    later = spoken & (pl.col("date") >= epoch - BEFORE)
    _, again = followed(evidence.filter(later), steps.filter(later), kept.filter(date=epoch))
    assert again.equals(kept.filter(pl.col("date") > epoch))
    assert "b2" in set(again["battery_id"])


def test_batteries_that_are_not_in_the_register_are_told_nothing_of(made):
    found = normalized_resistance(*made, PLATES.filter(pl.col("battery_id") != "b0"))
    assert found.days.filter(battery_id="b0")["resistance_ohm"].null_count() == DAYS
    assert found.days.height == made[1].height
    assert "b0" not in set(found.memory["battery_id"])


def test_without_days_there_is_nothing_to_remember(made):
    days, memory = followed(*(rows.clear() for rows in made))
    assert days.is_empty()
    assert memory.is_empty()
    ResistanceMemory.validate(memory)
