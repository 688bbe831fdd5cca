"""Files as sites write them: preambles, marks between thousands, days and times apart, tags, presets."""

from __future__ import annotations

import gzip
from datetime import UTC, date, datetime

import polars as pl
import pytest
from pydantic import ValidationError

from bess_pipeline.sources.files import UnreadableFile, read_rows, survey
from bess_pipeline.sources.source import Source
from bess_pipeline.window import Window

DAYS = {"first_day": date(2020, 1, 1), "today": date(2026, 12, 31)}
EVER = Window(date(2020, 1, 1), date(2027, 1, 1))
PLAIN = {
    "format": "csv",
    "columns": {
        "timestamp": "t",
        "battery_id": {"value": "b"},
        "voltage_volt": "u",
        "current_ampere": "i",
    },
}


def source(columns=None, **more):
    return Source.model_validate({**PLAIN, **more, "columns": {**PLAIN["columns"], **(columns or {})}})


def read(folder, text, said, name="a.csv", encoding="utf-8"):
    """The rows of a file, and those rejected; every row of it is one or the other."""
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode(encoding))
    found = read_rows(path, said, EVER, **DAYS)
    without = read_rows(path, said, None, **DAYS).rejected
    assert survey(path, said, **DAYS).rows == found.rows.height + found.rejected.height + without.height
    return found


def values(found):
    return found.rows.select("voltage_volt", "current_ampere").rows()


ROW = "2024-01-01T00:00:00,3.7,1.5\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param(f"Report 7\n\nof site A\nt,u,i\n{ROW}", {"header": "t,u"}, id="lines before the names"),
        pytest.param(f"x,y\nt,u,i\n{ROW}", {"skip_lines": 1}, id="a number of lines before the names"),
        pytest.param(f"# made by hand\nt,u,i\n# a remark\n{ROW}# the end\n", {"comment": "#"}, id="remarks"),
        pytest.param(f"\ufefft,u,i\n{ROW}", {}, id="a byte order mark"),
        pytest.param("t;u;i\n2024-01-01T00:00:00;3,7;1,5\n", {"separator": ";", "decimal_comma": True}, id="commas"),
        pytest.param(f"t,u,i,\n{ROW}", {}, id="names end with a separator"),
        pytest.param("t,u,i,\n2024-01-01T00:00:00,3.7,1.5,\n", {}, id="rows do, too"),
        pytest.param('t,u,i\n"2024-01-01T00:00:00","3.7",1.5\n', {}, id="quotes"),
        pytest.param(f"t\tu\ti\n{ROW.replace(',', chr(9))}", {"separator": "\t"}, id="tabs"),
        pytest.param(f"t,u,i\n,V,A\n{ROW}", {"skip_after_header": 1}, id="a line of units"),
        pytest.param(f"Report\nt,u,i\n,V,A\n\n{ROW}", {"header": "t,u", "skip_after_header": 2}, id="and more"),
        pytest.param(
            "  t                    u    i\n  2024-01-01T00:00:00  3.7  1.5\n", {"separator": "blanks"}, id="blanks"
        ),
        pytest.param("t u \t i\r\n2024-01-01T00:00:00 3.7\t1.5\r\n", {"separator": "blanks"}, id="blanks and tabs"),
        pytest.param("t,u,i\n'2024-01-01T00:00:00','3.7',1.5\n", {"quote": "'"}, id="apostrophes"),
        pytest.param(
            "t,u,i\n2024-01-01T00:00:00,'3,7','1,5'\n", {"quote": "'", "decimal_comma": True}, id="and commas"
        ),
    ],
)
def test_a_dialect_is_read(tmp_path, text, said):
    assert values(read(tmp_path, text, source(**said))) == [(3.7, 1.5)]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "cp1252", "latin-1"])
def test_text_is_decoded_as_told_or_recognized(tmp_path, encoding):
    said = source({"voltage_volt": "Spannung für Rack"}, encoding=None if encoding == "utf-16" else encoding)
    found = read(tmp_path, f"t,Spannung für Rack,i\n{ROW}", said, encoding=encoding)
    assert values(found) == [(3.7, 1.5)]


