"""Upkeep of the lake: small files put together, files and commits that nobody needs any more removed.

No step changes a row, and each is one commit or none: killed at any moment, it is done the next time.

Tables with a file a day are not put together: the names of these files are the versions of the days
(`DayVersions`), from which everything else knows whether it is up to date.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import timedelta

import deltalake
import polars as pl
from deltalake.exceptions import CommitFailedError

from bess_pipeline.lake.disk import LOG, Disk, Stored
from bess_pipeline.lake.ledger import MARK
from bess_pipeline.lake.store import Lake
from bess_pipeline.lake.streaming import COMMITS, PARQUET
from bess_pipeline.tables import catalog
from bess_pipeline.tables.catalog import Table

#: A partition with so many files is put together; fewer cost a reader next to nothing.
MANY_FILES = 8

#: So many commits after the last checkpoint there is another, from which readers start.
_MANY_COMMITS = 10


@dataclass(frozen=True)
class Room:
    """What a table takes up.

    Attributes:
        files: Parquet files that make it up.
        stored_files: Parquet files on the disk, those of earlier versions included.
        stored_bytes: Their size [B].
        log_files: Files of its log.
        log_bytes: Their size [B].
    """

    files: int = 0
    stored_files: int = 0
    stored_bytes: int = 0
    log_files: int = 0
    log_bytes: int = 0

    def __add__(self, other: Room) -> Room:
        return Room(*(mine + theirs for mine, theirs in zip(self.numbers(), other.numbers(), strict=True)))

    def numbers(self) -> tuple[int, ...]:
        """The numbers, in order."""
        return self.files, self.stored_files, self.stored_bytes, self.log_files, self.log_bytes


@dataclass(frozen=True)
class Tidied:
    """What upkeep did to one table.

    Attributes:
        table: Name of the table.
        before: What it took up.
        after: What it takes up now.
        compacted: Fleets whose files were put together.
        left: Fleets that somebody was writing: their files stay as they are until the next time.
    """

    table: str
    before: Room
    after: Room
    compacted: tuple[str, ...]
    left: tuple[str, ...]


def room(lake: Lake, table: Table) -> Room:
    """What a table takes up now."""
    found = list(Disk(lake.address(table)).files())
    log = [file.size_bytes for file in found if file.path.startswith(LOG)]
    rows = [file.size_bytes for file in found if not file.path.startswith(LOG)]
    return Room(len(lake.snapshot(table).files), len(rows), sum(rows), len(log), sum(log))


def tidy(lake: Lake, table: Table, *, keep: timedelta, is_at_work: Callable[[str], bool]) -> Tidied:
    """Put small files together, remove files of earlier versions, write a checkpoint, and cut the log behind it.

    Args:
        lake: The lake.
        table: The table.
        keep: Files that a version within this time needs stay, and so do those that a killed write left behind:
            readers and writers that are at work must have ended by then.
        is_at_work: Whether somebody may be writing a fleet; its files are left as they are.

    Raises:
        ValueError: If less than a day is to be kept.
    """
    if keep < timedelta(days=1):
        raise ValueError(f"readers need the files of at least a day, not of {keep}")
    before = room(lake, table)
    compacted: list[str] = []
    left: list[str] = []
    for fleet_id in _in_pieces(lake, table):
        done = not is_at_work(fleet_id) and _compact(lake.delta(table), fleet_id)
        (compacted if done else left).append(fleet_id)
    _vacuum(lake.delta(table), keep)
    _checkpoint(lake.delta(table))
    return Tidied(table.name, before, room(lake, table), tuple(compacted), tuple(left))


def prune(lake: Lake, fleets: Collection[str]) -> dict[str, int]:
    """Remove notes that nothing asks for any more: of tables that are no longer, and of fleets that are gone.

    The index of the landing zone has nothing to prune: a file that is read again replaces its rows, and
    those of a file that has vanished are what its days, counts and clocks rest on as long as there are any.

    Args:
        lake: The lake.
        fleets: Fleets that have a file, be it mistaken or put aside; what the index knows is not gone either.

    Returns:
        Rows removed, by table.
    """
    indexed = lake.scan(catalog.LANDING_FILES).select(pl.col("fleet_id").unique()).collect()["fleet_id"]
    there = frozenset(fleets) | frozenset(indexed)
    is_mark = pl.col("name").str.starts_with(MARK)
    marks = lake.ask(catalog.MADE_FROM, None, lambda rows: rows.filter(is_mark))["name"]
    names = frozenset(catalog.TABLES) | frozenset(marks)
    return {
        catalog.LEDGER.name: _without(lake, catalog.LEDGER, fleet_id=there),
        catalog.MADE_FROM.name: _without(lake, catalog.MADE_FROM, fleet_id=there, name=names),
        catalog.DAY_VERSIONS.name: _without(lake, catalog.DAY_VERSIONS, fleet_id=there, name=frozenset(catalog.TABLES)),
    }


def _without(lake: Lake, table: Table, **known: frozenset[str]) -> int:
    """Remove the rows of a table in which a column has a value that is not known; how many there were."""
    removed = 0
    for column, values in known.items():
        held = lake.scan(table).select(pl.col(column).unique()).collect()[column]
        for unknown in sorted(set(held) - values):
            quoted = unknown.replace("'", "''")
            done = lake.delta(table).delete(f"{column} = '{quoted}'", commit_properties=COMMITS)
            removed += int(done["num_deleted_rows"])
    return removed


def _in_pieces(lake: Lake, table: Table) -> list[str]:
    """Fleets with many files in one partition of a table that has no file a day."""
    if table.by_day:
        return []
    files = pl.DataFrame(lake.delta(table).get_add_actions(flatten=True))
    if files.is_empty():
        return []
    parts = [f"partition.{name}" for name in table.partition_by]
    counted = files.group_by(parts).len().filter(pl.col("len") >= MANY_FILES)
    return sorted(counted["partition.fleet_id"].unique())


def _compact(delta: deltalake.DeltaTable, fleet_id: str) -> bool:
    """Whether the files of a fleet could be put together; not if somebody wrote them meanwhile, whose work counts."""
    try:
        delta.optimize.compact(
            partition_filters=[("fleet_id", "=", fleet_id)], writer_properties=PARQUET, commit_properties=COMMITS
        )
    except CommitFailedError:
        return False
    return True


def _vacuum(delta: deltalake.DeltaTable, keep: timedelta) -> None:
    hours = int(keep.total_seconds() // 3600)
    # Asked first, for it would commit twice even where there is nothing to remove.
    if delta.vacuum(retention_hours=hours, enforce_retention_duration=False, full=True):
        delta.vacuum(retention_hours=hours, enforce_retention_duration=False, full=True, dry_run=False)


def _checkpoint(delta: deltalake.DeltaTable) -> None:
    """Write a checkpoint after many commits, and remove the commits before it that are older than Delta keeps them.

    A table that has not changed gets none, so that its log goes on telling when its rows last did.
    """
    at = [int(file.path.removeprefix(LOG)[:20]) for file in _checkpoints(delta)]
    if delta.version() - max(at, default=0) >= _MANY_COMMITS:
        delta.create_checkpoint()
        delta.cleanup_metadata()


def _checkpoints(delta: deltalake.DeltaTable) -> list[Stored]:
    return [file for file in Disk(delta.table_uri).files(LOG) if ".checkpoint." in file.path]
