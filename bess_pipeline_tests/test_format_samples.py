"""Files of cyclers and interchange formats, each brought in with a fleet file of its own."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl
import pytest

from bess_pipeline.sources.files import Rows, UnreadableFile, read_rows, survey
from bess_pipeline.sources.register import read_register
from bess_pipeline.window import Window
from bess_pipeline_tests.format_samples import FLEETS, REFUSED, SAMPLES, source_of

pytestmark = pytest.mark.real_data

DAYS = {"first_day": date(2010, 1, 1), "today": date(2027, 1, 1)}
EVER = Window(date(2010, 1, 1), date(2027, 1, 2))

#: Fleet → rows, counted by hand as lines below the line of names, and rows without a usable time.
ROWS = {
    "bdf_basytec": (17860, 0),
    "bdf_neware": (17587, 0),
    "bdf_landt": (25162, 0),
    "bdf_time_bug": (13086, 0),
    "bdf_parquet": (5000, 0),
    "maccor": (4009, 0),
    "maccor_comma": (214, 1),  # the last line breaks off before its time
    "neware": (9065, 0),
    "pec": (489, 0),
    "arbin": (13, 0),
    "basytec": (74, 0),
    "biologic": (1397, 0),
    "maccor_csv": (15, 0),
    "novonix": (207, 0),
    "arbin_beep": (287, 0),
    "maccor_beep": (2165, 0),
    "argonne": (2021, 0),
    "arbin_batdata": (2142, 0),
}


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


#: Fleet → a row of its file, read by eye: number, instant, volt, ampere, degrees Celsius. Local times are those of the
#: zone in the fleet file, converted by hand.
SEEN = {
    "bdf_basytec": (
        7,
        at("2022-11-25 00:03:00.000082"),
        3.79767300543967,
        0.0,
        None,
    ),  # 648000.2964 / 3600 = 180.000082
    "bdf_neware": (7, at("2025-12-22 08:45:14.935000"), 3.3281322, 0.16498013305664064, None),
    "bdf_landt": (7, at("2024-04-30 00:01:45.020000"), 2.9211, 0.0, None),
    "bdf_time_bug": (7, at("2024-10-23 00:01:00"), 3.8133, 0.0, 26.4),
    "bdf_parquet": (1, at("2024-07-02 15:18:59.046000"), 0.241364, 0.0, None),  # as polars prints it
    "maccor": (521, at("2021-08-24 05:09:31"), 3.7405966, -0.8965438, None),
    "maccor_comma": (8, at("2021-05-06 09:30:46"), 0.1425, 0.0, None),  # a blank line follows the names
    "neware": (7, at("2022-05-18 14:34:52"), 2.9197, 0.0, None),
    "pec": (7, at("2026-01-08 17:46:08"), 3.6825844, 0.0, 19.26),
    "arbin": (12, at("2024-09-20 07:37:05.772000"), 3.599601, 2.650138, 24.68785),
    "basytec": (7, at("2023-06-19 16:56:59.003947"), 3.52575489148741, 0.0, 25.47953),
    "biologic": (7, at("2024-05-13 10:19:52.302000"), 3.5180154, 0.0, 22.311991),
    "maccor_csv": (12, at("2023-11-23 15:56:22"), 3.713, 28.799, 22.2591),
    "novonix": (7, at("2025-07-19 14:31:39"), 3.8727917, 0.4999933, 24.66),
    "arbin_beep": (7, at("2017-05-10 00:47:38.100400"), 3.3589396476745605, 6.600498199462891, 25.193971633911133),
    "maccor_beep": (7, at("2019-11-03 06:32:21"), 4.10009918, 4.2339208057, None),
    "argonne": (7, at("2020-01-02 10:37:23.860000"), 3.27176318, 0.0, 29.7005),  # Datenum_d says 10:37:24
    "arbin_batdata": (7, at("2017-07-02 14:39:43.331400"), 3.3896642, 1.1000347, 29.071737),
}

#: Fleets whose cells rest throughout.
RESTING = {"maccor_comma", "pec"}


@pytest.fixture
def samples(shared_data) -> Path:
    return shared_data / "format_samples"


@pytest.fixture
def read(samples):
    """The rows of a fleet's file."""

    def rows_of(fleet_id: str) -> Rows:
        (path,) = samples.glob(f"*/{source_of(fleet_id).files}")
        return read_rows(path, source_of(fleet_id), EVER, **DAYS)

    return rows_of


