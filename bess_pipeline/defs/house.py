"""House style for assets: everything Dagster wants to know of a table, read off the catalog."""

import importlib.metadata
from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg
import dataframely as dy

from bess_pipeline.defs import lineage
from bess_pipeline.defs.increments import BEFORE, REACH, Reach
from bess_pipeline.defs.partitions import FLEET_DAYS, FLEETS, RANGES
from bess_pipeline.lake.contracts import stored_contract, stored_schema
from bess_pipeline.tables.catalog import Table
from bess_pipeline.tables.columns import meaning_of

#: The version of the pipeline, kept with every gold row.
CODE_VERSION = importlib.metadata.version("bess-pipeline")

LAKE_IO = "lake_io"
#: Of an input, which columns are read.
COLUMNS = "bess/columns"
OWNER = "team:bess-analytics"
#: Groups of assets, in the order in which data flow: Dagster lists them by name.
GROUPS = {
    layer: f"{place}_{layer}"
    for place, layer in enumerate(("landing", "bronze", "silver", "evidence", "gold", "warehouse", "upkeep"), start=1)
}
#: Layers that Dagster has a badge for.
_MEDALS = {"bronze", "silver", "gold"}


def column_schema(table: Table) -> dg.TableSchema:
    """The columns of a table for Dagster's column tab: type, unit, meaning, whether it may be null."""
    types = stored_schema(table)
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                name=name,
                type=str(types[name]),
                description=_description(table, name, column),
                constraints=dg.TableColumnConstraints(nullable=column.nullable, unique=False),
            )
            for name, column in stored_contract(table).columns().items()
        ]
    )


def _description(table: Table, name: str, column: dy.Column) -> str:
    text = meaning_of(column)
    rest = lineage.rests_on(table, name)
    return f"{text}{'' if text.endswith('.') or not rest else '.'}{rest}"


def _traits(table: Table) -> dict[str, Any]:
    return {
        "group_name": GROUPS[table.layer],
        "description": table.contract.__doc__,
        "kinds": {"deltalake", "polars", *({table.layer} & _MEDALS)},
        "tags": {"bess/layer": table.layer, "bess/grain": ".".join(_grain(table))},
        "owners": [OWNER],
        "code_version": CODE_VERSION,
        "metadata": {"dagster/column_schema": column_schema(table), **lineage.column_lineage(table)},
    }


def _grain(table: Table) -> list[str]:
    """What tells rows of a fleet apart."""
    keys = [name for name in table.contract.primary_key() if name != "fleet_id"]
    return keys or ["fleet_id"]


def spec(
    table: Table, reach: Reach | None = None, *, columns: Mapping[Table, Sequence[str]] | None = None
) -> dict[str, Any]:
    """Keyword arguments of an ordinary `dagster.asset` that makes a table.

    Args:
        table: The table.
        reach: How far the rows of a day rest on other days; whole histories are read and made where it is not said.
        columns: Large tables of which only some columns are read, with the names of these.
    """
    told = {"name": table.name, "io_manager_key": LAKE_IO, **_traits(table), **partitioning(table)}
    return told | _reaching(reach, columns)


def outs(
    *tables: Table, reach: Reach | None = None, columns: Mapping[Table, Sequence[str]] | None = None
) -> dict[str, Any]:
    """Keyword arguments of an ordinary `dagster.multi_asset` that makes several tables in one pass; see `spec`."""
    return {
        "outs": {table.name: dg.AssetOut(io_manager_key=LAKE_IO, **_traits(table)) for table in tables},
        **partitioning(tables[0]),
        **_reaching(reach, columns),
    }


def _reaching(reach: Reach | None, columns: Mapping[Table, Sequence[str]] | None) -> dict[str, Any]:
    """What the reader of an asset's inputs has to know of its reach, and of the columns that it reads."""
    ins = {read.name: dg.AssetIn(metadata={COLUMNS: list(names)}) for read, names in (columns or {}).items()}
    if reach is not None and reach.memory is not None:
        before = reach.memory.name + BEFORE
        ins[before] = dg.AssetIn(before, input_manager_key=LAKE_IO)
    return {"ins": ins} | ({} if reach is None else {"op_tags": {REACH: reach.to_text()}})


def remembered(*tables: Table) -> list[dg.AssetSpec]:
    """What is known of the days before, as it lies in the lake when an asset that remembers begins."""
    return [
        dg.AssetSpec(
            table.name + BEFORE,
            description=f"{table.grain} As of the first day that is made again.",
            group_name=GROUPS[table.layer],
            partitions_def=FLEETS,
        )
        for table in tables
    ]


def partitioning(table: Table) -> dict[str, Any]:
    """How the asset of a table is cut into partitions; runs that write tables of days can be limited by table."""
    if table.per == "fleet_day":
        return {"partitions_def": FLEET_DAYS, "backfill_policy": RANGES, "pool": table.name}
    return {"partitions_def": FLEETS}
