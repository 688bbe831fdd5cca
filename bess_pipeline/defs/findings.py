"""What the pipeline found on synthetic fleets, beside the truth they were made with."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import polars as pl
from rich.console import Group, RenderableType
from rich.table import Table as Grid
from rich.text import Text

from bess_pipeline.defs.resources import Home

#: A warning this long after a fault has ended still counts as having caught it.
GRACE = timedelta(days=14)

_BATTERIES = """
    WITH last_health AS (
        SELECT *, row_number() OVER (PARTITION BY fleet_id, battery_id ORDER BY date DESC) AS rank FROM state_of_health
    ), daily AS (
        SELECT d.fleet_id, d.battery_id,
               sum(charging_capacity_ah + discharging_capacity_ah) / (2 * any_value(rated_capacity_ah)) AS efc,
               last(round_trip_efficiency_30d_percent ORDER BY date)
                   FILTER (round_trip_efficiency_30d_percent IS NOT NULL) AS efficiency
        FROM battery_daily d JOIN batteries b ON b.fleet_id = d.fleet_id AND b.battery_id = d.battery_id
        GROUP BY ALL
    ), counted AS (
        SELECT fleet_id, battery_id, sum(count) AS cycles FROM cycles WHERE depth_percent >= 5 GROUP BY ALL
    )
    SELECT d.fleet_id, d.battery_id, h.date, h.soh_percent, h.soh_lower_percent, h.soh_upper_percent,
           d.efc, c.cycles, d.efficiency
    FROM daily d
    LEFT JOIN last_health h ON h.fleet_id = d.fleet_id AND h.battery_id = d.battery_id AND h.rank = 1
    LEFT JOIN counted c ON c.fleet_id = d.fleet_id AND c.battery_id = d.battery_id
    ORDER BY ALL
"""

_ALARMS = """
    SELECT battery_id, detected_at, family, kind FROM anomaly_events
    WHERE severity IN ('warning', 'critical') AND family NOT IN ('data', 'limit') ORDER BY detected_at
"""


def findings(home: Home, fleets: Sequence[str]) -> RenderableType:
    """Two tables: what was found of each battery beside the truth, and which planted faults were caught."""
    return Group(_batteries(home, fleets), _faults(home, fleets), _rows(home, fleets))


def _truth(home: Home, fleet_id: str, name: str) -> pl.DataFrame:
    return pl.read_parquet(home.settings.truth / fleet_id / "truth" / f"{name}.parquet")


def _batteries(home: Home, fleets: Sequence[str]) -> Grid:
    grid = Grid("battery", "SOH [%] (90 %)", "true", "EFC", "true", "cycles", "effic. [%]")
    grid.title = "State of health, equivalent full cycles by charge, cycles deeper than 5 %, 30-day efficiency"
    grid.columns[0].no_wrap = True
    daily = pl.concat([_truth(home, fleet_id, "daily") for fleet_id in fleets])
    last = daily.sort("date").group_by("rack_id", maintain_order=True).last()
    truth = {row["rack_id"]: row for row in last.iter_rows(named=True)}
    rows = home.warehouse.query(_BATTERIES).filter(pl.col("fleet_id").is_in(fleets))
    for row in rows.iter_rows(named=True):
        true = truth[row["battery_id"]]
        interval = (
            f"{_number(row['soh_percent'])} ({_number(row['soh_lower_percent'])}–{_number(row['soh_upper_percent'])})"
        )
        grid.add_row(
            row["battery_id"],
            interval if row["soh_percent"] is not None else "no evidence yet",
            _number(100 * true["q_mean"]),
            _number(row["efc"]),
            _number(true["efc_cum"]),
            _number(row["cycles"]),
            _number(row["efficiency"]),
        )
    return grid


def _faults(home: Home, fleets: Sequence[str]) -> Grid:
    grid = Grid("battery", "planted", "onset", "caught", "raised as", title="Planted battery faults")
    grid.columns[0].no_wrap = True
    alarms = home.warehouse.query(_ALARMS).with_columns(pl.col("detected_at").dt.replace_time_zone(None))
    matched = pl.repeat(value=False, n=alarms.height, eager=True)
    for fleet_id in fleets:
        for fault in _truth(home, fleet_id, "faults").sort("onset").iter_rows(named=True):
            hit = (alarms["battery_id"] == fault["rack_id"]) & alarms["detected_at"].is_between(
                fault["onset"], fault["end"] + GRACE
            )
            matched |= hit
            found = alarms.filter(hit).head(1).to_dicts()
            days = (found[0]["detected_at"] - fault["onset"]).total_seconds() / 86400 if found else None
            grid.add_row(
                fault["rack_id"],
                fault["fault"],
                f"{fault['onset']:%Y-%m-%d}",
                f"after {days:.1f} days" if days is not None else Text("missed", style="yellow"),
                found[0]["kind"] if found else "",
            )
    false = int((~matched).sum())
    grid.caption = f"{false} other warning{'' if false == 1 else 's'}, on batteries or at times without a planted fault"
    return grid


def _rows(home: Home, fleets: Sequence[str]) -> Text:
    rows = (
        home.warehouse.query("SELECT * FROM data_quality_daily")
        .filter(pl.col("fleet_id").is_in(fleets))
        .select(pl.col("rows_received", "rows_accepted", "rows_duplicate", "rows_quarantined").sum())
        .row(0, named=True)
    )
    return Text(
        "{rows_received:,} rows received = {rows_accepted:,} accepted + {rows_duplicate:,} duplicate"
        " + {rows_quarantined:,} quarantined\n\n".format(**rows)
        + 'Next: bess sql "SHOW TABLES"\n      bess sql "SELECT * FROM anomaly_events"\n'
        "      bess dev (lineage, partitions, re-runs)\n"
        "      bess serve (pages with charts, and the REST API)\n"
        f"or open {home.settings.warehouse} with any DuckDB client."
    )


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"
