import gzip
import json
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bess_pipeline.sources.files import REJECTED, SAMPLE, UnreadableFile, originals, read_rows, survey
from bess_pipeline.window import Window
from bess_pipeline_tests.sources.written_files import (
    ALL_DAYS,
    DAYS,
    NAMES,
    dialects,
    expected,
    put,
    put_samples,
    samples,
    source,
)

PROPERTY = settings(max_examples=40, deadline=None)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("landing")


def rows_of(path, said):
    return read_rows(path, said, ALL_DAYS, **DAYS)


def read(tmp_path, text, said=None, name="f.csv"):
    return rows_of(put(tmp_path / name, text), said or source())


# What is written reads back.


@given(samples, dialects)
@PROPERTY
def test_csv_of_any_dialect_reads_back_as_it_was(folder, rows, dialect):
    path = put_samples(folder / f"f.csv{dialect.suffix}", rows, "csv", dialect)
    back = rows_of(path, dialect.source)
    assert back.rows.schema == SAMPLE
    assert back.rows.select("row_number", *NAMES).equals(expected(rows))
    assert back.rejected.equals(REJECTED.to_frame())


@given(samples, st.sampled_from(["parquet", "ndjson"]), st.sampled_from(["", ".gz", ".zst"]))
@PROPERTY
def test_parquet_and_ndjson_read_back_as_they_were(folder, rows, kind, suffix):
    path = put_samples(folder / f"f.{kind}{suffix}", rows, kind)
    back = rows_of(path, source(kind))
    assert back.rows.select("row_number", *NAMES).equals(expected(rows))
    assert back.rejected.is_empty()


@given(samples, dialects)
@PROPERTY
def test_one_crooked_line_changes_no_other(folder, rows, dialect):
    """A tidy file is cut by Polars, one with a crooked line by us: what comes out is the same."""
    text = dialect.text(rows)
    tidy = rows_of(put(folder / "tidy.csv", text), dialect.source)
    crooked = rows_of(put(folder / "crooked.csv", f"{text}2024-01-01T00:00:00{dialect.line_end}"), dialect.source)
    assert crooked.rows.equals(tidy.rows)
    assert crooked.rejected["reason"].to_list() == ["ragged_row"]
    assert crooked.rejected["row_number"].to_list() == [len(rows)]


# Every row lands in one place.

FIELDS = {"timestamp": "2024-01-01T10:00:00Z", "battery_id": "b", "voltage_volt": "700", "current_ampere": "1.5"}
KINDS = {
    "sample": FIELDS,
    "unreadable_time": FIELDS | {"timestamp": "10 o'clock"},
    "outside_calendar": FIELDS | {"timestamp": "2019-12-31T23:59:59Z"},
    "no_battery": FIELDS | {"battery_id": "N/A"},
    "unreadable_value": FIELDS | {"current_ampere": "1.5A"},
}


@given(st.lists(st.sampled_from([*KINDS, "ragged_row"]), max_size=40), st.booleans())
@PROPERTY
def test_every_row_of_a_dirty_csv_is_a_sample_or_rejected_for_its_reason(folder, kinds, quoted):
    text = ",".join(FIELDS) + "\n"
    for place, kind in enumerate(kinds):
        fields = list(KINDS.get(kind, FIELDS).values())
        if kind == "ragged_row":
            fields = fields[: 2 + place % 2] if place % 4 < 2 else [*fields, "", "7"][: 5 + place % 2]
        text += ",".join(f'"{field}"' if quoted else field for field in fields) + "\n"
    _check_accounts(put(folder / "dirty.csv", text), source(), kinds)


@given(st.lists(st.sampled_from([*KINDS, "broken", "list", "nothing"]), max_size=40))
@PROPERTY
def test_every_line_of_a_dirty_ndjson_is_a_sample_or_rejected_for_its_reason(folder, kinds):
    broken = {"broken": '{"timestamp": "2024-01-01T1', "list": "[1, 2]", "nothing": "null"}
    lines = [broken.get(kind) or json.dumps(KINDS[kind]) for kind in ["sample", *kinds]]
    reasons = ["unreadable_time" if kind in broken else kind for kind in ["sample", *kinds]]
    _check_accounts(put(folder / "dirty.ndjson", "\n".join(lines)), source("ndjson"), reasons)


