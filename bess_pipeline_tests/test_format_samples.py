"""Files of cyclers and interchange formats, each brought in with a column map."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl
import pytest

from bess_pipeline.sources.files import UnreadableFile, read_rows, survey
from bess_pipeline.window import Window
from bess_pipeline_tests.format_samples import REFUSED, SAMPLES

pytestmark = pytest.mark.real_data

DAYS = {"first_day": date(2010, 1, 1), "today": date(2027, 1, 1)}
EVER = Window(date(2010, 1, 1), date(2027, 1, 2))

#: File → rows, counted by hand as lines below the line of names, and rows without a usable time.
ROWS = {
    # The published seconds are 3600 times too many: most rows lie beyond the calendar, from any origin.
    "bdf/DLR__LiLNMOHydra0b__20221125__POCV__25degC__Basytec.bdf.csv": (17860, 13566),
    "bdf/SINTEF__G20M7-202512-Gru6mV__20251228__C30__25degC__Neware.bdf.csv": (17587, 0),
    "bdf/SINTEF__LiGrR2032__2024-04-30__25degC__Landt.bdf.csv": (25162, 0),
    "bdf/SINTEF__SLPBA842124HV__2024-10-23__Rate_25degC__Neware__Time_Bug.bdf.csv": (13086, 0),
    "bdf/legacy.bdf.parquet": (5000, 0),
    "cellpy/maccor_three.txt": (4009, 0),
    # The last line breaks off before its time.
    "cellpy/maccor_two.txt": (214, 1),
    "cellpy/neware_uio.csv": (9065, 0),
    "cellpy/pec_Test25205.csv": (489, 0),
    "pyprobe/arbin.csv": (13, 0),
    "pyprobe/basytec.txt": (74, 0),
    "pyprobe/biologic_CA1.txt": (1397, 0),
    "pyprobe/maccor.csv": (15, 0),
    "pyprobe/novonix.csv": (207, 0),
    "beep/arbin_2017-05-09_test-TC-contact_CH33.csv": (287, 0),
    "beep/maccor_PredictionDiagnostics_000109_tztest.010": (2165, 0),
    "batdata/p492-13-raw.csv": (2021, 0),
    "batdata/arbin_example.csv": (2142, 0),
}

#: A row of a file, read by eye: battery's number of the row, instant, volt, ampere.
SEEN = {
    "cellpy/maccor_three.txt": (0, datetime(2021, 8, 23, 18, 4, 18, tzinfo=UTC), 1.8538186, 0.0),
    "cellpy/maccor_two.txt": (1, datetime(2021, 5, 6, 9, 24, 46, tzinfo=UTC), 0.1385, 0.0),
    "cellpy/neware_uio.csv": (1, datetime(2022, 5, 18, 14, 28, 52, tzinfo=UTC), 2.9176, 0.0),
    "pyprobe/arbin.csv": (12, datetime(2024, 9, 20, 7, 37, 5, 772_000, tzinfo=UTC), 3.599601, 2.650138),
    "pyprobe/basytec.txt": (2, datetime(2023, 6, 19, 16, 56, 54, 2_823, tzinfo=UTC), 3.52575489148741, 0.0),
    "pyprobe/biologic_CA1.txt": (1, datetime(2024, 5, 13, 10, 19, 51, 702_000, tzinfo=UTC), 3.5180154, 0.0),
    "pyprobe/maccor.csv": (12, datetime(2023, 11, 23, 15, 56, 22, tzinfo=UTC), 3.713, 28.799),
    "beep/maccor_PredictionDiagnostics_000109_tztest.010": (
        0,
        datetime(2019, 11, 3, 6, 28, 51, tzinfo=UTC),
        4.10009918,
        6.9578850996,
    ),
    "batdata/arbin_example.csv": (1, datetime(2017, 7, 2, 14, 39, 18, tzinfo=UTC), 3.3750653, 1.0999289),
}


@pytest.fixture
def samples(shared_data) -> Path:
    return shared_data / "format_samples"


def rows_of(samples: Path, name: str) -> pl.DataFrame:
    return read_rows(samples / name, SAMPLES[name], EVER, **DAYS).rows


def test_every_file_has_a_map_or_is_refused(samples):
    files = (path for path in samples.rglob("*") if path.is_file() and path.name != "README.md")
    assert {path.relative_to(samples).as_posix() for path in files} == SAMPLES.keys() | REFUSED.keys()


@pytest.mark.parametrize("name", SAMPLES)
def test_each_file_is_read_and_every_row_accounted_for(samples, name):
    found = survey(samples / name, SAMPLES[name], **DAYS)
    assert (found.rows, found.rows_without_day) == ROWS[name]
    read = read_rows(samples / name, SAMPLES[name], EVER, **DAYS)
    without = read_rows(samples / name, SAMPLES[name], None, **DAYS).rejected
    assert read.rows.height + read.rejected.height + without.height == found.rows


@pytest.mark.parametrize("name", SEEN)
def test_values_are_those_that_a_person_reads(samples, name):
    row, at, volt, ampere = SEEN[name]
    found = rows_of(samples, name).sort("row_number").row(row, named=True)
    assert found["timestamp"] == at
    assert found["voltage_volt"] == pytest.approx(volt, rel=1e-9)
    assert found["current_ampere"] == pytest.approx(ampere, rel=1e-9)


@pytest.mark.parametrize(
    "name",
    [
        "bdf/SINTEF__G20M7-202512-Gru6mV__20251228__C30__25degC__Neware.bdf.csv",
        "cellpy/maccor_three.txt",
        "cellpy/neware_uio.csv",
        "beep/maccor_PredictionDiagnostics_000109_tztest.010",
        "batdata/arbin_example.csv",
    ],
)
def test_a_positive_current_charges(samples, name):
    """Physics: the voltage rises from sample to sample under a positive current, and falls under a negative one."""
    rows = rows_of(samples, name).sort("timestamp").with_columns(rise=pl.col("voltage_volt").diff())
    steady = rows.filter((pl.col("current_ampere") / pl.col("current_ampere").shift() - 1).abs() < 0.02)
    into, out = (steady.filter(pl.col("current_ampere") * sign > 0)["rise"] for sign in (1, -1))
    assert into.is_empty() or into.mean() > 0
    assert out.is_empty() or out.mean() < 0
    assert len(into) + len(out) > 50


def test_the_published_time_resets_are_found(samples):
    """The file's authors name 19 places at which its time starts anew."""
    name = "bdf/SINTEF__SLPBA842124HV__2024-10-23__Rate_25degC__Neware__Time_Bug.bdf.csv"
    assert survey(samples / name, SAMPLES[name], **DAYS).times_backwards == 19


@pytest.mark.parametrize("name", REFUSED)
def test_a_file_that_is_no_telemetry_is_refused_with_the_reason(samples, name):
    source, message = REFUSED[name]
    with pytest.raises(UnreadableFile, match=message):
        survey(samples / name, source, **DAYS)
