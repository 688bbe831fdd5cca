"""The short way from samples to tables gives what the long way gives."""

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from bess_pipeline.sources.simulate import Plan, simulate
from bess_pipeline.tables import catalog
from bess_pipeline_tests.fleet_tables import fleet_tables, plan_without_clocks, simulated_tables

PLAN = plan_without_clocks(Plan("direct", batteries=3, days=6, seed=5, interval_seconds=300))


@pytest.fixture(scope="module")
def simulated():
    return simulate(PLAN)


@pytest.fixture(scope="module")
def tables(simulated):
    return simulated_tables(simulated)


def test_every_table_that_rests_on_samples_is_made(tables):
    on_files = {"arrivals_daily", "battery_data_quality_daily", "data_quality_daily"}
    assert {table.name for table in catalog.TABLES.values() if table.layer == "gold"} - on_files <= tables.keys()


def test_a_day_at_a_time_gives_the_same_as_all_at_once(simulated, tables):
    by_day = simulated_tables(simulated, rows_at_once=1)
    assert by_day.keys() == tables.keys()
    for name, rows in tables.items():
        assert_frame_equal(by_day[name], rows, check_exact=True)


def test_only_what_is_wanted_is_made_and_is_the_same(simulated, tables):
    few = simulated_tables(simulated, wanted=["state_of_health"])
    assert "telemetry_5min" not in few
    assert_frame_equal(few["state_of_health"], tables["state_of_health"], check_exact=True)


def test_the_order_of_rows_does_not_matter_where_none_are_in_conflict(simulated, tables):
    rows = simulated.samples
    made = [
        fleet_tables(given, tables["batteries"], tables["ocv_curves"], wanted=["state_of_health"])
        for given in (rows, rows.sample(fraction=1.0, shuffle=True, seed=1))
    ]
    assert_frame_equal(*(each["state_of_health"] for each in made), check_exact=True)


def test_rows_are_validated_by_their_contracts(tables):
    for name, rows in tables.items():
        assert isinstance(rows, pl.DataFrame)
        if not rows.is_empty():
            catalog.TABLES[name].contract.validate(rows, cast=False)
