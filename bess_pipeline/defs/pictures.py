"""Small plots for the metadata of a materialization, where a picture says more than a count."""

import base64
import io
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import dagster as dg
import polars as pl

from bess_pipeline.lake.slices import Slice
from bess_pipeline.lake.store import Lake
from bess_pipeline.sources.opening import printable
from bess_pipeline.tables import catalog
from bess_pipeline.tables.catalog import Table
from bess_pipeline.window import Window

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Plot:
    """Which columns of a table are drawn, one line per battery.

    Attributes:
        x: Column across.
        y: Column upwards.
        label: What it is, with its unit.
        scale: Factor of what is drawn.
        band: Columns of the interval around each line.
        largest: Whether rows are many for an ``x``, of which the largest counts.
        days: Newest days that are drawn of a table of a fleet; all of them if absent.
    """

    x: str
    y: str
    label: str
    scale: float = 1.0
    band: tuple[str, str] | None = None
    largest: bool = False
    days: int | None = None


#: The plot of each table that has one. Tables of days show the newest of the slice.
PLOTS = {
    catalog.INTERVALS_5MIN.name: Plot("timestamp", "power_watt", "Power [kW], positive charges", 1e-3),
    catalog.TELEMETRY_5MIN.name: Plot("timestamp", "soc_percent", "State of charge [%], last 7 days", days=7),
    catalog.STATE_OF_HEALTH.name: Plot(
        "date", "soh_percent", "State of health [%], 90 % interval", band=("soh_lower_percent", "soh_upper_percent")
    ),
    catalog.DEGRADATION.name: Plot(
        "as_of",
        "degradation_percent_per_year",
        "Loss [% a year], 90 % interval",
        band=("degradation_lower_percent_per_year", "degradation_upper_percent_per_year"),
    ),
    catalog.BATTERY_DAILY.name: Plot("date", "equivalent_full_cycles", "Equivalent full cycles a day"),
    catalog.ANOMALY_SCORES.name: Plot("date", "score", "Largest score, last 90 days", largest=True, days=90),
    catalog.FAILURE_RISK.name: Plot("date", "surprise", "Surprise, last 90 days", days=90),
    catalog.DATA_QUALITY_DAILY.name: Plot("date", "rows_accepted", "Rows accepted a day"),
    catalog.ARRIVALS_DAILY.name: Plot("date", "last_delay_hours", "From the end of the day to its last rows [h]"),
}

_LINES = 20
#: Colours that are enough for a line drawing: with as few, it is a third as large.
_COLOURS = 48
_DPI = 90


def picture(table: Table, lake: Lake, part: Slice) -> dict[str, dg.MetadataValue]:
    """A plot of the slice just written, as metadata; nothing for tables without one, or without rows."""
    if table.name == catalog.ANOMALY_EVENTS.name:
        return _shown("Events raised", _events(lake.scan(table, part)))
    plot = PLOTS.get(table.name)
    return {} if plot is None else _shown(plot.label, _lines(_rows(table, plot, lake, part), plot))


def _shown(label: str, figure: "Figure | None") -> dict[str, dg.MetadataValue]:
    if figure is None:
        return {}
    encoded = base64.b64encode(_png(figure)).decode()
    return {"plot": dg.MetadataValue.md(f"![{label}](data:image/png;base64,{encoded})")}


def _rows(table: Table, plot: Plot, lake: Lake, part: Slice) -> pl.DataFrame:
    by = [name for name in ("battery_id",) if name in table.columns]
    shown = part
    if table.by_day:
        days = lake.rows_by_day(table, part)
        if not days:
            return pl.DataFrame()
        shown = Slice(part.fleet_id, Window.hull(sorted(days)[-(plot.days or 1) :]))

    def drawn(rows: pl.LazyFrame) -> pl.LazyFrame:
        if plot.days is not None and not table.by_day:
            rows = rows.filter(pl.col(plot.x) > pl.col(plot.x).max() - pl.duration(days=plot.days))
        if plot.largest:
            rows = rows.group_by(*by, plot.x).agg(pl.col(plot.y).max())
        return rows.select(*by, plot.x, plot.y, *(plot.band or ())).drop_nulls(plot.y).sort(*by, plot.x)

    return lake.ask(table, shown, drawn)


