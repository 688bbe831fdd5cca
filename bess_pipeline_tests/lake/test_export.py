"""Files out of the warehouse: they hold what it holds, and what others write in that form is read back."""

import json
from datetime import date
from urllib.parse import quote

import polars as pl
import pytest
from typer.testing import CliRunner

from bess_pipeline.cli import app
from bess_pipeline.lake.export import ExportError, Part, write_bdf, write_passports, write_tables
from bess_pipeline.lake.passport import ATTRIBUTES
from bess_pipeline.lake.warehouse import Warehouse
from bess_pipeline.sources.files import read_rows
from bess_pipeline.sources.register import read_register
from bess_pipeline.tables import catalog
from bess_pipeline.window import Window
from bess_pipeline_tests.api.made_site import BATTERIES, ODD, PER_BATTERY, contents, put, settled

FLEET = """
fleet_id: back
commissioned: 2024-01-01
battery: {chemistry: LFP, rated_capacity_ah: 280, cells_in_series: 240}
source: {files: "**/*.csv", preset: bdf}
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    settings = settled(tmp_path_factory.mktemp("site"))
    made = contents()
    made[catalog.BATTERY_DAILY] = made[catalog.BATTERY_DAILY].with_columns(charging_energy_wh=pl.lit(1000.0))
    put(settings, made)
    return settings


@pytest.fixture(scope="module")
def warehouse(site):
    return Warehouse(site.warehouse)


def test_every_table_and_view_is_a_file_with_the_same_rows(warehouse, tmp_path):
    rows = write_tables(warehouse, tmp_path / "out", "parquet")
    assert set(rows) == {table.name for table in catalog.PUBLISHED} | {"event_verdicts"}
    for name, count in rows.items():
        held = warehouse.query(f"FROM {name}")
        written = pl.read_parquet(tmp_path / "out" / f"{name}.parquet")
        assert written.height == held.height == count
        assert written.columns == held.columns
    held = warehouse.query("FROM state_of_health ORDER BY fleet_id, battery_id, date")
    written = pl.read_parquet(tmp_path / "out" / "state_of_health.parquet").sort("fleet_id", "battery_id", "date")
    assert written.equals(held)
    assert rows["battery_latest"] == len(BATTERIES)


def test_a_part_is_that_fleet_battery_and_those_days(warehouse, tmp_path):
    part = Part("alpha", ODD, Window.hull([date(2026, 3, 2), date(2026, 3, 3)]))
    rows = write_tables(warehouse, tmp_path / "out", "csv", part)
    assert (rows["battery_daily"], rows["telemetry_5min"], rows["battery_latest"]) == (2, 2, 1)
    assert rows["fleet_daily"] == 0
    written = pl.read_csv(tmp_path / "out" / "telemetry_5min.csv", infer_schema=False)
    assert set(written["battery_id"]) == {ODD}
    assert written["timestamp"].to_list() == ["2026-03-02T07:30:00.123456Z", "2026-03-03T07:30:00.123456Z"]
    held = warehouse.query(
        f"FROM telemetry_5min WHERE battery_id = '{ODD.replace(chr(39), chr(39) * 2)}' ORDER BY timestamp"
    )
    assert written["voltage_volt"].cast(pl.Float64).to_list() == held["voltage_volt"][1:3].to_list()


def test_what_is_written_in_the_battery_data_format_is_read_back(warehouse, site, tmp_path):
    files = write_bdf(warehouse, tmp_path / "out", Part("alpha"))
    assert [file.name for file in files] == ["b1.bdf.csv", f"{quote(ODD, safe=' ')}.bdf.csv"]
    site.fleets.mkdir(exist_ok=True)
    (site.fleets / "back.yaml").write_text(FLEET)
    fleet = read_register(site.fleets).fleets["back"]
    rows = read_rows(files[0], fleet.source, Window.hull([date(2026, 1, 1), date(2026, 12, 31)]),
                     first_day=date(2020, 1, 1), today=date(2027, 1, 1)).rows  # fmt: skip
    held = warehouse.query("FROM telemetry_5min WHERE fleet_id = 'alpha' AND battery_id = 'b1' ORDER BY timestamp")
    assert rows["battery_id"].unique().to_list() == ["b1"]
    assert rows["timestamp"].to_list() == held["timestamp"].to_list()
    for name in ("voltage_volt", "current_ampere", "power_watt", "temperature_celsius"):
        assert rows[name].to_list() == held[name].to_list(), name


def test_a_passport_has_what_the_regulation_asks_for_and_says_where_it_is_from(warehouse, tmp_path):
    (file, *others) = write_passports(warehouse, tmp_path / "out", Part("beta"))
    assert len(others) == 1
    told = json.loads(file.read_text())
    assert (told["battery_id"], told["regulation"]) == ("b1", "(EU) 2023/1542")
    attributes = {one["name"]: one for one in told["attributes"]}
    assert list(attributes) == [one.name for one in ATTRIBUTES]
    health = warehouse.query(
        "FROM state_of_health WHERE fleet_id = 'beta' AND battery_id = 'b1' AND capacity_ah IS NOT NULL ORDER BY date"
    ).tail(1)
    assert attributes["remaining_capacity"]["value"] == pytest.approx(health["capacity_ah"].item(), nan_ok=True)
    assert attributes["remaining_capacity"]["as_of"] == str(health["date"].item())
    energy = attributes["energy_throughput_charged"]
    assert (energy["value"], energy["unit"]) == (1000.0 * PER_BATTERY, "Wh")
    for one in attributes.values():
        assert one["required_by"].startswith("Annex")
        assert one["source"]
        if one["source"].startswith("not known"):
            assert one["value"] is None
    parts = [one["name"] for one in attributes.values() if one["required_by"].startswith("Annex VII")]
    assert {"remaining_capacity", "ohmic_resistance", "full_equivalent_cycles", "self_discharge_rate"} <= set(parts)


def test_nothing_is_written_over_and_nobody_is_made_up(warehouse, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ExportError, match="is not empty"):
        write_tables(warehouse, tmp_path, "csv")
    with pytest.raises(ExportError, match="no such battery"):
        write_bdf(warehouse, tmp_path / "out", Part("alpha", "nobody"))
    with pytest.raises(ExportError, match="no such battery"):
        write_passports(warehouse, tmp_path / "new", Part("nobody"))
    with pytest.raises(FileNotFoundError, match="bess run"):
        write_tables(Warehouse(tmp_path / "none.duckdb"), tmp_path / "other", "csv")


def test_the_command_says_what_it_wrote_and_why_it_did_not(home, site, monkeypatch, tmp_path):
    def typed(*words):
        return CliRunner().invoke(app, ["export", *map(str, words)])

    refused = typed(tmp_path / "none")
    assert (refused.exit_code, "bess run" in refused.output) == (1, True)
    monkeypatch.setenv("BESS_HOME", str(site.root))
    assert "tables to" in typed(tmp_path / "a", "--form", "csv", "--fleet", "alpha").output
    assert "4 batteries" in typed(tmp_path / "b", "--form", "bdf").output
    assert "1 passports" in typed(tmp_path / "c", "--form", "passport", "--battery", "b2").output
    again = typed(tmp_path / "a")
    assert (again.exit_code, "is not empty" in again.output) == (1, True)
    assert typed(tmp_path / "d", "--from", "2026-03-02", "--to", "2026-03-01").exit_code == 1
