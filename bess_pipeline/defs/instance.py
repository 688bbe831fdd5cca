"""Dagster's instance of a deployment: its settings file, and its records of runs in SQLite or in PostgreSQL."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import dagster as dg
import sqlalchemy as db
from filelock import FileLock, Timeout

from bess_pipeline.config import Settings
from bess_pipeline.defs import records, wrong_clock
from bess_pipeline.lake.ledger import fingerprint

#: The tag of a run that says who launched it, and what it says of those of the command line.
LAUNCHED_BY = "bess/launched_by"
COMMAND = "bess run"

#: The environment variable that says where the records are, and what it says of those in the home.
STORAGE_VARIABLE = "BESS_DAGSTER_STORAGE"
IN_HOME = "sqlite"
_SCHEMES = ("postgresql://", "postgresql+psycopg2://")

#: Under which the lake that a PostgreSQL database keeps the records of is noted there.
_LAKE_OF_RECORDS = "bess/lake"

_MARK = "# As written: "
#: Fingerprints of files that older versions wrote, which did not say it themselves.
_WRITTEN_BEFORE = frozenset({"b559a10f39baf6b9d3bd8bc001198aa9", "fb458605e657c89224b786774e7e66a7"})

#: How long a run that was handed over may take to begin. A Ray cluster may have to get a machine for it first.
_BEGINS_WITHIN_SECONDS = 120
_BEGINS_ON_RAY_WITHIN_SECONDS = 600

_HEAD = """\
# Dagster's own settings for this deployment; yours to edit, see docs/instance.md and the Dagster documentation.
# A file that was edited stays as it is; one that was not is brought up to date by `bess run` and `bess dev`.
# Remove the file to get a new one.
"""
_INSTANCE_SETTINGS = """\
telemetry:
  enabled: false
nux:
  enabled: false

# A run that does not begin, or does not end when told to, is marked as failed and does not hold its place for ever.
run_monitoring:
  enabled: true
  start_timeout_seconds: {start_timeout_seconds}
  cancel_timeout_seconds: 120
  poll_interval_seconds: 60

# Runs wait in a queue: as many at once as BESS_CONCURRENT_RUNS says, and of one fleet only one.
concurrency:
  runs:
    max_concurrent_runs: {concurrent_runs}
    tag_concurrency_limits:
      - key: bess/fleet
        value:
          applyLimitPerUniqueValue: true
        limit: 1
  # Of one table: `dagster instance concurrency set raw_telemetry 1`, or in the UI.
  pools:
    granularity: run

# A run that is due while the code location restarts is tried again.
run_queue:
  max_user_code_failure_retries: 3
  user_code_failure_retry_delay: 60

# Days for which it is remembered what sensors and schedules did, each time that they were asked.
retention:
  sensor:
    purge_after_days: &days
      skipped: 2
      success: 7
      failure: 30
  schedule:
    purge_after_days: *days

# What the pipeline logs is kept with the events of a run; there is no second copy in files.
python_logs:
  managed_python_loggers: [bess_pipeline]
compute_logs:
  module: dagster._core.storage.noop_compute_log_manager
  class: NoOpComputeLogManager
"""
#: The daemon, the web server and the workers of runs keep their files open, too: a fifth of the computing for an event.
_IN_FILES = """
# Records in SQLite, in files that stay open.
storage:
  custom:
    module: bess_pipeline.defs.records
    class: OpenRecords
    config: {}
"""
_IN_POSTGRES = f"""
# Records in PostgreSQL; the address, with its password, stays in the environment.
storage:
  custom:
    module: bess_pipeline.defs.postgres_records
    class: PostgresRecords
    config:
      postgres_url:
        env: {STORAGE_VARIABLE}
"""
#: Every node has the deployment's environment: an address or a secret in the job would be shown by Ray's pages.
_ON_RAY = """
# Runs that the daemon starts are jobs of a Ray cluster: BESS_RAY_ADDRESS, BESS_RAY_CPUS_PER_RUN.
run_launcher:
  module: bess_pipeline.defs.ray_launcher
  class: RunsOnRay
  config:
    ray:
      address: {address}
      num_cpus: {cpus:g}
"""


class AnotherRunError(RuntimeError):
    """Another `bess run` is at work on the same deployment."""


class RecordsError(RuntimeError):
    """Dagster's records cannot be used: where they are is not clear, or nobody answers there."""


