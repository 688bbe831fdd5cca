"""`bess export`: files for others, out of the warehouse."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from bess_pipeline.config import Settings
from bess_pipeline.terminal import fail, out
from bess_pipeline.window import Window

_DAY = ["%Y-%m-%d"]


class Form(StrEnum):
    """What can be written."""

    parquet = "parquet"
    csv = "csv"
    bdf = "bdf"
    passport = "passport"


def export(
    folder: Annotated[Path, typer.Argument(file_okay=False, help="An empty folder, or one that is not there.")],
    form: Annotated[
        Form,
        typer.Option(
            help="Every table as parquet or csv; bdf: telemetry in the Battery Data Format; passport: what of the EU "
            "battery passport changes in use."
        ),
    ] = Form.parquet,
    fleet: Annotated[str | None, typer.Option(help="Only this fleet.")] = None,
    battery: Annotated[str | None, typer.Option(help="Only this battery.")] = None,
    first: Annotated[datetime | None, typer.Option("--from", formats=_DAY, help="First UTC day.")] = None,
    last: Annotated[datetime | None, typer.Option("--to", formats=_DAY, help="Last UTC day.")] = None,
) -> None:
    """Write what is published to files."""
    from bess_pipeline.lake import export as exports
    from bess_pipeline.lake.warehouse import QueryError, Warehouse
    from bess_pipeline.terminal import err

    settings = Settings()
    within = None
    if first is not None or last is not None:
        start = settings.first_day if first is None else first.date()
        end = datetime.now(UTC).date() if last is None else last.date()
        if end < start:
            fail([f"--to {end} lies before --from {start}"])
        within = Window.hull([start, end])
    part, warehouse = exports.Part(fleet, battery, within), Warehouse(settings.warehouse)
    try:
        with err.status("writing") as shown:
            if form in {Form.parquet, Form.csv}:
                kind: exports.Form = "csv" if form is Form.csv else "parquet"
                rows = exports.write_tables(warehouse, folder, kind, part, told=shown.update)
                said = f"{sum(rows.values()):,} rows of {len(rows)} tables"
            elif form is Form.bdf:
                said = f"{len(exports.write_bdf(warehouse, folder, part))} batteries"
            else:
                said = f"{len(exports.write_passports(warehouse, folder, part))} passports"
    except (exports.ExportError, QueryError, FileNotFoundError) as error:
        fail([str(error)])
    out.print(f"wrote {said} to {folder}", highlight=False, soft_wrap=True)
