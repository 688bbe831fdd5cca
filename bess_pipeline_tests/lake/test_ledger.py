from datetime import date

import polars as pl

from bess_pipeline.lake.ledger import WHOLE_FLEET, Ledger, day_signatures, stale_days

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
