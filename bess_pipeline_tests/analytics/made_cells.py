"""Batteries whose charge is known: 5-minute rows computed from a capacity, a curve, a resistance and a current."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import dataframely as dy
import numpy as np
import polars as pl

from bess_pipeline.tables.chemistry import CHEMISTRY
from bess_pipeline.tables.fleet import Battery, OcvPoint
from bess_pipeline.tables.telemetry import ClosedInterval5min, DayEvidence, Telemetry5min

START = datetime(2026, 1, 1, tzinfo=UTC)
CELLS = 100
OHM = 0.05
RATED_AH = 100.0
RATED_WH = 36_000.0
WHOLE_US = 300_000_000


def batteries(*names: str, chemistry: str = "NMC", cells: int | None = CELLS) -> pl.DataFrame:
    row = {
        "fleet_id": "f",
        "chemistry": chemistry,
        "rated_capacity_ah": RATED_AH,
        "rated_energy_wh": RATED_WH,
        "cells_in_series": cells,
        "resistance_ohm": OHM,
        "initial_equivalent_full_cycles": 10.0,
        "end_of_life_percent": 80.0,
        "cell_voltage_low_volt": CHEMISTRY[chemistry].cell_voltage_low_volt,
        "cell_voltage_high_volt": CHEMISTRY[chemistry].cell_voltage_high_volt,
        "temperature_low_celsius": 0.0,
        "temperature_high_celsius": 45.0,
        "sampling": "instant",
    }
    return pl.DataFrame([row | {"battery_id": name} for name in names], schema=Battery.create_empty().schema)


def whole(frame: pl.DataFrame, contract: type[dy.Schema], **constant: object) -> pl.DataFrame:
    """A frame with all columns of a contract: those that are not given are null."""
    given = frame.with_columns(**{name: pl.lit(value) for name, value in constant.items()})
    schema = contract.create_empty().schema
    return given.select(
        (pl.col(name) if name in given.columns else pl.lit(None)).cast(kind).alias(name)
        for name, kind in schema.items()
    )


def curves(plates: pl.DataFrame) -> pl.DataFrame:
    return pl.DataFrame(
        [
            {"fleet_id": "f", "battery_id": plate["battery_id"], "soc_percent": soc, "ocv_volt": volt}
            for plate in plates.to_dicts()
            for soc, volt in CHEMISTRY[plate["chemistry"]].ocv
        ],
        schema=OcvPoint.create_empty().schema,
    )


def ocv(soc_percent: np.ndarray, chemistry: str = "NMC") -> np.ndarray:
    return np.interp(soc_percent, *np.array(CHEMISTRY[chemistry].ocv).T)


def cycling(days: int, *, low: float, high: float, rest_hours: float = 2.0, rate: float = 0.25) -> np.ndarray:
    """Shares of C per 5 minutes that swing the state of charge between low and high [%], resting at both ends."""
    rows_per_leg = round((high - low) / 100 / rate * 12)
    rest = np.zeros(round(rest_hours * 12))
    exact = (high - low) / 100 / (rows_per_leg / 12)
    cycle = np.concatenate([np.full(rows_per_leg, exact), rest, np.full(rows_per_leg, -exact), rest])
    return np.resize(cycle, days * 288)


def soc_of(rates: np.ndarray, *, first_soc: float) -> np.ndarray:
    """True state of charge at the start of each row, and at the end of the last [%], for a rate of today's capacity."""
    return first_soc + np.concatenate([[0.0], np.cumsum(100 * rates / 12)])


def intervals(
    rates: np.ndarray,
    *,
    first_soc: float,
    capacity_ah: float = RATED_AH,
    battery: str = "b",
    chemistry: str = "NMC",
    gain: float = 1.0,
    offset_ampere: float = 0.0,
    **columns: object,
) -> pl.DataFrame:
    """Rows of a battery of that capacity at those rates [of its capacity], as a sensor with that error sees them."""
    soc = soc_of(rates, first_soc=first_soc)
    true_ampere = rates * capacity_ah
    ampere = true_ampere * gain + offset_ampere
    mean = CELLS * ocv((soc[:-1] + soc[1:]) / 2, chemistry) + true_ampere * OHM
    ends = [CELLS * ocv(part, chemistry) + true_ampere * OHM for part in (soc[:-1], soc[1:])]
    frame = pl.DataFrame(
        {
            "timestamp": pl.Series([START + k * timedelta(minutes=5) for k in range(len(rates))]).dt.cast_time_unit(
                "us"
            ),
            "charging_capacity_ah": np.maximum(ampere, 0) / 12,
            "discharging_capacity_ah": np.maximum(-ampere, 0) / 12,
            "charging_energy_wh": np.maximum(ampere, 0) / 12 * mean,
            "discharging_energy_wh": np.maximum(-ampere, 0) / 12 * mean,
            "voltage_volt": mean,
            "current_ampere": ampere,
            "power_watt": ampere * mean,
            "temperature_celsius": np.full(len(rates), 25.0),
            "current_abs_max_ampere": np.abs(ampere),
            "voltage_min_volt": np.minimum(*ends),
            "voltage_max_volt": np.maximum(*ends),
            "cell_voltage_min_volt": np.minimum(*ends) / CELLS,
            "cell_voltage_max_volt": np.maximum(*ends) / CELLS,
        }
    ).with_columns(**{name: pl.lit(value) for name, value in columns.items()})
    schema = ClosedInterval5min.create_empty().schema
    given = frame.with_columns(fleet_id=pl.lit("f"), battery_id=pl.lit(battery), date=pl.col("timestamp").dt.date())
    missing = [
        pl.lit(
            WHOLE_US if name.endswith("_us") else 5 if name == "samples" else 0 if name.startswith("step_") else None
        )
        .cast(kind)
        .alias(name)
        for name, kind in schema.items()
        if name not in given.columns
    ]
    return given.with_columns(*missing).select(pl.col(name).cast(kind) for name, kind in schema.items())


def telemetry(rows: pl.DataFrame, soc: object, *, half: float = 1.0) -> pl.DataFrame:
    """`Telemetry5min` rows of these intervals with a given state of charge, known to half an interval."""
    frame = rows.with_columns(
        soc_percent=pl.Series(soc), soc_lower_percent=pl.Series(soc) - half, soc_upper_percent=pl.Series(soc) + half,
        coverage_fraction=pl.lit(1.0),
    )  # fmt: skip
    schema = Telemetry5min.create_empty().schema
    return frame.with_columns(
        pl.lit(None, kind).alias(name) for name, kind in schema.items() if name not in frame.columns
    ).select(list(schema))


def evidence(rows: pl.DataFrame, **columns: object) -> pl.DataFrame:
    """Evidence of each battery-day of the rows: no flags unless told."""
    schema = DayEvidence.create_empty().schema
    days = rows.select("fleet_id", "battery_id", "date").unique().sort("battery_id", "date").with_columns(**columns)
    return days.with_columns(
        *[
            pl.lit(0 if kind == pl.Int64 else [] if name == "edges" else None).cast(kind).alias(name)
            for name, kind in schema.items()
            if name not in days.columns
        ]
    ).select(pl.col(name).cast(kind) for name, kind in schema.items())
