"""Expected values: definitions of the units (SI prefixes, 0 °C = 273.15 K, 32 °F = 0 °C)."""

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bess_pipeline.tables.telemetry import MEASUREMENTS
from bess_pipeline.units import accepted_units, conversion


@pytest.mark.parametrize(
    ("column", "unit", "value", "expected"),
    [
        ("voltage_volt", None, 1.5, 1.5),
        ("cell_voltage_min_volt", "mV", 3273.0, 3.273),
        ("current_ampere", "kA", 0.25, 250.0),
        ("current_ampere", "mA", -250.0, -0.25),
        ("current_ampere", "µA", 250.0, 0.00025),
        ("voltage_volt", "kV", 0.75, 750.0),
        ("voltage_volt", "uV", 3_273_000.0, 3.273),
        ("power_watt", "mW", 1500.0, 1.5),
        ("temperature_celsius", "K", 298.15, 25.0),
        ("power_watt", "kW", 1.25, 1250.0),
        ("power_watt", "MW", 0.5, 500_000.0),
        ("temperature_celsius", "degF", 212.0, 100.0),
        ("temperature_celsius", "°F", 32.0, 0.0),
        ("temperature_celsius", "K", 273.15, 0.0),
        ("soc_bms_percent", "fraction", 0.5, 50.0),
        ("soc_bms_percent", "permille", 505.0, 50.5),
    ],
)
def test_a_value_in_a_makers_unit_becomes_the_house_unit(column, unit, value, expected):
    affine = conversion(column, unit)
    assert affine.of(value) == expected
    assert pl.select(affine.expression(pl.lit(value))).item() == expected


@pytest.mark.parametrize("column", MEASUREMENTS)
def test_every_measurement_has_units_and_the_first_is_the_house_unit(column):
    first = next(iter(accepted_units(column).values()))
    assert (first.scale, first.offset) == (1.0, 0.0)


def test_a_unit_of_another_quantity_is_refused_with_the_accepted_ones():
    with pytest.raises(ValueError, match="unit 'mV' is not one of A, mA, uA, kA"):
        conversion("current_ampere", "mV")


def test_a_column_without_unit_is_refused():
    with pytest.raises(LookupError, match="status has no unit"):
        accepted_units("status")


@given(st.sampled_from(MEASUREMENTS), st.floats(-1e6, 1e6), st.data())
def test_scale_and_offset_say_the_same_as_the_conversion(column, value, data):
    affine = data.draw(st.sampled_from(list(accepted_units(column).values())))
    assert affine.of(value) == pytest.approx(value * affine.scale + affine.offset, rel=1e-9, abs=1e-6)
