"""Two thousand spoiled files: some read one by one, some or all beside honest ones by the whole pipeline."""

import os
import random
from collections import Counter
from datetime import date

import polars as pl
import pytest

from bess_pipeline.defs.resources import Home
from bess_pipeline.sources import folder as looked_at
from bess_pipeline.sources import landing, register
from bess_pipeline.sources.files import UnreadableFile, read_rows, survey
from bess_pipeline.sources.opening import Limits
from bess_pipeline.sources.source import Source
from bess_pipeline.tables import catalog
from bess_pipeline.tables.landing import ClockRepair, LandingDay, LandingFile, LandingRun
from bess_pipeline.window import Window
from bess_pipeline_tests.deployments import run
from bess_pipeline_tests.fuzzed_files import SPOILERS, SUFFIXES, Style, fuzzed_files
from bess_pipeline_tests.thoroughness import size

pytestmark = pytest.mark.whole_runs

STYLES = {
    "csv": Style("csv"),
    "csv_epoch": Style("csv", separator=";", epoch=True),
    "ndjson": Style("ndjson"),
    "ndjson_epoch": Style("ndjson", epoch=True),
    "parquet": Style("parquet"),
    "parquet_epoch": Style("parquet", epoch=True),
}
#: A run costs some ten seconds however few files a fleet has, so that these three bring many each.
DELIVERED = {name: STYLES[name] for name in ("csv", "ndjson_epoch", "parquet")}
FILES_PER_STYLE = 670
#: Of these, as many go through whole runs.
DELIVERED_PER_STYLE = size(120, FILES_PER_STYLE)
SEED = 20240301
DAYS = {"first_day": date(2020, 1, 1), "today": date(2024, 6, 1)}
ALL_DAYS = Window(date(2020, 1, 1), date(2024, 6, 2))
LIMITS = Limits(file_bytes=2_000_000, free_bytes=500_000)
NOTHING_BROKEN = {"absurd_numbers", "absurd_times", "absurd_batteries", "rows_in_conflict", "header_only"}
ALWAYS_BROKEN = {"cut_gz", "cut_zst", "bomb", "binary_garbage", "other_format"}


def said(style):
    """The source section of a fleet file for a style."""
    mapping = {name: name for name in ("battery_id", "voltage_volt", "current_ampere", "temperature_celsius")}
    return {
        "format": style.kind,
        "sampling": "instant",
        **({"separator": style.separator} if style.kind == "csv" else {}),
        **({"columns": {"timestamp": {"from": "timestamp", "unit": "ms"}, **mapping}} if style.epoch else {}),
    }


def test_there_are_two_thousand_files_and_they_are_the_same_each_time():
    files = [file for style in DELIVERED.values() for file in fuzzed_files(style, FILES_PER_STYLE, SEED)]
    assert len(files) >= 2000
    assert {file.spoiled for file in files} == set(SPOILERS)
    assert fuzzed_files(STYLES["csv"], 60, SEED) == files[:60]


@pytest.mark.parametrize("name", STYLES)
def test_a_spoiled_file_is_refused_by_name_or_every_row_of_it_is_a_sample_or_rejected(name, tmp_path):
    style = STYLES[name]
    source = Source.model_validate(said(style))
    outcomes = Counter()
    for spoiled in fuzzed_files(style, 90, SEED + 1):
        path = tmp_path / spoiled.name
        path.write_bytes(spoiled.content)
        read = _read(path, source)
        path.unlink()
        outcomes[spoiled.spoiled, isinstance(read, UnreadableFile)] += 1
        if isinstance(read, UnreadableFile):
            assert str(read).startswith(f"{spoiled.name}: ")
            assert str(read).isprintable()
            assert len(str(read)) < 3000
            continue
        found, days, timeless = read
        of_days = found.days["rows"].sum()
        assert found.rows == found.rows_without_day + of_days
        assert days.rows.height + days.rejected.height == of_days
        assert timeless.rejected.height == found.rows_without_day
        numbers = pl.concat([frame["row_number"] for frame in (days.rows, days.rejected, timeless.rejected)])
        assert numbers.is_unique().all()
        assert _rows_written(style, spoiled) in {None, found.rows}
        values = days.rows.select("voltage_volt", "current_ampere", "temperature_celsius")
        assert values.select(pl.all_horizontal(pl.all().is_null() | pl.all().is_finite()).all()).item()
    assert not [way for way in NOTHING_BROKEN if outcomes[way, True]]
    assert not [way for way in ALWAYS_BROKEN if outcomes[way, False]]


