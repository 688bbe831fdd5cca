"""Which partitions the inputs of a run's steps stand for: worked out once for a run, not for every input.

Dagster asks for each input of each step, and goes through every day since the first that telemetry may have: some
35 ms an input of the fleet level with seven years of days, and a query for each fleet's name beside.
Within one run the answer is the same for all inputs of the same partitions.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg
from dagster._core.definitions.partitions.subset import PartitionsSubset
from dagster._core.execution.context.system import StepExecutionContext

_NAME = "asset_partitions_subset_for_input"


@contextmanager
def mapped_once() -> Iterator[None]:
    """Steps that are executed within, all of one run, remember the partitions of inputs."""
    asked = getattr(StepExecutionContext, _NAME)
    known: dict[tuple[int, int, dg.PartitionKeyRange], PartitionsSubset] = {}
    valid: set[tuple[int, int, dg.PartitionKeyRange]] = set()

    def subset(step: StepExecutionContext, name: str, *, require_valid_partitions: bool = True) -> PartitionsSubset:
        layer = step.job_def.asset_layer
        read, made = layer.get_asset_key_for_node_input(step.node_handle, name), step.entity_partitions_def
        if read is None or made is None:
            found: PartitionsSubset = asked(step, name, require_valid_partitions=require_valid_partitions)
            return found
        # Definitions of partitions are few, and live as long as the job.
        key = (id(layer.get(read).partitions_def), id(made), step.partition_key_range)
        if key not in known or (require_valid_partitions and key not in valid):
            known[key] = asked(step, name, require_valid_partitions=require_valid_partitions)
            if require_valid_partitions:
                valid.add(key)
        return known[key]

    setattr(StepExecutionContext, _NAME, subset)
    try:
        yield
    finally:
        setattr(StepExecutionContext, _NAME, asked)
