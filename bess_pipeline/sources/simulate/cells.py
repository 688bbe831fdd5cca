"""Cells: open-circuit voltage from two electrodes, resistance, hysteresis, ageing; parameters from the literature."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bess_pipeline.arrays import Floats
from bess_pipeline.tables.electrodes import graphite_chen, graphite_safari

GAS_CONSTANT = 8.314462618  # J/(mol K)
POINTS = 1001


def iron_phosphate(y: Floats) -> Floats:
    """Open-circuit potential of lithium iron phosphate over its lithiation [V].

    References:
        Afshar et al., arXiv:1709.03970 (2017), after Prada et al., doi:10.1149/2.064209jes.
    """
    return 3.4077 - 0.020269 * y + 0.5 * np.exp(-150 * y) - 0.9 * np.exp(-30 * (1 - y))


def nickel_manganese_cobalt(y: Floats) -> Floats:
    """Open-circuit potential of NMC 811 over its lithiation [V].

    References:
        Chen et al., J. Electrochem. Soc. 167 (2020) 080534, doi:10.1149/1945-7111/ab9050.
    """
    return (
        -0.8090 * y
        + 4.4875
        - 0.0428 * np.tanh(18.5138 * (y - 0.5542))
        - 17.7326 * np.tanh(15.7890 * (y - 0.3117))
        + 17.5842 * np.tanh(15.9308 * (y - 0.3120))
    )


@dataclass(frozen=True)
class Cells:
    """A make of battery: its cells and how many of them.

    Attributes:
        capacity_ah: Rated capacity [Ah].
        in_series: Cells in series.
        nominal_volt: Nominal cell voltage [V].
        low_volt: Cell voltage at which discharging ends [V].
        high_volt: Cell voltage at which charging turns to constant voltage [V].
        ohm: Ohmic resistance of a cell at 25 °C when new [Ω].
        relaxing_ohm: Resistances of the fast and the slow relaxation, as shares of ``ohm``.
        relaxing_seconds: Their time constants [s].
        hysteresis_volt: Half the gap between the charged and the discharged branch [V].
        activation: Activation energy of the resistance [J/mol].
        anode: Lithiation of the anode when empty and when full.
        cathode: Lithiation of the cathode when empty and when full.
    """

    capacity_ah: float
    in_series: int
    nominal_volt: float
    low_volt: float
    high_volt: float
    ohm: float
    relaxing_ohm: tuple[float, float]
    relaxing_seconds: tuple[float, float]
    hysteresis_volt: float
    activation: float
    anode: tuple[float, float]
    cathode: tuple[float, float]
    is_lfp: bool

    def potentials(self) -> Floats:
        """Potentials of anode and cathode on an even grid of lithiation from 0 to 1 [V]: shape (2, POINTS)."""
        grid = np.linspace(0.0, 1.0, POINTS)
        if self.is_lfp:
            return np.stack([graphite_safari(grid), iron_phosphate(grid)])
        return np.stack([graphite_chen(grid), nickel_manganese_cobalt(np.clip(grid, 0.2, 1.0))])

    def ocv(self, soc: Floats, lithium_loss: float = 0.0) -> Floats:
        """Open-circuit voltage of a cell [V] over its state of charge [1], after a loss of lithium [1]."""
        anode, cathode = self.potentials()
        grid = np.linspace(0.0, 1.0, POINTS)
        left = 1.0 - lithium_loss
        x = self.anode[0] + soc * left * (self.anode[1] - self.anode[0])
        y = self.cathode[1] + (1.0 - soc) * left * (self.cathode[0] - self.cathode[1])
        volt: Floats = np.interp(y, grid, cathode) - np.interp(x, grid, anode)
        return volt


# Sizes are those of common products; stoichiometry of NMC after Chen et al. 2020, of LFP after Prada et al. 2012.
# Hysteresis of LFP: 8 to 10 mV half gap, Dreyer et al., Nature Materials 9 (2010) 448, doi:10.1038/nmat2730.
MAKES: dict[str, Cells] = {
    "LFP": Cells(
        280.0,
        240,
        3.2,
        2.5,
        3.6,
        0.00030,
        (0.35, 0.45),
        (20.0, 900.0),
        0.009,
        20000.0,
        (0.02, 0.80),
        (0.96, 0.005),
        is_lfp=True,
    ),
    "NMC": Cells(
        94.0,
        216,
        3.68,
        3.0,
        4.15,
        0.00085,
        (0.4, 0.4),
        (15.0, 600.0),
        0.0,
        24000.0,
        (0.03, 0.88),
        (0.9, 0.29),
        is_lfp=False,
    ),
}
