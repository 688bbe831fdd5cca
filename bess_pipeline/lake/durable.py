"""What outlives a loss of power on a local disk: it is on the disk before the next step begins."""

from __future__ import annotations

import json
import os
import urllib.parse
from collections.abc import Iterable
from pathlib import Path


def force_commit(table: Path, versions: Iterable[int], mark: str) -> list[Path]:
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
                force(path)
            return forced
    return []


def force(path: Path) -> None:
    """Have the system write a file, or what a folder names, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace_private(path: Path, content: bytes) -> None:
    """Put other content in the place of a file that its user alone may read, whole or not at all."""
    fresh = path.with_suffix(".new")
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)
    force(fresh)
    fresh.replace(path)
    force(path.parent)
