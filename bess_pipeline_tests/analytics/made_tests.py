"""Made-up cells that are charged and discharged, and a plain count of what they hold that knows nothing of days."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from itertools import pairwise

import numpy as np
import polars as pl

from bess_pipeline.analytics.capacity_marks import capacity_evidence, rest_volt
from bess_pipeline.analytics.direct_capacity import capacity_tests
from bess_pipeline.analytics.intervals import closed, day_evidence, intervals_5min
from bess_pipeline.tables.health import CurrentOffset
from bess_pipeline.tables.quality import Repair
from bess_pipeline.tables.telemetry import ClosedInterval5min
from bess_pipeline_tests.analytics.made_samples import MIDNIGHT, clean_frame, nameplates

AMPERE_HOURS, OHM, LOW, HIGH = 2.0, 0.05, 3.0, 4.2
_FULL_VOLT, _STILL_FULL, _STILL_EMPTY = (rest_volt("LCO", soc) for soc in (97.0, 90.0, 20.0))
HOUR = 3600.0


def cell(**changes):
    """`Battery` rows of one LCO cell of 2 Ah between 3.0 and 4.2 V."""
    plate = {
        "chemistry": "LCO",
        "rated_capacity_ah": AMPERE_HOURS,
        "rated_energy_wh": 7.4,
        "cells_in_series": 1,
        "cell_voltage_low_volt": LOW,
        "cell_voltage_high_volt": HIGH,
        **changes,
    }
    return nameplates(["b"], **plate)


def cycled(steps, *, every=60, soc=0.5):  # noqa: C901 - a branch per word
    """Samples (seconds, A, V) of a cell whose voltage rises in a line with its charge, plus a drop over 50 mΩ.

    Args:
        steps: Pairs of word and number: `charge` or `discharge` at so many C to the limit, `taper` at the limit
            down to so many C, `rest` for so many samples, `move` at so many C (signed) for 12 samples, `gap` of so
            many hours.
        every: Seconds from sample to sample.
        soc: State of charge in the beginning.
    """
    rows, second, level = [], 0.0, soc

    def add(current):
        nonlocal second, level
        rows.append((second, current, LOW + (HIGH - LOW) * level + OHM * current))
        level += current * every / HOUR / AMPERE_HOURS
        second += every

    add(0.0)
    for word, number in steps:
        size = abs(number) * AMPERE_HOURS
        if word == "rest":
            for _ in range(int(number)):
                add(0.0)
        elif word == "gap":
            second += number * HOUR
        elif word == "move":
            for _ in range(12):
                ahead = level + number * AMPERE_HOURS * every / HOUR / AMPERE_HOURS
                add(number * AMPERE_HOURS if (ahead < 0.9 if number > 0 else ahead > 0.1) else 0.0)
        elif word == "discharge":
            while LOW + (HIGH - LOW) * level - OHM * size > LOW:
                add(-size)
            add(-size)
        elif word == "charge":
            while LOW + (HIGH - LOW) * level + OHM * size < HIGH - 0.02:
                add(size)
            add(size)
        elif word == "taper":
            while (current := (HIGH - LOW) * (1 - level) / OHM) > size:
                add(current)
                rows[-1] = (*rows[-1][:2], HIGH)
    return rows


def clean_of(rows, *, later=0.0, **columns):
    """`CleanTelemetry` rows of samples, so many seconds after midnight."""
    return clean_frame(
        [
            {"timestamp": MIDNIGHT + timedelta(seconds=second + later), "current_ampere": current, "voltage_volt": volt,
             "temperature_celsius": 25.0, **columns}
            for second, current, volt in rows
        ]
    )  # fmt: skip


def measured(clean, plates, *, repairs=None, offsets=None):
    """Capacity tests of samples whose days are condensed apart."""
    days = [day for _, day in clean.group_by("date", maintain_order=True)]
    rows, edges, found = (
        pl.concat(make(day, plates) for day in days) for make in (intervals_5min, day_evidence, capacity_evidence)
    )
    closed_rows = closed(rows, edges, plates).with_columns(repairs=pl.lit(None, pl.String))
    return capacity_tests(
        found,
        closed_rows.select(ClosedInterval5min.column_names()),
        CurrentOffset.create_empty() if offsets is None else offsets,
        Repair.create_empty() if repairs is None else repairs,
        plates,
    ).tests


@dataclass
class Count:
    """What flowed since it began, sample after sample."""

    start: float
    into: float = 0.0
    out: float = 0.0
    unobserved: float = 0.0
    current: float = 0.0
    rest: float = float("nan")
    flow: list = field(default_factory=list)


def reference(rows, *, gap=300.0):  # noqa: C901, PLR0912, PLR0915 - a plain scan reads best in one piece
    """(kind, start, end, Ah) of each test: the rules of `capacity_tests`, over the whole history at once."""
    found, full, going, empty, coming = [], None, None, None, None
    before, at_limit = 0, False
    idle, same = 0.01 * AMPERE_HOURS, 0.01 * AMPERE_HOURS

    def steady(count):
        hours, flowed, squares = np.sum(count.flow, axis=0)
        return np.sqrt(max(squares / hours - (flowed / hours) ** 2, 0)) / (flowed / hours) <= 0.1

    for (t0, i0, v0), (t1, i1, v1) in pairwise([(float("-inf"), 0.0, float("nan")), *rows]):
        joined = t1 - t0 <= gap
        direction = int(i1 > idle) - int(i1 < -idle)
        if at_limit and (direction != before or not joined):
            if before > 0:
                if coming and (i0 <= 0.1 * AMPERE_HOURS or steady(coming)):
                    kind = "full charge" if i0 <= 0.1 * AMPERE_HOURS else "constant-current charge"
                    if coming.unobserved <= 0.01 * (t0 - coming.start):
                        found.append((kind, coming.start, t0, coming.into - coming.out))
                    coming = None
                if not full or full.out >= same or i0 < full.current:
                    full, going = Count(t0, current=i0), None
            else:
                full = going = None
                if not empty or empty.into >= same or -i0 < empty.current:
                    empty, coming = Count(t0, current=-i0), None
        at_limit = at_limit and joined and direction == before
        before = before if joined else 0
        fresh = Count(t0 if joined else t1, rest=v0 if joined and before == 0 else float("nan"))
        if not joined:
            for count in filter(None, (full, going, empty, coming)):
                count.unobserved += t1 - t0 if t0 > float("-inf") else 0.0
        if direction < 0 <= before and (not going or fresh.rest >= _FULL_VOLT):
            going = fresh
            silent = full and full.unobserved > 3600 and not fresh.rest >= _STILL_FULL
            if full and (silent or full.out > same):
                full = None
        silent = empty and empty.unobserved > 3600 and not fresh.rest <= _STILL_EMPTY
        if direction > 0 >= before and not coming and empty and not silent and empty.into <= same:
            coming = fresh
        if joined:
            hours = (t1 - t0) / HOUR
            into, out = (max(i0, 0) + max(i1, 0)) / 2 * hours, (max(-i0, 0) + max(-i1, 0)) / 2 * hours
            for count in filter(None, (full, going, empty, coming)):
                count.into, count.out = count.into + into, count.out + out
                count.flow.append((hours, into + out, (i0 * i0 + i0 * i1 + i1 * i1) / 3 * hours))
        if direction < 0:
            at_limit = v1 <= LOW * (1 + 1e-6)
            if at_limit and going:
                from_full = (full and full.current <= 0.1 * AMPERE_HOURS) or going.rest >= _FULL_VOLT
                if from_full or (full and steady(going)):
                    kind = "full discharge" if from_full else "constant-current discharge"
                    if going.unobserved <= 0.01 * (t1 - going.start):
                        found.append((kind, going.start, t1, going.out - going.into))
                full = going = None
        elif direction > 0:
            at_limit = v1 >= HIGH - 0.02
        before = direction
    return [test for test in found if 0.2 * AMPERE_HOURS <= test[3] <= 1.5 * AMPERE_HOURS]
