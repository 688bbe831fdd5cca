"""What each 5-minute row brings to an efficiency: energies, charge, what is stored, and how well that is known."""

from __future__ import annotations

import numpy as np
import polars as pl

from bess_pipeline.analytics.ocv import OcvTable, ocv_table
from bess_pipeline.analytics.traces import Traces, traces
from bess_pipeline.arrays import Floats
from bess_pipeline.tables.chemistry import CHEMISTRY
from bess_pipeline.tables.columns import NORMAL_90
from bess_pipeline.tables.keys import BATTERY, BATTERY_DAY
from bess_pipeline.tables.telemetry import INTERVAL_US
from bess_pipeline.units import US_PER_HOUR

#: Standard error of an offset that is not known [C], and of a reported state of charge [%].
OFFSET_SIGMA, REPORTED_SIGMA = 0.0015, 5.0
#: A row counts when its energy is known over this share of it, and its charge at both ends.
KNOWN_SHARE = 0.9


#: What is added up over the rows of a day, then over the days of a window.
SUMS = (
    "into", "out", "charged", "discharged", "stored_ah", "stored_wh", "active_hours", "active_in_hours", "active_volt",
    "doubt_ah", "doubt_wh", "hours", "ac_into", "ac_out", "ac_stored_wh", "ac_dc_into", "ac_hours", "aux", "aux_hours",
)  # fmt: skip

#: What is read of the intervals.
_READ = (
    "timestamp", "charging_energy_wh", "discharging_energy_wh", "charging_capacity_ah", "discharging_capacity_ah",
    "charging_energy_ac_wh", "discharging_energy_ac_wh", "auxiliary_energy_wh", "auxiliary_energy_returned_wh",
    "voltage_volt", "current_ampere", "soc_bms_percent", "current_observed_us", "power_observed_us",
    "power_ac_observed_us", "auxiliary_power_observed_us",
)  # fmt: skip


def rows_with_charge(
    telemetry: pl.DataFrame, intervals: pl.DataFrame, offsets: pl.DataFrame, health: pl.DataFrame
) -> pl.DataFrame:
    """Put what is known of the battery beside each row: charge at its start, capacity, doubts.

    Args:
        telemetry: `Telemetry5min` rows.
        intervals: `ClosedInterval5min` rows.
        offsets: `CurrentOffset` rows.
        health: `StateOfHealth` rows.

    Returns:
        What `counted_rows` reads: one row per interval.
    """
    sigma = (pl.col("soc_upper_percent") - pl.col("soc_lower_percent")) / (2 * NORMAL_90)
    return (
        intervals.select(*BATTERY_DAY, *_READ)
        .join(
            telemetry.select(*BATTERY, "timestamp", "soc_percent", soc_sigma=sigma),
            on=[*BATTERY, "timestamp"],
            how="left",
        )
        .join(health.select(*BATTERY_DAY, "capacity_ah"), on=BATTERY_DAY, how="left")
        .join(offsets.select(*BATTERY_DAY, "offset_sigma_ampere"), on=BATTERY_DAY, how="left")
    )


