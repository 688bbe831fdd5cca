"""Channels that must agree by physics."""

import polars as pl
import pytest

from bess_pipeline.analytics.intervals import closed, day_evidence, intervals_5min
from bess_pipeline.analytics.plausibility import charge_mismatch, voltage_mismatch
from bess_pipeline_tests.strategies import batteries, clean, sample

PLATES = batteries("b")
RATED = PLATES["rated_capacity_ah"][0]
CELLS = PLATES["cells_in_series"][0]


def intervals(rows):
    frame = clean(rows)
    return closed(intervals_5min(frame, PLATES), day_evidence(frame, PLATES), PLATES)


@pytest.mark.parametrize(
    ("low", "high", "volt", "share"),
    [
        pytest.param(3.3, 3.3, CELLS * 3.3, 0.0, id="they agree"),
        pytest.param(3.2, 3.4, CELLS * 3.3, 0.0, id="the middle of the extremes counts"),
        pytest.param(3.3, 3.3, CELLS * 3.3 * 1.029, 0.0, id="less than 3 percent"),
        pytest.param(3.3, 3.3, CELLS * 3.3 * 1.031, 1.0, id="more than 3 percent"),
        pytest.param(3.3, 3.3, CELLS * 3.3 / 2, 1.0, id="half of the cells"),
    ],
)
def test_the_voltage_is_that_of_the_cells_in_series(low, high, volt, share):
    rows = [sample(60 * k, voltage_volt=volt, cell_voltage_min_volt=low, cell_voltage_max_volt=high) for k in range(60)]
    assert voltage_mismatch(intervals(rows), PLATES)["cell_voltage_mismatch_fraction"].to_list() == [share]


def test_the_share_of_the_day_in_which_they_disagree():
    """Hand-computed: in 3 of 12 intervals of 5 minutes."""
    rows = [
        sample(60 * k, voltage_volt=CELLS * (3.0 if k < 15 else 3.3), cell_voltage_min_volt=3.3,
               cell_voltage_max_volt=3.3)
        for k in range(60)
    ]  # fmt: skip
    assert voltage_mismatch(intervals(rows), PLATES)["cell_voltage_mismatch_fraction"].to_list() == [0.25]


@pytest.mark.parametrize(
    "missing", ["voltage_volt", "cell_voltage_min_volt", "cell_voltage_max_volt", "cells_in_series"]
)
def test_nothing_is_said_where_one_of_them_is_unknown(missing):
    known = {"voltage_volt": 3.3 * CELLS, "cell_voltage_min_volt": 3.3, "cell_voltage_max_volt": 3.3}
    rows = [sample(60 * k, **(known | {missing: None} if missing in known else known)) for k in range(60)]
    plates = PLATES if missing in known else PLATES.with_columns(cells_in_series=pl.lit(0, pl.Int64))
    assert voltage_mismatch(intervals(rows), plates).is_empty()


def at_work(share_per_hour, reported_per_hour, *, hours=6, skip=()):
    """Samples of a battery that charges this much of its capacity an hour and reports another change [%]."""
    return [
        sample(60 * k, current_ampere=RATED * share_per_hour / 100, soc_bms_percent=20 + reported_per_hour * k / 60)
        for k in range(60 * hours)
        if k not in skip
    ]


@pytest.mark.parametrize(
    ("moved", "reported", "deviation", "share"),
    [
        pytest.param(10, 10, 0.0, 0.0, id="it follows"),
        pytest.param(10, 12.5, 2.5, 0.0, id="an aged battery reports more"),
        pytest.param(10, 16, 6.0, 1.0, id="half as much again and more"),
        pytest.param(10, -10, 20.0, 1.0, id="the other way"),
        pytest.param(10, 0, 10.0, 1.0, id="not at all"),
        pytest.param(3, 4.9, 1.9, 0.0, id="two digits"),
    ],
)
def test_the_reported_charge_follows_the_counted_charge(moved, reported, deviation, share):
    """Hand-computed, by the hour."""
    (row,) = charge_mismatch(intervals(at_work(moved, reported)), PLATES).to_dicts()
    assert row["soc_bms_deviation_percent"] == pytest.approx(deviation, abs=1e-6)
    assert row["soc_bms_mismatch_fraction"] == share


def test_an_hour_at_rest_or_with_a_gap_says_nothing():
    assert charge_mismatch(intervals(at_work(1.5, 9)), PLATES).is_empty()
    assert charge_mismatch(intervals(at_work(10, 0, hours=2, skip=range(20, 40))), PLATES).is_empty()


def test_the_hour_before_midnight_is_compared_with_the_day_after():
    rows = [sample(82800 + 60 * k, current_ampere=RATED / 10, soc_bms_percent=20 + 10 * k / 60) for k in range(90)]
    (row,) = charge_mismatch(intervals(rows), PLATES).to_dicts()
    assert row["soc_bms_deviation_percent"] == pytest.approx(0, abs=1e-6)
