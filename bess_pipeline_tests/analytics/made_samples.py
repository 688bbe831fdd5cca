"""Made-up samples of batteries: rows as received that collide often, clean samples around midnights."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

import polars as pl
from hypothesis import strategies as st

from bess_pipeline.tables.fleet import Battery
from bess_pipeline.tables.telemetry import FLAGS, CleanTelemetry, RawTelemetry

FLEET = "f"
MIDNIGHT = datetime(2026, 3, 2, tzinfo=UTC)
_RECEIVED = {name: kind for name, kind in RawTelemetry.create_empty().schema.items() if name != "verdict"}
_CLEAN = CleanTelemetry.create_empty().schema
_SECOND = 1_000_000

#: From one sample to the next [µs]: within a bin, to a border and over it, bridged silences, gaps, whole days.
_STEPS = [1, 999_983, *(s * _SECOND for s in (1, 10, 59, 60, 61, 150, 299, 300, 301, 600, 900, 1_900, 4_600, 90_000))]
#: The first sample comes this long before midnight [µs].
_LEADS = [0, 1, *(s * _SECOND for s in (30, 300, 301, 1_800, 5_400))]


def nameplates(ids: Iterable[str], **changes: object) -> pl.DataFrame:
    """`Battery` rows: LFP, 100 Ah, 10 cells in series, sampled at instants, unless told otherwise."""
    plate: dict[str, object] = {
        "fleet_id": FLEET,
        "chemistry": "LFP",
        "rated_capacity_ah": 100.0,
        "rated_energy_wh": 3200.0,
        "cells_in_series": 10,
        "initial_equivalent_full_cycles": 0.0,
        "end_of_life_percent": 80.0,
        "cell_voltage_low_volt": 2.5,
        "cell_voltage_high_volt": 3.65,
        "temperature_low_celsius": 0.0,
        "temperature_high_celsius": 45.0,
        "sampling": "instant",
        **changes,
    }
    return pl.DataFrame([{**plate, "battery_id": name} for name in ids], schema=Battery.create_empty().schema)


def received_frame(rows: Sequence[dict[str, object]]) -> pl.DataFrame:
    """`RawTelemetry` rows without the verdict; what a row does not name is null."""
    shared = {"fleet_id": FLEET, "path": "a.csv", "first_seen": 1, "clock_shift_us": 0}
    full = [{**shared, "row_number": n, **row, "date": row["timestamp"].date()} for n, row in enumerate(rows)]
    return pl.DataFrame(full, schema=_RECEIVED)


def clean_frame(rows: Sequence[dict[str, object]]) -> pl.DataFrame:
    """`CleanTelemetry` rows; what a row does not name is null, flags are down."""
    shared = {"fleet_id": FLEET, "battery_id": "b", "clock_shift_us": 0, **dict.fromkeys(FLAGS, False)}
    return pl.DataFrame([{**shared, **row, "date": row["timestamp"].date()} for row in rows], schema=_CLEAN)


def _number(low: float, high: float) -> st.SearchStrategy[float]:
    return st.floats(low, high, allow_nan=False).map(lambda number: round(number, 2))


@st.composite
def received_rows(draw: st.DrawFn) -> pl.DataFrame:
    """Few batteries, instants and values from several files, so that rows collide often."""
    row = st.fixed_dictionaries(
        {
            "battery_id": st.sampled_from(["a", "b", "c"]),
            "timestamp": st.integers(0, 4).map(lambda step: MIDNIGHT + timedelta(minutes=step)),
            "first_seen": st.integers(1, 2),
            "path": st.sampled_from(["a.csv", "b.csv"]),
            "voltage_volt": st.sampled_from([None, 0.0, -0.0, 33.0]),
            "current_ampere": st.sampled_from([None, 5.0, -5.0]),
            "status": st.sampled_from([None, "idle"]),
        }
    )
    return received_frame(draw(st.lists(row, max_size=30)))


def _sample() -> st.SearchStrategy[tuple[dict[str, object], int]]:
    seldom = st.sampled_from([False] * 9 + [True])
    known = {
        "voltage_volt": st.none() | _number(0, 40),
        "current_ampere": st.none() | _number(-100, 100),
        "power_watt": st.none() | _number(-4000, 4000),
        "temperature_celsius": st.none() | _number(-20, 60),
        "ambient_temperature_celsius": st.none() | _number(-30, 45),
        "power_ac_watt": st.none() | _number(-4000, 4000),
        "auxiliary_power_watt": st.none() | _number(-5, 100),
    }
    flagged = {f"{channel}_out_of_range": seldom for channel in ("voltage", "current", "power", "temperature")}
    return st.tuples(st.fixed_dictionaries({**known, **flagged}), st.sampled_from(_STEPS))


@st.composite
def samples_around_midnights(draw: st.DrawFn, batteries: Sequence[str] = ("a", "b")) -> list[dict[str, object]]:
    """Samples of some batteries, unevenly spaced to the microsecond, with unknown and flagged values."""
    rows: list[dict[str, object]] = []
    for battery in batteries:
        at = MIDNIGHT - timedelta(microseconds=draw(st.sampled_from(_LEADS)))
        for values, step in draw(st.lists(_sample(), min_size=1, max_size=25)):
            rows.append({**values, "battery_id": battery, "timestamp": at})
            at += timedelta(microseconds=step)
    return rows
