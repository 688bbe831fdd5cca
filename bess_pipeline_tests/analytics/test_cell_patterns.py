"""The lane of single cells and probes: one that stands alone is told, what many share is not."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bess_pipeline.analytics.cell_patterns import (
    BEFORE,
    FEWEST_COMPONENTS,
    FEWEST_LATELY,
    FEWEST_SAMPLES,
    LEAST,
    LOOKS,
    cell_signals,
)
from bess_pipeline.tables.anomalies import AnomalySignal
from bess_pipeline.tables.cells import CellEvidence
from bess_pipeline_tests.analytics.made_cells import batteries

FIRST = date(2026, 1, 1)
SCHEMA = CellEvidence.create_empty().schema
#: Cells of a healthy pack lie this far apart, and their days scatter by this [V].
LIE, SCATTER = 0.003, 0.0005


def made_pack(days=30, cells=88, seed=0, kind="voltage", battery="b", lie=LIE):
    """Healthy components, each where it always lies, and a little noise every day."""
    random = np.random.default_rng(seed)
    where = lie * random.standard_normal(cells)
    grid = pl.DataFrame({"position": range(1, cells + 1), "lies": where}).join(
        pl.DataFrame({"date": pl.date_range(FIRST, FIRST + timedelta(days=days - 1), eager=True)}), how="cross"
    )
    deviation = pl.col("lies") + pl.Series(SCATTER * random.standard_normal(grid.height))
    return grid.select(
        fleet_id=pl.lit("f"),
        battery_id=pl.lit(battery),
        date="date",
        kind=pl.lit(kind),
        component=pl.format("{}_{}", pl.lit(kind[0].upper()), "position"),
        position=pl.col("position").cast(SCHEMA["position"]),
        samples=pl.lit(288, SCHEMA["samples"]),
        deviation_median=deviation,
        low_deviation=2 * deviation,
        step_count=pl.lit(50, SCHEMA["step_count"]),
        resistance_deviation_ohm=deviation / 1000,
    )


def moved(pack, by, components=("V_7",), since=0, column="deviation_median"):
    """Some components off by so much, from a day on."""
    it = pl.col("component").is_in(components) & (pl.col("date") >= FIRST + timedelta(days=since))
    return pack.with_columns(pl.when(it).then(pl.col(column) + by).otherwise(pl.col(column)))


def signals_of(pack, names=("b",)):
    observed = pack.select("fleet_id", "battery_id", "date").unique()
    ends = observed.with_columns(
        observed_until=pl.col("date").cast(pl.Datetime("us")).dt.replace_time_zone("UTC") + pl.duration(hours=23)
    )
    return AnomalySignal.validate(cell_signals(pack, batteries(*names), ends))


def raised_in(pack):
    return signals_of(pack).drop_nulls("raised_at")


@pytest.mark.parametrize("cells", [FEWEST_COMPONENTS, 16, 88, 240])
def test_healthy_packs_raise_nothing_for_a_year(cells):
    """One reading of a pack a fortnight is about what it decides on: 26 of them, in packs of five seeds."""
    raised = [raised_in(made_pack(365, cells, seed)) for seed in range(5)]
    assert pl.concat(raised).is_empty()


def test_a_cell_that_lies_alone_is_raised_with_the_third_day_of_data():
    """Known truth: V_7 lies 40 mV below where it would, from the first day on."""
    raised = raised_in(moved(made_pack(20), -0.040))
    first = raised.head(1).to_dicts()[0]
    assert set(raised["component"]) == {"V_7"}
    assert (first["kind"], first["family"], first["direction"], first["severity"]) == (
        "cell_lies_low", "cell", "down", "warning",
    )  # fmt: skip
    assert first["date"] == FIRST + timedelta(days=FEWEST_LATELY - 1)
    assert first["raised_at"].date() == first["date"]
    assert first["started_at"].date() == FIRST
    assert first["peers"] == 87
    assert first["value"] == pytest.approx(-0.040, abs=4 * LIE)


def test_a_change_is_told_where_the_cell_still_lies_among_the_others():
    """Known truth: in a pack whose cells always lay 10 mV apart, V_7 falls by 25 mV on day 60."""
    pack = moved(made_pack(110, lie=0.010, seed=3), -0.025, since=60)
    raised = raised_in(pack)
    assert set(raised.select("component", "kind").iter_rows()) == {("V_7", "cell_falls")}
    assert FIRST + timedelta(days=60) < raised["date"].min() <= FIRST + timedelta(days=70)


@pytest.mark.parametrize("count", [3, 8, 30])
def test_what_three_cells_or_more_share_is_not_of_a_cell(count):
    group = tuple(f"V_{number}" for number in range(1, count + 1))
    assert raised_in(moved(made_pack(), -0.060, group)).is_empty()


def test_two_cells_that_fail_at_once_are_both_raised():
    raised = raised_in(moved(made_pack(), -0.060, ("V_7", "V_50")))
    assert set(raised["component"]) == {"V_7", "V_50"}


@pytest.mark.parametrize(
    ("kind", "column", "by", "component", "found"),
    [
        ("voltage", "deviation_median", 0.040, "V_7", ("cell", "cell_lies_high")),
        ("voltage", "resistance_deviation_ohm", 0.6e-3, "V_7", ("electrical", "cell_resists")),
        ("voltage", "resistance_deviation_ohm", -0.6e-3, "V_7", ("electrical", "cell_tap")),
        ("voltage", "low_deviation", -0.080, "V_7", ("cell", "cell_falls")),
        ("temperature", "deviation_median", 5.0, "T_3", ("thermal", "probe_warms")),
        ("temperature", "deviation_median", -5.0, "T_3", ("sensor", "probe_cools")),
    ],
)
def test_a_cell_is_named_by_what_it_does(kind, column, by, component, found):
    """Known truth: from day 60 on; 0.6 mΩ at 100 Ah are 60 mV at 1 C."""
    pack = moved(made_pack(100, 20 if kind == "temperature" else 88, kind=kind), by, (component,), 60, column)
    raised = raised_in(pack)
    assert set(raised["component"]) == {component}
    assert found in set(raised.select("family", "kind").iter_rows())
    assert raised["date"].min() > FIRST + timedelta(days=60)


def test_probes_that_lie_apart_by_where_they_sit_are_no_change():
    """Known truth: T_3 is always 8 K warmer than the others."""
    assert raised_in(moved(made_pack(120, 20, kind="temperature", lie=0.5), 8.0, ("T_3",))).is_empty()


def test_too_few_samples_days_or_components_say_nothing():
    off = moved(made_pack(), -0.060)
    assert signals_of(off.with_columns(samples=pl.lit(FEWEST_SAMPLES - 1, SCHEMA["samples"]))).is_empty()
    assert signals_of(off.filter(pl.col("date") < FIRST + timedelta(days=FEWEST_LATELY - 1))).is_empty()
    assert signals_of(off.filter(pl.col("position") < FEWEST_COMPONENTS)).is_empty()
    assert not raised_in(off.filter(pl.col("position") <= FEWEST_COMPONENTS)).is_empty()


def test_what_is_told_lies_beyond_half_an_alarm_and_only_an_alarm_is_raised():
    sizes = {f"b{size}": -size / 1000 for size in range(10, 40, 2)}
    packs = [moved(made_pack(battery=name), by) for name, by in sizes.items()]
    told = signals_of(pl.concat(packs), tuple(sizes))
    assert 0 < told["raised_at"].count() < told.height
    assert told["statistic"].min() >= LEAST
    assert (told["raised_at"].is_not_null() == (told["statistic"] >= 1.0)).all()


def test_no_evidence_gives_no_signals():
    assert signals_of(made_pack().clear()).is_empty()


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 100), cut=st.integers(BEFORE.days, 150))
def test_a_day_rests_on_so_many_days_before_and_on_no_order(seed, cut):
    """What an increment reads gives the same signals to the last digit, whatever the order of the rows."""
    pack = moved(made_pack(160, 24, seed), -0.030, since=100)
    pack = pack.sample(fraction=0.8, seed=seed, shuffle=True)
    whole = signals_of(pack)
    day = FIRST + timedelta(days=cut)
    part = signals_of(pack.filter(pl.col("date") >= day - BEFORE))
    assert part.filter(pl.col("date") >= day).equals(whole.filter(pl.col("date") >= day))


def test_batteries_do_not_meet():
    packs = [made_pack(battery="a", seed=1), moved(made_pack(battery="b", seed=2), -0.040)]
    both = signals_of(pl.concat(packs), ("a", "b"))
    assert both.equals(signals_of(packs[1]))


def test_every_look_reads_a_column_that_is_there():
    made = {*SCHEMA, "volt_at_1c"}
    assert {look.column for look in LOOKS} <= made
