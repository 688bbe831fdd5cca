import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import polars as pl
import pytest

from bess_pipeline.analytics.telemetry import verdicts
from bess_pipeline.lake.ledger import day_signatures, stale_days
from bess_pipeline.sources import landing
from bess_pipeline.sources.register import Fleet, read_register
from bess_pipeline.tables.landing import ClockRepair, LandingDay, LandingFile, LandingRun
from bess_pipeline.tables.quality import QuarantinedRow
from bess_pipeline.tables.telemetry import RawTelemetry
from bess_pipeline.window import Window

START = datetime(2024, 1, 10, tzinfo=UTC)
STEP, HOUR, DAY = timedelta(minutes=10), timedelta(hours=1), timedelta(days=1)
CALENDAR = {"first_day": date(2020, 1, 1), "today": date(2025, 6, 1)}


@dataclass(frozen=True)
class Row:
    """One sample: when it was, what its clock said, what was measured, the day on which it was sent."""

    battery: str
    at: datetime
    told: datetime
    power: float
    sent: date


def samples(batteries="ab", days=6, start=START):
    """A sample of each battery every ten minutes; no two measure the same."""
    times = [start + STEP * step for step in range(days * 144)]
    return [
        Row(name, at, at, float(1000 * place + number), at.date())
        for number, at in enumerate(times)
        for place, name in enumerate(batteries, start=1)
    ]


def shifted(rows, by, since, until, batteries="ab"):
    """The clock of some batteries is astray from one time of theirs to another."""
    return [
        Row(row.battery, row.at, row.told + by, row.power, row.sent)
        if row.battery in batteries and START + since <= row.at < START + until
        else row
        for row in rows
    ]


def without(rows, since, until, batteries="ab"):
    return [row for row in rows if row.battery not in batteries or not START + since <= row.at < START + until]


def late(rows, since, until, days=1):
    """Rows that come behind those of a later day."""
    some = [row for row in rows if START + since <= row.at < START + until]
    return [row for row in rows if row not in some] + [
        Row(row.battery, row.at, row.told, row.power, row.sent + days * DAY) for row in some
    ]


def again(rows, since, until, days=2):
    """Rows that are sent again behind those of a later day."""
    some = [row for row in rows if START + since <= row.at < START + until]
    return [*rows, *(Row(row.battery, row.at, row.told, row.power, row.sent + days * DAY) for row in some)]


class Site:
    """A landing folder with what the lake would hold of its index and its rows."""

    def __init__(self, folder, zone="UTC", said="UTC"):
        self.folder, self.zone = folder, ZoneInfo(zone)
        folder.mkdir()
        self.fleet = Fleet.model_validate(
            {
                "fleet_id": "f",
                "battery": {"chemistry": "LFP", "rated_capacity_ah": 1, "cells_in_series": 1},
                "source": {"files": "*.csv", "format": "csv", "timezone": said},
            }
        )
        self.index = landing.Index(
            *(contract.create_empty() for contract in (LandingFile, LandingDay, LandingRun, ClockRepair)),
            rejected=QuarantinedRow.create_empty(),
            reread=[],
        )
        self.raw = RawTelemetry.create_empty()
        self.writes = 0

    def deliver(self, rows: Sequence[Row]):
        """Write rows in the order in which they were sent, a file for each day."""
        by_day = {}
        for row in rows:
            by_day.setdefault(row.sent, []).append(row)
        for day, of_day in by_day.items():
            lines = [
                f"{row.told.astimezone(self.zone).replace(tzinfo=None).isoformat()},{row.battery},{row.power}"
                for row in of_day
            ]
            file = self.folder / f"{day}.csv"
            file.write_text("\n".join(["timestamp,battery_id,power_watt", *lines]) + "\n")
            self.writes += 1
            os.utime(file, (1_700_000_000 + self.writes,) * 2)

    def look(self):
        known = {"known_runs": self.index.runs, "known_repairs": self.index.repairs}
        self.index = landing.indexed(self.fleet, self.folder, self.index.files, self.index.days, **known, **CALENDAR)
        LandingRun.validate(self.index.runs)
        ClockRepair.validate(self.index.repairs)
        return self.index

    def received(self):
        """Every row as it is taken in; the index has counted each under its day."""
        got = landing.received(
            self.fleet,
            self.folder,
            self.index.files,
            self.index.days,
            Window(date(2020, 1, 1), date(2025, 1, 1)),
            repairs=self.index.repairs,
            held=self.raw.lazy(),
            held_rejected=QuarantinedRow.create_empty().lazy(),
            **CALENDAR,
        )
        counted = self.index.days.group_by("date", "battery_id").agg(pl.col("rows").sum()).sort("date", "battery_id")
        taken = got.rows.group_by("date", "battery_id").agg(rows=pl.len().cast(pl.Int64)).sort("date", "battery_id")
        assert taken.equals(counted)
        return got.rows

    def times(self):
        """When each row is said to have been measured: battery and power → times."""
        self.look()
        rows = self.received().group_by("battery_id", "power_watt").agg(pl.col("timestamp").unique())
        return {(name, power): times for name, power, times in rows.iter_rows()}


