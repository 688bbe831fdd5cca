"""Units from magnitudes: a cell of 3270 is one of 3270 mV, whatever its column is called."""

from __future__ import annotations

import polars as pl

from bess_pipeline.sources.draft.sample import Told
from bess_pipeline.units import accepted_units, conversion

#: House column → where the middle of its values may lie, in house units.
_MIDDLE: dict[str, tuple[float, float]] = {
    "voltage_volt": (0.01, 2500.0),
    "cell_voltage_min_volt": (0.8, 5.0),
    "cell_voltage_max_volt": (0.8, 5.0),
    "temperature_celsius": (-40.0, 110.0),
    "temperature_min_celsius": (-40.0, 110.0),
    "temperature_max_celsius": (-40.0, 110.0),
    "ambient_temperature_celsius": (-50.0, 80.0),
    "soc_bms_percent": (0.0, 105.0),
    "soh_bms_percent": (30.0, 120.0),
}
#: Units worth a thought where the name says none, the likeliest first.
_LIKELY = {
    "voltage_volt": ("V", "mV"),
    "cell_voltage_min_volt": ("V", "mV"),
    "cell_voltage_max_volt": ("V", "mV"),
    "temperature": ("degC", "K"),
}
_WARM_CELSIUS = 55.0
_FEW = 20
#: A few values may be this far beyond [°C].
_WILD = 100.0


def fitting_unit(house: str, values: pl.Series, unit: str | None) -> Told | None:
    """The unit in which values make sense as a house column; nothing where none does.

    Args:
        house: The house column.
        values: Numbers of the file.
        unit: The unit that the column's name states.

    Examples:
        >>> fitting_unit("cell_voltage_min_volt", pl.Series([3270.0, 3280.0]), None).value
        'mV'
        >>> fitting_unit("soc_bms_percent", pl.Series([0.2, 0.9]), None).value
        'fraction'
        >>> fitting_unit("cell_voltage_min_volt", pl.Series([780.0]), "V") is None
        True
    """
    if house.endswith("_percent"):
        return _share(house, values, unit)
    stated = unit if unit in accepted_units(house) else None
    middle = quantile(values.filter(values != 0) if house.endswith("_volt") else values, 0.5)
    if middle is None:
        return None
    house_unit = next(iter(accepted_units(house)))
    if house not in _MIDDLE:
        return Told(stated, "") if stated else Told(house_unit, f"no unit in the name, taken as {house_unit}", "likely")
    fits = [other for other in _worth(house, stated) if _is_within(house, values, middle, other)]
    return _fitted(house_unit, fits[0], stated, middle) if fits else None


def quantile(values: pl.Series, share: float) -> float | None:
    """A quantile as a float; nothing where no value is known.

    Examples:
        >>> quantile(pl.Series([1, 2, 4]), 0.5)
        2.0
    """
    found = values.drop_nulls().cast(pl.Float64).quantile(share)
    return None if found is None else float(found)


def _fitted(house_unit: str, fit: str, stated: str | None, middle: float) -> Told:
    """The unit that fits, with the reason and how sure that makes it."""
    warm = fit == "degC" and middle > _WARM_CELSIUS
    if stated is not None and stated != fit:
        return Told(fit, f"the name says {stated}, the values are those of {fit}", "likely")
    if warm:
        return Told(fit, "°F, or an offset? that is warm", "guess")
    if stated is not None:
        return Told(fit, "")
    return Told(fit, "" if fit == house_unit else f"unit {fit} from the magnitude", "likely")


def _worth(house: str, stated: str | None) -> list[str]:
    key = "temperature" if "temperature" in house else house
    return list(dict.fromkeys(([stated] if stated else []) + list(_LIKELY.get(key, ()))))


def _is_within(house: str, values: pl.Series, middle: float, unit: str) -> bool:
    low, high = _MIDDLE[house]
    change = conversion(house, unit)
    if house.endswith("_volt"):
        return low <= abs(change.of(middle)) <= high
    top = quantile(values, 0.99)
    return low <= change.of(middle) <= high and (top is None or change.of(top) <= high + _WILD)


def _share(house: str, values: pl.Series, unit: str | None) -> Told | None:
    """Percent, fraction or per mille, by the highest values; what the name says holds unless they contradict."""
    low, high = quantile(values, 0.01), quantile(values, 0.99)
    if low is None or high is None or low < -5:
        return None
    for name, top in (("fraction", 1.05), ("percent", 150.0), ("permille", 1100.0)):
        if high <= top * (1.1 if house.startswith("soh") else 1):
            fits = name
            break
    else:
        return None
    if unit in {"percent", "fraction", "permille"} and unit != fits:
        sparse = fits == "fraction" and values.n_unique() < _FEW
        if sparse:
            return Told(unit, "the name says so", "likely")
        return Told(fits, f"the name says {unit}, the values are those of a {fits}", "likely")
    if unit == fits:
        return Told(fits, "")
    return Told(fits, f"{fits}, for the highest value is {high:.4g}", "sure" if fits == "percent" else "likely")
