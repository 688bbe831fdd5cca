"""What the warehouse knows of a fleet's batteries at the time of some prices."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import polars as pl

from bess_pipeline.lake.warehouse import Warehouse

#: What a battery can do now; power is what it was seen to give and take, but for the rarest half percent.
_UNITS = """
    WITH ageing AS (
        SELECT battery_id, arg_max(calendar_unit_percent, as_of) AS calendar_unit,
            arg_max(cycle_unit_percent, as_of) AS cycle_unit
        FROM degradation WHERE fleet_id = $fleet GROUP BY battery_id
    ),
    health AS (
        SELECT battery_id, arg_max(soh_percent, date) AS soh FROM state_of_health
        WHERE fleet_id = $fleet GROUP BY battery_id
    ),
    used AS (
        SELECT battery_id, median(round_trip_efficiency_30d_percent) AS efficiency,
            avg(temperature_mean_celsius) AS celsius
        FROM battery_daily WHERE fleet_id = $fleet AND date BETWEEN $first AND $last GROUP BY battery_id
    ),
    power AS (
        SELECT battery_id, quantile_cont(abs(power_watt), 0.995) / 1e6 AS power_mw
        FROM telemetry_5min WHERE fleet_id = $fleet AND date BETWEEN $first AND $last GROUP BY battery_id
    ),
    stated AS (SELECT name, "value" FROM assumptions WHERE fleet_id = $fleet)
    SELECT b.battery_id, chemistry, rated_energy_wh / 1e6 * coalesce(soh, 100) / 100 AS energy_mwh,
        coalesce((SELECT "value" / 1000 FROM stated WHERE name = 'power_kw'), power_mw) AS power_mw,
        least(coalesce(efficiency, 90), 100) / 100 AS efficiency, coalesce(celsius, 25) AS celsius,
        calendar_unit, cycle_unit
    FROM batteries b LEFT JOIN ageing USING (battery_id) LEFT JOIN health USING (battery_id)
    LEFT JOIN used USING (battery_id) LEFT JOIN power USING (battery_id)
    WHERE b.fleet_id = $fleet ORDER BY b.battery_id
"""
_ROWS = """
    SELECT battery_id, timestamp, power_watt, soc_percent FROM telemetry_5min
    WHERE fleet_id = $fleet AND date BETWEEN $first AND $last AND timestamp >= $begin AND timestamp < $behind
    ORDER BY battery_id, timestamp
"""


@dataclass(frozen=True)
class Traded:
    """A fleet at the time of some prices.

    Attributes:
        units: One row per battery: what it can do, null where that is not known.
        batteries: `Battery` rows.
        assumptions: `Assumption` rows.
        telemetry: Power and state of charge, every 5 minutes.
    """

    units: pl.DataFrame
    batteries: pl.DataFrame
    assumptions: pl.DataFrame
    telemetry: pl.DataFrame


def traded(warehouse: Warehouse, fleet_id: str, begin: datetime, behind: datetime) -> Traded:
    """What is known of a fleet from an instant up to another, all of one publication.

    Raises:
        FileNotFoundError: If nothing has been published yet.
        QueryError: If the warehouse is damaged.
    """
    which = {"fleet": fleet_id, "first": begin.date(), "last": behind.date()}
    of_fleet = {"fleet": fleet_id}
    with warehouse.connection() as connection:
        return Traded(
            units=connection.sql(_UNITS, params=which).pl(),
            batteries=connection.sql("FROM batteries WHERE fleet_id = $fleet", params=of_fleet).pl(),
            assumptions=connection.sql("FROM assumptions WHERE fleet_id = $fleet", params=of_fleet).pl(),
            telemetry=connection.sql(_ROWS, params=which | {"begin": begin, "behind": behind}).pl(),
        )
