"""`bess upkeep`: the weekly upkeep, by hand or from cron."""

from __future__ import annotations

from bess_pipeline.terminal import err, fail, out


def upkeep() -> None:
    """Put small files of the lake together, remove old files, commits and records; nothing is computed."""
    from bess_pipeline.defs.instance import AnotherRunError
    from bess_pipeline.defs.resources import Home
    from bess_pipeline.defs.upkeep import run

    try:
        with err.status("putting in order"):
            told, failures = run(Home())
    except AnotherRunError as refused:
        fail([str(refused)])
    for line in told:
        out.print(line, highlight=False, soft_wrap=True)
    if failures:
        fail(failures)
