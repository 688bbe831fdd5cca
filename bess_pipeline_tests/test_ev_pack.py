"""A real pack of 88 cells, one of which slowly fails, through the whole pipeline: figures that NumPy gives of the file.

The data set is that of Nie et al., Energy 323 (2025) 135754.
Which cell fails was computed from the data, see its README.
"""

import json
from datetime import date

import numpy as np
import polars as pl
import pytest

from bess_pipeline.analytics.cells import cell_evidence
from bess_pipeline.lake.store import Lake
from bess_pipeline.lake.warehouse import Warehouse
from bess_pipeline.tables import catalog
from bess_pipeline.tables.telemetry import CELL_VOLTAGES
from bess_pipeline_tests.deployments import run_from
from bess_pipeline_tests.shared_homes import HOMES

pytestmark = pytest.mark.real_data

CELLS, PROBES = 88, 19
UTC_DAY = (pl.col("ts_local") - pl.duration(hours=8)).dt.date()


@pytest.fixture(scope="module")
def home(shared_data, tmp_path_factory):
    """The car's home after `bess run`."""
    home = tmp_path_factory.mktemp("ev_pack")
    HOMES["ev_pack"](shared_data, home)
    run_from(home, "2019-04-01")
    return home


@pytest.fixture(scope="module")
def released(shared_data):
    """The file as released, each row once."""
    return pl.read_parquet(shared_data / "ev_pack_faults" / "car2.parquet").unique("ts_local", maintain_order=True)


@pytest.fixture(scope="module")
def evidence(home):
    return Warehouse(home / "warehouse" / "bess.duckdb").query("SELECT * FROM cell_evidence ORDER BY ALL")


def deviations(released):
    """Deviation of each cell from the median of those that do not read 0 V: shape (samples, cells) [V]."""
    volts = released.select(f"V_{number}" for number in range(1, CELLS + 1)).to_numpy().astype(float)
    volts[volts == 0] = np.nan
    return volts - np.nanmedian(volts, axis=1, keepdims=True)


def test_every_cell_has_the_median_of_every_day_that_the_file_gives(released, evidence):
    frame = pl.DataFrame(deviations(released), schema=[f"V_{number}" for number in range(1, CELLS + 1)])
    days = frame.fill_nan(None).with_columns(released.select(date=UTC_DAY).to_series())
    expected = days.group_by("date").agg(pl.all().median()).unpivot(index="date", variable_name="component")
    both = evidence.filter(kind="voltage").join(expected, on=["date", "component"], how="full", validate="1:1")
    assert both.height == released.select(UTC_DAY.n_unique()).item() * CELLS
    assert (both["deviation_median"] - both["value"]).abs().max() < 1e-9


def test_the_failing_cell_drifts_as_published_by_the_local_day(home):
    """Expected [mV]: README of the data set, by days of China; the file rounds to 1 mV."""
    lake = Lake(str(home / "lake"))
    local = pl.col("timestamp").dt.convert_time_zone("Asia/Shanghai").dt.date()
    samples = lake.read(catalog.CLEAN_TELEMETRY).with_columns(date=local)
    found = cell_evidence(samples, lake.read(catalog.BATTERIES)).filter(component="V_82")
    drift = dict(found.select("date", 1000 * pl.col("deviation_median")).iter_rows())
    published = {date(2019, 4, 15): -26, date(2019, 5, 22): -38, date(2019, 7, 19): -82, date(2019, 8, 5): -103}
    assert {day: drift[day] for day in published} == pytest.approx(published, abs=1)


def test_the_failing_cell_is_the_worst_of_all_by_far(evidence):
    """Expected: README of the data set, a factor of 1.7 in the root of the mean square."""
    square = (pl.col("samples") * pl.col("deviation_rms") ** 2).sum() / pl.col("samples").sum()
    cells = evidence.filter(kind="voltage").group_by("component")
    worst = cells.agg(rms=square.sqrt()).sort("rms", descending=True)
    assert worst["component"][0] == "V_82"
    assert worst["rms"][0] / worst["rms"][1] == pytest.approx(1.7, abs=0.05)


