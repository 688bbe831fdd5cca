"""What a line of the log says of the run that it comes from, on standard error and in Dagster's event log."""

import io
import json
import logging
from contextlib import redirect_stderr

import dagster as dg
import pytest

from bess_pipeline import logs
from bess_pipeline.config import Settings
from bess_pipeline.defs import logs as run_logs
from bess_pipeline.defs.partitions import FLEETS

#: What Dagster has to be told so that it hears the loggers of the pipeline.
PYTHON_LOGS = "python_logs:\n  managed_python_loggers: [bess_pipeline]\n"

_LOG = logs.logger("bess_pipeline.defs.io")


@dg.asset(partitions_def=FLEETS)
def talkative() -> None:
    _LOG.warning("%d files indexed", 3, extra={"files": 3})


@dg.asset(partitions_def=FLEETS)
def broken() -> None:
    raise ValueError("no disk at postgresql://bess:geheim@db/dagster")


@pytest.fixture(scope="module", autouse=True)
def _json_lines():
    """A process that logs JSON; the log of the tests is as it was afterwards."""
    handler = logs.configure("INFO", "json")
    run_logs.configure(Settings())
    yield
    logging.getLogger().removeHandler(handler)


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """Lines on standard error, and the event log, of one run of both assets for the fleet alpha."""
    folder = tmp_path_factory.mktemp("dagster")
    (folder / "dagster.yaml").write_text(PYTHON_LOGS + "telemetry: {enabled: false}\n")
    with redirect_stderr(io.StringIO()) as stderr, dg.DagsterInstance.from_config(str(folder)) as instance:
        instance.add_dynamic_partitions("fleet", ["alpha"])
        result = dg.materialize([talkative, broken], instance=instance, partition_key="alpha", raise_on_error=False)
        events = instance.all_logs(result.run_id)
    return result.run_id, [json.loads(line) for line in stderr.getvalue().splitlines()], events


def test_a_line_of_a_step_is_in_the_event_log_and_once_on_standard_error_with_run_fleet_and_step(ran):
    run_id, lines, events = ran
    (line,) = [line for line in lines if line["event"] == "3 files indexed"]
    assert {name: line[name] for name in ("level", "logger", "run_id", "fleet", "step", "files")} == {
        "level": "warning",
        "logger": "bess_pipeline.defs.io",
        "run_id": run_id,
        "fleet": "alpha",
        "step": "talkative",
        "files": 3,
    }
    (entry,) = [entry for entry in events if entry.dagster_event is None]
    assert (entry.level, entry.step_key) == (30, "talkative")
    assert "3 files indexed" in entry.user_message


def test_begin_and_end_of_a_run_are_told_and_details_are_not(ran):
    _, lines, _ = ran
    told = [line["event_type"] for line in lines if "event_type" in line]
    assert told == ["PIPELINE_START", "STEP_FAILURE", "PIPELINE_FAILURE"]


def test_an_error_is_told_with_its_traceback_once_and_without_passwords(ran):
    _, lines, _ = ran
    (told,) = [line for line in lines if "no disk" in json.dumps(line)]
    assert (told["level"], told["event_type"], told["step"]) == ("error", "STEP_FAILURE", "broken")
    assert "postgresql://bess:***@db" in told["error"]
    assert "Stack Trace" in told["error"]


def test_what_a_sensor_says_is_told_as_all_else(capsys):
    @dg.sensor(job_name="landing")
    def watchful(context: dg.SensorEvaluationContext):
        context.log.error("alpha.yaml: no such chemistry")
        yield dg.SkipReason("nothing")

    with dg.DagsterInstance.ephemeral() as instance, dg.build_sensor_context(instance, sensor_name="watchful") as told:
        list(watchful(told))
    (line,) = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert (line["event"], line["level"]) == ("alpha.yaml: no such chemistry", "error")
