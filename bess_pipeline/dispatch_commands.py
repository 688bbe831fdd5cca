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
    import polars as pl

    from bess_pipeline.analytics.what_if import Unit
    from bess_pipeline.lake.traded import Traded

_DAY = ["%Y-%m-%d"]


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
    from bess_pipeline.analytics.what_if import WhatIf, what_if
    from bess_pipeline.lake.traded import traded
    from bess_pipeline.lake.warehouse import QueryError, Warehouse
    from bess_pipeline.sources.prices import PricesError, read_prices

    try:
        known = _within(read_prices(prices, timezone), since, until)
        behind = known["timestamp"][-1] + timedelta(hours=known["hours"][-1])
        found_there = traded(Warehouse(Settings().warehouse), fleet, known["timestamp"][0], behind)
        units, telemetry = _units(fleet, found_there), found_there.telemetry
        batteries = telemetry.partition_by("battery_id", as_dict=True)
        days, all_steps = [], []
        for unit in track(units, description="schedules", console=err, transient=True):
            found = what_if(known, batteries.get((unit.battery_id,), telemetry.clear()), [unit])
            if found.days.height:
                days.append(found.days)
                all_steps.append(found.steps)
    except (PricesError, DispatchError, LookupError, QueryError, FileNotFoundError) as error:
        fail([str(error)])
    if not days:
        fail([f"nothing is known of fleet {fleet!r} at the time of these prices"])
    whole = WhatIf(pl.concat(days), pl.concat(all_steps))
    _tell(fleet, known, whole.sums)
    if steps is not None:
        whole.steps.write_parquet(steps, compression="zstd")
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


def _units(fleet: str, found: Traded) -> list[Unit]:
    """The batteries of a fleet.

    Raises:
        LookupError: If it says nothing of what wear costs, or there is no such fleet.
    """
    from bess_pipeline.analytics.wear import cost_per_percent
    from bess_pipeline.analytics.what_if import Unit

    if found.units.is_empty():
        raise LookupError(f"there is no fleet {fleet!r}")
    costs = cost_per_percent(found.assumptions, found.batteries).select("battery_id", cost_per_percent="cost")
    rows = found.units.join(costs, on="battery_id", how="left", maintain_order="left")
    if rows["cost_per_percent"].null_count() == rows.height:
        raise LookupError(
            f"the file of fleet {fleet!r} needs economics.replacement_cost_per_kwh: see docs/economics.md"
        )
    usable = rows.drop_nulls()
    if usable.height < rows.height:
        left_out = ", ".join(rows.join(usable, on="battery_id", how="anti")["battery_id"])
        remark([f"left out, for their ageing or their power is not known: {left_out}"])
    return [Unit(**row) for row in usable.iter_rows(named=True)]


def _tell(fleet: str, known: pl.DataFrame, told: pl.DataFrame) -> None:
    """Print the sums of the fleet and of each battery."""
    import polars as pl

    from bess_pipeline.analytics.what_if import LEAST_SEEN
    from bess_pipeline.tables.lifecycle import SCHEDULES

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
