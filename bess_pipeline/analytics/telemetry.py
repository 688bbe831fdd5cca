"""Telemetry rows: which of them count, and what is wrong with those that do."""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl

from bess_pipeline.tables import telemetry as contracts
from bess_pipeline.tables.chemistry import CHEMISTRY
from bess_pipeline.tables.telemetry import MEASUREMENTS

_FACTS = (*MEASUREMENTS, "status")
_ORDER = ("battery_id", "timestamp", "first_seen", "path", "row_number")


def verdicts(received: pl.DataFrame) -> pl.DataFrame:
    """Decide of each received row whether it becomes a sample.

    Rows of one battery and instant belong together. The last of them, by the order
    in which their files were first seen, then by path and row, is accepted; rows
    equal to it in every measurement are duplicates, the others lost a conflict.

    Args:
        received: `RawTelemetry` columns without the verdict, in any order.

    Returns:
        `RawTelemetry` rows, sorted by battery, instant and the order above.
    """
    if received.is_empty():
        return received.with_columns(verdict=pl.lit(None, pl.String)).select(contracts.RawTelemetry.column_names())
    rows = received.sort(*_ORDER, maintain_order=True)
    starts = (
        rows.select(
            (pl.col("battery_id") != pl.col("battery_id").shift())
            | (pl.col("timestamp") != pl.col("timestamp").shift())
        )
        .to_series()
        .fill_null(value=True)
    )
    alone = starts & starts.shift(-1, fill_value=True)
    if alone.all():
        return rows.with_columns(verdict=pl.lit("accepted")).select(contracts.RawTelemetry.column_names())
    marked = rows.with_columns(group=starts.cum_sum(), alone=alone)
    shared = marked.filter(~pl.col("alone"))
    facts = pl.struct(_FACTS)
    decided = shared.select(
        "group",
        "path",
        "row_number",
        verdict=pl.when(pl.int_range(pl.len()).over("group") == pl.len().over("group") - 1)
        .then(pl.lit("accepted"))
        .when(facts.eq_missing(facts.last().over("group")))
        .then(pl.lit("duplicate"))
        .otherwise(pl.lit("conflict")),
    )
    return (
        marked.join(decided.drop("group"), on=["path", "row_number"], how="left", maintain_order="left")
        .with_columns(pl.col("verdict").fill_null("accepted"))
        .select(contracts.RawTelemetry.column_names())
    )


def accepted(raw: pl.DataFrame) -> pl.DataFrame:
    """The accepted rows of `RawTelemetry`, without what only their arrival needed."""
    return raw.filter(pl.col("verdict") == "accepted").drop("path", "row_number", "first_seen", "verdict")


#: Cells of stationary storage carry a few C; cells for power and cells in the laboratory up to 10. [1/h]
MOST_C_RATE = 20.0

#: No cell has this voltage: such a number is in millivolts. [V]
_LEAST_MILLIVOLT = 500.0


def clean(samples: pl.DataFrame, batteries: pl.DataFrame) -> pl.DataFrame:
    """Flag what a single row proves to be wrong, and bring cell voltages in millivolts to volts.

    Args:
        samples: Accepted rows: `RawTelemetry` columns without those of their arrival.
        batteries: `Battery` rows of their batteries.

    Returns:
        `CleanTelemetry` rows, sorted by battery and instant. Values are those of the
        source but for cell voltages flagged as millivolts.

    Raises:
        ValueError: If a battery has no nameplate.
    """
    plates = _bounds(batteries)
    missing = samples.select("battery_id").unique().join(plates, on="battery_id", how="anti")
    if missing.height:
        raise ValueError(f"no nameplate for {', '.join(sorted(missing['battery_id']))}")
    cells = ("cell_voltage_min_volt", "cell_voltage_max_volt")
    temperatures = ("temperature_celsius", "temperature_min_celsius", "temperature_max_celsius")
    return (
        samples.join(plates, on="battery_id", how="left", maintain_order="left")
        .with_columns(cell_voltage_in_millivolt=_any(pl.col(cell) > _LEAST_MILLIVOLT for cell in cells))
        .with_columns(
            pl.when("cell_voltage_in_millivolt").then(pl.col(cell) / 1000).otherwise(pl.col(cell)).alias(cell)
            for cell in cells
        )
        .with_columns(
            voltage_out_of_range=_any([~pl.col("voltage_volt").is_between("least_volt", "most_volt")]),
            current_out_of_range=_any([pl.col("current_ampere").abs() > pl.col("most_ampere")]),
            power_out_of_range=_any([pl.col("power_watt").abs() > pl.col("most_ampere") * pl.col("most_volt")]),
            temperature_out_of_range=_any(~pl.col(name).is_between(-60, 200) for name in temperatures),
            cell_voltage_out_of_range=_any(~pl.col(name).is_between("least_cell", "most_cell") for name in cells),
            soc_out_of_range=_any([~pl.col("soc_bms_percent").is_between(-5, 105)]),
        )
        .sort("battery_id", "timestamp", maintain_order=True)
        .select(contracts.CleanTelemetry.column_names())
    )


def _bounds(batteries: pl.DataFrame) -> pl.DataFrame:
    cells = pl.DataFrame(
        [(name, *chemistry.plausible_cell_volt) for name, chemistry in CHEMISTRY.items()],
        schema={"chemistry": pl.String, "least_cell": pl.Float64, "most_cell": pl.Float64},
        orient="row",
    )
    return batteries.join(cells, on="chemistry", how="left").select(
        "battery_id",
        "least_cell",
        "most_cell",
        least_volt=pl.col("least_cell") * pl.col("cells_in_series"),
        most_volt=pl.col("most_cell") * pl.col("cells_in_series"),
        most_ampere=MOST_C_RATE * pl.col("rated_capacity_ah"),
    )


def _any(doubts: Iterable[pl.Expr]) -> pl.Expr:
    """Whether any of several doubts is certain; what is unknown raises none."""
    return pl.any_horizontal(doubt.fill_null(value=False) for doubt in doubts)
