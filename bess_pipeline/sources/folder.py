"""A landing folder as it lies there: its files of telemetry, and what is different from what the index knows."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import polars as pl

from bess_pipeline.sources.register import Fleet
from bess_pipeline.tables.landing import LandingFile

_LOOKS = 5
_UNFINISHED = (".part", ".tmp", ".crc")
_FILE = LandingFile.create_empty().schema

#: The checksum of a file that is to be read again, whatever it holds.
UNKNOWN = ""


@dataclass(frozen=True)
class Changes:
    """What is different between a landing folder and its index: paths below the folder, each kind in order.

    Attributes:
        new: Files never seen.
        touched: Files whose size or modification time is another.
        awaited: Files that hold days which have come since.
        reinterpreted: Files that were read with another source section of the fleet file.
        vanished: Files that are gone.
        returned: Files that were gone and are there again.
    """

    new: tuple[str, ...] = ()
    touched: tuple[str, ...] = ()
    awaited: tuple[str, ...] = ()
    reinterpreted: tuple[str, ...] = ()
    vanished: tuple[str, ...] = ()
    returned: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return any((self.new, self.touched, self.awaited, self.reinterpreted, self.vanished, self.returned))


def changes(fleet: Fleet, folder: Path, known: pl.DataFrame, *, today: date) -> Changes:
    """What is different between a landing folder and its index, without opening a file.

    Args:
        fleet: The fleet.
        folder: Its landing folder; one that is not there is empty.
        known: `LandingFile` rows of the fleet.
        today: The current UTC day.
    """
    found: dict[str, list[str]] = {kind: [] for kind in Changes.__dataclass_fields__}
    rows = by_path(known)
    there = telemetry_files(fleet, folder)
    for path, file in there.items():
        row = rows.get(path)
        if row is None:
            found["new"].append(path)
            continue
        if not row["present"]:
            found["returned"].append(path)
        if not is_untouched(row, file):
            found["touched"].append(path)
        if is_awaited(row, today):
            found["awaited"].append(path)
        if row["source_version"] != fleet.source_version:
            found["reinterpreted"].append(path)
    found["vanished"] = sorted(path for path, row in rows.items() if row["present"] and path not in there)
    return Changes(**{kind: tuple(paths) for kind, paths in found.items()})


def stamps(folder: Path, changed: Changes) -> dict[str, tuple[int, int]]:
    """Size [B] and modification time [ns] of the changed files that are there: path below the folder → both."""
    found = {}
    for path in sorted({*changed.new, *changed.touched, *changed.awaited, *changed.reinterpreted, *changed.returned}):
        try:
            stat = (folder / path).stat()
        except FileNotFoundError:  # taken away since, or a name that had to be escaped: the index will tell
            continue
        found[path] = stat.st_size, stat.st_mtime_ns
    return found


def telemetry_files(fleet: Fleet, folder: Path) -> dict[str, Path]:
    """The files of a landing folder that are telemetry: path below the folder → file, in order of path.

    Raises:
        PermissionError: If the folder, or one below it, may not be listed: its files would seem to have vanished.
    """
    require_listable(folder)
    found = {}
    for file in _below(folder, fleet.source.files):
        below = file.relative_to(folder)
        hidden = any(part.startswith(".") for part in below.parts)
        if not hidden and file.suffix not in _UNFINISHED and file.is_file():
            found[sayable(below.as_posix())] = file
    return dict(sorted(found.items()))


def _below(folder: Path, pattern: str) -> list[Path]:
    """What fits a pattern; looked for anew where a folder goes while it is looked through, as transfers have it."""
    for looks_left in reversed(range(_LOOKS)):
        try:
            return list(folder.glob(pattern))
        except FileNotFoundError:
            if not looks_left:
                raise
    raise AssertionError("a look either ends or fails")


def other_files(fleet: Fleet, folder: Path) -> list[str]:
    """Files of a landing folder that the fleet's pattern does not take: nobody looks at them; in order of path."""
    taken, found = set(telemetry_files(fleet, folder).values()), []
    for file in _below(folder, "**/*"):
        below = file.relative_to(folder)
        hidden = any(part.startswith(".") for part in below.parts)
        if not hidden and file.suffix not in _UNFINISHED and file.is_file() and file not in taken:
            found.append(sayable(below.as_posix()))
    return sorted(found)


def require_listable(folder: Path) -> None:
    """Refuse a folder that cannot be looked through.

    Raises:
        PermissionError: If it, or one below it, may not be listed.
    """

    def refuse(error: OSError) -> None:
        if isinstance(error, PermissionError):
            raise PermissionError(
                f"{error.filename} may not be listed: give the user of the pipeline the right to read it"
            ) from None

    for _ in os.walk(folder, onerror=refuse):
        pass


def sayable(name: str) -> str:
    """A name with those of its bytes escaped that are not UTF-8."""
    return name.encode("utf-8", "backslashreplace").decode()


def by_path(known: pl.DataFrame) -> dict[str, dict[str, Any]]:
    """`LandingFile` rows by their path."""
    return {row["path"]: row for row in known.select(_FILE.names()).iter_rows(named=True)}


def is_untouched(row: dict[str, Any], file: Path) -> bool:
    """Whether a file is, by size and time of modification, what a `LandingFile` row says."""
    try:
        stat = file.stat()
    except FileNotFoundError:
        return False
    is_same = row["size_bytes"] == stat.st_size and row["modified_ns"] == stat.st_mtime_ns
    return bool(is_same and row["checksum"] != UNKNOWN)


def is_awaited(row: dict[str, Any], today: date) -> bool:
    """Whether a file holds days that had not come when it was read and have now, or the other way round.

    The other way round: the clock was ahead when it was read, so that rows with impossible times passed. A file
    that was itself written after today tells that it is today's clock that is wrong: it is left alone.
    """
    last, written = row["last_timestamp"], datetime.fromtimestamp(row["modified_ns"] / 1e9, UTC).date()
    is_ahead = last is not None and last.date() > today >= written
    return is_ahead or (row["awaits"] is not None and row["awaits"] <= today)
