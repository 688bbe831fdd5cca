import os
from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest

from bess_pipeline.sources import conflicts, folder, landing
from bess_pipeline.sources.register import Fleet
from bess_pipeline.tables.landing import ClockRepair, LandingDay, LandingFile, LandingRun
from bess_pipeline.tables.quality import QuarantinedRow
from bess_pipeline.tables.telemetry import RawTelemetry
from bess_pipeline.window import Window

FIRST_DAY, TODAY = date(2020, 1, 1), date(2024, 6, 1)
DAY = date(2024, 1, 1)
HEADER = "timestamp,battery_id,power_watt"


def fleet(**source):
    return Fleet.model_validate(
        {
            "fleet_id": "f",
            "battery": {"chemistry": "LFP", "rated_capacity_ah": 1, "cells_in_series": 1},
            "source": {"files": "**/*.csv", "format": "csv", **source},
        }
    )


class Zone:
    """A landing folder with its index, and raw telemetry as if the lake held it."""

    def __init__(self, folder):
        self.folder = folder
        self.fleet = fleet()
        self.today = TODAY
        self.files = LandingFile.create_empty()
        self.days = LandingDay.create_empty()
        self.runs = LandingRun.create_empty()
        self.repairs = ClockRepair.create_empty()
        self.raw = RawTelemetry.create_empty()
        self.quarantine = QuarantinedRow.create_empty()
        self.clock = 1_700_000_000

    def put(self, path, *lines, header=HEADER):
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("\n".join([header, *lines]) + "\n")
        self.touch(path)

    def touch(self, path):
        self.clock += 1
        os.utime(self.folder / path, (self.clock, self.clock))

    def changes(self):
        return folder.changes(self.fleet, self.folder, self.files, today=self.today)

    def index(self, **more):
        days = {"first_day": FIRST_DAY, "today": self.today}
        known = {"known_runs": self.runs, "known_repairs": self.repairs}
        index = landing.indexed(self.fleet, self.folder, self.files, self.days, **known, **days, **more)
        LandingFile.validate(index.files)
        LandingDay.validate(index.days)
        QuarantinedRow.validate(index.rejected)
        LandingRun.validate(index.runs)
        ClockRepair.validate(index.repairs)
        self.files, self.days, self.runs, self.repairs = index.files, index.days, index.runs, index.repairs
        return index

    def received(self, window=None):
        return landing.received(
            self.fleet,
            self.folder,
            self.files,
            self.days,
            window or Window(DAY, DAY + timedelta(days=31)),
            repairs=self.repairs,
            first_day=FIRST_DAY,
            today=self.today,
            held=self.raw.lazy(),
            held_rejected=self.quarantine.lazy(),
        )

    def file(self, path):
        (row,) = self.files.filter(pl.col("path") == path).to_dicts()
        return row


@pytest.fixture
def zone(tmp_path):
    return Zone(tmp_path / "landing" / "f")


def line(day=1, battery="b", power=1.0, time="00:00:00"):
    return f"2024-01-{day:02}T{time}Z,{battery},{power}"


def test_a_folder_that_is_not_there_is_empty(zone):
    assert not zone.changes()
    assert zone.index().files.is_empty()
    assert zone.received().rows.is_empty()


def test_the_index_counts_rows_by_file_day_and_battery(zone):
    zone.put("2024/a.csv", line(1), line(1, time="00:01:00"), line(2, battery=""), "x,b,1")
    zone.put("b.csv", line(1, "c"))
    index = zone.index()
    assert index.files.select("path", "rows_received", "rows_without_day", "first_seen").rows() == [
        ("2024/a.csv", 4, 1, 1),
        ("b.csv", 1, 0, 1),
    ]
    assert index.days.select("path", "date", "battery_id", "rows").rows() == [
        ("2024/a.csv", DAY, "b", 2),
        ("2024/a.csv", date(2024, 1, 2), "", 1),
        ("b.csv", DAY, "c", 1),
    ]
    assert index.rejected.select("path", "row_number", "reason", "original").rows() == [
        ("2024/a.csv", 3, "unreadable_time", '{"timestamp":"x","battery_id":"b","power_watt":"1"}')
    ]
    assert index.reread == ["2024/a.csv", "b.csv"]


def test_hidden_and_unfinished_files_are_no_telemetry(zone):
    zone.fleet = fleet(files="**/*")
    for path in (".hidden.csv", ".cache/a.csv", "a.csv.part", "a.tmp", ".a.csv.crc", "a.crc"):
        zone.put(path, line())
    assert not zone.changes()


def test_with_nothing_new_nothing_is_read(zone):
    zone.put("a.csv", line())
    zone.index()
    before = zone.files, zone.days
    assert not zone.changes()
    index = zone.index()
    assert index.reread == []
    assert index.files.equals(before[0])
    assert index.days.equals(before[1])


def test_a_file_that_was_only_touched_is_not_read_again(zone):
    zone.put("a.csv", line())
    zone.index()
    before = zone.file("a.csv")
    zone.touch("a.csv")
    assert zone.changes().touched == ("a.csv",)
    assert zone.index().reread == []
    assert zone.file("a.csv") == before | {"modified_ns": zone.clock * 1_000_000_000}
    assert not zone.changes()