@pytest.fixture
def site(tmp_path):
    return Site(tmp_path / "landing")


def right_times(rows):
    return {(row.battery, row.power): [row.at] for row in rows}


def told_times(rows):
    return {(row.battery, row.power): [row.told] for row in rows}


ASTRAY = {"since": 1 * DAY + 5 * HOUR, "until": 3 * DAY + 8 * HOUR}


@pytest.mark.parametrize(
    "rows",
    [
        pytest.param(shifted(samples(), HOUR, **ASTRAY), id="an hour ahead"),
        pytest.param(shifted(samples(), -HOUR, **ASTRAY), id="an hour behind"),
        pytest.param(shifted(samples(), 2 * HOUR, **ASTRAY), id="two hours ahead"),
        pytest.param(shifted(samples(), DAY, **ASTRAY), id="a day ahead"),
        pytest.param(shifted(samples(), -DAY, **ASTRAY), id="a day behind"),
        pytest.param(shifted(samples(), timedelta(seconds=2345), **ASTRAY), id="an odd number of seconds ahead"),
        pytest.param(shifted(samples(), timedelta(seconds=-2345), **ASTRAY), id="an odd number of seconds behind"),
        pytest.param(shifted(samples(), HOUR, **ASTRAY, batteries="b"), id="one battery of two"),
        pytest.param(shifted(samples("b"), -HOUR, **ASTRAY, batteries="b"), id="the only battery"),
        pytest.param(shifted(samples(), 6 * HOUR, DAY, DAY + 2 * HOUR), id="for a shorter time than it is ahead"),
        pytest.param(shifted(samples(), HOUR, DAY, 3 * DAY), id="from a file's first row to a file's last"),
        pytest.param(
            shifted(shifted(samples(), HOUR, DAY, 2 * DAY), HOUR, 3 * DAY + HOUR, 4 * DAY), id="twice the same"
        ),
        pytest.param(
            shifted(shifted(samples(), HOUR, **ASTRAY), HOUR, 2 * DAY, 2 * DAY + 9 * HOUR),
            id="further astray meanwhile",
        ),
        pytest.param(late(shifted(samples(), HOUR, **ASTRAY), 2 * DAY, 2 * DAY + 7 * HOUR), id="rows that come late"),
        pytest.param(late(shifted(samples(), HOUR, **ASTRAY), DAY, 2 * DAY), id="the jump itself comes late"),
        pytest.param(
            late(shifted(samples(), HOUR, **ASTRAY), 3 * DAY + 5 * HOUR, 3 * DAY + 9 * HOUR),
            id="the jump back comes late",
        ),
        pytest.param(again(shifted(samples(), HOUR, **ASTRAY), 2 * DAY, 3 * DAY), id="a day of it comes again"),
        pytest.param(again(shifted(samples(), HOUR, **ASTRAY), DAY, 2 * DAY), id="the day of the jump comes again"),
        pytest.param(
            without(shifted(samples(), HOUR, **ASTRAY), 2 * DAY, 2 * DAY + 90 * STEP / 10),
            id="with ninety minutes missing meanwhile",
        ),
        pytest.param(
            without(shifted(samples("abc"), HOUR, **ASTRAY, batteries="abc"), DAY + 4 * HOUR, DAY + 7 * HOUR, "a"),
            id="one of three is silent when the clocks jump",
        ),
        pytest.param(
            without(
                shifted(samples("abc"), HOUR, **ASTRAY, batteries="abc"), 3 * DAY + 7 * HOUR, 3 * DAY + 11 * HOUR, "a"
            ),
            id="one of three is silent when the clocks come back",
        ),
        pytest.param(without(shifted(samples(), HOUR, **ASTRAY), 4 * HOUR, 5 * HOUR), id="with an hour missing before"),
        pytest.param(
            without(
                shifted(samples("abc"), HOUR, **ASTRAY, batteries="abc"), 3 * DAY + 12 * HOUR, 3 * DAY + 13 * HOUR, "a"
            ),
            id="one of three is silent for as long soon after",
        ),
        pytest.param(
            without(shifted(samples("abc"), HOUR, **ASTRAY, batteries="abc"), 2 * DAY, 2 * DAY + HOUR, "a"),
            id="one of three is silent for as long meanwhile",
        ),
        pytest.param([row for row in shifted(samples(), HOUR, **ASTRAY) for _ in (1, 2)], id="every row twice"),
        pytest.param(shifted(samples(), HOUR, **ASTRAY)[::-1], id="files that tell the latest first"),
    ],
)
def test_rows_of_a_clock_that_was_astray_come_back_to_their_times(site, rows):
    site.deliver(rows)
    assert site.times() == right_times(rows)
    raw = site.received()
    assert "conflict" not in verdicts(raw)["verdict"].to_list()
    told = raw.with_columns(told=pl.col("timestamp") + pl.col("clock_shift_us").cast(pl.Duration("us")))
    came = {(name, power): [at] for name, power, at in told.select("battery_id", "power_watt", "told").iter_rows()}
    assert came == told_times(rows)


