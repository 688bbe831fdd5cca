"""The lake: Delta tables that are scanned lazily and replaced slice by slice."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path
from typing import Literal

import dataframely as dy
import deltalake
import polars as pl
import pyarrow as pa
from deltalake.exceptions import CommitFailedError, DeltaError

from bess_pipeline.lake import commits
from bess_pipeline.lake.slices import Part, Slice
from bess_pipeline.tables import catalog
from bess_pipeline.tables.catalog import Table
from bess_pipeline.window import contiguous

#: A lost race for the same slice is an error; disjoint slices commit after at most this many tries.
COMMITS = deltalake.CommitProperties(max_commit_retries=50)
#: Instants and row numbers are told by their differences: half of the bytes of a sample otherwise.
_ASCENDING = deltalake.ColumnProperties(dictionary_enabled=False, encoding="DELTA_BINARY_PACKED")
PARQUET = deltalake.WriterProperties(
    compression="ZSTD",
    compression_level=1,
    column_properties=dict.fromkeys(("timestamp", "row_number"), _ASCENDING),
)
_PROVENANCE = tuple(catalog.Provenance.column_names())


class ContractError(ValueError):
    """A frame is not what its table's contract says, or lies outside the slice it is written to."""


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


@cache
def stored_contract(table: Table) -> type[dy.Schema]:
    """The contract of the rows as stored: the table's own and, for gold, the provenance."""
    if table.layer != "gold":
        return table.contract
    return type(f"Stored{table.contract.__name__}", (table.contract, catalog.Provenance), {})


@cache
def stored_schema(table: Table) -> pl.Schema:
    """Names and Polars types of the columns as stored."""
    return stored_contract(table).create_empty().schema


def _arrow_schema(table: Table) -> pa.Schema:
    return stored_contract(table).create_empty().to_arrow().schema


#: Layers of what was received: their rows cannot be made again, because files may have gone since.
_RECEIVED = ("landing", "bronze")


def _delta_schema(table: Table) -> deltalake.Schema:
    return deltalake.Schema.from_arrow(_arrow_schema(table))


def _fields(schema: deltalake.Schema) -> dict[str, str]:
    """Columns of a Delta table and their types."""
    return {field.name: str(field.type) for field in schema.fields}


def _today(table: Table) -> dict[str, str]:
    return _fields(_delta_schema(table))


def _filled(table: Table) -> list[pl.Expr]:
    """Columns that must not be null, as they are in rows from before there was such a column."""
    schema = stored_schema(table)
    plain = [name for name, column in table.columns.items() if not (column.nullable or column.primary_key)]
    nothing = {name: 0 if schema[name].is_integer() else "" for name in plain if not schema[name].is_temporal()}
    return [pl.col(name).fill_null(value) for name, value in nothing.items() if schema[name] != pl.Boolean]


