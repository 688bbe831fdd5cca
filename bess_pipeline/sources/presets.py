"""Built-in maps of formats that many sites deliver: what a fleet file would say of them."""

from __future__ import annotations

from typing import Any, Literal

Preset = Literal["bdf", "sunspec", "openems"]

_BDF_PATH = r"(?P<battery_id>[^/]+?)(\.bdf|\.csv|\.parquet)+(\.gz|\.zst)?$"

#: What SunSpec's models write for a point that is not there, by the type of the point; some who poll read no signs.
_NO_UINT16 = [65535]
_NO_INT16 = [-32768, 32768]


def _either(machine: str, *labels: str, **more: str) -> dict[str, Any]:
    """A column of the Battery Data Format under its machine-readable name or its label."""
    return {"from": machine, "or": list(labels), **more}


def _point(name: str, factor: str, **more: str) -> dict[str, Any]:
    """A point of a SunSpec model with the point that holds its power of ten."""
    return {"from": name, "scale_factor": factor, "sentinels": _NO_UINT16, **more}


def _signed_point(name: str, factor: str, **more: str) -> dict[str, Any]:
    """A point that may be negative."""
    return {**_point(name, factor, **more), "sentinels": _NO_INT16}


#: Preset → what `source` says. The fleet file adds to it and overrides it, column by column.
#:
#: bdf: Battery Data Format (github.com/battery-data-alliance/battery-data-format): names and labels of its quantities;
#: positive current charges. One file per battery. A file without ``unix_time_second`` needs, in the fleet file,
#: ``timestamp: {from: test_time_second, unit: s, origin: …}``.
#:
#: sunspec: points of the models 802 (battery), 803 (lithium-ion bank) and 804 (lithium-ion string), polled into columns
#: of these names, powers of ten included (SunSpec Alliance, Energy Storage Information Models). The models do not say
#: which sign charges; storage inverters count what they deliver, so discharging is taken as positive. A maker who
#: does otherwise needs ``positive: charge``; the check of signs says so.
#:
#: openems: channels of a battery and its converter by their addresses (OpenEMS Edge, natures Battery and
#: SymmetricEss, whose power is "negative for charge, positive for discharge"); cell voltages in millivolts.
PRESETS: dict[Preset, dict[str, Any]] = {
    "bdf": {
        "format": "csv",
        "columns": {
            "timestamp": [
                _either("unix_time_second", "Unix Time / s", unit="s"),
                {"from": "date_time_millisecond", "unit": "ms"},
            ],
            "battery_id": {"path": _BDF_PATH},
            "voltage_volt": _either("voltage_volt", "Voltage / V"),
            "current_ampere": _either("current_ampere", "Current / A"),
            "power_watt": _either("power_watt", "Power / W"),
            "temperature_celsius": {
                "from": "temperature_t1_celsius",
                "or": ["Temperature T1 / degC", "surface_temperature_t1_celsius", "Surface Temperature T1 / degC"],
            },
            "ambient_temperature_celsius": _either("ambient_temperature_celsius", "Ambient Temperature / degC"),
        },
    },
    "sunspec": {
        "format": "csv",
        "columns": {
            "timestamp": {"from": "timestamp"},
            "battery_id": {"from": "battery_id"},
            "voltage_volt": _point("V", "V_SF"),
            "current_ampere": _signed_point("A", "A_SF", positive="discharge"),
            "power_watt": _signed_point("W", "W_SF", positive="discharge"),
            "cell_voltage_min_volt": _point("CellVMin", "CellV_SF"),
            "cell_voltage_max_volt": _point("CellVMax", "CellV_SF"),
            "temperature_celsius": _signed_point("ModTmpAvg", "ModTmp_SF"),
            "temperature_min_celsius": _signed_point("ModTmpMin", "ModTmp_SF"),
            "temperature_max_celsius": _signed_point("ModTmpMax", "ModTmp_SF"),
            "soc_bms_percent": _point("SoC", "SoC_SF"),
            "soh_bms_percent": _point("SoH", "SoH_SF"),
            "status": {"from": "State"},
        },
    },
    "openems": {
        "format": "csv",
        "columns": {
            "timestamp": {"from": "timestamp", "or": ["time", "_time", "Time"]},
            "battery_id": {"value": "battery0"},
            "voltage_volt": {"from": "battery0/Voltage"},
            "current_ampere": {"from": "battery0/Current", "positive": "discharge"},
            "power_watt": {"from": "ess0/DcDischargePower", "positive": "discharge"},
            "cell_voltage_min_volt": {"from": "battery0/MinCellVoltage", "unit": "mV"},
            "cell_voltage_max_volt": {"from": "battery0/MaxCellVoltage", "unit": "mV"},
            "temperature_min_celsius": {"from": "battery0/MinCellTemperature"},
            "temperature_max_celsius": {"from": "battery0/MaxCellTemperature"},
            "soc_bms_percent": {"from": "battery0/Soc", "or": ["ess0/Soc", "_sum/EssSoc"]},
            "soh_bms_percent": {"from": "battery0/Soh"},
            "power_ac_watt": {"from": "ess0/ActivePower", "positive": "discharge"},
        },
    },
}


def with_preset(given: dict[str, Any]) -> dict[str, Any]:
    """What a fleet file says of its source, with what its preset adds.

    Args:
        given: The ``source`` section. A column that it maps is mapped as it says; ``null`` takes it away.

    Raises:
        ValueError: If there is no such preset.

    Examples:
        >>> source = with_preset({"preset": "bdf", "columns": {"power_watt": None}})
        >>> source["format"], "power_watt" in source["columns"]
        ('csv', False)
    """
    name = given.get("preset")
    if name is None:
        return given
    if name not in PRESETS:
        raise ValueError(f"there is no preset {name!r}; there are {', '.join(PRESETS)}")
    built_in = PRESETS[name]
    columns = {**built_in["columns"], **(given.get("columns") or {})}
    return {**built_in, **given, "columns": {house: said for house, said in columns.items() if said is not None}}
