"""Fleets that were put aside: their files lie in a folder of the register where nobody looks for fleets."""

from __future__ import annotations

import re
from pathlib import Path

_FOLDER = "retired"
_NAME = re.compile(r"[A-Za-z0-9_-]+")


def retired_fleets(register: Path) -> list[str]:
    """The fleets that were put aside, in order.

    Args:
        register: Folder of the fleet files.
    """
    return sorted(path.stem for path in (register / _FOLDER).glob("*.yaml"))


def known_fleets(register: Path) -> frozenset[str]:
    """Every fleet that has a file, be it mistaken or put aside."""
    return frozenset(path.stem for path in register.glob("*.y*ml")) | frozenset(retired_fleets(register))


def put_aside(register: Path, fleet_id: str) -> None:
    """Put the file of a fleet aside, in one step; what it says stays.

    Raises:
        LookupError: If there is no such file.
    """
    _moved(_file(register, fleet_id), _aside(register, fleet_id))


def put_back(register: Path, fleet_id: str) -> None:
    """Put the file of a fleet back where the register reads it.

    Raises:
        LookupError: If no such fleet was put aside, or there is another of that name by now.
    """
    _moved(_aside(register, fleet_id), _file(register, fleet_id))


def fleet_files(register: Path, fleet_id: str) -> list[Path]:
    """The files of a fleet: its own, and voltage curves that it names and no other fleet does."""
    own = [path for path in (_file(register, fleet_id), _aside(register, fleet_id)) if path.exists()]
    others = [path.read_text("utf-8", "replace") for path in register.rglob("*.y*ml") if path not in own]
    said = [path.read_text("utf-8", "replace") for path in own]
    curves = [
        path
        for path in sorted(register.glob("*.csv"))
        if any(path.name in text for text in said) and not any(path.name in text for text in others)
    ]
    return [*curves, *own]


def require_name(fleet_id: str) -> None:
    """Refuse what cannot be the name of a fleet.

    Raises:
        LookupError: If it is none.
    """
    if not _NAME.fullmatch(fleet_id):
        raise LookupError(f"{fleet_id!r} is not the name of a fleet: letters, digits, '_' and '-' alone")


def _file(register: Path, fleet_id: str) -> Path:
    require_name(fleet_id)
    return register / f"{fleet_id}.yaml"


def _aside(register: Path, fleet_id: str) -> Path:
    require_name(fleet_id)
    return register / _FOLDER / f"{fleet_id}.yaml"


def _moved(here: Path, there: Path) -> None:
    if there.exists():
        raise LookupError(f"there is a {there} already: remove one of the two")
    if not here.exists():
        raise LookupError(f"there is no {here}")
    there.parent.mkdir(exist_ok=True)
    here.rename(there)
