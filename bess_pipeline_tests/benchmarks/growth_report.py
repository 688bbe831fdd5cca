"""What was measured of growth, as tables and as a picture."""

from __future__ import annotations

import io
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter
from rich.box import SIMPLE_HEAD
from rich.table import Table as Grid

from bess_pipeline_tests.benchmarks.growth_fit import Exponent, Sum, exponent, largest_decade, summed

ALL = "everything"
#: Grey and colours that can be read on white as on black.
_INK = "#7d8590"
_COLOURS = ("#d1733c", "#3d8fd6", "#2f9e63", "#b0831a", "#c45ab3", "#7a74e0", "#d65565", "#2a9d9d", "#8a8f2f")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">")


@dataclass(frozen=True)
class Cell:
    """What so many batteries over so many days took: medians of its measurements.

    Attributes:
        batteries: Batteries.
        days: Days, which are fleet-days: it is one fleet.
        rows: Raw rows.
        seconds: Stage → wall time [s], `ALL` among them.
        processors: Time of processors [s].
        peak_mib: Most memory [MiB].
        lake_bytes: All files of the lake [B].
        night: Wall time of one more day [s], where it was measured.
        times: How often it was measured.
    """

    batteries: int
    days: int
    rows: int
    seconds: dict[str, float]
    processors: float
    peak_mib: float
    lake_bytes: float
    night: float | None
    times: int


#: What of a cell is looked at.
Cost = Callable[[Cell], float]


def cells_of(lines: Iterable[dict[str, Any]]) -> list[Cell]:
    """Cells by rows, of lines of results."""
    groups: dict[tuple[int, int], list[dict[str, Any]]] = {}
    for line in lines:
        groups.setdefault((line["batteries"], line["days"]), []).append(line)
    return sorted(map(_cell, groups.values()), key=lambda cell: (cell.rows, cell.days))


def _cell(lines: Sequence[dict[str, Any]]) -> Cell:
    def median(of: Callable[[dict[str, Any]], float]) -> float:
        return statistics.median(map(of, lines))

    first = lines[0]
    nights = [line["night"]["wall_seconds"] for line in lines if "night" in line]
    return Cell(
        first["batteries"],
        first["days"],
        first["rows"],
        {ALL: median(lambda line: line["wall_seconds"])}
        | {
            stage: statistics.median(line["stage_seconds"][stage] for line in lines) for stage in first["stage_seconds"]
        },
        median(lambda line: line["processor_seconds"]),
        median(lambda line: line["peak_mib"]),
        median(lambda line: line["lake_bytes"]),
        statistics.median(nights) if nights else None,
        len(lines),
    )


def of_stage(what: str) -> Cost:
    """What a cell took of a stage, or of `ALL`."""
    return lambda cell: cell.seconds[what]


def fitted(cells: Sequence[Cell], cost: Cost) -> Sum | None:
    """Seconds as a sum; none where too few cells are there."""
    if len(cells) < 3:
        return None
    return summed([cell.rows for cell in cells], [cell.days for cell in cells], [cost(cell) for cell in cells])


def grown(cells: Sequence[Cell], cost: Cost) -> Exponent | None:
    """The exponent of a cost over rows; none where cells do not differ in rows."""
    rows = [float(cell.rows) for cell in cells]
    return exponent(rows, [cost(cell) for cell in cells]) if len(set(rows)) > 1 else None


def grids(lines: Iterable[dict[str, Any]]) -> list[Grid]:
    """A row per cell, and a row per kind of cost."""
    cells = cells_of(lines)
    return [_by_cell(cells), _by_cost(cells)] if cells else []


def _by_cell(cells: Sequence[Cell]) -> Grid:
    grid = _grid("cell", "raw rows", "s", "of sum", "of CPUs", "µs/row", "MiB", "lake MB", "night")
    grid.title = "From files to the published warehouse"
    grid.caption = (
        f"cell: batteries x days, medians of {min(cell.times for cell in cells)} or more; of sum: over what the sum "
        "below says; of CPUs: s of processors; MiB: most memory; night: s for one more day"
    )
    whole = fitted(cells, of_stage(ALL))
    for place, cell in enumerate(cells):
        took = cell.seconds[ALL]
        a_row = took / cell.rows * 1e6
        grid.add_row(
            f"{cell.batteries}x{cell.days}", f"{cell.rows:,}", f"{took:.1f}",
            "–" if whole is None else f"{whole.residuals[place]:+.0%}", f"{cell.processors:.1f}",
            f"{a_row:,.0f}" if a_row >= 100 else f"{a_row:.1f}", f"{cell.peak_mib:,.0f}",
            f"{cell.lake_bytes / 1e6:,.1f}", "–" if cell.night is None else f"{cell.night:.1f}",
        )  # fmt: skip
    return grid


def _by_cost(cells: Sequence[Cell]) -> Grid:
    grid = _grid("cost", "exponent", "large cells", "s", "s/M", "ms/day", "off by", "share")
    grid.title = "Growth over rows"
    grid.caption = (
        "exponent of rows ± standard error, of all cells and of the largest decade; seconds as a sum of what starting, "
        "a million rows and a fleet-day cost, and the most that it is off by; share of the largest cell"
    )
    large = [cells[place] for place in largest_decade([cell.rows for cell in cells])]
    for what in cells[-1].seconds:
        share = cells[-1].seconds[what] / cells[-1].seconds[ALL]
        parts = fitted(cells, of_stage(what))
        grid.add_row(*_cost_row(short(what), cells, large, of_stage(what), parts), f"{share:.0%}")
    of_processors = fitted(cells, lambda cell: cell.processors)
    grid.add_row(*_cost_row("s of CPUs", cells, large, lambda cell: cell.processors, of_processors), "")
    grid.add_row(*_cost_row("most memory", cells, large, lambda cell: cell.peak_mib, None), "")
    grid.add_row(*_cost_row("lake, bytes", cells, large, lambda cell: cell.lake_bytes, None), "")
    return grid


