"""`bess dispatch`: what a fleet earned at given prices, and what it could have."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import track
from rich.table import Table

from bess_pipeline.config import Settings
from bess_pipeline.terminal import err, fail, out, remark

if TYPE_CHECKING:
    import duckdb
    import polars as pl

    from bess_pipeline.analytics.what_if import Unit

_DAY = ["%Y-%m-%d"]

#: What a battery is worth and can do now; power is what it was seen to give and take, but for the rarest half percent.
_UNITS = """
    WITH ageing AS (
        SELECT battery_id, arg_max(calendar_unit_percent, as_of) AS calendar_unit,
            arg_max(cycle_unit_percent, as_of) AS cycle_unit
        FROM degradation WHERE fleet_id = $fleet GROUP BY battery_id
    ),
    health AS (
        SELECT battery_id, arg_max(soh_percent, date) AS soh FROM state_of_health
        WHERE fleet_id = $fleet GROUP BY battery_id
    ),
    used AS (
        SELECT battery_id, median(round_trip_efficiency_30d_percent) AS efficiency,
            avg(temperature_mean_celsius) AS celsius
        FROM battery_daily WHERE fleet_id = $fleet AND date BETWEEN $first AND $last GROUP BY battery_id
    ),
    power AS (
        SELECT battery_id, quantile_cont(abs(power_watt), 0.995) / 1e6 AS power_mw
        FROM telemetry_5min WHERE fleet_id = $fleet AND date BETWEEN $first AND $last GROUP BY battery_id
    ),
    stated AS (SELECT name, "value" FROM assumptions WHERE fleet_id = $fleet)
    SELECT b.battery_id, chemistry, rated_energy_wh / 1e6 * coalesce(soh, 100) / 100 AS energy_mwh,
        coalesce((SELECT "value" / 1000 FROM stated WHERE name = 'power_kw'), power_mw) AS power_mw,
        least(coalesce(efficiency, 90), 100) / 100 AS efficiency, coalesce(celsius, 25) AS celsius,
        calendar_unit, cycle_unit, (SELECT "value" FROM stated WHERE name = 'replacement_cost_per_kwh')
            * rated_energy_wh / 1000 / nullif(100 - end_of_life_percent, 0) AS cost_per_percent
    FROM batteries b LEFT JOIN ageing USING (battery_id) LEFT JOIN health USING (battery_id)
    LEFT JOIN used USING (battery_id) LEFT JOIN power USING (battery_id)
    WHERE b.fleet_id = $fleet ORDER BY b.battery_id
"""
_ROWS = """
    SELECT battery_id, timestamp, power_watt, soc_percent FROM telemetry_5min
    WHERE fleet_id = $fleet AND date BETWEEN $first AND $last AND timestamp >= $begin AND timestamp < $behind
    ORDER BY battery_id, timestamp
