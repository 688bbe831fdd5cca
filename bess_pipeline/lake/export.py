"""What leaves the warehouse as files: its tables, telemetry in the Battery Data Format, battery passports.

References:
    Battery Data Alliance, Battery Data Format, https://github.com/battery-data-alliance/battery-data-format: names of
    quantities; positive current charges.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import quote

import duckdb
from pydantic_core import to_json

from bess_pipeline.lake.passport import passport
from bess_pipeline.lake.views import VIEWS
from bess_pipeline.lake.warehouse import Warehouse
from bess_pipeline.tables import catalog
from bess_pipeline.window import Window

Form = Literal["parquet", "csv"]

_OPTIONS: dict[Form, str] = {
    "parquet": "FORMAT parquet, COMPRESSION zstd",
    "csv": "FORMAT csv, HEADER, TIMESTAMPFORMAT '%Y-%m-%dT%H:%M:%S.%fZ', DATEFORMAT '%Y-%m-%d'",
}

#: Quantity of the Battery Data Format → column of `telemetry_5min`.
BDF: dict[str, str] = {
    "voltage_volt": "voltage_volt",
    "current_ampere": "current_ampere",
    "power_watt": "power_watt",
    "temperature_t1_celsius": "temperature_celsius",
    "ambient_temperature_celsius": "ambient_temperature_celsius",
}

_BATTERIES = """
    SELECT fleet_id, battery_id FROM batteries
    WHERE ($fleet IS NULL OR fleet_id = $fleet) AND ($battery IS NULL OR battery_id = $battery) ORDER BY ALL
