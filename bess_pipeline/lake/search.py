"""Where the name of a fleet still stands: a search through every byte of a lake, and through a warehouse."""

from __future__ import annotations

import re
from dataclasses import dataclass

import polars as pl

from bess_pipeline.lake.disk import LOG, Disk, Stored
from bess_pipeline.lake.warehouse import Warehouse


@dataclass(frozen=True)
class Searched:
    """What was searched, and where something was found.

    Attributes:
        files: Files that were read whole.
        rows: Rows of tables among them.
        size_bytes: Size of the files [B].
        found: Places that name the fleet, a line each.
    """

    files: int = 0
    rows: int = 0
    size_bytes: int = 0
    found: tuple[str, ...] = ()

    def __add__(self, other: Searched) -> Searched:
        return Searched(
            self.files + other.files,
            self.rows + other.rows,
            self.size_bytes + other.size_bytes,
            self.found + other.found,
        )


def word(fleet_id: str) -> re.Pattern[str]:
    """A fleet's name where it stands for itself, and is not a part of another.

    Examples:
        >>> [bool(word("alpha").search(text)) for text in ("2026-01-01|alpha", "alpha/2026", "alpha-2", "falpha")]
        [True, True, False, False]
    """
    return re.compile(rf"(?<![A-Za-z0-9_-]){re.escape(fleet_id)}(?![A-Za-z0-9_-])")


def searched_lake(address: str, fleet_id: str, *, rows: bool = True) -> Searched:
    """Look for a fleet in every file below an address, whether a table knows of the file or not.

    Paths and logs must not name it at all, checkpoints in Parquet included; no column of any row of the tables
    may hold its name. A name within a longer text of another fleet's row, such as a file name, is not it.

    Args:
        address: Of a lake, or of one table.
        fleet_id: The fleet.
        rows: Whether to look into the rows, too, and not into paths and logs alone.
    """
    disk, searched = Disk(address), Searched()
    for file in sorted(disk.files(), key=lambda file: file.path):
        if rows or _is_log(file) or f"fleet_id={fleet_id}/" in file.path:
            searched += _searched_file(disk, file, word(fleet_id), fleet_id)
    return searched


def searched_warehouse(warehouse: Warehouse, fleet_id: str) -> Searched:
    """Look for a fleet in every text column of every table and view of a warehouse; nothing where there is none yet."""
    if not warehouse.path.exists():
        return Searched()
    rows, found = 0, []
    with warehouse.connection() as connection:
        columns = connection.execute(
            "SELECT table_name, list(column_name) FILTER (data_type = 'VARCHAR')"
            " FROM duckdb_columns() WHERE database_name = 'warehouse' AND NOT internal GROUP BY 1"
        ).fetchall()
        for table, texts in columns:
            named = " OR ".join(f'"{name}" = $fleet' for name in texts or []) or "false"
            counted = connection.execute(
                f'SELECT count(*), count(*) FILTER ({named}) FROM "{table}" WHERE $fleet IS NOT NULL',  # noqa: S608
                {"fleet": fleet_id},
            ).fetchone()
            assert counted is not None  # noqa: S101 - a count always is a row
            rows += counted[0]
            if counted[1]:
                found.append(f"{warehouse.path.name}: {counted[1]} rows of {table}")
    folder = warehouse.path.parent
    searched = {warehouse.path, *(folder / path for path in warehouse.files())}
    files = [path for path in folder.rglob("*") if path.is_file()]
    found += [f"{path}: not searched, for it is not the warehouse" for path in files if path not in searched]
    return Searched(len(searched), rows, sum(path.stat().st_size for path in searched), tuple(found))


def _searched_file(disk: Disk, file: Stored, name: re.Pattern[str], fleet_id: str) -> Searched:
    found = [f"{file.path}: its path"] if name.search(file.path) else []
    content, rows = disk.read(file).to_pybytes(), 0
    is_log = _is_log(file)
    if file.path.endswith(".parquet"):
        frame = pl.read_parquet(content)
        rows = frame.height
        if is_log:
            content = frame.write_ndjson().encode()
        else:
            texts = frame.select(pl.col(pl.String))
            named = texts.select(pl.any_horizontal(pl.all() == fleet_id).sum()).item() if texts.width else 0
            found += [f"{file.path}: {named} rows"] if named else []
    if (is_log or not file.path.endswith(".parquet")) and name.search(content.decode("utf-8", "replace")):
        found.append(f"{file.path}: its text")
    return Searched(1, rows, file.size_bytes, tuple(found))


def _is_log(file: Stored) -> bool:
    return f"/{LOG}" in f"/{file.path}"
