"""What the twelve questions of the analysts' notebook cost on a large warehouse, alone and while it is replaced.

    python -m bess_pipeline_tests.benchmarks.questions HOME [--batteries 100] [--times 7] [--publish-every 2]

The batteries of the home's warehouse are copied under other names until there are as many as asked for; every table
is sorted as in a publication. Each question is asked several times on an open connection, the first time not counted;
then all of them again and again, each time on a new connection, while the file is copied over itself.
"""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
import time
from pathlib import Path

import duckdb
import numpy as np
from rich.console import Console
from rich.table import Table as Grid

from bess_pipeline.lake import monthly
from bess_pipeline.lake.contracts import stored_contract
from bess_pipeline.lake.views import VIEWS
from bess_pipeline.lake.warehouse import FILES, PUBLICATION, Warehouse, sql_type
from bess_pipeline.tables import catalog
from bess_pipeline.tables.catalog import Table
from bess_pipeline_tests.benchmarks.api_load import published
from bess_pipeline_tests.notebooks import twelve_questions


def main() -> None:
    """Ask, and print what it took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("home", type=Path)
    parser.add_argument("--batteries", type=int, default=100)
    parser.add_argument("--times", type=int, default=7)
    parser.add_argument("--publish-every", type=float, default=2)
    parser.add_argument("--seconds", type=float, default=20)
    given = parser.parse_args()
    questions = twelve_questions()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bess.duckdb"
        rows = multiplied(given.home / "warehouse" / "bess.duckdb", path, given.batteries)
        grid = Grid(
            "question", "rows", "ms, warm", "ms, most", title=f"{rows:,} rows, {given.batteries} batteries or more"
        )
        with Warehouse(path).connection() as connection:
            for question, sql in questions.items():
                taken = [seconds(connection, sql) for _ in range(given.times + 1)][1:]
                answer = connection.sql(sql).pl().height
                grid.add_row(question, str(answer), f"{1000 * np.median(taken):.0f}", f"{1000 * max(taken):.0f}")
        asked, failed = 0, 0
        with published(path, given.publish_every):
            end = time.monotonic() + given.seconds
            while time.monotonic() < end:
                for sql in questions.values():
                    asked += 1
                    try:
                        Warehouse(path).query(sql)
                    except Exception as error:  # noqa: BLE001 - counted, and told
                        failed += 1
                        print(repr(error))  # noqa: T201
    console = Console(width=120)
    console.print(grid)
    console.print(f"while it was replaced every {given.publish_every:g} s: {asked} asked, {failed} failed")
    console.print(f"{platform.python_version()}, {os.cpu_count()} cores")


def seconds(connection: duckdb.DuckDBPyConnection, sql: str) -> float:
    """How long a question takes."""
    began = time.perf_counter()
    connection.sql(sql).pl()
    return time.perf_counter() - began


def multiplied(source: Path, target: Path, batteries: int) -> int:
    """Copy a warehouse with its batteries under several names; rows in it."""
    total = 0
    with duckdb.connect() as connection:
        connection.execute(f"ATTACH '{source}' AS one (READ_ONLY)")
        connection.execute(f"ATTACH '{target}' AS many")
        known = connection.execute("SELECT count(*) FROM one.batteries").fetchone()
        times = -(-batteries // (known[0] if known else 1))
        for table in catalog.PUBLISHED:
            columns = list(stored_contract(table).columns())
            named = [
                f"CASE WHEN n = 0 THEN {name} ELSE {name} || '-' || n END AS {name}" if name in _NAMES else f'"{name}"'
                for name in columns
            ]
            copies = times if "battery_id" in columns else 1
            order = ", ".join(["fleet_id", *table.sort])
            query = f"SELECT {', '.join(named)} FROM {{}}, range({copies}) r(n) ORDER BY {order}"  # noqa: S608
            if table in monthly.MONTHLY:
                connection.execute(
                    f"CREATE VIEW many.{table.name} AS {_by_month(connection, table, query, source, target)}"
                )
            else:
                connection.execute(f"CREATE TABLE many.{table.name} AS {query.format(f'one.{table.name}')}")
            counted = connection.execute(f"SELECT count(*) FROM many.{table.name}").fetchone()  # noqa: S608
            total += counted[0] if counted else 0
        connection.execute("USE many")
        for view in VIEWS:
            connection.execute(f"CREATE VIEW {view.name} AS {view.sql}")
        for name in (PUBLICATION, FILES):
            connection.execute(f"CREATE TABLE {name} AS FROM one.{name}")
    return total


def _by_month(connection: duckdb.DuckDBPyConnection, table: Table, query: str, source: Path, target: Path) -> str:
    """Write the files of a large table with its batteries under several names; the query of the view over them."""
    listed = connection.execute(f"SELECT path FROM one.{FILES} WHERE table_name = ?", [table.name])  # noqa: S608
    paths = [path for (path,) in listed.fetchall()]
    for path in paths:
        (target.parent / path).parent.mkdir(parents=True, exist_ok=True)
        rows = query.format(f"read_parquet('{source.parent / path}', hive_partitioning = false)")
        connection.execute(f"COPY ({rows}) TO '{target.parent / path}' (FORMAT parquet, COMPRESSION zstd)")
    kinds = {name: sql_type(column) for name, column in stored_contract(table).columns().items()}
    return monthly.view(paths, target.parent, kinds)


#: Columns by which batteries and what is theirs are told apart.
_NAMES = {"battery_id", "event_id", "feedback_id"}


if __name__ == "__main__":
    main()