def _cost_row(name: str, cells: Sequence[Cell], large: Sequence[Cell], cost: Cost, parts: Sum | None) -> list[str]:
    exponents = ("–" if found is None else str(found) for found in (grown(cells, cost), grown(large, cost)))
    said = ["–"] * 4
    if parts is not None:
        said = [
            f"{parts.start:.2f}", f"{parts.per_million_rows:.2f}", f"{1e3 * parts.per_partition:.1f}",
            f"{parts.worst:+.0%}",
        ]  # fmt: skip
    return [name, *exponents, *said]


def _grid(first: str, *others: str) -> Grid:
    """Narrow enough for a terminal of eighty characters."""
    grid = Grid(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    grid.add_column(first, no_wrap=True)
    for head in others:
        grid.add_column(head, justify="right", no_wrap=True)
    return grid


def short(stage: str) -> str:
    """The name of a stage without what it does."""
    return stage.partition(":")[0].removesuffix(" and evidence")


def drawn(lines: Iterable[dict[str, Any]], path: Path) -> None:
    """Draw seconds of everything, seconds of stages, and memory over rows, as SVG without a ground of its own."""
    cells = cells_of(lines)
    style: dict[Any, Any] = {
        "svg.fonttype": "none", "svg.hashsalt": "growth", "font.family": "sans-serif", "font.size": 9,
        "text.color": _INK, "axes.edgecolor": _INK, "axes.labelcolor": _INK, "xtick.color": _INK, "ytick.color": _INK,
        "axes.titlesize": 10, "axes.spines.top": False, "axes.spines.right": False,
    }  # fmt: skip
    with mpl.rc_context(style):
        figure = Figure(figsize=(12, 6), layout="constrained")
        FigureCanvasSVG(figure)
        whole, stages, memory = figure.subplots(1, 3)
        _whole(whole, cells)
        _stages(stages, cells)
        _memory(memory, cells)
        for axes in (whole, stages, memory):
            axes.set_xscale("log")
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter("{x:,g}")
            axes.yaxis.set_minor_formatter(LogFormatter(labelOnlyBase=False))
            axes.set_xlabel("raw rows")
            axes.grid(color=_INK, alpha=0.25, linewidth=0.5)
            axes.legend(frameon=False, fontsize=8, ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.12))
        path.parent.mkdir(parents=True, exist_ok=True)
        text = io.StringIO()
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    path.write_text("".join(f"{line.rstrip()}\n" for line in text.getvalue().splitlines()))


def _by_days(cells: Sequence[Cell]) -> dict[int, list[Cell]]:
    """Number of days → its cells, by rows."""
    return {days: [cell for cell in cells if cell.days == days] for days in sorted({cell.days for cell in cells})}


def _whole(axes: Axes, cells: Sequence[Cell]) -> None:
    """Seconds, a line per number of days, beside what the sum says."""
    axes.set_title("Everything")
    axes.set_ylabel("wall time [s]")
    parts = fitted(cells, of_stage(ALL))
    for place, (days, some) in enumerate(_by_days(cells).items()):
        rows = [cell.rows for cell in some]
        colour, label = _COLOURS[place % len(_COLOURS)], f"{days} day{'s' if days > 1 else ''}"
        marker = _MARKERS[place % len(_MARKERS)]
        axes.plot(rows, [cell.seconds[ALL] for cell in some], color=colour, marker=marker, label=label)
        if parts is not None:
            between = np.geomspace(rows[0], rows[-1], 50)
            axes.plot(between, [parts.seconds(number, days) for number in between], color=colour, linestyle=":")
    if parts is not None:
        axes.plot([], [], color=_INK, linestyle=":", label="start + rows + fleet-days")
    last, least = cells[-1], min(cell.seconds[ALL] for cell in cells)
    first = last.rows * least / last.seconds[ALL]
    axes.plot([first, last.rows], [least, last.seconds[ALL]], color=_INK, linewidth=0.8, label="as rows grow")


def _stages(axes: Axes, cells: Sequence[Cell]) -> None:
    """Seconds of each stage: a point per cell, joined where days are as many, and the exponent of large cells."""
    axes.set_title("Stages; exponent of the largest decade")
    axes.set_ylabel("wall time [s]")
    large = [cells[place] for place in largest_decade([cell.rows for cell in cells])]
    for place, stage in enumerate(stage for stage in cells[-1].seconds if stage != ALL):
        found = grown(large, of_stage(stage))
        label = short(stage) + ("" if found is None else f", {found.value:.2f}")
        colour, marker = _COLOURS[place % len(_COLOURS)], _MARKERS[place % len(_MARKERS)]
        for some in _by_days(cells).values():
            points = [cell.rows for cell in some], [cell.seconds[stage] for cell in some]
            axes.plot(*points, color=colour, linewidth=0.5, alpha=0.5)
            axes.plot(*points, color=colour, marker=marker, markersize=5, linestyle="none", label=label)
            label = ""


def _memory(axes: Axes, cells: Sequence[Cell]) -> None:
    """Most memory, and bytes of the lake."""
    axes.set_title("Memory and storage")
    axes.set_ylabel("peak memory, size of all files [MiB]")
    rows = [cell.rows for cell in cells]
    axes.plot(rows, [cell.peak_mib for cell in cells], "o", color=_COLOURS[1], label="peak memory")
    axes.plot(rows, [cell.lake_bytes / 2**20 for cell in cells], "s", color=_COLOURS[0], label="lake")
