"""Resistance: from the current steps of a day to a resistance at 25 °C and 50 % charge, and its growth."""

from __future__ import annotations

from itertools import accumulate

import numpy as np
import polars as pl
from scipy.special import stdtrit

from bess_pipeline.analytics import resistance_filter as following
from bess_pipeline.analytics.resistance_evidence import straight_steps
from bess_pipeline.analytics.resistance_filter import LEAST_STEPS
from bess_pipeline.analytics.traces import floats
from bess_pipeline.arrays import Floats, Ints
from bess_pipeline.tables.columns import NORMAL_90
from bess_pipeline.tables.keys import BATTERY, BATTERY_DAY
from bess_pipeline.tables.resistance import METHODS, ResistanceDaily, StepResistance

__all__ = ["day_resistance", "normalized_resistance", "resistance_daily", "step_resistance"]

#: Activation energy of the resistance over a step, and its standard error [J/mol]: pulses of NMC cells of 0.2 eV, the
#: other lithium chemistries as they are, sulfuric acid after the temperature coefficient of its conductivity.
ACTIVATION: dict[str, tuple[float, float]] = {
    "LFP": (20_000.0, 5_000.0),
    "NMC": (20_000.0, 5_000.0),
    "NCA": (20_000.0, 5_000.0),
    "LCO": (20_000.0, 5_000.0),
    "LTO": (20_000.0, 6_000.0),
    "lead_acid": (12_000.0, 6_000.0),
}
#: What a method's resistance cannot be known better than, however many steps [1]: what lingers of earlier currents is
#: in it.
_COMMON = {"steps": 0.03, "means": 0.05}
#: What of the error of a single measurement its days have in common, since they are days of the same use: that share of
#: it does not average out of the growth.
_LASTING = {"steps": 0.1, "means": 0.3}
#: And the share of the filter's own error that counts: its priors leave room for any cell, and the scatter of means
#: from row to row is mostly that of the open-circuit curve.
_BELIEVED = {"steps": 0.85, "means": 0.7}
#: Steady steps that a day's own resistance needs.
_DAY_STEPS = 2
#: What the filter reads of a measurement, in its order.
_MEASURED = ("log_resistance", "variance", "cold", "charge", "charge_square", "unwarmed", "steps")
#: What is told of a battery-day, and all columns of the normalized resistance.
_TOLD = (
    "day_resistance_ohm", "resistance_ohm", "resistance_lower_ohm", "resistance_upper_ohm",
    "resistance_increase_percent", "resistance_increase_lower_percent", "resistance_increase_upper_percent",
    "activation_energy_joule_per_mole", "activation_energy_sigma_joule_per_mole",
)  # fmt: skip
_NORMALIZED = [*BATTERY_DAY, "method", *_TOLD]


def day_resistance(intervals: pl.DataFrame, batteries: pl.DataFrame) -> pl.DataFrame:
    """Resistance of each day, as measured: the regression of voltage steps on steady current steps.

    Steady are steps before which the current stood still; the drift of the voltage before
    them is taken off, for it goes on through the step. Those near full and near empty tell more of
    the open-circuit curve than of the resistance, and do not count, see `straight_steps`.

    Args:
        intervals: `ClosedInterval5min` rows.
        batteries: `Battery` rows.

    Returns:
        One row per battery and day with a steady step: `internal_resistance_ohm` [Ω], null with fewer than 2 such
        steps, or where they give no positive resistance; sorted.
    """
    sums = [f"step_steady_{name}" for name in ("count", "current_voltage_sum", "current_square_sum")]
    count, voltage, current = (pl.col(name) for name in sums)
    usable = (count >= _DAY_STEPS) & (current > 0) & (voltage > 0)
    return (
        straight_steps(intervals, batteries)
        .sort(*BATTERY, "timestamp")
        .group_by(*BATTERY_DAY, maintain_order=True)
        .agg(pl.col(sums).sum())
        .select(*BATTERY_DAY, internal_resistance_ohm=pl.when(usable).then(voltage / current))
        .sort(*BATTERY_DAY)
    )


