"""What each day says by itself, of which features are made."""

from __future__ import annotations

import polars as pl

from bess_pipeline.tables.anomalies import FeatureEvidence
from bess_pipeline.tables.keys import BATTERY, BATTERY_DAY
from bess_pipeline.tables.quality import REPAIRS
from bess_pipeline.tables.telemetry import FLAGS

#: Largest current of a battery at rest, and of one that idles but for its sensor's offset [C].
_REST_RATE, _IDLE_RATE = 0.02, 0.01

#: Cell voltages between the steep ends of the open-circuit curve [V].
_MIDDLE: dict[str, tuple[float, float]] = {
    "LFP": (3.22, 3.36),
    "NMC": (3.5, 4.05),
    "NCA": (3.5, 4.05),
    "LCO": (3.65, 4.1),
    "LTO": (2.1, 2.5),
    "lead_acid": (2.0, 2.13),
}
#: What the current may add to a cell's voltage between those ends [V].
LOAD = 0.03
#: Standard deviation of the current from which on a slope on it says something [C].
_VARIED = 0.02
#: Batteries that a fleet needs for its median to be one of peers.
PEERS = 5
#: Least current of the peers, and the largest ratio to it of a battery that does the same: one that is full or empty
#: before the others does not [C, 1].
_ACTIVE, _ALIKE = 0.05, 1.25
#: Change of the reported charge within 5 minutes, beyond what the current moved, from which on it jumps [points].
_JUMP = 3.0
#: Width of the classes of how far into a steep end a day reached [V].
_REACH = 0.15


def feature_evidence(intervals: pl.DataFrame, evidence: pl.DataFrame, batteries: pl.DataFrame) -> pl.DataFrame:
    """What each day's rows and evidence say by themselves.

    Args:
        intervals: `ClosedInterval5min` rows.
        evidence: `DayEvidence` rows.
        batteries: `Battery` rows.

    Returns:
        `FeatureEvidence` rows, sorted by battery and day. A day rests on its rows and half an hour before them.
    """
    return (
        _day_values(intervals, batteries)
        .join(_evidence_values(evidence, batteries), on=BATTERY_DAY, how="left")
        .select(FeatureEvidence.column_names())
        .sort(BATTERY_DAY)
        .pipe(FeatureEvidence.validate)
    )


def middle_of(chemistry: str) -> tuple[pl.Expr, pl.Expr]:
    """Voltage of a cell [V] between which the open-circuit curve is not steep, by the column of its chemistry."""
    low, high = (
        pl.col(chemistry).replace_strict({name: pair[side] for name, pair in _MIDDLE.items()}) for side in (0, 1)
    )
    return low, high


