"""What commands say on a terminal: answers on standard output, errors and remarks beside it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NoReturn

import typer
from rich.console import Console
from rich.text import Text

out = Console()
err = Console(stderr=True)


def fail(lines: Iterable[str]) -> NoReturn:
    """Say what went wrong, a line each, and end with an exit code.

    Raises:
        typer.Exit: Always.
    """
    for line in lines:
        err.print("[bold red]error[/]", Text(line), highlight=False, soft_wrap=True)
    raise typer.Exit(1)


def remark(lines: Iterable[str]) -> None:
    """Say what a person may want to look at, a line each."""
    for line in lines:
        err.print("[yellow]remark[/]", Text(line), highlight=False, soft_wrap=True)
