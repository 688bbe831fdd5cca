"""Hypothesis strategies for telemetry, and the frames around it."""

from datetime import UTC, datetime, timedelta

import polars as pl
from hypothesis import strategies as st

from bess_pipeline.tables.fleet import Battery
from bess_pipeline.tables.telemetry import FLAGS, MEASUREMENTS, CleanTelemetry

START = datetime(2026, 3, 28, tzinfo=UTC)
_SCHEMA = CleanTelemetry.create_empty().schema


def batteries(*names, sampling="instant", fleet="f"):
    """Nameplates of LFP racks of 280 Ah."""
    rows = [
        {
            "fleet_id": fleet,
            "battery_id": name,
            "chemistry": "LFP",
            "rated_capacity_ah": 280.0,
            "rated_energy_wh": 215040.0,
            "cells_in_series": 240,
            "resistance_ohm": None,
            "initial_equivalent_full_cycles": 0.0,
            "end_of_life_percent": 80.0,
            "cell_voltage_low_volt": 2.5,
            "cell_voltage_high_volt": 3.65,
            "temperature_low_celsius": 0.0,
            "temperature_high_celsius": 50.0,
            "sampling": sampling,
        }
        for name in names
    ]
    return Battery.validate(pl.DataFrame(rows, schema=Battery.create_empty().schema))


def clean(rows, *, fleet="f"):
    """`CleanTelemetry` rows; each row is a dict with battery_id, timestamp and what was measured."""
    full = [
        {"fleet_id": fleet, "date": row["timestamp"].date(), "status": None}
        | dict.fromkeys(MEASUREMENTS)
        | dict.fromkeys(FLAGS, False)
        | row
        for row in rows
    ]
    return pl.DataFrame(full, schema=_SCHEMA)


def sample(seconds, battery="b", **measured):
    """One sample so many seconds after `START`."""
    return {"battery_id": battery, "timestamp": START + timedelta(seconds=seconds), **measured}


_maybe = lambda values: st.one_of(st.none(), values)  # noqa: E731 - reads as a word below


@st.composite
def histories(draw, *, days=3, fewest=2, most=60, battery="b"):
    """Irregular samples of one battery over some days, each channel now and then unknown."""
    times = draw(
        st.lists(st.integers(0, days * 86400 - 1), min_size=fewest, max_size=most, unique=True).map(sorted)
        | st.tuples(st.integers(0, 86400 * (days - 1)), st.sampled_from([30, 60, 170, 300, 900])).map(
            lambda begin_step: [begin_step[0] + begin_step[1] * k for k in range(most)]
        )
    )
    current = _maybe(st.integers(-140, 140).map(float))
    volt = _maybe(st.integers(700, 830).map(float))
    return [
        sample(
            second,
            battery,
            current_ampere=draw(current),
            voltage_volt=draw(volt),
            temperature_celsius=draw(_maybe(st.integers(10, 40).map(float))),
        )
        for second in times
    ]
