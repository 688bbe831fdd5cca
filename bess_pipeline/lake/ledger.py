"""What has been made of which inputs: the ledger that makes every run idempotent.

A step that has replaced its slices records a fingerprint of what it read. A day
or a fleet is stale when the fingerprint of what it would read now is another.
The record comes after the data, so a run that dies in between is done again.
"""

from __future__ import annotations

from datetime import date

import polars as pl
import xxhash

from bess_pipeline.lake.slices import Named, Slice
from bess_pipeline.lake.store import Lake
from bess_pipeline.tables import catalog
from bess_pipeline.window import Window

#: The day under which a step that works on a whole fleet is recorded.
WHOLE_FLEET = date(1970, 1, 1)


def fingerprint(*parts: object) -> str:
    """A stable digest of what is given.

    Examples:
        >>> fingerprint("a", 1) == fingerprint("a", 1) != fingerprint("a", 2)
        True
    """
    return xxhash.xxh3_128_hexdigest("\x1f".join(map(str, parts)).encode())


def day_signatures(landing_days: pl.DataFrame, landing_files: pl.DataFrame, *basis: object) -> dict[date, str]:
    """What each day of a fleet would be made from now.

    Args:
        landing_days: `LandingDay` rows of one fleet.
        landing_files: `LandingFile` rows of the same fleet.
        basis: What else every day rests on, such as the version of the fleet file.

    Returns:
        UTC day → fingerprint of the files that hold the day, their order, the repairs of their clocks, and the basis.
    """
    versions = (
        landing_days.select("date", "path", "checksum", "clock_version")
        .unique()
        .join(landing_files.select("path", "first_seen"), on="path", how="left")
        .sort("date", "path")
        .group_by("date", maintain_order=True)
        .agg(pl.concat_str("path", "checksum", "first_seen", "clock_version", separator="\x1f"))
    )
    return {day: fingerprint(*basis, *files) for day, files in versions.iter_rows()}


class Ledger:
    """The record of finished steps, kept in the lake."""

    def __init__(self, lake: Lake) -> None:
        self._lake = lake

    def signatures(self, fleet_id: str, step: str) -> dict[date, str]:
        """What each day of a fleet was last made from by a step."""
        of_step = pl.col("step") == step
        rows = self._lake.ask(catalog.LEDGER, Slice(fleet_id), lambda all_steps: all_steps.filter(of_step))
        return dict(rows.select("date", "signature").iter_rows())

    def record(self, fleet_id: str, step: str, signatures: dict[date, str], *, run_id: str) -> None:
        """Note that a step has made days of a fleet from these inputs; other steps' notes stay."""
        if not signatures:
            return
        part = Slice(fleet_id, Window.hull(signatures))
        fresh = pl.DataFrame(
            {
                "fleet_id": fleet_id,
                "step": step,
                "date": list(signatures),
                "signature": list(signatures.values()),
                "run_id": run_id,
            },
        )
        held = self._lake.read(catalog.LEDGER, part)
        kept = held.join(fresh, on=["fleet_id", "step", "date"], how="anti")
        self._lake.replace(catalog.LEDGER, pl.concat([kept, fresh]), part)


class Notes:
    """From what each day of a fleet's tables was last made, table by table."""

    def __init__(self, lake: Lake) -> None:
        self._lake = lake

    def signatures(self, fleet_id: str, name: str) -> pl.DataFrame:
        """Columns `date` and `signature` of one table, as last recorded."""
        return self._lake.read(catalog.MADE_FROM, Named(fleet_id, name)).select("date", "signature")

    def record(self, fleet_id: str, name: str, signatures: pl.DataFrame) -> None:
        """Note what each day of a table has been made from: columns `date` and `signature`, all of them."""
        if not signatures.equals(self.signatures(fleet_id, name)):
            named = signatures.with_columns(fleet_id=pl.lit(fleet_id), name=pl.lit(name))
            self._lake.replace(catalog.MADE_FROM, named, Named(fleet_id, name))


def stale_days(wanted: dict[date, str], made: dict[date, str]) -> list[date]:
    """Days that were made from other inputs than they would be made from now, in order.

    A day that has lost its last file counts: it has to be emptied.

    Examples:
        >>> stale_days({date(2026, 1, 2): "b", date(2026, 1, 3): "c"}, {date(2026, 1, 1): "a", date(2026, 1, 2): "b"})
        [datetime.date(2026, 1, 1), datetime.date(2026, 1, 3)]
    """
    return sorted(day for day in wanted.keys() | made.keys() if wanted.get(day, "") != made.get(day, ""))
