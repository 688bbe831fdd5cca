"""The landing zone by content, and the fleet as its register says."""

from collections.abc import Iterator

import dagster as dg
import polars as pl

from bess_pipeline.defs.arrivals import reindex, remarks
from bess_pipeline.defs.house import outs
from bess_pipeline.defs.resources import Home
from bess_pipeline.tables import catalog

_INDEX = (catalog.LANDING_RUNS, catalog.CLOCK_REPAIRS, catalog.LANDING_DAYS, catalog.LANDING_FILES)


@dg.multi_asset(name="landing_index", **outs(*_INDEX))
def landing_index(context: dg.AssetExecutionContext, home: dg.ResourceParam[Home]) -> Iterator[dg.Output[pl.DataFrame]]:
    """Look at a fleet's landing folder: which file holds which days, whose clock was astray, what has no time."""
    index = reindex(home, context.partition_key)
    yield dg.Output(index.runs, catalog.LANDING_RUNS.name)
    yield dg.Output(index.repairs, catalog.CLOCK_REPAIRS.name)
    yield dg.Output(index.days, catalog.LANDING_DAYS.name)
    yield dg.Output(index.files, catalog.LANDING_FILES.name, metadata=remarks(home.fleet(context.partition_key), index))


@dg.multi_asset(name="nameplates", deps=[table.name for table in _INDEX], **outs(catalog.BATTERIES, catalog.OCV_CURVES))
def nameplates(context: dg.AssetExecutionContext, home: dg.ResourceParam[Home]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The batteries of a fleet as its register says, and their open-circuit voltage curves."""
    return home.batteries(context.partition_key), home.ocv_curves(context.partition_key)
