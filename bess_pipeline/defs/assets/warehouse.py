"""The warehouse: everything that analysts see, in one file."""

import dagster as dg

from bess_pipeline.defs.house import CODE_VERSION, GROUPS, OWNER
from bess_pipeline.defs.resources import Home
from bess_pipeline.tables import catalog


@dg.asset(
    deps=[table.name for table in catalog.PUBLISHED if table not in catalog.NOTES],
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