def counted_rows(rows: pl.DataFrame, batteries: pl.DataFrame, curves: pl.DataFrame) -> pl.DataFrame:
    """Say what each row brings to a window.

    Args:
        rows: As `rows_with_charge` gives them.
        batteries: `Battery` rows of their batteries.
        curves: `OcvPoint` rows.

    Returns:
        One row per interval, sorted: `timestamp`, `observed_us`, `SUMS`, and at its start `edge_volt`, the open-circuit
        voltage [V], `edge_sigma`, the error of its charge [Ah], `soc` and, at its end, `soc_next` [%]. Energies [Wh];
        charges [Ah]; `doubt_` what the offset may add [Ah, Wh]; all null where the row does not count.
    """
    series = traces(rows, batteries)
    b = series.battery_index
    rated = series.nameplate("rated_capacity_ah")[b]
    follows = np.append((np.diff(b) == 0) & (np.diff(series.start_us) == INTERVAL_US), False)

    def ahead(values: Floats) -> Floats:
        return np.where(follows, np.append(values[1:], np.nan), np.nan)

    own, told = series.column("soc_percent"), series.column("soc_bms_percent")
    is_own = ~np.isnan(own) & ~np.isnan(ahead(own))
    first, last = np.where(is_own, own, told), np.where(is_own, ahead(own), ahead(told))
    capacity = series.column("capacity_ah")
    capacity = np.where(np.isnan(capacity), rated, capacity)
    table = ocv_table(series.batteries, curves)
    begin, end = _contents(series, first, table), _contents(series, last, table)
    into, out = series.column("charging_energy_wh"), series.column("discharging_energy_wh")
    charged, discharged = series.column("charging_capacity_ah"), series.column("discharging_capacity_ah")
    known = series.column("power_observed_us") >= KNOWN_SHARE * INTERVAL_US
    counts = known & ~np.isnan(last - first)
    hours = series.column("power_observed_us") / US_PER_HOUR
    current = series.column("current_ampere")
    active = np.where(np.isnan(current) | (current == 0), 0.0, series.column("current_observed_us") / US_PER_HOUR)
    volt = series.column("voltage_volt")
    nominal = series.nameplate("rated_energy_wh")[b] / rated
    volt = np.where(np.isnan(volt), nominal, volt)
    offset_sigma = series.column("offset_sigma_ampere")
    offset_sigma = np.where(np.isnan(offset_sigma), OFFSET_SIGMA * rated, offset_sigma)
    sigma = np.where(is_own, series.column("soc_sigma"), REPORTED_SIGMA) / 100 * capacity
    ac = counts & (series.column("power_ac_observed_us") >= KNOWN_SHARE * INTERVAL_US)
    aux = ac & (series.column("auxiliary_power_observed_us") >= KNOWN_SHARE * INTERVAL_US)
    auxiliary = series.column("auxiliary_energy_wh") - series.column("auxiliary_energy_returned_wh")
    columns = {
        "into": into, "out": out, "charged": charged, "discharged": discharged,
        "stored_ah": capacity * (last - first) / 100, "stored_wh": capacity * (end[0] - begin[0]),
        "active_hours": active, "active_in_hours": np.where(current > 0, active, 0.0), "active_volt": active * volt,
        "doubt_ah": offset_sigma * active, "doubt_wh": offset_sigma * hours * volt, "hours": hours,
        "edge_volt": begin[1], "edge_sigma": sigma, "soc": first, "soc_next": last,
    }  # fmt: skip
    on_ac = {
        "ac_into": series.column("charging_energy_ac_wh"), "ac_out": series.column("discharging_energy_ac_wh"),
        "ac_stored_wh": columns["stored_wh"], "ac_dc_into": into, "ac_hours": hours,
    }  # fmt: skip
    masks = dict.fromkeys(columns, counts) | dict.fromkeys(on_ac, ac) | {"aux": aux, "aux_hours": aux}
    # Where no current was seen, the charge that is stored has nothing to be held against.
    masks["stored_ah"] = counts & ~np.isnan(charged - discharged)
    seen = np.minimum(np.maximum(series.column("current_observed_us"), series.column("power_observed_us")), INTERVAL_US)
    values = columns | on_ac | {"aux": auxiliary, "aux_hours": hours}
    return series.rows.select(*BATTERY_DAY, "timestamp").with_columns(
        *(pl.Series(name, np.where(masks[name], value, np.nan)).fill_nan(None) for name, value in values.items()),
        observed_us=seen,
    )


def _contents(series: Traces, soc: Floats, table: OcvTable) -> tuple[Floats, Floats]:
    """Energy held per Ah of capacity [Wh/Ah], and open-circuit voltage [V], at a state of charge.

    Beyond its ends a curve goes on level.
    """
    nominal = np.array([CHEMISTRY[name].nominal_cell_volt for name in series.batteries["chemistry"]])
    cells = series.nameplate("rated_energy_wh") / series.nameplate("rated_capacity_ah") / nominal
    cells = np.where(np.isnan(series.cells()), cells, series.cells())
    held, volt = np.full(len(soc), np.nan), np.full(len(soc), np.nan)
    step = np.diff(table.soc_percent) / 100
    for b in range(series.batteries.height):
        own = slice(series.offsets[b], series.offsets[b + 1])
        curve = table.volt[b]
        sums = np.concatenate([[0.0], np.cumsum((curve[1:] + curve[:-1]) / 2 * step)])
        inside = np.clip(soc[own], 0, 100)
        volt[own] = cells[b] * np.interp(inside, table.soc_percent, curve)
        held[own] = cells[b] * np.interp(inside, table.soc_percent, sums) + volt[own] * (soc[own] - inside) / 100
    return held, volt
