"""Upkeep, once a week: small files put together, old files, commits and records removed."""

from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg

from bess_pipeline.defs import old_records
from bess_pipeline.defs.house import GROUPS, OWNER
from bess_pipeline.defs.instance import instance_of
from bess_pipeline.defs.resources import Home
from bess_pipeline.defs.runs import Launcher
from bess_pipeline.defs.work import is_on, unfinished_runs
from bess_pipeline.lake import upkeep
from bess_pipeline.lake.upkeep import Room, Tidied
from bess_pipeline.tables import catalog

_GROUP = GROUPS["upkeep"]
_TOLD = ("files", "files on disk", "bytes on disk", "files of the log", "bytes of the log")


@dg.asset(group_name=_GROUP, kinds={"deltalake"}, owners=[OWNER])
def lake_upkeep(context: dg.AssetExecutionContext, home: dg.ResourceParam[Home]) -> dg.MaterializeResult[None]:
    """The lake with few large files instead of many small ones, and without files that no version of a week needs."""
    return dg.MaterializeResult(metadata=_tidied(home, context.instance, context.run.run_id))


@dg.asset(group_name=_GROUP, kinds={"sqlite"}, owners=[OWNER])
def record_upkeep(context: dg.AssetExecutionContext, home: dg.ResourceParam[Home]) -> dg.MaterializeResult[None]:
    """Dagster's records without runs that are old and superseded; the newest of each partition stays."""
    before = datetime.now(UTC) - timedelta(days=home.settings.records_kept_days)
    return dg.MaterializeResult(metadata={**vars(old_records.prune(context.instance, before))})


ASSETS = [lake_upkeep, record_upkeep]

UPKEEP = dg.define_asset_job(
    "upkeep",
    selection=ASSETS,
    description="Put small files of the lake together; remove old files, commits and records.",
)

#: Sunday, a quarter past three UTC.
WEEKLY = dg.ScheduleDefinition(
    name="weekly_upkeep",
    job=UPKEEP,
    cron_schedule="15 3 * * 0",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
)


def run(home: Home) -> tuple[list[str], tuple[str, ...]]:
    """`bess upkeep`: run the job in this process; what it did, and what went wrong, a line each."""
    with instance_of(home.settings) as instance:
        result = Launcher(instance, lambda: None).run(UPKEEP.name, {})
        told = []
        for asset in ASSETS:
            event = instance.get_latest_materialization_event(asset.key)
            if event is not None and event.run_id == result.run_id and event.asset_materialization is not None:
                values = event.asset_materialization.metadata.items()
                told += [f"{name}: {_shown(value.value)}" for name, value in values if name != "tables"]
    return told, result.failures


def _shown(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)


def _tidied(home: Home, instance: dg.DagsterInstance, run_id: str) -> dict[str, Any]:
    def is_at_work(fleet_id: str) -> bool:
        return any(is_on(run, fleet_id) for run in unfinished_runs(instance, besides=run_id))

    keep = timedelta(days=home.settings.old_files_kept_days)
    pruned = upkeep.prune(home.lake, home.known_fleets())
    done = [upkeep.tidy(home.lake, table, keep=keep, is_at_work=is_at_work) for table in catalog.TABLES.values()]
    before, after = (sum((getattr(one, when) for one in done), Room()) for when in ("before", "after"))
    totals = zip(_TOLD, before.numbers(), after.numbers(), strict=True)
    return {
        **{f"{name} {when}": n for name, was, now in totals for when, n in (("before", was), ("after", now))},
        **{f"rows of {name} pruned": rows for name, rows in pruned.items()},
        "fleets that were written": sorted({fleet for one in done for fleet in one.left}),
        "tables": dg.MetadataValue.table(records=[_record(one) for one in done if one.before != one.after]),
    }


def _record(one: Tidied) -> dg.TableRecord:
    numbers = zip(_TOLD, one.before.numbers(), one.after.numbers(), strict=True)
    return dg.TableRecord({"table": one.table, **{name: f"{was:,} → {now:,}" for name, was, now in numbers}})