RESENT_IN_PLACE_OF_A_DAY = [
    row for row in again(without(samples(), DAY, 2 * DAY), 2 * DAY, 3 * DAY, days=0) if row.sent != START.date()
]


@pytest.mark.parametrize(
    "rows",
    [
        pytest.param(samples(), id="nothing is wrong"),
        pytest.param(without(samples(), DAY + 5 * HOUR, DAY + 6 * HOUR), id="an hour is missing"),
        pytest.param(
            again(without(samples(), DAY + 5 * HOUR, DAY + 6 * HOUR), 2 * DAY + HOUR, 2 * DAY + 2 * HOUR, days=0),
            id="an hour is missing, another comes twice",
        ),
        pytest.param(RESENT_IN_PLACE_OF_A_DAY, id="a day is missing, the next comes twice"),
        pytest.param(late(samples(), DAY + 5 * HOUR, DAY + 6 * HOUR), id="an hour comes late"),
        pytest.param(late(samples(), DAY, 2 * DAY), id="a day comes late"),
        pytest.param(again(samples(), DAY, 2 * DAY), id="a day comes again"),
        pytest.param(shifted(samples(), HOUR, DAY + 5 * HOUR, 6 * DAY), id="the clock has not come back yet"),
        pytest.param(shifted(samples(), HOUR, -DAY, DAY + 5 * HOUR), id="the clock was astray from the start"),
        pytest.param(
            shifted(samples(), 2 * STEP, **ASTRAY, batteries="b"), id="one battery, by no more than a dropout"
        ),
        pytest.param(
            sorted(samples(), key=lambda row: (row.sent, hash((row.power * 7919) % 101))), id="no order at all"
        ),
    ],
)
def test_what_only_resembles_a_clock_is_left_alone(site, rows):
    site.deliver(rows)
    assert site.times() == told_times(rows)
    assert not site.index.repairs["is_confident"].any()


@pytest.mark.parametrize("start", [datetime(2024, 3, 29, tzinfo=UTC), datetime(2024, 10, 25, tzinfo=UTC)])
@pytest.mark.parametrize("by", [HOUR, -HOUR, 0 * HOUR])
def test_the_nights_in_which_clocks_change_are_told_from_clocks_astray(tmp_path, start, by):
    """The clock is astray from the morning after the change."""
    site = Site(tmp_path / "landing", zone="Europe/Berlin", said="Europe/Berlin")
    since, until = start - START + 2 * DAY + 9 * HOUR, start - START + 4 * DAY
    rows = shifted(samples(start=start), by, since, until)
    site.deliver(rows)
    assert site.times() == right_times(rows)


def test_a_clock_astray_over_the_night_in_which_clocks_go_forward_is_told(tmp_path):
    site = Site(tmp_path / "landing", zone="Europe/Berlin", said="Europe/Berlin")
    start = datetime(2024, 3, 29, tzinfo=UTC)
    rows = shifted(samples(start=start), HOUR, start - START + 2 * DAY + 21 * STEP / 10, start - START + 4 * DAY)
    site.deliver(rows)
    assert site.times() == right_times(rows)