def test_marks_between_thousands_are_taken_out_only_where_they_stand_right(tmp_path):
    text = "t;u;i\n2024-01-01T00:00:00;1.234,5;-1.000.000\n2024-01-01T00:01:00;12.34,5;1\n"
    found = read(tmp_path, text, source(separator=";", decimal_comma=True, thousands="."))
    assert values(found) == [(1234.5, -1e6)]
    assert found.rejected["detail"].to_list() == ["u=12.34,5"]


@pytest.mark.parametrize(
    ("written", "column"),
    [
        pytest.param("1704067230", {"unit": "s"}, id="seconds since 1970"),
        pytest.param("0.5", {"unit": "min", "origin": "2024-01-01"}, id="minutes"),
        pytest.param("0.00833333333333", {"unit": "h", "origin": "2024-01-01"}, id="hours"),
        pytest.param("45292.000347222222", {"unit": "d", "origin": "1899-12-30"}, id="days of a spreadsheet"),
        pytest.param("3", {"unit": "s", "counts_per_unit": 0.1, "origin": "2024-01-01"}, id="intervals of 10 s"),
        pytest.param("108000", {"unit": "s", "counts_per_unit": 3600, "origin": "2024-01-01"}, id="3600ths"),
        pytest.param("0d 00:00:30.0", {"unit": "duration", "origin": "2024-01-01"}, id="days and a time"),
        pytest.param("24:00:30", {"unit": "duration", "origin": "2023-12-31"}, id="more than a day of hours"),
        pytest.param("2024-01-01T01:00:30+01:00", {}, id="an offset"),
        pytest.param("2024-01-01 00:00:30Z", {}, id="Zulu"),
        pytest.param("1/1/2024 12:00:30 AM", {"format": "%m/%d/%Y %I:%M:%S %p"}, id="twelve hours"),
    ],
)
def test_times(tmp_path, written, column):
    found = read(tmp_path, f"t,u,i\n{written},3.7,1.5\n", source({"timestamp": {"from": "t", **column}}))
    assert found.rows["timestamp"].to_list() == [datetime(2024, 1, 1, 0, 0, 30, tzinfo=UTC)]


def test_a_duration_that_is_none_is_no_time(tmp_path):
    said = source({"timestamp": {"from": "t", "unit": "duration", "origin": "2024-01-01"}})
    found = read(tmp_path, "t,u,i\nsoon,3.7,1.5\n99999999999:00:00,3.7,1.5\n", said)
    assert found.rows.is_empty()


def test_day_and_time_of_day_stand_in_columns_of_their_own(tmp_path):
    said = source({"timestamp": {"from": "day", "with": "time", "format": "%d.%m.%Y %H:%M"}})
    found = read(tmp_path, "day,time,u,i\n01.02.2024,13:45,3.7,1.5\n,13:46,3.7,1.5\n", said)
    assert found.rows["timestamp"].to_list() == [datetime(2024, 2, 1, 13, 45, tzinfo=UTC)]


def test_numbers_that_stand_for_nothing_are_unknown(tmp_path):
    said = source({"voltage_volt": {"from": "u", "unit": "mV", "sentinels": [65535, -1]}})
    found = read(
        tmp_path, f"t,u,i\n{ROW.replace('3.7', '65535')}{ROW.replace('3.7', '3700').replace(':00,', ':30,')}", said
    )
    assert found.rows["voltage_volt"].to_list() == [None, 3.7]


def test_another_column_says_which_way_the_current_flows(tmp_path):
    said = source({"current_ampere": {"from": "i", "discharge": {"from": "mode", "values": ["D", "pulse"]}}})
    rows = "".join(f"2024-01-01T00:0{k}:00,3.7,2.0,{mode}\n" for k, mode in enumerate(("C", "D", "pulse", "")))
    assert read(tmp_path, f"t,u,i,mode\n{rows}", said).rows["current_ampere"].to_list() == [2.0, -2.0, -2.0, 2.0]