def _check_accounts(path, said, kinds):
    found = survey(path, said, **DAYS)
    of_days = rows_of(path, said)
    without = read_rows(path, said, None, **DAYS)
    assert without.rows.is_empty()
    came = dict.fromkeys(of_days.rows["row_number"], "sample")
    for rejected in (of_days.rejected, without.rejected):
        assert not came.keys() & set(rejected["row_number"])
        came |= dict(rejected.select("row_number", "reason").iter_rows())
    assert came == dict(enumerate(kinds))
    assert found.rows == len(kinds)
    assert found.rows_without_day == without.rejected.height
    assert found.days["rows"].sum() == of_days.rows.height + of_days.rejected.height
    counted = pl.concat([frame.select("date", "battery_id") for frame in (of_days.rows, of_days.rejected)])
    again = counted.with_columns(pl.col("battery_id").fill_null("")).group_by("date", "battery_id").len("rows")
    assert found.days.equals(again.sort("date", "battery_id").cast({"rows": pl.Int64}))


@pytest.mark.parametrize(
    ("line", "reason", "detail"),
    [
        ("soon,b,700,1.5,50", "unreadable_time", "timestamp=soon"),
        (",b,700,1.5,50", "unreadable_time", "timestamp="),
        ("2019-12-31T23:59:59,b,700,1.5,50", "outside_calendar", "timestamp=2019-12-31T23:59:59"),
        ("2024-06-02T00:00:00,b,700,1.5,50", "outside_calendar", "timestamp=2024-06-02T00:00:00"),
        ("2024-01-01T00:00:00,,700,1.5,50", "no_battery", "battery_id="),
        ("2024-01-01T00:00:00,b,x,y,50", "unreadable_value", "voltage_volt=x, current_ampere=y"),
        ("2024-01-01T00:00:00,b,inf,1,50", "unreadable_value", "voltage_volt=inf"),
        ("2024-01-01T00:00:00,b,700,1.5", "ragged_row", "4 fields, the header has 5"),
        ("2024-01-01T00:00:00,b,700,1.5,50,", "ragged_row", "6 fields, the header has 5"),
        ('2024-01-01T00:00:00,b,"700,1.5,50', "ragged_row", "5 fields, the header has 5"),
    ],
)
def test_a_rejected_row_says_why_and_how_it_came(tmp_path, line, reason, detail):
    path = put(tmp_path / "f.csv", f"{','.join(NAMES)}\n2024-01-01T00:00:00,b,700,1.5,50\n\n{line}\n")
    rejected = pl.concat([rows_of(path, source()).rejected, read_rows(path, source(), None, **DAYS).rejected])
    (row,) = rejected.to_dicts()
    assert (row["row_number"], row["reason"], row["detail"]) == (2, reason, detail)
    assert row["date"] == (None if reason in ("unreadable_time", "outside_calendar") else date(2024, 1, 1))
    assert list(json.loads(row["original"]).values()) == line.split(",")
    assert originals(path, source(), pl.Series([2])).rows() == [(2, row["original"])]


def test_rows_of_other_days_stay_out(tmp_path):
    text = "timestamp,battery_id,power_watt\n" + "".join(f"2024-01-0{day}T12:00:00,b,{day}\n" for day in range(1, 6))
    path = put(tmp_path / "f.csv", text)
    found = read_rows(path, source(), Window(date(2024, 1, 2), date(2024, 1, 4)), **DAYS)
    assert found.rows["power_watt"].to_list() == [2.0, 3.0]
    assert found.rows["row_number"].to_list() == [1, 2]
    later = read_rows(path, source(), Window(date(2024, 6, 2), date(2024, 6, 9)), **DAYS)
    assert later.rows.is_empty()
    assert later.rejected.is_empty()


# What the fleet file says is done.


