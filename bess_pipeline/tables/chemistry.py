"""What the chemistry of a cell implies: its voltages, and its open-circuit voltage curve when the fleet brings none."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Chemistry:
    """A family of cells.

    The curves stand in for a measured one: cells of one family differ by 10 to 30 mV,
    so a fleet that knows its own curve should bring it.

    Attributes:
        name: One of `bess_pipeline.tables.fleet.CHEMISTRIES`.
        nominal_cell_volt: Rated energy over rated capacity of one cell [V].
        cell_voltage_low_volt: Lowest cell voltage in operation, where the fleet states none [V].
        cell_voltage_high_volt: Highest cell voltage in operation, where the fleet states none [V].
        plausible_cell_volt: Outside of these two a reading cannot be that of a cell, not even of an abused one [V].
        ocv: Points (state of charge [%], open-circuit voltage [V]) of one cell at 25 °C, rising in both.

    Examples:
        >>> lfp = CHEMISTRY["LFP"]
        >>> lfp.cell_voltage_low_volt < lfp.nominal_cell_volt < lfp.cell_voltage_high_volt
        True
    """

    name: str
    nominal_cell_volt: float
    cell_voltage_low_volt: float
    cell_voltage_high_volt: float
    plausible_cell_volt: tuple[float, float]
    ocv: tuple[tuple[float, float], ...]


# Graphite/LFP, 1.2 Ah, mean of the measured charge and discharge branches: data released with
# LFP-SOC-Estimation-Fisher-Information-Fusion (MIT licence).
_LFP = (
    (0.0, 2.3806),
    (1.0, 2.8092),
    (2.0, 2.9226),
    (3.0, 2.9959),
    (4.0, 3.0507),
    (5.0, 3.0945),
    (6.0, 3.1309),
    (8.0, 3.1856),
    (10.0, 3.2032),
    (12.0, 3.2080),
    (15.0, 3.2151),
    (20.0, 3.2401),
    (25.0, 3.2602),
    (30.0, 3.2757),
    (35.0, 3.2865),
    (40.0, 3.2943),
    (45.0, 3.2969),
    (50.0, 3.2982),
    (55.0, 3.2998),
    (60.0, 3.3017),
    (65.0, 3.3046),
    (70.0, 3.3110),
    (75.0, 3.3271),
    (80.0, 3.3356),
    (85.0, 3.3374),
    (90.0, 3.3393),
    (94.0, 3.3416),
    (96.0, 3.3444),
    (98.0, 3.3576),
    (99.0, 3.3969),
    (100.0, 3.5760),
)
# Graphite-SiOx/NMC811, difference of the half-cell potentials: C.-H. Chen et al. (2020), doi:10.1149/1945-7111/ab9050.
_NMC = (
    (0.0, 2.4977),
    (1.0, 2.6953),
    (2.0, 2.8374),
    (3.0, 2.9403),
    (4.0, 3.0159),
    (5.0, 3.0728),
    (6.0, 3.1175),
    (8.0, 3.1892),
    (10.0, 3.2577),
    (12.0, 3.3255),
    (15.0, 3.3961),
    (20.0, 3.4493),
    (25.0, 3.4942),
    (30.0, 3.5483),
    (35.0, 3.5971),
    (40.0, 3.6343),
    (45.0, 3.6682),
    (50.0, 3.7078),
    (55.0, 3.7573),
    (60.0, 3.8089),
    (65.0, 3.8621),
    (70.0, 3.9236),
    (75.0, 3.9713),
    (80.0, 4.0215),
    (85.0, 4.0700),
    (90.0, 4.0941),
    (94.0, 4.1080),
    (96.0, 4.1264),
    (98.0, 4.1555),
    (99.0, 4.1734),
    (100.0, 4.1929),
)
# Graphite/NCA, difference of the half-cell potentials: G.-H. Kim et al. (2011), doi:10.1149/1.3597614,
# positive stoichiometry 0.93 to 0.343, negative 0.02 to 0.85.
_NCA = (
    (0.0, 2.8324),
    (1.0, 3.0037),
    (2.0, 3.1034),
    (3.0, 3.1632),
    (4.0, 3.2007),
    (5.0, 3.2257),
    (6.0, 3.2436),
    (8.0, 3.2682),
    (10.0, 3.2866),
    (12.0, 3.3071),
    (15.0, 3.3456),
    (20.0, 3.4072),
    (25.0, 3.4698),
    (30.0, 3.5331),
    (35.0, 3.5926),
    (40.0, 3.6429),
    (45.0, 3.6845),
    (50.0, 3.7225),
    (55.0, 3.7647),
    (60.0, 3.8191),
    (65.0, 3.8661),
    (70.0, 3.9089),
    (75.0, 3.9521),
    (80.0, 3.9962),
    (85.0, 4.0411),
    (90.0, 4.0882),
    (94.0, 4.1289),
    (96.0, 4.1509),
    (98.0, 4.1745),
    (99.0, 4.1870),
    (100.0, 4.2000),
)
# LCO potential: M. Doyle, Dualfoil, as in S. G. Marquis et al. (2019), doi:10.1149/2.0341915jes, against the graphite
# of Chen et al. (2020), windows set so that the ends are 3.0 and 4.2 V.
_LCO = (
    (0.0, 3.0000),
    (1.0, 3.2233),
    (2.0, 3.3704),
    (3.0, 3.4679),
    (4.0, 3.5342),
    (5.0, 3.5805),
    (6.0, 3.6132),
    (8.0, 3.6529),
    (10.0, 3.6726),
    (12.0, 3.6829),
    (15.0, 3.6923),
    (20.0, 3.7080),
    (25.0, 3.7310),
    (30.0, 3.7552),
    (35.0, 3.7729),
    (40.0, 3.7848),
    (45.0, 3.7953),
    (50.0, 3.8079),
    (55.0, 3.8248),
    (60.0, 3.8475),
    (65.0, 3.8769),
    (70.0, 3.9146),
    (75.0, 3.9581),
    (80.0, 4.0187),
    (85.0, 4.0848),
    (90.0, 4.1380),
    (94.0, 4.1584),
    (96.0, 4.1714),
    (98.0, 4.1855),
    (99.0, 4.1927),
    (100.0, 4.2000),
)
# NMC potential of Chen et al. (2020) against the two-phase plateau of lithium titanate at 1.55 V:
# T. Ohzuku et al. (1995), doi:10.1149/1.2048592.
_LTO = (
    (0.0, 1.9060),
    (1.0, 1.9559),
    (2.0, 1.9866),
    (3.0, 2.0062),
    (4.0, 2.0195),
    (5.0, 2.0291),
    (6.0, 2.0367),
    (8.0, 2.0489),
    (10.0, 2.0594),
    (12.0, 2.0694),
    (15.0, 2.0840),
    (20.0, 2.1082),
    (25.0, 2.1325),
    (30.0, 2.1568),
    (35.0, 2.1813),
    (40.0, 2.2063),
    (45.0, 2.2329),
    (50.0, 2.2636),
    (55.0, 2.3025),
    (60.0, 2.3497),
    (65.0, 2.3960),
    (70.0, 2.4349),
    (75.0, 2.4706),
    (80.0, 2.5095),
    (85.0, 2.5551),
    (90.0, 2.6023),
    (94.0, 2.6282),
    (96.0, 2.6347),
    (98.0, 2.6390),
    (99.0, 2.6416),
    (100.0, 2.6453),
)
# Open-circuit voltage [V] = acid density [g/cm³] + 0.84, density 1.10 to 1.28: D. Berndt (2003),
# Maintenance-Free Batteries.
_LEAD_ACID = ((0.0, 1.94), (100.0, 2.12))

#: Every chemistry the fleet register knows. Operating limits: common data-sheet limits of the family.
CHEMISTRY: dict[str, Chemistry] = {
    chemistry.name: chemistry
    for chemistry in (
        Chemistry("LFP", 3.2, 2.5, 3.65, (1.0, 4.5), _LFP),
        Chemistry("NMC", 3.65, 2.7, 4.2, (1.0, 5.0), _NMC),
        Chemistry("NCA", 3.6, 2.7, 4.2, (1.0, 5.0), _NCA),
        Chemistry("LCO", 3.7, 2.8, 4.2, (1.0, 5.0), _LCO),
        Chemistry("LTO", 2.3, 1.5, 2.8, (0.5, 3.5), _LTO),
        Chemistry("lead_acid", 2.0, 1.75, 2.45, (1.0, 3.0), _LEAD_ACID),
    )
}
