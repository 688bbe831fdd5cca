"""A deployment that lives long: what upkeep leaves as it was, and fleets that leave."""

import json
import shutil
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.events import DagsterEventType
from typer.testing import CliRunner

from bess_pipeline import terminal
from bess_pipeline.cli import app
from bess_pipeline.defs import jobs, leaving, old_records
from bess_pipeline.defs.fleet_records import searched_records
from bess_pipeline.defs.instance import instance_of
from bess_pipeline.defs.plan import FLEET_TAG, indexing
from bess_pipeline.defs.resources import Home
from bess_pipeline.defs.runs import Launcher
from bess_pipeline.lake import upkeep
from bess_pipeline.lake.search import searched_lake, searched_warehouse
from bess_pipeline.lake.slices import Slice
from bess_pipeline.lake.writes import Writes
from bess_pipeline.sources.simulate import Plan, simulate, write_fleet
from bess_pipeline.tables import catalog
from bess_pipeline_tests.deployments import differing, run, tables

SAMPLE = Path(__file__).parents[2] / "data" / "sample"
PLAN = Plan(
    fleet_id="alpha", batteries=1, days=1, seed=2, interval_seconds=300, start=date(2026, 3, 1), data_faults=False
)


@pytest.fixture(scope="module")
def two_ran(tmp_path_factory):
    """The folder of a deployment with two fleets, the simulated alpha and the example of the README."""
    root = tmp_path_factory.mktemp("two") / "home"
    write_fleet(simulate(PLAN), root)
    shutil.copy(SAMPLE / "example.yaml", root / "fleets")
    (root / "landing" / "example").mkdir(parents=True)
    shutil.copy(SAMPLE / "example.csv", root / "landing" / "example")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BESS_HOME", str(root))
        assert run().failures == []
    return root


@pytest.fixture
def two(two_ran, home):
    """A copy of it."""
    shutil.copytree(two_ran, home.root, dirs_exist_ok=True)
    return home


@pytest.fixture
def bess(monkeypatch):
    for console in (terminal.out, terminal.err):
        monkeypatch.setattr(console, "width", 200)

    def typed(*words, answers=None):
        return CliRunner().invoke(app, words, input=answers)

    return typed


def published(home, fleet):
    return home.warehouse.query("FROM battery_daily").filter(fleet_id=fleet).height


def partitions(settings):
    with instance_of(settings) as instance:
        return instance.get_dynamic_partitions("fleet")


def test_a_retired_fleet_stays_published_starts_nothing_and_comes_back(bess, two):
    home = Home()
    assert bess("fleet", "retire", "alpha").exit_code == 0
    assert partitions(two) == ["example"]
    assert list(home.register().fleets) == ["example"]
    assert run().did_nothing
    home.warehouse.publish(home.lake)
    assert published(home, "alpha") == 1
    again = bess("run", "--fleet", "alpha")
    assert (again.exit_code, "bess fleet restore alpha" in again.output) == (1, True)
    assert "retired: alpha" in bess("status").output
    assert bess("fleet", "retire", "alpha").exit_code == 1
    assert bess("fleet", "restore", "alpha").exit_code == 0
    assert sorted(partitions(two)) == ["alpha", "example"]
    assert run().did_nothing
    assert bess("fleet", "restore", "alpha").exit_code == 1


def test_an_erased_fleet_is_nowhere_and_the_other_is_as_it_was(bess, two):
    home = Home()
    with instance_of(two) as instance:
        assert searched_records(instance, two.dagster_home, "alpha").found
    assert searched_lake(home.lake.uri, "alpha").found
    assert searched_warehouse(home.warehouse, "alpha").found
    others = {name: home.lake.read(table, Slice("example")) for name, table in catalog.TABLES.items()}
    writes = Writes(two.api_writes)
    writes.note("site a", "delivered", "alpha/uploads/1/a.csv", sha256="1")
    writes.note("site a", "delivered", "example/uploads/2/b.csv", sha256="2")
    two.api_keys.write_text('[{"fleets": ["alpha"]}]')
    erased = bess("fleet", "erase", "alpha", "--yes", "alpha")
    assert erased.exit_code == 0, erased.output
    told = [json.loads(line) for line in two.api_writes.read_text().splitlines()]
    assert [one["what"] for one in told] == ["a file of a fleet that was erased", "example/uploads/2/b.csv"]
    assert [one.get("sha256") for one in told] == [None, "2"]
    assert "does not name it any more" in erased.output
    left = [path for path in two.root.rglob("*") if "alpha" in path.name]
    assert left == []
    now = {name: home.lake.read(catalog.TABLES[name], Slice("example")) for name in others}
    assert differing(others, now) == []
    assert (published(home, "alpha"), published(home, "example")) == (0, 1)
    assert run().did_nothing
    assert partitions(two) == ["example"]
    with instance_of(two) as instance:
        warehouse = instance.get_latest_materialization_event(dg.AssetKey("warehouse"))
        cleaned = instance.get_latest_materialization_event(dg.AssetKey("clean_telemetry"))
    assert warehouse is not None
    assert "example" in cleaned.asset_materialization.partition
    once_more = bess("fleet", "erase", "alpha", "--yes", "alpha")
    assert once_more.exit_code == 0, once_more.output


def test_kept_files_make_an_erased_fleet_again_once_it_is_restored(bess, two):
    home = Home()
    erased = bess("fleet", "erase", "example", "--keep-files", "--yes", "example")
    assert erased.exit_code == 0, erased.output
    assert run().did_nothing
    assert home.lake.count(catalog.RAW_TELEMETRY, Slice("example")) == 0
    assert bess("fleet", "restore", "example").exit_code == 0
    assert indexing(home, "example")