def test_every_file_has_a_fleet_or_is_refused(samples):
    files = (path for path in samples.rglob("*") if path.is_file() and path.name != "README.md")
    assert {path.relative_to(samples).as_posix() for path in files} == SAMPLES.keys() | REFUSED.keys()
    register = read_register(FLEETS)
    assert register.fleets.keys() == set(SAMPLES.values())
    assert register.mistakes == {}


@pytest.mark.parametrize(("name", "fleet_id"), SAMPLES.items(), ids=SAMPLES.values())
def test_each_file_is_read_and_every_row_accounted_for(samples, name, fleet_id):
    source = source_of(fleet_id)
    found = survey(samples / name, source, **DAYS)
    assert (found.rows, found.rows_without_day) == ROWS[fleet_id]
    assert found.missing_columns == ()
    read = read_rows(samples / name, source, EVER, **DAYS)
    without = read_rows(samples / name, source, None, **DAYS).rejected
    assert read.rows.height + read.rejected.height + without.height == found.rows


@pytest.mark.parametrize("fleet_id", SEEN)
def test_values_are_those_that_a_person_reads(read, fleet_id):
    number, instant, volt, ampere, celsius = SEEN[fleet_id]
    found = read(fleet_id).rows.row(by_predicate=pl.col("row_number") == number, named=True)
    assert found["timestamp"] == instant
    assert found["voltage_volt"] == pytest.approx(volt, rel=1e-5 if fleet_id == "bdf_parquet" else 1e-9)
    assert found["current_ampere"] == pytest.approx(ampere, rel=1e-9)
    assert found["temperature_celsius"] == (None if celsius is None else pytest.approx(celsius, rel=1e-9))


@pytest.mark.parametrize("fleet_id", sorted(set(SAMPLES.values()) - RESTING))
def test_a_positive_current_charges(read, fleet_id):
    """Physics: the voltage rises from sample to sample under a positive current, and falls under a negative one."""
    rows = read(fleet_id).rows.sort("row_number").with_columns(rise=pl.col("voltage_volt").diff())
    steady = rows.filter((pl.col("current_ampere") / pl.col("current_ampere").shift() - 1).abs() < 0.02)
    into, out = (steady.filter(pl.col("current_ampere") * sign > 1e-6)["rise"] for sign in (1, -1))
    assert len(into) + len(out) > 0
    assert into.is_empty() or into.mean() > 0
    assert out.is_empty() or out.mean() < 0


@pytest.mark.parametrize("fleet_id", sorted(RESTING))
def test_a_cell_at_rest_has_next_to_no_current(read, fleet_id):
    assert read(fleet_id).rows["current_ampere"].abs().max() < 1e-5


def test_the_published_time_resets_are_found(samples):
    """The file's authors name 19 places at which its time starts anew, among them these."""
    (name,) = (name for name, fleet_id in SAMPLES.items() if fleet_id == "bdf_time_bug")
    found = survey(samples / name, source_of("bdf_time_bug"), **DAYS)
    assert found.times_backwards == 19
    assert {722, 1465, 1647, 5660, 5843} <= set(found.runs["first_row"])


def test_a_clock_that_counts_too_fast_is_slowed_to_what_the_charge_says(read):
    """Known: 0.33 mA take 19 h between the limits, as a test at C/20 does; by the published seconds it were 23 Ah."""
    rows = read("bdf_basytec").rows.sort("timestamp")
    hours = pl.col("timestamp").diff().dt.total_microseconds() / 3.6e9
    charge = rows.select((pl.col("current_ampere") * hours).cum_sum()).to_series()
    assert charge.max() - charge.min() == pytest.approx(0.00033 * 19, rel=0.01)


def test_the_relative_clock_tells_what_the_date_has_lost(samples, read):
    """The dates are cut to seconds: of 2,142 rows 576 dates stand more than once; the clock begins with them."""
    rows = read("arbin_batdata").rows.sort("row_number")
    (path,) = samples.glob("*/arbin_example.csv")
    dates = pl.read_csv(path)["DateTime"]
    assert rows["timestamp"].is_unique().all()
    assert (rows["timestamp"].dt.epoch("s") == dates).all()


@pytest.mark.parametrize("name", REFUSED)
def test_a_file_that_is_no_telemetry_is_refused_with_the_reason(samples, name):
    fleet_id, message = REFUSED[name]
    with pytest.raises(UnreadableFile, match=message):
        survey(samples / name, source_of(fleet_id), **DAYS)
