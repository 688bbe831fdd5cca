"""`bess run`: everything that is new or changed, and all that follows from it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from bess_pipeline.defs import jobs
from bess_pipeline.defs.instance import instance_of
from bess_pipeline.defs.plan import Work, indexing, making_days, making_fleet, publishing
from bess_pipeline.defs.resources import Home
from bess_pipeline.defs.runs import Launcher
from bess_pipeline.sources.folder import other_files, require_listable
from bess_pipeline.sources.opening import printable
from bess_pipeline.window import Window


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
        again: Make those days, and the tables of the fleets on all days, again, whatever changed.

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
        waves = _Waves(home, Launcher(instance, progress.advance), progress, outcome)
        home.lake.create()
        for fleet in [fleet_id] if fleet_id else list(known.fleets):
            waves.fleet(fleet, within, again=again)
        warehouse = publishing(home)
        if warehouse is not None:
            outcome.published = waves.did(warehouse)
    return outcome


#: Files that are named where many are passed over.
_NAMED = 3


@dataclass(frozen=True)
class _Waves:
    home: Home
    launcher: Launcher
    progress: Progress
    outcome: Outcome

    def did(self, work: Work) -> bool:
        """Do a piece of work in a run; whether it went well."""
        self.progress.begin(work.what, work.parts)
        result = self.launcher.run(work.job, work.tags)
        self.outcome.failures.extend(f"{work.what}: {line} (run {result.run_id})" for line in result.failures)
        if work.job == jobs.FLEET.name:  # what is said of single days is summed up there
            self.outcome.remarks.extend(f"{work.fleet_id}: {line}" for line in result.remarks)
        return not result.failures

    def fleet(self, fleet_id: str, within: Window | None, *, again: bool) -> None:
        """Index, days and tables of one fleet, unless the daemon is at work on it."""
        self.launcher.add_fleet(fleet_id)
        if at_work := self.launcher.at_work(fleet_id):
            self.outcome.remarks.append(f"{fleet_id}: left to the daemon, which is at work on it: {at_work}")
            return
        try:
            index = indexing(self.home, fleet_id)
        except PermissionError as error:
            self.outcome.failures.append(f"{fleet_id}: {error}")
            return
        self.outcome.remarks.extend(passed_over(self.home, fleet_id))
        if index is not None and not self._indexed(index):
            return
        for days in making_days(self.home, fleet_id, within=within, again=again):
            if self.did(days):
                self.outcome.days[fleet_id] = self.outcome.days.get(fleet_id, 0) + len(days.days or ())
        tables = making_fleet(self.home, fleet_id, again=again)
        if tables is not None and self.did(tables):
            self.outcome.fleets.append(fleet_id)

    def _indexed(self, index: Work) -> bool:
        before = set(unreadable_files(self.home, str(index.fleet_id)))
        is_done = self.did(index)
        self.outcome.failures.extend(
            line for line in unreadable_files(self.home, str(index.fleet_id)) if line not in before
        )
        return is_done


def unreadable_files(home: Home, fleet_id: str) -> Sequence[str]:
    """Files of a fleet that cannot be read, and why, a line each."""
    files = home.landing_files(fleet_id)
    bad = files.filter(files["status"] == "unreadable").select("path", "checksum", "error")
    return [f"{fleet_id}/{printable(path)}: {error}" for path, _, error in bad.iter_rows()]


def passed_over(home: Home, fleet_id: str) -> Sequence[str]:
    """What is said of files that a fleet's pattern does not take; nothing if there are none."""
    fleet = home.fleet(fleet_id)
    try:
        others = other_files(fleet, home.folder(fleet_id))
    except PermissionError:  # said of the folder
        return []
    if not others:
        return []
    count = f"{len(others)} files are" if len(others) > 1 else "1 file is"
    named = ", ".join([*map(printable, others[:_NAMED]), *(["…"] if len(others) > _NAMED else [])])
    return [f"{fleet_id}: {count} not looked at, the fleet file takes {fleet.source.files}: {named}"]


def unlistable_folder(home: Home, fleet_id: str) -> Sequence[str]:
    """A folder of a fleet's landing zone that nobody lets the pipeline look into, in a line; none if there is none."""
    try:
        require_listable(home.folder(fleet_id))
    except PermissionError as error:
        return [f"{fleet_id}: {error}"]
    return []
