"""Pictures of rows made by hand: that each is drawn, and small."""

import base64
from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest

from bess_pipeline.defs.pictures import PLOTS, picture
from bess_pipeline.lake.slices import Slice
from bess_pipeline.tables import catalog

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


class Held:
    """A lake that holds one table of a fleet."""

    def __init__(self, rows):
        self.rows = rows

    def scan(self, table, part):
        return self.rows.lazy()

    def ask(self, table, part, question):
        return question(self.scan(table, part)).collect()

    def rows_by_day(self, table, part):
        return {date(2026, 3, 1): self.rows.height}


def rows(table, days=40):
    """Two batteries of whose numbers all rise by one a day."""
    schema = table.contract.create_empty().schema
    grown = {name for name, kind in schema.items() if kind in (pl.Float64, pl.Int64)}
    return pl.DataFrame(
        [
            dict.fromkeys(schema)
            | dict.fromkeys(grown, k)
            | {name: f"b{battery}|<b>" for name in ("battery_id",) if name in schema}
            | {name: date(2026, 3, 1) + timedelta(days=k) for name, kind in schema.items() if kind == pl.Date}
            | {name: NOON + timedelta(days=k) for name, kind in schema.items() if isinstance(kind, pl.Datetime)}
            | {name: "warning" for name in ("severity",) if name in schema}
            for battery in range(2)
            for k in range(days)
        ],
        schema=schema,
    )


@pytest.mark.parametrize("name", [*PLOTS, "anomaly_events"])
@pytest.mark.parametrize("days", [1, 40])
def test_every_plot_is_drawn_and_small_and_nothing_of_no_rows(name, days):
    table = catalog.TABLES[name]
    told = picture(table, Held(rows(table, days)), Slice("f"))
    image = base64.b64decode(told["plot"].value.partition("base64,")[2].removesuffix(")"))
    assert image.startswith(b"\x89PNG")
    assert len(image) < 16_000
    assert picture(table, Held(rows(table).clear()), Slice("f")) == {}
