"""What is written of a synthetic fleet: files that read back as the samples, and a truth in the agreed form."""

import os
import subprocess
import sys
from datetime import date

import polars as pl
import pytest
import rainflow

from bess_pipeline.sources import files, register
from bess_pipeline.sources.simulate import Plan, physics, simulate, write_fleet
from bess_pipeline.sources.simulate.truth import truth_tables
from bess_pipeline.tables.telemetry import MEASUREMENTS
from bess_pipeline.window import Window

TRUTH = {
    "soc_5min": "ts rack_id soc_true",
    "daily": """
        rack_id date cap_usable_ah q_mean r_rel ah_chg ah_dis wh_chg wh_dis soc_min soc_max t_mean efc_cum loss_cal
        loss_cyc loss_knee soc_imbalance k_cal crate dod cap_weakest_ah r0_ohm_25c t_cell_max soh_usable""",
    "dq_events": "rack_id scope kind column t_on t_off param",
    "faults": "rack_id fault onset end severity note",
    "future_q": "rack_id day q_future",
    "racks": """
        rack_id site_id chem profile eol_day eol_q rul_days_at_end knee_day current_gain current_offset_a bol
        coulombic_eff age0_years""",
    "rainflow_hist": "rack_id range_lo mean_lo count",
    "rainflow_total": "rack_id cycles sum_range sum_range2",
    "site_energy": "site_id ac_import_kwh ac_export_kwh aux_kwh dc_chg_kwh dc_dis_kwh rte_ac_raw rte_ac_with_aux",
}


def plan(**changes):
    base = {"fleet_id": "t", "batteries": 2, "days": 3, "seed": 2, "interval_seconds": 300, "start": date(2025, 3, 29)}
    return Plan(**(base | changes))


def contents(home):
    return {str(file.relative_to(home)): file.read_bytes() for file in sorted(home.rglob("*")) if file.is_file()}


def read_back(home):
    known = register.read_register(home / "fleets")
    assert known.mistakes == {}
    source = known.fleets["t"].source
    window = Window(date(2025, 1, 1), date(2026, 1, 1))
    bounds = {"first_day": window.start, "today": date(2025, 12, 31)}
    read = [files.read_rows(file, source, window, **bounds) for file in sorted((home / "landing" / "t").iterdir())]
    assert all(part.rejected.is_empty() for part in read)
    return pl.concat([part.rows for part in read])


@pytest.mark.parametrize("seed", [2, 3], ids=["Parquet", "text in local time"])
@pytest.mark.parametrize("start", [date(2025, 3, 29), date(2025, 10, 25)], ids=["spring forward", "fall back"])
def test_a_fleet_without_data_faults_reads_back_as_its_samples(tmp_path, seed, start):
    fleet = simulate(plan(seed=seed, start=start, data_faults=False))
    write_fleet(fleet, tmp_path)
    order = ("battery_id", "timestamp")
    found, sent = read_back(tmp_path).sort(order), fleet.samples.sort(order)
    assert found.select(order).equals(sent.select(order))
    for name in MEASUREMENTS:
        expected = sent[name] if name in sent.columns else pl.Series([None] * sent.height, dtype=pl.Float64)
        assert (found[name] - expected).abs().max() in (None, pytest.approx(0, abs=1e-9)), name


@pytest.mark.parametrize("seed", [2, 3])
def test_every_written_row_is_counted_and_only_dropouts_lose_any(tmp_path, seed):
    fleet = simulate(plan(seed=seed, days=20))
    written = write_fleet(fleet, tmp_path)
    rows = read_back(tmp_path)
    assert sum(written.values()) == rows.height
    events = pl.read_parquet(tmp_path / "truth" / "t" / "truth" / "dq_events.parquet")
    assert events.height >= 5
    shifted = events.filter(pl.col("kind") == "clock")
    lost = events.filter(pl.col("kind") == "dropout").with_columns(pl.col("t_on", "t_off").dt.replace_time_zone("UTC"))
    missing = fleet.samples.join(rows, on=["battery_id", "timestamp"], how="anti")
    explained = missing.join(
        lost.select("rack_id", "t_on", "t_off"), left_on="battery_id", right_on="rack_id", how="inner"
    )
    explained = (
        explained.filter(pl.col("timestamp").is_between("t_on", "t_off")).select("battery_id", "timestamp").unique()
    )
    if shifted.is_empty():
        assert explained.height == missing.height


def test_the_same_plan_gives_the_same_bytes_in_any_process(tmp_path):
    write_fleet(simulate(plan()), tmp_path / "here")
    script = (
        "from datetime import date; from pathlib import Path; from bess_pipeline.sources.simulate import *;"
        "write_fleet(simulate(Plan('t', 2, 3, 2, 300, start=date(2025, 3, 29))), Path(__import__('sys').argv[1]))"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "77"}
    subprocess.run([sys.executable, "-c", script, str(tmp_path / "there")], env=environment, check=True)
    assert contents(tmp_path / "here") == contents(tmp_path / "there")


def test_another_seed_gives_another_fleet():
    assert not simulate(plan(seed=2)).samples.equals(simulate(plan(seed=4)).samples)


def test_the_truth_has_the_agreed_form(tmp_path):
    write_fleet(simulate(plan(faults=("knee",))), tmp_path)
    folder = tmp_path / "truth" / "t"
    found = {file.stem: pl.read_parquet_schema(file) for file in (folder / "truth").iterdir()}
    assert {name: set(schema) for name, schema in found.items()} == {k: set(v.split()) for k, v in TRUTH.items()}
    assert {file.name for file in (folder / "meta").iterdir()} == {"run.json", "site.json"}


def test_the_true_state_of_charge_is_that_of_the_end_of_the_sample():
    fleet = simulate(plan(interval_seconds=60, data_faults=False))
    soc = truth_tables(fleet)["soc_5min"].filter(rack_id="T-R00")
    assert soc["ts"][:2].dt.strftime("%H:%M").to_list() == ["00:04", "00:09"]
    assert soc["soc_true"][0] == pytest.approx(fleet.life.steps[0, 4, physics.MEAN_SOC], abs=1e-6)


def test_true_cycles_equal_those_of_another_implementation():
    fleet = simulate(plan(days=6))
    total = truth_tables(fleet)["rainflow_total"]
    for number in range(2):
        counted = list(rainflow.extract_cycles(fleet.life.steps[number, :, physics.MEAN_SOC]))
        row = total.filter(rack_id=fleet.plan.battery_id(number)).row(0, named=True)
        assert row["cycles"] == sum(count for *_, count, _, _ in counted)
        assert row["sum_range"] == pytest.approx(sum(depth * count for depth, _, count, _, _ in counted))


def test_the_end_of_life_is_where_the_future_crosses_it():
    tables = truth_tables(simulate(plan(days=30, faults=("knee",))))
    knee = tables["racks"].filter(pl.col("knee_day").is_not_null()).row(0, named=True)
    assert knee["eol_day"] > 30
    future = tables["future_q"].filter(rack_id=knee["rack_id"])
    assert (future.filter(pl.col("day") < knee["eol_day"])["q_future"] >= 0.8).all()
    assert (future.filter(pl.col("day") >= knee["eol_day"])["q_future"] < 0.8).all()
