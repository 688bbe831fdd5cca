"""What the daemon starts by itself, looked at without a daemon: the requests of each look, and runs in their place."""

import os
import shutil
import time
import uuid
from datetime import UTC, date, datetime

import dagster as dg
import pytest
from dagster._core.launcher.base import CheckRunHealthResult, WorkerStatus
from dagster._daemon.types import DaemonHeartbeat

from bess_pipeline.definitions import defs
from bess_pipeline.defs import attempts, automation, jobs, liveness, plan
from bess_pipeline.defs.automation import Memory
from bess_pipeline.defs.instance import instance_of
from bess_pipeline.defs.partitions import FLEETS
from bess_pipeline.defs.plan import FLEET_TAG, WORK_TAG
from bess_pipeline.defs.resources import Home
from bess_pipeline.defs.runs import Launcher
from bess_pipeline_tests.defs.conftest import PLAN
from bess_pipeline_tests.deployments import run


@pytest.fixture
def instance(home):
    with instance_of(home) as opened:
        yield opened


@pytest.fixture
def fleet(written_once, home):
    """A deployment with the files of a fleet, on which nothing has been run; its files have come to rest."""
    for folder in ("fleets", "landing"):
        shutil.copytree(written_once / folder, home.root / folder, dirs_exist_ok=True)
    for file in home.landing.rglob("*.*"):
        os.utime(file, (1, 1))
    return home


def look(instance, memory=None):
    """One tick of the sensor."""
    context = dg.build_sensor_context(
        instance=instance, cursor=memory.to_text() if memory else None, definitions=defs, resources={"home": Home()}
    )
    return automation.up_to_date(context)


def started(instance, request, status=dg.DagsterRunStatus.STARTED):
    """A run as the daemon would make of a request, with nobody at work on it."""
    run = dg.DagsterRun(job_name=request.job_name, run_id=str(uuid.uuid4()), tags=dict(request.tags), status=status)
    return instance.add_run(run)


def did(instance, request):
    """The run of a request, to its end."""
    return Launcher(instance, lambda: None).run(request.job_name, dict(request.tags))


def test_a_fleet_that_joins_goes_through_wave_by_wave_and_then_nothing_is_due(fleet, instance):
    seen = []
    for _ in range(8):
        requests = look(instance).run_requests
        if not requests:
            break
        seen.append([request.job_name for request in requests])
        for request in requests:
            assert did(instance, request).failures == ()
    assert seen == [["landing"], ["telemetry"], ["fleet"], ["publish"]]
    assert instance.get_dynamic_partitions(str(FLEETS.name)) == ["alpha"]
    assert Home().warehouse.is_current(Home().lake)
    assert plan.making_fleet(Home(), "alpha") is None


def test_nothing_is_due_of_a_fleet_on_which_everything_was_run(ran, instance):
    assert look(instance).run_requests == []


def test_a_late_file_asks_for_its_days_alone(ran, instance):
    (path, *_) = sorted((ran.landing / "alpha").iterdir())
    os.utime(path, (1, 1))
    shutil.copy(path, path.with_name("late-" + path.name))
    os.utime(path.with_name("late-" + path.name), (1, 1))
    (index,) = look(instance).run_requests
    assert index.job_name == jobs.LANDING.name
    assert did(instance, index).failures == ()
    (days,) = look(instance).run_requests
    touched = Home().landing_days("alpha").filter(path="late-" + path.name)["date"].unique().sort().to_list()
    ends = [days.tags[f"dagster/asset_partition_range_{end}"].split("|")[0] for end in ("start", "end")]
    assert [date.fromisoformat(end) for end in ends] == [touched[0], touched[-1]]


def test_work_is_not_requested_while_it_is_at_work_and_waits_after_it_failed(fleet, instance):
    (request,) = look(instance).run_requests
    run = started(instance, request)
    assert look(instance).run_requests == []
    instance.report_run_failed(run)
    assert look(instance).run_requests == []
    later = automation._Look(Home(), instance, Memory(), _log(), time.time() + 31)
    (again,) = later.requests()
    assert again.tags[WORK_TAG] == request.tags[WORK_TAG]
    assert again.run_key != request.run_key


