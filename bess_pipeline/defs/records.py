"""Dagster's records in SQLite with their files kept open, for one launcher that writes thousands of events.

Dagster opens a file, plans each statement anew and closes the file for every event that it records: some 20 ms of
computing and three waits for the disk, several times for each part that is made.
Here a file stays open while it is written, and a commit waits for the disk only when SQLite's log is folded in:
after a loss of power the newest events may be missing, never half of one.
The files are the same, so that Dagster's own storage, in the UI and the daemon, reads and writes them beside.

References:
    SQLite, "Write-Ahead Logging", section 2.2; "PRAGMA synchronous": NORMAL keeps a database in WAL mode consistent.
"""

import json
import os
import shutil
import sqlite3
import uuid
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import Any

import sqlalchemy as db
from dagster import Field, StringSource
from dagster._core.instance.ref import InstanceRef
from dagster._core.storage.event_log.sqlite.sqlite_event_log import INDEX_SHARD_NAME, SqliteEventLogStorage
from dagster._core.storage.runs.sqlite.sqlite_run_storage import SqliteRunStorage
from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage
from dagster._serdes import ConfigurableClassData
from filelock import FileLock

from bess_pipeline.config import settings_now
from bess_pipeline.lake.durable import force

#: Dagster's storages, and what stands in for them: module and class, loaded where it is needed.
_KEPT_OPEN = {
    DagsterSqliteStorage.__name__: (__name__, "OpenRecords"),
    "OpenRecords": (__name__, "OpenRecords"),
    "DagsterPostgresStorage": ("bess_pipeline.defs.postgres_records", "PostgresRecords"),
}
#: Folders of the records within Dagster's.
_FOLDERS = ("history", "schedules")


def ref_of(home: Path) -> InstanceRef:
    """Dagster's settings of a folder, with records that stay open in the place of Dagster's own."""
    ref = InstanceRef.from_dir(str(home))
    own = ref.storage_data
    if own is None or own.class_name not in _KEPT_OPEN:
        return ref
    config = own.config_yaml
    if own.class_name == "OpenRecords" and "base_dir" not in config:
        config = json.dumps({"base_dir": str(home)})
    return ref._replace(storage_data=ConfigurableClassData(*_KEPT_OPEN[own.class_name], config))


def _engine(address: str) -> db.Engine:
    engine = db.create_engine(
        address,
        poolclass=db.QueuePool,
        pool_size=1,
        connect_args={"timeout": SQLITE_BUSY_TIMEOUT_SECONDS, "check_same_thread": False},
    )

    @db.event.listens_for(engine, "connect")
    def _wait_less(connection: Any, _: object) -> None:  # noqa: ANN401 - a connection of the driver
        connection.execute("PRAGMA synchronous=NORMAL").close()

    return engine


class OpenEvents(SqliteEventLogStorage):
    """The event log, with the index and the file of the run at work kept open."""

    def __init__(self, base_dir: str) -> None:
        self._engines: dict[str, db.Engine] = {}
        self._tables: set[str] = set()
        super().__init__(base_dir)

    @contextmanager
    def _connect(self, shard: str) -> Iterator[db.Connection]:
        with self._db_lock, self._opened(shard).begin() as connection:
            yield connection

    def _opened(self, shard: str) -> db.Engine:
        if shard not in self._engines:
            if shard != INDEX_SHARD_NAME:
                self._close(keep=INDEX_SHARD_NAME)
            engine, path = _engine(self.conn_string_for_shard(shard)), Path(self.path_for_shard(shard))
            if shard == INDEX_SHARD_NAME or path.exists():
                self._initdb(engine)
            else:
                self._begin(path)
                if not path.exists():
                    self._initdb(engine)
            self._engines[shard] = engine
        return self._engines[shard]

    def _begin(self, path: Path) -> None:
        """Put the file of a new run in its place, whole, or leave the one that another process has put there.

        Dagster makes each of its tables and indexes on its own, and waits for the disk each time.
        """
        new = path.with_name(f"{path.name}-{uuid.uuid4().hex}")
        new.write_bytes(self._empty)
        with closing(sqlite3.connect(new)) as connection:
            connection.execute("PRAGMA journal_mode=WAL").close()
        force(new)
        # Without links, as on some shares, Dagster makes the file where it lies when it is opened.
        with suppress(OSError):
            os.link(new, path)
        new.unlink()

    @cached_property
    def _empty(self) -> bytes:
        """The file of a run without events, as Dagster makes it."""
        engine = db.create_engine("sqlite://", poolclass=db.StaticPool)
        self._initdb(engine)
        with engine.connect() as connection:
            made: sqlite3.Connection = connection.connection.driver_connection  # type: ignore[assignment]
            whole = made.serialize()
        engine.dispose()
        return whole

    def _close(self, *, keep: str | None = None) -> None:
        for shard in self._engines.keys() - {keep}:
            self._engines.pop(shard).dispose()

    def has_table(self, table_name: str) -> bool:
        """Whether the index has a table; one that is there stays."""
        if table_name not in self._tables and super().has_table(table_name):
            self._tables.add(table_name)
        return table_name in self._tables

    def wipe(self) -> None:
        """Delete all events."""
        self._close()
        super().wipe()

    def dispose(self) -> None:
        """Close the files."""
        super().dispose()
        self._close()


class OpenRuns(SqliteRunStorage):
    """The list of runs, with its file kept open."""

    def __init__(self, conn_string: str, inst_data: ConfigurableClassData | None = None) -> None:
        self._engine = _engine(conn_string)
        super().__init__(conn_string, inst_data)

    @contextmanager
    def connect(self) -> Iterator[db.Connection]:
        """A connection in a transaction."""
        with self._engine.begin() as connection:
            yield connection

    def dispose(self) -> None:
        """Close the file."""
        super().dispose()
        self._engine.dispose()


def _begin(home: Path) -> None:
    """Make the files whole before they are in their place: a process that dies while it makes them leaves none.

    Dagster takes files that are there for whole, and would miss tables in them for ever.
    """
    if all((home / name).exists() for name in _FOLDERS):
        return
    home.mkdir(parents=True, exist_ok=True)
    new = home / ".records-new"
    with FileLock(home / ".records.lock"):
        if new.exists():
            shutil.rmtree(new)
        DagsterSqliteStorage.from_local(str(new)).dispose()
        for name in _FOLDERS:
            if not (home / name).exists():
                (new / name).rename(home / name)
        shutil.rmtree(new)


class OpenRecords(DagsterSqliteStorage):
    """Runs and events in files that stay open; schedules as Dagster keeps them."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        _begin(Path(base_dir))
        super().__init__(base_dir, inst_data)
        history = Path(base_dir) / "history"
        self._run_storage = OpenRuns.from_local(str(history))
        self._event_log_storage = OpenEvents(str(history / "runs"))

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        """The folder; that of the process where none is said, because a deployment may be copied elsewhere."""
        return {"base_dir": Field(StringSource, is_required=False)}

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> "OpenRecords":
        """The records of a folder."""
        return cls.from_local(config_value.get("base_dir") or str(settings_now().records), inst_data)
