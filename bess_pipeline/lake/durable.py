"""A commit on a local disk that outlives a loss of power: what it names is on the disk before the next step begins."""

from __future__ import annotations

import json
import os
import urllib.parse
from collections.abc import Iterable
from pathlib import Path


def force(table: Path, versions: Iterable[int], mark: str) -> list[Path]:
    """Have the system write the files of a commit to the disk, and the folders that name them.

    Args:
        table: The folder of a Delta table.
        versions: The commits among which it is.
        mark: A text in the commit by which it is known.

    Returns:
        What was forced to the disk: files, then folders.
    """
    for version in versions:
        log = table / "_delta_log" / f"{version:020}.json"
        text = log.read_text(encoding="utf-8") if log.exists() else ""
        if mark in text:
            actions = map(json.loads, text.splitlines())
            added = [table / urllib.parse.unquote(action["add"]["path"]) for action in actions if "add" in action]
            files = [*added, log]
            forced = [*files, *sorted({file.parent for file in files} | {table})]
            for path in forced:
                _force(path)
            return forced
    return []


def _force(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
