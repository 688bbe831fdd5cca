"""House style for assets: everything Dagster wants to know of a table, read off the catalog."""

import importlib.metadata
from typing import Any

import dagster as dg

from bess_pipeline.defs.partitions import FLEET_DAYS, FLEETS, RANGES
from bess_pipeline.lake.store import stored_contract, stored_schema
from bess_pipeline.tables.catalog import Table
from bess_pipeline.tables.columns import unit_of

#: The version of the pipeline, kept with every gold row.
CODE_VERSION = importlib.metadata.version("bess-pipeline")

LAKE_IO = "lake_io"
OWNER = "team:bess-analytics"

#: A fleet's tables follow when days of it changed, late days included, once the wave of changes has settled.
FOLLOW = (
    dg.AutomationCondition.any_deps_updated()
    & ~dg.AutomationCondition.any_deps_in_progress()
    & ~dg.AutomationCondition.in_progress()
).with_label("inputs changed and settled")


def column_schema(table: Table) -> dg.TableSchema:
    """The columns of a table for Dagster's column tab: type, unit, meaning, whether it may be null."""
    types = stored_schema(table)
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                name=name,
                type=str(types[name]),
                description=f"{column.description or ''}{f' [{unit}]' if (unit := unit_of(column)) else ''}",
                constraints=dg.TableColumnConstraints(nullable=column.nullable, unique=False),
            )
            for name, column in stored_contract(table).columns().items()
        ]
    )


def _traits(table: Table) -> dict[str, Any]:
    return {
        "group_name": table.layer,
        "description": table.contract.__doc__,
        "kinds": {"deltalake", "polars"},
        "owners": [OWNER],
        "code_version": CODE_VERSION,
        "metadata": {"dagster/column_schema": column_schema(table)},
        "automation_condition": FOLLOW if table.per == "fleet" and table.layer != "landing" else None,
    }


def spec(table: Table) -> dict[str, Any]:
    """Keyword arguments of an ordinary `dagster.asset` that makes a table."""
    return {"name": table.name, "io_manager_key": LAKE_IO, **_traits(table), **partitioning(table)}


def outs(*tables: Table) -> dict[str, Any]:
    """Keyword arguments of an ordinary `dagster.multi_asset` that makes several tables in one pass."""
    return {
        "outs": {table.name: dg.AssetOut(io_manager_key=LAKE_IO, **_traits(table)) for table in tables},
        **partitioning(tables[0]),
    }


def partitioning(table: Table) -> dict[str, Any]:
    """How the asset of a table is cut into partitions."""
    if table.per == "fleet_day":
        return {"partitions_def": FLEET_DAYS, "backfill_policy": RANGES}
    return {"partitions_def": FLEETS}
