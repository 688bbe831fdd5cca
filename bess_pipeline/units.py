"""Makers' units turned into house units, and microseconds into hours and days."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

#: Microseconds of an hour, for rates and integrals; of a day, for whole numbers.
US_PER_HOUR = 3.6e9
US_PER_DAY = 86_400_000_000


@dataclass(frozen=True)
class Affine:
    """A conversion: house value = (value - zero) x numerator / denominator.

    Kept as a fraction, so that 3273 mV become the same number that ``3.273`` reads as.

    Attributes:
        zero: What the maker's scale shows at the house's zero.
        numerator: Factor to multiply by.
        denominator: Factor to divide by.

    Examples:
        >>> Affine(denominator=1000.0).of(3273.0)
        3.273
        >>> Affine(zero=32.0, numerator=5.0, denominator=9.0).of(212.0)
        100.0
    """

    zero: float = 0.0
    numerator: float = 1.0
    denominator: float = 1.0

    @property
    def scale(self) -> float:
        """House units per maker's unit."""
        return self.numerator / self.denominator

    @property
    def offset(self) -> float:
        """House value where the maker's scale shows zero."""
        return -self.zero * self.scale

    def of(self, value: float) -> float:
        """One value in house units."""
        return (value - self.zero) * self.numerator / self.denominator

    def expression(self, column: pl.Expr) -> pl.Expr:
        """A Polars column in house units; steps that change nothing are left out."""
        if self.zero != 0.0:
            column = column - self.zero
        if self.numerator != 1.0:
            column = column * self.numerator
        if self.denominator != 1.0:
            column = column / self.denominator
        return column


_SAME = Affine()
_THOUSANDTH = Affine(denominator=1e3)
_MILLIONTH = Affine(denominator=1e6)
_THOUSAND = Affine(numerator=1e3)
_MILLION = Affine(numerator=1e6)

#: Suffix of a house column → accepted units, the house unit first.
UNITS: dict[str, dict[str, Affine]] = {
    "_volt": {"V": _SAME, "mV": _THOUSANDTH, "uV": _MILLIONTH, "kV": _THOUSAND},
    "_ampere": {"A": _SAME, "mA": _THOUSANDTH, "uA": _MILLIONTH, "kA": _THOUSAND},
    "_watt": {"W": _SAME, "mW": _THOUSANDTH, "kW": _THOUSAND, "MW": _MILLION},
    "_celsius": {
        "degC": _SAME,
        "degF": Affine(zero=32.0, numerator=5.0, denominator=9.0),
        "K": Affine(zero=273.15),
    },
    "_percent": {"percent": _SAME, "fraction": Affine(numerator=1e2), "permille": Affine(denominator=10.0)},
    "_ah": {"Ah": _SAME, "mAh": _THOUSANDTH, "As": Affine(denominator=3600.0)},
    "_wh": {"Wh": _SAME, "kWh": _THOUSAND, "MWh": _MILLION, "J": Affine(denominator=3600.0)},
    "_ohm": {"ohm": _SAME, "mohm": _THOUSANDTH, "uohm": _MILLIONTH},
}

#: Other spellings of the same unit.
_SPELLINGS = {
    "°C": "degC", "°F": "degF", "%": "percent", "1": "fraction", "‰": "permille", "Ω": "ohm", "mΩ": "mohm",
    "µV": "uV", "µA": "uA", "μV": "uV", "μA": "uA",
}  # fmt: skip


def accepted_units(column: str) -> dict[str, Affine]:
    """The units that a house column may come in, the house unit first.

    Raises:
        LookupError: If the column's name ends in no unit.

    Examples:
        >>> list(accepted_units("cell_voltage_min_volt"))
        ['V', 'mV', 'uV', 'kV']
    """
    for suffix, units in UNITS.items():
        if column.endswith(suffix):
            return units
    raise LookupError(f"{column} has no unit in its name")


def conversion(column: str, unit: str | None) -> Affine:
    """How values of a unit become those of a house column; no unit means the house unit.

    Raises:
        LookupError: If the column's name ends in no unit.
        ValueError: If the unit is none that the column may come in.

    Examples:
        >>> conversion("soc_bms_percent", "fraction").of(0.5)
        50.0
        >>> conversion("power_watt", "hp")
        Traceback (most recent call last):
        ...
        ValueError: unit 'hp' is not one of W, mW, kW, MW
    """
    units = accepted_units(column)
    if unit is None:
        return _SAME
    spelled = _SPELLINGS.get(unit, unit)
    if spelled not in units:
        raise ValueError(f"unit {unit!r} is not one of {', '.join(units)}")
    return units[spelled]
