"""Jobs: the four waves of the pipeline, each of which can be launched on its own."""

import dagster as dg

from bess_pipeline.tables import catalog

_MADE = [table for table in catalog.TABLES.values() if table not in catalog.NOTES]
DAY_TABLES = [table.name for table in _MADE if table.per == "fleet_day"]
INDEX_TABLES = [table.name for table in _MADE if table.per == "fleet" and table.layer == "landing"]
FLEET_TABLES = [table.name for table in _MADE if table.per == "fleet" and table.layer != "landing"]

LANDING = dg.define_asset_job("landing", selection=INDEX_TABLES, description="Look at a fleet's landing folder.")
TELEMETRY = dg.define_asset_job(
    "telemetry", selection=DAY_TABLES, description="Read, clean and condense days of a fleet."
)
FLEET = dg.define_asset_job(
    "fleet", selection=FLEET_TABLES, description="Everything that rests on a fleet's whole history."
)
PUBLISH = dg.define_asset_job("publish", selection=["warehouse"], description="Put a new warehouse in place.")