"""


def dispatch(
    fleet: Annotated[str, typer.Argument(help="The fleet.")],
    prices: Annotated[
        Path, typer.Option(exists=True, dir_okay=False, help="CSV or Parquet with timestamp and price_per_mwh.")
    ],
    since: Annotated[datetime | None, typer.Option("--from", formats=_DAY, help="First UTC day.")] = None,
    until: Annotated[datetime | None, typer.Option("--to", formats=_DAY, help="Last UTC day.")] = None,
    timezone: Annotated[str, typer.Option(help="Of prices whose times have no offset.")] = "UTC",
    steps: Annotated[
        Path | None,
        typer.Option("--out", dir_okay=False, help="Where to write each step of all schedules, as Parquet."),
    ] = None,
) -> None:
    """Hold what batteries did against the best they could have done at these prices, with wear counted and without."""
    import polars as pl

    from bess_pipeline.analytics.dispatch import DispatchError
    from bess_pipeline.analytics.what_if import what_if
    from bess_pipeline.lake.warehouse import QueryError, Warehouse
    from bess_pipeline.sources.prices import PricesError, read_prices

    try:
        known = _within(read_prices(prices, timezone), since, until)
        with Warehouse(Settings().warehouse).connection() as connection:
            units, telemetry = _asked(connection, fleet, known)
        batteries = telemetry.partition_by("battery_id", as_dict=True)
        sums, all_steps = [], []
        for unit in track(units, description="schedules", console=err, transient=True):
            found = what_if(known, batteries.get((unit.battery_id,), telemetry.clear()), [unit])
            if found.sums.height:
                sums.append(found.sums)
                all_steps.append(found.steps)
    except (PricesError, DispatchError, LookupError, QueryError, FileNotFoundError) as error:
        fail([str(error)])
    if not sums:
        fail([f"nothing is known of fleet {fleet!r} at the time of these prices"])
    told = pl.concat(sums)
    _tell(fleet, known, told)
    if steps is not None:
        pl.concat(all_steps).write_parquet(steps, compression="zstd")
        out.print(f"wrote {steps}", highlight=False, soft_wrap=True)


def _within(known: pl.DataFrame, since: datetime | None, until: datetime | None) -> pl.DataFrame:
    """The prices of some days."""
    import polars as pl

    chosen = known
    if since is not None:
        chosen = chosen.filter(pl.col("timestamp") >= since.replace(tzinfo=UTC))
    if until is not None:
        chosen = chosen.filter(pl.col("timestamp") < until.replace(tzinfo=UTC) + timedelta(days=1))
    if chosen.is_empty():
        first, last = known["timestamp"][0], known["timestamp"][-1]
        raise LookupError(f"there are prices from {first:%Y-%m-%d} to {last:%Y-%m-%d} alone")
    return chosen


def _asked(connection: duckdb.DuckDBPyConnection, fleet: str, known: pl.DataFrame) -> tuple[list[Unit], pl.DataFrame]:
    """The batteries of a fleet, and their rows at the time of the prices.

    Raises:
        LookupError: If it says nothing of what wear costs, or there is no such fleet.
    """
    from bess_pipeline.analytics.what_if import Unit

    begin, last = known["timestamp"][0], known["timestamp"][-1]
    behind = last + timedelta(hours=known["hours"][-1])
    which = {"fleet": fleet, "first": begin.date(), "last": last.date()}
    rows = connection.sql(_UNITS, params=which).pl()
    if rows.is_empty():
        raise LookupError(f"there is no fleet {fleet!r}")
    if rows["cost_per_percent"].null_count() == rows.height:
        raise LookupError(
            f"the file of fleet {fleet!r} needs economics.replacement_cost_per_kwh: see docs/economics.md"
        )
    usable = rows.drop_nulls()
    if usable.height < rows.height:
        left_out = ", ".join(rows.join(usable, on="battery_id", how="anti")["battery_id"])
        remark([f"left out, for their ageing or their power is not known: {left_out}"])
    units = [Unit(**row) for row in usable.iter_rows(named=True)]
    return units, connection.sql(_ROWS, params=which | {"begin": begin, "behind": behind}).pl()


def _tell(fleet: str, known: pl.DataFrame, told: pl.DataFrame) -> None:
    """Print the sums of the fleet and of each battery."""
    import polars as pl

    from bess_pipeline.analytics.what_if import LEAST_SEEN, SCHEDULES

    first, last = known["timestamp"][0], known["timestamp"][-1]
    days = f"{first:%Y-%m-%d} to {last:%Y-%m-%d}"
    grid = Table(
        title=f"{fleet}, {days}",
        caption="cycles: full ones a day; spread: revenue over that of each day's dearest and cheapest hours",
    )
    for name in ("battery", "schedule", "revenue", "wear", "profit", "MWh", "cycles", "spread"):
        grid.add_column(name, justify="left" if name in {"battery", "schedule"} else "right", no_wrap=True)
    summed = ("revenue", "wear_cost", "profit", "discharged_mwh", "equivalent_full_cycles")
    whole = told.group_by("schedule").agg(pl.col(*summed).sum(), capture_fraction=pl.lit(None, pl.Float64))
    place = pl.col("schedule").replace_strict({name: place for place, name in enumerate(SCHEDULES)})
    length, count = known["hours"].sum() / 24, told["battery_id"].n_unique()
    for part, batteries in ((told, 1), (whole.with_columns(battery_id=pl.lit("all")), count)):
        ordered = part.sort("battery_id", place)
        for row in ordered.iter_rows(named=True):
            share = row["capture_fraction"]
            grid.add_row(
                row["battery_id"], row["schedule"], *(f"{row[name]:,.0f}" for name in summed[:3]),
                f"{row['discharged_mwh']:,.1f}", f"{row['equivalent_full_cycles'] / length / batteries:,.2f}",
                "" if share is None else f"{share:.0%}",
            )  # fmt: skip
        grid.add_section()
    out.print(grid)
    gaps = told.filter((pl.col("schedule") == SCHEDULES[0]) & (pl.col("seen_fraction") < LEAST_SEEN))
    if gaps.height:
        names = ", ".join(gaps["battery_id"])
        remark([f"seen for less than {LEAST_SEEN:.0%} of the time, so that what was done is told too low: {names}"])
