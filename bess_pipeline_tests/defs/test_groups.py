"""What treats each battery on its own gives the same for one group of batteries after the other, to the last bit."""

from datetime import timedelta
from itertools import pairwise

import polars as pl
import pytest

from bess_pipeline.defs.groups import Grouped, InEither, made_in_groups
from bess_pipeline.defs.increments import BEFORE
from bess_pipeline.lake.groups import Days, Group
from bess_pipeline.sources.simulate import Plan, simulate
from bess_pipeline.sources.terms import assumptions
from bess_pipeline.tables import catalog
from bess_pipeline.window import Window
from bess_pipeline_tests.fleet_tables import (
    ECONOMICS,
    WARRANTY,
    followed,
    made_prices,
    plan_without_clocks,
    simulated_tables,
    steps,
)
from bess_pipeline_tests.growing_lake import GrowingLake

FLEET, DAYS = "mixed", 60
GIVEN = ("intervals_5min", "cell_evidence", "capacity_evidence", "day_evidence", "batteries", "ocv_curves")
PAIRS = (
    ("LFP", 11, ("weak_cell", "current_drift")),
    ("NMC", 12, ("isc", "cooling")),
    ("LFP", 13, ("temp_drift", "capacity_drop")),
)
EITHER = [step for step in steps() if step.kind is InEither]
BY_BATTERY = [step for step in steps() if step.kind is Grouped] + EITHER


def of_plan(chemistry, seed, faults):
    """What the day level makes of two batteries, each with a fault."""
    plan = Plan(FLEET, batteries=2, days=DAYS, seed=seed, interval_seconds=300, chemistry=chemistry, faults=faults)
    tables = simulated_tables(simulate(plan_without_clocks(plan)), wanted=GIVEN)
    named = pl.format(f"{seed}-{{}}", "battery_id").alias("battery_id")
    return {name: tables[name].with_columns(named) for name in GIVEN}


@pytest.fixture(scope="module")
def given():
    """Six batteries of two chemistries, of which two go on all the time.

    Of the first two both fall silent before an epoch begins, one joins after it, one is silent while it begins.
    """
    pairs = [of_plan(*each) for each in PAIRS]
    tables = {name: pl.concat(pair[name] for pair in pairs) for name in GIVEN}
    first = tables["intervals_5min"]["date"].min()
    *silent, _, late, _, paused = tables["batteries"]["battery_id"].sort().to_list()
    name, day = pl.col("battery_id"), (pl.col("date") - first).dt.total_days()
    gone = (
        (name.is_in(silent) & (day >= 30)) | ((name == late) & (day < 45)) | ((name == paused) & day.is_between(38, 47))
    )
    cool = pl.when(name == paused).then(20.0).otherwise("temperature_high_celsius").alias("temperature_high_celsius")
    tables["batteries"] = tables["batteries"].with_columns(cool)
    return {name: rows.filter(~gone) if "date" in rows.columns else rows for name, rows in tables.items()}


@pytest.fixture(scope="module")
def days(given):
    first = given["intervals_5min"]["date"].min()
    return [first + timedelta(days=number) for number in range(DAYS)]


@pytest.fixture(scope="module")
def tables(given, days):
    """Every table of the fleet, each made at once."""
    agreed = {
        catalog.ASSUMPTIONS.name: assumptions(FLEET, WARRANTY, None, ECONOMICS),
        catalog.MARKET_PRICES.name: made_prices(FLEET, days[0], days[-1]),
    }
    return followed(given | agreed)


@pytest.fixture(scope="module")
def whole(given, days, tmp_path_factory):
    lake = GrowingLake(tmp_path_factory.mktemp("whole"), FLEET)
    lake.arrive(given, days)
    lake.follow()
    return lake.tables()


def in_groups(step, tables, folder, *, size):
    """The outputs of a step for groups of so many batteries."""
    names = tables["batteries"]["battery_id"].sort().to_list()
    bounds = [None, *names[size::size], None]
    return in_shares(step, tables, folder, [Group(*bound, (names[2], names[4])) for bound in pairwise(bounds)])


def in_windows(step, tables, folder, days, *, size):
    """The outputs of a step for windows of so many days, each with those around it that the step's reach says."""
    bounds = [*days[::size], days[-1] + timedelta(days=1)]
    before, ahead = timedelta(days=step.reach.before), timedelta(days=step.reach.ahead)
    windows = [Days(Window(*bound), Window(bound[0] - before, bound[1] + ahead)) for bound in pairwise(bounds)]
    return in_shares(step, tables, folder, windows)


def in_shares(step, tables, folder, shares):
    groups = tuple(shares)
    known = {name: catalog.TABLES[name.removesuffix(BEFORE)].contract.create_empty() for name in step.recalls}
    read = {
        name: Grouped(groups, (tables | known)[name].pipe(lambda rows: lambda group: group.of(rows)))
        for name in step.needs | step.recalls
    }
    made = made_in_groups(step.function, read, folder)
    assert {len(pieces) for pieces in made.values()} == {len(groups)}
    return dict(zip(sorted(step.makes), (made[name].whole() for name in sorted(made)), strict=True))


@pytest.mark.parametrize("step", BY_BATTERY, ids=lambda step: ", ".join(step.makes))
def test_batteries_do_not_know_of_each_other(step, tables, tmp_path):
    for few in (2, 3):
        made = in_groups(step, tables, tmp_path / str(few), size=few)
        for name, rows in made.items():
            assert not tables[name].is_empty() or name in {"capacity_tests", "test_memory"}
            by = ["fleet_id", *catalog.TABLES[name].sort]
            assert rows.sort(by).equals(tables[name].sort(by)), (name, few)


@pytest.mark.parametrize("step", EITHER, ids=lambda step: ", ".join(step.makes))
def test_days_rest_on_what_the_reach_says(step, tables, days, tmp_path):
    for name, rows in in_windows(step, tables, tmp_path, days, size=4).items():
        assert not tables[name].is_empty()
        by = ["fleet_id", *catalog.TABLES[name].sort]
        assert rows.sort(by).equals(tables[name].sort(by)), name


def test_what_remembers_is_not_cut_by_days():
    assert EITHER
    assert all(step.reach.memory is None and catalog.TABLES[step.makes[0]].until == "date" for step in EITHER)


@pytest.mark.whole_runs
@pytest.mark.parametrize("at_once", [1, 40_000], ids=["groups", "windows"])
def test_a_fleet_is_made_the_same_in_windows_or_groups(given, days, whole, at_once, tmp_path):
    """Groups of two batteries, of which one has none that goes on to the end; or windows of days where it can be."""
    lake = GrowingLake(tmp_path, FLEET, at_once=at_once)
    lake.arrive(given, days)
    lake.follow()
    assert different(lake, whole) == []
    versions = {name: lake.lake.version(table) for name, table in catalog.TABLES.items()}
    lake.follow()
    assert {name: lake.lake.version(table) for name, table in catalog.TABLES.items()} == versions


@pytest.mark.whole_runs
def test_days_that_arrive_are_made_the_same_in_groups(given, days, whole, tmp_path):
    lake = GrowingLake(tmp_path, FLEET, at_once=1)
    for arriving in (days[:40], days[40:46], days[46:]):
        there = {
            name: rows.filter(pl.col("date").is_in(arriving)) if "date" in rows.columns else rows
            for name, rows in given.items()
        }
        lake.arrive(there, arriving)
        lake.follow()
    assert different(lake, whole) == []


def different(lake, whole):
    tables = lake.tables()
    return [name for name in whole if not tables[name].equals(whole[name])]