def _lines(rows: pl.DataFrame, plot: Plot) -> "Figure | None":
    if rows.is_empty():
        return None
    figure = _empty()
    groups = rows.partition_by("battery_id", maintain_order=True) if "battery_id" in rows.columns else [rows]
    axes = _axes(figure, left=0.1, right=0.78 if len(groups) > 1 else 0.98)
    for group in groups[:_LINES]:
        name = printable(group["battery_id"][0], longest=24) if "battery_id" in group.columns else None
        across = group[plot.x].to_numpy()
        (line,) = axes.plot(across, group[plot.y].to_numpy() * plot.scale, linewidth=0.8, label=name)
        if group.height == 1:
            line.set_marker(".")
        if plot.band is not None:
            low, high = (group[end].to_numpy() * plot.scale for end in plot.band)
            axes.fill_between(across, low, high, color=line.get_color(), alpha=0.15, linewidth=0)
    _date(axes)
    axes.set_ylabel(plot.label, fontsize=7)
    axes.tick_params(labelsize=7)
    axes.grid(alpha=0.3)
    if len(groups) > 1:
        axes.legend(fontsize=5.5, labelspacing=0.15, loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    return figure


def _events(scanned: pl.LazyFrame) -> "Figure | None":
    """When which battery was unusual: a bar for each event, up to its end or to the newest detection."""
    columns = ("battery_id", "severity", "started_at", "ended_at", "detected_at")
    rows = scanned.filter(pl.col("severity") != "info").select(columns).sort("battery_id", "started_at").collect()
    if rows.is_empty():
        return None
    newest, names = rows["detected_at"].max(), rows["battery_id"].unique(maintain_order=True).to_list()[:_LINES]
    figure = _empty()
    axes = _axes(figure, left=0.22, right=0.98)
    for battery, severity, begun, ended, detected in rows.iter_rows():
        if battery in names:
            until, place = max(ended or newest, detected), names.index(battery)
            axes.plot([begun, until], [place, place], color=_SEVERITIES[severity], linewidth=3, solid_capstyle="butt")
            axes.plot([detected], [place], color="black", marker="|", markersize=6)
    _date(axes)
    axes.set_yticks(range(len(names)), [printable(name, longest=24) for name in names], fontsize=6)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.tick_params(axis="x", labelsize=7)
    axes.grid(alpha=0.3, axis="x")
    return figure


_SEVERITIES = {"warning": "tab:orange", "critical": "tab:red"}


def _date(axes: "Axes") -> None:
    """As few dates across as there is room for."""
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    locator = AutoDateLocator(maxticks=8)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    axes.xaxis.get_offset_text().set_fontsize(7)


def _empty() -> "Figure":
    from matplotlib.figure import Figure

    return Figure(figsize=(6.4, 2.4), dpi=_DPI)


def _axes(figure: "Figure", *, left: float, right: float) -> "Axes":
    """Axes with room for what stands beside them: to find out how much would be to draw everything twice."""
    return figure.add_axes((left, 0.18, right - left, 0.76))


def _png(figure: "Figure") -> bytes:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

    canvas = FigureCanvasAgg(figure)
    with warnings.catch_warnings():  # of a letter that the font lacks, and of names that leave no room for lines
        warnings.simplefilter("ignore", UserWarning)
        canvas.draw()
    drawn = Image.frombuffer("RGBA", canvas.get_width_height(), canvas.buffer_rgba()).convert("RGB")
    image = io.BytesIO()
    drawn.quantize(_COLOURS, method=Image.Quantize.FASTOCTREE).save(image, format="png")
    return image.getvalue()
