"""Scans of Delta tables: of few files at once, of many by way of what the log tells of each."""

from __future__ import annotations

from pathlib import Path

import deltalake
import polars as pl

from bess_pipeline.lake.transient import SCAN_OPTIONS

#: To choose among files by what the log tells of each takes 3 ms, in which some twenty of them are opened.
_FEW_FILES = 16


def scanned(delta: deltalake.DeltaTable, *, is_remote: bool) -> pl.LazyFrame:
    """The rows of a table as it was opened, lazily.

    Args:
        delta: The table.
        is_remote: Whether its files lie in an object store, where to open one is a request.

    Returns:
        All columns, in the order of the files.
    """
    if is_remote:
        return pl.scan_delta(delta, storage_options=SCAN_OPTIONS)
    files = delta.file_uris()
    # What some other program may have made of the table is left to a reader that knows all of Delta.
    if len(files) > _FEW_FILES or delta.protocol().min_reader_version > 1:
        return pl.scan_delta(delta)
    kinds = pl.Schema(delta.schema())
    if not files:
        return pl.DataFrame(schema=kinds).lazy()
    in_paths = delta.metadata().partition_columns
    return pl.scan_parquet(
        files,
        schema={name: kind for name, kind in kinds.items() if name not in in_paths},
        hive_schema={name: kinds[name] for name in in_paths},
        hive_partitioning=True,
        missing_columns="insert",
        extra_columns="ignore",
        glob=False,
    )


def read_through(file: str, *, is_remote: bool) -> None:
    """Read all of a Parquet file, to see whether it can be read.

    Args:
        file: Its address.
        is_remote: Whether it lies in an object store.
    """
    options = SCAN_OPTIONS if is_remote else None
    pl.scan_parquet(file, storage_options=options, hive_partitioning=False, glob=False).collect()


def is_newest(delta: deltalake.DeltaTable, folder: Path) -> bool:
    """Whether the log of a table on this machine ends with the commit up to which it was read.

    Examples:
        >>> from tempfile import mkdtemp
        >>> folder = Path(mkdtemp())
        >>> deltalake.write_deltalake(folder, pl.DataFrame({"a": [1]}))
        >>> known = deltalake.DeltaTable(folder)
        >>> is_newest(known, folder)
        True
        >>> deltalake.write_deltalake(folder, pl.DataFrame({"a": [2]}), mode="append")
        >>> is_newest(known, folder)
        False
    """
    log, version = folder / "_delta_log", delta.version()
    return (log / f"{version:020}.json").exists() and not (log / f"{version + 1:020}.json").exists()
