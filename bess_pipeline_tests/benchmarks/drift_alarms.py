"""How often features of stationary fleets are said to have drifted, and how large a shift is found.

    python -m bess_pipeline_tests.benchmarks.drift_alarms [--fleets 100]

Made scores: each feature of each battery a first-order autoregression with unit variance, with heavy
tails in one case, independent of the others. Told are: the share of fleets with any feature
beyond the thresholds, the 99th percentile of the largest ratio of distance and usual distance,
and the share of 20 fleets in which one feature is found that moved.
"""

from __future__ import annotations

import argparse
import json
from datetime import date, timedelta

import numpy as np
import polars as pl
from rich.console import Console
from rich.table import Table as Grid

from bess_pipeline.analytics.drift import drift
from bess_pipeline.window import epoch_start

FEATURES, TRAINED = 11, 180
#: Fleets of which one feature moves.
_MOVED = 20
EPOCH = epoch_start(date(2025, 6, 1))


def scores(batteries: int, days: int, correlation: float, chance: np.random.Generator, *, heavy: bool) -> pl.DataFrame:
    """`DailyFeature` columns that are read, of a fleet whose model came into force on `EPOCH`."""
    shape = (batteries, TRAINED + days, FEATURES)
    noise = chance.standard_t(3, shape) / np.sqrt(3) if heavy else chance.standard_normal(shape)
    z = np.empty(shape)
    z[:, 0] = noise[:, 0]
    for k in range(1, shape[1]):
        z[:, k] = correlation * z[:, k - 1] + np.sqrt(1 - correlation**2) * noise[:, k]
    names = pl.DataFrame({"battery_id": [f"b{k:02d}" for k in range(batteries)]})
    dates = pl.DataFrame({"date": [EPOCH + timedelta(days=k - TRAINED) for k in range(shape[1])]})
    features = pl.DataFrame({"feature": [f"f{k}" for k in range(FEATURES)]})
    grid = names.join(dates, how="cross").join(features, how="cross")
    return grid.with_columns(z=pl.Series(z.ravel()))


def model() -> pl.DataFrame:
    """The columns of an `AnomalyModel` row that are read."""
    names = json.dumps([f"f{k}" for k in range(FEATURES)])
    said = {"model": "principal_components", "date": EPOCH, "features": names}
    return pl.DataFrame([said | {"trained_from": EPOCH - timedelta(days=TRAINED)}])


def tried(fleets: int, batteries: int, days: int, correlation: float, *, heavy: bool) -> list[float]:
    """Share of false alarms, 99th percentile of the largest ratio, share found at shifts of 0.5 and 1 σ."""
    chance = np.random.default_rng(0)
    false, ratios, found = 0, [], {0.5: 0, 1.0: 0}
    for number in range(fleets):
        rows = scores(batteries, days, correlation, chance, heavy=heavy)
        told = drift(rows, model())
        false += bool(told["has_drifted"].any())
        ratios.append((told["distance"] / told["usual_distance"]).max())
        for shift in found if number < _MOVED else ():
            late = (pl.col("date") >= EPOCH) & (pl.col("feature") == "f3")
            moved = drift(rows.with_columns(pl.when(late).then(pl.col("z") + shift).otherwise("z").alias("z")), model())
            found[shift] += bool(moved.filter(feature="f3")["has_drifted"].item())
    return [
        false / fleets,
        float(np.quantile(ratios, 0.99)),
        *(number / min(fleets, _MOVED) for number in found.values()),
    ]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fleets", type=int, default=100)
    given = parser.parse_args()
    grid = Grid("batteries", "days", "correlation", "tails", "false alarms", "ratio, 99 %", "0.5 σ found", "1 σ found")
    for batteries in (2, 8, 30):
        for days in (14, 28):
            for correlation, heavy in ((0.0, False), (0.6, True), (0.9, False)):
                share, ratio, *found = tried(given.fleets, batteries, days, correlation, heavy=heavy)
                grid.add_row(
                    str(batteries), str(days), str(correlation), "heavy" if heavy else "normal",
                    f"{share:.2f}", f"{ratio:.1f}", *(f"{each:.2f}" for each in found),
                )  # fmt: skip
    Console(width=110).print(grid)


if __name__ == "__main__":
    main()
