"""The program that the benchmark of a day is held against does what it says, on the same file."""

import pandas as pd
import polars as pl
import pytest

from bess_pipeline_tests.benchmarks.fleet_day import delivered
from bess_pipeline_tests.benchmarks.pandas_program import program


@pytest.mark.parametrize("engine", ["c", "pyarrow"])
def test_it_makes_the_rows_and_the_energy_that_are_in_the_file(tmp_path, engine):
    csv = delivered(tmp_path, batteries=2, interval=30)
    lines = csv.read_text().splitlines()
    impossible = lines[5].split(",")
    impossible[2] = "99999"
    csv.write_text("\n".join([*lines[:5], ",".join(impossible), *lines[6:], *lines[-3:]]) + "\n")
    took = program(csv, tmp_path / "made", engine)
    assert min(took.values()) > 0
    raw, clean = (pd.read_parquet(tmp_path / "made" / f"{name}.parquet") for name in ("raw", "clean"))
    assert (len(raw), len(clean)) == (2 * 2880, 2 * 2880 - 1)
    five = pd.read_parquet(tmp_path / "made" / "five_minutes.parquet")
    assert (len(five), five["samples"].sum()) == (2 * 288, len(clean))
    power = pl.col("voltage_volt") * pl.col("current_ampere")
    expected = (
        pl.from_pandas(clean.astype({"battery_id": "str"}))
        .group_by("battery_id", pl.col("timestamp").dt.truncate("5m"))
        .agg(power.mean().alias("power"))
        .group_by("battery_id")
        .agg(charged=pl.col("power").clip(lower_bound=0).sum() / 12)
        .sort("battery_id")
    )
    daily = pd.read_parquet(tmp_path / "made" / "daily.parquet")
    assert daily["charging_energy_wh"].tolist() == pytest.approx(expected["charged"].to_list())
    assert (daily["cycles"] > 0).all()
    assert len(pd.read_parquet(tmp_path / "made" / "outliers.parquet")) == len(five)
