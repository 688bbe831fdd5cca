"""Inject faults and tell what became of them: `python -m bess_pipeline_tests.faults FOLDER [part of a name]...`.

It needs Linux, and root for the faults that fill a disk; `faketime` for those of the clock.
"""

from __future__ import annotations

import shutil
import sys
import time
import traceback
from pathlib import Path

from bess_pipeline_tests.faults import daemon_scenarios  # noqa: F401 - enters its faults in the list
from bess_pipeline_tests.faults.homes import Bench
from bess_pipeline_tests.faults.scenarios import SCENARIOS

_HEAD = "| fault | what happened | what a person has to do | recovered after | tables equal |\n|---|---|---|---:|---|\n"


def row(bench: Bench, name: str) -> str:
    """Inject one fault; what became of it, as a row of a table."""
    place = bench.place(f"disturbed-{list(SCENARIOS).index(name)}")
    try:
        told = SCENARIOS[name](bench, place)
        if "BESS_LAKE_URI" not in place.more:
            bench.require_equal(place)
    except Exception as error:  # noqa: BLE001 - it is the answer
        traceback.print_exc()
        return f"| {name} | {' '.join(str(error).split())[:300]} | – | – | **no** |"
    return f"| {name} | {told.happened} | {told.operator} | {told.seconds:.0f} s | yes |"


def main(folder: str, *parts: str) -> None:
    """Inject all faults, or those in whose names one of the parts occurs."""
    root = Path(folder)
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    bench = Bench.at(root)
    sys.stdout.write(f"undisturbed: {bench.seconds:.0f} s\n{_HEAD}")
    for name in SCENARIOS:
        if not parts or any(part in name for part in parts):
            begun = time.monotonic()
            sys.stdout.write(f"{row(bench, name)}\n")
            sys.stdout.flush()
            sys.stderr.write(f"{name}: {time.monotonic() - begun:.0f} s in all\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
