"""The whole pipeline under Dagster on small synthetic fleets."""

import gzip
import random
import shutil
from datetime import date

import polars as pl
import pytest

from bess_pipeline.defs.resources import Home
from bess_pipeline.lake.slices import Slice
from bess_pipeline.sources.simulate import Plan, simulate, write_fleet
from bess_pipeline.tables import catalog
from bess_pipeline.window import Window
from bess_pipeline_tests.deployments import differing, run, run_at, tables
from bess_pipeline_tests.thoroughness import size

pytestmark = pytest.mark.whole_runs

PLAN = Plan(fleet_id="alpha", batteries=3, days=4, seed=5, interval_seconds=300, start=date(2026, 3, 1))


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A synthetic fleet, data faults included, as it lands."""
    home = tmp_path_factory.mktemp("simulated")
    write_fleet(simulate(PLAN), home)
    return home


@pytest.fixture(scope="module")
def first_run(files, tmp_path_factory):
    """The folder of a deployment on which everything has been run once, and what the run did."""
    root = tmp_path_factory.mktemp("ran") / "home"
    shutil.copytree(files, root)
    return root, run_at(root)


@pytest.fixture
def ran(first_run, home):
    """A copy of that deployment."""
    shutil.copytree(first_run[0], home.root, dirs_exist_ok=True)
    return home


def samples(home):
    """All landing rows of the fleet as the source delivers them."""
    return [(path, path.read_bytes()) for path in sorted((home.landing / "alpha").iterdir())]


def test_a_first_run_makes_everything_and_a_second_does_nothing(ran, first_run):
    outcome = first_run[1]
    assert outcome.failures == []
    assert outcome.days == {"alpha": PLAN.days}
    assert outcome.published
    made = Home().warehouse.query("SELECT battery_id, count(*) AS days FROM battery_daily GROUP BY ALL")
    assert made["days"].to_list() == [PLAN.days] * PLAN.batteries
    assert run().did_nothing
    before = tables(ran.lake)
    # Somebody took rows that were received out of the lake: nothing that is asked every night would see it.
    Home().lake.replace(catalog.RAW_TELEMETRY, Home().lake.read(catalog.RAW_TELEMETRY).head(0), Slice("alpha"))
    again = run(again=True)
    assert (again.days, again.fleets) == ({"alpha": PLAN.days}, ["alpha"])
    assert differing(before, tables(ran.lake)) == []


@pytest.fixture(scope="module")
def bounded(files, tmp_path_factory):
    """What runs did, one of a day and those after it, beside a fleet file with a mistake and a file of garbage."""
    root = tmp_path_factory.mktemp("bounded") / "home"
    shutil.copytree(files, root)
    (root / "fleets" / "broken.yaml").write_text("fleet_id: broken\nbattery: {chemistry: unobtainium}\n")
    path = max((root / "landing" / "alpha").iterdir())
    path.with_name("0-garbage" + "".join(path.suffixes)).write_bytes(b"\x00\x01 not telemetry \xff")
    return run_at(root, within=Window.of_day(date(2026, 3, 2))), run_at(root), run_at(root)


def test_a_run_may_be_bounded_and_the_next_makes_the_rest(bounded):
    day, rest, nothing = bounded
    assert day.days == {"alpha": 1}
    assert rest.days == {"alpha": PLAN.days - 1}
    assert rest.published
    assert (nothing.days, nothing.fleets, nothing.published) == ({}, [], False)


def test_a_fleet_with_a_broken_file_says_so_and_the_others_go_on(bounded):
    for outcome in bounded:
        assert any("broken.yaml" in line and "chemistry" in line for line in outcome.failures)


def test_an_unreadable_file_says_so_and_the_others_are_read(bounded):
    assert any("0-garbage" in line for line in bounded[0].failures)


def test_received_rows_are_accepted_quarantined_or_duplicate_on_every_day(ran):
    quality = Home().warehouse.query("SELECT * FROM data_quality_daily")
    parts = pl.sum_horizontal("rows_accepted", "rows_quarantined", "rows_duplicate")
    assert quality.filter(pl.col("rows_received") != parts).is_empty()
    reasons = pl.sum_horizontal(
        "unreadable_time", "outside_calendar", "no_battery", "unreadable_value", "ragged_row", "conflict"
    )
    assert quality.filter(pl.col("rows_quarantined") != reasons).is_empty()


def test_a_changed_file_redoes_its_days_and_what_follows_from_them(ran):
    before = tables(ran.lake)
    path, content = samples(ran)[1]
    changed = _first_half(path, content)
    path.write_bytes(changed)
    outcome = run()
    touched = {date.fromisoformat(str(day)) for day in before["landing_days"].filter(path=path.name)["date"]}
    assert outcome.days == {"alpha": len(touched)}
    assert outcome.published
    after = tables(ran.lake)
    for name in ("raw_telemetry", "clean_telemetry", "intervals_5min"):
        others = ~pl.col("date").is_in(sorted(touched))
        assert before[name].filter(others).equals(after[name].filter(others)), name
        assert not before[name].equals(after[name]), name


AGREED = """
warranty:
  starts_on: 2026-03-01
  years: 10
  soh_by_years: [[0, 100], [10, 70]]
  soc_percent: {min: 20, max: 80}