def test_a_fleet_of_which_something_was_at_work_at_the_look_holds_back_the_warehouse_though_it_has_ended(ran, instance):
    """The run ends between the look at the fleet and that at the warehouse: what follows from it comes first."""
    ran.warehouse.unlink()
    run = instance.add_run(dg.DagsterRun(job_name="telemetry", run_id=str(uuid.uuid4()), tags={FLEET_TAG: "alpha"}))
    seen = automation._Look(Home(), instance, Memory(), _log(), time.time() + 31)
    assert seen._due("alpha") == []
    instance.report_run_failed(run)
    assert seen.awaited == {"alpha"}
    assert list(seen.requests()) == []
    (publication,) = automation._Look(Home(), instance, Memory(), _log(), time.time() + 31).requests()
    assert publication.job_name == jobs.PUBLISH.name


def test_an_old_warehouse_waits_for_a_wave_that_has_begun_but_not_for_more_than_an_hour(ran, instance):
    (path, *_) = sorted((ran.landing / "alpha").iterdir())
    late = path.with_name("late-" + path.name)
    shutil.copy(path, late)
    os.utime(late, (1, 1))
    (index,) = look(instance).run_requests
    assert did(instance, index).failures == ()
    os.utime(ran.warehouse, (1, 1))
    memory, now = Memory(), time.time()
    (days,) = automation._Look(Home(), instance, memory, _log(), now).requests()
    started(instance, days)
    assert list(automation._Look(Home(), instance, memory, _log(), now + 3500).requests()) == []
    (publication,) = automation._Look(Home(), instance, memory, _log(), now + 3700).requests()
    assert (publication.job_name, memory.restless_since) == (jobs.PUBLISH.name, now)


def test_a_file_that_is_still_written_to_is_left_alone_but_not_for_ever(fleet, instance):
    (path, *_) = sorted((fleet.landing / "alpha").iterdir())
    os.utime(path)
    memory = Memory()
    now = time.time()
    assert list(automation._Look(Home(), instance, memory, _log(), now).requests()) == []
    assert memory.unsettled == {"alpha": now}
    os.utime(path, (now + 600, now + 600))
    (index,) = automation._Look(Home(), instance, memory, _log(), now + 601).requests()
    assert index.job_name == jobs.LANDING.name
    assert memory.unsettled == {}


def test_files_that_are_taken_away_while_they_are_written_hold_nothing_up(ran, instance):
    new = ran.landing / "alpha" / "new.parquet"
    new.write_bytes(b"half of a file")
    ran.warehouse.unlink()
    memory = Memory(unsettled={"gone": 1.0})
    assert list(automation._Look(Home(), instance, memory, _log(), time.time()).requests()) == []
    assert memory.unsettled.keys() == {"alpha"}
    new.unlink()
    (publication,) = automation._Look(Home(), instance, memory, _log(), time.time() + 31).requests()
    assert (publication.job_name, memory.unsettled) == (jobs.PUBLISH.name, {})


def test_a_fleet_file_with_a_mistake_keeps_no_other_fleet_from_going_on(fleet, instance):
    (fleet.fleets / "broken.yaml").write_text("fleet_id: broken\nbattery: {chemistry: unobtainium}\n")
    (request,) = look(instance).run_requests
    assert request.tags[FLEET_TAG] == "alpha"


def test_many_stale_days_stand_behind_the_nightly_run(fleet, instance, monkeypatch):
    did(instance, look(instance).run_requests[0])
    (few,) = look(instance).run_requests
    monkeypatch.setenv("BESS_DAYS_PER_RUN", "1")
    many = look(instance).run_requests
    assert len(many) == PLAN.days
    assert {request.tags["dagster/priority"] for request in many} == {automation.BACKFILL}
    assert int(automation.BACKFILL) < int(few.tags["dagster/priority"]) < int(automation.NIGHTLY)
    monkeypatch.setenv("BESS_NEWEST_FIRST", "true")
    assert [request.tags[WORK_TAG] for request in look(instance).run_requests] == [
        request.tags[WORK_TAG] for request in reversed(many)
    ]