def normalized_resistance(evidence: pl.DataFrame, days: pl.DataFrame, batteries: pl.DataFrame) -> pl.DataFrame:
    """Resistance at 25 °C and 50 % state of charge, and its growth, from data up to the end of each day.

    The logarithm of the resistance is a level that drifts, plus an activation energy
    times 1/RT − 1/R·298.15 K, plus a slope and a bend over the state of charge. All are
    regressed on the battery's own steps, from priors (`ACTIVATION`; slope and bend 0),
    by a Kalman filter whose level forgets within about 30 days. Without a temperature of
    the cells that of the air stands for it, and without any 25 ± 10 °C, which the interval
    says. Fewer than 4 steps in 90 days are none.

    The growth is over the median of the single days of the battery's first 30 days, or of
    those so far while they are not over; it takes three such days.

    Args:
        evidence: `ResistanceEvidence` rows.
        days: Battery-days with telemetry, for which it is asked: `fleet_id`, `battery_id`, `date`.
        batteries: `Battery` rows.

    Returns:
        One row per asked battery-day: `method`, `day_resistance_ohm` [Ω], what the day's measurements say alone,
        at the same reference, `resistance_ohm` [Ω] and `resistance_increase_percent` [%] with the ends of their 90 %
        intervals, `activation_energy_joule_per_mole` [J/mol] and its standard error; sorted.

    References:
        W. Waag, S. Käbitz, D. U. Sauer (2013), Applied Energy 102, 885, doi:10.1016/j.apenergy.2012.09.030.
    """
    asked = days.select(*BATTERY_DAY).unique().sort(*BATTERY_DAY)
    began = asked.group_by(BATTERY).agg(began=pl.col("date").min())
    plates = batteries.select(*BATTERY, "chemistry").join(began, on=BATTERY).sort(BATTERY)
    told = [_by_method(asked, evidence.filter(method=method), plates, method) for method in METHODS]
    nothing = [pl.lit(None, dtype=kind).alias(name) for name, kind in told[0].schema.items() if name not in BATTERY_DAY]
    every = pl.concat(frame.with_columns(rank=rank) for rank, frame in enumerate([*told, asked.with_columns(nothing)]))
    # Of each day the first method that knows a resistance: steps before means.
    known = every.filter(pl.col("resistance_ohm").is_not_null() | (pl.col("rank") == len(told)))
    ranked = known.sort(*BATTERY_DAY, "rank")
    return ranked.unique(BATTERY_DAY, keep="first", maintain_order=True).select(_NORMALIZED)


def _by_method(asked: pl.DataFrame, evidence: pl.DataFrame, plates: pl.DataFrame, method: str) -> pl.DataFrame:
    """What one method says of its batteries on the days asked for."""
    asked = asked.join(evidence, on=BATTERY, how="semi", maintain_order="left")
    rows = evidence.join(asked, on=BATTERY, how="semi").sort(*BATTERY, "date", "third", "unwarmed")
    named = plates.join(asked, on=BATTERY, how="semi", maintain_order="left")
    measured = np.stack([floats(rows[name]) for name in _MEASURED], axis=1)
    at, days = _days(rows["date"]), _days(asked["date"])
    followed = [
        _followed(days[of_days], at[of_rows], measured[of_rows], began=began, chemistry=chemistry, method=method)
        for chemistry, began, of_days, of_rows in zip(
            named["chemistry"], _days(named["began"]).tolist(), _of_each(asked), _of_each(rows), strict=True
        )
    ]
    columns = {name: np.concatenate([np.empty(0), *(each[name] for each in followed)]) for name in _TOLD}
    told = asked.with_columns(pl.Series(name, values, pl.Float64).fill_nan(None) for name, values in columns.items())
    return told.with_columns(method=pl.when(pl.col("resistance_ohm").is_finite()).then(pl.lit(method)))


def _of_each(rows: pl.DataFrame) -> list[slice]:
    """Where the rows of each battery stand, in order."""
    lengths = rows.group_by(BATTERY, maintain_order=True).len()["len"].to_list()
    return [slice(end - length, end) for length, end in zip(lengths, accumulate(lengths), strict=True)]


def _followed(asked: Ints, at: Ints, measured: Floats, *, began: int, chemistry: str, method: str) -> dict[str, Floats]:
    """What one method says of one battery on the days asked for: `_TOLD`, not a number where it says nothing."""
    day = np.unique(np.concatenate([asked, at]))
    energy, sigma = ACTIVATION[chemistry]
    result = following.followed(
        day,
        np.searchsorted(at, day).astype(np.int64),
        np.searchsorted(at, day, side="right").astype(np.int64),
        np.ascontiguousarray(measured),
        began,
        energy / 1e4,
        sigma / 1e4,
    )[np.searchsorted(day, asked)]
    ohm, growth = result[:, following.RESISTANCE], result[:, following.INCREASE]
    ohm_sigma = NORMAL_90 * np.hypot(result[:, following.RESISTANCE_SIGMA], _COMMON[method])
    growth_sigma = NORMAL_90 * np.hypot(
        _BELIEVED[method] * result[:, following.INCREASE_SIGMA], _LASTING[method] * result[:, following.USUAL_SIGMA]
    )
    told = (
        np.exp(result[:, following.OF_DAY]),
        np.exp(ohm),
        np.exp(ohm - ohm_sigma),
        np.exp(ohm + ohm_sigma),
        100 * np.expm1(growth),
        100 * np.expm1(growth - growth_sigma),
        100 * np.expm1(growth + growth_sigma),
        1e4 * result[:, following.ENERGY],
        1e4 * result[:, following.ENERGY_SIGMA],
    )
    return dict(zip(_TOLD, told, strict=True))