economics: {replacement_cost_per_kwh: 150, contracted_energy_mwh: 0.5}
"""


def test_what_is_agreed_later_is_told_without_making_anything_else_again(ran):
    before, file = tables(ran.lake), ran.fleets / "alpha.yaml"
    file.write_text(file.read_text() + AGREED)
    outcome = run()
    assert (outcome.days, outcome.fleets, outcome.published) == ({}, ["alpha"], True)
    changed = differing(before, tables(ran.lake))
    assert changed == ["assumptions", "warranty_pieces", "warranty_daily", "warranty_events", "warranty_years"]
    days = Home().warehouse.query("SELECT DISTINCT date FROM warranty_daily ORDER BY date")["date"].to_list()
    assert days == [date(2026, 3, day) for day in range(1, 1 + PLAN.days)]
    assert run().did_nothing


def test_a_vanished_file_keeps_its_rows(ran):
    before = tables(ran.lake)
    path, _ = samples(ran)[2]
    path.unlink()
    run()
    after = tables(ran.lake)
    assert differing(before, after) == ["landing_files"]


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """Tables of rows that agree, delivered in one file."""
    return _made_of(tmp_path_factory.mktemp("plain"), [_house_rows()])


@pytest.mark.parametrize("seed", range(size(1, 3)))
def test_files_in_any_order_duplicated_or_split_give_the_same_tables(plain, tmp_path, seed):
    """Rows that agree: the same samples, delivered otherwise."""
    agreeing = _house_rows()
    chance = random.Random(seed)
    cut = sorted(chance.sample(range(1, agreeing.height), 4))
    pieces = [agreeing.slice(a, b - a) for a, b in zip([0, *cut], [*cut, agreeing.height], strict=True)]
    pieces += [chance.choice(pieces)]
    chance.shuffle(pieces)
    shuffled = _made_of(tmp_path, [piece.sample(fraction=1, shuffle=True, seed=seed) for piece in pieces])
    # The order in which rows arrive is told by a flag, and by the tables that count how they came.
    science = {"landing_files", "landing_days", "landing_runs", "raw_telemetry", "row_accounts", "data_quality_daily"}
    science |= {"battery_data_quality_daily"}
    assert set(differing(plain, shuffled)) <= science
    assert plain["clean_telemetry"].height == agreeing.height


def _first_half(path, content):
    if path.suffix == ".gz":
        lines = gzip.decompress(content).splitlines(keepends=True)
        return gzip.compress(b"".join(lines[: len(lines) // 2]))
    frame = pl.read_parquet(path)
    scratch = path.with_name("scratch")
    frame.head(frame.height // 2).write_parquet(scratch)
    half = scratch.read_bytes()
    scratch.unlink()
    return half


def _house_rows():
    """Rows that agree: one per battery and instant, in house names."""
    starts = pl.datetime_range(date(2026, 3, 1), date(2026, 3, 4), "10m", time_zone="UTC", eager=True)
    chance = random.Random(0)
    rows = [
        {"timestamp": at, "battery_id": battery, "voltage_volt": 780 + chance.gauss(0, 9),
         "current_ampere": chance.choice([-60.0, 0.0, 40.0]) + chance.random(), "temperature_celsius": 25.0}
        for battery in ("b1", "b2") for at in starts
    ]  # fmt: skip
    return pl.DataFrame(rows)


def _made_of(root, pieces):
    """Tables of a fleet whose files are these."""
    (root / "fleets").mkdir(parents=True)
    (root / "landing" / "alpha").mkdir(parents=True)
    (root / "fleets" / "alpha.yaml").write_text(
        "fleet_id: alpha\nname: Alpha\ncommissioned: 2026-01-01\n"
        "battery: {chemistry: LFP, rated_capacity_ah: 280, cells_in_series: 240}\n"
        "source: {files: '*.parquet', format: parquet, sampling: instant}\n"
    )
    for number, piece in enumerate(pieces):
        piece.write_parquet(root / "landing" / "alpha" / f"{number}.parquet")
    assert run_at(root).failures == []
    return {name: frame.drop("out_of_order", strict=False) for name, frame in tables(root / "lake").items()}