def prepare(settings: Settings) -> None:
    """Make Dagster's folder with settings that suit the deployment, and bring those up to date that nobody edited.

    Raises:
        RecordsError: If the environment and the file do not agree on where the records are.
    """
    wanted = _settings_text(settings)
    file = settings.dagster_home / "dagster.yaml"
    if file.exists():
        held = file.read_text()
        _agree(settings, held)
        if held == wanted or not _is_unedited(held):
            return
    settings.dagster_home.mkdir(parents=True, exist_ok=True)
    written = file.with_name(f".{file.name}.new")
    written.write_text(wanted)
    written.replace(file)


@contextmanager
def instance_of(settings: Settings) -> Iterator[dg.DagsterInstance]:
    """Dagster's records of a deployment, for one launcher at a time.

    Runs that an earlier launcher left unfinished when it died are marked as failed.

    Raises:
        AnotherRunError: If another launcher is at work.
        RecordsError: If the records cannot be opened, or are lost while the launcher works.
    """
    prepare(settings)
    try:
        with FileLock(settings.dagster_home / "bess-run.lock", timeout=0), _opened(settings) as instance:
            _meet(settings, instance)
            _bury(instance)
            wrong_clock.set_right(instance)
            yield instance
    except Timeout:
        raise AnotherRunError(f"another `bess run` is at work on {settings.root}: wait for it to end") from None


def ready(settings: Settings) -> None:
    """Prepare a deployment for Dagster's own programs, and see that they will find its records.

    Raises:
        RecordsError: If the records cannot be opened, or are those of another deployment.
    """
    prepare(settings)
    with _opened(settings) as instance:
        _meet(settings, instance)
        wrong_clock.set_right(instance)


def claim(settings: Settings) -> None:
    """Take over the records of a database for this deployment, whose lake has another address now.

    Raises:
        RecordsError: If the records cannot be opened.
    """
    prepare(settings)
    with _opened(settings) as instance:
        instance.daemon_cursor_storage.set_cursor_values({_LAKE_OF_RECORDS: settings.lake})


_ENDED = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]
_GOING = [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]
_WAITING = [dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.NOT_STARTED]


def last_run(settings: Settings) -> str:
    """When the last run of any kind ended, and how, in a few words; and how many go on or wait."""
    file = settings.dagster_home / "dagster.yaml"
    if not file.exists():
        return "nothing has been run yet"
    try:
        _agree(settings, file.read_text())
        with _opened(settings) as instance:
            found = instance.get_run_records(dg.RunsFilter(statuses=_ENDED), limit=1)
            going, waiting = (
                instance.get_runs_count(dg.RunsFilter(statuses=statuses)) for statuses in (_GOING, _WAITING)
            )
    except RecordsError as error:
        return f"last run: not known, {error}"
    at_work = f"{going} going on, {waiting} waiting" if going or waiting else "none goes on"
    if not found:
        return f"no run has ended yet; {at_work}" if going or waiting else "nothing has been run yet"
    run, ended = found[0].dagster_run, found[0].end_time
    when = f" at {datetime.fromtimestamp(ended, UTC):%Y-%m-%d %H:%M} UTC" if ended else ""
    return f"last run: {run.job_name}, {run.status.value.lower()}{when} ({run.run_id}); {at_work}"


def _settings_text(settings: Settings) -> str:
    """What the settings file of a deployment would say now."""
    patience = _BEGINS_WITHIN_SECONDS if settings.ray_address is None else _BEGINS_ON_RAY_WITHIN_SECONDS
    body = _INSTANCE_SETTINGS.format(concurrent_runs=settings.concurrent_runs, start_timeout_seconds=patience)
    body += _IN_FILES if _address(settings) is None else _IN_POSTGRES
    if settings.ray_address is not None:
        body += _ON_RAY.format(address=json.dumps(settings.ray_address), cpus=settings.ray_cpus_per_run)
    return f"{_HEAD}{_MARK}{fingerprint(_HEAD + body)}\n\n{body}"


def _is_unedited(held: str) -> bool:
    """Whether a settings file is as some version of this pipeline wrote it."""
    head, marked, rest = held.partition(_MARK)
    if not marked:
        return fingerprint(held) in _WRITTEN_BEFORE
    said, _, body = rest.partition("\n\n")
    return said == fingerprint(head + body)


