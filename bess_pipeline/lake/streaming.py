"""Rows on their way into a slice, batch by batch: while one is written the next is made, and no more are held."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

import deltalake
import polars as pl
import pyarrow as pa

from bess_pipeline.lake.contracts import arrow_schema, checked, in_one_batch
from bess_pipeline.lake.slices import Part
from bess_pipeline.lake.transient import FAILURES, is_transient
from bess_pipeline.tables.catalog import Table

#: A lost race for the same slice is an error; disjoint slices commit after at most this many tries.
MOST_COMMITS = 50
COMMITS = deltalake.CommitProperties(max_commit_retries=MOST_COMMITS)
#: Instants and row numbers are told by their differences: half of the bytes of a sample otherwise.
_ASCENDING = deltalake.ColumnProperties(dictionary_enabled=False, encoding="DELTA_BINARY_PACKED")
#: How the Parquet files of the lake are written.
PARQUET = deltalake.WriterProperties(
    compression="ZSTD",
    compression_level=1,
    column_properties=dict.fromkeys(("timestamp", "row_number"), _ASCENDING),
)


class UnmadeError(Exception):
    """Whoever makes the rows failed, and not the storage that they were to be written to."""

    def __init__(self, reason: BaseException) -> None:
        super().__init__(str(reason))
        self.reason = reason


def streamed(
    delta: deltalake.DeltaTable,
    table: Table,
    batches: Iterable[pl.DataFrame],
    part: Part,
    commit: deltalake.CommitProperties,
) -> int:
    """Write batches over a slice in one commit; how many rows they were.

    Raises:
        UnmadeError: If a batch could not be made, or is not what the contract says.
    """
    written = 0
    failure: list[BaseException] = []
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="batches") as worker:

        def checked_batches() -> Iterator[pa.RecordBatch]:
            nonlocal written
            coming = iter(batches)
            try:
                # The writer asks for rows on a thread of its own that must not read from the lake.
                upcoming = worker.submit(next, coming, None)
                while (batch := upcoming.result()) is not None:
                    upcoming = worker.submit(next, coming, None)
                    ready = checked(table, batch, part)
                    written += ready.height
                    yield from in_one_batch(table, ready)
            except (Exception, pl.exceptions.PanicException) as error:
                # It would hand on only the text of the error.
                failure.append(error)
                raise

        try:
            deltalake.write_deltalake(
                delta,
                pa.RecordBatchReader.from_batches(arrow_schema(table), checked_batches()),
                mode="overwrite",
                predicate=part.delta_predicate(),
                writer_properties=PARQUET,
                commit_properties=commit,
            )
        except (*FAILURES, Exception) as error:  # on one processor it is no error of the libraries' own
            if not failure:
                raise
            if is_transient(failure[0]):
                raise failure[0] from error
            raise UnmadeError(failure[0]) from None
    return written
