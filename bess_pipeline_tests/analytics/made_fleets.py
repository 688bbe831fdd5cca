"""Synthetic fleets as the pipeline sees them: from what is delivered to 5-minute rows and repairs, without files."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from bess_pipeline.analytics.intervals import closed, day_evidence, intervals_5min
from bess_pipeline.analytics.repairs import repaired, repairs
from bess_pipeline.analytics.telemetry import accepted, clean, verdicts
from bess_pipeline.sources.simulate import Plan, Simulated, simulate
from bess_pipeline.sources.simulate.data_faults import Delivery, delivered
from bess_pipeline.tables.fleet import Battery
from bess_pipeline.tables.telemetry import RawTelemetry


@dataclass(frozen=True)
class Fleet:
    """A fleet with data faults beside the same fleet without.

    Attributes:
        batteries: `Battery` rows.
        came: `ClosedInterval5min` rows before repairs.
        found: `Repair` rows.
        read: `ClosedInterval5min` rows after repairs.
        true: `ClosedInterval5min` rows of the fleet without data faults.
        events: The data faults: battery, kind, column, t_on and t_off.
    """

    batteries: pl.DataFrame
    came: pl.DataFrame
    found: pl.DataFrame
    read: pl.DataFrame
    true: pl.DataFrame
    events: pl.DataFrame


def fleet(plan: Plan) -> Fleet:
    """Simulate a fleet, deliver it with data faults and without, and make 5-minute rows of both."""
    simulated = simulate(plan)
    plates = plates_of(simulated)
    delivery = delivered(plan, simulated.samples)
    came = condensed(plan, delivery, plates)
    found = repairs(came, plates).repairs
    true = condensed(plan, delivered(Plan(**{**vars(plan), "data_faults": False}), simulated.samples), plates)
    events = pl.DataFrame(delivery.events).with_columns(pl.col("t_on", "t_off").dt.replace_time_zone("UTC"))
    return Fleet(plates, came, found, repaired(came, found), true, events)


def plates_of(simulated: Simulated) -> pl.DataFrame:
    """The nameplates of a synthetic fleet."""
    cells, plan = simulated.cells, simulated.plan
    plate = {
        "fleet_id": plan.fleet_id,
        "chemistry": plan.chemistry,
        "rated_capacity_ah": cells.capacity_ah,
        "rated_energy_wh": cells.capacity_ah * cells.in_series * cells.nominal_volt,
        "cells_in_series": cells.in_series,
        "resistance_ohm": cells.ohm * cells.in_series,
        "initial_equivalent_full_cycles": 0.0,
        "end_of_life_percent": 80.0,
        "cell_voltage_low_volt": cells.low_volt,
        "cell_voltage_high_volt": cells.high_volt,
        "temperature_low_celsius": 0.0,
        "temperature_high_celsius": 50.0,
        "sampling": "mean" if plan.interval_seconds >= 300 else "instant",
    }
    rows = [{**plate, "battery_id": plan.battery_id(number)} for number in range(plan.batteries)]
    return pl.DataFrame(rows, schema=Battery.create_empty().schema)


def condensed(plan: Plan, delivery: Delivery, batteries: pl.DataFrame) -> pl.DataFrame:
    """`ClosedInterval5min` rows of what was delivered, one file per day sent."""
    rows = delivery.rows.sort("sent", "place").with_columns(
        fleet_id=pl.lit(plan.fleet_id),
        date=pl.col("timestamp").dt.date(),
        path=pl.col("sent").cast(pl.String),
        row_number=pl.int_range(pl.len()).over("sent"),
        first_seen=pl.lit(1),
        clock_shift_us=pl.lit(0),
    )
    schema = {name: kind for name, kind in RawTelemetry.create_empty().schema.items() if name != "verdict"}
    raw = rows.select(
        (pl.col(name) if name in rows.columns else pl.lit(None)).cast(kind).alias(name) for name, kind in schema.items()
    )
    samples = clean(accepted(verdicts(raw)), batteries)
    return closed(intervals_5min(samples, batteries), day_evidence(samples, batteries), batteries)


#: Kind of data fault → column in which its repair is judged, and how far that may be from the truth.
JUDGED_BY = {
    "unit_f": ("temperature_celsius", 0.1, 0.0),
    "soc_frac": ("soc_bms_percent", 0.1, 0.0),
    "sign_flip": ("current_ampere", 0.1, 0.001),
    "unit_mv": ("cell_voltage_min_volt", 1e-9, 0.0),
}
#: So close to an event a row is beside it.
_BESIDE = pl.duration(minutes=10)
#: What makes a row no witness of a repair: its values are lost, or of another time.
_SPOILS = ("nan", "spike", "stuck", "freeze", "dropout", "late")


def judged(made: Fleet, kind: str) -> pl.DataFrame:
    """Each row of a fleet beside the truth: the event that it is wholly in, whether it is right, and was altered.

    Rows that another data fault spoils are left out, and so are events that overlap
    another of their kind, and resting rows where signs are judged.
    """
    column, least, share = JUDGED_BY[kind]
    rows = (
        made.read.select("battery_id", "timestamp", "repairs", read=column, of_read="current_observed_us")
        .join(made.came.select("battery_id", "timestamp", came=column), on=["battery_id", "timestamp"])
        .join(
            made.true.select("battery_id", "timestamp", true=column, of_true="current_observed_us"),
            on=["battery_id", "timestamp"],
        )
        .drop_nulls("true")
        .with_row_index("row")
    )
    rows = rows.join(made.batteries.select("battery_id", "rated_capacity_ah"), on="battery_id")
    if kind == "sign_flip":
        rows = rows.filter(pl.col("true").abs() > 0.01 * pl.col("rated_capacity_ah"))
    both = rows.join(
        made.events.filter(pl.col("kind").is_in([kind, *_SPOILS])).with_row_index("event"),
        left_on="battery_id", right_on="rack_id",
    )  # fmt: skip
    until = pl.col("timestamp") + pl.duration(minutes=5)
    inside = both.filter(pl.col("timestamp") >= pl.col("t_on"), until <= pl.col("t_off"), pl.col("kind") == kind)
    beside = both.filter(pl.col("timestamp") < pl.col("t_off") + _BESIDE, until > pl.col("t_on") - _BESIDE)
    spoilt = beside.filter(pl.col("kind") != kind)["row"]
    twice = beside.filter(pl.col("kind") == kind).filter(pl.col("row").is_duplicated())["event"]
    spoilt = pl.concat([spoilt, beside.filter(pl.col("event").is_in(twice.unique().implode()))["row"]])
    off = (pl.col("read") - pl.col("true")).abs()
    return (
        rows.filter(~pl.col("row").is_in(spoilt.unique().implode()))
        .join(inside.select("row", "event"), on="row", how="left")
        .with_columns(
            right=(off <= least + share * pl.col("true").abs()).fill_null(value=False),
            altered=~pl.col("read").eq_missing(pl.col("came")),
            beside=pl.col("row").is_in(beside.filter(pl.col("kind") == kind)["row"].implode()),
        )
    )