"""


class ExportError(ValueError):
    """What was asked for cannot be written; the message says why."""


@dataclass(frozen=True)
class Part:
    """What is exported.

    Attributes:
        fleet_id: Only this fleet.
        battery_id: Only this battery.
        within: Only these days, of tables that have days.
    """

    fleet_id: str | None = None
    battery_id: str | None = None
    within: Window | None = None


def write_tables(
    warehouse: Warehouse, folder: Path, form: Form, part: Part = Part(), told: Callable[[str], None] = lambda _: None
) -> dict[str, int]:
    """Write every table and view of the warehouse to a file of its own, all of one publication.

    Args:
        warehouse: The warehouse.
        folder: An empty folder, or one that is not there.
        form: Parquet with all types, or CSV with instants in UTC.
        part: Fleet, battery and days; what has no battery, or no day, is not bounded by it.
        told: Is told each name.

    Returns:
        Table → rows.

    Raises:
        ExportError: If the folder holds something.
        FileNotFoundError: If nothing has been published yet.
    """
    rows = {}
    with warehouse.connection() as connection:
        _prepare(folder)
        for name, time in _names():
            told(name)
            where, values = _chosen(connection, name, time, part)
            file = str(folder / f"{name}.{form}").replace("'", "''")
            query = f"SELECT * FROM {name} WHERE {where}"
            copied = connection.execute(f"COPY ({query}) TO '{file}' ({_OPTIONS[form]})", values).fetchone()
            rows[name] = int(copied[0]) if copied else 0
    return rows


def write_bdf(warehouse: Warehouse, folder: Path, part: Part = Part()) -> list[Path]:
    """Write the 5-minute means of each battery in the Battery Data Format, a file per battery.

    ``unix_time_second`` is the start of the interval, ``test_time_second`` counts from the first row. What was repaired
    is repaired here, too. A preset of ours reads it back: `preset: bdf` of a fleet file.

    Raises:
        ExportError: If the folder holds something, or no battery is meant.
        FileNotFoundError: If nothing has been published yet.
    """
    columns = ", ".join(f'"{column}" AS "{name}"' for name, column in BDF.items())
    query = f"""
        SELECT epoch(timestamp) - min(epoch(timestamp)) OVER () AS test_time_second,
            epoch(timestamp) AS unix_time_second, {columns} FROM telemetry_5min WHERE {{}} ORDER BY timestamp
    """
    written = []
    with warehouse.connection() as connection:
        _prepare(folder)
        for fleet_id, battery_id in _batteries(connection, part):
            where, values = _chosen(connection, "telemetry_5min", "timestamp", Part(fleet_id, battery_id, part.within))
            file = folder / quote(fleet_id, safe="") / f"{quote(battery_id, safe=' ')}.bdf.csv"
            file.parent.mkdir(exist_ok=True)
            target = str(file).replace("'", "''")
            connection.execute(f"COPY ({query.format(where)}) TO '{target}' (FORMAT csv, HEADER)", values)
            written.append(file)
    return written


def write_passports(warehouse: Warehouse, folder: Path, part: Part = Part()) -> list[Path]:
    """Write what a battery passport says that changes while the battery is used, a JSON file per battery.

    Raises:
        ExportError: If the folder holds something, or no battery is meant.
        FileNotFoundError: If nothing has been published yet.
    """
    written = []
    with warehouse.connection() as connection:
        _prepare(folder)
        for fleet_id, battery_id in _batteries(connection, part):
            file = folder / quote(fleet_id, safe="") / f"{quote(battery_id, safe=' ')}.passport.json"
            file.parent.mkdir(exist_ok=True)
            document = passport(connection, {"fleet": fleet_id, "battery": battery_id})
            file.write_bytes(to_json(document, indent=1, inf_nan_mode="null"))
            written.append(file)
    return written


#: What a claim rests on: the 5-minute rows of each event, for a term that they show; the estimates of capacity.
_CLAIM = {
    "assumptions": "FROM assumptions WHERE fleet_id = $fleet ORDER BY name, position",
    "warranty_events": "FROM warranty_events WHERE fleet_id = $fleet ORDER BY battery_id, started_at, term",
    "warranty_daily": "FROM warranty_daily WHERE fleet_id = $fleet ORDER BY battery_id, date",
    "warranty_years": "FROM warranty_years WHERE fleet_id = $fleet ORDER BY battery_id, year",
    "warranty_forecast": "FROM warranty_forecast WHERE fleet_id = $fleet ORDER BY battery_id, as_of",
    "capacity_observations": "FROM capacity_observations WHERE fleet_id = $fleet ORDER BY battery_id, started_at",
    "capacity_tests": "FROM capacity_tests WHERE fleet_id = $fleet ORDER BY battery_id, started_at",
    "evidence": """
        SELECT e.term, e.started_at AS event_started_at, t.* FROM telemetry_5min t JOIN warranty_events e
            ON t.fleet_id = e.fleet_id AND t.battery_id = e.battery_id
            AND t.timestamp >= e.started_at AND t.timestamp < e.ended_at
        WHERE t.fleet_id = $fleet AND e.party = 'operator' ORDER BY t.battery_id, t.timestamp, e.term
    """,
}


def write_claim(warehouse: Warehouse, folder: Path, fleet_id: str) -> dict[str, int]:
    """Write the rows that a fleet's warranty report rests on, a Parquet file each.

    Returns:
        File, without its suffix → rows.

    Raises:
        ExportError: If the folder holds something.
        FileNotFoundError: If nothing has been published yet.
    """
    rows = {}
    with warehouse.connection() as connection:
        _prepare(folder)
        for name, query in _CLAIM.items():
            target = str(folder / f"{name}.parquet").replace("'", "''")
            sql = f"COPY ({query}) TO '{target}' ({_OPTIONS['parquet']})"
            copied = connection.execute(sql, {"fleet": fleet_id}).fetchone()
            rows[name] = int(copied[0]) if copied else 0
    return rows


def _prepare(folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ExportError(f"{folder} is not empty: name a folder that is, or none that is there")
    folder.mkdir(parents=True, exist_ok=True)


def _names() -> Iterator[tuple[str, str | None]]:
    """Tables and views, and the column of each that days bound."""
    for table in catalog.PUBLISHED:
        ordered = {*table.sort, *table.contract.primary_key()}
        yield table.name, next((name for name in ("timestamp", "date", "as_of", "started_at") if name in ordered), None)
    for view in VIEWS:
        yield view.name, "started_at"


def _chosen(
    connection: duckdb.DuckDBPyConnection, name: str, time: str | None, part: Part
) -> tuple[str, dict[str, object]]:
    has = set(connection.sql(f"FROM {name} LIMIT 0").columns)
    conditions, values = ["true"], dict[str, object]()
    for column, value in (("fleet_id", part.fleet_id), ("battery_id", part.battery_id)):
        if value is not None and column in has:
            conditions.append(f"{column} = ${column}")
            values[column] = value
    if part.within is not None and time is not None:
        conditions.append(f"{time} >= $first AND {time} < $behind")
        values |= {"first": part.within.start, "behind": part.within.end}
    return " AND ".join(conditions), values


def _batteries(connection: duckdb.DuckDBPyConnection, part: Part) -> list[tuple[str, str]]:
    found = connection.execute(_BATTERIES, {"fleet": part.fleet_id, "battery": part.battery_id}).fetchall()
    if not found:
        raise ExportError("there is no such battery: `bess sql 'FROM batteries'` shows those that there are")
    return [(str(fleet_id), str(battery_id)) for fleet_id, battery_id in found]