class Lake:
    """All Delta tables of one deployment.

    A write always names its slice and replaces it whole, in one commit: written
    twice is written once. Rows that break the contract or lie outside the slice
    are refused before anything is written.

    Args:
        uri: Folder or object-store address; credentials come from the standard variables of that cloud.
    """

    def __init__(self, uri: str) -> None:
        self.uri = uri.rstrip("/")
        self._open: dict[str, deltalake.DeltaTable] = {}

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
            if not deltalake.DeltaTable.is_deltatable(self.address(table)):
                self._begin(table, "ignore")
            elif (held := _fields(deltalake.DeltaTable(self.address(table)).schema())) != (today := _today(table)):
                if table.layer not in _RECEIVED:
                    self._begin(table, "overwrite")
                    continue
                changed = [name for name, kind in today.items() if held.get(name, kind) != kind]
                if changed:
                    raise ContractError(f"{table.name}: {', '.join(changed)} had another type; restore that version")
                missing = [field for field in _delta_schema(table).fields if field.name not in held]
                if missing:
                    deltalake.DeltaTable(self.address(table)).alter.add_columns(missing)

    def outdated(self) -> list[str]:
        """Names of tables that are not there yet, or not with today's columns: what `create` would put right."""
        addresses = {name: self.address(table) for name, table in catalog.TABLES.items()}
        return [
            name
            for name, address in addresses.items()
            if not deltalake.DeltaTable.is_deltatable(address)
            or _fields(deltalake.DeltaTable(address).schema()) != _today(catalog.TABLES[name])
        ]

    def _begin(self, table: Table, mode: Literal["ignore", "overwrite"]) -> None:
        deltalake.DeltaTable.create(
            self.address(table),
            schema=_arrow_schema(table),
            mode=mode,
            partition_by=table.partition_by,
            name=table.name,
            description=table.grain,
        )
        self._open.pop(table.name, None)

    def delta(self, table: Table) -> deltalake.DeltaTable:
        """The Delta table, as of now."""
        known = self._open.get(table.name)
        if known is None:
            if not deltalake.DeltaTable.is_deltatable(self.address(table)):
                self.create()
            known = self._open[table.name] = deltalake.DeltaTable(self.address(table))
        else:
            known.update_incremental()
        return known

    def version(self, table: Table) -> int:
        """The number of the table's last commit."""
        return self.delta(table).version()

    def rows_version(self, table: Table) -> int:
        """The number of the last commit that changed rows; upkeep, which stores the same rows another way, is none."""
        return commits.rows_version(self.delta(table))

    def snapshot(self, table: Table) -> Snapshot:
        """What the table holds now: see `rows_version`, and the Parquet files that make it up."""
        delta = self.delta(table)
        return Snapshot(commits.rows_version(delta), delta.file_uris())

    @property
    def is_remote(self) -> bool:
        """Whether the tables lie in an object store."""
        return "://" in self.uri

    def fetch(self, table: Table, to: Path) -> int:
        """Copy the rows of a table as of now into one file of this machine, as a stream; the version that they are."""
        delta = self.delta(table)
        pl.scan_delta(delta).select(stored_schema(table).names()).sink_parquet(to)
        return delta.version()

    def scan(self, table: Table, part: Part | None = None) -> pl.LazyFrame:
        """The rows of a slice, or of the whole table, lazily, as of now.

        Returns:
            Columns as stored; order within the slice is that of the files: sort if it matters.
        """
        frame = pl.scan_delta(self.delta(table)).select(stored_schema(table).names())
        if table.layer in _RECEIVED:
            frame = frame.with_columns(_filled(table))
        return frame if part is None else frame.filter(part.rows())

    def read(self, table: Table, part: Part | None = None) -> pl.DataFrame:
        """The rows of a slice, or of the whole table, in the table's order."""
        rows, by = self.scan(table, part).collect(), ("fleet_id", *table.sort)
        return rows if _is_in_order(rows, by) else rows.sort(*by, maintain_order=True)

    def count(self, table: Table, part: Part) -> int:
        """How many rows a part of a table holds."""
        return int(self.scan(table, part).select(pl.len()).collect().item())

    def rows_by_day(self, table: Table, part: Slice) -> dict[date, int]:
        """How many rows each day of a slice holds, from the table's log alone.

        Raises:
            ValueError: If the table is not partitioned by day.
        """
        if not table.by_day:
            raise ValueError(f"{table.name} is not partitioned by day")
        files = pl.DataFrame(self.delta(table).get_add_actions(flatten=True))
        if files.is_empty():
            return {}
        counted = (
            files.rename({"partition.fleet_id": "fleet_id", "partition.date": "date"})
            .filter(part.rows() & pl.col("date").is_not_null())
            .group_by("date")
            .agg(pl.col("num_records").sum())
        )
        return dict(counted.iter_rows())

    def day_versions(self, table: Table, fleet_id: str) -> pl.DataFrame:
        """What each UTC day of a table holds of a fleet, as a fingerprint.

        A day that has files of its own is the names of these, so that nothing is read; it may
        change without a change of rows, and then is looked at once more than needed. What has
        a beginning and an end counts on each day that it touches.

        Returns:
            Columns `date` and `version`, sorted; `date` is null for rows that are of no day.
        """
        if table.by_day:
            files = pl.DataFrame(self.delta(table).get_add_actions(flatten=True))
            if files.is_empty():
                return pl.DataFrame(schema=_VERSIONS)
            rows = files.filter(pl.col("partition.fleet_id") == fleet_id).select(
                date="partition.date", version=pl.col("path").hash()
            )
        else:
            rows = _on_days(table, self.scan(table, Slice(fleet_id)).collect())
        return rows.group_by("date").agg(pl.col("version").sum().reinterpret(signed=True)).sort("date")

    def replace(self, table: Table, frames: pl.DataFrame | Iterable[pl.DataFrame], part: Part) -> Written:
        """Replace a slice of a table, atomically, by the rows given.

        Where upkeep has stored the slice's rows another way in the meantime, rows that
        were given whole are written again; batches meet no upkeep, which leaves days alone.

        Args:
            table: The table.
            frames: The new rows, whole or batch by batch; only one batch is held at a time.
            part: The slice that they are, all of it.

        Returns:
            Rows written and the new version.

        Raises:
            ContractError: If a row breaks the contract or lies outside the slice; nothing is written then.
        """
        while True:
            before = self.version(table)
            try:
                return self._replaced(table, [frames] if isinstance(frames, pl.DataFrame) else frames, part)
            except CommitFailedError:
                delta = self.delta(table)
                if not (isinstance(frames, pl.DataFrame) and commits.only_stored_anew(delta, part.fleet_id, before)):
                    raise

    def _replaced(self, table: Table, batches: Iterable[pl.DataFrame], part: Part) -> Written:
        written = 0
        failure: list[Exception] = []

        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="batches") as worker:

            def checked_batches() -> Iterator[pa.RecordBatch]:
                nonlocal written
                coming = iter(batches)
                try:
                    # The writer asks for rows on a thread of its own that must not read from the lake.
                    while (batch := worker.submit(next, coming, None).result()) is not None:
                        ready = checked(table, batch, part)
                        written += ready.height
                        yield from ready.to_arrow().to_batches()
                except Exception as error:
                    # It would hand on only the text of the error.
                    failure.append(error)
                    raise

            try:
                deltalake.write_deltalake(
                    self.delta(table),
                    pa.RecordBatchReader.from_batches(_arrow_schema(table), checked_batches()),
                    mode="overwrite",
                    predicate=part.delta_predicate(),
                    writer_properties=PARQUET,
                    commit_properties=COMMITS,
                )
            except DeltaError as error:
                raise (failure[0] if failure else error) from None
        return Written(written, self.version(table))

    def append(self, table: Table, frame: pl.DataFrame, part: Part) -> Written:
        """Add rows to a part of a table; two that do so at once both succeed.

        Raises:
            ContractError: As `replace`.
        """
        ready = checked(table, frame, part)
        deltalake.write_deltalake(
            self.delta(table),
            pa.RecordBatchReader.from_batches(_arrow_schema(table), ready.to_arrow().to_batches()),
            mode="append",
            writer_properties=PARQUET,
            commit_properties=COMMITS,
        )
        return Written(ready.height, self.version(table))

    def replace_changed(self, table: Table, frame: pl.DataFrame, part: Part) -> Written:
        """Bring a slice to the rows given, writing only the days in which a row differs.

        Rows that are there already keep their provenance, so that it tells when a
        number last changed, and not when it was last looked at.

        Args:
            table: The table.
            frame: All rows of the slice, with provenance where the table has it.
            part: The slice.

        Returns:
            Rows in the slice now, and the version, which is the old one when nothing changed.

        Raises:
            ContractError: As `replace`.
        """
        fresh = frame.select(stored_schema(table).names())
        held = self.scan(table, part).collect()
        facts = [name for name in fresh.columns if name not in _PROVENANCE]
        if len(facts) < len(fresh.columns):
            fresh = _with_known_provenance(fresh, held, facts)
        if not table.by_day:
            same = _fingerprint(fresh, facts) == _fingerprint(held, facts)
            return Written(fresh.height, self.version(table)) if same else self.replace(table, fresh, part)
        days = _changed_days(fresh, held, facts)
        for window in contiguous(days, longest=366):
            narrowed = Slice(part.fleet_id, window)
            self.replace(table, fresh.filter(narrowed.rows()), narrowed)
        return Written(fresh.height, self.version(table))


