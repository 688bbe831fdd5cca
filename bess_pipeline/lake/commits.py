"""What the commits of a table did: which changed its rows, and which only how they are stored."""

from __future__ import annotations

from typing import Any

import deltalake

#: Commits after which a table holds the same rows as before.
_UPKEEP = frozenset({"OPTIMIZE", "VACUUM START", "VACUUM END", "SET TBLPROPERTIES"})

#: How many of the newest commits are asked for, one after the other, until the answer is among them.
_LOOKS = (1, 8, None)


def rows_version(delta: deltalake.DeltaTable) -> int:
    """The newest version that changed rows, or the oldest that the log tells of, if none of them did."""
    newest = oldest = delta.version()
    for many in _LOOKS:
        told = [commit for commit in delta.history(many) if commit["version"] <= newest]
        changed = next((commit["version"] for commit in told if commit["operation"] not in _UPKEEP), None)
        if changed is not None:
            return int(changed)
        oldest = min((commit["version"] for commit in told), default=newest)
    return int(oldest)


def only_stored_anew(delta: deltalake.DeltaTable, fleet_id: str, since: int) -> bool:
    """Whether rows of a fleet were stored another way after a version, and none of them changed.

    Args:
        delta: The table.
        fleet_id: The fleet.
        since: The version.
    """
    many = delta.version() - since
    later = [commit for commit in delta.history(many) if commit["version"] > since] if many else []
    return any(commit["operation"] == "OPTIMIZE" for commit in later) and not any(
        commit["operation"] not in _UPKEEP and _may_concern(commit, fleet_id) for commit in later
    )


def _may_concern(commit: dict[str, Any], fleet_id: str) -> bool:
    """Whether a commit may have changed rows of a fleet: unless it names another, it may."""
    predicate = str(commit.get("operationParameters", {}).get("predicate", ""))
    return not predicate.startswith("fleet_id = '") or predicate.startswith(f"fleet_id = '{fleet_id}'")
