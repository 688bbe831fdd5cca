"""The parts of a draft: forms of text, times, units, signs and names, each by itself."""

import gzip
import io
import json
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
import yaml

from bess_pipeline.sources.draft import draft
from bess_pipeline.sources.draft.magnitudes import fitting_unit
from bess_pipeline.sources.draft.sign import sign
from bess_pipeline.sources.draft.times import time_guess
from bess_pipeline.sources.draft.vocabulary import name
from bess_pipeline.sources.draft.written import fleet_file
from bess_pipeline.sources.opening import UnreadableFile

START = datetime(2024, 3, 14, tzinfo=UTC)

# --- forms of text ---


def lines(*header, separator=";", comma=False, rows=60):
    """A small file: a clock, a voltage that follows a current."""
    written = [*header, separator.join(("Zeit", "Spannung [V]", "Strom [A]"))]
    for row in range(rows):
        current = (-1) ** (row // 5) * (10 + row % 3)
        numbers = [f"{700 + current / 10:.1f}", f"{current:.1f}"]
        told = [number.replace(".", ",") if comma else number for number in numbers]
        written.append(separator.join((f"13.02.2024 10:{row:02d}:00", *told)))
    return "\n".join(written) + "\n"


@pytest.mark.parametrize("encode", [gzip.compress, bytes], ids=["gzip without a suffix", "plain"])
def test_separator_comma_and_header_are_found_whatever_the_file_is_called(tmp_path, encode):
    text = lines("Anlage: Nord; Halle 2", "", comma=True)
    (tmp_path / "site.dat").write_bytes(encode(text.encode()))
    drafted = draft(tmp_path / "site.dat")
    assert drafted.source["format"].value == "csv"
    assert drafted.source["separator"].value == ";"
    assert drafted.source["decimal_comma"].value is True
    assert "1 lines above the header in line 3" in drafted.source["skip_lines"].why
    assert drafted.columns["current_ampere"]["positive"].value == "charge"


@pytest.mark.parametrize(("encoding", "told"), [("latin-1", "latin-1"), ("utf-16", "utf-16"), ("utf-8-sig", None)])
def test_encodings_are_named(tmp_path, encoding, told):
    text = lines().replace("Spannung", "Spannung Süd")
    (tmp_path / "site.csv").write_bytes(text.encode(encoding))
    drafted = draft(tmp_path / "site.csv")
    assert drafted.columns["voltage_volt"]["from"].value == "Spannung Süd [V]"
    assert ("encoding" in drafted.source) == (told is not None)
    if told:
        assert told in drafted.source["encoding"].why or drafted.source["encoding"].value == told


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"PK\x03\x04rest", "zip"),
        (b"\x00\x01\x02" * 50, "binary"),
        (b'[{"u": 1}, {"u": 2}]', "one JSON object to a line"),
        (b"dear all,\nplease find attached\n", "no separator"),
        (b"name,city\nAnna,Rome\n", "no "),
    ],
)
def test_what_is_no_telemetry_is_refused_with_the_reason(tmp_path, content, reason):
    (tmp_path / "file.csv").write_bytes(content)
    with pytest.raises(UnreadableFile, match=reason):
        draft(tmp_path / "file.csv")


# --- times, units and signs ---


@pytest.mark.parametrize(
    ("texts", "pattern"),
    [
        (["01.02.2023 00:00:00", "02.02.2023 00:00:01"], "%d.%m.%Y %H:%M:%S"),
        (["01/02/2023 10:00", "13/02/2023 10:00"], "%d/%m/%Y %H:%M"),
        (["01/02/2023 10:00", "01/13/2023 10:00"], "%m/%d/%Y %H:%M"),
        (["01/31/2023 23:59", "02/01/2023 00:00"], "%m/%d/%Y %H:%M"),
        (["01/02/2023 23:59", "01/03/2023 00:00"], "%m/%d/%Y %H:%M"),
        (["01/02/2023 10:00", "01/02/2023 10:01"], "TODO"),
        (["23-Nov-23 3:56:11 PM"], "%d-%b-%y %I:%M:%S %p"),
        (["2023-02-01 10:00:00.250"], None),
        (["2023-02-01T10:00:00+01:00"], None),
        (["20230201 10:00:00"], "%Y%m%d %H:%M:%S"),
    ],
)
def test_formats_of_times_are_told_by_their_values(texts, pattern):
    """Hand-written: day and month are told apart where a value rules one out, or the times would not run on."""
    guess = time_guess(pl.Series(texts), None)
    assert (guess.keys["format"].value if "format" in guess.keys else None) == pattern


