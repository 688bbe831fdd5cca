"""Round-trip and coulombic efficiency over windows that close: without what stays in the battery, or in the sensor."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import polars as pl

from bess_pipeline.analytics.efficiency_rows import OFFSET_SIGMA, SUMS, counted_rows, rows_with_charge
from bess_pipeline.analytics.telemetry import by_battery
from bess_pipeline.analytics.traces import floats, numbered
from bess_pipeline.analytics.trips import trips
from bess_pipeline.analytics.windows import window_totals
from bess_pipeline.tables.columns import NORMAL_90
from bess_pipeline.tables.energy import EnergyEvidence
from bess_pipeline.tables.keys import BATTERY, BATTERY_DAY
from bess_pipeline.tables.telemetry import INTERVAL_US

#: Days that count, the last one among them.
WINDOW = timedelta(days=30)
#: Equivalent full cycles that a window needs, and the share of its recorded time that must be known.
LEAST_CYCLES, LEAST_COVERAGE = 5.0, 0.95
#: Trips that the efficiency of matched trips needs.
LEAST_TRIPS = 3

#: Chemistries whose side reactions swallow charge: a closed window does not bring back all that went in.
_LOSSY = ("lead_acid",)
#: What is lost of the charge itself on the way, at most, in the others [1]: coulombic efficiencies of commercial
#: cells lie between 0.999 and 1 after the first cycles.
_CHARGE_LOST = 0.0005
#: And what cells lose by themselves in 30 days, of rated energy [1]; neither shows in a window that is closed.
_SELF_DISCHARGE = 0.01
#: Standard error of the loss itself, of the loss: of instants, between which voltage and current were not seen, and
#: of means [1].
_LOSS_SIGMA = {"instant": 0.05, "mean": 0.02}
#: Of the charge that does not close, what is taken off at another voltage than it was counted at [1].
_UNEVEN = 0.03
#: Standard error of what is stored where no charge is known at all, of rated energy: evenly spread at both ends [1].
_UNTOLD = 0.41

#: Five-minute rows whose energies are held at once, beyond those of one battery.
_ROWS_AT_ONCE = 200_000

#: Columns of `BatteryDaily` that are made here.
COLUMNS = (
    "round_trip_efficiency_30d_percent",
    "round_trip_efficiency_30d_lower_percent",
    "round_trip_efficiency_30d_upper_percent",
    "round_trip_efficiency_trips_percent",
    "trips",
    "round_trip_efficiency_ac_30d_percent",
    "round_trip_efficiency_ac_auxiliary_30d_percent",
    "coulombic_efficiency_30d_percent",
    "coulombic_efficiency_30d_lower_percent",
    "coulombic_efficiency_30d_upper_percent",
)


def window_sums(
    telemetry: pl.DataFrame,
    intervals: pl.DataFrame,
    offsets: pl.DataFrame,
    health: pl.DataFrame,
    batteries: pl.DataFrame,
    curves: pl.DataFrame,
) -> pl.DataFrame:
    """What each battery's day brings to the efficiency of a window of days.

    Only rows count whose energy is known and which the state of charge at both ends
    frames, so that a gap takes energy in, energy out and change of charge with it.

    Args:
        telemetry: `Telemetry5min` rows.
        intervals: `ClosedInterval5min` rows, without the offset of the current sensor.
        offsets: `CurrentOffset` rows.
        health: `StateOfHealth` rows: today's capacity; rated capacity where there is none.
        batteries: `Battery` rows.
        curves: `OcvPoint` rows.

    Returns:
        Columns of `EnergyEvidence` from `into` to `trip_weighted`, one row per battery and day.
    """
    rows = rows_with_charge(telemetry, intervals, offsets, health).join(batteries, on=BATTERY, how="semi")
    # A few batteries at a time, for rows take ten times the room that days do.
    parts = by_battery(rows, _ROWS_AT_ONCE)
    condensed = [
        _days(counted).join(_trip_days(counted, batteries), on=BATTERY_DAY, how="left")
        for counted in (counted_rows(part, batteries.join(part, on=BATTERY, how="semi"), curves) for part in parts)
    ]
    names = EnergyEvidence.column_names()
    nothing = EnergyEvidence.create_empty().select(*BATTERY_DAY, *names[names.index("into") : names.index("last_at")])
    return pl.concat([nothing, *(part.select(nothing.columns).cast(nothing.schema) for part in condensed)])


def efficiencies(evidence: pl.DataFrame, batteries: pl.DataFrame) -> pl.DataFrame:
    """The efficiencies of the 30 days up to each day.

    Over the rows of the window that count

        efficiency = E_out' / (E_in' − E_stored),   E_stored = n·Σ Q ∫U(z) dz

    with E' the energies after the *closure*: Li-ion cells give back the charge they
    take, so that what is left of ∫I dt beyond Σ Q·Δz is the sensor's. It is taken off
    at the mean voltage, in proportion to the time of each direction. What remains is
    the loss ∮(V − U) dQ: an error of the state of charge enters with V − U only, not with U.

    Matched trips are those of `trips`, weighted by their depth. On the AC side no
    closure is needed, the meter is not the battery's; what is stored counts as much
    more as charging costs there.

    Args:
        evidence: `EnergyEvidence` rows.
        batteries: `Battery` rows.

    Returns:
        `COLUMNS` by battery and day. As final as the state of charge that they rest on.

    References:
        SOC-corrected: M. Schimpe et al. (2018), Applied Energy 210, 211, doi:10.1016/j.apenergy.2017.10.129.
        Charge that is given back: F. Yang et al. (2018), Energy 145, 486, doi:10.1016/j.energy.2017.12.144.
    """
    windows = _trip_windows(evidence).join(_windows(evidence, batteries), on=BATTERY_DAY, how="left")
    return windows.select(*BATTERY_DAY, *COLUMNS)


def _total(name: str) -> pl.Expr:
    """A sum that is null where nothing is known."""
    return pl.when(pl.col(name).count() > 0).then(pl.col(name).sum()).alias(name)


def _days(rows: pl.DataFrame) -> pl.DataFrame:
    """Sums over each battery's day, and how it stands at the first and at the last row that counts."""
    edges = pl.col("edge_volt", "edge_sigma").drop_nulls()
    return rows.group_by(BATTERY_DAY, maintain_order=True).agg(
        *(_total(name) for name in SUMS),
        edges.first().name.prefix("first_"),
        edges.last().name.prefix("last_"),
        begins=pl.col("timestamp").first(),
        ends=pl.col("timestamp").last() + pl.duration(microseconds=INTERVAL_US),
        observed_us=pl.col("observed_us").sum(),
    )


