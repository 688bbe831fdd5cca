"""How assets read and write the lake: whole slices, and nothing of it in the assets."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import date
from typing import Any

import dagster as dg
import polars as pl

from bess_pipeline import logs
from bess_pipeline.defs import glances
from bess_pipeline.defs.batches import Aside, Batches, Mapped
from bess_pipeline.defs.groups import Grouped, Groups
from bess_pipeline.defs.house import CODE_VERSION, COLUMNS
from bess_pipeline.defs.increments import BEFORE, REACH, WHOLE, Increment, Reach, increment
from bess_pipeline.defs.partitions import day_of, slice_of
from bess_pipeline.defs.pictures import picture
from bess_pipeline.defs.resources import Home
from bess_pipeline.lake.ledger import Notes
from bess_pipeline.lake.pieces import Pieces, replace_changed
from bess_pipeline.lake.recent import Recent
from bess_pipeline.lake.slices import Slice
from bess_pipeline.lake.store import Written
from bess_pipeline.tables import catalog
from bess_pipeline.tables.catalog import Table

_LOG = logs.logger(__name__)

#: The step of a day after which the next can say what it was made from.
_MADE_FROM = {catalog.CLEAN_TELEMETRY.name: catalog.RAW_TELEMETRY.name}
_MADE_FROM[catalog.DAY_EVIDENCE.name] = catalog.CLEAN_TELEMETRY.name


class LakeIOManager(dg.IOManager):
    """Hands slices of the lake to the assets of one run, and replaces slices by what they return."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._read_from: dict[tuple[str, Slice], dict[date, str]] = {}
        self._increments: dict[str, Increment] = {}
        self._groups: dict[str, Groups] = {}
        self._notes: dict[str, Notes] = {}
        self._recent = Recent(home.lake)

    def close(self) -> None:
        """Write down from what the run made its tables: at its end, however it ends."""
        for notes in self._notes.values():
            notes.close()

    def _notes_of(self, fleet_id: str) -> Notes:
        if fleet_id not in self._notes:
            self._notes[fleet_id] = Notes(self._home.lake, fleet_id)
        return self._notes[fleet_id]

    def load_input(self, context: dg.InputContext) -> Batches | Grouped | pl.DataFrame:
        """A fleet's rows for an asset of the fleet, in groups if it asks so; days in batches for an asset of days."""
        name = context.asset_key.path[-1]
        table = catalog.TABLES[name.removesuffix(BEFORE)]
        if context.has_partition_key and not isinstance(context.partition_key, dg.MultiPartitionKey):
            kind = context.dagster_type.typing_type
            if issubclass(kind, Grouped):
                return self._groups_of(context.step_context, context.partition_key, kind).table(name)
            if columns := (context.definition_metadata or {}).get(COLUMNS):
                return self._some_columns(context.step_context, context.partition_key, table, columns)
            return self._rows_of_fleet(context.step_context, context.partition_key, table, of_before=name != table.name)
        part = slice_of(list(context.asset_partition_keys))
        self._read_from[table.name, part] = self._home.ledger.signatures(part.fleet_id, table.name)
        return Batches.of(self._home.lake, table, part, budget=self._home.rows_per_batch(part.fleet_id))

    def _rows_of_fleet(
        self, step: dg.StepExecutionContext, fleet_id: str, table: Table, *, of_before: bool
    ) -> pl.DataFrame:
        """As many days of a table as a step of the fleet level needs, or what is known of the days before."""
        recent, wanted = self._recent, self._increment(step, fleet_id)
        if wanted is None:
            return recent.read(table, Slice(fleet_id))
        return wanted.memory(recent, fleet_id, table) if of_before else wanted.rows(recent, fleet_id, table)

    def _some_columns(
        self, step: dg.StepExecutionContext, fleet_id: str, table: Table, columns: Sequence[str]
    ) -> pl.DataFrame:
        """As many days of a table as a step needs, and only the columns that it reads."""
        wanted = self._increment(step, fleet_id)
        part = Slice(fleet_id) if wanted is None else wanted.part(fleet_id, table)
        return self._home.lake.read(table, part, columns=columns)

    def _groups_of(self, step: dg.StepExecutionContext, fleet_id: str, kind: type[Grouped]) -> Groups:
        """The groups of batteries, or days, for which a step is made one after the other."""
        known = self._groups.get(step.step.key)
        if known is None:
            known = self._groups[step.step.key] = Groups.of(
                self._home.lake,
                self._recent,
                fleet_id,
                self._increment(step, fleet_id),
                self._home.settings.fleet_rows_at_once,
                _reads(step),
                kind,
            )
        return known

    def _increment(self, step: dg.StepExecutionContext, fleet_id: str) -> Increment | None:
        """What a step has to make again; none if it makes everything each time."""
        text = step.op.tags.get(REACH)
        if text is None:
            return None
        known = self._increments.get(step.step.key)
        if known is None:
            makes = [key.path[-1] for key in _asset(step).keys]
            known = self._increments[step.step.key] = increment(
                self._home.lake,
                fleet_id,
                _reads(step),
                [catalog.TABLES[name] for name in sorted(makes)],
                Reach.of_text(text),
                self._notes_of(fleet_id),
                made_by=CODE_VERSION,
                whole=step.run_tags.get(WHOLE) == "true",
            )
        return known

    def handle_output(self, context: dg.OutputContext, obj: Mapped | Aside | Pieces | pl.DataFrame) -> None:
        """Replace the slice of the run's partitions; a fleet's tables only where rows changed."""
        table = catalog.TABLES[context.asset_key.path[-1]]
        part = slice_of(list(context.asset_partition_keys))
        if isinstance(obj, Pieces) and not table.by_day:
            obj = obj.whole()
        written = self._written(context, table, part, obj)
        _LOG.debug("%s: %s is version %d", table.name, part, written.version)
        context.add_output_metadata(
            {"slice": str(part), "version": written.version, "dagster/uri": self._home.lake.address(table)}
        )
        if table.per == "fleet":
            context.add_output_metadata(self._of_fleet(table, part, obj))
        else:
            self._tell_of_days(context, table, part, obj)

    def _of_fleet(self, table: Table, part: Slice, obj: object) -> dict[str, Any]:
        """What is to be seen of a fleet's table: how many rows, a picture, the worst batteries."""
        home = self._home
        return {
            "dagster/row_count": home.lake.count(table, part),
            **picture(table, home.lake, part),
            **glances.of_fleet(table, obj, part, home.settings),
        }

    def _tell_of_days(self, context: dg.OutputContext, table: Table, part: Slice, obj: object) -> None:
        """Tell of each day how many rows it has and how much came; a picture of the newest that has any."""
        counts, told = self._home.lake.rows_by_day(table, part), glances.of_days(table, obj)
        newest = max((day for day, rows in counts.items() if rows), default=None)
        for key in context.asset_partition_keys:
            day = day_of(key)
            seen: dict[str, Any] = {"dagster/row_count": counts.get(day, 0), **told.get(day, {})}
            if day == newest:
                seen |= picture(table, self._home.lake, part)
            context.step_context.add_asset_metadata(seen, context.asset_key, key)

    def _written(
        self, context: dg.OutputContext, table: Table, part: Slice, obj: Mapped | Aside | Pieces | pl.DataFrame
    ) -> Written:
        lake = self._home.lake
        if isinstance(obj, pl.DataFrame) and table.per == "fleet":
            obj = Pieces.of(obj)
        if isinstance(obj, Pieces):
            rows, wanted = self._signed(context, table, part, obj), self._increment(context.step_context, part.fleet_id)
            if wanted is None:
                return replace_changed(lake, table, rows, part)
            return wanted.bring(lake, part.fleet_id, table, rows, self._notes_of(part.fleet_id))
        if table.per == "fleet":
            raise TypeError(f"{table.name} is written whole, as a frame, got {type(obj).__name__}")
        written = lake.replace(table, obj, part)
        source = _MADE_FROM.get(table.name)
        if source is not None and part.window is not None:
            made = self._read_from.pop((source, part))
            self._home.ledger.record(
                part.fleet_id,
                table.name,
                {day: made.get(day, "") for day in part.window},
                run_id=context.run_id,
            )
        return written

    def _signed(self, context: dg.OutputContext, table: Table, part: Slice, rows: Pieces) -> Pieces:
        if table.layer != "gold":
            return rows
        signature = {
            "run_id": pl.lit(context.run_id),
            "code_version": pl.lit(CODE_VERSION),
            "register_version": pl.lit(self._home.fleet(part.fleet_id).register_version),
        }
        return rows.map(lambda frame: frame.with_columns(**signature))


def _asset(step: dg.StepExecutionContext) -> dg.AssetsDefinition:
    if step.assets_def is None:
        raise TypeError(f"step {step.step.key} makes no asset")
    return step.assets_def


def _reads(step: dg.StepExecutionContext) -> list[Table]:
    """The tables that a step reads, in order of their names."""
    names = sorted(key.path[-1] for key in _asset(step).keys_by_input_name.values())
    return [catalog.TABLES[name] for name in names if name in catalog.TABLES]


def lake_io(home: Home) -> dg.IOManagerDefinition:
    """The reader and writer of the lake, a new one for each run, closed at its end."""

    def of_run(_: dg.InitResourceContext) -> Iterator[LakeIOManager]:
        with closing(LakeIOManager(home)) as manager:
            yield manager

    # A generator, as resources may be: what comes after its yield is done when the run ends.
    return dg.IOManagerDefinition(of_run, description="Slices of the lake's Delta tables.")  # type: ignore[arg-type]
