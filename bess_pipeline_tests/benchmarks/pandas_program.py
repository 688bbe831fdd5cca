"""What somebody with a notebook would write: a day of telemetry in pandas, NumPy and scikit-learn.

    python -m bess_pipeline_tests.benchmarks.pandas_program FILE.csv FOLDER [--engine pyarrow]

It reads a CSV file, drops doubled and impossible samples, makes 5-minute rows, daily numbers, cycles by rainflow and
outliers by an isolation forest, with Parquet in between. It does less than the pipeline (no quarantine with reasons, no
flags, no state filter, no intervals, no health, no events, no warehouse), and knows nothing of it.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import rainflow
from sklearn.ensemble import IsolationForest

_KEY = ["battery_id", "timestamp"]
#: What a sample may say, of one that is possible.
_POSSIBLE = {
    "voltage_volt": (1.0, 1500.0),
    "current_ampere": (-5000.0, 5000.0),
    "temperature_celsius": (-40.0, 100.0),
    "cell_voltage_min_volt": (0.5, 5.0),
    "cell_voltage_max_volt": (0.5, 5.0),
    "soc_bms_percent": (-5.0, 105.0),
}
_MEANS = {
    "voltage_volt": ["mean", "min", "max"],
    "current_ampere": ["mean", "min", "max"],
    "power_watt": ["mean"],
    "temperature_celsius": ["mean", "max"],
    "cell_voltage_min_volt": ["min"],
    "cell_voltage_max_volt": ["max"],
    "soc_bms_percent": ["mean", "last"],
}
_FEATURES = ["current_ampere_mean", "voltage_volt_mean", "temperature_celsius_mean", "cell_spread_volt"]


def read(csv: Path, engine: str) -> pd.DataFrame:
    """The samples, each once, in order of battery and time."""
    rows = pd.read_csv(csv, engine=engine, dtype={"battery_id": "category"})
    if not pd.api.types.is_datetime64_any_dtype(rows["timestamp"]):
        rows["timestamp"] = pd.to_datetime(rows["timestamp"], format="%Y-%m-%d %H:%M:%S")
    return rows.drop_duplicates(_KEY, keep="last").sort_values(_KEY, ignore_index=True)


def cleaned(rows: pd.DataFrame) -> pd.DataFrame:
    """The samples that are possible."""
    possible = np.ones(len(rows), dtype=bool)
    for name, (low, high) in _POSSIBLE.items():
        possible &= rows[name].between(low, high).to_numpy()
    return rows[possible]


def five_minutes(rows: pd.DataFrame) -> pd.DataFrame:
    """5-minute rows: means, extremes and counts."""
    powered = rows.assign(power_watt=rows["voltage_volt"] * rows["current_ampere"])
    grouped = powered.groupby(["battery_id", pd.Grouper(key="timestamp", freq="5min")], observed=True)
    found = grouped.agg(_MEANS)
    found.columns = ["_".join(names) for names in found.columns]
    found["samples"] = grouped.size()
    found["cell_spread_volt"] = found["cell_voltage_max_volt_max"] - found["cell_voltage_min_volt_min"]
    return found.reset_index()


def daily(five: pd.DataFrame) -> pd.DataFrame:
    """Energy, throughput, efficiency, charge by counting, cycles by rainflow, of each battery and day."""
    told = []
    for (battery, day), rows in five.groupby(["battery_id", five["timestamp"].dt.date], observed=True):
        power, current = rows["power_watt_mean"].to_numpy(), rows["current_ampere_mean"].to_numpy()
        into, out = np.clip(power, 0, None).sum() / 12, -np.clip(power, None, 0).sum() / 12
        charge = np.cumsum(current) / 12
        swing = charge.max() - charge.min() or 1.0
        cycles = rainflow.count_cycles(100 * (charge - charge.min()) / swing)
        told.append({
            "battery_id": battery,
            "date": day,
            "charging_energy_wh": into,
            "discharging_energy_wh": out,
            "efficiency": out / into if into else np.nan,
            "throughput_ah": np.abs(current).sum() / 12,
            "soc_min_percent": rows["soc_bms_percent_mean"].min(),
            "soc_max_percent": rows["soc_bms_percent_mean"].max(),
            "temperature_max_celsius": rows["temperature_celsius_max"].max(),
            "cell_spread_max_volt": rows["cell_spread_volt"].max(),
            "cycles": sum(count for _, count in cycles),
            "coverage": rows["samples"].sum() / 86_400,
        })  # fmt: skip
    return pd.DataFrame(told)


def outliers(five: pd.DataFrame) -> pd.DataFrame:
    """How unusual each 5-minute row is among all of them."""
    known = five.dropna(subset=_FEATURES)
    values = known[_FEATURES].to_numpy()
    scaled = (values - values.mean(axis=0)) / values.std(axis=0)
    forest = IsolationForest(random_state=0).fit(scaled)
    return known[_KEY].assign(score=-forest.score_samples(scaled))


def program(csv: Path, folder: Path, engine: str = "c") -> dict[str, float]:
    """Do all of it; seconds by stage."""
    folder.mkdir(parents=True, exist_ok=True)
    took, begun = {}, time.perf_counter()

    def done(stage: str) -> None:
        nonlocal begun
        took[stage], begun = time.perf_counter() - begun, time.perf_counter()

    raw = read(csv, engine)
    raw.to_parquet(folder / "raw.parquet")
    done("read, once each, in order")
    clean = cleaned(raw)
    clean.to_parquet(folder / "clean.parquet")
    done("clean")
    five = five_minutes(clean)
    five.to_parquet(folder / "five_minutes.parquet")
    done("5-minute rows")
    daily(five).to_parquet(folder / "daily.parquet")
    done("daily numbers, rainflow")
    outliers(five).to_parquet(folder / "outliers.parquet")
    done("isolation forest")
    return took


def main() -> None:
    """Do all of it, and write the seconds by stage as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("csv", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--engine", choices=("c", "pyarrow"), default="c", help="of pandas.read_csv")
    given = parser.parse_args()
    sys.stdout.write(json.dumps(program(given.csv, given.folder, given.engine)) + "\n")


if __name__ == "__main__":
    main()
