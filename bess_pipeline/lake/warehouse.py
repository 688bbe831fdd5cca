"""The warehouse: a DuckDB file that analysts open, replaced whole by an atomic rename.

Its tables are in it, but for the large ones (`monthly`), which are views over Parquet files beside it.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import dataframely as dy
import duckdb
import polars as pl

from bess_pipeline import logs
from bess_pipeline.lake import monthly
from bess_pipeline.lake.contracts import stored_contract
from bess_pipeline.lake.failures import StorageFullError, is_lack_of_room
from bess_pipeline.lake.monthly import MONTHLY, quoted
from bess_pipeline.lake.store import Lake, Snapshot
from bess_pipeline.lake.views import VIEWS
from bess_pipeline.tables import catalog
from bess_pipeline.tables.catalog import Table
from bess_pipeline.tables.columns import meaning_of

_LOG = logs.logger(__name__)

#: A file format that every client from DuckDB 1.0 on can open.
_STORAGE_VERSION = "v1.0.0"

#: The table that tells which version of each table was published, and the one that tells which files lie beside.
PUBLICATION, FILES = "publication", "publication_files"

#: A file beside the warehouse that is no longer needed stays for those who have an earlier publication open [s].
_LINGER_SECONDS = 24 * 3600

#: A publication takes minutes: an unfinished one this old has died [s].
_UNFINISHED, _ABANDONED_SECONDS = ".publish-", 6 * 3600

#: Types of DuckDB's that Polars does not have.
_FOREIGN = ("INTERVAL", "UNION")


class QueryError(ValueError):
    """A query that the warehouse cannot answer."""


@dataclass(frozen=True)
class Published:
    """One publication: rows by table, and the size of its files [B]."""

    rows: dict[str, int]
    size_bytes: int


class Warehouse:
    """The DuckDB file of a deployment, and the files beside it.

    It is built beside the old one and renamed over it: readers that have the old
    one open go on with it, new ones get the new one, nobody sees half of one. Files
    beside it go a day after the last publication that needed them.
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
        if any(not (self.path.parent / path).exists() for path in self.files()):
            return False
        return held.keys() == {table.name for table in catalog.PUBLISHED} and all(
            held[table.name] == lake.rows_version(table) for table in catalog.PUBLISHED if table not in catalog.ALONG
        )

    def files(self) -> list[str]:
        """Files beside the warehouse that it reads, below its folder; none before the first publication."""
        if not self.versions():
            return []
        with self.connection() as connection:
            if not connection.execute("FROM duckdb_tables() WHERE table_name = ?", [FILES]).fetchall():
                return []  # a publication of an earlier version of the pipeline
            return [str(path) for (path,) in connection.execute(f"SELECT path FROM {FILES} ORDER BY path").fetchall()]  # noqa: S608

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
        """The answer to a query; what Polars has no type for, as text: spans of time above all.

        Raises:
            QueryError: If the query is none, or names what is not there; with DuckDB's explanation.
        """
        with self.connection() as connection:
            try:
                relation: duckdb.DuckDBPyRelation | None = connection.sql(sql)
                answer: pl.DataFrame = pl.DataFrame() if relation is None else _readable(relation).pl()
            except duckdb.Error as error:
                raise QueryError(str(error)) from error
        return answer

    def publish(self, lake: Lake, *, linger_seconds: float = _LINGER_SECONDS) -> Published:
        """Write the lake's published tables, each as of now, into a new file and put it in place.

        Args:
            lake: The lake.
            linger_seconds: How long files that are no longer needed stay [s].

        Raises:
            StorageFullError: If there is no room for a second one beside the one that is there.
            DamagedError: If a file of the lake cannot be read.
        """
        began = time.monotonic()
        try:
            rows, size = self._renewed(lake, linger_seconds)
        except (duckdb.Error, OSError, pl.exceptions.PolarsError) as error:
            if is_lack_of_room(error):
                raise StorageFullError(
                    f"no room in {self.path.parent} for a new warehouse beside the old one, which stays: free some, "
                    "the next run publishes"
                ) from None
            raise
        count = {"rows": sum(rows.values()), "size_bytes": size, "seconds": round(time.monotonic() - began, 1)}
        _LOG.info("warehouse published: %d rows, %d bytes", count["rows"], size, extra=count)
        return Published(rows, size)

    def _renewed(self, lake: Lake, linger_seconds: float) -> tuple[dict[str, int], int]:
        place = self.path.parent
        place.mkdir(parents=True, exist_ok=True)
        self.discard_unfinished(older_than_seconds=_ABANDONED_SECONDS)
        before = self.files()
        with tempfile.TemporaryDirectory(dir=place, prefix=_UNFINISHED) as folder:
            built = Path(folder) / self.path.name
            rows, needed = _built(built, lake, place)
            with built.open("rb") as file:
                os.fsync(file.fileno())
            size = built.stat().st_size + sum((place / path).stat().st_size for path in needed)
            built.replace(self.path)
        monthly.sweep(place, needed, before, linger_seconds=linger_seconds)
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
        connection.execute(f"ATTACH {quoted(path)} AS warehouse (TYPE duckdb, READ_ONLY)")
        connection.execute(at_home(path))
    except BaseException:
        connection.close()
        raise
    return connection