def _day_values(intervals: pl.DataFrame, batteries: pl.DataFrame) -> pl.DataFrame:
    """What a day's intervals say, one row per battery and day."""
    plates = batteries.select(*BATTERY, "chemistry", "rated_capacity_ah", "cells_in_series")
    rows = intervals.join(plates, on=BATTERY, how="inner").sort(*BATTERY, "timestamp")
    cells, rated = pl.col("cells_in_series"), pl.col("rated_capacity_ah")
    mean_cell = pl.col("voltage_volt") / cells
    low, high = middle_of("chemistry")
    still = (pl.col("current_abs_max_ampere") <= _REST_RATE * rated).cast(pl.Int8).rolling_sum(6) == 6
    unbroken = pl.col("timestamp") - pl.col("timestamp").shift(5) == pl.duration(minutes=25)
    several = pl.col("cells_in_series") > 1
    middle = (pl.col("cell_voltage_min_volt") + pl.col("cell_voltage_max_volt")) / 2
    rate = pl.col("current_ampere") / rated
    spread = pl.when(several).then(pl.col("cell_voltage_max_volt") - pl.col("cell_voltage_min_volt"))
    small = pl.col("current_abs_max_ampere") < _IDLE_RATE * rated
    # A report may be of the beginning, the end or the middle of its interval.
    moved = 100 * (pl.col("charging_capacity_ah") - pl.col("discharging_capacity_ah")) / rated
    changed, both = pl.col("soc_bms_percent").diff(), (moved, moved.shift(1))
    within = changed.is_between(pl.min_horizontal(both) - _JUMP, pl.max_horizontal(both) + _JUMP)
    follows = (pl.col("timestamp").diff() == pl.duration(minutes=5)) & (pl.col("date") == pl.col("date").shift(1))
    same = follows & (pl.struct(BATTERY) == pl.struct(BATTERY).shift(1))
    calm = (small.cast(pl.Int8).rolling_sum(6) == 6) & unbroken
    rows = _with_peers(rows.with_columns(rate=rate)).with_columns(
        resting=(still & unbroken & mean_cell.is_between(low, high)).fill_null(value=False),
        idle=calm & (pl.col("current_ampere") != 0),
        jumps=same & ~within,
        rate_abs=rate.abs(),
        spread=spread,
        spread_middle=pl.when(mean_cell.is_between(low - LOAD, high + LOAD)).then(spread),
        below=pl.when(several).then(pl.col("voltage_min_volt") / cells - pl.col("cell_voltage_min_volt")),
        above=pl.when(several & (mean_cell < high + LOAD)).then(
            pl.col("cell_voltage_max_volt") - pl.col("voltage_max_volt") / cells
        ),
        outside=pl.when(several & mean_cell.is_between(low - LOAD, high + LOAD)).then(mean_cell - middle),
        depth=((low - mean_cell) / _REACH).ceil().clip(0, 2),
        height=((mean_cell - high) / _REACH).ceil().clip(0, 2),
        over_ambient=pl.col("temperature_celsius") - pl.col("ambient_temperature_celsius"),
    )
    fewest = 24  # two hours of intervals
    return rows.group_by(BATTERY_DAY, maintain_order=True).agg(
        depth=pl.col("depth").max().fill_null(0).cast(pl.Int64),
        height=pl.col("height").max().fill_null(0).cast(pl.Int64),
        observed_until=pl.col("timestamp").max() + pl.duration(minutes=5),
        **{f"{kind}_fraction": pl.col("repairs").fill_null("").str.contains(kind).mean() for kind in REPAIRS},
        soc_jumps=pl.col("jumps").sum().cast(pl.Int64),
        cell_low=_where(pl.col("below").count() >= fewest, pl.col("below").quantile(0.97)),
        cell_high=_where(pl.col("above").count() >= fewest, pl.col("above").quantile(0.97)),
        rest_spread=_where(
            pl.col("spread").filter("resting").count() >= 3, pl.col("spread").filter("resting").median()
        ),
        outside_cell_resistance=_slope("outside", "rate", fewest),
        cell_loop_resistance=_slope("spread_middle", "rate_abs", fewest),
        temperature_mean=_where(pl.col("temperature_celsius").count() >= 72, pl.col("temperature_celsius").mean()),
        temperature_over_ambient=_where(pl.col("over_ambient").count() >= 72, pl.col("over_ambient").mean()),
        throughput=_where(pl.col("rate_abs").mean() >= 0.005, pl.col("rate_abs").mean().log()),
        current_share=_share(fewest),
        idle_current=_where(pl.col("rate").filter("idle").count() >= 6, pl.col("rate").filter("idle").median()),
    )


def _with_peers(rows: pl.DataFrame) -> pl.DataFrame:
    """The median rate of the fleet at the same time, where enough of its batteries are heard."""
    usual = rows.group_by("fleet_id", "timestamp").agg(
        peers_rate=_where(pl.col("rate").count() >= PEERS, pl.col("rate").median())
    )
    return rows.join(usual, on=["fleet_id", "timestamp"], how="left", maintain_order="left")


def _share(fewest: int) -> pl.Expr:
    """Median logarithm of the rate over that of the peers, of the intervals in which both do about the same."""
    ratio = pl.col("rate") / pl.col("peers_rate")
    alike = (pl.col("peers_rate").abs() >= _ACTIVE) & ratio.is_between(1 / _ALIKE, _ALIKE)
    return _where(alike.sum() >= fewest, ratio.filter(alike).log().median())


def _where(enough: pl.Expr, value: pl.Expr) -> pl.Expr:
    return pl.when(enough).then(value)


def _slope(of: str, on: str, fewest: int) -> pl.Expr:
    """Least-squares slope over the day, where the current varies by at least 0.02 C."""
    both = pl.col(of).is_not_null() & pl.col(on).is_not_null()
    x, y = pl.col(on).filter(both), pl.col(of).filter(both)
    spread = (x * x).mean() - x.mean() ** 2
    return _where((both.sum() >= fewest) & (spread > _VARIED**2), ((x * y).mean() - x.mean() * y.mean()) / spread)


def _evidence_values(evidence: pl.DataFrame, batteries: pl.DataFrame) -> pl.DataFrame:
    """What a day's evidence says, one row per battery and day."""
    still = [name for name in FLAGS if name.endswith("_stuck") or name == "frozen"]
    wild = [name for name in FLAGS if name.endswith(("_out_of_range", "_in_millivolt"))]
    seen = pl.col("samples") > 0
    return evidence.join(batteries.select(*BATTERY, "cells_in_series"), on=BATTERY).select(
        *BATTERY_DAY,
        flagged_fraction=_where(seen, pl.max_horizontal(wild) / pl.col("samples")),
        still_fraction=_where(seen, pl.max_horizontal(still) / pl.col("samples")),
        spread_p95=_where(pl.col("cells_in_series") > 1, pl.col("cell_voltage_spread_p95_volt")),
        temperature_hot_spot=pl.col("temperature_spread_p95_kelvin"),
    )
