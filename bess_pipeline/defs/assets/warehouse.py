"""The warehouse: everything that analysts see, in one file."""

import dagster as dg

from bess_pipeline.defs.house import CODE_VERSION, GROUPS, OWNER
from bess_pipeline.defs.resources import Home
from bess_pipeline.tables import catalog
from bess_pipeline.tables.catalog import Table

#: Of days Dagster would list every partition that there may be, of all fleets and since the first day, to find out that
#: they are too many to look at: at each publication, and whenever its pages ask whether the warehouse is old. That a
#: day is new is seen in the fleet's tables, which rest on it.
_NO_PARTITIONS = dg.SpecificPartitionsPartitionMapping([])


def _dependency(table: Table) -> dg.AssetDep:
    return dg.AssetDep(table.name, partition_mapping=_NO_PARTITIONS if table.per == "fleet_day" else None)


@dg.asset(
    deps=[_dependency(table) for table in catalog.PUBLISHED if table not in catalog.NOTES],
    group_name=GROUPS["warehouse"],
    kinds={"duckdb"},
    owners=[OWNER],
    tags={"bess/layer": "warehouse"},
    pool="warehouse",
    code_version=CODE_VERSION,
)
def warehouse(home: dg.ResourceParam[Home]) -> dg.MaterializeResult[None]:
    """One DuckDB file with every published table, replaced whole by an atomic rename."""
    published = home.warehouse.publish(home.lake)
    return dg.MaterializeResult(
        metadata={
            "file": dg.MetadataValue.path(home.settings.warehouse),
            "size_bytes": published.size_bytes,
            "dagster/row_count": sum(published.rows.values()),
            "rows": dg.MetadataValue.json(published.rows),
        }
    )
