"""Dagster's records of what there is, made again from the lake: for records that are lost, or begin anew elsewhere."""

import dagster as dg

from bess_pipeline.defs import jobs
from bess_pipeline.defs.instance import instance_of
from bess_pipeline.defs.operate import Progress
from bess_pipeline.defs.partitions import FLEETS, day_key
from bess_pipeline.defs.plan import LAST_OF_DAY, MADE
from bess_pipeline.defs.resources import Home

_WHY = {"rebuilt": "told by the lake's ledger; the run that made it is not on record"}


def _missing(home: Home, instance: dg.DagsterInstance) -> list[tuple[str, str | None]]:
    """Assets and partitions that are in the lake and not in the records."""
    there: dict[str, set[str]] = {}
    for fleet_id in home.register().fleets:
        days = {day_key(fleet_id, day) for day in home.ledger.signatures(fleet_id, LAST_OF_DAY)}
        indexed = {fleet_id} if home.landing_files(fleet_id).height else set()
        whole = {fleet_id} if home.ledger.signatures(fleet_id, MADE) else set()
        for names, partitions in ((jobs.INDEX_TABLES, indexed), (jobs.DAY_TABLES, days), (jobs.FLEET_ASSETS, whole)):
            for name in names:
                there.setdefault(name, set()).update(partitions)
    missing: list[tuple[str, str | None]] = [
        (name, partition)
        for name, partitions in there.items()
        for partition in sorted(partitions - instance.get_materialized_partitions(dg.AssetKey(name)), key=str)
    ]
    published = dg.AssetKey("warehouse")
    if home.settings.warehouse.exists() and instance.get_latest_materialization_event(published) is None:
        missing.append((published.to_user_string(), None))
    return missing


def rebuild(home: Home, progress: Progress) -> int:
    """Tell Dagster of every fleet and partition that is in the lake and not in its records; the lake stays as it is.

    The state of the partitions is back then, and lineage with it. What is told of past runs, their events, checks and
    pictures, is not: it comes with the next run of each.

    Args:
        home: The deployment.
        progress: Is told what goes on.

    Returns:
        How many partitions were missing.

    Raises:
        AnotherRunError: If a run is at work on the deployment.
        RecordsError: If the records do not answer.
    """
    with instance_of(home.settings) as instance:
        home.lake.create()
        instance.add_dynamic_partitions(str(FLEETS.name), list(home.register().fleets))
        missing = _missing(home, instance)
        progress.begin("records", len(missing))
        for name, partition in missing:
            told = dg.AssetMaterialization(asset_key=name, partition=partition, metadata=_WHY)
            instance.report_runless_asset_event(told)
            progress.advance()
    return len(missing)
