"""Flags on telemetry of laboratories and of a plant, which is good but for what is published about it."""

from datetime import UTC, datetime

import polars as pl
import pytest

from bess_pipeline_tests.analytics.made_telemetry import FLEET, SAMPLE_SCHEMA, counted, found

pytestmark = pytest.mark.real_data

#: Flags that tell of how samples came, not of what they say.
OF_TIMES = {"gap"}

#: Data set → file, battery, time, measurements, nameplate; discharge is positive in all but one.
SETS = {
    "lipo_crate": (
        "lipo_crate/lipo_crate.parquet",
        pl.concat_str("cell_id", "crate_file", separator="/"),
        pl.col("t_s"),
        {"voltage_volt": pl.col("voltage_v"), "current_ampere": -pl.col("current_a_logged"),
         "temperature_celsius": pl.col("temperature_c"), "soc_bms_percent": pl.col("soc_ref_pct")},
        {"chemistry": "LCO", "rated_capacity_ah": 5.45, "rated_energy_wh": 20.2, "cells_in_series": 1},
    ),
    "lfp_soc": (
        "lfp_soc/lfp_soc.parquet",
        pl.col("test"),
        pl.col("t_s"),
        {"voltage_volt": pl.col("voltage_v"), "current_ampere": -pl.col("current_a_logged"),
         "soc_bms_percent": 100 * pl.col("soc_ref")},
        {"chemistry": "LFP", "rated_capacity_ah": 1.2, "rated_energy_wh": 3.84, "cells_in_series": 1},
    ),
    "dmegc_rw": (
        "dmegc_rw/dmegc_rw.parquet",
        pl.concat_str("cell_id", "test", "seq", separator="/"),
        pl.col("t_s"),
        {"voltage_volt": pl.col("voltage_v"), "current_ampere": -pl.col("current_a_logged"),
         "temperature_celsius": pl.col("temperature_c"), "soc_bms_percent": 100 * pl.col("soc_ref")},
        {"chemistry": "NMC", "rated_capacity_ah": 2.6, "rated_energy_wh": 9.36, "cells_in_series": 1},
    ),
}  # fmt: skip


def samples_of(rows, battery, at, measured):
    """Accepted rows of a published table; of one battery and instant the last counts."""
    told = rows.select(
        battery_id=battery, timestamp=at, **{name: value.cast(pl.Float64) for name, value in measured.items()}
    )
    told = told.unique(["battery_id", "timestamp"], keep="last", maintain_order=True).sort("battery_id", "timestamp")
    told = told.with_columns(
        fleet_id=pl.lit(FLEET),
        date=pl.col("timestamp").dt.date(),
        arrival=pl.int_range(pl.len()),
        clock_shift_us=pl.lit(0),
    )
    return told.select(
        (pl.col(name) if name in told.columns else pl.lit(None)).cast(kind).alias(name)
        for name, kind in SAMPLE_SCHEMA.items()
    )


def seconds(column):
    """Instants of a relative clock."""
    origin = pl.lit(datetime(2024, 1, 1, tzinfo=UTC))
    return origin + pl.duration(microseconds=(column.cast(pl.Float64) * 1_000_000).round().cast(pl.Int64))


@pytest.mark.parametrize("name", SETS)
def test_cells_in_a_laboratory_have_no_flag(shared_data, name):
    """Constant current, pulses, random walks and long rests, at 1 s and less."""
    file, battery, at, measured, plate = SETS[name]
    rows = samples_of(pl.read_parquet(shared_data / file), battery, seconds(at), measured)
    assert rows.height > 90_000
    assert set(counted(found(rows, **plate))) <= OF_TIMES


def test_of_two_million_samples_of_ageing_cells_twelve_have_a_doubtful_voltage(shared_data):
    """Nine are 8 V or 0 V; three are the sag of B0006 at the very end of its discharge, twenty seconds apart."""
    files = sorted((shared_data / "nasa_pcoe" / "timeseries").glob("*.parquet"))
    rows = pl.concat([pl.read_parquet(file) for file in files])
    at = pl.lit(datetime(2024, 1, 1, tzinfo=UTC)) + pl.duration(days=pl.col("op_index"), milliseconds=pl.col("t_ms"))
    measured = {"voltage_volt": pl.col("voltage_v"), "current_ampere": pl.col("current_a"),
                "temperature_celsius": pl.col("temperature_c")}  # fmt: skip
    cleaned = found(samples_of(rows, pl.col("cell_id"), at, measured), chemistry="LCO", rated_capacity_ah=2.0,
                    rated_energy_wh=7.4, cells_in_series=1)  # fmt: skip
    flags = counted(cleaned)
    assert cleaned.height > 2_000_000
    assert set(flags) <= OF_TIMES | {"missing_value", "voltage_out_of_range", "voltage_spike"}
    assert flags["voltage_out_of_range"] == 9
    assert flags["voltage_spike"] <= 3


def test_the_jumps_of_the_reported_charge_of_m5bat_are_found(shared_data):
    """Published: 18 and 22 steps of one percent or more in a second on Batt10, none on Batt1; see its README."""
    rows = pl.read_parquet(shared_data / "m5bat" / "units_1s.parquet").filter(pl.col("u_dc_v").is_not_null())
    measured = {
        "voltage_volt": pl.col("u_dc_v"),
        "current_ampere": -pl.col("i_dc_a"),
        "soc_bms_percent": pl.col("soc_bms_pct"),
    }
    lead_acid = {"rated_capacity_ah": 1777.0, "rated_energy_wh": 1.066e6, "cells_in_series": 300}
    lto = {"rated_capacity_ah": 320.0, "rated_energy_wh": 2.3e5, "cells_in_series": 312}
    plates = {"Batt1": {"chemistry": "lead_acid", **lead_acid}, "Batt10": {"chemistry": "LTO", **lto}}
    large = {}
    for battery, plate in plates.items():
        mine = samples_of(rows.filter(unit=battery), pl.col("unit"), pl.col("ts_utc"), measured)
        cleaned = found(mine, **plate)
        assert set(counted(cleaned)) <= OF_TIMES | {"soc_jump"}
        change = pl.col("soc_bms_percent").diff().over("date").abs()
        steps = cleaned.with_columns(change=change).filter(pl.col("change") >= 1)
        assert steps["soc_jump"].all()
        large[battery] = [steps.filter(pl.col("date").dt.day() == day).height for day in (7, 13)]
    assert large["Batt10"] == [18, 22]
    assert large["Batt1"] == [0, 0]
