"""Who is at work: runs that have not ended, by the fleet that they work on."""

import dagster as dg

from bess_pipeline.defs.attempts import UNFINISHED
from bess_pipeline.lake.search import word


def unfinished_runs(instance: dg.DagsterInstance, *, besides: str = "") -> list[dg.DagsterRun]:
    """Runs that have not ended, without the one that asks."""
    runs = instance.get_runs(dg.RunsFilter(statuses=UNFINISHED))
    return [run for run in runs if run.run_id != besides]


def is_on(run: dg.DagsterRun, fleet_id: str) -> bool:
    """Whether a run works on a fleet: one of its tags, its partition perhaps, names it."""
    is_named = word(fleet_id).search
    return any(is_named(value) for value in run.tags.values())