def test_summer_time_that_the_fleet_file_takes_for_utc_is_no_clock_astray(tmp_path):
    site = Site(tmp_path / "landing", zone="Europe/Berlin", said="UTC")
    spring, autumn = (samples(days=4, start=datetime(2024, *day, tzinfo=UTC)) for day in ((3, 29), (10, 25)))
    site.deliver([*spring, *autumn])
    site.look()
    assert not site.index.repairs["is_confident"].any()


def test_a_repair_names_its_rows_and_its_evidence(site):
    rows = shifted(samples(), HOUR, **ASTRAY)
    site.deliver(rows)
    repairs = site.look().repairs
    assert repairs["is_confident"].all()
    assert repairs["rows"].sum() == sum(row.told != row.at for row in rows)
    assert repairs["shift_us"].unique().to_list() == [3_600_000_000]
    assert repairs["started_at"].min() == START + DAY + 6 * HOUR
    assert repairs["ended_at"].max() == START + 3 * DAY + 9 * HOUR - STEP
    (evidence,) = repairs["evidence"].unique()
    assert evidence == (
        "times of 2 of 2 batteries jump ahead by 1:00:00 after 2024-01-11T04:50:00Z and back after "
        "2024-01-13T08:50:00Z; 12 of 12 rows with these times differ from others with the same time"
    )


def test_rows_are_brought_back_when_the_file_arrives_that_shows_it(site):
    rows = shifted(samples(), HOUR, **ASTRAY)
    for day in range(6):
        site.deliver([row for row in rows if row.sent == (START + day * DAY).date()])
        before = day_signatures(site.index.days, site.index.files)
        site.look()
        stale = stale_days(day_signatures(site.index.days, site.index.files), before)
        assert site.index.repairs.is_empty() == (day < 3)
        if day == 3:
            assert stale == [(START + number * DAY).date() for number in (1, 2, 3)]
    assert site.times() == right_times(rows)
    again = site.index
    assert site.look().repairs.equals(again.repairs)
    assert site.index.reread == []


def test_a_repair_is_taken_back_with_the_file_that_showed_it(site):
    rows = shifted(samples(), HOUR, **ASTRAY)
    site.deliver(rows)
    site.look()
    day = (START + 3 * DAY).date()
    unclear = [row for row in rows if row.sent == day and row.told == row.at]
    site.deliver(unclear)
    kept = [row for row in rows if row.sent != day] + unclear
    assert site.times() == told_times(kept)


def test_a_vanished_file_keeps_its_rows_at_their_repaired_times(site):
    rows = shifted(samples(), HOUR, **ASTRAY)
    site.deliver(rows)
    site.look()
    site.raw = verdicts(site.received())
    (site.folder / f"{(START + 2 * DAY).date()}.csv").unlink()
    assert site.times() == right_times(rows)


def test_fleet_minute_has_one_clock_astray_and_all_of_its_rows_come_back(shared_data, tmp_path):
    """Planted: all batteries of S02 an hour ahead, from 2023-03-26 00:21:14 to 2023-03-27 20:12:49 UTC."""
    home = shared_data / "fleet_minute"
    (site := Site(tmp_path / "landing")).fleet = read_register(home / "fleets").fleets["s02"]
    for day in range(22, 32):
        name = f"2023-03-{day}.csv.gz"
        (site.folder / name).symlink_to(home / "landing" / "s02" / name)
    site.look()
    repaired = site.received().filter(pl.col("clock_shift_us") != 0)
    since, until = datetime(2023, 3, 26, 0, 21, 14, tzinfo=UTC), datetime(2023, 3, 27, 20, 12, 49, tzinfo=UTC)
    minutes = pl.datetime_range(since.replace(second=0) + timedelta(minutes=1), until, "1m", eager=True)
    assert repaired["clock_shift_us"].unique().to_list() == [3_600_000_000]
    for _, of_battery in repaired.sort("timestamp").group_by("battery_id"):
        assert of_battery["timestamp"].to_list() == minutes.to_list()
    assert repaired["battery_id"].n_unique() == 6
    assert "conflict" not in verdicts(site.received())["verdict"].to_list()
