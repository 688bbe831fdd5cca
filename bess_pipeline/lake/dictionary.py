"""The data dictionary: every table and view of the warehouse, every column with type, unit and meaning.

`python -m bess_pipeline.lake.dictionary` writes it as Markdown.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import dataframely as dy

from bess_pipeline.lake.contracts import stored_contract
from bess_pipeline.lake.views import VIEWS
from bess_pipeline.lake.warehouse import sql_type
from bess_pipeline.tables import catalog
from bess_pipeline.tables.columns import unit_of

_ABOUT = """# The data dictionary

What [the warehouse](warehouse.md) holds; the same texts are comments on its tables and columns. Written by
`python -m bess_pipeline.lake.dictionary` from the contracts in `bess_pipeline/tables`; a key tells rows apart.
"""


@dataclass(frozen=True)
class Entry:
    """One column.

    Attributes:
        name: Its name.
        kind: Its type in the warehouse.
        unit: Its unit, or nothing.
        is_key: Whether it is one of those that tell rows apart.
        may_be_null: Whether it may be unknown.
        meaning: What it says.
    """

    name: str
    kind: str
    unit: str
    is_key: bool
    may_be_null: bool
    meaning: str


def tables() -> Iterator[tuple[str, str, list[Entry]]]:
    """Name, grain and columns of every published table, in the order of the catalog."""
    for table in catalog.PUBLISHED:
        keys, columns = set(table.contract.primary_key()), stored_contract(table).columns()
        yield table.name, table.grain, [_entry(name, column, is_key=name in keys) for name, column in columns.items()]


def _entry(name: str, column: dy.Column, *, is_key: bool) -> Entry:
    unit, meaning = unit_of(column) or "", column.description or ""
    return Entry(name, sql_type(column), unit, is_key, column.nullable, meaning)


def markdown() -> str:
    """All of it, with a list of tables at the top."""
    told = list(tables())
    listed = [(name, grain) for name, grain, _ in told] + [(view.name, view.about) for view in VIEWS]
    parts = [_ABOUT, *_grid(("table", "a row is"), [(f"[`{name}`](#{name})", grain) for name, grain in listed])]
    for name, grain, entries in told:
        rows = [(f"`{of.name}`", of.kind, of.unit, _traits(of), of.meaning) for of in entries]
        parts += [f"\n## {name}\n\n{grain}\n", *_grid(("column", "type", "unit", "", "meaning"), rows)]
    for view in VIEWS:
        read = ", ".join(f"`{table.name}`" for table in view.reads)
        own = [(f"`{name}`", meaning) for name, meaning in view.own.items()]
        parts += [f"\n## {view.name}\n\n{view.about} Columns of {read}, and\n", *_grid(("column", "meaning"), own)]
    return "\n".join(parts) + "\n"


def _grid(heads: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> list[str]:
    lines = [heads, ("---",) * len(heads), *(tuple(cell.replace("|", "\\|") for cell in row) for row in rows)]
    return [f"| {' | '.join(cells)} |" for cells in lines]


def _traits(entry: Entry) -> str:
    return "key" if entry.is_key else "may be null" if entry.may_be_null else ""


if __name__ == "__main__":
    sys.stdout.write(markdown())
