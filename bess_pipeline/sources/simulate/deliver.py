"""Writing a synthetic fleet: its fleet file, its landing files in the dialect of its site, and its truth."""

from __future__ import annotations

import gzip
import io
import json
from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl
import yaml

from bess_pipeline.sources.simulate.cells import Cells
from bess_pipeline.sources.simulate.data_faults import delivered, events_table
from bess_pipeline.sources.simulate.fleet import Simulated
from bess_pipeline.sources.simulate.plan import Plan
from bess_pipeline.sources.simulate.truth import END_OF_LIFE, truth_tables

#: Files are never dated beyond this many days after the last sample.
_LATEST = 5

_ZONE = "Europe/Berlin"
_FORMAT = "%d.%m.%Y %H:%M:%S"
_GERMAN = {
    "timestamp": "Zeitstempel",
    "battery_id": "Rack",
    "current_ampere": "Strom_A",
    "voltage_volt": "Spannung_V",
    "temperature_celsius": "Temp_C",
    "temperature_min_celsius": "TempMin_C",
    "temperature_max_celsius": "TempMax_C",
    "cell_voltage_min_volt": "UZellMin_mV",
    "cell_voltage_max_volt": "UZellMax_mV",
    "soc_bms_percent": "SOC",
    "soh_bms_percent": "SOH",
    "ambient_temperature_celsius": "TempUmgebung_C",
}


def write_fleet(simulated: Simulated, home: Path) -> dict[str, int]:
    """Write a synthetic fleet into a home: ``fleets/``, ``landing/<fleet_id>/`` and ``truth/<fleet_id>/``.

    Half of the seeds deliver Parquet in house names, the others semicolon-separated
    text with German names, millivolts, fractions, local time and discharge-positive
    current.

    Args:
        simulated: The fleet.
        home: The deployment's folder.

    Returns:
        Name of each landing file → rows in it.
    """
    plan = simulated.plan
    delivery = delivered(plan, simulated.samples)
    is_text = plan.seed % 2 == 1
    _write_fleet_file(simulated, home / "fleets", is_text=is_text)
    landing = home / "landing" / plan.fleet_id
    landing.mkdir(parents=True, exist_ok=True)
    written: dict[str, int] = {}
    last = plan.start + timedelta(days=plan.days + _LATEST)
    rows = delivery.rows.with_columns(pl.col("sent").clip(upper_bound=last)).sort("sent", "place", maintain_order=True)
    for day in rows.partition_by("sent", maintain_order=True):
        name = f"{day['sent'][0]}.{'csv.gz' if is_text else 'parquet'}"
        content = day.drop("sent", "place")
        if is_text:
            _write_text(content, landing / name)
        else:
            content.write_parquet(landing / name)
        written[name] = content.height
    _write_truth(simulated, home / "truth" / plan.fleet_id, delivery.events)
    return written


def _write_text(rows: pl.DataFrame, path: Path) -> None:
    local = rows.with_columns(
        pl.col("timestamp").dt.convert_time_zone(_ZONE).dt.strftime(_FORMAT),
        -pl.col("current_ampere"),
        pl.col("cell_voltage_min_volt") * 1000,
        pl.col("cell_voltage_max_volt") * 1000,
        pl.col("soc_bms_percent") / 100,
        pl.col("soh_bms_percent") / 100,
    ).rename(_GERMAN)
    text = io.BytesIO()
    local.write_csv(text, separator=";", float_precision=4)
    with (
        path.open("wb") as file,
        gzip.GzipFile(filename="", fileobj=file, mode="wb", compresslevel=1, mtime=0) as packed,
    ):
        packed.write(text.getvalue())


def _write_fleet_file(simulated: Simulated, folder: Path, *, is_text: bool) -> None:
    plan, cells = simulated.plan, simulated.cells
    folder.mkdir(parents=True, exist_ok=True)
    curve = f"{plan.fleet_id}-ocv.csv"
    published_curve(cells, plan).write_csv(folder / curve)
    source: dict[str, object] = {"files": "*.parquet", "format": "parquet"}
    if is_text:
        columns: dict[str, dict[str, str]] = {house: {"from": name} for house, name in _GERMAN.items()}
        columns["timestamp"]["format"] = _FORMAT
        columns["current_ampere"]["positive"] = "discharge"
        for name in ("cell_voltage_min_volt", "cell_voltage_max_volt"):
            columns[name]["unit"] = "mV"
        for name in ("soc_bms_percent", "soh_bms_percent"):
            columns[name]["unit"] = "fraction"
        source = {
            "files": "*.csv.gz", "format": "csv", "separator": ";", "timezone": _ZONE, "columns": columns,
        }  # fmt: skip
    content = {
        "fleet_id": plan.fleet_id,
        "name": f"Synthetic {plan.chemistry} fleet, {plan.profile.replace('_', ' ')}",
        "commissioned": plan.start,
        "battery": {
            "chemistry": plan.chemistry,
            "rated_capacity_ah": cells.capacity_ah,
            "rated_energy_wh": round(cells.capacity_ah * cells.in_series * cells.nominal_volt),
            "cells_in_series": cells.in_series,
            "resistance_ohm": round(cells.ohm * cells.in_series, 4),
            "ocv_curve": curve,
            "limits": {
                "cell_voltage_min_volt": cells.low_volt,
                "cell_voltage_max_volt": round(cells.high_volt + 0.05, 2),
                "temperature_min_celsius": 0,
                "temperature_max_celsius": 50,
            },
        },
        "source": source,
    }
    (folder / f"{plan.fleet_id}.yaml").write_text(yaml.safe_dump(content, sort_keys=False))


def published_curve(cells: Cells, plan: Plan) -> pl.DataFrame:
    """The maker's table of the open-circuit voltage: a few millivolts from the truth, as makers' tables are."""
    chance = np.random.default_rng([plan.seed, 13])
    soc = np.linspace(0, 1, 101)
    wrong = 0.003 * np.sin(2 * np.pi * (soc * chance.uniform(0.7, 1.6) + chance.uniform()))
    volt = np.maximum.accumulate(cells.ocv(soc) + wrong + 1e-5 * np.arange(101))
    return pl.DataFrame({"soc_percent": 100 * soc, "ocv_volt": np.round(volt, 5)})


def _write_truth(simulated: Simulated, folder: Path, events: list[dict[str, object]]) -> None:
    plan, cells = simulated.plan, simulated.cells
    for part in ("truth", "meta"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    for name, table in truth_tables(simulated).items():
        table.write_parquet(folder / "truth" / f"{name}.parquet")
    events_table(events).write_parquet(folder / "truth" / "dq_events.parquet")
    arguments = {
        "racks": plan.batteries,
        "days": plan.days,
        "dt": plan.interval_seconds,
        "start": plan.start.isoformat(),
        "eol": END_OF_LIFE,
        "agg": "mean" if plan.interval_seconds >= 300 else "last",
        "seed": plan.seed,
    }
    (folder / "meta" / "run.json").write_text(json.dumps({"args": arguments}, indent=1))
    site = {
        "site_id": plan.fleet_id,
        "chem": plan.chemistry,
        "profile": plan.profile,
        "racks": [plan.battery_id(number) for number in range(plan.batteries)],
        "cells_series": cells.in_series,
        "nominal_ah": cells.capacity_ah,
        "nominal_v": round(cells.in_series * cells.nominal_volt),
        "cell_v_limits": [cells.low_volt, cells.high_volt],
        "sample_s": plan.interval_seconds,
        "commissioned": plan.start.isoformat(),
    }
    (folder / "meta" / "site.json").write_text(json.dumps([site], indent=1))
