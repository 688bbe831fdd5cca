"""What the charts of the pages show, as figures of Plotly without colours: those are the style sheet's.

A trace has a `role`, by which the browser colours it, light or dark: own, other, forecast, limit, good, bad.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import polars as pl

Trace = dict[str, Any]


@dataclass(frozen=True)
class Chart:
    """One chart.

    Attributes:
        name: What it shows; the name by which it is known to those who do not see it.
        about: What it says in a sentence.
        traces: What is drawn.
        layout: Axes, and what else Plotly takes.
        source: Address of the rows that it is drawn of.
        height: Its height [px].
    """

    name: str
    about: str
    traces: Sequence[Trace]
    layout: Mapping[str, Any] = field(default_factory=dict)
    source: str | None = None
    height: int = 320

    @property
    def figure(self) -> dict[str, Any]:
        """What the browser draws."""
        return {"data": list(self.traces), "layout": dict(self.layout)}

    @property
    def is_empty(self) -> bool:
        """Whether nothing is known of what it would show."""
        return not any(value is not None for trace in self.traces for value in trace["y"])


def _values(column: pl.Series) -> list[Any]:
    """A column as a trace holds it; what is no finite number is not drawn."""
    if column.dtype.is_float():
        column = column.set(~column.is_finite(), None).round(4)
    return column.to_list()


def line(rows: pl.DataFrame, x: str, y: str, name: str, role: str = "own", **more: object) -> Trace:
    """A line; where values are not known it is broken."""
    return {
        "type": "scatter", "mode": "lines", "name": name, "role": role, "connectgaps": False,
        "x": _values(rows[x]), "y": _values(rows[y]), **more,
    }  # fmt: skip


def band(rows: pl.DataFrame, x: str, lower: str, upper: str, name: str, role: str = "own") -> list[Trace]:
    """What lies between two lines."""
    edge = {"line": {"width": 0}, "hoverinfo": "skip"}
    return [
        {**line(rows, x, lower, name, role), **edge, "showlegend": False},
        {**line(rows, x, upper, name, role), **edge, "fill": "tonexty", "is_band": True},
    ]


def level(value: float, name: str) -> dict[str, Any]:
    """A line across the chart, with its name."""
    return {
        "shapes": [{"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": value, "y1": value, "role": "limit"}],
        "annotations": [
            {
                "xref": "paper",
                "x": 1,
                "xanchor": "right",
                "y": value,
                "yanchor": "bottom",
                "text": name,
                "showarrow": False,
            }
        ],
    }


def upright(at: datetime, role: str) -> dict[str, Any]:
    """An upright line at an instant."""
    return {"type": "line", "x0": at, "x1": at, "yref": "paper", "y0": 0, "y1": 1, "role": role}


def axis(title: str, **more: object) -> dict[str, Any]:
    """An axis with its unit."""
    return {"title": {"text": title}, **more}


def spark(
    values: Sequence[float | None], low: float, high: float, width: float = 96, height: float = 24, *, places: int = 26
) -> str:
    """The points of a small line, from left to right, its end at the right; empty where fewer than two are known.

    Args:
        values: What is drawn.
        low: What lies at the bottom: small lines beside each other have one scale.
        high: What lies at the top.
        width: Width [px].
        height: Height [px].
        places: Values for which there is room; where there are fewer the line begins later.

    Examples:
        >>> spark([100.0, None, 98.0], 98, 100, 10, 4, places=3)
        '0.0,1.0 10.0,3.0'
    """
    known = [(place + places - len(values), value) for place, value in enumerate(values) if value is not None]
    if len(known) < 2:
        return ""
    room, across = high - low or 1.0, width / (places - 1)
    return " ".join(
        f"{place * across:.1f},{height - 1 - (value - low) / room * (height - 2):.1f}" for place, value in known
    )