def test_days_that_fail_again_and_again_do_not_keep_a_fleet_from_its_tables(fleet, instance):
    did(instance, look(instance).run_requests[0])
    (days,) = look(instance).run_requests
    for times in range(1, 6):
        instance.report_run_failed(started(instance, days))
        jobs_due = [request.job_name for request in look(instance).run_requests]
        assert jobs_due == ([] if times < 5 else [jobs.FLEET.name])


def test_a_run_that_nobody_holds_is_marked_at_the_second_look_and_its_work_is_due_again(fleet, instance):
    (request,) = look(instance).run_requests
    dead = started(instance, request)
    first = look(instance)
    assert Memory.of_text(first.cursor).suspected == [dead.run_id]
    assert instance.get_run_by_id(dead.run_id).status == dg.DagsterRunStatus.STARTED
    look(instance, Memory.of_text(first.cursor))
    assert instance.get_run_by_id(dead.run_id).status == dg.DagsterRunStatus.FAILURE


def test_a_run_that_is_held_is_never_marked(fleet, instance):
    (request,) = look(instance).run_requests
    living = started(instance, request)
    with liveness._alive(living.run_id):
        assert liveness.bury(instance, [living.run_id]) == []
    assert instance.get_run_by_id(living.run_id).status == dg.DagsterRunStatus.STARTED


@pytest.mark.parametrize("status", WorkerStatus)
def test_a_run_whose_node_died_before_it_began_is_marked_at_the_second_look_if_the_cluster_knows(
    fleet, instance, monkeypatch, status
):
    """A cluster gets minutes to find a machine for a run; a run that it has lost need not wait for them."""
    (request,) = look(instance).run_requests
    handed_over = started(instance, request, dg.DagsterRunStatus.STARTING)
    assert liveness.bury(instance, []) == [], "here processes begin at once, and tell of it"
    cluster = type(instance.run_launcher)
    monkeypatch.setattr(cluster, "supports_check_run_worker_health", True)
    monkeypatch.setattr(cluster, "check_run_worker_health", lambda *_: CheckRunHealthResult(status))
    suspected = liveness.bury(instance, [])
    assert suspected == ([handed_over.run_id] if status is WorkerStatus.FAILED else [])
    assert liveness.bury(instance, suspected) == []
    told = instance.get_run_by_id(handed_over.run_id).status
    assert (told is dg.DagsterRunStatus.FAILURE) is (status is WorkerStatus.FAILED)


def test_bess_run_leaves_a_fleet_to_the_daemon_that_is_at_work_on_it_but_not_to_one_that_is_dead(fleet):
    with instance_of(fleet) as instance:
        (request,) = look(instance).run_requests
        living = started(instance, request)
    with liveness._alive(living.run_id):
        outcome = run()
    assert outcome.remarks == ["alpha: left to the daemon, which is at work on it: landing"]
    assert outcome.days == {}
    with instance_of(fleet) as instance:
        assert attempts.at_work(instance, "alpha", now=time.time()) == set()
        queued = started(instance, request, dg.DagsterRunStatus.NOT_STARTED)
        assert attempts.at_work(instance, "alpha", now=time.time()) == set()
        beat = DaemonHeartbeat(time.time(), "QUEUED_RUN_COORDINATOR", "1", None)
        instance.add_daemon_heartbeat(beat)
        assert attempts.at_work(instance, "alpha", now=time.time()) == {queued.job_name}


def test_every_night_each_fleet_is_looked_at_once(ran, instance):
    night = datetime(2026, 3, 4, 0, 30, tzinfo=UTC)
    context = dg.build_schedule_context(instance, scheduled_execution_time=night, resources={"home": Home()})
    (request,) = automation.nightly(context)
    assert request.run_key == "alpha/2026-03-04"
    assert request.tags["dagster/partition"] == "alpha"
    (request,) = automation.daily_checks(context)
    assert request.partition_key == "alpha"


def _log():
    return dg.build_sensor_context().log
