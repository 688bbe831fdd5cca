"""Has Numba compile the pipeline, for all processes after this one.

`python -m bess_pipeline_tests.compiled` does all of it, `… compiled fleet`, `… compiled late` and `… compiled cells` a
part each.
"""

import sys

import numpy as np

from bess_pipeline.analytics import rainflow
from bess_pipeline.analytics.cells import cell_evidence
from bess_pipeline.analytics.chart_sums import cumulative_sums
from bess_pipeline.analytics.control_charts import robust_scores
from bess_pipeline.sources.simulate import Plan, simulate
from bess_pipeline_tests.fleet_tables import simulated_tables
from bess_pipeline_tests.strategies import batteries, clean, sample


def _fleet():
    # A few weeks of two batteries pass through every function that takes long to compile, but for those of cells.
    simulated_tables(simulate(Plan("compiled", batteries=2, days=30, seed=1, interval_seconds=300)))


def _late():
    # What a fleet comes to last: compiled beside its beginning, it is there by then.
    same, days = np.zeros(30, dtype=np.int64), np.arange(30)
    scores = robust_scores(same, days, same, days % 2 + 0.0, np.full(30, 0.1))
    cumulative_sums(same, days, scores)
    rainflow.counted(days, scores, scores, scores, rainflow.nothing(), same[:0])


def _cells():
    told = {"voltage_volt": 6.6, "cell_voltages_volt": [3.3, 3.3], "probe_temperatures_celsius": [25.0, 25.0]}
    rows = [sample(10 * number, current_ampere=70.0 * (number % 2), **told) for number in range(6)]
    cell_evidence(clean(rows), batteries("b"))


_PARTS = {"late": _late, "fleet": _fleet, "cells": _cells}

if __name__ == "__main__":
    for part in sys.argv[1:] or _PARTS:
        _PARTS[part]()
