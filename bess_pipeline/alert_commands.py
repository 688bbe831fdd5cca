"""`bess alerts`: what waits, what was delivered, and whether the channels answer."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import polars as pl
import typer
from rich.table import Table as Grid
from rich.text import Text

from bess_pipeline.terminal import fail, out

alert_app = typer.Typer(help="Alerts: what waits and what was delivered; a test of the channels.", no_args_is_help=True)

_COLOUR = {"critical": "bold red", "warning": "yellow", "info": "dim"}


@alert_app.command("list")
def listed(
    fleet: Annotated[str | None, typer.Option(help="Only this fleet.")] = None,
    *,
    waits: Annotated[bool, typer.Option("--waiting", help="Only those that a channel has not got yet.")] = False,
    last: Annotated[int, typer.Option(min=1, help="How many, the newest.")] = 50,
) -> None:
    """Alerts, newest first, and what became of them channel by channel."""
    from bess_pipeline.alerting.channels import channels
    from bess_pipeline.defs.alerts import waiting
    from bess_pipeline.defs.resources import Home
    from bess_pipeline.tables import catalog

    home = Home()
    alerts, deliveries, left = home.lake.read(catalog.ALERTS), home.lake.read(catalog.ALERT_DELIVERIES), waiting(home)
    if fleet is not None:
        alerts = alerts.filter(fleet_id=fleet)
    if waits:
        alerts = alerts.filter(pl.col("alert_id").is_in(left["alert_id"].to_list()))
    if alerts.is_empty():
        out.print("no alert waits" if waits else "no alert")
        return
    known = {channel.name for channel in channels(home.settings)}
    delivered = deliveries.drop_nulls("delivered_at")
    shown = alerts.sort("raised_at", "alert_id", descending=True).head(last)
    grid = Grid("alert", "raised", "severity", "fleet", "what", "sent over")
    for row in shown.iter_rows(named=True):
        states = [
            f"{name} {at:%m-%d %H:%M}" for name, at in _of(delivered, row).select("channel", "delivered_at").rows()
        ]
        states += [_waits(one, known) for one in _of(left, row).iter_rows(named=True)]
        grid.add_row(
            Text(row["alert_id"]),
            f"{row['raised_at']:%Y-%m-%d %H:%M}",
            Text(row["severity"], style=_COLOUR[row["severity"]]),
            Text(row["fleet_id"]),
            Text(": ".join(name for name in (row["battery_id"], row["subject"]) if name)),
            Text("\n".join(states) or "no channel takes it"),
        )
    out.print(grid)
    out.print(f"{shown.height} of {alerts.height} alerts; {left['alert_id'].n_unique()} wait", highlight=False)


def _of(rows: pl.DataFrame, alert: dict[str, object]) -> pl.DataFrame:
    return rows.filter(alert_id=alert["alert_id"])


def _waits(row: dict[str, object], known: set[str]) -> str:
    if row["channel"] not in known:
        return f"{row['channel']} waits: no such channel is set up now"
    if not row["attempts"]:
        return f"{row['channel']} waits"
    tries = "1 try" if row["attempts"] == 1 else f"{row['attempts']} tries"
    return f"{row['channel']} waits until {row['next_attempt_at']:%m-%d %H:%M} after {tries}: {row['error']}"


@alert_app.command("test")
def tested() -> None:
    """Send a test message over every channel, and say which took it."""
    from bess_pipeline.alerting.channels import channels
    from bess_pipeline.alerting.messages import Told
    from bess_pipeline.config import Settings
    from bess_pipeline.tables.alerts import NO_FLEET

    settings, now = Settings(), datetime.now(UTC)
    message = Told(
        alert_id=f"test-{now:%Y%m%dT%H%M%S}",
        kind="test",
        severity="info",
        fleet_id=NO_FLEET,
        battery_id=None,
        subject="a test of this channel",
        message="Nothing happened. Alerts of this deployment arrive here.",
        link=settings.pages_url or settings.dagster_pages,
        occurred_at=now,
        raised_at=now,
    )
    failures = []
    for channel in channels(settings):
        failure = channel.send([message], now=now)
        if failure is None:
            out.print(f"{channel.name} took it", highlight=False)
        else:
            failures.append(f"{channel.name}: {failure.text}")
    if failures:
        fail(failures)
