import dagster as dg
from dagster import MultiToSingleDimensionPartitionMapping
from dagster._core.execution.context.system import StepExecutionContext

from bess_pipeline.defs.mapped_once import mapped_once
from bess_pipeline.defs.partitions import FLEET_DAYS, FLEETS, day_key


class Told(dg.IOManager):
    """Keeps which partitions each input was asked for."""

    def __init__(self):
        self.inputs = {}

    def handle_output(self, context, obj):
        pass

    def load_input(self, context):
        asked = (context.step_context.step.key, context.asset_key.path[-1])
        self.inputs[asked] = sorted(context.asset_partition_keys)


@dg.asset(partitions_def=FLEET_DAYS)
def days():
    return None


@dg.asset(partitions_def=FLEETS)
def one(days):
    return None


@dg.asset(partitions_def=FLEETS)
def other(days, one):
    return None


@dg.asset(partitions_def=FLEETS)
def third(one, other, days):
    return None


def _made(monkeypatch, instance):
    told, counted = Told(), []
    mapping = MultiToSingleDimensionPartitionMapping
    asked = mapping.get_upstream_mapped_partitions_result_for_partitions

    def counting(self, *given, **named):
        counted.append(self)
        return asked(self, *given, **named)

    with monkeypatch.context() as patched:
        patched.setattr(mapping, "get_upstream_mapped_partitions_result_for_partitions", counting)
        for fleet in ("alpha", "beta"):
            made = dg.materialize(
                [days, one, other, third],
                selection=[one, other, third],
                partition_key=fleet,
                resources={"io_manager": told},
                instance=instance,
            )
            assert made.success
            yield dict(told.inputs), len(counted)


def test_inputs_stand_for_the_same_partitions_and_days_are_gone_through_once(monkeypatch):
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions(str(FLEETS.name), ["alpha", "beta"])
        plain = list(_made(monkeypatch, instance))
        remembered = []
        for number, fleet in enumerate(("alpha", "beta")):
            with mapped_once():  # as a run does, and one run is of one fleet
                remembered.append(list(_made(monkeypatch, instance))[number])
            assert remembered[-1][0] == plain[number][0]
            first_day = str(day_key(fleet, "2020-01-01"))
            assert first_day in plain[number][0]["third", "days"]
    asked_plain, asked_remembered = plain[0][1], remembered[0][1]
    assert asked_plain >= 3  # one for each input that is of days
    assert asked_remembered == 1


def test_what_is_remembered_ends_with_the_run():
    before = StepExecutionContext.asset_partitions_subset_for_input
    with mapped_once():
        assert StepExecutionContext.asset_partitions_subset_for_input is not before
    assert StepExecutionContext.asset_partitions_subset_for_input is before