def test_a_german_csv_is_read_in_house_names_units_and_signs(tmp_path):
    """Expected values: by hand."""
    said = source(
        separator=";",
        decimal_comma=True,
        timezone="Europe/Berlin",
        columns={
            "timestamp": {"from": "Zeitstempel", "format": "%d.%m.%Y %H:%M:%S"},
            "battery_id": {"from": ["Rack", "Lauf"]},
            "current_ampere": {"from": "Strom_A", "positive": "discharge"},
            "voltage_volt": {"from": "Spannung_V"},
            "cell_voltage_min_volt": {"from": "umin_mv", "unit": "mV"},
            "temperature_celsius": {"from": "Temp_°F", "unit": "degF"},
            "soc_bms_percent": {"from": "soc", "unit": "fraction"},
            "soh_bms_percent": "soh",
            "status": "Zustand",
        },
    )
    text = (
        "Zeitstempel;Rack;Lauf;Strom_A;Spannung_V;umin_mv;Temp_°F;soc;Zustand;Bemerkung\n"
        "01.06.2023 14:00:00;R1;2;12,5;795,2;3273;212;0,5;läuft;-\n"
        "01.06.2023 14:00:01;R1;2;0;1.795,2;3273;212;0,5;läuft;-\n"
    )
    for encoding in ("utf-8", "latin-1"):
        path = put(tmp_path / "f.csv", text.encode(encoding))
        found = rows_of(path, said)
        (row,) = found.rows.drop([c for c in SAMPLE if found.rows[c].null_count() == 1]).to_dicts()
        assert row == {
            "row_number": 0,
            "battery_id": "R1/2",
            "timestamp": datetime(2023, 6, 1, 12, tzinfo=UTC),
            "date": date(2023, 6, 1),
            "voltage_volt": 795.2,
            "current_ampere": -12.5,
            "temperature_celsius": 100.0,
            "cell_voltage_min_volt": 3.273,
            "soc_bms_percent": 50.0,
            "status": "läuft",
            "clock_shift_us": 0,
        }
        assert found.rejected["detail"].to_list() == ["Spannung_V=1.795,2"]
        looked = survey(path, said, **DAYS)
        assert looked.unmapped_columns == ("Bemerkung",)
        assert looked.missing_columns == ("soh",)


def test_one_value_names_the_battery_of_all_rows(tmp_path):
    text = "timestamp,power_watt\n2024-01-01T00:00:00Z,5\n"
    found = read(tmp_path, text, source(columns={"battery_id": {"value": "b1"}}))
    assert found.rows.select("battery_id", "power_watt").rows() == [("b1", 5.0)]


def test_parquet_of_other_types_is_read(tmp_path):
    frame = pl.DataFrame(
        {
            "t_ms": [1704067200000, 1704067201000, None, 1704067203000],
            "device": [1, 2, 3, None],
            "u": pl.Series([700.5, float("nan"), 1.0, 1.0], dtype=pl.Float32),
            "i": ["1.5", "x", "", ""],
        }
    )
    frame.write_parquet(tmp_path / "f.parquet")
    columns = {
        "timestamp": {"from": "t_ms", "unit": "ms"},
        "battery_id": "device",
        "voltage_volt": "u",
        "current_ampere": "i",
    }
    said = source("parquet", columns=columns)
    found = rows_of(tmp_path / "f.parquet", said)
    assert found.rows.select("battery_id", "voltage_volt", "current_ampere").rows() == [("1", 700.5, 1.5)]
    assert found.rejected.select("row_number", "reason", "detail").rows() == [
        (1, "unreadable_value", "i=x"),
        (3, "no_battery", "device="),
    ]
    assert read_rows(tmp_path / "f.parquet", said, None, **DAYS).rejected["row_number"].to_list() == [2]


def test_ndjson_may_leave_fields_out_and_hold_nan(tmp_path):
    text = (
        '{"timestamp": "2024-01-01T00:00:00Z", "battery_id": 7, "power_watt": NaN}\n'
        "\n"
        '{"battery_id": "b", "power_watt": 5e0, "timestamp": "2024-01-01T00:00:01Z", "extra": {"a": 1}}\n'
        '{"battery_id": "b", "timestamp": "2024-01-01T00:00:02Z", "power_watt": Infinity}\n'
    )
    found = read(tmp_path, text, source("ndjson"), "f.ndjson")
    assert found.rows.select("row_number", "battery_id", "power_watt").rows() == [(0, "7", None), (2, "b", 5.0)]
    assert found.rejected.select("row_number", "reason").rows() == [(3, "unreadable_value")]
    assert survey(tmp_path / "f.ndjson", source("ndjson"), **DAYS).unmapped_columns == ("extra",)


