"""What of a fleet's tables has to be made again: everything from the first day on whose inputs changed."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import partial
from typing import Protocol

import polars as pl

from bess_pipeline.lake.contracts import stored_schema
from bess_pipeline.lake.ledger import Notes, fingerprint
from bess_pipeline.lake.pieces import Pieces, replace_changed
from bess_pipeline.lake.slices import Part, Slice, Tail
from bess_pipeline.lake.store import Lake, Written
from bess_pipeline.tables import catalog
from bess_pipeline.tables.catalog import Table
from bess_pipeline.window import EPOCH_DAYS, Window, epoch_start

#: What an asset that remembers is told of the days before, by the name of the table that it writes.
BEFORE = "_before"
#: Tag of a step that tells its reach, and of a run that makes everything again.
REACH, WHOLE = "bess/reach", "bess/whole"


@dataclass(frozen=True)
class Reach:
    """How far the rows of one day rest on other days.

    Attributes:
        before: Days before the first that is made, whose rows are read, too.
        ahead: Days after: so many days before the first change have to be made again.
        memory: Table of what is known of all days before an epoch, if rows of some days are not enough.
        back: Days before the epoch of the memory whose rows are read, too.
        epoch: Days of an epoch of the memory.
        block: Days of a block, counted as epochs are, of which two are made together: that before the one of the first
            change has to be made again, too. Nothing is made in blocks if 0.
        whole: Tables of which the whole history is read, for any of it may count; of all others only rows that speak of
            these days or of later ones.
        as_of_last: Whether something is said as of the last day of what is read alone, which is gone when that is
            another: what was the last day, and what is now, has to be made again in any case.
    """

    before: int = 0
    ahead: int = 0
    memory: Table | None = None
    back: int = 0
    epoch: int = EPOCH_DAYS
    block: int = 0
    whole: tuple[Table, ...] = ()
    as_of_last: bool = False

    def to_text(self) -> str:
        """The reach as the tag of a step."""
        names = ",".join(table.name for table in self.whole)
        memory = self.memory.name if self.memory else "-"
        last = " last" if self.as_of_last else ""
        return f"{self.before} {self.ahead} {memory} {self.back} {self.epoch} {self.block} {names}{last}"

    @classmethod
    def of_text(cls, text: str) -> "Reach":
        """The reach that a tag tells."""
        before, ahead, memory, back, epoch, block, names, *last = text.split(" ")
        whole = tuple(catalog.TABLES[name] for name in names.split(",") if name)
        known = None if memory == "-" else catalog.TABLES[memory]
        return cls(int(before), int(ahead), known, int(back), int(epoch), int(block), whole, bool(last))

    def first(self, changed: date) -> date:
        """The first day that has to be made again for one that changed."""
        if self.block:
            changed = epoch_start(changed, self.block) - timedelta(days=self.block)
        return changed - timedelta(days=self.ahead)


class Reader(Protocol):
    """Who reads parts of tables: the lake, or who remembers what it gave a moment ago."""

    def read(self, table: Table, part: Part) -> pl.DataFrame:
        """The rows of a part of a table."""
        ...


@dataclass(frozen=True)
class Increment:
    """What of a table has to be made again.

    Attributes:
        reach: How far the rows of one day rest on other days.
        since: The first day to be made; none for all of them.
        reads_from: The first day whose rows are gone through, the epoch of the memory if there is one; none for all.
        basis: Columns `date` and `signature`: what every day is made from then.
    """

    reach: Reach
    since: date | None
    reads_from: date | None
    basis: pl.DataFrame

    def rows(self, lake: Reader, fleet_id: str, table: Table) -> pl.DataFrame:
        """The rows of a table that are read; see `Reach.whole`."""
        return lake.read(table, self.part(fleet_id, table))

    def part(self, fleet_id: str, table: Table) -> Slice | Tail:
        """The part of a table that is read."""
        if self.reads_from is None or table in self.reach.whole or table.until not in table.columns:
            return Slice(fleet_id)
        return Tail.of(table, fleet_id, self.reads_from - timedelta(days=self.reach.back))

    def memory(self, lake: Reader, fleet_id: str, table: Table) -> pl.DataFrame:
        """What is known of the days before the first that is read."""
        if self.reads_from is None:
            return pl.DataFrame(schema=stored_schema(table))
        return lake.read(table, Slice(fleet_id, Window.of_day(self.reads_from)))

    def bring(self, lake: Lake, fleet_id: str, table: Table, made: pl.DataFrame | Pieces, notes: Notes) -> Written:
        """Replace what has been made again by what was made, and note from what."""
        pieces = Pieces.of(made) if isinstance(made, pl.DataFrame) else made
        if self.since is None or self.reads_from is None:
            part: Slice | Tail = Slice(fleet_id)
        else:
            is_memory = table is self.reach.memory
            part = Tail.of(table, fleet_id, self.reads_from + timedelta(days=1) if is_memory else self.since)
            pieces = pieces.map(lambda rows: rows.filter(part.rows()))
        begin = partial(notes.begin, table.name, self.since)
        written = replace_changed(lake, table, pieces, part, first=begin)
        notes.record(table.name, self.basis)
        return written


def increment(
    lake: Lake,
    fleet_id: str,
    reads: Sequence[Table],
    makes: Sequence[Table],
    reach: Reach,
    notes: Notes,
    *,
    made_by: str,
    whole: bool = False,
) -> Increment:
    """The days of a fleet's tables that no longer say what they would say if they were made now.

    When nothing changed the last day is made once more, and comes out the same.

    Args:
        lake: The lake.
        fleet_id: The fleet.
        reads: Tables that are read.
        makes: Tables that are made.
        reach: How far the rows of a day rest on other days.
        notes: From what the days of the fleet's tables were last made.
        made_by: Version of the code; another one makes everything again.
        whole: Make everything again in any case.
    """
    basis = _basis(notes, reads, made_by, reach.to_text(), *(str(stored_schema(table)) for table in makes))
    changed = _first_change(notes, basis, makes)
    days: list[date] = basis["date"].to_list()
    if whole or not days:
        return Increment(reach, None, None, basis)
    since = reach.first(changed or days[-1])
    if reach.as_of_last:
        since = min(since, days[-1], *_last_days(notes, makes))
    reads_from: date | None = since - timedelta(days=reach.before)
    if reach.memory is not None and reads_from is not None:
        reads_from = _remembered(lake, fleet_id, reach.memory, epoch_start(reads_from, reach.epoch))
    if reads_from is None or reads_from <= days[0]:
        return Increment(reach, None, None, basis)
    return Increment(reach, reads_from + timedelta(days=reach.before), reads_from, basis)


def _basis(notes: Notes, reads: Sequence[Table], *made_by: str) -> pl.DataFrame:
    """A fingerprint of each day in all tables that are read."""
    rows = pl.concat(notes.versions.of(table).with_columns(name=pl.lit(table.name)) for table in reads)
    constant = rows.filter(pl.col("date").is_null()).select("name", "version").rows()
    told = pl.struct("name", "version", pl.lit(fingerprint(*made_by, constant)).alias("made_by"))
    return (
        rows.drop_nulls("date")
        .select("date", signature=told.hash())
        .group_by("date")
        .agg(pl.col("signature").sum().reinterpret(signed=True))
        .sort("date")
    )


def _first_change(notes: Notes, basis: pl.DataFrame, makes: Sequence[Table]) -> date | None:
    """The first day that any of the tables was made from something else."""
    found = []
    for table in makes:
        made = notes.signatures(table.name)
        both = basis.join(made, on="date", how="full", coalesce=True, suffix="_made")
        found.append(both.filter(pl.col("signature").ne_missing(pl.col("signature_made")))["date"].min())
    return min((day for day in found if isinstance(day, date)), default=None)


def _last_days(notes: Notes, makes: Sequence[Table]) -> list[date]:
    """The last day from which each of the tables was made."""
    found = [notes.signatures(table.name)["date"].max() for table in makes]
    return [day for day in found if isinstance(day, date)]


def _remembered(lake: Lake, fleet_id: str, memory: Table, epoch: date) -> date | None:
    """The last epoch up to ``epoch`` of whose beginning there is a memory."""
    # Nearly always it is this epoch; one that has to be looked for costs a look at every month.
    last = pl.col("date").filter(pl.col("date") <= epoch).max()
    for part in (Slice(fleet_id, Window.of_day(epoch)), Slice(fleet_id)):
        day = lake.ask(memory, part, lambda rows: rows.select(last)).item()
        if isinstance(day, date):
            return day
    return None
