"""Which column rests on which: what was seen when one column after another was changed.

`lineage.json` is made by `python -m bess_pipeline_tests.benchmarks.column_lineage`, by
calling the steps themselves; nobody types it. What did not happen on the fleet it was
made on is not in it, and neither is what a step reads from files.
"""

import json
from functools import cache
from pathlib import Path

import dagster as dg

from bess_pipeline.tables.catalog import Table

#: Columns named of each table, and tables, in the description of a column: the rest is counted.
_COLUMNS, _TABLES = 3, 4


@cache
def found() -> dict[str, dict[str, dict[str, list[str]]]]:
    """Table → column → table → columns on which it rests."""
    told: dict[str, dict[str, dict[str, list[str]]]] = json.loads(Path(__file__).with_suffix(".json").read_text())
    return told


def column_lineage(table: Table) -> dict[str, dg.TableColumnLineage]:
    """The metadata that tells on which columns those of a table rest; nothing where that is not known."""
    columns = found().get(table.name)
    if not columns:
        return {}
    deps = {
        column: [dg.TableColumnDep(dg.AssetKey(name), each) for name, names in sources.items() for each in names]
        for column, sources in columns.items()
    }
    return {"dagster/column_lineage": dg.TableColumnLineage(deps)}


def rests_on(table: Table, column: str) -> str:
    """On what a column rests, in words: the first few columns of each table; nothing for keys and what is not known."""
    sources = found().get(table.name, {}).get(column, {})
    if not sources or table.columns[column].primary_key:
        return ""
    named = [f"{name} ({_few(columns, _COLUMNS)})" for name, columns in sources.items()]
    return f" Rests on {_few(named, _TABLES)}."


def _few(names: list[str], most: int) -> str:
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")
