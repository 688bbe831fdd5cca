"""What a chemistry implies."""

import numpy as np
import pytest

from bess_pipeline.tables.chemistry import CHEMISTRY
from bess_pipeline.tables.fleet import CHEMISTRIES


def test_every_chemistry_of_the_register_is_known_by_its_name():
    assert set(CHEMISTRY) == set(CHEMISTRIES)
    assert all(chemistry.name == name for name, chemistry in CHEMISTRY.items())


@pytest.mark.parametrize("chemistry", CHEMISTRY.values(), ids=lambda chemistry: chemistry.name)
class TestEachChemistry:
    def test_the_curve_rises_from_empty_to_full(self, chemistry):
        soc, volt = np.array(chemistry.ocv).T
        assert (soc[0], soc[-1]) == (0, 100)
        assert (np.diff(soc) > 0).all()
        assert (np.diff(volt) > 0).all()

    def test_limits_are_plausible_and_hold_the_nominal_voltage(self, chemistry):
        low, high = chemistry.plausible_cell_volt
        assert low < chemistry.cell_voltage_low_volt < chemistry.nominal_cell_volt < chemistry.cell_voltage_high_volt
        assert chemistry.cell_voltage_high_volt < high

    def test_the_nominal_voltage_is_that_of_the_middle_of_the_curve(self, chemistry):
        soc, volt = np.array(chemistry.ocv).T
        assert chemistry.nominal_cell_volt == pytest.approx(np.interp(50, soc, volt), rel=0.05)


@pytest.mark.parametrize(
    ("name", "soc", "volt"),
    [
        # Published: cut-off voltages of the LG M50, which the half-cell potentials are fitted to (Chen et al. 2020).
        ("NMC", 100, 4.2),
        ("NMC", 0, 2.5),
        # Published: acid of density 1.28 in a full cell (Berndt 2003).
        ("lead_acid", 100, 2.12),
    ],
)
def test_the_ends_of_the_curves_are_those_published(name, soc, volt):
    assert dict(CHEMISTRY[name].ocv)[soc] == pytest.approx(volt, abs=0.01)
