"""`bess run`: everything that is new or changed, and all that follows from it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from bess_pipeline.defs import jobs
from bess_pipeline.defs.automation import range_tags
from bess_pipeline.defs.increments import WHOLE
from bess_pipeline.defs.instance import instance_of
from bess_pipeline.defs.plan import (
    DayRange,
    fleet_signature,
    has_new_files,
    is_fleet_stale,
    record_fleet,
    stale_ranges,
)
from bess_pipeline.defs.resources import Home
from bess_pipeline.defs.runs import Launcher
from bess_pipeline.sources.opening import printable
from bess_pipeline.window import Window

_PARTITION = "dagster/partition"


class Progress(Protocol):
    """Somebody who watches."""

    def begin(self, what: str, parts: int) -> None:
        """A wave of work starts that will make this many parts."""

    def advance(self) -> None:
        """One more part is made."""


@dataclass
class Outcome:
    """What a run did.

    Attributes:
        days: Days made, by fleet.
        fleets: Fleets whose tables were made.
        published: Whether a new warehouse was put in place.
        failures: What went wrong, one line each.
        remarks: What is worth a look, one line each: checks of a fleet that did not pass and stop nothing.
    """

    days: dict[str, int] = field(default_factory=dict)
    fleets: list[str] = field(default_factory=list)
    published: bool = False
    failures: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    @property
    def did_nothing(self) -> bool:
        """Whether all was as it should be already."""
        return not (self.days or self.fleets or self.published or self.failures)


def run(
    home: Home, progress: Progress, *, fleet_id: str | None = None, within: Window | None = None, again: bool = False
) -> Outcome:
    """Bring a deployment up to date: index, stale days, fleets, warehouse; with nothing new it does nothing.

    One fleet that fails does not keep the others from going on.

    Args:
        home: The deployment.
        progress: Is told what goes on.
        fleet_id: Only this fleet.
        within: Only these days; fleet tables always rest on the whole lake.
        again: Make the tables of the fleets again on all days, whatever changed.

    Raises:
        LookupError: If there is no such fleet.
    """
    outcome = Outcome()
    known = home.register()
    if fleet_id is not None:
        home.fleet(fleet_id)
    for lines in known.mistakes.values():
        outcome.failures.extend(lines)
    with instance_of(home.settings) as instance:
        work = _Work(home, Launcher(instance, progress.advance), progress, outcome)
        home.lake.create()
        for fleet in [fleet_id] if fleet_id else list(known.fleets):
            work.fleet(fleet, within, again=again)
        if not home.warehouse.is_current(home.lake):
            outcome.published = work.launched("warehouse", jobs.PUBLISH.name, {}, parts=1) is not None
    return outcome


@dataclass(frozen=True)
class _Work:
    home: Home
    launcher: Launcher
    progress: Progress
    outcome: Outcome

    def launched(
        self, what: str, job: str, tags: dict[str, str], *, parts: int, fleet_id: str | None = None
    ) -> str | None:
        """Run a job; its run id when it went well."""
        self.progress.begin(what, parts)
        result = self.launcher.run(job, tags, fleet_id=fleet_id)
        self.outcome.failures.extend(f"{what}: {line} (run {result.run_id})" for line in result.failures)
        if job == jobs.FLEET.name:  # what is said of single days is summed up there
            self.outcome.remarks.extend(f"{fleet_id}: {line}" for line in result.remarks)
        return None if result.failures else result.run_id

    def fleet(self, fleet_id: str, within: Window | None, *, again: bool) -> None:
        """Index, days and tables of one fleet."""
        home = self.home
        self.launcher.add_fleet(fleet_id)
        if has_new_files(home, fleet_id) and not self._indexed(fleet_id):
            return
        for stale in stale_ranges(home, fleet_id, within=within):
            self._days(stale)
        if again or is_fleet_stale(home, fleet_id):
            signature = fleet_signature(home, fleet_id)
            tags = {_PARTITION: fleet_id, **({WHOLE: "true"} if again else {})}
            run_id = self.launched(
                f"{fleet_id}: fleet tables", jobs.FLEET.name, tags, parts=len(jobs.FLEET_TABLES), fleet_id=fleet_id
            )
            if run_id is not None:
                record_fleet(home, fleet_id, signature, run_id=run_id)
                self.outcome.fleets.append(fleet_id)

    def _indexed(self, fleet_id: str) -> bool:
        before = set(unreadable_files(self.home, fleet_id))
        tags = {_PARTITION: fleet_id}
        done = self.launched(
            f"{fleet_id}: landing zone", jobs.LANDING.name, tags, parts=len(jobs.INDEX_TABLES), fleet_id=fleet_id
        )
        self.outcome.failures.extend(line for line in unreadable_files(self.home, fleet_id) if line not in before)
        return done is not None

    def _days(self, stale: DayRange) -> None:
        days = list(stale.window)
        run_id = self.launched(
            f"{stale.fleet_id}: {stale.window}",
            jobs.TELEMETRY.name,
            range_tags(stale.fleet_id, days[0], days[-1]),
            parts=len(days) * len(jobs.DAY_TABLES),
            fleet_id=stale.fleet_id,
        )
        if run_id is not None:
            self.outcome.days[stale.fleet_id] = self.outcome.days.get(stale.fleet_id, 0) + len(days)


def unreadable_files(home: Home, fleet_id: str) -> Sequence[str]:
    """Files of a fleet that cannot be read, and why, a line each."""
    files = home.landing_files(fleet_id)
    bad = files.filter(files["status"] == "unreadable").select("path", "checksum", "error")
    return [f"{fleet_id}/{printable(path)}: {error}" for path, _, error in bad.iter_rows()]
