"""The lake: Delta tables that are scanned lazily and replaced slice by slice."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from typing import Literal

import deltalake
import polars as pl
import pyarrow as pa
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError

from bess_pipeline.config import at_least_two_threads
from bess_pipeline.lake import commits
from bess_pipeline.lake.changes import (
    changed_days,
    facts_of,
    fingerprint_of,
    whole_months,
    with_its_months,
    with_known_provenance,
)
from bess_pipeline.lake.contracts import (
    RECEIVED,
    ContractError,
    arrow_schema,
    checked,
    delta_schema,
    fields_of,
    fields_today,
    filled,
    in_one_batch,
    in_order,
    stored_schema,
    unprefixed,
)
from bess_pipeline.lake.durable import force_commit
from bess_pipeline.lake.failures import DamagedError
from bess_pipeline.lake.scans import is_newest, read_through, scanned
from bess_pipeline.lake.slices import Months, Part, Slice, months_of
from bess_pipeline.lake.streaming import MOST_COMMITS, PARQUET, UnmadeError, streamed
from bess_pipeline.lake.transient import FAILURES, OPTIONS, USUAL, Patience, said
from bess_pipeline.tables import catalog
from bess_pipeline.tables.catalog import Table
from bess_pipeline.window import contiguous

_log = logging.getLogger(__name__)

#: What a commit carries, so that whoever made it knows it again when the answer was lost.
_MARK = "bess_write"


@dataclass(frozen=True)
class Written:
    """What one replacement did: rows in the slice now, and the table's version."""

    rows: int
    version: int


@dataclass(frozen=True)
class Snapshot:
    """The version of a table that last changed its rows, and the addresses of its Parquet files."""

    version: int
    files: list[str]