def _windows(days: pl.DataFrame, batteries: pl.DataFrame) -> pl.DataFrame:
    """Efficiencies over the 30 days up to each."""
    plain = ("charging_energy_wh", "discharging_energy_wh")
    found = (
        days.sort(BATTERY_DAY)
        .rolling("date", period=WINDOW, group_by=BATTERY)
        .agg(
            pl.col("first_edge_volt", "first_edge_sigma").drop_nulls().first(),
            pl.col("last_edge_volt", "last_edge_sigma").drop_nulls().last(),
            days=pl.len(),
            covered=pl.col("observed_us").sum()
            / (pl.col("ends").max() - pl.col("begins").min()).dt.total_microseconds(),
        )
        .join(_summed(days, (*SUMS, *plain)), on=BATTERY_DAY, how="left")
        .join(batteries.select(*BATTERY, "chemistry", "sampling", "rated_energy_wh"), on=BATTERY, how="left")
    )
    enough = (
        ((pl.coalesce("into", plain[0]) + pl.coalesce("out", plain[1])) / (2 * pl.col("rated_energy_wh")))
        >= LEAST_CYCLES
    ) & (pl.col("covered") >= LEAST_COVERAGE)
    return found.filter(enough).with_columns(**_closure()).with_columns(**_direct()).select(*BATTERY_DAY, *_named())


def _closure() -> dict[str, pl.Expr]:
    """Energies once the charge closes [Wh], and what of the charge did not [Ah]."""
    is_closable = ~pl.col("chemistry").is_in(_LOSSY) & (pl.col("active_hours") > 0)
    left = pl.when(is_closable).then(pl.col("charged") - pl.col("discharged") - pl.col("stored_ah"))
    volt = pl.col("active_volt") / pl.col("active_hours")
    share = pl.col("active_in_hours") / pl.col("active_hours")
    off = (left * volt).fill_null(0.0).fill_nan(0.0)
    return {
        "closes": left.is_not_null(),
        "left_wh": off.abs(),
        "closed_into": pl.when(pl.col("stored_wh").is_null())
        .then("charging_energy_wh")
        .otherwise(pl.col("into") - share.fill_nan(0.0).fill_null(0.0) * off),
        "closed_out": pl.when(pl.col("stored_wh").is_null())
        .then("discharging_energy_wh")
        .otherwise(pl.col("out") + (1 - share.fill_nan(0.0).fill_null(0.0)) * off),
        "volt": volt,
    }


