"""What stands at the end of a fleet's run."""

import dagster as dg

from bess_pipeline.defs import jobs, plan
from bess_pipeline.defs.house import CODE_VERSION, GROUPS, OWNER
from bess_pipeline.defs.partitions import FLEETS
from bess_pipeline.defs.resources import Home


@dg.asset(
    name=jobs.UP_TO_DATE,
    deps=jobs.FLEET_TABLES,
    partitions_def=FLEETS,
    group_name=GROUPS["gold"],
    kinds={"deltalake"},
    owners=[OWNER],
    code_version=CODE_VERSION,
)
def fleet_up_to_date(context: dg.AssetExecutionContext, home: dg.ResourceParam[Home]) -> dg.MaterializeResult[None]:
    """From which inputs the tables of a fleet were last made; when these are others, the tables are made again."""
    basis = context.run.tags.get(plan.BASIS_TAG)
    if basis is not None:
        plan.record_fleet(home, context.partition_key, basis, run_id=context.run.run_id)
    return dg.MaterializeResult(metadata={"basis": basis or "not told: this run was launched by hand"})
