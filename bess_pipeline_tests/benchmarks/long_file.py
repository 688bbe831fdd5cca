"""How much memory and time one very long CSV file costs: a year of 1-minute telemetry of many batteries.

`python -m bess_pipeline_tests.benchmarks.long_file --gigabytes 4 SCRATCH` writes the file, runs `bess run` on it in a
home of its own below SCRATCH, and prints the peak resident memory and the wall time of that process.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

_START = date(2024, 1, 1)
_ROW_BYTES = 59
_FLEET = """\
fleet_id: long
name: One long file
commissioned: 2023-12-01
battery: {chemistry: LFP, rated_capacity_ah: 280, cells_in_series: 240}
source: {files: "*.csv", format: csv, sampling: instant}
"""


def write_long_file(path: Path, *, gigabytes: float, days: int, order: str, seed: int = 0) -> int:
    """Write 1-minute samples of as many batteries as fill the file.

    Args:
        path: The file.
        gigabytes: About how long it is [1e9 B].
        days: How many days it holds.
        order: ``time``: all batteries minute by minute. ``battery``: each battery's days in one go.
            ``shuffled``: days in random order, batteries minute by minute within each.
        seed: Of the random numbers.

    Returns:
        The rows written.
    """
    chance = np.random.default_rng(seed)
    batteries = max(1, round(gigabytes * 1e9 / _ROW_BYTES / (days * 1440)))
    names = pl.Series([f"rack-{number:03d}" for number in range(batteries)])
    places = [(day, None) for day in range(days)]
    if order == "battery":
        places = [(None, battery) for battery in range(batteries)]
    elif order == "shuffled":
        chance.shuffle(places)
    rows = 0
    with path.open("wb") as stream:
        stream.write(b"timestamp,battery_id,voltage_volt,current_ampere,temperature_celsius,soc_bms_percent\n")
        for day, battery in places:
            begin = datetime.combine(_START, datetime.min.time(), UTC) + timedelta(days=day or 0)
            minutes = 1440 * (1 if battery is None else days)
            at = pl.datetime_range(begin, begin + timedelta(minutes=minutes), "1m", closed="left", eager=True)
            racks = names if battery is None else names[battery : battery + 1]
            frame = pl.DataFrame({"timestamp": at}).join(racks.alias("battery_id").to_frame(), how="cross")
            phase = (frame["timestamp"].dt.epoch("s") % 86_400).to_numpy() / 86_400 * 2 * np.pi
            current = 30 * np.sin(phase) + chance.normal(0, 2, frame.height)
            frame.with_columns(
                voltage_volt=pl.Series(790 - 15 * np.cos(phase) + 0.05 * current),
                current_ampere=pl.Series(current),
                temperature_celsius=pl.Series(27 + 4 * np.sin(phase)),
                soc_bms_percent=pl.Series(50 - 40 * np.cos(phase)),
            ).write_csv(stream, include_header=False, float_precision=3, datetime_format="%Y-%m-%dT%H:%M:%SZ")
            rows += frame.height
    return rows


@dataclass(frozen=True)
class Cost:
    """What a process cost.

    Attributes:
        status: Its exit status.
        resident_mib: Peak resident memory, pages of files that it has mapped included [MiB].
        own_mib: Peak resident memory without those, sampled ten times a second [MiB].
        seconds: Wall time [s].
    """

    status: int
    resident_mib: float
    own_mib: float
    seconds: float


def measured(command: list[str], environment: dict[str, str]) -> Cost:
    """Run a command and watch it."""
    begin = time.monotonic()
    process = subprocess.Popen(command, env=environment)
    peaks = {"VmHWM": 0, "RssAnon": 0}

    def watch() -> None:
        while process.poll() is None:
            try:
                status = Path(f"/proc/{process.pid}/status").read_text()
            except OSError:
                return
            for line in status.splitlines():
                kind, _, value = line.partition(":")
                if kind in peaks:
                    peaks[kind] = max(peaks[kind], int(value.split()[0]))
            time.sleep(0.1)

    watcher = threading.Thread(target=watch)
    watcher.start()
    status = process.wait()
    watcher.join()
    return Cost(status, peaks["VmHWM"] / 1024, peaks["RssAnon"] / 1024, time.monotonic() - begin)


def main() -> None:
    """Write the file, run the pipeline on it, print what it cost."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scratch", type=Path, help="a folder for the home; the file is kept there for another run")
    parser.add_argument("--gigabytes", type=float, default=0.4)
    parser.add_argument("--days", type=int, default=366)
    parser.add_argument("--order", choices=["time", "battery", "shuffled"], default="time")
    parser.add_argument("--until", type=date.fromisoformat, help="run only the days up to this one")
    said = parser.parse_args()
    home = said.scratch / f"{said.order}-{said.gigabytes:g}"
    for folder in ("fleets", "landing/long"):
        (home / folder).mkdir(parents=True, exist_ok=True)
    (home / "fleets" / "long.yaml").write_text(_FLEET)
    path = home / "landing" / "long" / "long.csv"
    if not path.exists():
        part = path.with_suffix(".part")
        begin = time.monotonic()
        rows = write_long_file(part, gigabytes=said.gigabytes, days=said.days, order=said.order)
        part.rename(path)
        took = time.monotonic() - begin
        print(f"wrote {rows:,} rows, {path.stat().st_size / 1e9:.2f} GB in {took:.0f} s")  # noqa: T201
    bess = [str(Path(sys.executable).with_name("bess")), "run", *(["--to", str(said.until)] if said.until else [])]
    cost = measured(bess, {**os.environ, "BESS_HOME": str(home)})
    print(  # noqa: T201
        f"exit {cost.status}, peak resident memory {cost.resident_mib:,.0f} MiB "
        f"({cost.own_mib:,.0f} MiB without mapped files), {cost.seconds:,.0f} s"
    )


if __name__ == "__main__":
    main()
