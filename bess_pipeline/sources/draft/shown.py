"""A draft as a person sees it in a terminal: every column, what it is taken for, and why."""

from __future__ import annotations

from collections.abc import Mapping

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from bess_pipeline.sources.draft.drafted import Draft, Seen

_STYLES = {"sure": "green", "likely": "cyan", "guess": "yellow", "TODO": "bold red"}
_WIDE = 130


def overview(draft: Draft, width: int) -> RenderableType:
    """The columns that were recognized, in the order of the file, the others, and what is left to decide.

    Args:
        draft: The draft.
        width: Of the terminal, in characters.
    """
    mapped = [seen for seen in draft.seen if seen.house]
    rows = f"{draft.rows:,}".replace(",", " ")
    head = f"{draft.file}: {rows} rows looked at, {len(mapped)} of {len(draft.seen)} columns recognized"
    parts: list[RenderableType] = [Text(head, style="bold"), Text(""), _columns(mapped, width)]
    others = [seen for seen in draft.seen if not seen.house]
    silent = [seen.column for seen in others if not seen.why]
    if silent:
        parts += [Text(""), Text(f"not mapped: {', '.join(silent)}", style="dim")]
    if len(silent) < len(others):
        parts += [
            Text(""),
            _pairs({seen.column: seen.why for seen in others if seen.why}, "not mapped, because", style="dim"),
        ]
    parts += [Text(f"note: {remark}", style="yellow") for remark in draft.remarks]
    if draft.undecided:
        parts += [Text(""), _pairs(draft.undecided, f"left to decide ({len(draft.undecided)})", style="red")]
    else:
        parts.append(Text("nothing is left to decide; review it all the same", style="green"))
    return Group(*parts, Text(""))


def _columns(mapped: list[Seen], width: int) -> Table:
    table = Table(box=SIMPLE_HEAD, padding=(0, 1), show_edge=False)
    wide = width >= _WIDE
    table.add_column("column", overflow="ellipsis", no_wrap=True, max_width=30 if wide else 20)
    table.add_column("first values", overflow="ellipsis", no_wrap=True, max_width=28 if wide else 14)
    table.add_column("house name", overflow="ellipsis", no_wrap=True, min_width=16)
    table.add_column("sure", no_wrap=True, min_width=6)
    table.add_column("why", overflow="fold", ratio=1, min_width=30)
    for seen in mapped:
        house = Text(str(seen.house), style="bold")
        for key in filter(None, seen.keys.split(", ")):
            house.append(f"\n  {key}", style="not bold")
        table.add_row(
            Text(seen.column),
            Text(", ".join(seen.values), style="dim"),
            house,
            Text(seen.sure, style=_STYLES[seen.sure]),
            Text(seen.why.replace("; ", "\n")),
        )
    return table


def _pairs(said: Mapping[str, str], title: str, *, style: str) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=True, header_style=style)
    table.add_column(title, overflow="fold", style=style)
    table.add_column("", overflow="fold", style="dim" if style == "dim" else "")
    for name, why in said.items():
        table.add_row(Text(name), Text(why))
    return table
