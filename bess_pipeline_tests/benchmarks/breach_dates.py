"""How well the day of a warranty's breach is told: on `fleet_years`, whose future is known.

    python -m bess_pipeline_tests.benchmarks.breach_dates HOME [DATA]

HOME has made the fleets of DATA (`../shared/data/fleet_years`). Guarantees are flat, or fall by 8 points in 15 years.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
from rich.console import Console
from rich.table import Table as Grid

from bess_pipeline.analytics.warranty import warranty_daily, warranty_forecast
from bess_pipeline.lake.store import Lake
from bess_pipeline.sources.terms import Warranty, assumptions
from bess_pipeline.tables import catalog

_START, _YEARS = date(2023, 1, 1), 15
GUARANTEES = {
    **{f"{level} %": [(0, level), (_YEARS, level)] for level in range(80, 98, 2)},
    **{f"{level} % falling": [(0, level), (_YEARS, level - 8)] for level in range(90, 100, 2)},
}
#: Unphysical late in life, as the README of the data says.
_ODD, _UNTIL = "S02-R01", date(2025, 3, 23)
_NEVER = date(9999, 1, 1)


def main(home: str, data: str = "../shared/data/fleet_years") -> None:
    """Print how often the breach came when it was told."""
    told = pl.DataFrame(list(cases(Path(home), Path(data) / "truth")), infer_schema_length=None)
    ahead = told.filter(pl.col("as_of") >= date(2024, 1, 1))
    breached = ahead.filter(pl.col("breach").is_not_null())
    grid = Grid("", "cases", "between", "before p10", "after p90")
    for name, rows in {
        "all": ahead,
        "with a breach": breached,
        "no knee": breached.filter(~pl.col("has_knee")),
        "a knee": breached.filter("has_knee"),
        **{
            f"no knee, data of {half / 2:g} years": breached.filter(~pl.col("has_knee") & (pl.col("half") == half))
            for half in sorted(set(breached["half"]))
        },
    }.items():
        shares = [f"{share:.2f}" for share in rows.select(*_SHARES).row(0)] if rows.height else ["–"] * 3
        grid.add_row(name, f"{rows.height:,}", *shares)
    Console(width=100).print(grid)


_BREACH, _LOW = pl.col("breach").fill_null(_NEVER), pl.col("p10").fill_null(_NEVER)
_SHARES = (
    ((_BREACH >= _LOW) & ((pl.col("p90") >= _BREACH) | pl.col("p90").is_null())).mean().alias("between"),
    (_BREACH < _LOW).mean().alias("before"),
    (pl.col("p90") < _BREACH).fill_null(value=False).mean().alias("after"),
)


def cases(home: Path, truth: Path) -> Iterator[dict[str, object]]:
    """Each guarantee, battery and month end before its breach: what was told, and what came."""
    past = pl.read_parquet(truth / "daily.parquet").select(
        "rack_id", day=(pl.col("date").cast(pl.Date) - _START).dt.total_days(), q="q_mean"
    )
    future = pl.read_parquet(truth / "future_q.parquet").select("rack_id", "day", q="q_future")
    lives = pl.concat([past, future.filter(pl.col("day") > past["day"].max())]).sort("rack_id", "day")
    knees = set(pl.read_parquet(truth / "faults.parquet")["rack_id"])
    lake = Lake(str(home / "lake"))
    tables = (catalog.STATE_OF_HEALTH, catalog.BATTERY_DAILY, catalog.BATTERIES, catalog.CAPACITY_FORECAST)
    health, daily, batteries, forecast = (lake.read(table) for table in tables)
    for name, points in GUARANTEES.items():
        agreed = assumptions("f", Warranty(starts_on=_START, soh_by_years=points), None)
        told = warranty_forecast(agreed, warranty_daily(agreed, health, daily, batteries), forecast)
        for (rack,), life in lives.group_by("rack_id", maintain_order=True):
            years = life["day"].to_numpy() / 365.25
            below = 100 * life["q"].to_numpy() < np.interp(years, *np.array(points).T)
            days = life["day"].to_numpy()[below & (years <= _YEARS)]
            first = _START + _days(days[0]) if len(days) else None
            for row in told.filter(battery_id=rack).iter_rows(named=True):
                if (rack == _ODD and row["as_of"] >= _UNTIL) or (first is not None and first <= row["as_of"]):
                    continue
                yield {
                    "guarantee": name,
                    "battery_id": rack,
                    "has_knee": rack in knees,
                    "as_of": row["as_of"],
                    "half": (row["as_of"] - _START).days // 183,
                    "breach": first,
                    **{p: row[f"breach_date_{p}"] for p in ("p10", "p50", "p90")},
                }


def _days(count: int) -> np.timedelta64:
    return np.timedelta64(int(count), "D").astype(object)


if __name__ == "__main__":
    main(*sys.argv[1:])
