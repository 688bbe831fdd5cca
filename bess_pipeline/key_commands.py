"""`bess key`: who may ask the API."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.table import Table as Grid
from rich.text import Text

from bess_pipeline.config import Settings
from bess_pipeline.terminal import fail, out, remark

key_app = typer.Typer(help="Keys of the API: make, list and revoke them.", no_args_is_help=True)


@key_app.command()
def add(
    name: Annotated[str, typer.Argument(help="Who or what it is for, such as dashboard.")],
    scope: Annotated[
        list[str] | None,
        typer.Option(help="What it may do: read, ingest (deliver files) or operate (confirm and dismiss events)."),
    ] = None,
    fleet: Annotated[
        list[str] | None, typer.Option(help="Only this fleet; all, those to come included, without.")
    ] = None,
    until: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="UTC day from which on it is no good.")
    ] = None,
) -> None:
    """Make a key, which is shown once; to read, unless something else is said."""
    from bess_pipeline.api.access import SCOPES
    from bess_pipeline.api.keys import Keys, KeysError
    from bess_pipeline.sources.retired import known_fleets

    settings = Settings()
    wanted = scope or ["read"]
    if unknown := sorted({*wanted} - {*SCOPES}):
        fail([f"there is no scope {', '.join(unknown)}; there are {', '.join(SCOPES)}"])
    if missing := sorted({*(fleet or ())} - known_fleets(settings.fleets)):
        remark([f"there is no fleet {', '.join(missing)} yet"])
    expires_at = None if until is None else until.replace(tzinfo=UTC)
    if expires_at is not None and expires_at <= datetime.now(UTC):
        fail([f"--until {expires_at:%Y-%m-%d} is past"])
    try:
        token = Keys(settings.api_keys).add(name, [one for one in SCOPES if one in wanted], fleet, expires_at)
    except KeysError as error:
        fail([str(error)])
    typer.echo(token)
    remark(["it is shown this once, and kept nowhere: put it where you keep secrets"])


@key_app.command("list")
def listed() -> None:
    """Keys, and what each may do."""
    from bess_pipeline.api.keys import Keys, KeysError

    try:
        keys = Keys(Settings().api_keys).every()
    except KeysError as error:
        fail([str(error)])
    if not keys:
        out.print("no key; `bess key add NAME` makes one")
        return
    grid = Grid("key", "name", "may", "fleets", "made", "ends")
    for key in keys:
        ended = "revoked " if key.revoked_at else "expired " if not key.is_good(datetime.now(UTC)) else ""
        ends = key.revoked_at or key.expires_at
        grid.add_row(
            key.key_id,
            Text(key.name),
            ", ".join(key.scopes),
            Text("all" if key.fleets is None else ", ".join(key.fleets)),
            f"{key.made_at:%Y-%m-%d}",
            f"{ended}{ends:%Y-%m-%d}" if ends else "",
            style="dim" if ended else "",
        )
    out.print(grid)


@key_app.command()
def revoke(which: Annotated[str, typer.Argument(help="Its name, or its public part.")]) -> None:
    """Take a key back, at once."""
    from bess_pipeline.api.keys import Keys, KeysError

    try:
        key = Keys(Settings().api_keys).revoke(which)
    except KeysError as error:
        fail([str(error)])
    out.print(f"revoked {key.name} ({key.key_id})", highlight=False)