def test_the_name_of_the_file_names_the_battery(tmp_path):
    said = source({"battery_id": {"path": r"rack-(?P<battery_id>\d+)_"}})
    assert read(tmp_path, f"t,u,i\n{ROW}", said, name="rack-07_may.csv").rows["battery_id"].to_list() == ["07"]
    with pytest.raises(UnreadableFile, match=r"x\.csv: its name does not fit source\.columns\.battery_id\.path"):
        read(tmp_path, f"t,u,i\n{ROW}", said, name="x.csv")


def test_a_row_of_blanks_that_is_too_short_is_quarantined_as_it_came(tmp_path):
    found = read(
        tmp_path, "t u i\n2024-01-01T00:00:00   3.7\n2024-01-01T00:01:00 3.7 1.5\n", source(separator="blanks")
    )
    assert found.rejected.select("row_number", "reason", "original").rows() == [
        (0, "ragged_row", '{"t":"2024-01-01T00:00:00","u":"3.7"}')
    ]
    assert values(found) == [(3.7, 1.5)]


@pytest.mark.parametrize(
    ("said", "message"),
    [
        pytest.param({"separator": "tab"}, "or blanks", id="no character and no word"),
        pytest.param({"quote": ";", "separator": ";"}, "another character than separator", id="quotes that separate"),
        pytest.param({"columns": {"timestamp": ["day", "time"]}}, r"from: \[a, b\]", id="names that may mean either"),
        pytest.param({"columns": {"timestamp": {"from": "t", "counts_per_unit": 2}}}, "needs the unit", id="no unit"),
        pytest.param(
            {"columns": {"timestamp": {"from": ["a", "b"], "with": "c"}}}, "not in both", id="columns twice over"
        ),
        pytest.param({"columns": {"voltage_volt": {"from": "u", "scale_factor": 11}}}, "from -10 to 10", id="no power"),
    ],
)
def test_what_cannot_be_meant_is_a_mistake(said, message):
    with pytest.raises(ValidationError, match=message):
        source(**said)


class TestWaysToTellTheTime:
    """Files of one fleet that tell the time differently: the first way that a file has counts."""

    SAID = source({"timestamp": [
        {"from": "unix", "or": "Unix", "unit": "s"},
        {"from": ["day", "time"], "format": "%d.%m.%Y %H:%M"},
        {"from": "run", "unit": "min", "origin": "2024-01-01"},
    ]})  # fmt: skip

    @pytest.mark.parametrize(
        "text",
        [
            pytest.param("Unix,run,u,i\n1704067800,5,3.7,1.5\n", id="the first, by its other name"),
            pytest.param("day,time,run,u,i\n01.01.2024,00:10,5,3.7,1.5\n", id="the second, in two columns"),
            pytest.param("run,u,i\n10,3.7,1.5\n", id="the last"),
            pytest.param("day,run,u,i\n01.01.2024,10,3.7,1.5\n", id="the last, where half of the second is there"),
        ],
    )
    def test_the_first_that_a_file_has_counts(self, tmp_path, text):
        found = read(tmp_path, text, self.SAID)
        assert found.rows["timestamp"].to_list() == [datetime(2024, 1, 1, 0, 10, tzinfo=UTC)]
        looked = survey(tmp_path / "a.csv", self.SAID, **DAYS)
        assert (looked.unmapped_columns, looked.missing_columns) == ((), ())

    def test_a_file_that_has_none_says_which_there_are(self, tmp_path):
        with pytest.raises(UnreadableFile, match="lacks unix or Unix or day, time or run, needed for timestamp"):
            read(tmp_path, "u,i\n3.7,1.5\n", self.SAID)

    def test_a_historian_may_have_any_of_them(self, tmp_path):
        said = Source.model_validate({**LONG, "format": "csv", "columns": {
            **LONG["columns"], "timestamp": [{"from": "unix", "unit": "s"}, {"from": "t"}],
        }})  # fmt: skip
        text = "t,rack,tag,v\n2024-01-01T00:10:00,r,U,700\n2024-01-01T00:10:00,r,I,5\n"
        assert read(tmp_path, text, said).rows["timestamp"].to_list() == [datetime(2024, 1, 1, 0, 10, tzinfo=UTC)]


