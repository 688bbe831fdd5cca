"""The large tables of the warehouse: Parquet files beside it, one per fleet and month, or less where that is much.

A publication writes the months in which a day has changed, and leaves the others as they are, so that it costs what is
new and not what is old. The files are named for what is in them and never change: whoever has an earlier publication
open goes on reading its files, which stay for a while.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import polars as pl
import xxhash

from bess_pipeline.lake.contracts import stored_schema
from bess_pipeline.lake.store import Lake
from bess_pipeline.lake.transient import FAILURES, SCAN_OPTIONS
from bess_pipeline.tables import catalog
from bess_pipeline.tables.catalog import MONTH, Table

#: Tables with several rows a battery and day.
MONTHLY: tuple[Table, ...] = (
    catalog.TELEMETRY_5MIN,
    catalog.TIME_IN_BANDS,
    catalog.DAILY_FEATURES,
    catalog.ANOMALY_SCORES,
)

#: The variable of a connection that says where the files are, if not where they were published.
FOLDER = "warehouse_folder"

#: What stands for the folder of the warehouse; no name of a table, fleet or day has it.
_PLACE = "@"
#: DuckDB passes over so many rows at once whose battery is not the one that is asked for.
_ROW_GROUP = 16_384
#: Days of a month share a file up to so many rows, which are held in memory while they are put in order.
_MOST_ROWS = 2_000_000


@dataclass(frozen=True)
class Month:
    """What the lake holds of a fleet in a month, or in some days of it.

    Attributes:
        path: Of their file, below the folder of the warehouse; another one as soon as the lake holds another.
        days: The lake's files: `fleet_id`, `date`, `path`; a file of a month has the first day of it.
        rows: How many rows they hold.
    """

    path: str
    days: pl.DataFrame
    rows: int


def months(lake: Lake, table: Table) -> list[Month]:
    """The months of a table as it is now, by fleet and time."""
    files = lake.files(table)
    if files.is_empty():
        return []
    day = pl.col(MONTH if table.by_month else "date").alias("date")
    files = files.select("fleet_id", day, "path", "num_records", month=day.dt.month_start())
    before = pl.col("num_records").cum_sum() - pl.col("num_records")
    # In two steps: a window within a window is taken within the outer one.
    counted = files.sort("fleet_id", "date", "path").with_columns(before=before.over("fleet_id", "month"))
    ordered = counted.with_columns(piece=pl.col("before").min().over("fleet_id", "date") // _MOST_ROWS)
    pieces = ordered.group_by("fleet_id", "month", "piece", maintain_order=True)
    return [_month(table, days) for _, days in pieces]


def _month(table: Table, days: pl.DataFrame) -> Month:
    fleet_id, first = days.row(0)[:2]
    named = xxhash.xxh3_64_hexdigest("\n".join([repr(stored_schema(table)), *days["path"]]).encode())
    path = f"{table.name}/fleet_id={fleet_id}/{first}-{named}.parquet"
    return Month(path, days.select("fleet_id", "date", "path"), int(days["num_records"].sum()))


def write(lake: Lake, table: Table, wanted: Iterable[Month], folder: Path, beside: Path) -> int:
    """Write the files of those months that are not there yet; how many they were.

    Args:
        lake: The lake.
        table: The table.
        wanted: Its months.
        folder: Folder of the warehouse.
        beside: Where files are made before they are put in place.

    Raises:
        DamagedError: If a file of the lake cannot be read.
    """
    written = 0
    for month in wanted:
        place = folder / month.path
        if place.exists():
            continue
        rows = _rows(lake, table, month.days)
        made = beside / "month.parquet"
        rows.write_parquet(made, compression="zstd", row_group_size=_ROW_GROUP)
        with made.open("rb") as file:
            os.fsync(file.fileno())
        place.parent.mkdir(parents=True, exist_ok=True)
        made.replace(place)
        written += 1
    return written


def view(paths: Collection[str], folder: Path, kinds: dict[str, str]) -> str:
    """The query of a view over the files of some months.

    Args:
        paths: Of the files, below the folder.
        folder: Where the files are, unless the variable `FOLDER` of the connection says another place.
        kinds: Column → its type in the warehouse.
    """
    if not paths:
        empty = ", ".join(f'CAST(NULL AS {kind}) AS "{name}"' for name, kind in kinds.items())
        return f"SELECT {empty} WHERE false"
    names = ", ".join(f'"{name}"' for name in kinds)
    # One text that is put together and cut once: an expression for each file takes twice as long to read.
    told = quoted("\n".join(f"{_PLACE}{path}" for path in paths))
    where = f"coalesce(getvariable('{FOLDER}'), {quoted(f'{folder}/')})"
    listed = f"string_split(replace({told}, '{_PLACE}', {where}), chr(10))"
    # Paths tell the fleet, so that files of others need not be opened.
    by_fleet = "hive_partitioning = true, hive_types = {'fleet_id': VARCHAR}"
    return f"SELECT {names} FROM read_parquet({listed}, {by_fleet})"  # noqa: S608 - names of our own


def quoted(text: object) -> str:
    """A text as SQL writes it."""
    return "'" + str(text).replace("'", "''") + "'"


def sweep(folder: Path, needed: Collection[str], before: Collection[str], *, linger_seconds: float) -> None:
    """Remove files that no publication needs any more.

    Args:
        folder: Folder of the warehouse.
        needed: Files of the publication that is in place now.
        before: Files of the one before it: those of them that have gone out of use do so now.
        linger_seconds: How long a file that has gone out of use stays, for those who have it open [s].
    """
    for path in set(before) - set(needed):
        if (folder / path).exists():
            os.utime(folder / path)
    latest = time.time() - linger_seconds
    for table in MONTHLY:
        for file in sorted((folder / table.name).glob("*/*")):
            if str(file.relative_to(folder)) not in needed and file.stat().st_mtime <= latest:
                file.unlink()
        for fleet in sorted((folder / table.name).glob("*")):
            if not any(fleet.iterdir()):
                shutil.rmtree(fleet)


def _rows(lake: Lake, table: Table, days: pl.DataFrame) -> pl.DataFrame:
    """The rows of some files of the lake, in the table's order."""
    options = SCAN_OPTIONS if lake.is_remote else None
    schema, address = stored_schema(table), lake.address(table)

    def in_path(day: date) -> dict[str, pl.Expr]:
        return {"date": pl.lit(day, schema["date"])} if table.by_day else {}

    def read() -> pl.DataFrame:
        scanned = [
            pl.scan_parquet(f"{address}/{path}", storage_options=options, glob=False, hive_partitioning=False)
            .with_columns(fleet_id=pl.lit(fleet_id, schema["fleet_id"]), **in_path(day))
            .select(schema.names())
            for fleet_id, day, path in days.iter_rows()
        ]
        return pl.concat(scanned).collect().sort("fleet_id", *table.sort)

    try:
        return lake.patience.run(f"reading {table.name}", read)
    except FAILURES as error:
        raise lake.diagnosis(table, None, error) from None
