"""Lines of the log that tell of which run, fleet and days they are, and Dagster's own words among them.

Dagster hears the pipeline's loggers while a step runs (`python_logs` in its settings) and puts their lines into the
run's event log; the same record then reaches the pipeline's own handler, with the run on it. What Dagster itself says
goes to a console logger of its own, whose format cannot be set: here it is sent to that same handler.
"""

import logging
from collections.abc import Mapping
from typing import Any

import dagster as dg
from dagster import _loggers
from dagster._core.definitions import instigation_logger
from dagster._core.utils import coerce_valid_log_level

from bess_pipeline import logs
from bess_pipeline.config import Settings

_OF_DAYS, _OF_FLEET = "dagster/asset_partition_range_start", "dagster/partition"
_RANGE_END = "dagster/asset_partition_range_end"
_FLEET = "bess/fleet"

#: Events that people who operate the pipeline look for, and how much they matter; Dagster takes most for details, and
#: each step that waits for one that failed for an error.
_MATTERS = {
    dg.DagsterEventType.STEP_SKIPPED: logging.DEBUG,
    dg.DagsterEventType.RUN_START: logging.INFO,
    dg.DagsterEventType.RUN_SUCCESS: logging.INFO,
    dg.DagsterEventType.RUN_CANCELED: logging.WARNING,
    dg.DagsterEventType.STEP_UP_FOR_RETRY: logging.WARNING,
    dg.DagsterEventType.STEP_RESTARTED: logging.WARNING,
}


def configure(settings: Settings) -> None:
    """Set up the log of a process that loads the code location: code server, run worker, `bess run`."""
    handler = logs.configured() or logs.configure(settings.log_level, settings.log_format, settings.secrets)
    handler.addFilter(told_of_run)
    for name in ("dagster", "dagster-webserver"):  # what Dagster's commands have set up writes to the same place
        for other in list(logging.getLogger(name).handlers):
            logging.getLogger(name).removeHandler(other)
    # Dagster has no setting for them.
    for module in (_loggers, instigation_logger):
        setattr(module, "create_console_logger", console)  # noqa: B010 - the name is not one that they export


def console(name: str, level: str | int) -> logging.Logger:
    """Dagster's console, of a run or of a sensor, as a part of the pipeline's log."""
    least = logging.getLogger(logs.ROOT).getEffectiveLevel()
    made = _Console(name, max(coerce_valid_log_level(level), least))
    made.parent = logging.getLogger()
    return made


class _Console(logging.Logger):
    """Passes on what Dagster says of a run; what the pipeline's own loggers said has been written already."""

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:  # noqa: ANN401 - as logging has it
        extra = kwargs.get("extra") or {}
        if "said_by" in extra:
            return
        event = extra.get("dagster_event")
        matters = _MATTERS.get(event.event_type, level) if event is not None else level
        super().log(matters, msg, *args, **kwargs)


def told_of_run(record: logging.LogRecord) -> bool:
    """Put on a line of a run, or of a sensor, what it is of, in place of what Dagster has put on it."""
    meta = record.__dict__.pop("dagster_meta", None)
    event = record.__dict__.pop("dagster_event", None)
    record.__dict__.pop("dagster_event_batch_metadata", None)
    if meta is None:
        return True
    record.msg, record.args = meta["orig_message"], ()
    record.__dict__.update({name: value for name, value in _told(meta).items() if not hasattr(record, name)})
    if event is not None:
        record.__dict__.update(_told_of_event(event))
    return True


def _told(meta: Mapping[str, Any]) -> dict[str, str]:
    if "name" in meta:
        return {"sensor": meta["name"]}
    tags: Mapping[str, str] = meta.get("job_tags") or {}
    told = {"run_id": meta["run_id"], "job": meta["job_name"], "step": meta["step_key"], **fleet_and_days(tags)}
    return {name: value for name, value in told.items() if value}


def fleet_and_days(tags: Mapping[str, str]) -> dict[str, str]:
    """The fleet and the UTC days that a run works on, as its tags say.

    Examples:
        >>> fleet_and_days({"dagster/partition": "alpha"})
        {'fleet': 'alpha'}
        >>> fleet_and_days({"dagster/asset_partition_range_start": "2026-03-01|alpha",
        ...                 "dagster/asset_partition_range_end": "2026-03-02|alpha"})
        {'fleet': 'alpha', 'first_day': '2026-03-01', 'last_day': '2026-03-02'}
    """
    start, end = (tags.get(name, "").partition("|") for name in (_OF_DAYS, _RANGE_END))
    one = tags.get(_OF_FLEET, "").partition("|")
    if not start[0]:
        start = end = one if one[2] else ("", "", one[0])
    told = {"fleet": start[2] or tags.get(_FLEET, ""), "first_day": start[0], "last_day": end[0]}
    return {name: value for name, value in told.items() if value}


def _told_of_event(event: dg.DagsterEvent) -> dict[str, str]:
    told = {"event_type": event.event_type_value}
    data = event.event_specific_data
    error = getattr(data, "error", None)
    # A run that failed by a step repeats the error that the step has told already.
    if error is not None and getattr(data, "first_step_failure_event", None) is None:
        told["error"] = error.to_string()
    return told