def test_a_file_without_the_line_of_names_says_so(tmp_path):
    with pytest.raises(UnreadableFile, match="none of its first 2 lines begins with 'Time'"):
        read(tmp_path, f"t,u,i\n{ROW}", source(header="Time"))


LONG = {
    "layout": "long", "tag": "tag", "value": "v",
    "columns": {"timestamp": "t", "battery_id": "rack", "voltage_volt": "U", "current_ampere": {"from": "I"}},
}  # fmt: skip


class TestLong:
    def said(self, **more):
        return Source.model_validate({**PLAIN, **LONG, **more})

    def test_lines_of_one_battery_and_time_are_one_row(self, tmp_path):
        text = "t,rack,tag,v\n" + "".join(
            f"2024-01-01T00:0{minute}:00,r{rack},{tag},{value}\n"
            for minute in range(2)
            for rack in (1, 2)
            for tag, value in (("U", 700 + rack + minute), ("I", -rack), ("Fan", 1))
        )
        found = read(tmp_path, text, self.said())
        assert found.rows.select("row_number", "battery_id", "voltage_volt", "current_ampere").rows() == [
            (0, "r1", 701.0, -1.0), (3, "r2", 702.0, -2.0), (6, "r1", 702.0, -1.0), (9, "r2", 703.0, -2.0),
        ]  # fmt: skip
        assert survey(tmp_path / "a.csv", self.said(), **DAYS).unmapped_columns == ("Fan",)

    def test_channels_that_come_at_other_times_are_rows_with_nulls(self, tmp_path):
        text = "t,rack,tag,v\n2024-01-01T00:00:00,r,U,700\n2024-01-01T00:00:03,r,I,5\n"
        assert values(read(tmp_path, text, self.said())) == [(700.0, None), (None, 5.0)]

    def test_a_tag_that_comes_again_opens_another_row_with_the_rest_of_its_instant(self, tmp_path):
        """What is sent twice is a duplicate; what is corrected does not take the other tags of its instant along."""
        lines = [("U", 700), ("I", 5), ("U", 700), ("I", 6)]
        text = "t,rack,tag,v\n" + "".join(f"2024-01-01T00:00:00,r,{tag},{value}\n" for tag, value in lines)
        found = read(tmp_path, text, self.said())
        assert (values(found), found.rows["row_number"].to_list()) == ([(700.0, 5.0), (700.0, 6.0)], [0, 2])

    def test_a_local_time_that_is_lived_twice_is_not_one_instant(self, tmp_path):
        """On 2023-10-29 the clocks of Berlin show 02:30 at 00:30 and again at 01:30 UTC."""
        passes = [("01:45", "U", 700), ("02:30", "U", 701), ("02:30", "I", 5), ("02:00", "U", 702), ("02:30", "U", 703)]
        text = "t,rack,tag,v\n" + "".join(f"2023-10-29 {t}:00,r,{tag},{value}\n" for t, tag, value in passes)
        found = read(tmp_path, text, self.said(timezone="Europe/Berlin")).rows
        assert found.select(pl.col("timestamp").dt.strftime("%d %H:%M"), "voltage_volt", "current_ampere").rows() == [
            ("28 23:45", 700.0, None), ("29 00:30", 701.0, 5.0), ("29 01:00", 702.0, None), ("29 01:30", 703.0, None),
        ]  # fmt: skip

    def test_tags_may_stand_one_after_the_other(self, tmp_path):
        text = "t,rack,tag,v\n" + "".join(
            f"2024-01-01T00:0{minute}:00,r,{tag},{value}\n"
            for tag, value in (("U", 700), ("I", 5))
            for minute in range(3)
        )
        assert values(read(tmp_path, text, self.said())) == [(700.0, 5.0)] * 3

    def test_a_tag_that_did_not_change_may_have_no_line(self, tmp_path):
        said = self.said(columns={**LONG["columns"], "temperature_celsius": "T"})
        text = "t,rack,tag,v\n2024-01-01T00:00:00,r,U,700\n2024-01-01T00:00:00,r,T,25\n"
        assert values(read(tmp_path, text, said)) == [(700.0, None)]
        assert survey(tmp_path / "a.csv", said, **DAYS).missing_columns == ("I",)

    def test_a_file_of_a_single_tag_is_refused(self, tmp_path):
        """In a file of its own, each tag would be in conflict with the others of its instant."""
        with pytest.raises(UnreadableFile, match="lacks I, needed for voltage_volt with current_ampere"):
            read(tmp_path, "t,rack,tag,v\n2024-01-01T00:00:00,r,U,700\n", self.said())

    def test_a_file_without_lines_has_no_rows(self, tmp_path):
        assert read(tmp_path, "t,rack,tag,v\n", self.said()).rows.is_empty()

    def test_a_pattern_of_tags_that_cannot_be_searched_for_is_a_mistake(self):
        with pytest.raises(ValidationError, match="may not look around itself"):
            self.said(tag_pattern=r"^(?P<battery_id>R\d+)(?=\.)(?P<channel>.+)$")

    def test_lines_without_time_battery_or_number_are_told_apart(self, tmp_path):
        text = (
            "t,rack,tag,v\n2024-01-01T00:00:00,r,U,high\n2024-01-01T00:01:00,,U,700\n,r,U,700\n"
            "never,r,I,1\n2024-01-01T00:02:00,r,U,700,9\n2024-01-01T00:03:00,r,I,3\n"
        )
        found = read(tmp_path, text, self.said())
        assert found.rejected.select("row_number", "reason").rows() == [
            (0, "unreadable_value"), (1, "no_battery"), (4, "ragged_row"),
        ]  # fmt: skip
        assert found.rejected["detail"][0] == "U=high"
        without = read_rows(tmp_path / "a.csv", self.said(), None, **DAYS).rejected
        assert without["row_number"].to_list() == [2, 3]

    def test_tags_that_hold_battery_and_channel(self, tmp_path):
        said = self.said(tag_pattern=r"^(?P<battery_id>R\d+)\.(?P<channel>\w+)$", columns={
            "timestamp": "t", "battery_id": "battery_id", "voltage_volt": "U", "current_ampere": "I",
        })  # fmt: skip
        text = "t,tag,v\n" + "".join(
            f"2024-01-01T00:00:00,{tag},{value}\n"
            for tag, value in (("R1.U", 700), ("R2.U", 701), ("R1.I", 1), ("R2.I", 2), ("Site.Temp", 20))
        )
        found = read(tmp_path, text, said)
        assert found.rows.select("battery_id", "voltage_volt", "current_ampere").rows() == [
            ("R1", 700.0, 1.0), ("R2", 701.0, 2.0),
        ]  # fmt: skip

    @pytest.mark.parametrize("format_", ["parquet", "ndjson"])
    def test_other_formats_may_be_long_as_well(self, tmp_path, format_):
        rows = pl.DataFrame(
            {"t": ["2024-01-01T00:00:00"] * 2, "rack": ["r", "r"], "tag": ["U", "I"], "v": [700.0, 5.0]}
        )
        path = tmp_path / f"a.{format_}"
        (rows.write_parquet if format_ == "parquet" else rows.write_ndjson)(path)
        said = Source.model_validate({**LONG, "format": format_})
        assert values(read_rows(path, said, EVER, **DAYS)) == [(700.0, 5.0)]


