"""`bess`: the commands a person types."""

from __future__ import annotations

import importlib.metadata
import os
import sys
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from bess_pipeline import logs
from bess_pipeline.alert_commands import alert_app
from bess_pipeline.config import Settings
from bess_pipeline.dispatch_commands import dispatch
from bess_pipeline.event_commands import event_app
from bess_pipeline.export_commands import export
from bess_pipeline.fleet_commands import fleet_app
from bess_pipeline.key_commands import key_app
from bess_pipeline.lake_commands import mend
from bess_pipeline.record_commands import record_app
from bess_pipeline.report_commands import report
from bess_pipeline.terminal import Commands, err, fail, out, remark
from bess_pipeline.upkeep_commands import upkeep
from bess_pipeline.warranty_commands import warranty_app
from bess_pipeline.window import Window

app = typer.Typer(
    cls=Commands,
    name="bess",
    help="Turns the raw telemetry of battery energy storage into numbers that operators can rely on.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,
)
app.add_typer(fleet_app, name="fleet")
app.add_typer(key_app, name="key")
app.add_typer(event_app, name="event")
app.add_typer(record_app, name="records")
app.command()(upkeep)
app.add_typer(alert_app, name="alerts")
app.command()(mend)
app.command()(export)
app.command()(report)
app.command()(dispatch)
app.add_typer(warranty_app, name="warranty")

#: Rows of an answer that are printed.
_ROWS_SHOWN = 200

Fleet = Annotated[str | None, typer.Option(help="Only this fleet.")]
Day = Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d"])]


class Chemistry(StrEnum):
    """Chemistries that can be simulated."""

    LFP = "LFP"
    NMC = "NMC"


class Profile(StrEnum):
    """Uses that can be simulated."""

    arbitrage = "arbitrage"
    pv = "pv"
    frequency = "frequency"
    peak_shaving = "peak_shaving"
    reserve = "reserve"


def _say_version(wanted: bool) -> None:
    if wanted:
        out.print(f"bess-pipeline {importlib.metadata.version('bess-pipeline')}", highlight=False)
        raise typer.Exit


@app.callback()
def _log(
    _: Annotated[
        bool, typer.Option("--version", callback=_say_version, is_eager=True, help="Say the version, and end.")
    ] = False,
) -> None:
    settings = Settings()
    # At a terminal a bar and a summary tell the same, unless somebody asks for more.
    quiet = sys.stderr.isatty() and not {"log_level", "log_format"} & settings.model_fields_set
    logs.configure("WARNING" if quiet else settings.log_level, settings.log_format, settings.secrets)


@app.command()
def run(
    fleet: Fleet = None,
    first: Annotated[datetime | None, typer.Option("--from", formats=["%Y-%m-%d"], help="First UTC day.")] = None,
    last: Annotated[datetime | None, typer.Option("--to", formats=["%Y-%m-%d"], help="Last UTC day.")] = None,
    again: Annotated[bool, typer.Option("--again", help="Make it all again, whatever changed.")] = False,
) -> None:
    """Bring everything up to date: new and changed files, all that follows from them, the warehouse."""
    from bess_pipeline.defs import operate, report
    from bess_pipeline.defs.instance import AnotherRunError, RecordsError
    from bess_pipeline.defs.resources import Home

    home = Home()
    within = _window(home.settings, first, last)
    try:
        with report.Bar(err) as bar:
            outcome = operate.run(home, bar, fleet_id=fleet, within=within, again=again)
    except (AnotherRunError, RecordsError, LookupError) as error:
        fail([str(error)])
    out.print(report.summary(outcome, home.settings), soft_wrap=True)
    remark(outcome.remarks)
    if outcome.failures:
        fail(outcome.failures)


@app.command()
def evaluate(
    truth: Annotated[
        Path | None, typer.Argument(help="Folder that holds truth/; the deployment's own truth by default.")
    ] = None,
    fleet: Fleet = None,
    file: Annotated[Path | None, typer.Option("--json", dir_okay=False, help="Write it to this file as well.")] = None,
) -> None:
    """Accuracy and alarm quality against the truth of synthetic fleets, with n, beside estimators without effort."""
    from bess_pipeline.defs.evaluate import evaluated, shown, written
    from bess_pipeline.defs.resources import Home

    home = Home()
    fleets = sorted(home.register().fleets) if fleet is None else [fleet]
    try:
        found = evaluated(home, fleets, truth)
    except LookupError as error:
        fail([str(error)])
    out.print(shown(found))
    if file is not None:
        file.write_text(written(found), encoding="utf-8")


@app.command()
def status() -> None:
    """Fleets, days present, late or missing, rows quarantined, the last run."""
    from bess_pipeline.defs import report
    from bess_pipeline.defs.resources import Home

    out.print(report.status(Home()))


@app.command()
def sql(query: Annotated[str, typer.Argument(help="A query on the warehouse.")]) -> None:
    """Ask the warehouse."""
    import polars as pl

    from bess_pipeline.lake.warehouse import QueryError, Warehouse

    try:
        answer = Warehouse(Settings().warehouse).query(query)
    except (FileNotFoundError, QueryError) as error:
        fail([str(error)])
    with pl.Config(tbl_rows=_ROWS_SHOWN, tbl_cols=-1, tbl_width_chars=10_000, fmt_str_lengths=100):
        out.print(str(answer), highlight=False, markup=False, soft_wrap=True)
    if answer.height > _ROWS_SHOWN:
        remark([f"{answer.height:,} rows, of which {_ROWS_SHOWN} are shown: `bess export` writes files"])