def test_a_new_version_replaces_the_rows_of_the_old_one_and_keeps_its_place(zone):
    zone.put("a.csv", line(1), "x,b,1")
    zone.index()
    zone.put("b.csv", line(5))
    zone.put("a.csv", line(3))
    assert zone.changes() == folder.Changes(new=("b.csv",), touched=("a.csv",))
    index = zone.index()
    assert index.days.select("path", "date", "rows").rows() == [
        ("a.csv", date(2024, 1, 3), 1),
        ("b.csv", date(2024, 1, 5), 1),
    ]
    assert index.files["first_seen"].to_list() == [1, 2]
    assert index.reread == ["a.csv", "b.csv"]
    assert index.rejected.is_empty()


def test_an_unreadable_version_takes_the_rows_of_its_predecessor_along_and_says_so(zone):
    zone.put("a.csv", line())
    zone.index()
    zone.put("a.csv", "1,2", header="what,else")
    index = zone.index()
    assert index.days.is_empty()
    row = zone.file("a.csv")
    assert (row["status"], row["rows_received"]) == ("unreadable", 0)
    assert row["error"].startswith("a.csv: lacks timestamp")
    assert row["error"].endswith("the 1 rows of its earlier version no longer count")
    assert not zone.changes()
    assert zone.received().rows.is_empty()


def test_a_file_that_disappears_keeps_its_rows(zone):
    zone.put("a.csv", line(1), line(1, battery=""), line(2))
    zone.put("b.csv", line(1, "c"))
    zone.index()
    arrived = zone.received()
    zone.raw = arrived.rows.with_columns(verdict=pl.lit("accepted"))
    zone.quarantine = arrived.rejected
    (zone.folder / "a.csv").unlink()
    assert zone.changes().vanished == ("a.csv",)
    days = zone.days
    assert zone.index().days.equals(days)
    assert not zone.file("a.csv")["present"]
    again = zone.received()
    assert again.rows.equals(arrived.rows)
    assert again.rejected.equals(arrived.rejected)
    zone.put("a.csv", line(1), line(1, battery=""), line(2))
    assert zone.changes().returned == ("a.csv",)
    assert zone.index().reread == []
    assert zone.file("a.csv")["present"]


def test_a_day_after_today_is_awaited_and_read_when_it_comes(zone):
    zone.put("a.csv", "2024-06-01T00:00:00Z,b,1", "2024-06-03T00:00:00Z,b,2")
    first = zone.index()
    assert zone.file("a.csv")["awaits"] == date(2024, 6, 3)
    assert first.rejected["reason"].to_list() == ["outside_calendar"]
    zone.today = date(2024, 6, 2)
    assert not zone.changes()
    zone.today = date(2024, 6, 3)
    assert zone.changes().awaited == ("a.csv",)
    second = zone.index()
    assert second.reread == ["a.csv"]
    assert second.rejected.is_empty()
    assert second.days["date"].to_list() == [date(2024, 6, 1), date(2024, 6, 3)]
    assert not zone.changes()


def test_times_that_passed_while_the_clock_was_ahead_are_refused_once_it_is_right(zone):
    zone.put("a.csv", "2024-05-01T00:00:00Z,b,1", "2027-01-01T00:00:00Z,b,2")
    zone.today = date(2030, 1, 1)
    assert zone.index().days["date"].to_list() == [date(2024, 5, 1), date(2027, 1, 1)]
    zone.today = TODAY
    assert zone.changes().awaited == ("a.csv",)
    index = zone.index()
    assert index.days["date"].to_list() == [date(2024, 5, 1)]
    assert index.rejected["reason"].to_list() == ["outside_calendar"]
    assert not zone.changes()


def test_a_clock_that_is_behind_takes_nothing_away_that_was_read_before(zone):
    zone.put("a.csv", "2023-11-01T00:00:00Z,b,1")
    zone.index()
    zone.today = date(2021, 1, 1)
    assert not zone.changes()


def test_another_source_section_reads_every_file_anew(zone):
    zone.put("a.csv", "2024-01-01T00:30:00,b,1")
    zone.index()
    zone.fleet = fleet(timezone="Europe/Berlin")
    assert zone.changes().reinterpreted == ("a.csv",)
    assert zone.index().days["date"].to_list() == [date(2023, 12, 31)]
    assert not zone.changes()


def test_progress_names_each_file_that_is_read(zone):
    zone.put("a.csv", line())
    zone.put("b.csv", line())
    names = []
    zone.index(progress=names.append)
    zone.index(progress=names.append)
    assert names == ["a.csv", "b.csv"]


