from datetime import date

import polars as pl

from bess_pipeline.lake import upkeep
from bess_pipeline.lake.ledger import WHOLE_FLEET, Ledger, Notes, day_signatures, stale_days
from bess_pipeline.lake.slices import Slice
from bess_pipeline.tables import catalog
from bess_pipeline.window import Window

FIRST, SECOND = date(2026, 1, 1), date(2026, 1, 2)


def index(*rows):
    days = pl.DataFrame(rows, schema=["path", "date", "battery_id", "checksum"], orient="row")
    days = days.with_columns(clock_version=pl.lit(""))
    return days, days.select("path").unique().with_columns(first_seen=pl.lit(1))


def test_steps_and_days_are_remembered_apart(lake):
    ledger = Ledger(lake)
    ledger.record("alpha", "clean", {FIRST: "a", SECOND: "b"}, run_id="1")
    ledger.record("alpha", "raw", {FIRST: "c"}, run_id="1")
    ledger.record("alpha", "clean", {SECOND: "d"}, run_id="2")
    ledger.record("alpha", "fleet", {WHOLE_FLEET: "e"}, run_id="2")
    ledger.record("beta", "clean", {FIRST: "f"}, run_id="3")
    assert ledger.signatures("alpha", "clean") == {FIRST: "a", SECOND: "d"}
    assert ledger.signatures("alpha", "raw") == {FIRST: "c"}
    assert ledger.signatures("alpha", "fleet") == {WHOLE_FLEET: "e"}


def test_whoever_asks_again_reads_only_days_that_were_noted_since(lake, monkeypatch):
    days = {date(2026, 1, day): "a" for day in range(1, 29)} | {WHOLE_FLEET: "w"}
    other, ledger = Ledger(lake), Ledger(lake)
    other.record("alpha", "clean", days, run_id="1")
    other.record("beta", "clean", {FIRST: "b"}, run_id="1")
    read, ask = [], lake.ask

    def noted(table, part, question):
        rows = ask(table, part, question)
        read.extend(rows["date"])
        return rows

    monkeypatch.setattr(lake, "ask", noted)
    assert ledger.signatures("alpha", "clean") == days
    assert sorted(read) == sorted(days)
    read.clear()
    assert ledger.signatures("alpha", "clean") == days
    assert ledger.signatures("alpha", "raw") == {}
    assert read == []
    fresh = {SECOND: "c", date(2026, 2, 5): "d", WHOLE_FLEET: "v"}
    for day, signature in fresh.items():
        other.record("alpha", "clean", {day: signature}, run_id="2")
    read.clear()
    assert ledger.signatures("alpha", "clean") == days | fresh
    assert sorted(read) == sorted(fresh)


def test_notes_that_were_taken_back_are_not_remembered(lake):
    ledger = Ledger(lake)
    ledger.record("alpha", "clean", {FIRST: "a", SECOND: "b"}, run_id="1")
    assert ledger.signatures("alpha", "clean") == {FIRST: "a", SECOND: "b"}
    lake.replace(catalog.LEDGER, lake.read(catalog.LEDGER).clear(), Slice("alpha", Window.of_day(FIRST)))
    assert ledger.signatures("alpha", "clean") == {SECOND: "b"}


def test_a_day_is_stale_when_a_file_of_it_changes_and_only_then():
    before = day_signatures(*index(("a", FIRST, "b1", "v1"), ("b", SECOND, "b1", "v1")), "basis")
    after = day_signatures(*index(("a", FIRST, "b1", "v1"), ("b", SECOND, "b1", "v2")), "basis")
    assert stale_days(after, before) == [SECOND]


def test_every_day_is_stale_when_the_basis_changes():
    files = index(("a", FIRST, "b1", "v1"), ("a", SECOND, "b1", "v1"))
    assert stale_days(day_signatures(*files, "new"), day_signatures(*files, "old")) == [FIRST, SECOND]


def test_the_order_of_the_index_does_not_matter():
    rows = [("a", FIRST, "b1", "v1"), ("a", FIRST, "b2", "v1"), ("b", FIRST, "b1", "v1")]
    assert day_signatures(*index(*rows), "x") == day_signatures(*index(*reversed(rows)), "x")