def _days(dates: pl.Series) -> Ints:
    return dates.to_physical().to_numpy().astype(np.int64)


def step_resistance(intervals: pl.DataFrame, batteries: pl.DataFrame) -> pl.DataFrame:
    """Resistances that the current steps of a day alone tell, and where they sit.

    Two slopes over the day's current steps tell connections from ageing: the highest
    less the lowest cell
    voltage on |I| (a cell's loop: its own resistance above the others', its connection
    where the cell's sense lines include it), and the voltage less cells in series times
    the middle of the cell extremes on I (contactors, busbars, cables). Their intervals
    are Student's, and hold the scatter of the day's steps alone. Loggers that
    deliver means have none.

    Args:
        intervals: `ClosedInterval5min` rows.
        batteries: `Battery` rows.

    Returns:
        `StepResistance` rows, one per battery and day of `intervals`; sorted.
    """
    sums = ("step_cell_count", "step_cell_current_square_sum", "step_outside_current_sum", "step_outside_square_sum",
            "step_magnitude_square_sum", "step_spread_magnitude_sum", "step_spread_square_sum")  # fmt: skip
    several = batteries.select(
        *BATTERY, outside=pl.col("cells_in_series").is_not_null(), loop=pl.col("cells_in_series") != 1
    )
    of_cells = (
        intervals.sort(*BATTERY, "timestamp")
        .group_by(*BATTERY_DAY, maintain_order=True)
        .agg(pl.col(sums).sum())
        .join(several, on=BATTERY, how="left", maintain_order="left")
    )
    count = floats(of_cells["step_cell_count"])
    slopes = {
        "cell_loop_resistance": (
            "step_magnitude_square_sum",
            "step_spread_magnitude_sum",
            "step_spread_square_sum",
            "loop",
        ),
        "outside_cell_resistance": (
            "step_cell_current_square_sum",
            "step_outside_current_sum",
            "step_outside_square_sum",
            "outside",
        ),
    }
    for name, (xx, xy, yy, when) in slopes.items():
        enough = (count >= LEAST_STEPS) & of_cells[when].fill_null(value=False).to_numpy()
        slope, reach = _slope(floats(of_cells[xx]), floats(of_cells[xy]), floats(of_cells[yy]), count)
        for suffix, values in (("", slope), ("_lower", slope - reach), ("_upper", slope + reach)):
            of_cells = of_cells.with_columns(
                pl.Series(f"{name}{suffix}_ohm", np.where(enough, values, np.nan)).fill_nan(None)
            )
    return (
        of_cells.join(day_resistance(intervals, batteries), on=BATTERY_DAY, how="left", maintain_order="left")
        .select(StepResistance.column_names())
        .sort(*BATTERY_DAY)
        .pipe(StepResistance.validate)
    )


def resistance_daily(evidence: pl.DataFrame, steps: pl.DataFrame, batteries: pl.DataFrame) -> pl.DataFrame:
    """What is known of the resistance at the end of each day, and where it sits.

    The normalized resistance (see `normalized_resistance`) beside what the steps of the
    day alone say (see `step_resistance`).

    Args:
        evidence: `ResistanceEvidence` rows.
        steps: `StepResistance` rows.
        batteries: `Battery` rows.

    Returns:
        `ResistanceDaily` rows, one per row of ``steps``; sorted.
    """
    warm = pl.col("steps").filter(pl.col("celsius").is_not_null())
    told = evidence.group_by(*BATTERY_DAY, maintain_order=True).agg(
        step_count=pl.col("steps").sum().cast(pl.Int64),
        step_temperature_celsius=pl.when(warm.sum() > 0).then((pl.col("celsius") * pl.col("steps")).sum() / warm.sum()),
    )
    found = normalized_resistance(evidence, steps, batteries)
    for frame in (steps, told):
        found = found.join(frame, on=BATTERY_DAY, how="left", maintain_order="left")
    return (
        found.with_columns(pl.col("step_count").fill_null(0))
        .select(ResistanceDaily.column_names())
        .sort(*BATTERY_DAY)
        .pipe(ResistanceDaily.validate)
    )


def _slope(xx: Floats, xy: Floats, yy: Floats, count: Floats) -> tuple[Floats, Floats]:
    """Regression through the origin, and half the width of its 90 % interval; NaN where there is none."""
    with np.errstate(divide="ignore", invalid="ignore"):
        slope = xy / xx
        scatter = np.maximum(yy - slope * xy, 0.0) / (count - 1) / xx
    fine = np.isfinite(slope) & np.isfinite(scatter) & (count > 1)
    width = stdtrit(np.maximum(count - 1, 1.0), 0.95) * np.sqrt(np.where(fine, scatter, 0.0))
    return np.where(fine, slope, np.nan), np.where(fine, width, np.nan)