class TestPresets:
    def test_points_of_sunspec_are_scaled_by_theirs(self, tmp_path):
        text = (
            "timestamp,battery_id,V,V_SF,A,A_SF,W,W_SF,SoC,SoC_SF,CellVMin,CellVMax,CellV_SF,ModTmpMax,ModTmp_SF\n"
            "2024-01-01T00:00:00,b,7681,-1,-125,-1,-96,2,553,-1,3201,3212,-3,287,-1\n"
        )
        found = read(tmp_path, text, Source.model_validate({"preset": "sunspec"}))
        (row,) = found.rows.to_dicts()
        assert {name: row[name] for name in (
            "voltage_volt", "current_ampere", "power_watt", "soc_bms_percent", "cell_voltage_min_volt",
            "temperature_max_celsius", "soh_bms_percent",
        )} == {
            "voltage_volt": 768.1, "current_ampere": 12.5, "power_watt": 9600.0, "soc_bms_percent": 55.3,
            "cell_voltage_min_volt": 3.201, "temperature_max_celsius": 28.7, "soh_bms_percent": None,
        }  # fmt: skip

    def test_what_a_sunspec_device_does_not_have_is_unknown(self, tmp_path):
        """Not implemented, by SunSpec: 65535 of a uint16, -32768 of an int16 and of a scale factor."""
        text = (
            "timestamp,battery_id,V,V_SF,A,A_SF,W,W_SF,SoC,SoC_SF,SoH,SoH_SF,ModTmpMax,ModTmp_SF\n"
            "2024-01-01T00:00:00,b,7681,-1,-125,-1,-32768,-32768,553,-1,65535,0,-32768,-1\n"
            "2024-01-01T00:01:00,b,7681,-1,-125,-1,-96,-32768,553,,0,-32768,287,-1\n"
            "2024-01-01T00:02:00,b,7681,-1,-125,-1,-96,400,553,-1,98,0,287,-1\n"
        )
        found = read(tmp_path, text, Source.model_validate({"preset": "sunspec"}))
        columns = ("power_watt", "soc_bms_percent", "soh_bms_percent", "temperature_max_celsius")
        assert found.rows.select(columns).rows() == [(None, 55.3, None, None), (None, None, None, 28.7)]
        assert found.rejected.select("row_number", "reason", "detail").rows() == [(2, "unreadable_value", "W=-96")]

    def test_powers_of_ten_may_stand_in_the_fleet_file(self, tmp_path):
        text = "timestamp,battery_id,V,A\n2024-01-01T00:00:00,b,7681,-125\n"
        with pytest.raises(UnreadableFile, match="lacks V_SF, A_SF, W, W_SF, needed for voltage_volt"):
            read(tmp_path, text, Source.model_validate({"preset": "sunspec"}))
        said = {"voltage_volt": {"from": "V", "scale_factor": -1}, "current_ampere": {"from": "A", "scale_factor": 0}}
        found = read(tmp_path, text, Source.model_validate({"preset": "sunspec", "columns": said}))
        assert values(found) == [(768.1, -125.0)]

    def test_channels_of_openems_as_a_historian_has_them(self, tmp_path):
        text = "time,channel,value\n" + "".join(
            f"2024-01-01T00:0{minute}:00Z,{channel},{value}\n"
            for minute in range(2)
            for channel, value in (
                ("battery0/Voltage", 768 + minute), ("battery0/Current", -10),
                ("_sum/EssSoc", 55), ("meter0/Frequency", 50),
            )
        )  # fmt: skip
        said = Source.model_validate({"preset": "openems", "layout": "long", "tag": "channel", "value": "value"})
        found = read(tmp_path, text, said)
        assert found.rows.select("voltage_volt", "current_ampere", "soc_bms_percent").rows() == [
            (768.0, 10.0, 55.0), (769.0, 10.0, 55.0),
        ]  # fmt: skip

    def test_channels_of_openems(self, tmp_path):
        text = (
            "time,battery0/Voltage,battery0/Current,battery0/Soc,battery0/MinCellVoltage,ess0/ActivePower\n"
            "2024-01-01T00:00:00Z,768,10,55,3201,7600\n"
        )
        (row,) = read(tmp_path, text, Source.model_validate({"preset": "openems"})).rows.to_dicts()
        assert (row["battery_id"], row["voltage_volt"], row["current_ampere"]) == ("battery0", 768.0, -10.0)
        assert (row["soc_bms_percent"], row["cell_voltage_min_volt"], row["power_ac_watt"]) == (55.0, 3.201, -7600.0)

    def test_labels_of_the_battery_data_format(self, tmp_path):
        text = "Test Time / s,Unix Time / s,Voltage / V,Current / A\n0,1704067200,3.7,1.5\n"
        packed = gzip.compress(text.encode())
        found = read(tmp_path, packed, Source.model_validate({"preset": "bdf"}), name="cell 7.bdf.csv.gz")
        assert found.rows.select("battery_id", "timestamp", "voltage_volt", "current_ampere").rows() == [
            ("cell 7", datetime(2024, 1, 1, tzinfo=UTC), 3.7, 1.5)
        ]

    @pytest.mark.parametrize("name", ["a__b.bdf", "a__b.csv", "a__b.bdf.csv", "x/a__b.bdf.parquet", "a__b.bdf.gz"])
    def test_the_name_of_a_file_of_the_battery_data_format_is_that_of_its_cell(self, name):
        battery = Source.model_validate({"preset": "bdf"}).columns.battery_id
        assert battery.named_by(name).value == "a__b"

    def test_a_file_of_the_battery_data_format_with_its_relative_clock_alone_needs_an_origin(self, tmp_path):
        text = "Test Time / s,Voltage / V,Current / A\n60,3.7,1.5\n"
        with pytest.raises(UnreadableFile, match="lacks unix_time_second or Unix Time / s or date_time_millisecond"):
            read(tmp_path, text, Source.model_validate({"preset": "bdf"}))
        began = {"from": "test_time_second", "or": "Test Time / s", "unit": "s", "origin": "2024-01-01"}
        found = read(tmp_path, text, Source.model_validate({"preset": "bdf", "columns": {"timestamp": began}}))
        assert found.rows["timestamp"].to_list() == [datetime(2024, 1, 1, 0, 1, tzinfo=UTC)]

    def test_the_fleet_file_goes_before_the_preset(self, tmp_path):
        said = Source.model_validate(
            {"preset": "sunspec", "separator": ";", "columns": {"current_ampere": "I", "power_watt": None}}
        )
        found = read(tmp_path, "timestamp;battery_id;V;V_SF;I;W;W_SF\n2024-01-01;b;768;0;-2;99;0\n", said)
        assert found.rows.select("current_ampere", "power_watt").rows() == [(-2.0, None)]

    def test_a_preset_that_is_none_is_a_mistake(self):
        with pytest.raises(ValidationError, match="there is no preset 'tesla'; there are bdf, sunspec, openems"):
            Source.model_validate({"preset": "tesla"})


