"""Open-circuit voltage of aged cells."""

import numpy as np
import polars as pl
import pytest

from bess_pipeline.analytics.ageing_ocv import LOSS_HIGH, LOSS_LOW, LOSS_POINTS, SOC_POINTS, ageing_curves
from bess_pipeline.sources.simulate.cells import MAKES
from bess_pipeline.tables.chemistry import CHEMISTRY
from bess_pipeline.tables.fleet import OcvPoint
from bess_pipeline_tests.analytics import made_cells

GRID = np.linspace(0, 1, SOC_POINTS)
LOSSES = np.linspace(LOSS_LOW, LOSS_HIGH, LOSS_POINTS)
NEW = int(np.argmin(np.abs(LOSSES)))


def shifted(chemistry, table=None):
    plates = made_cells.batteries("b", chemistry=chemistry)
    points = made_cells.curves(plates)
    if table is not None:
        points = pl.DataFrame(
            {"fleet_id": "f", "battery_id": "b", "soc_percent": np.linspace(0, 100, 101), "ocv_volt": table},
            schema=OcvPoint.create_empty().schema,
        )
    return ageing_curves(plates, points)


@pytest.mark.parametrize("chemistry", CHEMISTRY)
def test_a_new_cell_has_the_curve_that_was_given(chemistry):
    assert LOSSES[NEW] == pytest.approx(0, abs=1e-12)
    found = shifted(chemistry)
    soc, volt = np.array(CHEMISTRY[chemistry].ocv).T
    assert np.interp(soc / 100, GRID, found.volt[0, NEW]) == pytest.approx(volt, abs=0.004)
    assert np.abs(found.doubt[0, NEW]).max() < 1e-9


@pytest.mark.parametrize(("chemistry", "millivolt"), [("NMC", 3.0), ("LFP", 4.0)])
@pytest.mark.parametrize("loss", [0.02, 0.08, 0.16])
def test_the_curve_shifts_as_that_of_two_electrodes_does(chemistry, millivolt, loss):
    """Known truth: cells made of two published electrodes, of which only the curve when new is told."""
    cells = MAKES[chemistry]
    found = shifted(chemistry, cells.ocv(np.linspace(0, 1, 101)))
    row = int(np.argmin(np.abs(LOSSES - loss)))
    # The lower end is the cathode's in these cells: one doubt above the mean.
    told = found.volt[0, row] + found.doubt[0, row]
    inside = (GRID > 0.03) & (GRID < 0.97)
    error = 1000 * (told - cells.ocv(GRID, LOSSES[row]))[inside]
    unshifted = 1000 * (cells.ocv(GRID) - cells.ocv(GRID, LOSSES[row]))[inside]
    assert np.sqrt(np.mean(error**2)) < millivolt
    assert np.sqrt(np.mean(error**2)) < 0.5 * np.sqrt(np.mean(unshifted**2))


def test_lead_acid_does_not_shift():
    found = shifted("lead_acid").volt[0]
    assert np.ptp(found, axis=0).max() == 0


def test_batteries_with_the_same_curve_share_it():
    plates = made_cells.batteries("a", "b", "c")
    points = made_cells.curves(plates).with_columns(
        ocv_volt=pl.when(battery_id="c").then(pl.col("ocv_volt") + 0.01).otherwise("ocv_volt")
    )
    found = ageing_curves(plates, points)
    assert found.of_battery.tolist() == [0, 0, 1]
    assert found.volt.shape == (2, LOSS_POINTS, SOC_POINTS)


def test_a_battery_without_a_curve_gets_that_of_its_chemistry():
    plates = made_cells.batteries("b")
    none = made_cells.curves(plates).clear()
    assert ageing_curves(plates, none).volt == pytest.approx(ageing_curves(plates, made_cells.curves(plates)).volt)