def _read(path, source):
    try:
        found = survey(path, source, **DAYS, limits=LIMITS)
        days = read_rows(path, source, ALL_DAYS, **DAYS, limits=LIMITS)
        return found, days, read_rows(path, source, None, **DAYS, limits=LIMITS)
    except UnreadableFile as refused:
        return refused


def _rows_written(style, spoiled):
    """How many rows a file of plain text has, counted without the code under test; nothing where that is not plain."""
    if style.kind == "parquet" or not spoiled.name.endswith(SUFFIXES[style.kind]):
        return None
    try:
        text = spoiled.content.decode()
    except UnicodeDecodeError:
        return None
    if "\0" in text or spoiled.content[:2] in {b"\x1f\x8b", b"x\x9c"}:
        return None
    rows = [line for line in text.removeprefix("\ufeff").split("\n") if line.strip()]
    return len(rows) - (style.kind == "csv")


@pytest.fixture
def honest(home):
    """A deployment with a fleet of honest files for some styles, nothing run yet."""
    for name, style in DELIVERED.items():
        section = str(said(style)).replace("'", '"')
        (home.fleets / f"{name}.yaml").write_text(
            f"fleet_id: {name}\nname: {name}\ncommissioned: 2024-01-01\nsource: {section}\n"
            "battery: {chemistry: LFP, rated_capacity_ah: 280, cells_in_series: 240}\n"
        )
        folder = home.landing / name
        folder.mkdir()
        for number in range(3):
            rows = style.rows(random.Random(f"{name}/{number}"), number, battery="honest")
            (folder / f"honest-{number}{SUFFIXES[style.kind]}").write_bytes(style.content(rows))
    return home


def test_whole_runs_account_for_every_row_and_honest_files_are_read_as_if_alone(honest, monkeypatch):
    monkeypatch.setenv("BESS_LARGEST_FILE_BYTES", "2000000")
    assert run().failures == []
    alone = of_honest_files()
    delivered = set()
    for name, style in DELIVERED.items():
        for spoiled in fuzzed_files(style, DELIVERED_PER_STYLE, SEED):
            (honest.landing / name / spoiled.name).write_bytes(spoiled.content)
            delivered.add((name, spoiled.name))
    outcome = run()
    files = Home().lake.read(catalog.LANDING_FILES)
    assert set(files.select("fleet_id", "path").rows()) > delivered
    refused = set(files.filter(status="unreadable").select("fleet_id", "path").rows())
    assert size(36, 200) < len(refused) < len(delivered)
    named = {f"{fleet}/{path}" for fleet, path in refused}
    assert [line for line in outcome.failures if line.split(": ")[0] not in named] == []
    assert len(outcome.failures) == len(named)
    for name, frame in of_honest_files().items():
        assert frame.equals(alone[name]), name
    assert_every_row_is_accounted_for()
    assert run().did_nothing


def of_honest_files():
    """What the pipeline made of the honest files: by name, without the circumstances of writing it."""
    made = {}
    for table in (catalog.LANDING_DAYS, catalog.RAW_TELEMETRY, catalog.CLEAN_TELEMETRY, catalog.INTERVALS_5MIN):
        rows = Home().lake.read(table)
        ours = rows.filter(pl.col("battery_id").str.starts_with("honest"))
        made[table.name] = ours.drop("run_id", "first_seen", "first_seen_at", "changed_at", strict=False)
    return made


def assert_every_row_is_accounted_for():
    """Of the warehouse's account, and of each file's rows by their own names and numbers."""
    quality = Home().warehouse.query("SELECT * FROM data_quality_daily")
    parts = pl.sum_horizontal("rows_accepted", "rows_quarantined", "rows_duplicate")
    assert quality.filter(pl.col("rows_received") != parts).is_empty()
    lake = Home().lake
    files, rejected = lake.read(catalog.LANDING_FILES), lake.read(catalog.QUARANTINE)
    received = files.group_by("fleet_id").agg(pl.col("rows_received").sum())
    counted = quality.group_by("fleet_id").agg(pl.col("rows_received").sum().cast(pl.Int64))
    assert received.sort("fleet_id").equals(counted.sort("fleet_id").cast(received.schema))
    where = ["fleet_id", "path", "row_number"]
    raw = lake.read(catalog.RAW_TELEMETRY)
    kept = raw.filter(pl.col("verdict") != "conflict").select(where)
    rows = pl.concat([kept, rejected.select(where)])
    assert rows.is_unique().all()
    held = rows.group_by("fleet_id", "path").agg(rows_held=pl.len())
    told = files.filter(pl.col("rows_received") > 0).join(held, on=["fleet_id", "path"], how="full", coalesce=True)
    assert told.filter(pl.col("rows_received").ne_missing(pl.col("rows_held"))).is_empty()
    as_objects = pl.col("original").str.starts_with("{") & pl.col("original").str.ends_with("}")
    assert rejected.select(as_objects.all()).item()


