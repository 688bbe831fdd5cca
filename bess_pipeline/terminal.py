"""What commands say on a terminal: answers on standard output, errors and remarks beside it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NoReturn

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.text import Text
from typer.core import TyperGroup

from bess_pipeline.config import Settings
from bess_pipeline.lake.failures import StorageError, is_lack_of_room

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


class Commands(TyperGroup):
    """Commands that say in a line what storage or settings did to them, instead of where in the code it was."""

    def invoke(self, ctx: Any) -> object:  # noqa: ANN401 - a context of typer's own
        """Run the command that was typed.

        Raises:
            typer.Exit: If the storage failed, or a setting makes no sense.
        """
        try:
            return super().invoke(ctx)
        except StorageError as error:
            fail([str(error)])
        except PermissionError as error:
            where = f"{error.filename} may not be read or written" if error.filename else str(error)
            fail([f"{where}; is this the user that the deployment belongs to, and is BESS_HOME its home?"])
        except ValidationError as error:
            if error.title != Settings.__name__:
                raise
            told = [(*one["loc"], one["msg"].removeprefix("Value error, ")) for one in error.errors()]
            fail(": ".join(map(str, ("settings", *one))) for one in told)
        except Exception as error:
            if not is_lack_of_room(error):
                raise
            fail(
                [f"no room left on the disk ({error}); nothing is lost: free some, then do it again".replace("\n", " ")]
            )
