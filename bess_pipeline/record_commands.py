"""`bess records`: Dagster's records of what was run, where they are lost, begin anew elsewhere, or have moved."""

from __future__ import annotations

import typer

from bess_pipeline.terminal import err, fail, out

record_app = typer.Typer(help="Dagster's records of what was run.", no_args_is_help=True)


@record_app.command()
def rebuild() -> None:
    """Tell Dagster of everything that is in the lake and not in its records; the lake stays as it is."""
    from bess_pipeline.defs import rebuild as rebuilding
    from bess_pipeline.defs import report
    from bess_pipeline.defs.instance import AnotherRunError, RecordsError
    from bess_pipeline.defs.resources import Home

    try:
        with report.Bar(err) as bar:
            told = rebuilding.rebuild(Home(), bar)
    except (AnotherRunError, RecordsError) as error:
        fail([str(error)])
    out.print(f"told Dagster of {told:,} partitions" if told else "nothing is missing", highlight=False)


@record_app.command()
def claim() -> None:
    """Say that the database keeps the records of this deployment, whose lake has another address now."""
    from bess_pipeline.config import Settings
    from bess_pipeline.defs import instance

    settings = Settings()
    try:
        instance.claim(settings)
    except instance.RecordsError as error:
        fail([str(error)])
    out.print(f"the records are those of {settings.lake}", highlight=False, soft_wrap=True)
