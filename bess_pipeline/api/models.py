"""Models of answers, read off the contracts of the tables."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

import dataframely as dy
from pydantic import BaseModel, Field, create_model

from bess_pipeline.tables.catalog import Table
from bess_pipeline.tables.columns import meaning_of

_KINDS: dict[type[dy.Column], type] = {
    dy.String: str,
    dy.Float64: float,
    dy.Int64: int,
    dy.Bool: bool,
    dy.Date: date,
    dy.Datetime: datetime,
}


def model_of(name: str, about: str, columns: Mapping[str, dy.Column]) -> type[BaseModel]:
    """A model of one row.

    Args:
        name: Its name in the documentation.
        about: What a row is.
        columns: Its columns: type, meaning, unit, whether they may be null.
    """
    fields: dict[str, Any] = {}
    for column_name, column in columns.items():
        kind: Any = _KINDS[type(column)]
        fields[column_name] = (kind | None if column.nullable else kind, Field(description=meaning_of(column)))
    return create_model(name, __doc__=about, **fields)


def page_of(row: type[BaseModel]) -> type[BaseModel]:
    """A model of a page of rows."""
    return create_model(
        f"{row.__name__}Page",
        __doc__="Rows in their order, and how to go on.",
        items=(list[row], Field(description="Rows of this page.")),  # type: ignore[valid-type]
        next_cursor=(str | None, Field(description="Give it as `cursor` to get the next page; null on the last.")),
    )


def page_of_table(table: Table) -> type[BaseModel]:
    """A model of a page of a table's rows, by the name of its contract."""
    return page_of(model_of(table.contract.__name__, table.grain, table.columns))
