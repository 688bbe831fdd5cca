"""The warehouse: one DuckDB file that analysts open, replaced whole by an atomic rename."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import dataframely as dy
import duckdb
import polars as pl

from bess_pipeline import logs
from bess_pipeline.lake.contracts import stored_contract
from bess_pipeline.lake.failures import StorageFullError, is_lack_of_room
from bess_pipeline.lake.store import Lake, Snapshot
from bess_pipeline.lake.views import VIEWS
from bess_pipeline.tables import catalog
from bess_pipeline.tables.catalog import Table
from bess_pipeline.tables.columns import meaning_of

_LOG = logs.logger(__name__)

#: A file format that every client from DuckDB 1.0 on can open.
_STORAGE_VERSION = "v1.0.0"

#: The table that tells which version of each table was published.
PUBLICATION = "publication"

#: A publication takes minutes: an unfinished one this old has died [s].
_UNFINISHED, _ABANDONED_SECONDS = ".publish-", 6 * 3600


class QueryError(ValueError):
    """A query that the warehouse cannot answer."""


@dataclass(frozen=True)
class Published:
    """One publication: rows by table, and the size of the file [B]."""

    rows: dict[str, int]
    size_bytes: int


class Warehouse:
    """The DuckDB file of a deployment.

    It is built beside the old one and renamed over it: readers that have the old
    one open go on with it, new ones get the new one, nobody sees half of one.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def versions(self) -> dict[str, int]:
        """Table → version that last changed the rows that were published; empty before the first.

        Empty as well where the file is damaged: it is behind anything, and the next publication replaces it.
        """
        if not self.path.exists():
            return {}
        try:
            with self.connection() as connection:
                return dict(connection.execute(f"SELECT table_name, version FROM {PUBLICATION}").fetchall())  # noqa: S608
        except (QueryError, duckdb.Error) as error:
            _LOG.error("%s", error)
            return {}

    def is_current(self, lake: Lake) -> bool:
        """Whether the file holds what the lake holds, apart from what is only published along."""
        held = self.versions()
        return held.keys() == {table.name for table in catalog.PUBLISHED} and all(
            held[table.name] == lake.rows_version(table) for table in catalog.PUBLISHED if table not in catalog.ALONG
        )

    @contextmanager
    def connection(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A read-only connection, times in UTC.

        Raises:
            FileNotFoundError: If nothing has been published yet.
            QueryError: If the file is damaged.
        """
        if not self.path.exists():
            raise FileNotFoundError(f"no warehouse at {self.path} yet: run `bess run` first")
        try:
            opened = attached(self.path)
        except duckdb.Error as error:
            reason = str(error).split("\n", maxsplit=1)[0]
            raise QueryError(f"the warehouse is damaged ({reason}): `bess run` publishes it anew") from None
        with opened as connection:
            yield connection

    def query(self, sql: str) -> pl.DataFrame:
        """The answer to a query.

        Raises:
            QueryError: If the query is none, or names what is not there; with DuckDB's explanation.
        """
        with self.connection() as connection:
            try:
                relation: duckdb.DuckDBPyRelation | None = connection.sql(sql)
                answer: pl.DataFrame = pl.DataFrame() if relation is None else relation.pl()
            except duckdb.Error as error:
                raise QueryError(str(error)) from error
        return answer

    def publish(self, lake: Lake) -> Published:
        """Write the lake's published tables, each as of now, into a new file and put it in place.

        Raises:
            StorageFullError: If there is no room for a second one beside the one that is there.
            DamagedError: If a file of the lake cannot be read.
        """
        began = time.monotonic()
        try:
            rows, size = self._renewed(lake)
        except (duckdb.Error, OSError) as error:
            if is_lack_of_room(error):
                raise StorageFullError(
                    f"no room in {self.path.parent} for a new warehouse beside the old one, which stays: free some, "
                    "the next run publishes"
                ) from None
            raise
        count = {"rows": sum(rows.values()), "size_bytes": size, "seconds": round(time.monotonic() - began, 1)}
        _LOG.info("warehouse published: %d rows, %d bytes", count["rows"], size, extra=count)
        return Published(rows, size)

    def _renewed(self, lake: Lake) -> tuple[dict[str, int], int]:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.discard_unfinished(older_than_seconds=_ABANDONED_SECONDS)
        with tempfile.TemporaryDirectory(dir=self.path.parent, prefix=_UNFINISHED) as folder:
            built = Path(folder) / self.path.name
            rows = _built(built, lake)
            with built.open("rb") as file:
                os.fsync(file.fileno())
            size = built.stat().st_size
            built.replace(self.path)
        return rows, size

    def discard_unfinished(self, *, older_than_seconds: float = 0) -> None:
        """Remove what publications that were killed have left behind; nobody must be publishing."""
        for folder in self.path.parent.glob(f"{_UNFINISHED}*"):
            if time.time() - folder.stat().st_mtime >= older_than_seconds:
                _LOG.warning("%s is left of a publication that died: removed", folder)
                shutil.rmtree(folder)


def attached(path: Path) -> duckdb.DuckDBPyConnection:
    """A read-only connection to the file that lies at a path now, times in UTC.

    Connected to by its path, DuckDB would hand out the file that another thread of the process has opened there before,
    though it was replaced since.
    """
    connection = duckdb.connect(config={"autoinstall_known_extensions": False})
    try:
        connection.execute(f"ATTACH '{_quoted(path)}' AS warehouse (TYPE duckdb, READ_ONLY)")
        connection.execute("USE warehouse")
        connection.execute("SET TimeZone = 'UTC'")
    except BaseException:
        connection.close()
        raise
    return connection


def _built(path: Path, lake: Lake) -> dict[str, int]:
    rows: dict[str, int] = {}
    versions: list[tuple[str, int]] = []
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute(f"ATTACH '{_quoted(path)}' AS built (STORAGE_VERSION '{_STORAGE_VERSION}')")
        connection.execute("USE built")
        for table in catalog.PUBLISHED:
            with _at_hand(lake, table, beside=path.parent) as snapshot:
                versions.append((table.name, snapshot.version))
                rows[table.name] = _copied(connection, table, lake, snapshot.files)
        for view in VIEWS:
            connection.execute(f"CREATE VIEW {view.name} AS {view.sql}")
            connection.execute(f"COMMENT ON VIEW {view.name} IS '{_quoted(view.about)}'")
            meanings = view.meanings()
            for name in connection.sql(f"FROM {view.name} LIMIT 0").columns:
                connection.execute(f"COMMENT ON COLUMN {view.name}.\"{name}\" IS '{_quoted(meanings[name])}'")
        connection.execute(f"CREATE TABLE {PUBLICATION} (table_name VARCHAR, version BIGINT)")
        connection.executemany(f"INSERT INTO {PUBLICATION} VALUES (?, ?)", versions)  # noqa: S608
        connection.execute(f"COMMENT ON TABLE {PUBLICATION} IS 'Version of each table of the lake published here'")
        connection.execute("USE memory")
        connection.execute("DETACH built")
    return rows


@contextmanager
def _at_hand(lake: Lake, table: Table, *, beside: Path) -> Iterator[Snapshot]:
    """A version of a table with its files on this machine, in a folder beside the warehouse if they lie elsewhere.

    DuckDB reads object stores by an extension that it would have to download.
    """
    if not lake.is_remote:
        yield lake.snapshot(table)
        return
    with tempfile.TemporaryDirectory(dir=beside, prefix=table.name) as folder:
        copy = Path(folder) / "rows.parquet"
        yield Snapshot(lake.fetch(table, copy), [str(copy)])


def _copied(connection: duckdb.DuckDBPyConnection, table: Table, lake: Lake, files: list[str]) -> int:
    """Fill one table from files, whose paths name the fleet and the day where their columns do not; rows in it."""
    columns = stored_contract(table).columns()
    listed = ", ".join(f'"{name}" {sql_type(column)}' for name, column in columns.items())
    connection.execute(f"CREATE TABLE {table.name} ({listed})")
    if files:
        names = ", ".join(f'"{name}"' for name in columns)
        order = ", ".join(["fleet_id", *table.sort])
        kinds = ", 'date': DATE" if table.by_day else ""
        in_path = (
            f", hive_partitioning = true, hive_types = {{'fleet_id': VARCHAR{kinds}}}" if not lake.is_remote else ""
        )
        source = f"read_parquet($files{in_path})"
        try:
            connection.execute(
                f"INSERT INTO {table.name} SELECT {names} FROM {source} ORDER BY {order}",  # noqa: S608
                {"files": files},
            )
        except duckdb.Error as error:
            raise lake.diagnosis(table, None, error) from None
    connection.execute(f"COMMENT ON TABLE {table.name} IS '{_quoted(table.grain)}'")
    for name, column in columns.items():
        connection.execute(f"COMMENT ON COLUMN {table.name}.\"{name}\" IS '{_quoted(meaning_of(column))}'")
    counted = connection.execute(f"SELECT count(*) FROM {table.name}").fetchone()  # noqa: S608
    return int(counted[0]) if counted else 0


def sql_type(column: dy.Column) -> str:
    """The type of a column in the warehouse."""
    names: dict[type[dy.Column], str] = {
        dy.String: "VARCHAR",
        dy.Float64: "DOUBLE",
        dy.Int64: "BIGINT",
        dy.Bool: "BOOLEAN",
        dy.Date: "DATE",
        dy.Datetime: "TIMESTAMPTZ",
    }
    return names[type(column)]


def _quoted(text: object) -> str:
    return str(text).replace("'", "''")
