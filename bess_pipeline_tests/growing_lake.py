"""A lake that grows as days arrive: the fleet level brought up to date as its assets do it, without Dagster's runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from datetime import date
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl

from bess_pipeline.defs.groups import Grouped, Groups, made_in_groups
from bess_pipeline.defs.increments import Increment, increment
from bess_pipeline.lake.ledger import Notes
from bess_pipeline.lake.recent import Recent
from bess_pipeline.lake.slices import Part, Slice
from bess_pipeline.lake.store import Lake
from bess_pipeline.tables import catalog
from bess_pipeline.tables.catalog import Table
from bess_pipeline.window import contiguous
from bess_pipeline_tests.fleet_tables import Frames, Step, steps

_PROVENANCE = {"run_id": "", "code_version": "", "register_version": ""}


class GrowingLake:
    """One fleet in a lake of its own.

    Args:
        folder: Where the lake lies.
        fleet_id: The fleet.
        told: Called with the names of the tables that an asset made, and the seconds that it took.
        at_once: Rows that are held at once by steps that treat each battery on its own.
    """

    def __init__(
        self,
        folder: Path,
        fleet_id: str,
        told: Callable[[str, float], None] = lambda *_: None,
        at_once: int = 500_000,
    ) -> None:
        self.lake = Lake(str(folder))
        self.lake.create()
        self.fleet_id = fleet_id
        self._told = told
        self._at_once = at_once
        self._recent = Recent(self.lake)

    def arrive(self, tables: Mapping[str, pl.DataFrame], days: Collection[date]) -> None:
        """Put what the day level makes of some days in place of what is there of them; and the register."""
        for name, rows in tables.items():
            table = catalog.TABLES[name]
            if table.per == "fleet":
                self.lake.replace_changed(table, _signed(name, rows), Slice(self.fleet_id))
                continue
            for window in contiguous(days, longest=400):
                part = Slice(self.fleet_id, window)
                self.lake.replace(table, rows.filter(part.rows()), part)

    def follow(self, *only: str) -> None:
        """Bring every table of the fleet level up to date, or only some and what is made with them."""
        there = {
            table.name for table in catalog.TABLES.values() if table.per == "fleet_day" or table.layer == "landing"
        } | {catalog.BATTERIES.name, catalog.OCV_CURVES.name}
        notes = Notes(self.lake, self.fleet_id)
        left = [step for step in steps() if not there >= set(step.makes)]
        if only:
            left = [step for step in left if set(only) & set(step.makes)]
            there = catalog.TABLES.keys() - {name for step in left for name in step.makes}
        while ready := [step for step in left if step.needs <= there]:
            for step in ready:
                begun = time.perf_counter()
                self._make(step, notes)
                self._told(", ".join(step.makes), time.perf_counter() - begun)
                there |= set(step.makes)
            left = [step for step in left if step not in ready]
        notes.close()

    def _make(self, step: Step, notes: Notes) -> None:
        lake, fleet, recent = self.lake, self.fleet_id, self._recent
        makes = [catalog.TABLES[name] for name in step.makes]
        if step.reach is None:
            made = step.run({name: self._read(step, catalog.TABLES[name], Slice(fleet)) for name in step.needs})
            for table in makes:
                lake.replace_changed(table, _signed(table.name, made[table.name]), Slice(fleet))
            return
        reads = [catalog.TABLES[name] for name in sorted(step.needs)]
        wanted = increment(lake, fleet, reads, makes, step.reach, notes, made_by="")
        if step.kind is not None:
            self._make_in_groups(step, step.kind, makes, wanted, notes)
            return
        tables = {table.name: self._read(step, table, wanted.part(fleet, table)) for table in reads}
        if step.reach.memory is not None:
            (name,) = step.recalls
            tables[name] = wanted.memory(recent, fleet, step.reach.memory)
        made = step.run(tables)
        for table in makes:
            wanted.bring(lake, fleet, table, _signed(table.name, made[table.name]), notes)

    def _read(self, step: Step, table: Table, part: Part) -> pl.DataFrame:
        """What a step is handed of a table."""
        columns = step.columns.get(table.name)
        return self._recent.read(table, part) if columns is None else self.lake.read(table, part, columns=columns)

    def _make_in_groups(
        self, step: Step, kind: type[Grouped], makes: list[Table], wanted: Increment, notes: Notes
    ) -> None:
        reads = [catalog.TABLES[name] for name in sorted(step.needs)]
        groups = Groups.of(self.lake, self._recent, self.fleet_id, wanted, self._at_once, reads, kind)
        tables = {name: groups.table(name) for name in sorted(step.needs | step.recalls)}
        with TemporaryDirectory() as folder:
            made = made_in_groups(step.function, tables, Path(folder))
            for table in makes:
                pieces = made[table.name if len(makes) > 1 else "result"]
                wanted.bring(self.lake, self.fleet_id, table, pieces.map(partial(_signed, table.name)), notes)

    def tables(self) -> Frames:
        """Every table of the fleet level, without the circumstances of writing it."""
        made = {name for step in steps() for name in step.makes}
        return {
            name: self.lake.read(table).drop(*_PROVENANCE, strict=False)
            for name, table in catalog.TABLES.items()
            if name in made
        }


def _signed(name: str, rows: pl.DataFrame) -> pl.DataFrame:
    if catalog.TABLES[name].layer != "gold":
        return rows
    return rows.with_columns(pl.lit(value).alias(column) for column, value in _PROVENANCE.items())
