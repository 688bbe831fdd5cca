"""Plausibility: what in the 5-minute rows cannot be, and what can."""

from __future__ import annotations

import pytest

from bess_pipeline.analytics.plausibility import plausible_intervals
from bess_pipeline_tests.analytics.made_days import FIVE_MINUTES, START, made_batteries, made_intervals


def rows_of(**columns):
    count = max(len(values) for values in columns.values())
    return plausible_intervals(
        made_intervals(
            [
                {
                    "battery_id": "b0",
                    "timestamp": START + number * FIVE_MINUTES,
                    **{name: values[number] for name, values in columns.items()},
                }
                for number in range(count)
            ]
        ),
        made_batteries(1),
    )


@pytest.mark.parametrize(
    ("read", "known"),
    [
        pytest.param([20.0, 21.0, 22.0], [20.0, 21.0, 22.0], id="ordinary"),
        pytest.param([20.0, 68.0, 69.8, 21.5], [20.0, None, None, 21.5], id="Fahrenheit for a while"),
        pytest.param(
            [20.0, 34.0, 68.0, 68.0, 20.0], [20.0, 34.0, None, None, 20.0], id="the change inside an interval"
        ),
        pytest.param([20.0, 44.0, 68.0, 44.0, 20.0], [20.0, None, None, None, 20.0], id="a change half way"),
        pytest.param([20.0, 190.0, 20.0], [20.0, None, 20.0], id="a spike"),
        pytest.param([20.0, 50.0, 50.0, 50.0, 50.0, 50.0], [20.0, None, None, None, 50.0, 50.0], id="another level"),
        pytest.param([20.0, 30.0, 40.0, 50.0, 60.0, 70.0], [20.0, 30.0, 40.0, 50.0, 60.0, 70.0], id="real heating"),
    ],
)
def test_temperatures(read, known):
    """Hand-computed."""
    assert rows_of(temperature_celsius=read)["temperature_celsius"].to_list() == known


def test_a_voltage_that_stands_still_under_current_is_unknown_from_the_half_hour_on():
    rows = rows_of(voltage_volt=[370.0] * 8, current_ampere=[10.0 + 0.1 * number for number in range(8)])
    assert rows["voltage_volt"].to_list() == [370.0] * 5 + [None] * 3
    assert rows["stands_still"].to_list() == [False] * 5 + [True] * 3


def test_a_voltage_that_stands_still_at_rest_is_a_battery_at_rest():
    rows = rows_of(voltage_volt=[370.0] * 8, current_ampere=[0.0] * 8)
    assert rows["voltage_volt"].null_count() == 0


def test_a_constant_current_is_no_fault_while_the_voltage_hardly_moves():
    rows = rows_of(voltage_volt=[370.0 + 0.01 * number for number in range(8)], current_ampere=[10.0] * 8)
    assert rows["current_ampere"].null_count() == 0
