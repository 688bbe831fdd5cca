"""How the files of cyclers and interchange formats are brought in: a fleet file for each, in fleets/format_samples."""

from __future__ import annotations

from pathlib import Path

from bess_pipeline.sources.register import read_register
from bess_pipeline.sources.source import Source

#: The fleet files.
FLEETS = Path(__file__).parent / "fleets" / "format_samples"

#: File below format_samples → fleet.
SAMPLES = {
    "bdf/DLR__LiLNMOHydra0b__20221125__POCV__25degC__Basytec.bdf.csv": "bdf_basytec",
    "bdf/SINTEF__G20M7-202512-Gru6mV__20251228__C30__25degC__Neware.bdf.csv": "bdf_neware",
    "bdf/SINTEF__LiGrR2032__2024-04-30__25degC__Landt.bdf.csv": "bdf_landt",
    "bdf/SINTEF__SLPBA842124HV__2024-10-23__Rate_25degC__Neware__Time_Bug.bdf.csv": "bdf_time_bug",
    "bdf/legacy.bdf.parquet": "bdf_parquet",
    "cellpy/maccor_three.txt": "maccor",
    "cellpy/maccor_two.txt": "maccor_comma",
    "cellpy/neware_uio.csv": "neware",
    "cellpy/pec_Test25205.csv": "pec",
    "pyprobe/arbin.csv": "arbin",
    "pyprobe/basytec.txt": "basytec",
    "pyprobe/biologic_CA1.txt": "biologic",
    "pyprobe/maccor.csv": "maccor_csv",
    "pyprobe/novonix.csv": "novonix",
    "beep/arbin_2017-05-09_test-TC-contact_CH33.csv": "arbin_beep",
    "beep/maccor_PredictionDiagnostics_000109_tztest.010": "maccor_beep",
    "batdata/p492-13-raw.csv": "argonne",
    "batdata/arbin_example.csv": "arbin_batdata",
}

#: File that is no telemetry → a fleet that would read it if it were, and what the refusal says.
REFUSED = {
    "beep/arbin_2017-05-09_test-TC-contact_CH33_Metadata.csv": ("arbin_beep", "lacks DateTime, needed for timestamp"),
    "batdata/p492-13-summary.csv": ("argonne", "lacks Voltage_V, Current_A, Power_W, needed for voltage_volt"),
    "bdf/filetype14-0.ndax": ("bdf_neware", "lacks|damaged|several columns"),
    "cellpy/neware_IFE_BTS85.ndax": ("bdf_neware", "lacks|damaged|several columns"),
    "cellpy/arbin_20160805_test001_45_cc_01.res": ("arbin", "lacks|damaged|several columns"),
}


def source_of(fleet_id: str) -> Source:
    """How the file of a fleet is read."""
    return read_register(FLEETS).fleets[fleet_id].source