def _address(settings: Settings) -> str | None:
    """The PostgreSQL database that the environment names, if it names one.

    Raises:
        RecordsError: If it names something else.
    """
    said = settings.dagster_storage.get_secret_value() if settings.dagster_storage is not None else IN_HOME
    if said == IN_HOME:
        return None
    if said.startswith(_SCHEMES):
        return said
    scheme = said.partition(":")[0] if "://" in said else "something else"
    raise RecordsError(
        f"{STORAGE_VARIABLE} has to be `{IN_HOME}` or postgresql://user:password@host:port/database, not {scheme}"
    )


def _agree(settings: Settings, held: str) -> None:
    """See that the settings file and the environment mean the same records.

    A variable that is forgotten in one shell must not begin a second history beside the first.
    """
    in_postgres = _address(settings) is not None
    if in_postgres == (STORAGE_VARIABLE in held):
        return
    file = settings.dagster_home / "dagster.yaml"
    if not in_postgres and settings.dagster_storage is None:
        raise RecordsError(
            f"{file} keeps Dagster's records in PostgreSQL, but {STORAGE_VARIABLE} is not set: set it, or set it to "
            f"`{IN_HOME}` to go on with records in the home"
        )
    if _is_unedited(held):
        return
    wish = f"put in the place of its `storage`:\n{_IN_POSTGRES}" if in_postgres else "take its `storage` out"
    raise RecordsError(f"{file} was edited and is not what {STORAGE_VARIABLE} says: {wish}")


#: Package that is missing → what needs it, and the extra that brings it.
_EXTRAS = {
    "dagster_postgres": ("records in PostgreSQL", "postgres"),
    "psycopg2": ("records in PostgreSQL", "postgres"),
    "dagster_ray": ("runs on Ray", "ray"),
    "ray": ("runs on Ray", "ray"),
}


@contextmanager
def _opened(settings: Settings) -> Iterator[dg.DagsterInstance]:
    """The records, open; errors of the database in the meantime are said in a line."""
    try:
        with dg.DagsterInstance.from_ref(records.ref_of(settings.dagster_home)) as instance:
            yield instance
    except ModuleNotFoundError as error:
        missing = str(error.name).partition(".")[0]
        if missing not in _EXTRAS:
            raise
        what, extra = _EXTRAS[missing]
        raise RecordsError(f"{what} need another package: pip install 'bess-pipeline[{extra}]'") from error
    except Exception as error:
        lost = _lost(error)
        if lost is None:
            raise
        raise RecordsError(
            f"Dagster's records in {_shown(settings)} do not answer: {lost}; what was made is in the lake and stays, "
            "the next `bess run` does the rest"
        ) from error


def _lost(error: BaseException | None) -> str | None:
    """What the database said when it could not be used, if that is behind an error."""
    while error is not None:
        if isinstance(error, db.exc.OperationalError | db.exc.InterfaceError | db.exc.TimeoutError):
            return " ".join(str(getattr(error, "orig", None) or error).split())
        error = error.__cause__ or error.__context__
    return None


def _shown(settings: Settings) -> str:
    """Where the records are, without a password."""
    address = _address(settings)
    if address is None:
        return str(settings.dagster_home)
    return db.engine.make_url(address).render_as_string(hide_password=True)


def _meet(settings: Settings, instance: dg.DagsterInstance) -> None:
    """Note in a database whose records it keeps; two deployments in one would run each other's work."""
    if _address(settings) is None:
        return
    notes = instance.daemon_cursor_storage
    held = notes.get_cursor_values({_LAKE_OF_RECORDS}).get(_LAKE_OF_RECORDS)
    if held is None:
        notes.set_cursor_values({_LAKE_OF_RECORDS: settings.lake})
    elif held != settings.lake:
        raise RecordsError(
            f"{_shown(settings)} keeps the records of the lake {held}, this deployment's lake is {settings.lake}: give "
            "each deployment a database of its own; if the lake has moved there, `bess records claim` says so"
        )


def _bury(instance: dg.DagsterInstance) -> None:
    unfinished = [dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED]
    for run in instance.get_runs(dg.RunsFilter(tags={LAUNCHED_BY: COMMAND}, statuses=unfinished)):
        instance.report_run_failed(run, message="The process that worked on this run died. Its days are done again.")
