"""What Dagster's records say of one fleet: searched, and removed.

Dagster has no way to forget a partition. So its tables are gone through in the words of its own schema: runs and
backfills that name the fleet go whole, ticks that started them too; what is kept of an asset as the last that
happened to it is told by what is left.
"""

import base64
import binascii
import re
import sqlite3
import zlib
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import dagster as dg
import sqlalchemy as db
from dagster._core.storage.event_log.schema import (
    AssetCheckExecutionsTable,
    AssetEventTagsTable,
    AssetKeyTable,
    SqlEventLogStorageMetadata,
    SqlEventLogStorageTable,
)
from dagster._core.storage.runs.schema import BackfillTagsTable, BulkActionsTable, RunStorageSqlMetadata, RunTagsTable
from dagster._core.storage.schedules.schema import (
    AssetDaemonAssetEvaluationsTable,
    InstigatorsTable,
    JobTable,
    JobTickTable,
    ScheduleStorageSqlMetadata,
)
from dagster._serdes import serialize_value

from bess_pipeline.defs.old_records import RecordFiles, forget
from bess_pipeline.defs.partitions import FLEETS
from bess_pipeline.defs.plan import FLEET_TAG
from bess_pipeline.lake.search import Searched, word

_PARTITION = "partition"


def remove_fleet(instance: dg.DagsterInstance, fleet_id: str) -> int:
    """Remove a fleet from Dagster's records, and with it its runs; how many they were.

    Killed at any moment, it goes on when it is asked again.
    """
    instance.delete_dynamic_partition(str(FLEETS.name), fleet_id)
    runs = _runs_of(instance, fleet_id)
    for run_id in sorted(runs):
        forget(instance, run_id)
    named = word(fleet_id)
    with instance.event_log_storage.index_connection() as events:  # type: ignore[attr-defined]
        for table, column in ((AssetCheckExecutionsTable, "partition"), (SqlEventLogStorageTable, "partition")):
            _delete(events, table, table.c[column], named)
        _delete(events, AssetEventTagsTable, AssetEventTagsTable.c.value, named)
        _delete_cached(events, named)
    with instance.run_storage.connect() as listed:  # type: ignore[attr-defined]
        for backfill in _delete(listed, BulkActionsTable, BulkActionsTable.c.body, named, told=BulkActionsTable.c.key):
            listed.execute(db.delete(BackfillTagsTable).where(BackfillTagsTable.c.backfill_id == backfill))
    with instance.schedule_storage.connect() as schedules:  # type: ignore[union-attr]
        _delete(schedules, JobTickTable, JobTickTable.c.tick_body, named)
        evaluations = AssetDaemonAssetEvaluationsTable
        _delete(schedules, evaluations, evaluations.c.asset_evaluation_body, named)
        for table, column in ((InstigatorsTable, "instigator_body"), (JobTable, "job_body")):
            _delete(schedules, table, table.c[column], named)
    _tell_last_anew(instance, named)
    return len(runs)


def searched_records(instance: dg.DagsterInstance, folder: Path, fleet_id: str) -> Searched:
    """Look for a fleet in every text of every table of Dagster's records, and in the other files of its folder.

    Texts that Dagster has compressed are opened.

    Args:
        instance: Dagster's records.
        folder: Dagster's folder.
        fleet_id: The fleet.
    """
    named, files = word(fleet_id), RecordFiles.of(instance)
    lists = [] if files is None else files.lists
    rows, found = 0, []
    for connected, metadata in (
        (instance.event_log_storage.index_connection, SqlEventLogStorageMetadata),  # type: ignore[attr-defined]
        (instance.run_storage.connect, RunStorageSqlMetadata),  # type: ignore[attr-defined]
        (instance.schedule_storage.connect, ScheduleStorageSqlMetadata),  # type: ignore[union-attr]
    ):
        with connected() as connection:
            there = set(db.inspect(connection).get_table_names())
            for table in metadata.sorted_tables:
                if table.name in there:
                    counted, hits = _hits((row for row in connection.execute(db.select(table))), named)
                    rows += counted
                    found += [f"Dagster's records: {hits} rows of {table.name}"] if hits else []
    others = [path for path in sorted(folder.rglob("*")) if path.is_file() and path not in lists]
    for path in others:
        if path.suffix == ".db":
            counted, hits = _hits(_rows_of_file(path), named)
            rows += counted
        else:
            hits = int(named.search(path.read_bytes().decode("utf-8", "replace")) is not None)
        found += [f"{path}: {hits} places"] if hits else []
    size = sum(path.stat().st_size for path in (*others, *lists))
    return Searched(len(others) + len(lists), rows, size, tuple(found))


