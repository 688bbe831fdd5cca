"""Resistance: from the current steps of a day to a resistance at 25 °C and 50 % charge, and its growth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from scipy.special import stdtrit

from bess_pipeline.analytics.normalized_resistance import normalized_resistance
from bess_pipeline.analytics.resistance_evidence import straight_steps
from bess_pipeline.analytics.resistance_filter import LEAST_STEPS
from bess_pipeline.analytics.traces import floats
from bess_pipeline.arrays import Floats
from bess_pipeline.tables.keys import BATTERY, BATTERY_DAY
from bess_pipeline.tables.resistance import ResistanceDaily, StepResistance

#: Steady steps that a day's own resistance needs.
_DAY_STEPS = 2


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


@dataclass(frozen=True)
class Resistances:
    """What is known of the resistance.

    Attributes:
        daily: `ResistanceDaily` rows, one per row of the steps, of those from the epoch on if there is one; sorted.
        memory: `ResistanceMemory` rows of the epochs that begin within the days.
    """

    daily: pl.DataFrame
    memory: pl.DataFrame


def resistance_daily(
    evidence: pl.DataFrame, steps: pl.DataFrame, batteries: pl.DataFrame, memory: pl.DataFrame | None = None
) -> Resistances:
    """What is known of the resistance at the end of each day, and where it sits.

    The normalized resistance (see `normalized_resistance`) beside what the steps of the
    day alone say (see `step_resistance`).

    Args:
        evidence: `ResistanceEvidence` rows.
        steps: `StepResistance` rows.
        batteries: `Battery` rows.
        memory: `ResistanceMemory` rows of one epoch; none to begin at the beginning.
    """
    warm = pl.col("steps").filter(pl.col("celsius").is_not_null())
    told = evidence.group_by(*BATTERY_DAY, maintain_order=True).agg(
        step_count=pl.col("steps").sum().cast(pl.Int64),
        step_temperature_celsius=pl.when(warm.sum() > 0).then((pl.col("celsius") * pl.col("steps")).sum() / warm.sum()),
    )
    normalized = normalized_resistance(evidence, steps, batteries, memory)
    found = normalized.days
    for frame in (steps, told):
        found = found.join(frame, on=BATTERY_DAY, how="left", maintain_order="left")
    daily = (
        found.with_columns(pl.col("step_count").fill_null(0))
        .select(ResistanceDaily.column_names())
        .sort(*BATTERY_DAY)
        .pipe(ResistanceDaily.validate)
    )
    return Resistances(daily, normalized.memory)


def _slope(xx: Floats, xy: Floats, yy: Floats, count: Floats) -> tuple[Floats, Floats]:
    """Regression through the origin, and half the width of its 90 % interval; NaN where there is none."""
    with np.errstate(divide="ignore", invalid="ignore"):
        slope = xy / xx
        scatter = np.maximum(yy - slope * xy, 0.0) / (count - 1) / xx
    fine = np.isfinite(slope) & np.isfinite(scatter) & (count > 1)
    width = stdtrit(np.maximum(count - 1, 1.0), 0.95) * np.sqrt(np.where(fine, scatter, 0.0))
    return np.where(fine, slope, np.nan), np.where(fine, width, np.nan)