class TestFilesOfOneFleetThatChange:
    """A site that changes its columns: reported, mapped or refused, and the other files go on."""

    def look(self, folder, text):
        said = source({"soc_bms_percent": "soc"})
        (folder / "a.csv").write_text(text)
        return survey(folder / "a.csv", said, **DAYS), read_rows(folder / "a.csv", said, EVER, **DAYS)

    def test_a_new_column_is_reported(self, tmp_path):
        looked, found = self.look(tmp_path, f"t,u,i,soc,fan\n{ROW.strip()},50,on\n")
        assert (looked.unmapped_columns, found.rows.height) == (("fan",), 1)

    def test_one_that_is_not_needed_may_vanish(self, tmp_path):
        looked, found = self.look(tmp_path, f"t,u,i\n{ROW}")
        assert (looked.missing_columns, found.rows["soc_bms_percent"].to_list()) == (("soc",), [None])

    def test_one_that_is_needed_may_not(self, tmp_path):
        with pytest.raises(UnreadableFile, match=r"a\.csv: lacks i, needed for voltage_volt with current_ampere"):
            self.look(tmp_path, "t,u,soc\n2024-01-01T00:00:00,3.7,50\n")

    def test_words_where_numbers_were_are_quarantined_row_by_row(self, tmp_path):
        _, found = self.look(tmp_path, f"t,u,i,soc\n{ROW.strip()},half\n{ROW.strip().replace('00:00,', '01:00,')},51\n")
        assert (found.rejected["detail"].to_list(), found.rows.height) == (["soc=half"], 1)
