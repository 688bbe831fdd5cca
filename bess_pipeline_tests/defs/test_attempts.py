"""When a piece of work may be tried again."""

import uuid

import dagster as dg
import pytest

from bess_pipeline.defs import attempts
from bess_pipeline.defs.attempts import Attempts
from bess_pipeline.defs.plan import FLEET_TAG, WORK_TAG

FAILURE, SUCCESS, CANCELED = dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.CANCELED


@pytest.mark.parametrize(
    ("statuses", "wait"),
    [
        pytest.param([], 0, id="what was never tried starts at once"),
        pytest.param([FAILURE], 30, id="half a minute after the first failure"),
        pytest.param([FAILURE] * 4, 240, id="twice as long after each further one"),
        pytest.param([FAILURE] * 12, 21600, id="six hours at most"),
        pytest.param([SUCCESS], 30, id="what went well and is due all the same is not repeated at every look"),
        pytest.param([CANCELED, FAILURE], 86400, id="what a person cancelled is left alone for a day"),
        pytest.param([FAILURE, CANCELED, FAILURE, FAILURE], 30, id="failures before a cancellation no longer count"),
    ],
)
def test_waiting_after_attempts(statuses, wait):
    tried = Attempts(tuple(statuses), 1000.0, len(statuses))
    assert tried.wait_seconds == wait
    assert tried.may_start(1000.0 + wait)
    if wait:
        assert not tried.may_start(1000.0 + wait - 1)


def test_what_follows_waits_for_what_failed_a_few_times_but_not_for_what_does_so_again_and_again():
    waits = [Attempts((FAILURE,) * times, 1000.0, times).is_worth_waiting_for for times in range(1, 7)]
    assert waits == [True, True, True, True, False, False]
    assert not Attempts((CANCELED,), 1000.0, 1).is_worth_waiting_for
    assert not Attempts((), None, 0).is_worth_waiting_for


def test_work_that_is_unfinished_is_not_started_again():
    assert not Attempts((dg.DagsterRunStatus.QUEUED,), None, 1).may_start(1e12)


def test_a_clock_that_was_set_back_holds_nothing_up():
    assert Attempts((FAILURE,), 1000.0, 1).may_start(10.0)


@pytest.fixture
def instance(tmp_path):
    with dg.DagsterInstance.ephemeral(tempdir=str(tmp_path)) as opened:
        yield opened


def test_attempts_are_those_of_the_same_work_the_newest_first(instance):
    def ran(key, status, fleet="alpha"):
        tags = {WORK_TAG: key, FLEET_TAG: fleet}
        instance.add_run(dg.DagsterRun(job_name="telemetry", run_id=str(uuid.uuid4()), tags=tags, status=status))

    ran("this", FAILURE)
    ran("this", dg.DagsterRunStatus.STARTED)
    ran("other", SUCCESS, "beta")
    tried = attempts.of(instance, "this")
    assert (tried.statuses, tried.count) == ((dg.DagsterRunStatus.STARTED, FAILURE), 2)
    assert attempts.of(instance, "never").may_start(0.0)
    assert attempts.unfinished(instance) == attempts.unfinished(instance, "alpha") == {"telemetry"}
    assert attempts.unfinished(instance, "beta") == set()
