"""Cells: open-circuit voltage from two electrodes, resistance, hysteresis, ageing; parameters from the literature."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bess_pipeline.sources.simulate.physics import CELLS, POINTS

Floats = npt.NDArray[np.float64]

# Spread of the cells of one string. Between new cells of a batch: capacity 0.2 to 0.3 %, impedance 0.7 to 3.8 %
# (Wildfeuer and Lienkamp, eTransportation 9 (2021) 100129, doi:10.1016/j.etran.2021.100129); in a string that has been
# stored, built and run, unevenly warm, assumed wider.
_CAPACITY_SPREAD = 0.005
_OHM_SPREAD = 0.025
_SOC_SPREAD = 0.004
_SELF_SPREAD = 0.35


def graphite_safari(x: Floats) -> Floats:
    """Open-circuit potential of graphite over its lithiation [V].

    References:
        Safari and Delacourt, J. Electrochem. Soc. 158 (2011) A562, doi:10.1149/1.3567007.
    """
    return (
        0.6379
        + 0.5416 * np.exp(-305.5309 * x)
        + 0.044 * np.tanh(-(x - 0.1958) / 0.1088)
        - 0.1978 * np.tanh((x - 1.0571) / 0.0854)
        - 0.6875 * np.tanh((x + 0.0117) / 0.0529)
        - 0.0175 * np.tanh((x - 0.5692) / 0.0875)
    )


def iron_phosphate(y: Floats) -> Floats:
    """Open-circuit potential of lithium iron phosphate over its lithiation [V].

    References:
        Afshar et al., arXiv:1709.03970 (2017), after Prada et al., doi:10.1149/2.064209jes.
    """
    return 3.4077 - 0.020269 * y + 0.5 * np.exp(-150 * y) - 0.9 * np.exp(-30 * (1 - y))


def graphite_chen(x: Floats) -> Floats:
    """Open-circuit potential of graphite with silicon over its lithiation [V].

    References:
        Chen et al., J. Electrochem. Soc. 167 (2020) 080534, doi:10.1149/1945-7111/ab9050.
    """
    return (
        1.9793 * np.exp(-39.3631 * x)
        + 0.2482
        - 0.0909 * np.tanh(29.8538 * (x - 0.1234))
        - 0.04478 * np.tanh(14.9159 * (x - 0.2769))
        - 0.0205 * np.tanh(30.4444 * (x - 0.6103))
    )


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
        highest_c_rate: The most that is charged or discharged [1/h].
        cooling: Heat that the rack gives to its air [W/K].
        kilograms: Mass of a cell [kg].
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
    highest_c_rate: float
    cooling: float
    kilograms: float
    anode: tuple[float, float]
    cathode: tuple[float, float]
    is_lfp: bool

    @property
    def direct_ohm(self) -> float:
        """Resistance of a cell as a direct current of some seconds sees it, at 25 °C when new [Ω]."""
        return self.ohm * (1.0 + self.relaxing_ohm[0])

    def numbers(self) -> Floats:
        """The numbers of a make, as the kernel takes them."""
        specific_heat = 1000.0  # J/(kg K), of common cells
        return np.array(
            [
                self.capacity_ah, self.in_series, self.low_volt, self.high_volt, self.ohm, self.highest_c_rate,
                *self.relaxing_ohm, *self.relaxing_seconds, self.hysteresis_volt, self.activation, float(self.is_lfp),
                *self.anode, *self.cathode, self.cooling, self.kilograms * specific_heat * self.in_series,
                self.nominal_volt,
            ]
        )  # fmt: skip

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


def string_of_cells(cells: Cells, chance: np.random.Generator) -> Floats:
    """Draw the cells of a string, and keep those that show: the kernel's table of cells, shape (5, CELLS).

    The first is any cell, the one that falls ill if one does; then those of least and most
    capacity, charge and resistance; the last stands for the mean of all others. Each weighs
    what it is of the string.
    """
    drawn = np.stack(
        [
            chance.normal(1.02, 0.012) * (1.0 + _CAPACITY_SPREAD * chance.standard_normal(cells.in_series)),
            1.0 + _OHM_SPREAD * chance.standard_normal(cells.in_series),
            chance.uniform(0.45, 0.55) + _SOC_SPREAD * chance.standard_normal(cells.in_series),
            np.exp(_SELF_SPREAD * chance.standard_normal(cells.in_series)),
        ]
    )
    kept = [0]
    for row in (0, 2, 1):
        order = [int(cell) for cell in np.argsort(drawn[row])]
        kept.append(next(cell for cell in order if cell not in kept))
        kept.append(next(cell for cell in reversed(order) if cell not in kept))
    others = np.delete(drawn, kept, axis=1)
    table = np.empty((5, CELLS))
    table[:4, :-1] = drawn[:, kept]
    table[:4, -1] = others.mean(axis=1)
    table[4, :-1] = 1.0 / cells.in_series
    table[4, -1] = others.shape[1] / cells.in_series
    return table


# Sizes are those of common products; stoichiometry of NMC after Chen et al. 2020, of LFP after Prada et al. 2012,
# such that a full cell rests just below the voltage at which charging ends.
# Hysteresis of LFP: 8 to 10 mV half gap, Dreyer et al., Nature Materials 9 (2010) 448, doi:10.1038/nmat2730.
MAKES: dict[str, Cells] = {
    "LFP": Cells(
        capacity_ah=280.0,
        in_series=240,
        nominal_volt=3.2,
        low_volt=2.5,
        high_volt=3.6,
        ohm=0.00030,
        relaxing_ohm=(0.35, 0.45),
        relaxing_seconds=(20.0, 900.0),
        hysteresis_volt=0.009,
        activation=20000.0,
        highest_c_rate=0.5,
        cooling=220.0,
        kilograms=5.4,
        anode=(0.02, 0.80),
        cathode=(0.96, 0.005),
        is_lfp=True,
    ),
    "NMC": Cells(
        capacity_ah=94.0,
        in_series=216,
        nominal_volt=3.68,
        low_volt=3.0,
        high_volt=4.15,
        ohm=0.00085,
        relaxing_ohm=(0.4, 0.4),
        relaxing_seconds=(15.0, 600.0),
        hysteresis_volt=0.0,
        activation=24000.0,
        highest_c_rate=1.0,
        cooling=130.0,
        kilograms=2.1,
        anode=(0.03, 0.88),
        cathode=(0.9, 0.275),
        is_lfp=False,
    ),
}
