"""Jobs: the four waves of the pipeline, each of which can be launched on its own, and the checks of a fleet alone."""

import dagster as dg

from bess_pipeline.tables import catalog

_MADE = [table for table in catalog.TABLES.values() if table not in catalog.NOTES]
DAY_TABLES = [table.name for table in _MADE if table.per == "fleet_day"]
INDEX_TABLES = [table.name for table in _MADE if table.per == "fleet" and table.layer == "landing"]
FLEET_TABLES = [table.name for table in _MADE if table.per == "fleet" and table.layer != "landing"]

#: What stands at the end of a fleet's run: from which inputs its tables were made.
UP_TO_DATE = "fleet_up_to_date"
FLEET_ASSETS = [*FLEET_TABLES, UP_TO_DATE]

#: Tables of a fleet that are judged.
CHECKED = [
    catalog.DATA_QUALITY_DAILY,
    catalog.BATTERY_DATA_QUALITY_DAILY,
    catalog.ARRIVALS_DAILY,
    catalog.DAILY_FEATURES,
]

LANDING = dg.define_asset_job("landing", selection=INDEX_TABLES, description="Look at a fleet's landing folder.")
TELEMETRY = dg.define_asset_job(
    "telemetry", selection=DAY_TABLES, description="Read, clean and condense days of a fleet."
)
FLEET = dg.define_asset_job(
    "fleet", selection=FLEET_ASSETS, description="Everything that rests on a fleet's whole history."
)
PUBLISH = dg.define_asset_job("publish", selection=["warehouse"], description="Put a new warehouse in place.")
CHECKS = dg.define_asset_job(
    "checks",
    selection=dg.AssetSelection.checks_for_assets(*(table.name for table in CHECKED)),
    description="Judge a fleet by its quality tables as of today: what stays away is noticed, too.",
)
