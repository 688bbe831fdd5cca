"""Rows as tables in Markdown, as Dagster's pages show them."""

from datetime import datetime

import polars as pl

from bess_pipeline.sources.opening import printable


def table(rows: pl.DataFrame) -> str:
    """A table in Markdown; names of batteries are somebody else's, and may hold anything."""
    lines = [list(rows.columns), ["---"] * rows.width, *(map(_cell, row) for row in rows.iter_rows())]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(value: object) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.3g}"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M}"
    return printable(str(value), longest=80).replace("|", "\\|")
