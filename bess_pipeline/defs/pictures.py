"""Small plots for the metadata of a materialization, where a picture says more than a count."""

import base64
import io
import warnings
from dataclasses import dataclass

import dagster as dg
import polars as pl

from bess_pipeline.lake.slices import Slice
from bess_pipeline.lake.store import Lake
from bess_pipeline.sources.opening import printable
from bess_pipeline.tables import catalog
from bess_pipeline.tables.catalog import Table
from bess_pipeline.window import Window


@dataclass(frozen=True)
class Plot:
    """Which columns of a table are drawn, one line per battery."""

    x: str
    y: str
    label: str
    scale: float = 1.0


#: The plot of each table that has one. Tables of days show the last day of the slice.
PLOTS = {
    catalog.INTERVALS_5MIN.name: Plot("timestamp", "power_watt", "Power [kW], positive charges", 1e-3),
    catalog.TELEMETRY_5MIN.name: Plot("timestamp", "soc_percent", "State of charge [%], last 7 days"),
    catalog.STATE_OF_HEALTH.name: Plot("date", "soh_percent", "State of health [%]"),
    catalog.BATTERY_DAILY.name: Plot("date", "equivalent_full_cycles", "Equivalent full cycles a day"),
    catalog.DATA_QUALITY_DAILY.name: Plot("date", "rows_accepted", "Rows accepted a day"),
}

_LINES = 20


def picture(table: Table, lake: Lake, part: Slice) -> dict[str, dg.MetadataValue]:
    """A plot of the slice just written, as metadata; nothing for tables without one, or without rows."""
    plot = PLOTS.get(table.name)
    if plot is None:
        return {}
    rows = _rows(table, plot, lake, part)
    if rows.is_empty():
        return {}
    encoded = base64.b64encode(_png(rows, plot)).decode()
    return {"plot": dg.MetadataValue.md(f"![{plot.label}](data:image/png;base64,{encoded})")}


def _rows(table: Table, plot: Plot, lake: Lake, part: Slice) -> pl.DataFrame:
    scanned = lake.scan(table, part)
    if table.by_day:
        days = lake.rows_by_day(table, part)
        if not days:
            return pl.DataFrame()
        first = 6 if table.per == "fleet" else 0
        shown = sorted(days)[-1 - first :]
        scanned = lake.scan(table, Slice(part.fleet_id, Window.hull(shown)))
    by = [name for name in ("battery_id",) if name in table.columns]
    return scanned.select(*by, plot.x, plot.y).drop_nulls().sort(*by, plot.x).collect()


def _png(rows: pl.DataFrame, plot: Plot) -> bytes:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 2.4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    groups = rows.partition_by("battery_id", maintain_order=True) if "battery_id" in rows.columns else [rows]
    for group in groups[:_LINES]:
        name = printable(group["battery_id"][0], longest=24) if "battery_id" in group.columns else None
        axes.plot(group[plot.x].to_numpy(), group[plot.y].to_numpy() * plot.scale, linewidth=0.8, label=name)
    axes.set_ylabel(plot.label, fontsize=7)
    axes.tick_params(labelsize=7)
    axes.grid(alpha=0.3)
    if len(groups) > 1:
        axes.legend(fontsize=6, loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    image = io.BytesIO()
    with warnings.catch_warnings():  # of a letter that the font lacks, and of names that leave no room for lines
        warnings.simplefilter("ignore", UserWarning)
        figure.savefig(image, format="png", dpi=90)
    return image.getvalue()