def _direct() -> dict[str, pl.Expr]:
    """Percentages, and the standard errors behind their intervals."""
    rated = pl.col("rated_energy_wh")
    spent = pl.col("closed_into") - pl.col("stored_wh").fill_null(0.0)
    of_edges = {
        end: pl.col(f"{end}_edge_sigma")
        * pl.when("closes").then(pl.col("volt") - pl.col(f"{end}_edge_volt")).otherwise(f"{end}_edge_volt")
        for end in ("first", "last")
    }
    at_edges = (of_edges["first"].pow(2) + of_edges["last"].pow(2)).sqrt().fill_null(_UNTOLD * rated)
    counted = (
        pl.when("closes")
        .then(_UNEVEN * pl.col("left_wh"))
        .otherwise(pl.coalesce("doubt_wh", OFFSET_SIGMA * 24 * 30 * rated))
    )
    hidden = (_CHARGE_LOST * pl.col("closed_into")).pow(2) + (_SELF_DISCHARGE * pl.col("days") / 30 * rated).pow(2)
    seen = (spent - pl.col("closed_out")) * pl.col("sampling").replace_strict(_LOSS_SIGMA, return_dtype=pl.Float64)
    lost = (at_edges.pow(2) + counted.pow(2) + hidden + seen.pow(2)).sqrt()
    charge_spent = pl.col("charged") - pl.col("stored_ah")
    charge_sigma = (
        pl.col("doubt_ah").pow(2) + pl.col("first_edge_sigma").pow(2) + pl.col("last_edge_sigma").pow(2)
    ).sqrt()
    ac_spent = pl.col("ac_into") - pl.col("ac_stored_wh") * pl.col("ac_into") / pl.col("ac_dc_into")
    has_ac = pl.col("ac_hours") >= LEAST_COVERAGE * pl.col("hours")
    has_aux = has_ac & (pl.col("aux_hours") >= LEAST_COVERAGE * pl.col("hours"))
    return {
        "efficiency": pl.when(spent > 0).then(100 * pl.col("closed_out") / spent),
        "efficiency_sigma": 100 * lost / spent,
        "coulombic": pl.when(charge_spent > 0).then(100 * pl.col("discharged") / charge_spent),
        "coulombic_sigma": 100 * charge_sigma / charge_spent,
        "ac": pl.when(has_ac & (ac_spent > 0)).then(100 * pl.col("ac_out") / ac_spent),
        "ac_auxiliary": pl.when(has_aux & (ac_spent > 0)).then(100 * pl.col("ac_out") / (ac_spent + pl.col("aux"))),
    }


def _named() -> list[pl.Expr]:
    def interval(name: str, value: str) -> list[pl.Expr]:
        half = NORMAL_90 * pl.col(f"{value}_sigma")
        return [
            pl.col(value).alias(f"{name}_percent"),
            (pl.col(value) - half).alias(f"{name}_lower_percent"),
            (pl.col(value) + half).alias(f"{name}_upper_percent"),
        ]

    return [
        *interval("round_trip_efficiency_30d", "efficiency"),
        *interval("coulombic_efficiency_30d", "coulombic"),
        pl.col("ac").alias("round_trip_efficiency_ac_30d_percent"),
        pl.col("ac_auxiliary").alias("round_trip_efficiency_ac_auxiliary_30d_percent"),
    ]


def _trip_days(rows: pl.DataFrame, batteries: pl.DataFrame) -> pl.DataFrame:
    """Trips by the day in which they ended: how many, their depth, their efficiency weighted by it."""
    is_closable = ~pl.col("chemistry").is_in(_LOSSY) & (pl.col("discharged") > 0)
    balanced = pl.when(is_closable).then(pl.col("charged") / pl.col("discharged")).fill_null(1.0)
    return (
        trips(rows)
        .join(batteries.select(*BATTERY, "chemistry"), on=BATTERY, how="left", maintain_order="left")
        .with_columns(date=pl.col("ended_at").dt.date(), efficiency=pl.col("out") / pl.col("into") * balanced)
        .filter(pl.col("into") > 0)
        .group_by(BATTERY_DAY, maintain_order=True)
        .agg(
            trips=pl.len().cast(pl.Int64),
            trip_depth=pl.col("depth_percent").sum(),
            trip_weighted=(pl.col("efficiency") * pl.col("depth_percent")).sum(),
        )
    )


def _trip_windows(days: pl.DataFrame) -> pl.DataFrame:
    """Efficiency of the trips that ended in the 30 days up to each day."""
    return _summed(days, ("trips", "trip_depth", "trip_weighted")).select(
        *BATTERY_DAY,
        pl.col("trips").fill_null(0).cast(pl.Int64),
        round_trip_efficiency_trips_percent=pl.when(pl.col("trips") >= LEAST_TRIPS).then(
            100 * pl.col("trip_weighted") / pl.col("trip_depth")
        ),
    )


def _summed(days: pl.DataFrame, names: tuple[str, ...]) -> pl.DataFrame:
    """Sums over the 30 days up to each, null where nothing is known; the same whatever days there are before."""
    rows = days.select(*BATTERY_DAY, *names).sort(BATTERY_DAY)
    sums = window_totals(
        numbered(rows),
        rows["date"].to_physical().to_numpy().astype(np.int64),
        np.stack([floats(rows[name]) for name in names], axis=1),
        WINDOW.days,
    )
    columns = (pl.Series(name, sums[:, at]).fill_nan(None) for at, name in enumerate(names))
    return rows.select(BATTERY_DAY).with_columns(columns)
