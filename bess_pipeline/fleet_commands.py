"""`bess fleet`: fleet files, and the life of a fleet."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table as Grid

from bess_pipeline.terminal import err, fail, out

fleet_app = typer.Typer(help="Fleet files, and the life of a fleet.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="The fleet.")]


@fleet_app.command("draft")
def fleet_draft(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="A sample of the fleet's files.")],
    fleet: Annotated[
        str | None, typer.Option(help="Name of the fleet; that of the file or its folder if absent.")
    ] = None,
    to: Annotated[
        Path | None, typer.Option("--out", help="Write it there instead; a file that is there stays.")
    ] = None,
) -> None:
    """Look at a sample file and propose a fleet file, for a person to review: the proposal goes to standard output."""
    from bess_pipeline.sources.draft import draft
    from bess_pipeline.sources.draft.shown import overview
    from bess_pipeline.sources.draft.written import fleet_file
    from bess_pipeline.sources.opening import UnreadableFile

    try:
        drafted = draft(file, fleet_id=fleet)
    except UnreadableFile as refused:
        fail([str(refused)])
    err.print(overview(drafted, err.width))
    if to is None:
        typer.echo(fleet_file(drafted), nl=False)
        return
    try:
        with to.open("x", encoding="utf-8") as written:
            written.write(fleet_file(drafted))
    except FileExistsError:
        fail([f"{to} is there already and stays as it is; name another file, or remove it"])
    except OSError as error:
        fail([f"{to} cannot be written: {error.strerror}"])
    out.print(f"wrote {to}: review it, decide what is TODO, then bess run", highlight=False, soft_wrap=True)


@fleet_app.command()
def retire(fleet: Name) -> None:
    """Put a fleet aside: nothing runs for it any more; its data stay, published as they are."""
    from bess_pipeline.defs import leaving
    from bess_pipeline.defs.instance import AnotherRunError
    from bess_pipeline.defs.resources import Home

    try:
        leaving.retire(Home(), fleet)
    except (AnotherRunError, leaving.AtWorkError, LookupError) as refused:
        fail([str(refused)])
    out.print(f"retired {fleet}: its data stay; `bess fleet restore {fleet}` brings it back", highlight=False)


@fleet_app.command()
def restore(fleet: Name) -> None:
    """Bring a fleet back that was put aside."""
    from bess_pipeline.defs import leaving
    from bess_pipeline.defs.instance import AnotherRunError
    from bess_pipeline.defs.resources import Home

    try:
        leaving.restore(Home(), fleet)
    except (AnotherRunError, LookupError) as refused:
        fail([str(refused)])
    out.print(f"restored {fleet}: next, bess run", highlight=False)


@fleet_app.command()
def erase(
    fleet: Name,
    keep_files: Annotated[
        bool, typer.Option("--keep-files", help="Keep its landing folder, its truth, and its file, put aside.")
    ] = False,
    yes: Annotated[str | None, typer.Option(help="The fleet's name once more, for scripts: nothing is asked.")] = None,
) -> None:
    """Erase a fleet from everything: rows, history, warehouse, Dagster's records and files, with a proof."""
    from bess_pipeline.defs import leaving
    from bess_pipeline.defs.instance import AnotherRunError
    from bess_pipeline.defs.resources import Home

    home = Home()
    try:
        rows = leaving.extent(home, fleet)
        if yes is None:
            _ask_twice(fleet, rows, keep_files=keep_files)
        elif yes != fleet:
            fail([f"--yes names {yes}, not {fleet}: nothing was erased"])
        with err.status(f"erasing {fleet}") as status:
            erased = leaving.erase_fleet(
                home, fleet, keep_files=keep_files, told=lambda what: status.update(f"erasing {fleet}: {what}")
            )
    except (AnotherRunError, leaving.AtWorkError, LookupError) as refused:
        fail([str(refused)])
    for removed in erased.files:
        out.print(f"removed {removed}", highlight=False, soft_wrap=True)
    for kept in erased.kept:
        out.print(f"kept {kept}", highlight=False, soft_wrap=True)
    grid = Grid("searched", "files", "rows", "bytes", "found", title="proof", title_justify="left")
    for place, searched in erased.proof.items():
        numbers = (searched.files, searched.rows, searched.size_bytes, len(searched.found))
        grid.add_row(place, *(f"{number:,}" for number in numbers))
    out.print(grid)
    if erased.found:
        fail([f"{fleet} is still named: {place}" for place in erased.found])
    out.print(
        f"erased {fleet}: {sum(rows.values()):,} rows of {erased.tables} tables, {erased.runs} runs of Dagster;"
        " what was searched does not name it any more",
        highlight=False,
        soft_wrap=True,
    )


def _ask_twice(fleet: str, rows: dict[str, int], *, keep_files: bool) -> None:
    """Ask for the fleet's name, and then whether it is meant.

    Raises:
        typer.Exit: If it is not.
    """
    files = "its files are kept" if keep_files else "its landing folder, its fleet file and its truth are removed"
    err.print(f"{fleet} has {sum(rows.values()):,} rows in {len(rows)} tables; {files}. There is no way back.")
    if typer.prompt("the fleet's name, to go on", err=True) != fleet:
        fail(["that is another name: nothing was erased"])
    if typer.prompt("erase it for good? yes or no", err=True) != "yes":
        fail(["nothing was erased"])
