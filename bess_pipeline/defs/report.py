"""What the commands show: progress, a summary, the state of a deployment, what a demonstration found."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table as Grid
from rich.text import Text

from bess_pipeline.config import Settings
from bess_pipeline.defs.instance import last_run
from bess_pipeline.defs.operate import Outcome, passed_over, unlistable_folder, unreadable_files
from bess_pipeline.defs.plan import indexing, stale_windows
from bess_pipeline.defs.resources import Home
from bess_pipeline.lake.slices import Slice
from bess_pipeline.sources.retired import retired_fleets
from bess_pipeline.tables import catalog


class Bar:
    """Progress on a terminal: one line a wave of work; a plain line each where there is no terminal."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bar = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            TextColumn("{task.percentage:>3.0f} %"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def begin(self, what: str, parts: int) -> None:
        """A wave of work starts that will make this many parts."""
        if self._task is not None:
            self._bar.remove_task(self._task)
        self._task = self._bar.add_task(what, total=parts)
        if not self._console.is_terminal:
            self._console.print(what, highlight=False, markup=False)

    def advance(self) -> None:
        """One more part is made."""
        if self._task is not None:
            self._bar.advance(self._task)


def summary(outcome: Outcome, settings: Settings) -> str:
    """What a run did, in a few words."""
    if outcome.did_nothing:
        return "nothing new: everything is up to date"
    made = [f"{days} {'day' if days == 1 else 'days'} of {fleet}" for fleet, days in sorted(outcome.days.items())]
    if outcome.fleets:
        made.append(f"tables of {', '.join(outcome.fleets)}")
    if outcome.published:
        made.append(f"warehouse {settings.warehouse}")
    return f"made {'; '.join(made)}" if made else "made nothing"


def status(home: Home) -> RenderableType:
    """The state of a deployment: a row per fleet, what is wrong with the register, the warehouse, the last run."""
    grid = Grid(
        "fleet",
        "batt.",
        "days",
        "first, last",
        "miss.",
        "late",
        "stale",
        "rows",
        "quarant.",
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    for column in grid.columns:
        column.no_wrap = True
    known = home.register()
    for fleet_id in known.fleets:
        grid.add_row(*_fleet_row(home, fleet_id))
    mistakes = [Text(line, style="red") for lines in known.mistakes.values() for line in lines]
    unreadable = [
        Text(line, style="red")
        for fleet_id in known.fleets
        for line in (*unlistable_folder(home, fleet_id), *unreadable_files(home, fleet_id))
    ]
    passed = [Text(line, style="yellow") for fleet_id in known.fleets for line in passed_over(home, fleet_id)]
    nothing = (
        []
        if known.fleets or known.mistakes
        else [Text(f"no fleets in {home.settings.fleets}: put <fleet_id>.yaml there")]
    )
    waiting = [fleet_id for fleet_id in known.fleets if _waits(home, fleet_id)]
    told = (
        [Text(f"files wait for fleet {', '.join(waiting)}: `bess run`, or the daemon, takes them in")]
        if waiting
        else []
    )
    aside = retired_fleets(home.settings.fleets)
    gone = [Text(f"retired: {', '.join(aside)}")] if aside else []
    current = home.warehouse.is_current(home.lake)
    warehouse = f"{home.settings.warehouse}: {'up to date' if current else 'behind the lake, run `bess run`'}"
    return Group(
        grid, *mistakes, *unreadable, *passed, *told, *nothing, *gone, Text(warehouse), Text(last_run(home.settings))
    )


def _waits(home: Home, fleet_id: str) -> bool:
    """Whether the landing folder of a fleet holds what nobody has looked at yet."""
    try:
        return indexing(home, fleet_id) is not None
    except PermissionError:  # said of the folder
        return False


def _fleet_row(home: Home, fleet_id: str) -> list[str]:
    """Missing: days without a row between the first and the last. Late: whole days since the last."""
    dates = home.landing_days(fleet_id)["date"].unique().sort().to_list()
    stale = sum(map(len, stale_windows(home, fleet_id)))
    quarantined = home.lake.count(catalog.QUARANTINE, Slice(fleet_id))
    received = int(home.landing_files(fleet_id)["rows_received"].sum())
    if not dates:
        return [fleet_id, "0", "0", "–", "–", "–", str(stale), f"{received:,}", f"{quarantined:,}"]
    first, last = dates[0], dates[-1]
    return [
        fleet_id,
        str(len(home.battery_ids(fleet_id))),
        str(len(dates)),
        f"{first}\n{last}",
        str((last - first).days + 1 - len(dates)),
        str(max((home.today - last).days - 1, 0)),
        str(stale),
        f"{received:,}",
        f"{quarantined:,}",
    ]
