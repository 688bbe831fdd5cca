"""How the files of cyclers and interchange formats are brought in: one source section per file."""

from __future__ import annotations

from bess_pipeline.sources.source import Source

_TAB = "\t"
_ONE = {"value": "cell"}


def _csv(columns: dict[str, object], **more: object) -> Source:
    return Source.model_validate({"format": "csv", "columns": {"battery_id": _ONE, **columns}, **more})


def _since(column: str, origin: str = "2024-01-01", unit: str = "s") -> dict[str, str]:
    return {"from": column, "unit": unit, "origin": origin}


_BDF_TIME = {"columns": {"timestamp": _since("test_time_second")}}

#: File below format_samples → source section.
SAMPLES: dict[str, Source] = {
    "bdf/DLR__LiLNMOHydra0b__20221125__POCV__25degC__Basytec.bdf.csv": Source.model_validate(
        {"preset": "bdf", **_BDF_TIME}
    ),
    "bdf/SINTEF__G20M7-202512-Gru6mV__20251228__C30__25degC__Neware.bdf.csv": Source.model_validate({"preset": "bdf"}),
    "bdf/SINTEF__LiGrR2032__2024-04-30__25degC__Landt.bdf.csv": Source.model_validate({"preset": "bdf", **_BDF_TIME}),
    "bdf/SINTEF__SLPBA842124HV__2024-10-23__Rate_25degC__Neware__Time_Bug.bdf.csv": Source.model_validate(
        {"preset": "bdf", **_BDF_TIME}
    ),
    "bdf/legacy.bdf.parquet": Source.model_validate(
        {
            "preset": "bdf",
            "format": "parquet",
            "columns": {"timestamp": {"from": "date_time_millisecond", "unit": "ms"}},
        }
    ),
    "cellpy/maccor_three.txt": _csv(
        {
            "timestamp": {"from": "DPt Time", "format": "%m/%d/%Y %I:%M:%S %p"},
            "voltage_volt": {"from": "Volts", "unit": "mV"},
            "current_ampere": {"from": "mAmps", "unit": "mA"},
        },
        separator=_TAB,
        header="Rec#",
    ),
    "cellpy/maccor_two.txt": _csv(
        {
            "timestamp": {"from": "DPT Time", "format": "%d/%m/%Y %H:%M:%S"},
            "voltage_volt": "Voltage [V]",
            "current_ampere": {"from": "Current [A]", "discharge": {"from": "Md", "values": ["D"]}},
        },
        separator=_TAB,
        header="Rec",
        decimal_comma=True,
        timezone="Europe/Berlin",
    ),
    "cellpy/neware_uio.csv": _csv(
        {"timestamp": "Date", "voltage_volt": "Voltage(V)", "current_ampere": "Current(A)", "power_watt": "Power(W)"},
        timezone="Europe/Oslo",
    ),
    "cellpy/pec_Test25205.csv": _csv(
        {
            "timestamp": {"from": "Real Time", "format": "%m/%d/%Y %H:%M:%S.%f"},
            "battery_id": {"from": ["Rack", "Cell ID"]},
            "voltage_volt": "Voltage (V)",
            "current_ampere": "Current (A)",
        },
        header="Test,Cell,",
    ),
    "pyprobe/arbin.csv": _csv(
        {
            "timestamp": {"from": "Date Time", "format": "%m/%d/%Y %H:%M:%S.%f"},
            "voltage_volt": "Voltage (V)",
            "current_ampere": "Current (A)",
            "power_watt": "Power (W)",
        },
        timezone="Europe/London",
    ),
    "pyprobe/basytec.txt": _csv(
        {
            "timestamp": _since("~Time[s]", "2023-06-19T17:56:53"),
            "voltage_volt": "U[V]",
            "current_ampere": "I[A]",
            "temperature_celsius": "T1[\ufffdC]",
        },
        separator=_TAB,
        header="~Time[s]",
        timezone="Europe/London",
    ),
    "pyprobe/biologic_CA1.txt": _csv(
        {
            "timestamp": _since("time/s", "2024-05-13T11:19:51.602"),
            "voltage_volt": "Ecell/V",
            "current_ampere": {"from": "I/mA", "unit": "mA"},
        },
        separator=_TAB,
        header="Ns changes",
        timezone="Europe/London",
    ),
    "pyprobe/maccor.csv": _csv(
        {
            "timestamp": {"from": "DPT Time", "format": "%d-%b-%y %I:%M:%S %p"},
            "voltage_volt": "Voltage",
            "current_ampere": "Current",
            "temperature_celsius": "Temp 1",
        },
        header="Rec,",
        timezone="Europe/London",
    ),
    "pyprobe/novonix.csv": _csv(
        {"timestamp": "Date and Time", "voltage_volt": "Potential (V)", "current_ampere": "Current (A)"},
        header="Date and Time",
        timezone="Europe/London",
    ),
    "beep/arbin_2017-05-09_test-TC-contact_CH33.csv": _csv(
        {
            "timestamp": {"from": "DateTime", "unit": "s"},
            "voltage_volt": "Voltage",
            "current_ampere": "Current",
            "temperature_celsius": "Temperature",
        }
    ),
    "beep/maccor_PredictionDiagnostics_000109_tztest.010": _csv(
        {
            "timestamp": {"from": "DPt Time", "format": "%m/%d/%Y %H:%M:%S"},
            "voltage_volt": "Volts",
            "current_ampere": "Amps",
        },
        separator=_TAB,
        header="Rec#",
        timezone="America/Los_Angeles",
    ),
    "batdata/p492-13-raw.csv": _csv(
        {
            "timestamp": _since("Time_s", "2020-01-02"),
            "voltage_volt": "Voltage_V",
            "current_ampere": "Current_A",
            "power_watt": "Power_W",
            "temperature_celsius": "Cell_Temperature_C",
        }
    ),
    "batdata/arbin_example.csv": _csv(
        {
            "timestamp": {"from": "DateTime", "unit": "s"},
            "voltage_volt": "Voltage",
            "current_ampere": "Current",
            "temperature_celsius": "Temperature",
        }
    ),
}

#: File that is no telemetry → a source that would read it if it were, and what the refusal says.
REFUSED: dict[str, tuple[Source, str]] = {
    "beep/arbin_2017-05-09_test-TC-contact_CH33_Metadata.csv": (
        SAMPLES["beep/arbin_2017-05-09_test-TC-contact_CH33.csv"],
        "lacks DateTime, needed for timestamp",
    ),
    "batdata/p492-13-summary.csv": (SAMPLES["batdata/p492-13-raw.csv"], "lacks Voltage_V, Current_A, Power_W"),
    "bdf/filetype14-0.ndax": (Source.model_validate({"preset": "bdf"}), "lacks|damaged|several columns"),
    "cellpy/neware_IFE_BTS85.ndax": (Source.model_validate({"preset": "bdf"}), "lacks|damaged|several columns"),
    "cellpy/arbin_20160805_test001_45_cc_01.res": (SAMPLES["pyprobe/arbin.csv"], "lacks|damaged|several columns"),
}
