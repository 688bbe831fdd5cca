"""Dagster's records of runs that are over and superseded, removed without a hole in what Dagster knows of the assets.

`DagsterInstance.delete_run` takes the materializations of a run with it, and leaves its tags, its check results and, in
SQLite, its file. So runs that hold the newest materialization, or the newest result of a check, of any partition stay,
with all their events; the others go whole. Dagster's tables are asked for that at once, in the words of its own schema:
its methods would read and parse each event.
"""

import sqlite3
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import dagster as dg
import sqlalchemy as db
from dagster._core.events import DagsterEventType
from dagster._core.storage.event_log.schema import AssetCheckExecutionsTable, SqlEventLogStorageTable
from dagster._core.storage.event_log.sql_event_log import SqlEventLogStorage
from dagster._core.storage.event_log.sqlite.sqlite_event_log import INDEX_SHARD_NAME, SqliteEventLogStorage
from dagster._core.storage.runs.schema import RunTagsTable
from dagster._core.storage.runs.sql_run_storage import SqlRunStorage

FINISHED = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]

#: A file is written anew when so much of it is empty.
_EMPTY_FRACTION = 0.1


@dataclass(frozen=True)
class Pruned:
    """What was removed of Dagster's records.

    Attributes:
        runs: Runs that were removed.
        kept: Runs as old that are the newest to have made or checked something.
        bytes_before: Size of the records before; 0 where they are not files of this machine [B].
        bytes_after: Size now [B].
        busy: Files that somebody was writing, and that keep their empty pages until the next time.
    """

    runs: int
    kept: int
    bytes_before: int = 0
    bytes_after: int = 0
    busy: list[str] = field(default_factory=list)


def prune(instance: dg.DagsterInstance, before: datetime) -> Pruned:
    """Remove the runs and ticks from before an instant that nothing newer rests on.

    Each run is removed on its own, its events first: killed at any moment, the rest is done the next time.
    """
    files = RecordFiles.of(instance)
    size = files.size_bytes() if files else 0
    newest = newest_runs(instance)
    old = instance.get_run_ids(dg.RunsFilter(statuses=FINISHED, created_before=before))
    superseded = [run_id for run_id in old if run_id not in newest]
    for run_id in superseded:
        forget(instance, run_id)
    for state in instance.all_instigator_state():
        instance.purge_ticks(state.instigator_origin_id, state.selector_id, before.timestamp())
    if files is None:
        return Pruned(len(superseded), len(old) - len(superseded))
    files.remove_orphans(set(instance.get_run_ids()), before)
    busy = files.shrink()
    return Pruned(len(superseded), len(old) - len(superseded), size, files.size_bytes(), busy)


def newest_runs(instance: dg.DagsterInstance) -> set[str]:
    """The runs that made or checked a partition of an asset last, or an asset that has none."""
    events, checks = SqlEventLogStorageTable.c, AssetCheckExecutionsTable.c
    made = (
        db.select(db.func.max(events.id))
        .where(events.dagster_event_type == DagsterEventType.ASSET_MATERIALIZATION.value)
        .group_by(events.asset_key, events.partition)
    )
    by_check = checks.asset_key, checks.check_name, checks.partition
    looked = db.select(db.func.max(checks.id)).group_by(*by_check)
    judged = looked.where(checks.execution_status.in_(["SUCCEEDED", "FAILED"]))
    asked = (
        db.select(events.run_id).where(events.id.in_(made)).distinct(),
        *(db.select(checks.run_id).where(checks.id.in_(newest)).distinct() for newest in (looked, judged)),
    )
    with _events(instance).index_connection() as connection:
        return {row[0] for question in asked for row in connection.execute(question)}


def forget(instance: dg.DagsterInstance, run_id: str) -> None:
    """Remove a run, and all that Dagster recorded of it."""
    events, runs = _events(instance), _runs(instance)
    events.delete_events(run_id)
    with events.index_connection() as connection:
        connection.execute(db.delete(AssetCheckExecutionsTable).where(AssetCheckExecutionsTable.c.run_id == run_id))
    with runs.connect() as connection:
        connection.execute(db.delete(RunTagsTable).where(RunTagsTable.c.run_id == run_id))
    instance.delete_run(run_id)
    files = RecordFiles.of(instance)
    if files is not None:
        files.remove(run_id)


@dataclass(frozen=True)
class RecordFiles:
    """The SQLite files of Dagster's records: lists of runs, of events and of ticks, and one of each run's events.

    Attributes:
        runs: Folder of the files of the runs, and of the list of events.
    """

    runs: Path

    @classmethod
    def of(cls, instance: dg.DagsterInstance) -> "RecordFiles | None":
        """The files of a deployment; none if another database holds its records."""
        events = instance.event_log_storage
        if not isinstance(events, SqliteEventLogStorage):
            return None
        return cls(Path(events.path_for_shard(INDEX_SHARD_NAME)).parent)

    @property
    def lists(self) -> list[Path]:
        """The files that are not of one run."""
        home = self.runs.parent.parent
        places = self.runs / f"{INDEX_SHARD_NAME}.db", self.runs.parent / "runs.db", home / "schedules" / "schedules.db"
        return [path for path in places if path.exists()]

    def size_bytes(self) -> int:
        """Size of all of them, with their logs [B]."""
        folders = {self.runs, *(path.parent for path in self.lists)}
        return sum(path.stat().st_size for folder in folders for path in folder.glob("*.db*"))

    def remove(self, run_id: str) -> None:
        """Remove the file of a run."""
        for suffix in ("", "-wal", "-shm"):
            (self.runs / f"{run_id}.db{suffix}").unlink(missing_ok=True)

    def remove_orphans(self, known: set[str], before: datetime) -> None:
        """Remove the files of runs that are no longer known."""
        for path in self.runs.glob("?*.db"):
            is_old = path.stat().st_mtime < before.timestamp()
            if is_old and path.stem not in known and path.stem != INDEX_SHARD_NAME:
                self.remove(path.stem)

    def shrink(self, *, in_any_case: bool = False) -> list[str]:
        """Write the lists anew without the pages that are empty; names of those that somebody was writing."""
        return [path.name for path in self.lists if not _shrunk(path, in_any_case=in_any_case)]


def _shrunk(path: Path, *, in_any_case: bool) -> bool:
    with closing(sqlite3.connect(path, timeout=10, isolation_level=None)) as connection:
        empty, pages = (connection.execute(f"PRAGMA {what}").fetchone()[0] for what in ("freelist_count", "page_count"))
        if empty < _EMPTY_FRACTION * pages and not in_any_case:
            return True
        try:
            connection.execute("VACUUM")
        except sqlite3.OperationalError as refused:
            if refused.sqlite_errorname != "SQLITE_BUSY":
                raise
            return False
        is_busy: int = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
    return not is_busy


def _events(instance: dg.DagsterInstance) -> Any:  # noqa: ANN401 - Dagster's own annotations of these are partial
    """The storage of events, in a database."""
    return _of_kind(instance.event_log_storage, SqlEventLogStorage)


def _runs(instance: dg.DagsterInstance) -> Any:  # noqa: ANN401 - likewise
    return _of_kind(instance.run_storage, SqlRunStorage)


def _of_kind(storage: object, kind: type) -> object:
    if not isinstance(storage, kind):
        raise TypeError(f"Dagster's records lie in {type(storage).__name__}, which is no database")
    return storage
