"""`bess warranty`: what a supplier is shown."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bess_pipeline.config import Settings
from bess_pipeline.terminal import Commands, fail, out

warranty_app = typer.Typer(cls=Commands, help="Warranty: what was agreed, and what was kept.", no_args_is_help=True)


@warranty_app.callback()
def warranty() -> None:
    """Warranty: what was agreed, and what was kept."""


@warranty_app.command()
def report(
    fleet: Annotated[str, typer.Argument(help="The fleet.")],
    folder: Annotated[
        Path | None, typer.Option("--out", file_okay=False, help="Where to: an empty folder; warranty-FLEET here.")
    ] = None,
) -> None:
    """Write the file of a claim: a page to read, and the rows that it rests on as Parquet."""
    from bess_pipeline.api.pages.lifecycle import warranty_report
    from bess_pipeline.lake.export import ExportError, write_claim
    from bess_pipeline.lake.reading import Reader, UnpublishedError
    from bess_pipeline.lake.warehouse import Warehouse

    settings, target = Settings(), folder or Path(f"warranty-{fleet}")
    reader = Reader(settings.warehouse)
    try:
        with reader.reading() as publication:
            told = warranty_report(publication, fleet)
        rows = write_claim(Warehouse(settings.warehouse), target, fleet)
    except (UnpublishedError, LookupError, ExportError, FileNotFoundError) as error:
        fail([str(error)])
    finally:
        reader.close()
    (target / "warranty.html").write_text(told, "utf-8")
    for name, count in rows.items():
        out.print(f"{target / name}.parquet: {count:,} rows", highlight=False, soft_wrap=True)
    out.print(f"wrote {target / 'warranty.html'} ({len(told) / 1e6:.1f} MB)", highlight=False, soft_wrap=True)
