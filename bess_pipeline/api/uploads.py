"""Files that are delivered: looked through, then put where the landing zone is read, or refused with a reason."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import date
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from bess_pipeline.lake.durable import force
from bess_pipeline.sources.files import survey
from bess_pipeline.sources.folder import telemetry_files
from bess_pipeline.sources.opening import Limits, UnreadableFile
from bess_pipeline.sources.register import Fleet
from bess_pipeline.sources.surveys import Survey

#: Where files lie until it is known that they can be read: beside the landing folders, in which others look.
_ASIDE, _FORGOTTEN_SECONDS = ".uploads", 86_400
_FOLDER, _HASH_LENGTH, _LONGEST_NAME = "uploads", 16, 120
_BLOCK_BYTES = 1 << 20
_OURS = re.compile(r"[0-9a-f]{32}")
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")


class UploadError(ValueError):
    """A file that is not taken; the message says why."""


@dataclass(frozen=True)
class Delivery:
    """A file that was taken.

    Attributes:
        path: Where it lies, below the landing folder of its fleet.
        size_bytes: Its size.
        sha256: Its checksum.
        survey: What it holds.
        is_new: Whether it had not been delivered before.
    """

    path: str
    size_bytes: int
    sha256: str
    survey: Survey
    is_new: bool


def deliver(
    fleet: Fleet,
    folder: Path,
    name: str,
    content: BinaryIO,
    *,
    first_day: date,
    today: date,
    limits: Limits,
    sha256: str | None = None,
) -> Delivery:
    """Put a file into the landing folder of a fleet.

    What it is called there holds its checksum: no delivery ever takes the place of another, and the same bytes under
    the same name, delivered twice, are one file.

    Args:
        fleet: The fleet.
        folder: Its landing folder.
        name: What the client calls the file.
        content: Its bytes.
        first_day: First UTC day that telemetry may have.
        today: Last UTC day that telemetry may have.
        limits: How much a file may hold.
        sha256: What its checksum has to be.

    Raises:
        UploadError: If it came damaged, cannot be read as the fleet's files are, or is none of them by its name.
    """
    safe = _safe(name)
    with _aside(folder.parent) as aside:
        received = aside / "received" / safe
        received.parent.mkdir()
        size, checksum = _received(received, content)
        if sha256 is not None and checksum != sha256.lower():
            raise UploadError(f"sha256: what came has {checksum}: deliver it again")
        path = _path(fleet, aside, safe, checksum[:_HASH_LENGTH])
        staged = aside / path
        staged.parent.mkdir(parents=True, exist_ok=True)
        received.rename(staged)
        try:
            found = survey(staged, fleet.source, first_day=first_day, today=today, limits=limits)
        except UnreadableFile as unreadable:
            raise UploadError(str(unreadable)) from None
        if not found.rows:
            raise UploadError(f"{safe}: holds no row")
        target = folder / path
        is_new = not target.exists()
        if is_new:
            target.parent.mkdir(parents=True, exist_ok=True)
            _place(staged, target)
            force(target.parent)
    return Delivery(path, size, checksum, found, is_new)


def _place(staged: Path, target: Path) -> None:
    """Put a file where it belongs, whole, also where that is another disk."""
    try:
        staged.rename(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        unseen = target.with_name(f".{uuid.uuid4().hex}")
        shutil.copy(staged, unseen)
        force(unseen)
        unseen.rename(target)


def _safe(name: str) -> str:
    """What a file may be called, whatever a client calls it: no folder, nothing hidden, nothing that is no name."""
    last = _UNSAFE.sub("_", PurePosixPath(name.replace("\\", "/")).name).lstrip(".")
    if not last.strip("._-"):
        raise UploadError("the file needs a name, with the suffix that the fleet's files have")
    stem, suffixes = last[: -len(_suffixes(last)) or None], _suffixes(last)
    return stem[: _LONGEST_NAME - len(suffixes)] + suffixes


def _suffixes(name: str) -> str:
    """What tells the format and the compression, such as ``.csv.gz``."""
    return "".join(PurePosixPath(name).suffixes[-2:])[-20:]


def _path(fleet: Fleet, aside: Path, name: str, checksum: str) -> str:
    """Where the fleet's pattern finds the file, and no other has been."""
    stem, suffixes = name[: -len(_suffixes(name)) or None], _suffixes(name)
    ways = [f"{_FOLDER}/{checksum}/{name}"]
    if fleet.source.columns.battery_id is None or fleet.source.columns.battery_id.path is None:
        ways.append(f"{stem}.{checksum}{suffixes}")
    for way in ways:
        tried = aside / "tried" / way
        tried.parent.mkdir(parents=True, exist_ok=True)
        tried.touch()
        if way in telemetry_files(fleet, aside / "tried"):
            return way
    raise UploadError(f"{name}: files of fleet {fleet.fleet_id} are called {fleet.source.files}; no other is looked at")


@contextmanager
def _aside(landing: Path) -> Iterator[Path]:
    """A folder of one's own that nobody looks at, gone afterwards; those that servers left when they died go, too."""
    everyone = landing / _ASIDE
    if everyone.is_symlink():
        raise UploadError(f"{_ASIDE} of the landing zone is a link: it has to be a folder")
    mine = everyone / uuid.uuid4().hex
    mine.mkdir(parents=True)
    try:
        yield mine
    finally:
        shutil.rmtree(mine)
        for other in everyone.iterdir():
            # Another delivery may end at this very moment.
            with suppress(OSError):
                if _OURS.fullmatch(other.name) and time.time() - other.lstat().st_mtime > _FORGOTTEN_SECONDS:
                    shutil.rmtree(other)


def _received(file: Path, content: BinaryIO) -> tuple[int, str]:
    digest, size = hashlib.sha256(), 0
    with file.open("wb") as written:
        while block := content.read(_BLOCK_BYTES):
            written.write(block)
            digest.update(block)
            size += len(block)
        written.flush()
        os.fsync(written.fileno())
    return size, digest.hexdigest()