@app.command()
def simulate(
    fleet: Annotated[str, typer.Option(help="Name of the fleet to make.")],
    batteries: Annotated[int, typer.Option(min=1, help="How many batteries.")] = 8,
    days: Annotated[int, typer.Option(min=1, help="How many days.")] = 60,
    seed: Annotated[int, typer.Option(help="The same seed gives the same fleet.")] = 0,
    interval: Annotated[int, typer.Option(min=1, help="Seconds from sample to sample.")] = 60,
    chemistry: Chemistry = Chemistry.LFP,
    profile: Profile = Profile.arbitrage,
    start: Annotated[datetime, typer.Option(formats=["%Y-%m-%d"], help="First UTC day.")] = datetime(
        2025, 1, 1, tzinfo=UTC
    ),
) -> None:
    """Write a synthetic fleet with known truth: fleet file, landing files, and the truth beside them."""
    from bess_pipeline.sources.simulate import Plan, write_fleet
    from bess_pipeline.sources.simulate import simulate as simulated

    settings = Settings()
    plan = Plan(
        fleet_id=fleet,
        batteries=batteries,
        days=days,
        seed=seed,
        interval_seconds=interval,
        chemistry=chemistry.value,
        profile=profile.value,
        start=start.date(),
    )
    with err.status(f"simulating {batteries} batteries for {days} days"):
        write_fleet(simulated(plan), settings.root)
    out.print(f"wrote fleet {fleet} to {settings.root}: next, bess run", highlight=False, soft_wrap=True)


@app.command()
def demo() -> None:
    """Write a small synthetic fleet, run everything on it, and show what came out and where to look."""
    from bess_pipeline.defs import demo as demonstration
    from bess_pipeline.defs import findings, report
    from bess_pipeline.defs.resources import Home

    home = Home()
    with report.Bar(err) as bar:
        outcome = demonstration.run(home, bar)
    out.print(report.summary(outcome, home.settings), soft_wrap=True)
    remark(outcome.remarks)
    out.print(findings.findings(home, demonstration.FLEETS))
    if outcome.failures:
        fail(outcome.failures)


@app.command()
def prepare() -> None:
    """Make what a deployment starts from: its folders, Dagster's settings, the tables of the lake."""
    from bess_pipeline.defs.deployment import prepared
    from bess_pipeline.defs.instance import RecordsError

    try:
        out.print(f"ready: {prepared(Settings())}", highlight=False, soft_wrap=True)
    except RecordsError as error:
        fail([str(error)])


@app.command()
def dev() -> None:
    """Dagster's UI and daemon on this home, on loopback."""
    from bess_pipeline.defs.instance import RecordsError, ready
    from bess_pipeline.defs.runs import MODULE

    settings = Settings()
    try:
        ready(settings)
    except RecordsError as error:
        fail([str(error)])
    port = str(settings.dagster_port)
    command = [sys.executable, "-m", "dagster", "dev", "-m", MODULE, "-h", "127.0.0.1", "-p", port]
    command += ["--log-format", "json" if settings.log_format == "json" else "colored"]
    out.print(f"Dagster on http://127.0.0.1:{port} for {settings.root} (Ctrl-C ends it)", highlight=False)
    out.file.flush()
    # It takes the place of this process, so that a signal to end this one reaches it and its children.
    os.execve(sys.executable, command, settings.environment())  # noqa: S606


@app.command()
def serve() -> None:
    """Pages and the REST API on what is published, on BESS_API_PORT; without a key on this machine alone."""
    import socket

    import uvicorn

    from bess_pipeline import logs
    from bess_pipeline.api.app import create_app

    settings = Settings()
    logs.configure(settings.log_level, settings.log_format, settings.secrets)
    host = f"[{settings.api_host}]" if ":" in settings.api_host else settings.api_host
    address = f"http://{host}:{settings.api_port}"
    with socket.socket(socket.AF_INET6 if ":" in settings.api_host else socket.AF_INET) as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind((settings.api_host, settings.api_port))
        except OSError as error:
            fail([f"{address} cannot be listened on ({error.strerror}): choose another with BESS_API_PORT"])
    out.print(
        f"pages on {address}/, API on {address}/api/v1, described on {address}/docs (Ctrl-C ends it)", highlight=False
    )
    uvicorn.run(
        create_app(settings),
        host=settings.api_host,
        port=settings.api_port,
        log_config=None,
        server_header=False,
        proxy_headers=bool(settings.api_proxies),
        forwarded_allow_ips=list(settings.api_proxies),
    )


def _window(settings: Settings, first: datetime | None, last: datetime | None) -> Window | None:
    if first is None and last is None:
        return None
    start = first.date() if first else settings.first_day
    end = last.date() if last else datetime.now(UTC).date()
    if end < start:
        raise typer.BadParameter(f"--to {end} lies before --from {start}")
    return Window.hull([start, end])


def main() -> None:
    """`bess`: what nobody expected is told once, with its traceback, as a line of the log."""
    try:
        app()
    except Exception:
        log = logs.logger("bess_pipeline.cli")
        log.exception("bess ended by an error that it did not expect")
        sys.exit(1)


if __name__ == "__main__":
    main()