def test_the_hour_that_is_lived_twice_is_settled_alike_in_survey_and_rows(tmp_path):
    """2023-10-29 01:00 UTC the clocks of Berlin go back from 03:00 to 02:00."""
    local = ["01:30", "02:00", "02:30", "02:00", "02:30", "03:00"]
    text = "timestamp,battery_id,power_watt\n" + "".join(f"2023-10-29 {time},b,1\n" for time in local)
    path, said = put(tmp_path / "f.csv", text), source(timezone="Europe/Berlin")
    start = datetime(2023, 10, 28, 23, 30, tzinfo=UTC)
    assert rows_of(path, said).rows["timestamp"].to_list() == [start + timedelta(minutes=30) * n for n in range(6)]
    assert survey(path, said, **DAYS).usual_interval_us == 30 * 60 * 1_000_000


def test_a_fold_across_utc_midnight_lands_on_both_days(tmp_path):
    """2023-10-29 01:00 UTC the clocks of Troll go back from 03:00 to 01:00: 01:00 is 23:00 and 01:00 UTC."""
    instants = [datetime(2023, 10, 28, 22, tzinfo=UTC) + timedelta(minutes=30) * step for step in range(12)]
    local = [instant.astimezone(ZoneInfo("Antarctica/Troll")) for instant in instants]
    text = "timestamp,battery_id,power_watt\n" + "".join(f"{time:%Y-%m-%d %H:%M},b,1\n" for time in local)
    path, said = put(tmp_path / "f.csv", text), source(timezone="Antarctica/Troll")
    assert survey(path, said, **DAYS).days["rows"].to_list() == [4, 8]
    for day in (date(2023, 10, 28), date(2023, 10, 29)):
        found = read_rows(path, said, Window.of_day(day), **DAYS).rows["timestamp"].to_list()
        assert found == [instant for instant in instants if instant.date() == day]


def test_a_local_time_that_the_clocks_skip_is_unreadable(tmp_path):
    path = put(tmp_path / "f.csv", "timestamp,battery_id,power_watt\n2023-03-26 02:30,b,1\n2023-03-26 03:30,b,1\n")
    said = source(timezone="Europe/Berlin")
    assert read_rows(path, said, None, **DAYS).rejected.select("row_number", "reason").rows() == [
        (0, "unreadable_time")
    ]
    assert rows_of(path, said).rows["timestamp"].to_list() == [datetime(2023, 3, 26, 1, 30, tzinfo=UTC)]


def test_a_survey_says_when_the_file_begins_and_ends_and_what_it_waits_for(tmp_path):
    times = ["2024-05-31T23:59:00Z", "2024-06-01T00:00:00Z", "2024-06-04T00:00:00Z", "2024-06-03T00:00:00Z", "x"]
    text = "timestamp,battery_id,power_watt\n" + "".join(f"{time},b,1\n" for time in times)
    found = survey(put(tmp_path / "f.csv", text), source(), **DAYS)
    assert (found.rows, found.rows_without_day, found.awaits) == (5, 3, date(2024, 6, 3))
    assert found.first_timestamp == datetime(2024, 5, 31, 23, 59, tzinfo=UTC)
    assert found.last_timestamp == datetime(2024, 6, 1, tzinfo=UTC)
    assert found.usual_interval_us == 60_000_000
    assert found.days.rows() == [(date(2024, 5, 31), "b", 1), (date(2024, 6, 1), "b", 1)]


