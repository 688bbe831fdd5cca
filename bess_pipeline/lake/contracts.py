"""What rows have to be to enter the lake: a table's contract as stored, and the check at its door."""

from __future__ import annotations

from functools import cache

import dataframely as dy
import deltalake
import polars as pl
import pyarrow as pa

from bess_pipeline.lake.slices import Part, month_of
from bess_pipeline.tables import catalog
from bess_pipeline.tables.catalog import MONTH, Table


class ContractError(ValueError):
    """A frame is not what its table's contract says, or lies outside the slice it is written to."""


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


@cache
def arrow_schema(table: Table) -> pa.Schema:
    """Names and Arrow types of the columns that are written: those stored, and the month of tables of months."""
    return with_month(table, stored_contract(table).create_empty()).to_arrow().schema


def with_month(table: Table, rows: pl.DataFrame) -> pl.DataFrame:
    """Rows as they are written: with the month by which their table is partitioned, if it is."""
    return rows.with_columns(month_of(table.until).alias(MONTH)) if table.by_month else rows


def in_one_batch(table: Table, rows: pl.DataFrame) -> list[pa.RecordBatch]:
    """Rows as the writer is handed them, with their month: one batch, so that they lie in their file in order.

    The writer works on several batches at once, and writes first what is first done: of rows in two chunks, such as a
    filter on two processors leaves, the second half might come before the first.
    """
    batches: list[pa.RecordBatch] = with_month(table, rows).rechunk().to_arrow().to_batches()
    return batches


#: Layers of what was received: their rows cannot be made again, because files may have gone since.
RECEIVED = ("landing", "bronze")


def delta_schema(table: Table) -> deltalake.Schema:
    """Names and Delta types of the columns that are written."""
    return deltalake.Schema.from_arrow(arrow_schema(table))


def unprefixed(name: str) -> str:
    """The name of a column, where Delta's log says that the table is partitioned by it."""
    return name.removeprefix("partition.")


def fields_of(schema: deltalake.Schema) -> dict[str, str]:
    """Columns of a Delta table and their types."""
    return {field.name: str(field.type) for field in schema.fields}


def fields_today(table: Table) -> dict[str, str]:
    """Columns of a table and their Delta types, as its contract has them today."""
    return fields_of(delta_schema(table))


def filled(table: Table) -> list[pl.Expr]:
    """Columns that must not be null, as they are in rows from before there was such a column."""
    schema = stored_schema(table)
    plain = [name for name, column in table.columns.items() if not (column.nullable or column.primary_key)]
    nothing = {name: 0 if schema[name].is_integer() else "" for name in plain if not schema[name].is_temporal()}
    return [pl.col(name).fill_null(value) for name, value in nothing.items() if schema[name] != pl.Boolean]


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
    if not is_in_order(rows, table.sort):
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


def in_order(rows: pl.DataFrame, by: tuple[str, ...]) -> pl.DataFrame:
    """Rows sorted, those that come in pieces that are in order in a third of the time that sorting them anew takes."""
    # Rows of several months mostly are not, and a thousand of them tell.
    few = rows.select(by).gather_every(max(1, rows.height // 1000))
    if is_in_order(few, by) and is_in_order(rows, by):
        return rows
    if by[:2] == ("fleet_id", "battery_id") and rows["fleet_id"].n_unique() == 1:
        battery = pl.col("battery_id").cast(pl.Enum(rows["battery_id"].unique().sort())).to_physical().cast(pl.Int64)
        if by[2:3] != ("date",):
            return rows.sort(battery, *by[2:], maintain_order=True)
        # Of a battery and day all rows lie in one file, in order.
        near = rows.sort(battery * 2**32 + pl.col("date").to_physical().cast(pl.Int64), maintain_order=True)
        is_sorted = len(by) == 3 and not any(rows.select(by).null_count().row(0))
        if is_sorted or is_in_order(near, by):
            return near
    return rows.sort(*by, maintain_order=True)


def is_in_order(rows: pl.DataFrame, by: tuple[str, ...]) -> bool:
    """Whether rows are sorted; for millions of rows that are, asking costs a tenth of sorting them again."""
    follows = pl.lit(value=True)
    for name in reversed(by):
        here, before = pl.col(name), pl.col(name).shift()
        follows = (here > before) | ((here == before) & follows)
    answer = rows.select(follows.slice(1).all(ignore_nulls=False).fill_null(value=False)).item()
    return bool(answer)
