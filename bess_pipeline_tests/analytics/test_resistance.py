"""Resistance from the current steps of a day."""

import numpy as np
import polars as pl
import pytest

from bess_pipeline.analytics.resistance import day_resistance, day_steps, normalized_resistance
from bess_pipeline_tests.analytics import made_cells


def steps(ohms, celsius, *, count=10):
    """Rows of days whose steps show those resistances at those temperatures."""
    ohms, celsius = np.array(ohms, dtype=float), np.array(celsius, dtype=float)
    rows = made_cells.intervals(np.zeros(288 * len(ohms)), first_soc=50)[::288]
    return rows.with_columns(
        step_count=pl.lit(count, pl.Int64),
        step_current_square_sum=pl.lit(100.0),
        step_current_voltage_sum=pl.Series(100 * ohms),
        step_voltage_square_sum=pl.Series(100 * ohms**2),
        temperature_celsius=pl.Series(celsius).fill_nan(None),
    )


def normalized(rows):
    return normalized_resistance(rows, rows.select("fleet_id", "battery_id", "date"))


def test_the_day_as_measured_is_the_regression_over_its_steps():
    """Hand-computed: sums of 5 AV and 100 A² are 50 mΩ."""
    assert day_resistance(steps([0.05], [25]))["internal_resistance_ohm"].to_list() == pytest.approx([0.05])


@pytest.mark.parametrize(("ohms", "count"), [(0.05, 3), (-0.05, 10)], ids=["too few steps", "wrong sign"])
def test_a_day_without_evidence_has_no_resistance(ohms, count):
    rows = steps([ohms], [25], count=count)
    assert day_resistance(rows)["internal_resistance_ohm"].to_list() == [None]
    assert normalized(rows)["resistance_ohm"].to_list() == [None]


def test_the_temperature_is_taken_out():
    """Hand-computed: exp(20000/8.314·(1/283.15 − 1/298.15)) = 1.5332."""
    found = normalized(steps([0.05 * 1.5332] * 40, [10] * 40))
    assert found["resistance_ohm"].to_list() == pytest.approx([0.05] * 40, rel=1e-4)


def test_without_a_temperature_the_resistance_at_25_degrees_is_unknown():
    assert normalized(steps([0.05] * 3, [np.nan] * 3))["resistance_ohm"].null_count() == 3


def test_growth_is_over_the_first_30_days_and_unknown_before_they_are_over():
    found = normalized(steps([0.05] * 30 + [0.06] * 100, [25] * 130))["resistance_increase_percent"].to_list()
    assert found[:29] == [None] * 29
    assert found[29] == pytest.approx(0)
    assert found[-1] == pytest.approx(20, abs=0.7)


def test_a_day_knows_nothing_of_later_days():
    rows = steps(np.linspace(0.05, 0.07, 60), np.linspace(10, 30, 60))
    assert normalized(rows).head(45).equals(normalized(rows.head(45)))


def test_steps_of_a_day_add_up_and_their_temperature_is_weighted_by_them():
    """Hand-computed: 3 steps at 20 °C and 1 at 24 °C, and one interval without a temperature."""
    rows = made_cells.intervals(np.zeros(3), first_soc=50).with_columns(
        step_count=pl.Series([3, 1, 4]),
        step_current_square_sum=pl.Series([10.0, 20.0, 30.0]),
        temperature_celsius=pl.Series([20.0, 24.0, None]),
    )
    (day,) = day_steps(rows).to_dicts()
    assert (day["step_count"], day["step_current_square_sum"], day["step_temperature_celsius"]) == (8, 60.0, 21.0)
