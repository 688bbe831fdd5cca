"""Homes made from the shared data sets: what `bess run` works on in tests and in the figures of the documentation.

`python -m bess_pipeline_tests.shared_homes NAME SHARED HOME` makes one by hand.
"""

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import polars as pl

from bess_pipeline_tests.format_samples import FLEETS, SAMPLES

_FLEETS = Path(__file__).parent / "fleets"


#: Fleets of format_samples that go through a whole run, and the rows that their files have.
FORMATS_RUN = {
    "bdf_neware": 17587,
    "bdf_parquet": 5000,
    "bdf_time_bug": 13086,
    "biologic": 1397,
    "maccor": 4009,
    "novonix": 207,
    "pec": 489,
}


def _with_fleet(name: str, home: Path) -> Path:
    """Put the fleet file of a data set in place; its landing folder."""
    (home / "fleets").mkdir(parents=True, exist_ok=True)
    shutil.copy(_FLEETS / f"{name}.yaml", home / "fleets")
    landing = home / "landing" / name
    landing.mkdir(parents=True, exist_ok=True)
    return landing


def m5bat(shared: Path, home: Path) -> None:
    """M5BAT as released."""
    shutil.copy(shared / "m5bat" / "units_1s.parquet", _with_fleet("m5bat", home))


def lipo_crate(shared: Path, home: Path) -> None:
    """The LiPo cell as released; its clock is relative and each rate is a battery of its own."""
    shutil.copy(shared / "lipo_crate" / "lipo_crate.parquet", _with_fleet("lipo_crate", home))


def nasa_pcoe(shared: Path, home: Path) -> None:
    """The NASA cells, a file each: times of samples are those of their operation plus the time within it."""
    landing = _with_fleet("nasa_pcoe", home)
    source = shared / "nasa_pcoe"
    starts = pl.read_parquet(source / "cycles.parquet").select("cell_id", "op_index", "start_time")
    for file in sorted((source / "timeseries").glob("*.parquet")):
        samples = pl.read_parquet(file).with_columns(pl.col("op_index").cast(pl.Int64))
        timed = samples.join(starts, on=["cell_id", "op_index"], how="left", maintain_order="left")
        time = (pl.col("start_time") + pl.duration(milliseconds="t_ms")).alias("time")
        timed.select(time, "cell_id", "op_index", "op", "voltage_v", "current_a", "temperature_c").write_parquet(
            landing / file.name
        )


def ev_pack(shared: Path, home: Path) -> None:
    """The electric car with 88 cell voltages and 19 probes, as released."""
    shutil.copy(shared / "ev_pack_faults" / "car2.parquet", _with_fleet("ev_pack", home))


def lfp_soc(shared: Path, home: Path) -> None:
    """The LFP cell as released."""
    shutil.copy(shared / "lfp_soc" / "lfp_soc.parquet", _with_fleet("lfp_soc", home))


def lfp_soc_wrong_start(shared: Path, home: Path) -> None:
    """The LFP cell with a management system that began to count 30 points too high."""
    landing = _with_fleet("lfp_soc", home)
    samples = pl.read_parquet(shared / "lfp_soc" / "lfp_soc.parquet")
    samples.with_columns(pl.col("soc_ref") + 0.3).write_parquet(landing / "lfp_soc.parquet")


def dmegc_rw(shared: Path, home: Path) -> None:
    """The four DMEGC cells as released."""
    shutil.copy(shared / "dmegc_rw" / "dmegc_rw.parquet", _with_fleet("dmegc_rw", home))


def m5bat_plant(shared: Path, home: Path) -> None:
    """The seconds of the M5BAT plant as released."""
    shutil.copy(shared / "m5bat" / "plant_month_0p1pct_sample.parquet", _with_fleet("m5bat_plant", home))


def format_samples(shared: Path, home: Path) -> None:
    """Files of seven makers and interchange formats, each a fleet of its own."""
    (home / "fleets").mkdir(parents=True, exist_ok=True)
    for name, fleet_id in SAMPLES.items():
        if fleet_id in FORMATS_RUN:
            shutil.copy(FLEETS / f"{fleet_id}.yaml", home / "fleets")
            (home / "landing" / fleet_id).mkdir(parents=True)
            shutil.copy(shared / "format_samples" / name, home / "landing" / fleet_id)


def _ready_home(name: str) -> Callable[[Path, Path], None]:
    def copied(shared: Path, home: Path) -> None:
        for folder in ("fleets", "landing"):
            shutil.copytree(shared / name / folder, home / folder, dirs_exist_ok=True)
        for path in home.rglob("*"):
            path.chmod(0o755 if path.is_dir() else 0o644)

    copied.__doc__ = f"A copy of {name}, which is a home already."
    return copied


HOMES: dict[str, Callable[[Path, Path], None]] = {
    "m5bat": m5bat,
    "nasa_pcoe": nasa_pcoe,
    "lipo_crate": lipo_crate,
    "ev_pack": ev_pack,
    "lfp_soc": lfp_soc,
    "lfp_soc_wrong_start": lfp_soc_wrong_start,
    "dmegc_rw": dmegc_rw,
    "m5bat_plant": m5bat_plant,
    "format_samples": format_samples,
    "fleet_minute": _ready_home("fleet_minute"),
    "fleet_years": _ready_home("fleet_years"),
}

if __name__ == "__main__":
    chosen, shared_folder, home_folder = sys.argv[1:]
    HOMES[chosen](Path(shared_folder), Path(home_folder))
