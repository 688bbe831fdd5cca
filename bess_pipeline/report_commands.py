"""`bess report`: a fleet's month in one file."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from bess_pipeline.config import Settings
from bess_pipeline.terminal import fail, out


def report(
    fleet: Annotated[str, typer.Argument(help="The fleet.")],
    month: Annotated[str, typer.Argument(help="The month, such as 2026-03.")],
    file: Annotated[Path | None, typer.Option("--out", dir_okay=False, help="Where to; FLEET-MONTH.html here.")] = None,
) -> None:
    """Write the report of a fleet and a month: one HTML file to mail, charts and all."""
    from bess_pipeline.api.pages import report as reports
    from bess_pipeline.lake.reading import Reader, UnpublishedError

    target = file or Path(f"{fleet}-{month}.html")
    reader = Reader(Settings().warehouse)
    try:
        with reader.reading() as publication:
            told = reports.report(publication, fleet, month, today=datetime.now(UTC).date())
    except (UnpublishedError, LookupError, ValueError) as error:
        fail([str(error)])
    finally:
        reader.close()
    target.write_text(told, "utf-8")
    out.print(f"wrote {target} ({len(told) / 1e6:.1f} MB)", highlight=False, soft_wrap=True)
