"""How assets read and write the lake: whole slices, and nothing of it in the assets."""

from datetime import date

import dagster as dg
import polars as pl

from bess_pipeline.defs.batches import Aside, Batches
from bess_pipeline.defs.house import CODE_VERSION
from bess_pipeline.defs.partitions import day_of, slice_of
from bess_pipeline.defs.pictures import picture
from bess_pipeline.defs.resources import Home
from bess_pipeline.lake.store import Slice, Written
from bess_pipeline.tables import catalog
from bess_pipeline.tables.catalog import Table

#: The step of a day after which the next can say what it was made from.
_MADE_FROM = {catalog.CLEAN_TELEMETRY.name: catalog.RAW_TELEMETRY.name}
_MADE_FROM[catalog.DAY_EVIDENCE.name] = catalog.CLEAN_TELEMETRY.name


class LakeIOManager(dg.IOManager):
    """Hands slices of the lake to assets and replaces slices by what they return."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._read_from: dict[tuple[str, Slice], dict[date, str]] = {}

    def load_input(self, context: dg.InputContext) -> Batches | pl.DataFrame:
        """A fleet's rows for an asset of the fleet; days in batches for an asset of days."""
        table = catalog.TABLES[context.asset_key.path[-1]]
        if context.has_partition_key and not isinstance(context.partition_key, dg.MultiPartitionKey):
            return self._home.lake.read(table, Slice(context.partition_key))
        part = slice_of(list(context.asset_partition_keys))
        self._read_from[table.name, part] = self._home.ledger.signatures(part.fleet_id, table.name)
        return Batches.of(self._home.lake, table, part, budget=self._home.rows_per_batch(part.fleet_id))

    def handle_output(self, context: dg.OutputContext, obj: Batches | Aside | pl.DataFrame) -> None:
        """Replace the slice of the run's partitions; a fleet's tables only where rows changed."""
        table = catalog.TABLES[context.asset_key.path[-1]]
        part = slice_of(list(context.asset_partition_keys))
        written = self._written(context, table, part, obj)
        self._count(context, table, part, written)
        context.add_output_metadata(
            {
                "slice": str(part),
                "version": written.version,
                "dagster/uri": self._home.lake.address(table),
                **picture(table, self._home.lake, part),
            }
        )

    def _count(self, context: dg.OutputContext, table: Table, part: Slice, written: Written) -> None:
        """Tell how many rows there are, of each partition its own."""
        if table.per == "fleet":
            context.add_output_metadata({"dagster/row_count": written.rows})
            return
        days = self._home.lake.rows_by_day(table, part)
        for key in context.asset_partition_keys:
            rows = days.get(day_of(key), 0)
            context.step_context.add_asset_metadata({"dagster/row_count": rows}, context.asset_key, key)

    def _written(
        self, context: dg.OutputContext, table: Table, part: Slice, obj: Batches | Aside | pl.DataFrame
    ) -> Written:
        lake = self._home.lake
        if table.per == "fleet":
            if not isinstance(obj, pl.DataFrame):
                raise TypeError(f"{table.name} is written whole, as a frame, got {type(obj).__name__}")
            return lake.replace_changed(table, self._signed(context, table, part, obj), part)
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

    def _signed(self, context: dg.OutputContext, table: Table, part: Slice, frame: pl.DataFrame) -> pl.DataFrame:
        if table.layer != "gold":
            return frame
        return frame.with_columns(
            run_id=pl.lit(context.run_id),
            code_version=pl.lit(CODE_VERSION),
            register_version=pl.lit(self._home.fleet(part.fleet_id).register_version),
        )