def signed(**days):
    """Signatures of days of January 2026: `d1=7` for the first."""
    told = {"date": [date(2026, 1, int(name[1:])) for name in days], "signature": list(days.values())}
    return pl.DataFrame(told, schema={"date": pl.Date, "signature": pl.Int64})


def known(lake, name, fleet_id="alpha"):
    return {row[0].day: row[1] for row in Notes(lake, fleet_id).signatures(name).iter_rows()}


def made(notes, name, since, **days):
    notes.begin(name, since)
    notes.record(name, signed(**days))


def test_notes_of_a_run_are_written_when_it_closes_them_in_one_commit_after_its_mark(lake):
    for fleet_id in ("alpha", "beta"):
        notes = Notes(lake, fleet_id)
        made(notes, "cycles", None, d1=1, d2=2)
        made(notes, "battery_daily", None, d1=3)
        notes.close()
    before = lake.version(catalog.MADE_FROM)
    notes = Notes(lake, "alpha")
    made(notes, "cycles", SECOND, d1=1, d2=4)
    made(notes, "battery_daily", SECOND, d1=3, d2=5)
    notes.close()
    assert lake.version(catalog.MADE_FROM) == before + 2
    assert known(lake, "cycles") == {1: 1, 2: 4}
    assert known(lake, "battery_daily") == {1: 3, 2: 5}
    assert known(lake, "cycles", "beta") == {1: 1, 2: 2}
    assert lake.count(catalog.MADE_FROM, Slice("alpha")) == 4, "a mark is left"


def test_notes_that_say_nothing_new_cost_nothing(lake):
    before = lake.version(catalog.MADE_FROM)
    Notes(lake, "alpha").close()
    assert lake.version(catalog.MADE_FROM) == before


def test_nothing_is_known_from_the_first_day_on_that_a_run_changed_that_never_closed_its_notes(lake):
    notes = Notes(lake, "alpha")
    for name in ("cycles", "battery_daily", "degradation"):
        made(notes, name, None, d1=1, d2=2, d3=3)
    notes.close()
    died = Notes(lake, "alpha")
    made(died, "cycles", date(2026, 1, 3), d1=1, d2=2, d3=4)
    died.begin("battery_daily", SECOND)
    for name in ("cycles", "battery_daily", "degradation"):
        assert known(lake, name) == {1: 1}
    assert upkeep.prune(lake, {"alpha"})[catalog.MADE_FROM.name] == 0
    partly = Notes(lake, "alpha")
    made(partly, "cycles", SECOND, d1=1, d2=2, d3=4)
    partly.close()
    assert known(lake, "cycles") == {1: 1, 2: 2, 3: 4}
    assert known(lake, "battery_daily") == {1: 1}, "what the first has perhaps changed is taken for settled"
    assert lake.count(catalog.MADE_FROM, Slice("alpha")) == 5


def test_nothing_is_known_anywhere_of_a_table_that_was_being_made_whole(lake):
    notes = Notes(lake, "alpha")
    made(notes, "cycles", None, d1=1, d2=2)
    notes.close()
    Notes(lake, "alpha").begin("battery_daily", None)
    assert known(lake, "cycles") == {}


def test_a_table_that_failed_half_way_is_not_known_from_there_on_though_its_run_closes_its_notes(lake):
    notes = Notes(lake, "alpha")
    made(notes, "cycles", None, d1=1, d2=2)
    notes.close()
    notes = Notes(lake, "alpha")
    notes.begin("cycles", SECOND)
    notes.close()
    assert known(lake, "cycles") == {1: 1}


def test_a_mark_of_another_run_that_is_at_work_stays(lake):
    at_work, quick = Notes(lake, "alpha"), Notes(lake, "alpha")
    at_work.begin("cycles", FIRST)
    made(quick, "battery_daily", FIRST, d1=1)
    quick.close()
    assert known(lake, "battery_daily") == {}
    at_work.record("cycles", signed(d1=2))
    at_work.close()
    assert known(lake, "battery_daily") == {1: 1}
    assert known(lake, "cycles") == {1: 2}
