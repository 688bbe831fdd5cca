"""Sensors and schedules that noted a time to come go on when the clock is right again."""

import time

import dagster as dg
import pytest
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.remote_origin import GrpcServerCodeLocationOrigin, RemoteInstigatorOrigin, RemoteRepositoryOrigin
from dagster._core.scheduler.instigation import (
    InstigatorState,
    InstigatorStatus,
    ScheduleInstigatorData,
    SensorInstigatorData,
    TickData,
    TickStatus,
)

from bess_pipeline.defs import wrong_clock

AHEAD = time.time() + 4 * 365 * 86400


@pytest.fixture
def instance(tmp_path):
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        yield instance


def noted(instance, name, kind, data, tick_at):
    location = GrpcServerCodeLocationOrigin(host="127.0.0.1", port=1, location_name="here")
    origin = RemoteInstigatorOrigin(RemoteRepositoryOrigin(location, "__repository__"), name)
    state = InstigatorState(origin, kind, InstigatorStatus.RUNNING, data)
    instance.add_instigator_state(state)
    tick = TickData(
        state.instigator_origin_id,
        name,
        kind,
        TickStatus.SUCCESS,
        tick_at,
        run_ids=["r"],
        selector_id=state.selector_id,
    )
    instance.create_tick(tick)
    return state


def test_a_time_to_come_is_forgotten(instance):
    sensor = noted(
        instance, "up_to_date", InstigatorType.SENSOR, SensorInstigatorData(last_tick_timestamp=AHEAD), AHEAD
    )
    schedule = noted(
        instance, "nightly", InstigatorType.SCHEDULE, ScheduleInstigatorData("30 0 * * *", AHEAD, AHEAD), AHEAD
    )
    assert wrong_clock.set_right(instance) == ["nightly", "up_to_date"]
    states = {state.instigator_name: state.instigator_data for state in instance.all_instigator_state()}
    assert states["up_to_date"].last_tick_timestamp is None
    assert states["nightly"].start_timestamp <= time.time()
    for state in (sensor, schedule):
        assert instance.get_ticks(state.instigator_origin_id, state.selector_id) == []
    assert wrong_clock.set_right(instance) == []


def test_what_is_past_stays(instance):
    before = time.time() - 60
    sensor = noted(
        instance, "up_to_date", InstigatorType.SENSOR, SensorInstigatorData(last_tick_timestamp=before), before
    )
    assert wrong_clock.set_right(instance) == []
    assert len(instance.get_ticks(sensor.instigator_origin_id, sensor.selector_id)) == 1
