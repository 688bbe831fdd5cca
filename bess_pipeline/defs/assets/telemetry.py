"""Telemetry: raw as received, clean with flags, condensed to 5 minutes; each day on its own."""

from collections.abc import Iterator

import dagster as dg
import polars as pl

from bess_pipeline.analytics import capacity_marks, cells, intervals, telemetry
from bess_pipeline.defs import checks
from bess_pipeline.defs.arrivals import Arrivals
from bess_pipeline.defs.batches import Aside, Batches, Mapped, ahead
from bess_pipeline.defs.house import outs, spec
from bess_pipeline.defs.partitions import slice_of
from bess_pipeline.defs.resources import Home
from bess_pipeline.tables import catalog

RAW, QUARANTINE, ACCOUNTS = (
    catalog.RAW_TELEMETRY.name,
    catalog.QUARANTINE.name,
    catalog.ROW_ACCOUNTS.name,
)
INTERVALS, CELLS, CAPACITY, EVIDENCE = (
    catalog.INTERVALS_5MIN.name,
    catalog.CELL_EVIDENCE.name,
    catalog.CAPACITY_EVIDENCE.name,
    catalog.DAY_EVIDENCE.name,
)

#: What the step that reads files gives: tables, and what is to be said of each day.
Made = dg.Output[Aside] | dg.Output[pl.DataFrame] | dg.Output[None] | dg.AssetCheckEvaluation


@dg.multi_asset(
    name="received",
    deps=[catalog.LANDING_DAYS.name, catalog.LANDING_FILES.name],
    check_specs=[checks.ROWS],
    **outs(catalog.RAW_TELEMETRY, catalog.QUARANTINE, catalog.ROW_ACCOUNTS),
)
def received(context: dg.AssetExecutionContext, home: dg.ResourceParam[Home]) -> Iterator[Made]:
    """Read the files that hold these days: each row becomes a sample, a duplicate, or a case for the quarantine."""
    arrivals = Arrivals.of(home, slice_of(list(context.partition_keys)))
    rows = Aside(arrivals.__iter__, main=RAW)
    yield dg.Output(rows, RAW)
    yield dg.Output(rows.kept(QUARANTINE), QUARANTINE)
    yield dg.Output(rows.kept(ACCOUNTS), ACCOUNTS)
    arrivals.record(context.run.run_id, rows.kept(ACCOUNTS))
    yield from checks.of_days(context, home, arrivals.part, rows.kept(ACCOUNTS))


@dg.asset(**spec(catalog.CLEAN_TELEMETRY))
def clean_telemetry(raw_telemetry: Batches, home: dg.ResourceParam[Home]) -> Mapped:
    batteries = home.batteries(raw_telemetry.part.fleet_id)
    return raw_telemetry.map(lambda raw: telemetry.clean(telemetry.accepted(raw), batteries))


@dg.multi_asset(
    name="condensed",
    **outs(catalog.INTERVALS_5MIN, catalog.CELL_EVIDENCE, catalog.CAPACITY_EVIDENCE, catalog.DAY_EVIDENCE),
)
def condensed(
    clean_telemetry: Batches, home: dg.ResourceParam[Home]
) -> Iterator[dg.Output[Aside] | dg.Output[pl.DataFrame]]:
    """Condense samples to 5 minutes, and keep of each day what the fleet level needs beyond that."""
    batteries = home.batteries(clean_telemetry.part.fleet_id)
    rows = Aside(lambda: ahead(clean_telemetry, lambda samples: _condensed(samples, batteries)), main=INTERVALS)
    yield dg.Output(rows, INTERVALS)
    yield dg.Output(rows.kept(CELLS), CELLS)
    yield dg.Output(rows.kept(CAPACITY), CAPACITY)
    yield dg.Output(rows.kept(EVIDENCE), EVIDENCE)


def _condensed(samples: pl.DataFrame, batteries: pl.DataFrame) -> dict[str, pl.DataFrame]:
    made = intervals.condensed(samples, batteries)
    return {
        INTERVALS: made.intervals,
        CELLS: cells.cell_evidence(samples, batteries),
        CAPACITY: capacity_marks.capacity_evidence(samples, batteries),
        EVIDENCE: made.evidence,
    }