def at_home(path: Path) -> str:
    """What a connection or a cursor on an attached warehouse begins with: its names, UTC, and where its files are."""
    folder = quoted(f"{path.resolve().parent}/")
    settings = "SET TimeZone = 'UTC'; SET parquet_metadata_cache = true"  # files beside it never change
    return f"USE warehouse; {settings}; SET VARIABLE {monthly.FOLDER} = {folder}"


def _built(path: Path, lake: Lake, place: Path) -> tuple[dict[str, int], list[str]]:
    """Build the file; rows by table, and the files beside it that it reads."""
    rows: dict[str, int] = {}
    versions: list[tuple[str, int]] = []
    beside: list[tuple[str, str]] = []
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute(f"ATTACH {quoted(path)} AS built (STORAGE_VERSION '{_STORAGE_VERSION}')")
        connection.execute("USE built")
        # In one transaction: each statement would wait for the disk, and the file is nobody's before it is whole.
        connection.begin()
        for table in catalog.PUBLISHED:
            if table in MONTHLY:
                versions.append((table.name, lake.rows_version(table)))
                months = monthly.months(lake, table)
                new = monthly.write(lake, table, months, place, path.parent)
                _LOG.info("%s: %d of %d files written anew", table.name, new, len(months))
                paths = [month.path for month in months]
                beside += [(table.name, path) for path in paths]
                rows[table.name] = sum(month.rows for month in months)
                _view(connection, table, paths, place)
                continue
            with _at_hand(lake, table, beside=path.parent) as snapshot:
                versions.append((table.name, snapshot.version))
                rows[table.name] = _copied(connection, table, lake, snapshot.files)
        for view in VIEWS:
            connection.execute(f"CREATE VIEW {view.name} AS {view.sql}")
            connection.execute(f"COMMENT ON VIEW {view.name} IS {quoted(view.about)}")
            meanings = view.meanings()
            for name in connection.sql(f"FROM {view.name} LIMIT 0").columns:
                connection.execute(f'COMMENT ON COLUMN {view.name}."{name}" IS {quoted(meanings[name])}')
        told = "Version of the table in the lake that was published"
        _note(
            connection, PUBLICATION, "Which version of each table was published.", ("version", "BIGINT", told), versions
        )
        told = "Where the file is, below the folder of the warehouse"
        _note(connection, FILES, "Which files the large tables are read from.", ("path", "VARCHAR", told), beside)
        connection.commit()
        connection.execute("USE memory")
        connection.execute("DETACH built")
    return rows, [path for _, path in beside]


def _note(
    connection: duckdb.DuckDBPyConnection,
    name: str,
    about: str,
    column: tuple[str, str, str],
    rows: Sequence[tuple[str, object]],
) -> None:
    """Write what the publication says of itself: a table of tables and one column, with its type and meaning."""
    told, kind, meaning = column
    connection.execute(f"CREATE TABLE {name} (table_name VARCHAR, {told} {kind})")
    if rows:
        connection.executemany(f"INSERT INTO {name} VALUES (?, ?)", rows)  # noqa: S608 - names of our own
    connection.execute(f"COMMENT ON TABLE {name} IS {quoted(about)}")
    connection.execute(f"COMMENT ON COLUMN {name}.table_name IS 'Table of the warehouse'")
    connection.execute(f"COMMENT ON COLUMN {name}.{told} IS {quoted(meaning)}")


def _view(connection: duckdb.DuckDBPyConnection, table: Table, paths: list[str], place: Path) -> None:
    """A view over the files of a large table, with the meanings of its columns."""
    columns = stored_contract(table).columns()
    kinds = {name: sql_type(column) for name, column in columns.items()}
    connection.execute(f"CREATE VIEW {table.name} AS {monthly.view(paths, place.resolve(), kinds)}")
    connection.execute(f"COMMENT ON VIEW {table.name} IS {quoted(table.grain)}")
    for name, column in columns.items():
        connection.execute(f'COMMENT ON COLUMN {table.name}."{name}" IS {quoted(meaning_of(column))}')


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
    connection.execute(f"COMMENT ON TABLE {table.name} IS {quoted(table.grain)}")
    for name, column in columns.items():
        connection.execute(f'COMMENT ON COLUMN {table.name}."{name}" IS {quoted(meaning_of(column))}')
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


def _readable(relation: duckdb.DuckDBPyRelation) -> duckdb.DuckDBPyRelation:
    """A relation whose columns Polars can hold."""
    foreign = [any(kind in str(of) for kind in _FOREIGN) for of in relation.types]
    if not any(foreign):
        return relation
    columns = enumerate(zip(relation.columns, foreign, strict=True), start=1)
    texts = [f"{f'CAST(#{at} AS VARCHAR)' if odd else f'#{at}'} AS {_named(name)}" for at, (name, odd) in columns]
    return relation.project(", ".join(texts))


def _named(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
