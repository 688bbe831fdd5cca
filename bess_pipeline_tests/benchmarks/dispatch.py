"""What a year of schedules costs: `python -m bess_pipeline_tests.benchmarks.dispatch [--batteries 100] [--layers 4]`.

A year of hourly prices with two peaks a day, a seasonal week and noise; each battery with a wear of its own.
"""

from __future__ import annotations

import argparse
import os
import platform
import time

import numpy as np
from joblib import Parallel, delayed
from rich.console import Console

from bess_pipeline.analytics.dispatch import Schedule, Storage, optimal_schedule, with_layers


def prices(hours: int = 8760) -> np.ndarray:
    """Prices with two peaks a day [money/MWh]."""
    at, random = np.arange(hours), np.random.default_rng(0)
    day, week = np.sin(4 * np.pi * (at % 24 - 9) / 24), np.sin(2 * np.pi * at / 168)
    return 60 + 25 * day + 20 * week + 15 * random.standard_normal(hours)


def battery(number: int, layers: int) -> Storage:
    """A battery whose cycles cost as the square of their depth."""
    dear = 20 + number % 40
    depth = [(dear + 20) * (k / layers) ** 2 for k in range(1, layers + 1)]
    return Storage(2.0, 1.0, 1.0, 0.95, 0.95, wear=with_layers(depth), holding=0.01)


def schedule(number: int, layers: int) -> Schedule:
    """Its year."""
    return optimal_schedule(prices(), battery(number, layers))


def main() -> None:
    """Print what it took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batteries", type=int, default=100)
    parser.add_argument("--layers", type=int, default=4)
    given = parser.parse_args()
    console, taken = Console(width=100), []
    for number in range(5):
        began = time.perf_counter()
        schedule(number, given.layers)
        taken.append(time.perf_counter() - began)
    console.print(
        f"one battery, {given.layers} layers: median of 5 {np.median(taken):.2f} s, at most {max(taken):.2f} s"
    )
    began = time.perf_counter()
    Parallel(n_jobs=-1)(delayed(schedule)(number, given.layers) for number in range(given.batteries))
    whole = time.perf_counter() - began
    told = f"{given.batteries} batteries: {whole:.0f} s, {given.batteries * np.median(taken) / whole:.1f} times as fast"
    console.print(f"{told} as one after the other; {platform.python_version()}, {os.cpu_count()} cores")


if __name__ == "__main__":
    main()
