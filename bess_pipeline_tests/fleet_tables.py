"""The tables of a fleet straight from its samples: the same functions in the same order, without files or Dagster runs.

For work on accuracy, where a fleet of years is needed in seconds. Everything on the
fleet level is what the assets are: each asset is called with the tables that it names,
as soon as they are there, so that an asset that is added tomorrow is called tomorrow.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import cache
from inspect import signature, unwrap

import dagster as dg
import numpy as np
import polars as pl

from bess_pipeline.analytics import capacity_marks, cells, intervals, telemetry
from bess_pipeline.defs import assets
from bess_pipeline.defs.groups import Grouped, Made
from bess_pipeline.defs.house import COLUMNS
from bess_pipeline.defs.increments import BEFORE, REACH, Reach
from bess_pipeline.sources.simulate import Plan, Simulated
from bess_pipeline.sources.simulate.data_faults import delivered
from bess_pipeline.sources.simulate.deliver import published_curve
from bess_pipeline.sources.terms import Economics, Warranty, assumptions
from bess_pipeline.tables import catalog
from bess_pipeline.tables.fleet import OcvPoint
from bess_pipeline.tables.lifecycle import MarketPrice
from bess_pipeline.tables.telemetry import RawTelemetry
from bess_pipeline_tests.analytics.made_fleets import plates_of

Frames = dict[str, pl.DataFrame]

#: What is agreed of a fleet whose samples come without a fleet file: a term of each kind, and all that money needs.
WARRANTY = Warranty.model_validate(
    {
        "starts_on": date(2020, 1, 1),
        "years": 30,
        "soh_by_years": [[0, 100], [30, 40]],
        "equivalent_full_cycles_per_year": 350,
        "soc_percent": {"min": 10, "max": 95},
        "temperature_celsius": {"min": 5, "max": 30},
        "charging_c_rate": 0.3,
        "discharging_c_rate": 0.3,
        "rest": {"minutes": 60},
        "round_trip_efficiency_percent": 95,
        "availability": {"percent": 98},
    }
)
ECONOMICS = Economics.model_validate(
    {
        "replacement_cost_per_kwh": 150,
        "discount_rate_percent": 7,
        "energy_margin_per_mwh": 60,
        "contracted_energy_mwh": 0.5,
        "prices": {"file": "prices.parquet", "source": "made up"},
    }
)


def fleet_tables(
    samples: pl.DataFrame,
    batteries: pl.DataFrame,
    curves: pl.DataFrame,
    *,
    wanted: Iterable[str] | None = None,
    rows_at_once: int = 500_000,
) -> Frames:
    """Every table of a fleet that follows from its samples.

    Args:
        samples: Rows as received: ``timestamp``, ``battery_id``, measurements in house names and units; columns of
            `RawTelemetry` that tell of the arrival where there are any, else rows arrived as they stand.
        batteries: `Battery` rows of one fleet.
        curves: `OcvPoint` rows.
        wanted: Names of the tables that are needed, with all that they rest on; every one by default.
        rows_at_once: About so many raw rows are condensed at once, in whole days.

    Returns:
        Name in the catalog → rows. Tables that rest on files (the landing zone, row accounts, the warehouse) are not
        made.
    """
    raw = _raw(samples, batteries["fleet_id"].item(0))
    made = {
        catalog.BATTERIES.name: batteries,
        catalog.OCV_CURVES.name: curves,
        catalog.ASSUMPTIONS.name: assumptions(batteries["fleet_id"].item(0), WARRANTY, None, ECONOMICS),
        catalog.MARKET_PRICES.name: made_prices(batteries["fleet_id"].item(0), *_days_of(raw)),
        **_condensed(raw, batteries, rows_at_once),
    }
    return followed(made, wanted=wanted)


def _days_of(raw: pl.DataFrame) -> tuple[date, date]:
    first, last = raw.select(first=pl.col("timestamp").min().dt.date(), last=pl.col("timestamp").max().dt.date()).row(0)
    return first, last


def made_prices(fleet_id: str, first: date, last: date) -> pl.DataFrame:
    """Hourly prices with a cheap night and a dear evening: `MarketPrice` rows of whole days."""
    hours = pl.datetime_range(
        datetime(first.year, first.month, first.day, tzinfo=UTC),
        datetime(last.year, last.month, last.day, 23, tzinfo=UTC),
        "1h",
        time_unit="us",
    )
    price = 60 - 40 * (pl.col("timestamp").dt.hour().cast(pl.Float64) * np.pi / 12).sin()
    rows = pl.select(fleet_id=pl.lit(fleet_id), timestamp=hours, hours=pl.lit(1.0)).with_columns(price_per_mwh=price)
    return rows.pipe(MarketPrice.validate)


def followed(
    made: Mapping[str, pl.DataFrame],
    *,
    wanted: Iterable[str] | None = None,
    told: Callable[[str, float], None] = lambda *_: None,
) -> Frames:
    """The given tables and those of the fleet level that follow from them, asset after asset.

    Args:
        made: Tables that are there, by name.
        wanted: Names of the tables that are needed, with all that they rest on; every one by default.
        told: Called with the names of the tables that an asset made, and the seconds that it took.
    """
    tables = dict(made)
    needed = None if wanted is None else _resting_on(wanted)
    left = [
        step
        for step in steps()
        if not tables.keys() >= set(step.makes) and (needed is None or needed & set(step.makes))
    ]
    while ready := [step for step in left if step.needs <= tables.keys()]:
        for step in ready:
            begun = time.perf_counter()
            tables |= step.run(tables)
            told(", ".join(step.makes), time.perf_counter() - begun)
        left = [step for step in left if step not in ready]
    return tables


@dataclass(frozen=True)
class Step:
    """An asset that makes tables of tables.

    Attributes:
        makes: Names of the tables that come out, in order of the asset's outputs.
        needs: Names of the tables that go in.
        recalls: Names of what is known of the time before.
        reach: How far its rows of one day rest on other days; none if it makes everything each time.
        function: What it does, with frames.
        kind: How it is handed its tables, if not whole.
        columns: Of tables of which it is handed only some columns, which.
    """

    makes: tuple[str, ...]
    needs: frozenset[str]
    recalls: frozenset[str]
    reach: Reach | None
    function: Callable[..., Made]
    kind: type[Grouped] | None = None
    columns: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def run(self, tables: Frames) -> Frames:
        """What comes out; of the time before the first row nothing is known unless it is told."""
        recalled = {
            name: tables.get(name, catalog.TABLES[name.removesuffix(BEFORE)].contract.create_empty())
            for name in self.recalls
        }
        handed = {
            name: tables[name].select(self.columns.get(name, tables[name].columns)) for name in sorted(self.needs)
        }
        result = self.function(**handed, **recalled)
        if isinstance(result, pl.DataFrame):
            result = (result,)
        if isinstance(result, tuple):
            return dict(zip(self.makes, result, strict=True))
        return {output.output_name: output.value for output in result if isinstance(output, dg.Output)}


def simulated_tables(
    simulated: Simulated, *, wanted: Iterable[str] | None = None, rows_at_once: int = 500_000
) -> Frames:
    """Every table of a synthetic fleet, delivered with the data faults of its plan.

    Rows keep the clock under which they were sent: clocks are repaired where files are
    read, so that plans for this leave out the faults of clocks (see `plan_without_clocks`).
    """
    plan = simulated.plan
    rows = (
        delivered(plan, simulated.samples).rows.sort("sent", "place").with_columns(path=pl.col("sent").cast(pl.String))
    )
    batteries = plates_of(simulated).with_columns(
        pl.col("rated_energy_wh").round(),
        pl.col("resistance_ohm").round(4),
        (pl.col("cell_voltage_high_volt") + 0.05).round(2),
    )
    points = published_curve(simulated.cells, plan)
    curves = batteries.select("fleet_id", "battery_id").join(points, how="cross").cast(OcvPoint.create_empty().schema)
    return fleet_tables(rows.drop("sent", "place"), batteries, curves, wanted=wanted, rows_at_once=rows_at_once)


def plan_without_clocks(plan: Plan) -> Plan:
    """The same fleet without faults of clocks."""
    return Plan(**{**vars(plan), "data_fault_rates": {**plan.data_fault_rates, "clock": 0.0}})


def _raw(samples: pl.DataFrame, fleet_id: str) -> pl.DataFrame:
    """`RawTelemetry` columns but the verdict."""
    given = {
        "fleet_id": pl.lit(fleet_id),
        "date": pl.col("timestamp").dt.date(),
        "path": pl.lit(""),
        "row_number": pl.int_range(pl.len()),
        "first_seen": pl.lit(1),
        "clock_shift_us": pl.lit(0),
    }
    rows = samples.with_columns(expr.alias(name) for name, expr in given.items() if name not in samples.columns)
    schema = {name: kind for name, kind in RawTelemetry.create_empty().schema.items() if name != "verdict"}
    return rows.select(
        (pl.col(name) if name in rows.columns else pl.lit(None)).cast(kind).alias(name) for name, kind in schema.items()
    )


def _condensed(raw: pl.DataFrame, batteries: pl.DataFrame, rows_at_once: int) -> Frames:
    """The tables that the day level hands to the fleet level, a stretch of whole days after the other."""
    parts: dict[str, list[pl.DataFrame]] = {}
    for first, last in _stretches(raw, rows_at_once):
        rows = raw.filter(pl.col("date").is_between(first, last))
        samples = telemetry.clean(telemetry.accepted(telemetry.verdicts(rows)), batteries)
        for table, rows_of in (
            (catalog.INTERVALS_5MIN, intervals.intervals_5min),
            (catalog.CELL_EVIDENCE, cells.cell_evidence),
            (catalog.CAPACITY_EVIDENCE, capacity_marks.capacity_evidence),
            (catalog.DAY_EVIDENCE, intervals.day_evidence),
        ):
            parts.setdefault(table.name, []).append(rows_of(samples, batteries))
    return {name: pl.concat(frames).sort(*_key(name)) for name, frames in parts.items()}


def _key(name: str) -> list[str]:
    return catalog.TABLES[name].contract.primary_key()


def _stretches(raw: pl.DataFrame, rows: int) -> list[tuple[date, date]]:
    """First and last days of stretches of about as many rows as are condensed at once."""
    days = raw.group_by("date").len().sort("date").with_columns(part=pl.col("len").cum_sum() // rows)
    return (
        days.group_by("part", maintain_order=True)
        .agg(a=pl.col("date").min(), z=pl.col("date").max())[["a", "z"]]
        .rows()
    )


@cache
def steps() -> tuple[Step, ...]:
    """The assets of the fleet level that ask for nothing but tables, in order of their names."""
    steps = []
    for asset in dg.load_assets_from_package_module(assets):
        if not isinstance(asset, dg.AssetsDefinition):
            continue
        makes = tuple(asset.keys_by_output_name)
        if len(makes) == 1:
            makes = tuple(key.to_user_string() for key in asset.keys)
        tables = [catalog.TABLES.get(name) for name in makes]
        decorated = asset.op.compute_fn.decorated_fn
        function = unwrap(decorated)
        asked = frozenset(signature(function).parameters)
        recalls = frozenset(name for name in asked if name.endswith(BEFORE))
        needs = asked - recalls
        if all(table is not None and table.per == "fleet" for table in tables) and needs <= catalog.TABLES.keys():
            text = asset.op.tags.get(REACH)
            reach = Reach.of_text(text) if text else None
            (kind,) = {parameter.annotation for parameter in signature(decorated).parameters.values()}
            narrow = {
                name: tuple(asset.op.ins[name].metadata[COLUMNS])
                for name in needs
                if COLUMNS in (asset.op.ins[name].metadata or {})
            }
            grouped = kind if issubclass(kind, Grouped) else None
            steps.append(Step(makes, needs, recalls, reach, function, grouped, narrow))
    return tuple(sorted(steps, key=lambda step: step.makes))


def _resting_on(names: Iterable[str]) -> set[str]:
    """The named tables and all that they rest on."""
    found: set[str] = set()
    left = list(names)
    while left:
        name = left.pop()
        if name not in found:
            found.add(name)
            left.extend(need for step in steps() if name in step.makes for need in step.needs)
    return found
