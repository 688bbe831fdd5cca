"""Battery faults that are planted: what they do to the battery, when, and how hard."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

from bess_pipeline.arrays import Floats
from bess_pipeline.sources.simulate import physics
from bess_pipeline.sources.simulate.plan import FAULTS, Plan

#: A battery behaves for this share of the time, and for ten days at the least, before its fault begins.
_QUIET_SHARE = 0.45


@dataclass(frozen=True)
class Planted:
    """One planted battery fault.

    Attributes:
        battery: Number of the battery.
        kind: One of `bess_pipeline.sources.simulate.plan.FAULTS`.
        onset: When it begins [UTC].
        end: When it ends, or the end of the data [UTC].
        severity: 0 to 1.
        note: What it does, in numbers.
        row: Its row of the kernel's fault table.
        gain: Relative error of the current sensor once developed [1].
        kelvin: Error of the temperature sensor once developed [K].
    """

    battery: int
    kind: str
    onset: datetime
    end: datetime
    severity: float
    note: str
    row: Floats
    gain: float = 0.0
    kelvin: float = 0.0


def planted(plan: Plan, chance: np.random.Generator) -> list[Planted]:
    """Choose batteries, onsets and severities for the faults of a plan.

    Without a wish in the plan, a third of the batteries get a fault each, every kind in turn.
    """
    kinds = plan.faults
    if kinds is None:
        count = plan.batteries // 3
        order = chance.permutation(len(FAULTS))
        kinds = tuple(FAULTS[order[number % len(FAULTS)]] for number in range(count))
    chosen = chance.permutation(plan.batteries)[: len(kinds)]
    return [_planted(plan, int(battery), kind, chance) for battery, kind in zip(chosen, kinds, strict=True)]


def _planted(plan: Plan, battery: int, kind: str, chance: np.random.Generator) -> Planted:
    severity = float(chance.uniform(0.35, 0.9))
    hours = plan.days * 24
    earliest = min(max(240.0, _QUIET_SHARE * hours), 0.8 * hours)
    latest = max(earliest + 1.0, min(0.7 * hours, hours - 24.0 * 14))
    onset_hour = int(chance.uniform(earliest, latest))
    row = np.zeros(physics.FAULT_COLUMNS)
    ramp_days, lasts_days, note, gain, kelvin = _effect(kind, severity, row, chance)
    per_hour = 3600 // plan.interval_seconds
    row[physics.ONSET] = onset_hour * per_hour
    row[physics.RAMP] = max(ramp_days * plan.steps_per_day, 1)
    end_hour = min(hours, onset_hour + int(lasts_days * 24))
    row[physics.END] = end_hour * per_hour
    onset = plan.start_time + timedelta(hours=onset_hour)
    end = plan.start_time + timedelta(hours=end_hour)
    return Planted(battery, kind, onset, end, severity, note, row, gain, kelvin)


def _effect(  # noqa: C901, PLR0911 - one line of numbers a kind
    kind: str, severity: float, row: Floats, chance: np.random.Generator
) -> tuple[float, float, str, float, float]:
    """Days until developed, days that it lasts, a note, and errors of the current and temperature sensors."""
    forever = 1e5
    match kind:
        case "isc":
            row[physics.LEAK] = severity / 1500.0
            return 45.0, forever, f"leak grows to C/{1500 / severity:.0f} in 45 d", 0.0, 0.0
        case "weak_cell":
            row[physics.FADE] = 0.0035 * severity
            return 0.0, forever, f"one cell loses {0.35 * severity:.2f} %/d", 0.0, 0.0
        case "cooling":
            row[physics.COOLING] = 2.5 * severity
            return 1.0, 40.0, f"thermal resistance x{1 + 2.5 * severity:.1f}", 0.0, 0.0
        case "conn_res":
            row[physics.CELL_OHM] = 3.5 * severity
            return 25.0, forever, f"one connection +{350 * severity:.0f} % of a cell's resistance in 25 d", 0.0, 0.0
        case "contactor_res":
            row[physics.PACK_OHM] = 0.5 * severity
            return 10.0, forever, f"contactor +{50 * severity:.0f} % of the string's resistance in 10 d", 0.0, 0.0
        case "current_drift":
            gain = 0.04 * severity * float(chance.choice([-1.0, 1.0]))
            return 25.0, forever, f"current gain ramps {100 * gain:+.1f} % in 25 d", gain, 0.0
        case "temp_drift":
            kelvin = 14.0 * severity * float(chance.choice([-1.0, 1.0]))
            return 20.0, forever, f"temperature sensor {kelvin:+.1f} K in 20 d", 0.0, kelvin
        case "capacity_drop":
            row[physics.DROP] = 0.12 * severity
            return 5.0, forever, f"all cells lose {12 * severity:.1f} % in 5 d", 0.0, 0.0
        case "knee":
            row[physics.KNEE] = 0.0025 * severity
            return 60.0, forever, f"loss accelerates to {0.25 * severity:.2f} %/d in 60 d", 0.0, 0.0
        case "tr_precursor":
            row[physics.LEAK] = severity / 300.0
            row[physics.HEAT] = 14.0 * severity
            return (
                5.0,
                5.0,
                f"one cell leaks C/{300 / severity:.0f} and heats by {14 * severity:.0f} K within 5 d",
                0.0,
                0.0,
            )
        case _:
            raise ValueError(f"unknown fault {kind}")
