"""However the days of a fleet arrive, its tables are those of the whole, to the last digit."""

import random
from datetime import timedelta

import polars as pl
import pytest

from bess_pipeline.sources.simulate import Plan, simulate
from bess_pipeline.tables import catalog
from bess_pipeline_tests.fleet_tables import plan_without_clocks, simulated_tables
from bess_pipeline_tests.growing_lake import GrowingLake
from bess_pipeline_tests.thoroughness import size

pytestmark = pytest.mark.whole_runs

PLAN = plan_without_clocks(Plan("grown", batteries=2, days=60, seed=77, interval_seconds=300, chemistry="NMC"))
#: The epoch begins with day 43.
NIGHTS_UNTIL = size(45, 52)
GIVEN = ("intervals_5min", "cell_evidence", "capacity_evidence", "day_evidence", "batteries", "ocv_curves")


@pytest.fixture(scope="module")
def given():
    """What the day level makes of each day, and the register."""
    return simulated_tables(simulate(PLAN), wanted=GIVEN)


@pytest.fixture(scope="module")
def days(given):
    first = given["intervals_5min"]["date"].min()
    return [first + timedelta(days=number) for number in range(PLAN.days)]


@pytest.fixture(scope="module")
def whole(given, days, tmp_path_factory):
    lake = GrowingLake(tmp_path_factory.mktemp("whole"), PLAN.fleet_id)
    lake.arrive(given, days)
    lake.follow()
    return lake.tables()


def assert_equal(lake, whole):
    tables = lake.tables()
    assert [name for name in whole if not tables[name].equals(whole[name])] == []


def of_days(given, days):
    return {
        name: rows.filter(pl.col("date").is_in(days)) if "date" in rows.columns else rows
        for name, rows in given.items()
    }


def test_day_after_day(given, days, whole, tmp_path):
    """The first weeks at once, as when a fleet joins; then night by night, over the beginning of an epoch; the rest."""
    lake = GrowingLake(tmp_path, PLAN.fleet_id)
    for arriving in (days[:42], *([day] for day in days[42:NIGHTS_UNTIL]), days[NIGHTS_UNTIL:]):
        lake.arrive(of_days(given, arriving), arriving)
        lake.follow()
    assert_equal(lake, whole)


def test_days_in_any_order_and_files_that_come_late(given, days, whole, tmp_path):
    """Every ninth day first without one of its batteries, whose file comes when all other days are there."""
    lake = GrowingLake(tmp_path, PLAN.fleet_id)
    order = random.Random(4).sample(days, len(days))
    late = order[5::9]
    one = given["batteries"]["battery_id"].min()
    for arriving in (order[:30], order[30:48], order[48:55], order[55:]):
        missing = pl.col("date").is_in(late) & (pl.col("battery_id") == one)
        there = {
            name: rows.filter(~missing) if catalog.TABLES[name].per == "fleet_day" else rows
            for name, rows in of_days(given, arriving).items()
        }
        lake.arrive(there, arriving)
        lake.follow()
    for arriving in (sorted(late)[3:], sorted(late)[:3]):
        lake.arrive(of_days(given, arriving), arriving)
        lake.follow()
    assert_equal(lake, whole)


def test_what_has_not_changed_is_not_written_again(given, days, tmp_path):
    lake = GrowingLake(tmp_path, PLAN.fleet_id)
    arriving = days[:5]
    lake.arrive(of_days(given, arriving), arriving)
    lake.follow()
    versions = {name: lake.lake.version(table) for name, table in catalog.TABLES.items()}
    lake.follow()
    assert {name: lake.lake.version(table) for name, table in catalog.TABLES.items()} == versions
