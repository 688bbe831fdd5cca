"""A lake with damaged files: which they are, and how their rows are made again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

from bess_pipeline.lake.contracts import stored_contract
from bess_pipeline.lake.ledger import MARK, WHOLE_FLEET
from bess_pipeline.lake.slices import Named, Slice
from bess_pipeline.lake.store import Lake
from bess_pipeline.tables import catalog
from bess_pipeline.tables.catalog import Table
from bess_pipeline.window import Window


@dataclass(frozen=True)
class Damage:
    """One file of the lake that cannot be read.

    Attributes:
        table: Its table.
        fleet_id: The fleet of its rows.
        day: The UTC day of its rows, in a table that is cut by day; null for rows without a day.
        file: Its address.
        reason: Why it cannot be read.
        name: The name of its rows, in a table that is cut by names.
    """

    table: Table
    fleet_id: str
    day: date | None
    file: str
    reason: str
    name: str | None = None

    @property
    def can_be_made_again(self) -> bool:
        """Whether its rows follow from the landing zone and from rows that are there."""
        if self.table in (catalog.LEDGER, catalog.MADE_FROM):
            return True
        of_day = self.table.per == "fleet_day" and self.day is not None
        return of_day if self.table.layer in ("landing", "bronze") else True


def damages(lake: Lake, fleet_id: str | None = None) -> Iterator[Damage]:
    """Every file of the lake that cannot be read; each file is read through.

    Args:
        lake: The lake.
        fleet_id: Only files of this fleet.
    """
    for table in catalog.TABLES.values():
        for row, reason in lake.damaged(table, None if fleet_id is None else Slice(fleet_id)):
            day, name = row.get("date"), row.get("name")
            yield Damage(
                table,
                str(row["fleet_id"]),
                day if isinstance(day, date) else None,
                f"{lake.address(table)}/{row['path']}",
                reason,
                name if isinstance(name, str) else None,
            )


def mend(lake: Lake, damage: Damage) -> None:
    """Forget what was made of a damaged file's days, so that the next run makes them again, over the file.

    Raises:
        ValueError: If its rows cannot be made again: they have to come from a backup of the lake.
    """
    if not damage.can_be_made_again:
        raise ValueError(f"the rows of {damage.file} cannot be made again: put the file back from a backup")
    table, fleet_id = damage.table, damage.fleet_id
    if table is catalog.DAY_VERSIONS:
        _empty(lake, table, Slice(fleet_id))
        return
    if table is catalog.MADE_FROM:
        # A mark took all notes from a day on back; which day, its file does not tell any more.
        is_mark = str(damage.name).startswith(MARK)
        _empty(lake, table, Slice(fleet_id) if is_mark else Named(fleet_id, (str(damage.name),)))
    elif table.per == "fleet_day" and damage.day is not None:
        _empty(lake, catalog.LEDGER, Slice(fleet_id, Window.of_day(damage.day)))
    if table.per == "fleet":
        made = tuple(name for name, other in catalog.TABLES.items() if other.per == "fleet")
        _empty(lake, catalog.MADE_FROM, Named(fleet_id, made))
    if table.per == "fleet" or table is catalog.MADE_FROM:
        _empty(lake, catalog.LEDGER, Slice(fleet_id, Window.of_day(WHOLE_FLEET)))


def _empty(lake: Lake, table: Table, part: Slice | Named) -> None:
    if lake.files(table).is_empty():
        return
    lake.replace(table, stored_contract(table).create_empty(), part)