def test_files_that_are_none_and_names_that_are_odd_keep_nothing_else_from_being_read(honest):
    folder = honest.landing / "csv"
    content = (folder / "honest-0.csv").read_bytes()
    (folder / "folder.csv").mkdir()
    (folder / "circle.csv").symlink_to(folder / "circle.csv")
    (folder / "up").symlink_to(folder)
    (folder / "nowhere.csv").symlink_to(folder / "nothing.csv")
    os.mkfifo(folder / "pipe.csv")
    (folder / "unreadable.csv").symlink_to("/proc/self/mem")
    names = ["-rf.csv", "a\nb.csv", "it's \"that\".csv", "Süd 🔋.csv", "*.csv", "[a].csv", "{a}.csv", "%20.csv",
             "~.csv", "a?b#c.csv", "\u202e.csv", "-", "x" * 250 + ".csv", " .csv", "file:..csv"]  # fmt: skip
    for number, name in enumerate(names):
        (folder / name).write_bytes(content.replace(b"honest-0", f"odd-{number}".encode()))
    with open(os.fsencode(folder) + b"/caf\xe9.csv", "wb") as stream:  # noqa: PTH123 - a name that no text is
        stream.write(content)
    outcome = run(fleet_id="csv")
    assert sorted(line.split(": ")[0] for line in outcome.failures) == ["csv/caf\\udce9.csv", "csv/unreadable.csv"]
    made = Home().lake.read(catalog.CLEAN_TELEMETRY).filter(fleet_id="csv")
    assert {f"odd-{number}" for number in range(len(names))} <= set(made["battery_id"])
    assert_every_row_is_accounted_for()


@pytest.mark.parametrize("harm", ["vanishes", "is cut", "is replaced"])
def test_a_file_that_changes_while_it_is_indexed_is_put_right_by_the_next_scan(tmp_path, harm):
    style = STYLES["csv"]
    fleet = register.Fleet.model_validate(
        {
            "fleet_id": "f",
            "name": "F",
            "commissioned": "2024-01-01",
            "battery": {"chemistry": "LFP", "rated_capacity_ah": 280, "cells_in_series": 240},
            "source": said(style),
        }
    )
    paths = [tmp_path / f"{number}.csv" for number in range(3)]
    for number, path in enumerate(paths):
        path.write_bytes(style.content(style.rows(random.Random(number), number)))
    whole = paths[1].read_bytes()

    def spoil(path):
        if path == "1.csv":
            if harm == "vanishes":
                paths[1].unlink()
            else:
                paths[1].write_bytes(
                    whole[: len(whole) // 2] if harm == "is cut" else whole.replace(b"fuzz-1", b"fuzz-9")
                )

    nothing = {
        "known_files": LandingFile.create_empty(),
        "known_days": LandingDay.create_empty(),
        "known_runs": LandingRun.create_empty(),
        "known_repairs": ClockRepair.create_empty(),
    }
    first = landing.indexed(fleet, tmp_path, **nothing, **DAYS, progress=spoil)
    assert first.files.filter(pl.col("path") != "1.csv")["status"].to_list() == ["ok", "ok"]
    paths[1].write_bytes(whole)
    known = dict(zip(nothing, (first.files, first.days, first.runs, first.repairs), strict=True))
    assert looked_at.changes(fleet, tmp_path, first.files, today=DAYS["today"])
    second = landing.indexed(fleet, tmp_path, **known, **DAYS)
    fresh = landing.indexed(fleet, tmp_path, **nothing, **DAYS)
    assert second.days.equals(fresh.days)
    assert second.files.drop("first_seen").equals(fresh.files.drop("first_seen"))