def test_received_rows_and_rejected_rows_are_all_that_the_index_counts(zone):
    zone.put("b.csv", line(1), line(1, battery=""), line(2), line(9, power="x"), f"{line(1)},", "x,b,1")
    zone.put("a.csv", line(1), line(1))
    zone.index()
    for window in (Window.of_day(DAY), Window(DAY, date(2024, 1, 3)), Window(DAY, date(2024, 2, 1))):
        arrived = zone.received(window)
        QuarantinedRow.validate(arrived.rejected)
        RawTelemetry.validate(arrived.rows.with_columns(verdict=pl.lit("accepted")))
        counted = zone.days.filter(window.days())["rows"].sum()
        assert arrived.rows.height + arrived.rejected.height == counted
        assert arrived.rows.equals(arrived.rows.sort("path", "row_number"))


def test_only_files_that_hold_the_days_are_opened(zone):
    zone.put("a.csv", line(1))
    zone.put("b.csv", line(2))
    zone.index()
    (zone.folder / "b.csv").write_text("changed since")
    assert zone.received(Window.of_day(DAY)).rows["path"].to_list() == ["a.csv"]


def test_a_file_that_changed_since_the_index_is_refused(zone):
    zone.put("a.csv", line())
    zone.index()
    zone.put("a.csv", line(), line(2))
    with pytest.raises(landing.StaleIndexError, match=r"a\.csv is no longer what the landing index says; index"):
        zone.received()
    (zone.folder / "a.csv").unlink()
    with pytest.raises(landing.StaleIndexError):
        zone.received()


@pytest.mark.parametrize(
    ("said", "minutes", "expected"),
    [(None, [1, 1, 15], "instant"), (None, [15, 15, 1], "mean"), (None, [5], "mean"), (None, [], "instant"),
     ("instant", [60], "instant"), ("mean", [1], "mean")],
)  # fmt: skip
def test_sampling_is_what_the_fleet_file_says_or_what_the_interval_suggests(said, minutes, expected):
    files = pl.DataFrame(
        {"usual_interval_us": [minute * 60_000_000 for minute in minutes]}, schema={"usual_interval_us": pl.Int64}
    )
    assert landing.sampling(fleet(sampling=said), files) == expected


def test_losers_of_a_conflict_are_quarantined_as_they_came(zone):
    zone.put("a.csv", line(power=1), line(power=2))
    zone.put("b.csv", line(power=3))
    zone.index()
    raw = zone.received().rows.with_columns(verdict=pl.lit("conflict"))
    lost = conflicts.losers(zone.fleet, zone.folder, raw)
    QuarantinedRow.validate(lost)
    assert lost.select("path", "row_number", "reason").rows() == [
        ("a.csv", 0, "conflict"),
        ("a.csv", 1, "conflict"),
        ("b.csv", 0, "conflict"),
    ]
    assert lost["original"][1] == '{"timestamp":"2024-01-01T00:00:00Z","battery_id":"b","power_watt":"2"}'
    assert conflicts.losers(zone.fleet, zone.folder, raw.clear()).is_empty()


def test_losers_of_a_vanished_file_keep_what_is_known_of_them(zone):
    zone.put("a.csv", line(power=1), line(power=2))
    zone.index()
    raw = zone.received().rows.with_columns(verdict=pl.lit("conflict"))
    before = conflicts.losers(zone.fleet, zone.folder, raw)
    (zone.folder / "a.csv").unlink()
    assert conflicts.losers(zone.fleet, zone.folder, raw, before.lazy()).equals(before)
    alone = conflicts.losers(zone.fleet, zone.folder, raw)
    assert alone["original"][0] == '{"timestamp": "2024-01-01 00:00:00+00:00", "battery_id": "b", "power_watt": "1.0"}'


def test_the_order_in_which_files_come_does_not_change_the_rows(zone, tmp_path):
    other = Zone(tmp_path / "other")
    for paths, place in ((("a.csv", "b.csv"), zone), (("b.csv", "a.csv"), other)):
        for path in paths:
            place.put(path, line(power=ord(path[0])), line(2))
        place.index()
    assert zone.received().rows.equals(other.received().rows)


def test_a_day_came_when_its_rows_did_however_often_a_growing_file_brings_them_again(zone):
    """The file of a month grows by a day a night; then a row of the first day is added, and the fleet file changes."""
    nights = [datetime(2024, 1, night, 1, tzinfo=UTC) for night in (2, 3, 9, 10)]
    grown = [line(1)], [line(1), line(2)], [line(1), line(2), line(1, time="01:00:00")]
    for night, lines in zip(nights, grown, strict=False):
        zone.put("january.csv", *lines)
        zone.index(now=night)
    seen = {row["date"].day: (row["first_seen_at"], row["changed_at"]) for row in zone.days.to_dicts()}
    assert seen == {1: (nights[0], nights[2]), 2: (nights[1], nights[1])}
    assert (zone.file("january.csv")["first_seen_at"], zone.file("january.csv")["changed_at"]) == (nights[0], nights[2])
    before = zone.files, zone.days
    zone.touch("january.csv")
    zone.index(now=nights[3])
    zone.fleet = fleet(timezone="Europe/Berlin")
    zone.index(now=nights[3])
    assert zone.days.equals(before[1])
    assert zone.files.drop("modified_ns", "source_version").equals(before[0].drop("modified_ns", "source_version"))
