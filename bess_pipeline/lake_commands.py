"""`bess mend`: find damaged files of the lake, and let their rows be made again."""

from __future__ import annotations

from typing import Annotated

import typer

from bess_pipeline.terminal import err, fail, out


def mend(fleet: Annotated[str | None, typer.Option(help="Only this fleet.")] = None) -> None:
    """Read every file of the lake; what was made of damaged ones is forgotten, so that `bess run` makes it again."""
    from bess_pipeline.defs.resources import Home
    from bess_pipeline.lake import mending

    lake, lost = Home().lake, []
    found = 0
    with err.status("reading every file of the lake"):
        for damage in mending.damages(lake, fleet):
            found += 1
            out.print(f"{damage.file}: {damage.reason}", highlight=False, markup=False, soft_wrap=True)
            if damage.can_be_made_again:
                mending.mend(lake, damage)
            else:
                lost.append(f"{damage.file} holds rows that cannot be made again: put it back from a backup")
    if lost:
        fail(lost)
    out.print(f"{found} damaged: next, bess run" if found else "every file can be read", highlight=False)
