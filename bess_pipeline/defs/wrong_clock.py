"""A clock that was ahead for a while: Dagster's sensors and schedules would wait until that time has come."""

import time

import dagster as dg
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.scheduler.instigation import InstigatorState, ScheduleInstigatorData, SensorInstigatorData

#: Clocks of machines that work together differ by less [s].
_TOLERANCE_SECONDS = 300.0


def set_right(instance: dg.DagsterInstance) -> list[str]:
    """Let sensors and schedules go on that have noted a time to come; their names.

    Dagster looks at a sensor when enough time has passed since its last look, and starts a schedule
    for times after its last tick. Both never comes if the last was in the year 2030.

    Args:
        instance: Dagster's records.
    """
    now = time.time()
    put = []
    for state in instance.all_instigator_state():
        ticks = instance.get_ticks(
            state.instigator_origin_id, state.selector_id, after=now + _TOLERANCE_SECONDS, limit=1
        )
        fresh = _without_future(state, now)
        if not ticks and fresh is state:
            continue
        if ticks:
            instance.purge_ticks(state.instigator_origin_id, state.selector_id, before=ticks[0].timestamp + 1)
        if fresh is not state:
            instance.update_instigator_state(fresh)
        put.append(state.instigator_name)
    return sorted(put)


def _without_future(state: InstigatorState, now: float) -> InstigatorState:
    data, latest = state.instigator_data, now + _TOLERANCE_SECONDS
    if state.instigator_type == InstigatorType.SENSOR and isinstance(data, SensorInstigatorData):
        noted = (data.last_tick_timestamp, data.last_tick_start_timestamp)
        if max(at or 0.0 for at in noted) > latest:
            return state.with_data(data._replace(last_tick_timestamp=None, last_tick_start_timestamp=None))
    elif isinstance(data, ScheduleInstigatorData):
        noted = (data.start_timestamp, data.last_iteration_timestamp)
        if max(at or 0.0 for at in noted) > latest:
            return state.with_data(data._replace(start_timestamp=now, last_iteration_timestamp=now))
    return state
