"""What starts runs by itself: the nightly look at the landing zone, stale days, and what follows from them."""

from collections.abc import Iterator

import dagster as dg

from bess_pipeline.defs import jobs
from bess_pipeline.defs.partitions import FLEETS
from bess_pipeline.defs.plan import has_new_files, stale_ranges
from bess_pipeline.defs.resources import Home

_RANGE_START = "dagster/asset_partition_range_start"
_RANGE_END = "dagster/asset_partition_range_end"
_UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]

#: The fleet that a run works on, as a tag.
FLEET_TAG = "bess/fleet"


def range_tags(fleet_id: str, first: object, last: object) -> dict[str, str]:
    """Tags that make a run of day assets cover a range of a fleet's days."""
    return {
        _RANGE_START: dg.MultiPartitionKey({"fleet": fleet_id, "date": str(first)}),
        _RANGE_END: dg.MultiPartitionKey({"fleet": fleet_id, "date": str(last)}),
        FLEET_TAG: fleet_id,
    }


def _is_busy(instance: dg.DagsterInstance, fleet_id: str) -> bool:
    filters = dg.RunsFilter(tags={FLEET_TAG: fleet_id}, statuses=_UNFINISHED)
    return instance.get_runs_count(filters) > 0


@dg.schedule(
    job=jobs.LANDING,
    cron_schedule="30 0 * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
)
def nightly(context: dg.ScheduleEvaluationContext, home: dg.ResourceParam[Home]) -> Iterator[dg.RunRequest]:
    """Half past midnight UTC: look at every fleet's landing folder; stale days then follow by themselves."""
    for fleet_id in home.register().fleets:
        context.instance.add_dynamic_partitions(str(FLEETS.name), [fleet_id])
        night = context.scheduled_execution_time.date()
        yield dg.RunRequest(run_key=f"{fleet_id}/{night}", partition_key=fleet_id, tags={FLEET_TAG: fleet_id})


@dg.sensor(
    jobs=[jobs.LANDING, jobs.TELEMETRY],
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.RUNNING,
)
def landing_zone(
    context: dg.SensorEvaluationContext, home: dg.ResourceParam[Home]
) -> Iterator[dg.RunRequest | dg.SkipReason]:
    """New, late or changed files: index them, then make just the days that they touch."""
    known = home.register()
    for name, lines in known.mistakes.items():
        context.log.error("%s: %s", name, "; ".join(lines))
    for fleet_id in known.fleets:
        context.instance.add_dynamic_partitions(str(FLEETS.name), [fleet_id])
        if _is_busy(context.instance, fleet_id):
            continue
        if has_new_files(home, fleet_id):
            yield dg.RunRequest(job_name=jobs.LANDING.name, partition_key=fleet_id, tags={FLEET_TAG: fleet_id})
            continue
        for stale in stale_ranges(home, fleet_id):
            days = list(stale.window)
            yield dg.RunRequest(
                job_name=jobs.TELEMETRY.name,
                run_key=f"{fleet_id}/{stale.window}/{stale.version}",
                tags=range_tags(fleet_id, days[0], days[-1]),
            )


FOLLOWERS = dg.AutomationConditionSensorDefinition(
    "followers", target=dg.AssetSelection.all(), default_status=dg.DefaultSensorStatus.RUNNING
)