@pytest.mark.parametrize("time", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59", "+12024-01-01T00:00:00Z"])
def test_times_far_from_any_battery_are_outside_the_days(tmp_path, time):
    path, said = put(tmp_path / "f.csv", f"{HEADER}{time},b,1\n"), source(timezone="Europe/Berlin")
    assert survey(path, said, **DAYS).rows_without_day == 1
    assert read_rows(path, said, None, **DAYS).rejected["reason"].to_list() == ["outside_calendar"]


# A file that cannot be read says what to do.

HEADER = "timestamp,battery_id,power_watt\n"


@pytest.mark.parametrize(
    ("name", "content", "said", "why"),
    [
        ("f.csv", b"", source(), "is empty; deliver it"),
        ("f.csv", b"\xef\xbb\xbf\n\n", source(), "is empty; deliver it"),
        ("f.csv", b"timestamp,timestamp,battery_id\n", source(), "several columns named timestamp"),
        ("f.csv", b"a;b\n1;2\n", source(), "lacks timestamp, needed for timestamp; it has a;b; correct source.columns"),
        ("f.csv", b"timestamp,battery_id,voltage_volt\n", source(), "needed for voltage_volt with current"),
        ("f.csv.gz", gzip.compress(HEADER.encode() * 99, mtime=0)[:-20], source(), "is damaged or not of its format"),
        ("f.csv.gz", b"\x1f\x8b" + bytes(range(200)), source(), "is damaged or not of its format"),
        ("f.csv.zst", b"\x28\xb5\x2f\xfd" + bytes(range(200)), source(), "is damaged or not of its format"),
        ("f.csv", bytes(range(256)) * 9, source(), "lacks timestamp"),
        ("f.parquet", b"PAR1 and then nothing", source("parquet"), "is damaged or not of its format"),
        ("f.parquet", b"", source("parquet"), "is damaged or not of its format"),
        ("f.parquet.gz", b"PAR1", source("parquet"), "is damaged or not of its format"),
        ("f.ndjson", b'{"a": 1}\n', source("ndjson"), "lacks timestamp"),
        ("f.ndjson", b"not json\n", source("ndjson"), "it has no columns"),
        ("f.csv", None, source(), "is gone; deliver it again"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_read_says_why_and_what_to_do(tmp_path, name, content, said, why):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    for reading in (lambda path: survey(path, said, **DAYS), lambda path: rows_of(path, said)):
        with pytest.raises(UnreadableFile) as refused:
            reading(tmp_path / name)
        assert str(refused.value).startswith(name)
        assert why in str(refused.value)


def test_parquet_columns_of_the_wrong_type_are_refused(tmp_path):
    path = tmp_path / "f.parquet"
    pl.DataFrame({"timestamp": [1], "battery_id": ["b"], "power_watt": [1.0]}).write_parquet(path)
    with pytest.raises(UnreadableFile, match="timestamp holds numbers; say what they count"):
        survey(path, source("parquet"), **DAYS)
    pl.DataFrame({"timestamp": ["2024-01-01"], "battery_id": ["b"], "power_watt": [[1.0]]}).write_parquet(path)
    with pytest.raises(UnreadableFile, match="power_watt holds List"):
        survey(path, source("parquet"), **DAYS)


@given(st.binary(max_size=200), st.sampled_from(["f.csv", "f.csv.gz", "f.csv.zst", "f.ndjson", "f.parquet"]))
@PROPERTY
def test_garbage_is_unreadable_or_counted_and_nothing_else(folder, content, name):
    path = folder / name
    path.write_bytes(HEADER.encode() + content if name == "f.csv" else content)
    said = source(name.split(".")[1])
    try:
        found = survey(path, said, **DAYS)
    except UnreadableFile:
        return
    read = [rows_of(path, said), read_rows(path, said, None, **DAYS)]
    assert found.rows == sum(part.rows.height + part.rejected.height for part in read)


def test_a_file_with_a_header_and_no_rows_holds_nothing(tmp_path):
    for text in (HEADER, HEADER.strip(), HEADER + "\n\n"):
        path = put(tmp_path / "f.csv", text)
        assert survey(path, source(), **DAYS).rows == 0
        assert rows_of(path, source()).rows.equals(SAMPLE.to_frame())


@pytest.mark.real_data
def test_a_day_of_each_shared_fleet_is_read_whole(shared_data):
    """Expected values: 6 racks at 60 s; the simulator planted no missing rows on this day."""
    from bess_pipeline.sources.register import read_register  # noqa: PLC0415

    home = shared_data / "fleet_minute"
    for fleet_id, fleet in read_register(home / "fleets").fleets.items():
        (path,) = (home / "landing" / fleet_id).glob("2023-01-04.*")
        days = {"first_day": date(2020, 1, 1), "today": date(2026, 1, 1)}
        found = read_rows(path, fleet.source, Window.of_day(date(2023, 1, 4)), **days)
        assert (found.rows.height, found.rejected.height) == (8640, 0)
        assert survey(path, fleet.source, **days).usual_interval_us == 60_000_000