class Lake:
    """All Delta tables of one deployment.

    A write always names its slice and replaces it whole, in one commit: written
    twice is written once. Rows that break the contract or lie outside the slice
    are refused before anything is written.

    Args:
        uri: Folder or object-store address; credentials come from the standard variables of that cloud.
        patience: How long an operation is begun again while the storage is away.

    Raises:
        StorageError: By every method, if the storage is away for too long, full, closed, or has a damaged file.
    """

    def __init__(self, uri: str, patience: timedelta = USUAL) -> None:
        at_least_two_threads(pl.thread_pool_size())
        self.uri = uri.rstrip("/")
        self.is_remote = "://" in uri and not uri.startswith("file://")
        self._open: dict[str, deltalake.DeltaTable] = {}
        self.patience = Patience(self.uri, patience)

    def __repr__(self) -> str:
        return f"Lake({self.uri!r})"

    def address(self, table: Table) -> str:
        """Where a table lies."""
        return f"{self.uri}/{table.name}"

    def create(self) -> None:
        """Create every table that is not there yet, and fit those of an earlier version to today's columns.

        What was received gets the new columns, empty in the rows that are there; what
        is made from it begins anew, and its earlier rows stay in the table's versions.
        Safe to call from many processes.

        Raises:
            ContractError: If a table of received rows has a column of another type than today's.
        """
        for table in catalog.TABLES.values():
            self.patience.run(f"creating {table.name}", partial(self._fit, table))

    def _fit(self, table: Table) -> None:
        """Create one table, or fit it to today's columns."""
        delta = self._found(table)
        if delta is None:
            self._begin(table, "ignore")
        elif (held := fields_of(delta.schema())) != (today := fields_today(table)):
            if table.layer not in RECEIVED:
                self._begin(table, "overwrite")
                return
            changed = [name for name, kind in today.items() if held.get(name, kind) != kind]
            if changed:
                raise ContractError(f"{table.name}: {', '.join(changed)} had another type; restore that version")
            missing = [field for field in delta_schema(table).fields if field.name not in held]
            if missing:
                delta.alter.add_columns(missing)

    def outdated(self) -> list[str]:
        """Names of tables that are not there yet, or not with today's columns: what `create` would put right."""

        def is_outdated(table: Table) -> bool:
            delta = self._found(table)
            return delta is None or fields_of(delta.schema()) != fields_today(table)

        tables = catalog.TABLES.items()
        return [name for name, table in tables if self.patience.run(f"opening {name}", partial(is_outdated, table))]

    @property
    def _options(self) -> dict[str, str] | None:
        return OPTIONS if self.is_remote else None

    def _found(self, table: Table) -> deltalake.DeltaTable | None:
        # `DeltaTable.is_deltatable` would hold the interpreter's lock while it waits for the storage.
        try:
            return deltalake.DeltaTable(self.address(table), storage_options=self._options)
        except TableNotFoundError:
            return None

    def _begin(self, table: Table, mode: Literal["ignore", "overwrite"]) -> None:
        deltalake.DeltaTable.create(
            self.address(table),
            schema=arrow_schema(table),
            mode=mode,
            partition_by=table.partition_by,
            name=table.name,
            description=table.grain,
            storage_options=self._options,
        )
        self._open.pop(table.name, None)

    def delta(self, table: Table) -> deltalake.DeltaTable:
        """The Delta table, as of now."""
        known = self._open.get(table.name)
        if known is not None:
            if "://" not in self.uri and is_newest(known, Path(self.address(table))):
                return known
            try:
                self.patience.run(f"opening {table.name}", known.update_incremental)
            except DeltaError as error:
                _log.info("%s is opened anew, as after a backup was put back: %s", table.name, said(error))
                self._open.pop(table.name, None)
            else:
                return known
        found = self.patience.run(f"opening {table.name}", lambda: self._found(table))
        if found is None:
            self.patience.run(f"creating {table.name}", partial(self._fit, table))
            return self.delta(table)
        self._open[table.name] = found
        return found

    def files(self, table: Table) -> pl.DataFrame:
        """The Parquet files of a table as it is now: `path` below its address, and what its log says of each."""
        delta = self.delta(table)
        return self.patience.run(
            f"listing {table.name}", lambda: pl.DataFrame(delta.get_add_actions(flatten=True)).rename(unprefixed)
        )

    def version(self, table: Table) -> int:
        """The number of the table's last commit."""
        return self.delta(table).version()

    def rows_version(self, table: Table) -> int:
        """The number of the last commit that changed rows; upkeep, which stores the same rows another way, is none."""
        delta = self.delta(table)
        return self.patience.run(f"listing {table.name}", lambda: commits.rows_version(delta))

    def snapshot(self, table: Table) -> Snapshot:
        """What the table holds now: see `rows_version`, and the Parquet files that make it up."""
        delta = self.delta(table)
        return self.patience.run(
            f"listing {table.name}", lambda: Snapshot(commits.rows_version(delta), delta.file_uris())
        )

    def fetch(self, table: Table, to: Path) -> int:
        """Copy the rows of a table as of now into one file of this machine, as a stream; see `rows_version`."""
        version = self.rows_version(table)
        self.patience.run(f"reading {table.name}", lambda: self.scan(table).sink_parquet(to))
        return version

    def scan(self, table: Table, part: Part | None = None) -> pl.LazyFrame:
        """The rows of a slice, or of the whole table, lazily, as of now.

        Whoever collects them meets the storage as it is then; `read` and `ask` are patient with it.

        Returns:
            Columns as stored; order within the slice is that of the files: sort if it matters.
        """
        files = scanned(self.delta(table), is_remote=self.is_remote)
        if part is not None and table.by_month:
            files = files.filter(months_of(part, table.until))
        frame = files.select(stored_schema(table).names())
        if table.layer in RECEIVED:
            frame = frame.with_columns(filled(table))
        return frame if part is None else frame.filter(part.rows())

    def read(
        self, table: Table, part: Part | None = None, only: pl.Expr | None = None, columns: Sequence[str] = ()
    ) -> pl.DataFrame:
        """The rows of a slice, or of the whole table, in the table's order; some, or some columns, if asked so."""
        inside, names = pl.lit(value=True) if only is None else only, columns or stored_schema(table).names()
        rows = self.ask(table, part, lambda rows: rows.filter(inside).select(names))
        return in_order(rows, ("fleet_id", *table.sort))

    def ask(self, table: Table, part: Part | None, question: Callable[[pl.LazyFrame], pl.LazyFrame]) -> pl.DataFrame:
        """The answer to a question on the rows of a slice, or of the whole table; asked again if it has to be.

        Raises:
            DamagedError: If a file cannot be read; the message names it.
        """
        try:
            return self.patience.run(f"reading {table.name}", lambda: question(self.scan(table, part)).collect())
        except FAILURES as error:
            raise self.diagnosis(table, part, error) from None

    def damaged(self, table: Table, part: Part | None = None) -> Iterator[tuple[dict[str, object], str]]:
        """Files of a slice that cannot be read: what the log says of each, and why not."""
        files = self.files(table)
        of_fleet = pl.lit(value=True) if part is None else pl.col("fleet_id") == part.fleet_id
        window = part.window if isinstance(part, Slice) and table.by_day else None
        for row in files.filter(of_fleet if window is None else of_fleet & window.days()).iter_rows(named=True):
            file = f"{self.address(table)}/{row['path']}"
            try:
                self.patience.run(f"reading {row['path']}", partial(read_through, file, is_remote=self.is_remote))
            except FAILURES as error:
                yield row, said(error)

    def diagnosis(self, table: Table, part: Part | None, error: BaseException) -> BaseException:
        """What it is that a table could not be read for: a damaged file, or the error as it is."""
        for row, reason in self.damaged(table, part):
            return DamagedError(
                f"{self.address(table)}/{row['path']} cannot be read ({reason}); `bess mend` tells which files cannot, "
                "and lets the next `bess run` make their rows again"
            )
        return error

    def count(self, table: Table, part: Part) -> int:
        """How many rows a part of a table holds; those of a whole fleet by the table's log alone."""
        if part == Slice(part.fleet_id):
            files = self.files(table)
            return 0 if files.is_empty() else int(files.filter(part.rows())["num_records"].sum())
        return int(self.ask(table, part, lambda rows: rows.select(pl.len())).item())

    def rows_by_day(self, table: Table, part: Slice) -> dict[date, int]:
        """How many rows each day of a slice holds; see `files_by_day`."""
        return {day: rows for day, (_, rows) in self.files_by_day(table, part).items()}

    def files_by_day(self, table: Table, part: Slice) -> dict[date, tuple[int, int]]:
        """How many files each day of a slice lies in, and how many rows they hold, from the table's log alone.

        Raises:
            ValueError: If the table is not partitioned by day.
        """
        if not table.by_day:
            raise ValueError(f"{table.name} is not partitioned by day")
        files = self.files(table)
        if files.is_empty():
            return {}
        days = files.filter(part.rows() & pl.col("date").is_not_null()).group_by("date")
        return {day: (files, rows) for day, files, rows in days.agg(pl.len(), pl.col("num_records").sum()).iter_rows()}

    def replace(self, table: Table, frames: pl.DataFrame | Iterable[pl.DataFrame], part: Part) -> Written:
        """Replace a slice of a table, atomically, by the rows given.

        Where upkeep has stored the slice's rows another way in the meantime, rows that
        were given whole are written again; batches meet no upkeep, which leaves days alone.

        Args:
            table: The table.
            frames: The new rows, whole or batch by batch; one is made while another is written. Gone through
                again if the storage was away in between.
            part: The slice that they are, all of it.

        Returns:
            Rows written and the new version.

        Raises:
            ContractError: If a row breaks the contract or lies outside the slice; nothing is written then.
            DamagedError: If a file that holds rows of the slice and others cannot be read.
            TypeError: If the batches can be gone through but once.
        """
        batches = [frames] if isinstance(frames, pl.DataFrame) else frames
        if isinstance(batches, Iterator):
            raise TypeError(f"batches that can be gone through again are needed, got {type(batches).__name__}")
        written = 0

        def write(delta: deltalake.DeltaTable, commit: deltalake.CommitProperties) -> None:
            nonlocal written
            written = streamed(delta, table, batches, part, commit)

        while True:
            opened = self.delta(table)
            since = opened.version()
            try:
                version = self._committed(table, opened, write)
            except UnmadeError as unmade:
                raise unmade.reason from None
            except CommitFailedError:
                stored_anew = commits.only_stored_anew(self.delta(table), part.fleet_id, since)
                if not (isinstance(frames, pl.DataFrame) and stored_anew):
                    raise
            except FAILURES as error:
                raise self.diagnosis(table, part, error) from None
            else:
                return Written(written, version)

    def append(self, table: Table, frame: pl.DataFrame, part: Part) -> Written:
        """Add rows to a part of a table; two that do so at once both succeed.

        Raises:
            ContractError: As `replace`.
        """
        ready = checked(table, frame, part)

        def write(delta: deltalake.DeltaTable, commit: deltalake.CommitProperties) -> None:
            deltalake.write_deltalake(
                delta,
                pa.RecordBatchReader.from_batches(arrow_schema(table), in_one_batch(table, ready)),
                mode="append",
                writer_properties=PARQUET,
                commit_properties=commit,
            )

        return Written(ready.height, self._committed(table, self.delta(table), write))

    def _committed(
        self,
        table: Table,
        opened: deltalake.DeltaTable,
        write: Callable[[deltalake.DeltaTable, deltalake.CommitProperties], None],
    ) -> int:
        """Write once to a table as just opened, however often it has to be tried; its version then.

        A commit whose answer was lost is found by its mark.
        """
        mark, before = uuid.uuid4().hex, opened.version()
        commit = deltalake.CommitProperties(custom_metadata={_MARK: mark}, max_commit_retries=MOST_COMMITS)
        tried = False

        def is_there() -> bool:
            delta = self.delta(table)
            return any(told.get(_MARK) == mark for told in delta.history(max(1, delta.version() - before)))

        def attempt() -> int:
            nonlocal tried
            if tried and is_there():
                return self.version(table)
            delta, tried = self.delta(table) if tried else opened, True
            try:
                write(delta, commit)
            except CommitFailedError:  # another write was quicker, unless it was this one and its answer was lost
                if not is_there():
                    raise
                return self.version(table)
            return delta.version()

        version = self.patience.run(f"writing {table.name}", attempt)
        if "://" not in self.uri:
            force_commit(Path(self.address(table)), range(before + 1, version + 1), mark)
        return version

    def replace_changed(
        self, table: Table, frame: pl.DataFrame, part: Part, *, first: Callable[[], None] = lambda: None
    ) -> Written:
        """Bring a slice to the rows given, writing only the days in which a row differs.

        Rows that are there already keep their provenance, so that it tells when a
        number last changed, and not when it was last looked at.

        Args:
            table: The table.
            frame: All rows of the slice, with provenance where the table has it.
            part: The slice.
            first: Done before anything is written, if anything is.

        Returns:
            Rows in the slice now, and the version, which is the old one when nothing changed.

        Raises:
            ContractError: As `replace`.
        """
        fresh = frame.select(stored_schema(table).names())
        try:
            around = self.ask(table, with_its_months(table, part), lambda rows: rows)
        except DamagedError as damaged:
            if table.layer in RECEIVED:
                raise
            _log.warning("%s of %s is written whole: %s", table.name, part, damaged)
            first()
            return self.replace(table, fresh, part)
        held, facts = around.filter(part.rows()), facts_of(fresh.columns)
        if len(facts) < len(fresh.columns):
            fresh = with_known_provenance(fresh, held, facts)
        if not (table.by_day or table.by_month):
            if fingerprint_of(fresh, facts) == fingerprint_of(held, facts):
                return Written(fresh.height, self._seen(table))
            first()
            return self.replace(table, fresh, part)
        days = changed_days(table, fresh, held, facts)
        if days:
            first()
        rows = pl.concat([around.filter(~part.rows()), fresh])
        if table.by_month:
            parts: list[Part] = [Months(part.fleet_id, window, table.until) for window in whole_months(days)]
        else:
            parts = [Slice(part.fleet_id, window) for window in contiguous(days, longest=366)]
        version = self._seen(table)
        for narrowed in parts:
            version = self.replace(table, rows.filter(narrowed.rows()), narrowed).version
        return Written(fresh.height, version)

    def _seen(self, table: Table) -> int:
        """The version of a table as it was last opened here, without a look at the storage."""
        known = self._open.get(table.name)
        return self.version(table) if known is None else known.version()