def test_the_failing_cell_lacks_charge_and_has_no_more_resistance_than_others(evidence):
    """Regression, found here: resistances of the days, weighted by their errors, agree with the median cell's."""
    days = evidence.filter(pl.col("component") == "V_82", pl.col("step_count") >= 20)
    weight = 1 / days["resistance_deviation_error_ohm"] ** 2
    above = (days["resistance_deviation_ohm"] * weight).sum() / weight.sum()
    assert abs(above) < 0.05e-3


def test_the_failing_cell_is_raised_three_weeks_before_the_management_system_did(home):
    """Known: the first alarm of level 3 came on 2019-05-10, README of the data set; the data start on 2019-04-15."""
    events = Warehouse(home / "warehouse" / "bess.duckdb").query(
        "SELECT component, family, kind, detected_at, next_step, evidence FROM anomaly_events "
        "WHERE component IS NOT NULL AND family NOT IN ('data', 'limit') ORDER BY detected_at"
    )
    assert events["component"].unique().to_list() == ["V_82"]
    first = events.row(0, named=True)
    assert first["detected_at"].date() <= date(2019, 4, 20)
    assert (first["family"], first["kind"]) == ("cell", "cell_lies_low")
    evidence = json.loads(first["evidence"])
    assert evidence["features"][0]["peers"] == CELLS - 1
    assert evidence["features"][0]["value"] == pytest.approx(-0.026, abs=0.002)
    assert len(evidence["series"]["days"]) == len(evidence["series"]["values"]) >= 1


def test_values_that_stand_for_none_are_unknown_and_counted(released, evidence):
    """Expected: 463 zeros in 15 rows of the cells, counted by the README, and what the file holds of probes."""
    cells, probes = ("V_82", CELLS, "^V_.*$", [0]), ("T_1", PROBES, "^T_.*$", [0, 255, 511])
    for kind, (_, number, pattern, none) in {"voltage": cells, "temperature": probes}.items():
        rows = evidence.filter(kind=kind)
        values = released.select(pattern)
        zeros = sum(values.select(pl.sum_horizontal(pl.all() == sentinel).sum()).item() for sentinel in none)
        assert rows["unknown_samples"].sum() == zeros
        assert rows["samples"].sum() == released.height * number - zeros
        assert rows["implausible_samples"].sum() == 0
    assert evidence.filter(kind="voltage")["unknown_samples"].sum() == 463


def test_extremes_follow_from_the_cells_and_agree_with_those_of_the_battery_management_system(home, released):
    """At steady rest, and in rows without a zero: under load the car's cells and extremes are of different instants."""
    clean = Lake(str(home / "lake")).read(catalog.CLEAN_TELEMETRY)
    local = pl.col("timestamp").dt.convert_time_zone("Asia/Shanghai").dt.replace_time_zone(None)
    both = clean.with_columns(ts_local=local).join(released, on="ts_local", how="left", validate="1:1")
    assert both.height == released.height
    whole = both.filter(pl.col("cell_voltages_volt").list.drop_nulls().list.len() == CELLS)
    assert whole.height == released.height - 15
    current = pl.col("current_ampere")
    still = whole.filter(current.abs() < 1, current.diff().abs() < 1)
    for ours, theirs in zip(CELL_VOLTAGES, ("BMSCellVoltageMin", "BMSCellVoltageMax"), strict=True):
        apart = still[ours] - still[theirs]
        assert apart.median() == pytest.approx(0, abs=5e-4)
        assert (apart.abs() < 1.1e-3).mean() > 0.9


def test_the_row_that_came_twice_is_a_duplicate(home):
    quality = Warehouse(home / "warehouse" / "bess.duckdb").query("SELECT * FROM data_quality_daily")
    names = ("rows_received", "rows_accepted", "rows_quarantined", "rows_duplicate")
    assert quality.select(pl.col(names).sum()).row(0) == (14385, 14384, 0, 1)


def test_the_voltage_of_the_pack_is_one_percent_more_than_its_cells(evidence):
    """Regression, found here: 3.5 to 3.9 V above the sum of 88 cells, as much as an 89th cell, or a gain of 1.1 %."""
    terminals = evidence.filter(pl.col("kind") == "terminals", pl.col("samples") >= 100)
    above = terminals["deviation_median"] / terminals["value_max"]
    assert above.is_between(0.008, 0.013).all()