def checked(table: Table, frame: pl.DataFrame, part: Part) -> pl.DataFrame:
    """A frame that fits its table and slice, columns and rows in the table's order.

    Raises:
        ContractError: If a column is missing or of another type, a row breaks a rule, or lies outside the slice.
    """
    schema = stored_schema(table)
    wrong = [f"{name} {kind}" for name, kind in schema.items() if frame.schema.get(name) != kind]
    if wrong:
        raise ContractError(f"{table.name}: missing or of another type: {', '.join(wrong)}; got {frame.schema}")
    rows = frame.select(schema.names())
    if not _is_in_order(rows, table.sort):
        rows = rows.sort(*table.sort, maintain_order=True)
    outside = rows.select((~part.rows()).fill_null(value=True).sum()).item()
    if outside:
        raise ContractError(f"{table.name}: {outside} rows lie outside the slice {part}")
    if table.at_raw_rate:
        columns = table.columns
        holes = [name for name in schema.names() if not columns[name].nullable and rows[name].null_count()]
        if holes:
            raise ContractError(f"{table.name}: null in {', '.join(holes)}")
        return rows
    try:
        return stored_contract(table).validate(rows)
    except dy.exc.ValidationError as error:
        raise ContractError(f"{table.name} ({part}): {error}") from error