@pytest.mark.parametrize(
    ("words", "answers"),
    [
        pytest.param((), "beta\n", id="another name"),
        pytest.param((), "alpha\ny\n", id="not yes"),
        pytest.param(("--yes", "beta"), None, id="a script that means another"),
    ],
)
def test_nothing_is_erased_unless_it_is_said_twice(bess, two, words, answers):
    refused = bess("fleet", "erase", "alpha", *words, answers=answers)
    assert refused.exit_code == 1
    assert "nothing was erased" in refused.output
    assert Home().lake.count(catalog.CLEAN_TELEMETRY, Slice("alpha"))


def test_a_fleet_that_a_run_works_on_neither_retires_nor_is_erased(bess, two):
    with instance_of(two) as instance:
        tags = {FLEET_TAG: "alpha"}
        instance.create_run_for_job(dg.job(name="busy")(lambda: None), tags=tags, status=dg.DagsterRunStatus.STARTED)
        held = bess("fleet", "retire", "example")
        assert "another `bess run`" in held.output
    for words in (("retire", "alpha"), ("erase", "alpha", "--yes", "alpha"), ("erase", "example", "--yes", "example")):
        refused = bess("fleet", *words)
        assert (refused.exit_code, "have not ended" in refused.output) == (1, True)
    assert bess("fleet", "retire", "example").exit_code == 0
    assert (two.fleets / "alpha.yaml").exists()


def test_a_name_that_is_none_reaches_no_folder(bess, two):
    refused = bess("fleet", "erase", "../landing", "--yes", "../landing")
    assert (refused.exit_code, "not the name of a fleet" in refused.output) == (1, True)
    with pytest.raises(LookupError):
        leaving.erase_fleet(Home(), "..", keep_files=False, told=print)


@pytest.fixture
def in_pieces(two):
    """Names of the tables of a deployment that lie in as many files as after many nights."""
    lake, cut = Home().lake, set()
    for table in catalog.TABLES.values():
        rows = lake.read(table, Slice("alpha"))
        if table.by_day or rows.height < upkeep.MANY_FILES or table is catalog.MADE_FROM:
            continue
        of_fleet = lake.files(table).filter(fleet_id="alpha").select(table.partition_by)
        if of_fleet.n_unique() > 1:  # no partition would have so many files
            continue
        lake.replace(table, rows.clear(), Slice("alpha"))
        for at in range(upkeep.MANY_FILES - 1):
            lake.append(table, rows.slice(at, 1), Slice("alpha"))
        lake.append(table, rows.slice(upkeep.MANY_FILES - 1), Slice("alpha"))
        cut.add(table.name)
    assert run().published
    return cut


def launched(instance, job, **tags):
    result = Launcher(instance, lambda: None).run(job, tags)
    assert result.failures == ()
    return result.run_id


def known_of_assets(instance):
    """What the partition matrix shows: what was made last of each partition of each asset, and how it was judged."""
    made = {
        asset: instance.get_latest_storage_id_by_partition(asset, DagsterEventType.ASSET_MATERIALIZATION)
        for asset in instance.get_asset_keys()
    }
    last = {asset: instance.get_latest_materialization_event(asset).run_id for asset in made}
    storage = instance.event_log_storage
    checks = [
        dg.AssetCheckKey(dg.AssetKey(asset), name)
        for asset, name in (("data_quality_daily", "accounting"), ("raw_telemetry", "rows"))
    ]
    told = [
        (info.partition_key, info.latest_execution_status) for info in storage.get_asset_check_partition_info(checks)
    ]
    return made, last, sorted(told)


def test_upkeep_leaves_nothing_new_to_do_and_says_what_it_did(bess, two, in_pieces):
    before = tables(two.root / "lake", without=())
    done = bess("upkeep")
    assert done.exit_code == 0, done.output
    assert "files on disk after" in done.output
    with instance_of(two) as instance:
        metadata = instance.get_latest_materialization_event(dg.AssetKey("lake_upkeep")).asset_materialization.metadata
    assert metadata["files before"].value - metadata["files after"].value == len(in_pieces) * (upkeep.MANY_FILES - 1)
    assert {record.data["table"] for record in metadata["tables"].records} >= in_pieces
    assert run().did_nothing
    assert differing(before, tables(two.root / "lake", without=())) == []
    assert Home().warehouse.is_current(Home().lake)


def test_pruned_records_leave_the_newest_of_each_partition_and_check_and_no_trace_of_the_others(two):
    with instance_of(two) as instance:
        partition = {"dagster/partition": "alpha"}
        old = [launched(instance, jobs.PUBLISH.name), launched(instance, jobs.LANDING.name, **partition)]
        newer = [launched(instance, jobs.PUBLISH.name), launched(instance, jobs.LANDING.name, **partition)]
        known, runs = known_of_assets(instance), set(instance.get_run_ids())
        superseded = runs - old_records.newest_runs(instance)
        assert superseded >= set(old)
        assert not superseded & set(newer)
        young = old_records.prune(instance, datetime.now(UTC) - timedelta(days=1))
        assert (young.runs, set(instance.get_run_ids())) == (0, runs)
        pruned = old_records.prune(instance, datetime.now(UTC) + timedelta(seconds=1))
        assert (pruned.runs, pruned.kept) == (len(superseded), len(runs) - len(superseded))
        assert set(instance.get_run_ids()) == runs - superseded
        assert known_of_assets(instance) == known
        assert pruned.busy == []
        assert pruned.bytes_after < pruned.bytes_before
    files = {path.stem for path in (two.dagster_home / "history" / "runs").glob("*.db")}
    assert not files & superseded
    assert run().did_nothing