@pytest.mark.parametrize(
    ("house", "values", "unit", "expected"),
    [
        ("voltage_volt", [48_000.0, 52_000.0], None, "mV"),
        ("voltage_volt", [780.0], None, "V"),
        ("voltage_volt", [3800.0], "V", "mV"),
        ("cell_voltage_max_volt", [3.4], "mV", "V"),
        ("temperature_celsius", [298.0, 300.0], None, "K"),
        ("temperature_celsius", [77.0, 80.0], "degF", "degF"),
        ("soc_bms_percent", [0.1, 0.99], None, "fraction"),
        ("soc_bms_percent", [10.0, 99.0], None, "percent"),
        ("soc_bms_percent", [100.0, 990.0], None, "permille"),
    ],
)
def test_units_follow_from_magnitudes(house, values, unit, expected):
    assert fitting_unit(house, pl.Series(values), unit).value == expected


def test_a_warm_battery_is_asked_about():
    told = fitting_unit("temperature_celsius", pl.Series([72.0, 75.0]), None)
    assert told.sure == "guess"
    assert "°F" in told.why


def stepping(factor, rows=400):
    current = np.where(np.arange(rows) // 7 % 2 == 0, 50.0, -50.0)
    volts = 700 + 0.05 * current
    at = np.arange(rows) * 60_000_000
    samples = pl.DataFrame({"battery_id": ["b"] * rows, "at": at, "voltage_volt": volts})
    return sign(pl.Series(factor * current), samples)


def test_the_sign_is_told_by_the_voltage_at_steps_with_its_figures():
    assert stepping(1).value == "charge"
    told = stepping(-1)
    assert (told.value, told.sure) == ("discharge", "sure")
    assert "voltage falls when it grows: rank correlation -1.00 over 57 steps" in told.why


def test_without_evidence_the_sign_is_left_to_a_person():
    still = pl.DataFrame({"battery_id": ["b"] * 50, "at": range(50), "voltage_volt": [700.0] * 50})
    assert sign(pl.Series([0.0] * 50), still).sure == "TODO"
    assert sign(pl.Series([5.0] * 50), still).sure == "TODO"


@pytest.mark.parametrize(
    ("text", "concepts"),
    [
        ("UZellMax_mV", {"voltage", "cell", "max"}),
        ("BMSProbeTempMin", {"battery", "probe", "temperature", "min"}),
        ("p_ac_set_kw", {"power", "ac", "set"}),
        ("Ah-Cyc-Charge", {"counter"}),
    ],
)
def test_names_are_cut_into_words(text, concepts):
    assert concepts in [set(reading) for reading in name(text).readings]


def test_a_draft_says_why_behind_each_line(tmp_path):
    (tmp_path / "nord.csv").write_text(lines(), encoding="utf-8")
    text = fleet_file(draft(tmp_path / "nord.csv"))
    body = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    silent = [line for line in body if "  # " not in line]
    assert silent == ["source:", "  columns:"]
    assert json.loads(json.dumps(yaml.safe_load(text)))["fleet_id"] == "nord"
    assert "drafted from all 60 rows of nord.csv" in text.lower()


def test_names_that_yaml_cannot_hold_do_not_break_the_draft(tmp_path):
    """Regression: found by fuzzing; a control character in the name of a column that is not mapped."""
    text = lines().replace("Zeit;", "Zeit;x\x05y;").replace(":00;", ":00;1;")
    (tmp_path / "nord.csv").write_text(text, encoding="utf-8")
    drafted = draft(tmp_path / "nord.csv")
    assert yaml.safe_load(fleet_file(drafted))["source"]["columns"]["voltage_volt"] == {"from": "Spannung [V]"}


def test_the_same_file_gives_the_same_draft(tmp_path):
    (tmp_path / "nord.csv").write_text(lines(), encoding="utf-8")
    assert len({fleet_file(draft(tmp_path / "nord.csv")) for _ in range(3)}) == 1


def test_parquet_in_a_stream_of_its_own_is_read(tmp_path):
    """A Parquet file compressed as a whole, as landing accepts it."""
    at = [START + timedelta(minutes=row) for row in range(50)]
    table = pl.DataFrame({"ts": at, "rack": "R1", "u": [700.0 + row % 5 for row in range(50)], "i": [5.0] * 50})
    stream = io.BytesIO()
    table.write_parquet(stream)
    (tmp_path / "day.parquet.gz").write_bytes(gzip.compress(stream.getvalue()))
    drafted = draft(tmp_path / "day.parquet.gz")
    assert drafted.source["files"].value == "**/*.parquet.gz"
    assert drafted.columns["timestamp"]["from"].value == "ts"
