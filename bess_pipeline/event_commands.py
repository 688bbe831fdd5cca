"""`bess event`: look at events, and say what they were."""

from __future__ import annotations

import getpass
import json
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import polars as pl
import typer
from rich.table import Table as Grid
from rich.text import Text

from bess_pipeline.terminal import fail, out

event_app = typer.Typer(help="Events: look at them, confirm, dismiss or annotate them.", no_args_is_help=True)

_COLOUR = {"critical": "bold red", "warning": "yellow", "info": "dim"}

_SHOWN = (
    "event_id", "battery_id", "component", "family", "kind", "detector", "severity", "effective_severity", "started_at",
    "detected_at", "ended_at", "score", "verdict", "verdict_by", "muted_by", "notes", "next_step",
)  # fmt: skip

Event = Annotated[str, typer.Argument(help="Identity of the event, or the beginning of it.")]
Note = Annotated[str | None, typer.Option(help="A remark, kept with it.")]
By = Annotated[str, typer.Option(help="Who says so.", default_factory=getpass.getuser)]


@event_app.command("list")
def listed(
    fleet: Annotated[str | None, typer.Option(help="Only this fleet.")] = None,
    *,
    every: Annotated[bool, typer.Option("--all", help="Also those that have ended, and those that are info.")] = False,
    last: Annotated[int, typer.Option(min=1, help="How many, the newest.")] = 50,
) -> None:
    """Open events that matter, newest first, with what was said of them."""
    from bess_pipeline.defs.resources import Home
    from bess_pipeline.lake.feedback import events

    found = events(Home().lake, fleet)
    if not every:
        found = found.filter(pl.col("ended_at").is_null(), pl.col("effective_severity") != "info")
    shown = found.sort("detected_at", "event_id", descending=True).head(last)
    if shown.is_empty():
        out.print("no event" if every else "no open event that matters; --all shows the others")
        return
    grid = Grid("event", "raised", "battery", "what", "severity", "ended", "said")
    for row in shown.iter_rows(named=True):
        where = f"{row['battery_id']} {row['component'] or ''}".strip()
        said = row["verdict"] or ("muted" if row["muted_by"] else "")
        grid.add_row(
            Text(row["event_id"]),
            f"{row['detected_at']:%Y-%m-%d %H:%M}",
            Text(where),
            Text(f"{row['family']}: {row['kind']}"),
            Text(row["effective_severity"], style=_COLOUR[row["effective_severity"]]),
            f"{row['ended_at']:%Y-%m-%d}" if row["ended_at"] else "open",
            Text(f"{said} ({row['verdict_by']})" if row["verdict"] else said),
        )
    out.print(grid)
    out.print(f"{shown.height} of {found.height}; `bess event show EVENT` says what one rests on", highlight=False)


@event_app.command()
def show(
    event: Event,
    plot: Annotated[Path | None, typer.Option(dir_okay=False, help="Draw its evidence to this PNG file.")] = None,
) -> None:
    """What an event rests on, what to do next, and what was said of it."""
    from bess_pipeline.defs.event_pictures import figure
    from bess_pipeline.defs.resources import Home
    from bess_pipeline.lake import feedback

    home = Home()
    try:
        told = feedback.event(home.lake, event)
        if plot is not None:
            figure(home, told).savefig(plot, dpi=110)
    except LookupError as error:
        fail([str(error.args[0])])
    grid = Grid.grid(padding=(0, 2))
    for name in _SHOWN:
        if told[name] is not None:
            grid.add_row(Text(name, style="bold"), Text(str(told[name])))
    out.print(grid)
    evidence = json.loads(str(told["evidence"]))
    features = evidence.get("features", [evidence])
    columns = list(dict.fromkeys(name for row in features for name in row))
    rested = Grid(*columns, title="evidence")
    for row in features:
        rested.add_row(*(Text("" if row.get(name) is None else str(row[name])) for name in columns))
    out.print(rested)
    if plot is not None:
        out.print(f"wrote {plot}", highlight=False, soft_wrap=True)


def _say(event: str, verdict: str, by: str, note: str | None, mute: timedelta | None = None) -> None:
    from bess_pipeline.defs.resources import Home
    from bess_pipeline.lake.feedback import say

    try:
        said = say(Home().lake, event, verdict, by=by, note=note, mute=mute)
    except (LookupError, ValueError) as error:
        fail([str(error.args[0])])
    until = said["mute_until"].item()
    muted = "" if until is None else f"; alike ones are info until {until:%Y-%m-%d} of the data"
    out.print(f"{verdict} {said['event_id'].item()} as {by}{muted}", highlight=False, soft_wrap=True)


@event_app.command()
def confirm(event: Event, by: By, note: Note = None) -> None:
    """It was what it looked like."""
    _say(event, "confirmed", by, note)


@event_app.command()
def dismiss(
    event: Event,
    by: By,
    note: Note = None,
    mute_days: Annotated[
        int | None, typer.Option(min=1, help="Days of data for which alike events, no worse, are no more than info.")
    ] = None,
) -> None:
    """It was nothing that matters."""
    _say(event, "dismissed", by, note, None if mute_days is None else timedelta(days=mute_days))


@event_app.command()
def annotate(event: Event, by: By, note: Annotated[str, typer.Option(help="The remark.")]) -> None:
    """Keep a remark with it."""
    _say(event, "annotated", by, note)


@event_app.command()
def withdraw(event: Event, by: By, note: Note = None) -> None:
    """Take back what was said of it; it stays on record, and counts no more."""
    _say(event, "withdrawn", by, note)
