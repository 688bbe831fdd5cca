"""Events stay what they are: from one run, from nightly ones, with files that come late."""

from __future__ import annotations

from datetime import timedelta

import polars as pl
import pytest

from bess_pipeline.analytics.lanes import DATA_CHECKS, MODELS, SAFETY, STATISTICS
from bess_pipeline.sources.simulate import Plan, simulate
from bess_pipeline.tables import catalog
from bess_pipeline_tests.fleet_tables import plan_without_clocks, simulated_tables
from bess_pipeline_tests.growing_lake import GrowingLake
from bess_pipeline_tests.test_growing_lake import GIVEN, of_days

pytestmark = pytest.mark.whole_runs

#: Long enough for learned models, with faults that four lanes see.
PLAN = plan_without_clocks(
    Plan(
        "stay", batteries=6, days=170, seed=5, interval_seconds=300, faults=("cooling", "tr_precursor", "contactor_res")
    )
)
#: A battery whose files of some days come last.
LATE, LATE_DAYS = "STAY-R02", slice(118, 121)


@pytest.fixture(scope="module")
def given():
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


@pytest.fixture(scope="module")
def grown(given, days, tmp_path_factory):
    """The tables after each stage: when the fleet joins, two nights, two stretches, and the late files."""
    lake = GrowingLake(tmp_path_factory.mktemp("grown"), PLAN.fleet_id)
    missing = (pl.col("battery_id") == LATE) & pl.col("date").is_in(days[LATE_DAYS])
    stages = []
    for arriving in (days[:110], days[110:111], days[111:112], days[112:140], days[140:]):
        there = {
            name: rows.filter(~missing) if catalog.TABLES[name].per == "fleet_day" else rows
            for name, rows in of_days(given, arriving).items()
        }
        lake.arrive(there, arriving)
        lake.follow()
        stages.append(lake.tables())
    lake.arrive(of_days(given, days[LATE_DAYS]), days[LATE_DAYS])
    lake.follow()
    return [*stages, lake.tables()]


def test_the_fleet_has_something_to_tell(whole):
    """What follows would hold of a fleet without events as well."""
    events = whole["anomaly_events"].filter(pl.col("severity") != "info")
    assert {STATISTICS, SAFETY, DATA_CHECKS} <= set(events["detector"])
    assert MODELS in set(whole["anomaly_signals"].drop_nulls("raised_at")["lane"])
    assert whole["anomaly_models"].height >= 4


def test_every_table_is_that_of_one_run(whole, grown):
    assert [name for name in whole if not grown[-1][name].equals(whole[name])] == []


def test_an_event_once_raised_keeps_its_identity_and_its_detection(whole, grown, days):
    """Until the files that came late: with one battery less its peers have another median."""
    kept = [
        "event_id",
        "battery_id",
        "component",
        "family",
        "kind",
        "detector",
        "started_at",
        "detected_at",
        "evidence",
    ]
    final, seen = whole["anomaly_events"], 0
    for stage, last in zip(grown, (109, 110, 111, 139, 169, 169), strict=True):
        raised_by = pl.col("detected_on") <= days[min(last, LATE_DAYS.start - 1)]
        known = stage["anomaly_events"].filter(raised_by).select(kept)
        assert known.equals(final.filter(raised_by).select(kept))
        seen += known.height
    assert seen > final.height
