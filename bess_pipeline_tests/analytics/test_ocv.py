"""State of charge from voltages at rest."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bess_pipeline.analytics.ocv import ocv_table, rested_charge
from bess_pipeline.tables.chemistry import CHEMISTRY
from bess_pipeline_tests.analytics import made_cells

NAMES = list(CHEMISTRY)


def found(chemistry, volt, sigma_volt=0.005):
    plates = made_cells.batteries("b", chemistry=chemistry)
    volts = np.atleast_1d(np.asarray(volt, dtype=float))
    table = ocv_table(plates, made_cells.curves(plates))
    return rested_charge(volts, np.zeros(len(volts), np.int64), table, sigma_volt=np.full(len(volts), sigma_volt))


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(NAMES), st.floats(0, 100))
def test_reading_a_curve_backwards_gives_the_state_of_charge_it_was_read_at(chemistry, soc):
    assert found(chemistry, made_cells.ocv(soc, chemistry)).soc_percent.item() == pytest.approx(soc, abs=0.11)


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(NAMES), st.floats(0.5, 5), st.floats(0.001, 0.05))
def test_more_voltage_is_never_less_charge_and_more_error_never_less_doubt(chemistry, volt, step):
    pair = found(chemistry, [volt, volt + step])
    assert pair.soc_percent[1] >= pair.soc_percent[0]
    assert found(chemistry, volt, step * 2).sigma_percent.item() >= found(chemistry, volt, step).sigma_percent.item()


def test_the_plateau_of_lfp_says_almost_nothing_and_its_edge_says_so_too():
    plateau, edge, steep = found("LFP", [3.30, 3.345, 3.10], 0.012).sigma_percent
    assert plateau > 15
    assert edge > 5
    assert steep < 1


def test_voltages_beyond_the_curve_are_beyond_empty_and_full_and_not_clamped():
    below, above = found("NMC", [2.3, 4.3]).soc_percent
    assert below < 0
    assert above > 100


def test_an_unknown_voltage_is_an_unknown_charge():
    nothing = found("NMC", np.nan)
    assert np.isnan([nothing.soc_percent, nothing.slope_volt_per_percent, nothing.sigma_percent]).all()


def test_the_slope_is_that_between_the_points_of_the_curve():
    """Hand-computed: lead-acid rises by 0.18 V over 100 %."""
    assert found("lead_acid", 2.0).slope_volt_per_percent.item() == pytest.approx(0.0018)


def test_a_battery_without_a_curve_gets_that_of_its_chemistry_and_the_others_keep_their_own():
    plates = pl.concat([made_cells.batteries("a", chemistry="LFP"), made_cells.batteries("b")])
    table = ocv_table(plates, made_cells.curves(plates).filter(pl.col("battery_id") == "b"))
    assert table.volt[0, 500] == pytest.approx(made_cells.ocv(np.array(50.0), "LFP"))
    assert table.volt[1, 500] == pytest.approx(made_cells.ocv(np.array(50.0)))


def test_where_a_measured_curve_falls_it_is_held_level():
    plates = made_cells.batteries("b")
    points = pl.DataFrame(
        {
            "fleet_id": "f",
            "battery_id": "b",
            "soc_percent": [0.0, 50.0, 60.0, 100.0],
            "ocv_volt": [3.0, 3.5, 3.49, 4.0],
        }
    )
    assert (np.diff(ocv_table(plates, points).volt) >= 0).all()
