"""The whole pipeline on telemetry that nobody here wrote."""

from datetime import date

import polars as pl
import pytest

from bess_pipeline.defs.resources import Home
from bess_pipeline_tests.deployments import run
from bess_pipeline_tests.shared_homes import HOMES

pytestmark = pytest.mark.real_data


@pytest.fixture(scope="module")
def ran(shared_data, tmp_path_factory):
    """Runs a shared data set once, and gives its warehouse."""
    homes = {}

    def warehouse(name, monkeypatch):
        if name not in homes:
            homes[name] = tmp_path_factory.mktemp(name)
            HOMES[name](shared_data, homes[name])
            monkeypatch.setenv("BESS_HOME", str(homes[name]))
            assert run().failures == []
        monkeypatch.setenv("BESS_HOME", str(homes[name]))
        return Home().warehouse

    return warehouse


@pytest.mark.parametrize(
    ("battery", "day", "discharged", "charged"),
    [
        ("Batt10", date(2023, 4, 7), 720.23, 741.12),
        ("Batt10", date(2023, 4, 13), 652.13, 682.39),
        ("Batt1", date(2023, 4, 7), 40.44, 63.78),
    ],
)
def test_m5bat_gives_the_known_energies(ran, monkeypatch, battery, day, discharged, charged):
    """Expected [kWh]: sums of the released integers at 1 s, see the data set's README."""
    daily = ran("m5bat", monkeypatch).query("SELECT * FROM battery_daily").filter(battery_id=battery, date=day)
    assert daily["discharging_energy_wh"].item() / 1000 == pytest.approx(discharged, rel=1e-3)
    assert daily["charging_energy_wh"].item() / 1000 == pytest.approx(charged, rel=1e-3)


@pytest.mark.parametrize("name", ["m5bat", "nasa_pcoe", "lipo_crate"])
def test_rows_received_are_those_of_the_files(ran, monkeypatch, name):
    """The total of the files, counted without any code of the pipeline."""
    quality = ran(name, monkeypatch).query("SELECT * FROM data_quality_daily")
    parts = pl.sum_horizontal("rows_accepted", "rows_quarantined", "rows_duplicate")
    assert quality.filter(pl.col("rows_received") != parts).is_empty()
    files = (Home().settings.landing / name).glob("*.parquet")
    assert quality["rows_received"].sum() == sum(pl.scan_parquet(file).select(pl.len()).collect().item() for file in files)


def test_forty_eight_cycles_are_counted_at_each_rate(ran, monkeypatch):
    """Expected: the cycler ran 48 cycles per rate, see the data set's README."""
    daily = ran("lipo_crate", monkeypatch).query(
        "SELECT battery_id, sum(discharging_capacity_ah) AS discharged FROM battery_daily GROUP BY ALL ORDER BY ALL"
    )
    assert daily.height == 4
    assert (daily["discharged"] / 5.0).to_list() == pytest.approx([48] * 4, rel=0.05)
