"""A fleet's landing folder: what changed in it, which file holds which days, and the rows of those days."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Literal

import polars as pl
import xxhash

from bess_pipeline.sources import files as landed
from bess_pipeline.sources import seen as times
from bess_pipeline.sources.clock_repairs import Zone, astray, clock_repairs, clock_versions
from bess_pipeline.sources.files import UnreadableFile
from bess_pipeline.sources.folder import UNKNOWN, by_path, is_awaited, is_untouched, sayable, telemetry_files
from bess_pipeline.sources.opening import Limits, printable
from bess_pipeline.sources.register import Fleet
from bess_pipeline.sources.runs import RUN
from bess_pipeline.tables.landing import LandingDay, LandingFile, LandingRun
from bess_pipeline.tables.quality import QuarantinedRow
from bess_pipeline.tables.telemetry import RawTelemetry
from bess_pipeline.window import Window

#: Samples at least this far apart are taken for means over their interval, where the fleet file does not say.
MEAN_FROM = timedelta(minutes=5)

_BLOCK_BYTES = 1 << 20
_LIMITS = Limits()

_FILE = LandingFile.create_empty().schema
_DAY = LandingDay.create_empty().schema
_COUNTED = pl.Schema({name: kind for name, kind in _DAY.items() if name not in ("first_seen_at", "changed_at")})
_RUN = LandingRun.create_empty().schema
_QUARANTINED = QuarantinedRow.create_empty().schema
_RAW = pl.Schema({name: dtype for name, dtype in RawTelemetry.create_empty().schema.items() if name != "verdict"})


class StaleIndexError(Exception):
    """A file is no longer what the landing index says; the message says what to do."""


@dataclass(frozen=True)
class Index:
    """A fleet's landing folder by content.

    Attributes:
        files: `LandingFile` rows of every file ever seen.
        days: `LandingDay` rows of every file ever seen.
        runs: `LandingRun` rows of every file ever seen.
        repairs: `ClockRepair` rows of every file ever seen.
        rejected: `QuarantinedRow` rows without a day of the files that were read now.
        reread: The files that were read now: their rows without a day replace all earlier ones.
    """

    files: pl.DataFrame
    days: pl.DataFrame
    runs: pl.DataFrame
    repairs: pl.DataFrame
    rejected: pl.DataFrame
    reread: list[str]


@dataclass(frozen=True)
class Received:
    """The rows that a fleet's files bring for some days.

    Attributes:
        rows: `RawTelemetry` rows without their verdict, in order of path and row number.
        rejected: `QuarantinedRow` rows, in order of path and row number.
    """

    rows: pl.DataFrame
    rejected: pl.DataFrame


def indexed(  # noqa: PLR0913 - the index and the folder meet here
    fleet: Fleet,
    folder: Path,
    known_files: pl.DataFrame,
    known_days: pl.DataFrame,
    *,
    known_runs: pl.DataFrame,
    known_repairs: pl.DataFrame,
    first_day: date,
    today: date,
    now: datetime | None = None,
    limits: Limits = _LIMITS,
    progress: Callable[[str], None] | None = None,
) -> Index:
    """Bring the index of a landing folder up to date; only files that changed are read.

    A new version of a file replaces the old one, also when it cannot be read: its rows
    are gone then. A file that vanished keeps its rows. Where the rows of all files tell
    that a clock was astray, the files concerned are counted again, at the right times.

    Args:
        fleet: The fleet.
        folder: Its landing folder.
        known_files: `LandingFile` rows of the fleet so far.
        known_days: `LandingDay` rows of the fleet so far.
        known_runs: `LandingRun` rows of the fleet so far.
        known_repairs: `ClockRepair` rows of the fleet so far.
        first_day: First UTC day that telemetry may have.
        today: Last UTC day that telemetry may have.
        now: When the scan is made, to be noted where something came; none if nobody knows.
        limits: How much a file may hold.
        progress: Called with the path of each file before it is read.
    """
    rows = by_path(known_files)
    there = telemetry_files(fleet, folder)
    zone = Zone(fleet, folder, first_day, today, limits)
    scan = 1 + max((row["first_seen"] for row in rows.values()), default=0)
    looked: dict[str, _Looked] = {}
    for path in sorted(rows.keys() - there.keys()):
        rows[path] = {**rows[path], "present": False}
    for path, file in there.items():
        row = rows.get(path)
        is_due = row is None or is_awaited(row, today) or row["source_version"] != fleet.source_version
        if row is not None and not is_due and is_untouched(row, file):
            rows[path] = {**row, "present": True}
            continue
        try:
            stat = file.stat()
            checksum = _checksum(file)
        except FileNotFoundError:  # taken away while we looked: the next scan sees it gone
            continue
        seen = {"size_bytes": stat.st_size, "modified_ns": stat.st_mtime_ns, "checksum": checksum, "present": True}
        if row is not None and not is_due and row["checksum"] == checksum and row["status"] == "ok":
            rows[path] = {**row, **seen}
            continue
        if progress is not None:
            progress(path)
        own = {
            "fleet_id": fleet.fleet_id,
            "path": path,
            "first_seen": scan if row is None else row["first_seen"],
            "source_version": fleet.source_version,
            **times.of_file(row, checksum, now),
        }
        looked[path] = _surveyed(zone, file, before=row)
        rows[path] = {**seen, **own, **looked[path].file}
        if not is_untouched(rows[path], file):  # written to while we read: it is to be read again, whatever it holds
            rows[path]["checksum"] = UNKNOWN
    runs = _told(_RUN, known_runs, {path: look.runs for path, look in looked.items()}, rows).sort(
        "path", "battery_id", "run"
    )
    repairs = clock_repairs(zone, _files(rows), runs, known_repairs, looked.keys())
    versions = clock_versions(repairs)
    counted = dict(known_days.filter(~pl.col("path").is_in(looked.keys())).select("path", "clock_version").iter_rows())
    for path in sorted(path for path in rows.keys() & there.keys() if versions.get(path, "") != counted.get(path, "")):
        if is_untouched(rows[path], there[path]):
            looked[path] = _surveyed(zone, there[path], before=None, wrong=astray(repairs, path))
            rows[path] |= looked[path].file
            counted[path] = versions.get(path, "")
    days = {path: look.days.with_columns(clock_version=pl.lit(counted.get(path, ""))) for path, look in looked.items()}
    rejected = [_quarantined(look.rejected, fleet.fleet_id, path) for path, look in looked.items()]
    files = _files(rows)
    return Index(
        files=files,
        days=times.of_days(_told(_COUNTED, known_days, days, rows), known_days.select(_DAY.names()), files),
        runs=runs,
        repairs=repairs,
        rejected=pl.concat([_QUARANTINED.to_frame(), *rejected]),
        reread=sorted(looked),
    )


def sampling(fleet: Fleet, files: pl.DataFrame) -> Literal["instant", "mean"]:
    """Whether a fleet's values are those of their instant or means of their interval.

    Where the fleet file does not say, samples five minutes or more apart are taken for
    means: nobody samples a battery that rarely, but many condense it.

    Args:
        fleet: The fleet.
        files: `LandingFile` rows of the fleet.
    """
    if fleet.source.sampling is not None:
        return fleet.source.sampling
    usual = files["usual_interval_us"].median()
    is_mean = isinstance(usual, (int, float)) and usual >= MEAN_FROM / timedelta(microseconds=1)
    return "mean" if is_mean else "instant"


def received(  # noqa: PLR0913 - the index, the lake and the days meet here
    fleet: Fleet,
    folder: Path,
    files: pl.DataFrame,
    days: pl.DataFrame,
    window: Window,
    *,
    repairs: pl.DataFrame,
    first_day: date,
    today: date,
    limits: Limits = _LIMITS,
    held: pl.LazyFrame,
    held_rejected: pl.LazyFrame,
) -> Received:
    """The rows of some days from every file that holds any; those of vanished files come from the lake.

    Args:
        fleet: The fleet.
        folder: Its landing folder.
        files: `LandingFile` rows of the fleet.
        days: `LandingDay` rows of the fleet.
        window: The UTC days.
        repairs: `ClockRepair` rows of the fleet.
        first_day: First UTC day that telemetry may have.
        today: Last UTC day that telemetry may have.
        limits: How much a file may hold.
        held: `RawTelemetry` rows of these days as they are.
        held_rejected: `QuarantinedRow` rows of these days as they are; conflicts among them are left out,
            for the verdicts on all rows are given anew.

    Raises:
        StaleIndexError: If a file is no longer what the index says.
    """
    rows = [_RAW.to_frame()]
    rejected = [_QUARANTINED.to_frame()]
    for row in _holding(files, days, window):
        file = folder / row["path"]
        _require_untouched(row, file)
        try:
            read = landed.read_rows(
                file,
                fleet.source,
                window,
                first_day=first_day,
                today=today,
                astray=astray(repairs, row["path"]),
                limits=limits,
                is_all=days.filter(path=row["path"]).select(window.days().all()).item(),
            )
        except UnreadableFile:
            _require_untouched(row, file)
            raise
        _require_untouched(row, file)
        own = {"fleet_id": fleet.fleet_id, "path": row["path"], "first_seen": row["first_seen"]}
        rows.append(read.rows.with_columns(**{name: pl.lit(v) for name, v in own.items()}).select(_columns(_RAW)))
        rejected.append(_quarantined(read.rejected, fleet.fleet_id, row["path"]))
    gone = files.filter(~pl.col("present"))["path"].to_list()
    if not gone:  # files come in order, and so do the rows of each
        return Received(pl.concat(rows), pl.concat(rejected))
    of_gone = pl.col("path").is_in(gone) & window.days()
    rows.append(held.filter(of_gone).select(_columns(_RAW)).collect())
    apart = of_gone & (pl.col("reason") != "conflict")
    rejected.append(held_rejected.filter(apart).select(_columns(_QUARANTINED)).collect())
    return Received(pl.concat(rows).sort("path", "row_number"), pl.concat(rejected).sort("path", "row_number"))


@dataclass(frozen=True)
class _Looked:
    """What reading a file for the index gives: columns of its `LandingFile` row, its days, its rows without one."""

    file: dict[str, Any]
    days: pl.DataFrame
    rejected: pl.DataFrame
    runs: pl.DataFrame


def _surveyed(zone: Zone, file: Path, *, before: dict[str, Any] | None, wrong: pl.DataFrame | None = None) -> _Looked:
    source = zone.fleet.source
    read = partial(landed.read_rows, file, source, None, first_day=zone.first_day, today=zone.today, astray=wrong)
    try:
        _require_sayable(file)
        found = landed.survey(
            file, source, first_day=zone.first_day, today=zone.today, astray=wrong, limits=zone.limits
        )
        rejected = landed.REJECTED.to_frame()
        if found.rows_without_day:
            rejected = read(limits=zone.limits).rejected
    except UnreadableFile as unreadable:
        had = 0 if before is None else before["rows_received"]
        lost = f"; the {had} rows of its earlier version no longer count" if had else ""
        nothing = dict.fromkeys(("first_timestamp", "last_timestamp", "usual_interval_us", "awaits"))
        counts: dict[str, object] = dict.fromkeys(("rows_received", "rows_without_day", "times_backwards"), 0)
        counts |= {"unmapped_columns": "", "missing_columns": ""}
        return _Looked(
            {**nothing, **counts, "status": "unreadable", "error": f"{unreadable}{lost}"},
            pl.DataFrame(schema={"date": pl.Date, "battery_id": pl.String, "rows": pl.Int64}),
            landed.REJECTED.to_frame(),
            RUN.to_frame(),
        )
    return _Looked(
        {
            "rows_received": found.rows,
            "rows_without_day": found.rows_without_day,
            "first_timestamp": found.first_timestamp,
            "last_timestamp": found.last_timestamp,
            "usual_interval_us": found.usual_interval_us,
            "times_backwards": found.times_backwards,
            "unmapped_columns": ",".join(found.unmapped_columns),
            "missing_columns": ",".join(found.missing_columns),
            "awaits": found.awaits,
            "status": "ok",
            "error": None,
        },
        found.days,
        rejected,
        found.runs,
    )


def _files(rows: dict[str, dict[str, Any]]) -> pl.DataFrame:
    return pl.DataFrame([rows[path] for path in sorted(rows)], schema=_FILE)


def _require_sayable(file: Path) -> None:
    if sayable(str(file)) != str(file):
        raise UnreadableFile(f"{printable(file.name)}: its name is not UTF-8; deliver it under another")


def _told(
    schema: pl.Schema, known: pl.DataFrame, fresh: dict[str, pl.DataFrame], rows: dict[str, dict[str, Any]]
) -> pl.DataFrame:
    """What is known of files with what was read of some of them in its place."""
    of_version = [
        frame.with_columns(pl.lit(rows[path][name]).alias(name) for name in ("fleet_id", "path", "checksum"))
        for path, frame in fresh.items()
    ]
    kept = known.select(schema.names()).filter(~pl.col("path").is_in(fresh.keys()))
    return pl.concat([kept, *(frame.select(schema.names()) for frame in of_version)])


def _require_untouched(row: dict[str, Any], file: Path) -> None:
    if not is_untouched(row, file):
        raise StaleIndexError(f"{row['path']} is no longer what the landing index says; index the fleet again")


def _holding(files: pl.DataFrame, days: pl.DataFrame, window: Window) -> Iterator[dict[str, Any]]:
    """The files that are there and hold any of the days, in order of path."""
    paths = days.filter(window.days())["path"].unique().to_list()
    readable = pl.col("present") & (pl.col("status") == "ok") & pl.col("path").is_in(paths)
    return files.filter(readable).sort("path").iter_rows(named=True)


def _quarantined(rejected: pl.DataFrame, fleet_id: str, path: str) -> pl.DataFrame:
    return rejected.with_columns(fleet_id=pl.lit(fleet_id), path=pl.lit(path)).select(_columns(_QUARANTINED))


def _columns(schema: pl.Schema) -> list[pl.Expr]:
    return [pl.col(name).cast(dtype) for name, dtype in schema.items()]


def _checksum(file: Path) -> str:
    digest, block = xxhash.xxh3_128(), memoryview(bytearray(_BLOCK_BYTES))
    try:
        with file.open("rb", buffering=0) as stream:
            while size := stream.readinto(block):
                digest.update(block[:size])
    except FileNotFoundError:
        raise
    except OSError:  # not allowed, or the disk is broken: reading the file tells, now and at every scan until it works
        return UNKNOWN
    return digest.hexdigest()
