"""The Dagster code location, put together from the assets, jobs and automation of this package."""

import dagster as dg

from bess_pipeline.defs import alerts, assets, automation, checks, jobs, logs, upkeep
from bess_pipeline.defs.house import LAKE_IO, remembered
from bess_pipeline.defs.io import lake_io
from bess_pipeline.defs.liveness import living_executor
from bess_pipeline.defs.resources import Home
from bess_pipeline.tables import catalog


def code_location() -> dg.Definitions:
    """Every definition of the pipeline, bound to the deployment that the environment names."""
    home = Home()
    logs.configure(home.settings)
    return dg.Definitions(
        assets=[
            *dg.load_assets_from_package_module(assets),
            *upkeep.ASSETS,
            *remembered(
                catalog.ANOMALY_MODELS, *(table for name, table in catalog.TABLES.items() if name.endswith("_memory"))
            ),
        ],
        asset_checks=[checks.of_accounts, checks.data_quality, checks.of_models],
        jobs=[jobs.LANDING, jobs.TELEMETRY, jobs.FLEET, jobs.PUBLISH, jobs.CHECKS, upkeep.UPKEEP],
        schedules=[automation.nightly, automation.daily_checks, upkeep.WEEKLY],
        sensors=[automation.up_to_date, alerts.alerts_raised, alerts.alerts_sent],
        resources={"home": home, LAKE_IO: lake_io(home)},
        executor=living_executor,
    )