def _runs_of(instance: dg.DagsterInstance, fleet_id: str) -> set[str]:
    """Runs that a tag or a partition ties to a fleet."""
    named, tags, events = word(fleet_id), RunTagsTable.c, SqlEventLogStorageTable.c
    with instance.run_storage.connect() as connection:  # type: ignore[attr-defined]
        tagged = connection.execute(db.select(tags.run_id, tags.key, tags.value).where(tags.value.contains(fleet_id)))
        runs = {
            run_id
            for run_id, key, value in tagged
            if (key == FLEET_TAG or _PARTITION in key or key.endswith("run_key")) and named.search(value)
        }
    with instance.event_log_storage.index_connection() as connection:  # type: ignore[attr-defined]
        made = connection.execute(
            db.select(events.run_id, events.partition).where(events.partition.contains(fleet_id)).distinct()
        )
        return runs | {run_id for run_id, partition in made if named.search(partition)}


def _delete(
    connection: db.Connection,
    table: db.Table,
    column: db.Column[Any],
    named: re.Pattern[str],
    *,
    told: db.Column[Any] | None = None,
) -> list[Any]:
    """Remove the rows of a table that name the fleet in a column; what another column said of them."""
    other = table.c.id if told is None else told
    rows = connection.execute(db.select(table.c.id, column, other).where(column.is_not(None))).fetchall()
    hits = [(row[0], row[2]) for row in rows if _names(row[1], named)]
    for at, _ in hits:
        connection.execute(db.delete(table).where(table.c.id == at))
    return [other for _, other in hits]


def _delete_cached(connection: db.Connection, named: re.Pattern[str]) -> None:
    """Let Dagster find out anew which partitions of an asset there are."""
    keys = AssetKeyTable.c
    for at, cached in connection.execute(db.select(keys.id, keys.cached_status_data)).fetchall():
        if _names(cached, named):
            connection.execute(db.update(AssetKeyTable).where(keys.id == at).values(cached_status_data=None))


def _tell_last_anew(instance: dg.DagsterInstance, named: re.Pattern[str]) -> None:
    """Put the newest materialization that is left in the place of one of the fleet, for each asset."""
    keys = AssetKeyTable.c
    with instance.event_log_storage.index_connection() as connection:  # type: ignore[attr-defined]
        told = connection.execute(db.select(keys.asset_key, keys.last_materialization)).fetchall()
    for text, last in told:
        asset = dg.AssetKey.from_db_string(text)
        if asset is None or not _names(last, named):
            continue
        left = instance.fetch_materializations(asset, limit=1).records
        values = {"last_materialization": serialize_value(left[0]) if left else None}
        with instance.event_log_storage.index_connection() as connection:  # type: ignore[attr-defined]
            connection.execute(db.update(AssetKeyTable).where(keys.asset_key == text).values(**values))


def _hits(rows: Iterator[Any], named: re.Pattern[str]) -> tuple[int, int]:
    """How many rows there are, and how many name the fleet."""
    counted = hits = 0
    for row in rows:
        counted += 1
        hits += any(_names(value, named) for value in row)
    return counted, hits


def _rows_of_file(path: Path) -> Iterator[Any]:
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        for (table,) in tables:
            yield from connection.execute(f'SELECT * FROM "{table}"')  # noqa: S608 - a name from the file itself


def _names(value: object, named: re.Pattern[str]) -> bool:
    """Whether a value of a table names the fleet, as it is or once it is opened."""
    if isinstance(value, str):
        return bool(named.search(value)) or any(named.search(text) for text in _opened(_decoded(value)))
    return isinstance(value, bytes) and any(named.search(text) for text in _opened(value))


def _opened(value: bytes) -> Iterator[str]:
    try:
        yield zlib.decompress(value).decode("utf-8", "replace")
    except zlib.error:
        yield value.decode("utf-8", "replace")


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""
