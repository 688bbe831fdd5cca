"""The warehouse as servers read it: always the newest publication, and all that one request asks of the same."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb
import polars as pl
import xxhash

from bess_pipeline import logs
from bess_pipeline.lake.warehouse import PUBLICATION, at_home, attached

_LOG = logs.logger(__name__)

#: Who may not see all asks views of the same names instead, which know only rows of the fleets that were chosen;
#: where none were, no row. What names no fleet is not there at all.
_AT_SOME = "USE memory.seen; SET VARIABLE fleets = $fleets"
_WITH_FLEETS = "SELECT table_name FROM duckdb_columns() WHERE database_name = 'warehouse' AND column_name = 'fleet_id'"


class UnpublishedError(LookupError):
    """There is no warehouse yet."""


class Publication:
    """One publication of the warehouse.

    Args:
        path: Of its file as it lies there now.

    Attributes:
        tag: The same for publications of the same rows.
    """

    def __init__(self, path: Path) -> None:
        self._connection = attached(path)
        # A cursor begins where its connection began: beside the warehouse, in the time zone of the machine.
        self._at_home = at_home(path)
        try:
            self.tag = self._prepared()
        except BaseException:
            self._connection.close()
            raise

    def _prepared(self) -> str:
        """Views for those who may not see all; what tells publications of other rows apart."""
        connection = self._connection
        versions = connection.execute(f"FROM {PUBLICATION} ORDER BY ALL").fetchall()
        connection.execute("CREATE SCHEMA memory.seen")
        for (name,) in connection.execute(_WITH_FLEETS).fetchall():
            connection.execute(
                f'CREATE VIEW memory.seen."{name}" AS SELECT * FROM warehouse.main."{name}" '  # noqa: S608 - its own names
                "WHERE list_contains(getvariable('fleets'), fleet_id)"
            )
        return xxhash.xxh3_64_hexdigest(repr(versions).encode())

    def ask(
        self, sql: str, values: Mapping[str, object] | None = None, *, fleets: Sequence[str] | None = None
    ) -> pl.DataFrame:
        """The answer to a query, instants in UTC.

        Args:
            sql: The query, with names such as `$battery_id` where values go.
            values: The values, by name.
            fleets: Fleets whose rows are there for this query; all where nothing is said.
        """
        with self._connection.cursor() as cursor:
            cursor.execute(self._at_home)
            if fleets is not None:
                cursor.execute(_AT_SOME, {"fleets": list(fleets)})
            answer: pl.DataFrame = cursor.sql(sql, params=dict(values or {})).pl()
        return answer

    def for_fleets(self, fleets: Sequence[str] | None) -> Seen:
        """The publication as somebody sees it who may see these fleets; all where nothing is said."""
        return Seen(self, None if fleets is None else tuple(fleets))

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()


@dataclass(frozen=True)
class Seen:
    """A publication as somebody may see it.

    Attributes:
        publication: The publication.
        fleets: Fleets that may be seen; all where nothing is said.
    """

    publication: Publication
    fleets: tuple[str, ...] | None

    @property
    def tag(self) -> str:
        """The same for publications of the same rows, seen alike."""
        tag = self.publication.tag
        return tag if self.fleets is None else xxhash.xxh3_64_hexdigest(repr((tag, self.fleets)).encode())

    def ask(self, sql: str, values: Mapping[str, object] | None = None) -> pl.DataFrame:
        """The answer to a query; see `Publication.ask`."""
        return self.publication.ask(sql, values, fleets=self.fleets)


@dataclass
class _Held:
    """A publication that is open: the file that it is, by inode and time, and how many read it."""

    publication: Publication
    file: tuple[int, int]
    readers: int = 0


class Reader:
    """Opens each publication of a warehouse once for all threads, and closes it when nobody reads it any more.

    Args:
        path: The DuckDB file, which every publication replaces.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._newest: _Held | None = None
        self._damaged: tuple[int, int] | None = None
        self._lock = threading.Lock()

    @contextmanager
    def reading(self) -> Iterator[Publication]:
        """The newest publication; for as long as it is held it stays what it is.

        Raises:
            UnpublishedError: If there is none yet.
        """
        with self._lock:
            held = self._current()
            held.readers += 1
        try:
            yield held.publication
        finally:
            with self._lock:
                held.readers -= 1
                self._close_unless_needed(held)

    def close(self) -> None:
        """Let go of the newest publication."""
        with self._lock:
            held, self._newest = self._newest, None
            self._close_unless_needed(held)

    def _current(self) -> _Held:
        try:
            stat = self._path.stat()
        except FileNotFoundError:
            raise UnpublishedError("nothing has been published yet: the first `bess run` does") from None
        file = stat.st_ino, stat.st_mtime_ns
        if self._newest is None or self._newest.file != file:
            # One that is published at this very moment is opened under the older's name, and once more the next time.
            try:
                newer = _Held(Publication(self._path), file)
            except (duckdb.Error, OSError) as error:
                return self._instead_of(file, error)
            older, self._newest = self._newest, newer
            self._close_unless_needed(older)
        return self._newest

    def _instead_of(self, file: tuple[int, int], error: Exception) -> _Held:
        """The publication before one that cannot be read; said once of each."""
        if file != self._damaged:
            self._damaged = file
            _LOG.error("the warehouse at %s cannot be read: %s; `bess run` publishes it anew", self._path, error)
        if self._newest is None:
            raise UnpublishedError("the warehouse cannot be read: the next publication replaces it")
        return self._newest

    def _close_unless_needed(self, held: _Held | None) -> None:
        if held is not None and held is not self._newest and not held.readers:
            held.publication.close()
