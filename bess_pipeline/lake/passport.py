"""Battery passports: what changes while a battery is used, each with what it rests on.

References:
    Regulation (EU) 2023/1542 concerning batteries, Annex VII (state of health and expected lifetime of stationary
    battery energy storage systems) and Annex XIII, point 4 (dynamic data of the battery passport).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import duckdb
import polars as pl


@dataclass(frozen=True)
class Attribute:
    """One dynamic attribute of a battery passport.

    Attributes:
        name: What it is called here.
        of: Where the regulation asks for it.
        unit: Its unit.
        source: Table and columns that it is made of; why it is not known, where nothing tells.
        sql: Its value, and where they are known the ends of its 90 % interval and the day that it is of.
    """

    name: str
    of: str
    unit: str
    source: str
    sql: str | None = None


_OF = "fleet_id = $fleet AND battery_id = $battery"
_LAST_DAY = f"(SELECT max(date) FROM battery_daily WHERE {_OF})"


def _last(columns: str, table: str, known: str) -> str:
    return f"SELECT {columns} FROM {table} WHERE {_OF} AND {known} IS NOT NULL ORDER BY date DESC LIMIT 1"


def _sum(columns: str, table: str) -> str:
    return f"SELECT sum({columns}), NULL, NULL, max(date) FROM {table} WHERE {_OF}"


def _hours(beyond: str) -> str:
    """Hours of 5-minute rows whose temperature is outside the nameplate, as far as they were seen."""
    return f"""
        SELECT coalesce(sum(t.coverage_fraction) FILTER ({beyond} AND (
            coalesce(t.temperature_max_celsius, t.temperature_celsius) > b.temperature_high_celsius
            OR coalesce(t.temperature_min_celsius, t.temperature_celsius) < b.temperature_low_celsius)) / 12, 0),
            NULL, NULL, max(t.date) FROM telemetry_5min t JOIN batteries b USING (fleet_id, battery_id)
        WHERE {_OF} HAVING count(t.temperature_celsius) > 0
    """


_STATE, _LIFE, _USE = "Annex VII, part A", "Annex VII, part B", "Annex XIII, point 4"

ATTRIBUTES: tuple[Attribute, ...] = (
    Attribute(
        "remaining_capacity", _STATE, "Ah", "state_of_health.capacity_ah",
        _last(
            "capacity_ah, capacity_ah * soh_lower_percent / soh_percent, "
            "capacity_ah * soh_upper_percent / soh_percent, date",
            "state_of_health",
            "capacity_ah",
        ),
    ),
    Attribute(
        "state_of_health", _STATE, "%", "state_of_health.soh_percent",
        _last("soh_percent, soh_lower_percent, soh_upper_percent, date", "state_of_health", "soh_percent"),
    ),
    Attribute("remaining_power_capability", _STATE, "W", "not known: no test of full power is among the data"),
    Attribute(
        "remaining_round_trip_efficiency", _STATE, "%", "battery_daily.round_trip_efficiency_30d_percent",
        _last("round_trip_efficiency_30d_percent, round_trip_efficiency_30d_lower_percent, "
              "round_trip_efficiency_30d_upper_percent, date", "battery_daily", "round_trip_efficiency_30d_percent"),
    ),
    Attribute("self_discharge_rate", _STATE, "%/month", "not known: rests are too short to tell it"),
    Attribute(
        "ohmic_resistance", _STATE, "Ω", "state_of_health.resistance_ohm, at 25 °C and 50 % charge",
        _last("resistance_ohm, resistance_lower_ohm, resistance_upper_ohm, date", "state_of_health", "resistance_ohm"),
    ),
    Attribute("date_of_putting_into_service", _LIFE, "", "not known: the fleet file says `commissioned`"),
    Attribute(
        "energy_throughput_charged", _LIFE, "Wh", "battery_daily.charging_energy_wh, all days",
        _sum("charging_energy_wh", "battery_daily"),
    ),
    Attribute(
        "energy_throughput_discharged", _LIFE, "Wh", "battery_daily.discharging_energy_wh, all days",
        _sum("discharging_energy_wh", "battery_daily"),
    ),
    Attribute(
        "capacity_throughput_charged", _LIFE, "Ah", "battery_daily.charging_capacity_ah, all days",
        _sum("charging_capacity_ah", "battery_daily"),
    ),
    Attribute(
        "capacity_throughput_discharged", _LIFE, "Ah", "battery_daily.discharging_capacity_ah, all days",
        _sum("discharging_capacity_ah", "battery_daily"),
    ),
    Attribute(
        "full_equivalent_cycles", _LIFE, "", "battery_latest.equivalent_full_cycles, those of the fleet file included",
        f"SELECT equivalent_full_cycles, NULL, NULL, timestamp FROM battery_latest WHERE {_OF}",
    ),
    Attribute(
        "deep_discharge_events", _LIFE, "", "limit_episodes of code UNDER_VOLT_ALARM",
        "SELECT count(*) FILTER (code = 'UNDER_VOLT_ALARM'), NULL, NULL, "
        f"{_LAST_DAY} FROM limit_episodes WHERE {_OF}",
    ),
    Attribute(
        "hours_at_extreme_temperature", _LIFE, "h",
        "telemetry_5min: beyond batteries.temperature_low_celsius or temperature_high_celsius", _hours("true"),
    ),
    Attribute(
        "hours_charging_at_extreme_temperature", _LIFE, "h", "the same, with current_ampere above 0",
        _hours("t.current_ampere > 0"),
    ),
    Attribute(
        "state_of_charge", _USE, "%", "battery_latest.soc_percent",
        f"SELECT soc_percent, NULL, NULL, timestamp FROM battery_latest WHERE {_OF}",
    ),
    Attribute(
        "negative_events", _USE, "", "event_verdicts that are no info, family data left out",
        "SELECT count(*) FILTER (effective_severity <> 'info' AND family <> 'data'), NULL, NULL, "
        f"{_LAST_DAY} FROM event_verdicts WHERE {_OF}",
    ),
)  # fmt: skip


def passport(connection: duckdb.DuckDBPyConnection, which: dict[str, object]) -> dict[str, Any]:
    """What the passport of a battery says that changes while it is used.

    Args:
        connection: To the warehouse.
        which: `fleet` and `battery`.
    """
    told = []
    for one in ATTRIBUTES:
        found = connection.execute(one.sql, which).fetchone() if one.sql is not None else None
        value, lower, upper, as_of = found or (None, None, None, None)
        told.append(
            {
                "name": one.name,
                "value": value,
                "lower": lower,
                "upper": upper,
                "unit": one.unit or None,
                "as_of": None if value is None else as_of,
                "required_by": one.of,
                "source": one.source,
            }
        )
    bands = pl.DataFrame(
        connection.execute(
            "SELECT quantity, band, sum(observed_hours) AS hours FROM time_in_bands WHERE "
            f"{_OF} GROUP BY quantity, position, band ORDER BY quantity, position",
            which,
        ).fetchall(),
        schema={"quantity": pl.String, "band": pl.String, "hours": pl.Float64},
        orient="row",
    )
    return {
        "regulation": "(EU) 2023/1542",
        "fleet_id": which["fleet"],
        "battery_id": which["battery"],
        "attributes": told,
        "hours_in_bands": {
            "required_by": _USE,
            "unit": "h",
            "source": "time_in_bands.observed_hours",
            "bands": bands.to_dicts(),
        },
    }