def _is_in_order(rows: pl.DataFrame, by: tuple[str, ...]) -> bool:
    """Whether rows are sorted; for millions of rows that are, asking costs a tenth of sorting them again."""
    follows = pl.lit(value=True)
    for name in reversed(by):
        here, before = pl.col(name), pl.col(name).shift()
        follows = (here > before) | ((here == before) & follows)
    answer = rows.select(follows.slice(1).all(ignore_nulls=False).fill_null(value=False)).item()
    return bool(answer)


_VERSIONS = {"date": pl.Date, "version": pl.Int64}


def _on_days(table: Table, rows: pl.DataFrame) -> pl.DataFrame:
    """A fingerprint of each row for each day that it speaks of; one that grew by a day is the same on those before."""
    facts = [name for name in rows.columns if name not in _PROVENANCE]
    if "started_at" not in facts:
        day = pl.col(table.until).cast(pl.Date) if table.until in facts else pl.lit(None, pl.Date)
        return rows.with_columns(date=day, version=rows.select(facts).hash_rows(seed=0)).select("date", "version")
    end = pl.col(table.until).cast(pl.Date)
    lasting = rows.select(name for name in facts if name not in {table.until, "intervals"})
    return (
        rows.select(table.until, date=pl.date_ranges(pl.min_horizontal(pl.col("started_at").cast(pl.Date), end), end))
        .with_columns(version=lasting.hash_rows(seed=0))
        .explode("date")
        .select(
            "date",
            version=pl.when(end == pl.col("date")).then(pl.struct("version", table.until).hash()).otherwise("version"),
        )
    )


def _fingerprint(frame: pl.DataFrame, facts: list[str]) -> tuple[int, int]:
    return frame.height, int(frame.select(facts).hash_rows(seed=0).sum() or 0)


def _changed_days(fresh: pl.DataFrame, held: pl.DataFrame, facts: list[str]) -> list[date]:
    def by_day(frame: pl.DataFrame) -> pl.DataFrame:
        hashed = frame.select("date", fingerprint=frame.select(facts).hash_rows(seed=0))
        return hashed.group_by("date").agg(pl.col("fingerprint").sum(), rows=pl.len())

    both = by_day(fresh).join(by_day(held), on="date", how="full", coalesce=True, suffix="_held")
    differs = pl.col("fingerprint").ne_missing(pl.col("fingerprint_held")) | pl.col("rows").ne_missing(
        pl.col("rows_held")
    )
    return both.filter(differs)["date"].sort().to_list()


def _with_known_provenance(fresh: pl.DataFrame, held: pl.DataFrame, facts: list[str]) -> pl.DataFrame:
    if held.is_empty():
        return fresh
    known = (
        held.select(_PROVENANCE)
        .with_columns(fingerprint=held.select(facts).hash_rows(seed=0))
        .unique("fingerprint", keep="first", maintain_order=True)
    )
    return (
        fresh.with_columns(fingerprint=fresh.select(facts).hash_rows(seed=0))
        .join(known, on="fingerprint", how="left", suffix="_held", maintain_order="left")
        .with_columns(pl.coalesce(f"{name}_held", name).alias(name) for name in _PROVENANCE)
        .select(fresh.columns)
    )
