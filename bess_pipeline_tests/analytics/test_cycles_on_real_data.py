"""Rainflow cycles of measured state of charge, against another implementation, whole and cut into days."""

import numpy as np
import polars as pl
import pytest
import rainflow

from bess_pipeline.analytics import cycles as counting
from bess_pipeline_tests.analytics import made_cells

pytestmark = pytest.mark.real_data

#: Data set → file, battery, seconds, state of charge [%].
SETS = {
    "lipo_crate": ("lipo_crate/lipo_crate.parquet", pl.col("crate_file").cast(pl.String), "t_s", pl.col("soc_ref_pct")),
    "m5bat": ("m5bat/units_1s.parquet", pl.col("unit"), "ts_utc", pl.col("soc_bms_pct")),
    "lfp_soc": ("lfp_soc/lfp_soc.parquet", pl.col("test").cast(pl.String), "t_s", 100 * pl.col("soc_ref")),
}


@pytest.fixture(scope="module", params=SETS)
def soc(request, shared_data):
    file, battery, time, value = SETS[request.param]
    rows = pl.read_parquet(shared_data / file).select(battery_id=battery, time=time, soc_percent=value)
    if rows["time"].dtype.is_numeric():
        rows = rows.with_columns(time=pl.from_epoch((pl.col("time") * 1e6).round().cast(pl.Int64), time_unit="us"))
    instant = pl.col("time").dt.replace_time_zone(None).dt.cast_time_unit("us").dt.replace_time_zone("UTC")
    return (
        rows.select(
            "battery_id", fleet_id=pl.lit("f"), timestamp=instant, soc_percent=pl.col("soc_percent").cast(pl.Float64)
        )
        .drop_nulls()
        .unique(["battery_id", "timestamp"], keep="first", maintain_order=True)
    )


def count(soc, memory=None, of=None):
    rows = soc.with_columns(
        pl.lit(None, pl.Float64).alias("current_ampere"),
        pl.lit(None, pl.Float64).alias("temperature_celsius"),
        date=pl.col("timestamp").dt.date(),
    )
    batteries = (soc if of is None else of)["battery_id"].unique().sort()
    return counting.cycles(rows, made_cells.batteries(*batteries), memory, smallest_percent=1e-9)


def test_each_cycle_is_that_of_another_implementation(soc):
    for (battery,), own in soc.sort("timestamp").group_by("battery_id", maintain_order=True):
        found = count(own).cycles
        theirs = [
            (depth, mean, count)
            for depth, mean, count, *_ in rainflow.extract_cycles(own["soc_percent"].to_numpy())
            if depth > 0
        ]
        ours = found.select("depth_percent", "mean_soc_percent", "count").rows()
        assert len(ours) == len(theirs) > 0, battery
        assert np.allclose(sorted(ours), sorted(theirs))


def test_parts_that_come_late_and_twice_give_the_cycles_of_the_whole(soc):
    """Each part of six hours twice, in a random order; and slowed down a hundred times, taken up at each epoch."""
    slow = soc.with_columns(
        timestamp=pl.col("timestamp").min() + 100 * (pl.col("timestamp") - pl.col("timestamp").min())
    )
    parts = [part for _, part in slow.group_by(pl.col("timestamp").dt.truncate("6h"), maintain_order=True)]
    order = np.random.default_rng(3).permutation(np.repeat(np.arange(len(parts)), 2))
    whole = count(slow)
    resent = pl.concat([parts[at] for at in order]).unique(["battery_id", "timestamp"], keep="any")
    assert count(resent).cycles.equals(whole.cycles)
    for epoch in whole.memory["date"].unique().sort().gather_every(3):
        again = count(slow.filter(pl.col("timestamp").dt.date() >= epoch), whole.memory.filter(date=epoch), of=slow)
        late = pl.col("counted_at").dt.date() >= epoch
        assert again.cycles.equals(whole.cycles.filter(late.fill_null(value=True)))
