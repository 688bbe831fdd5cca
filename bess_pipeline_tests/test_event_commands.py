"""`bess event`, as a person types it."""

from __future__ import annotations

from datetime import date

import polars as pl
import pytest
from typer.testing import CliRunner

from bess_pipeline import terminal
from bess_pipeline.cli import app
from bess_pipeline.defs.resources import Home
from bess_pipeline.lake.feedback import say
from bess_pipeline.lake.slices import Slice
from bess_pipeline.lake.store import Lake
from bess_pipeline.tables import catalog
from bess_pipeline.tables.anomalies import AnomalyEvent, DailyFeature
from bess_pipeline_tests.lake.test_views import DAY, START, happened

EVIDENCE = '{"features": [{"feature": "cell_low", "value": 0.02, "z": 9.0, "peers": 5}]}'
PROVENANCE = {"run_id": "r", "code_version": "1", "register_version": "1"}
#: Another event of the same family, raised on day 70.
AGAIN = happened(
    "bb22", started_at=START + 68 * DAY, detected_at=START + 70 * DAY, ended_at=None,
    detected_on=date(2026, 3, 12), evidence=EVIDENCE,
)  # fmt: skip


def put(table, rows, contract):
    frame = pl.DataFrame(rows, schema=contract.create_empty().schema)
    signed = frame.with_columns(pl.lit(value).alias(name) for name, value in PROVENANCE.items())
    Home().lake.replace(table, signed, Slice("f"))


@pytest.fixture
def bess(home, monkeypatch):
    """The command, on a lake with two events and the feature behind them."""
    monkeypatch.setattr(terminal.out, "width", 200)
    put(catalog.ANOMALY_EVENTS, [happened("aa11", evidence=EVIDENCE), AGAIN], AnomalyEvent)
    days = [(START + number * DAY).date() for number in range(80)]
    rows = [
        {"fleet_id": "f", "battery_id": "b", "date": day, "feature": "cell_low", "value": 0.01 + 0.0001 * number,
         "adjusted": 0.002, "z": 0.1, "peers": 5, "observed_until": START + (number + 1) * DAY}
        for number, day in enumerate(days)
    ]  # fmt: skip
    put(catalog.DAILY_FEATURES, rows, DailyFeature)

    def typed(*words):
        return CliRunner().invoke(app, ["event", *words])

    return typed


def test_open_events_are_listed_and_the_others_on_request(bess):
    opened = bess("list").output
    assert "bb22" in opened
    assert "aa11" not in opened
    assert "aa11" in bess("list", "--all").output


def test_what_was_said_shows_and_is_kept(bess):
    assert bess("confirm", "bb", "--by", "anna").exit_code == 0
    assert "confirmed (anna)" in bess("list").output
    assert bess("annotate", "bb22", "--note", "seen at rest", "--by", "ben").exit_code == 0
    shown = bess("show", "bb22").output
    assert "ben: seen at rest" in shown
    assert "cell_low" in shown
    assert bess("withdraw", "bb22").exit_code == 0
    assert "confirmed" not in bess("list").output
    assert Home().lake.read(catalog.EVENT_FEEDBACK)["verdict"].to_list() == ["confirmed", "annotated", "withdrawn"]


def test_a_dismissal_of_one_mutes_the_next(bess):
    said = bess("dismiss", "aa11", "--mute-days", "90", "--note", "sensor swapped")
    assert "info until 2026-04-21 of the data" in said.output
    assert "no open event that matters" in bess("list").output
    assert "muted" in bess("list", "--all").output


def test_the_warehouse_answers_the_same(bess):
    bess("dismiss", "bb22", "--by", "anna")
    home = Home()
    home.warehouse.publish(home.lake)
    found = home.warehouse.query("SELECT event_id, verdict, effective_severity FROM event_verdicts ORDER BY event_id")
    assert found.rows() == [("aa11", None, "warning"), ("bb22", "dismissed", "info")]


def test_the_evidence_can_be_drawn(bess, tmp_path):
    file = tmp_path / "event.png"
    assert bess("show", "bb22", "--plot", str(file)).exit_code == 0
    assert file.read_bytes().startswith(b"\x89PNG")
    assert file.stat().st_size > 10_000


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (("show", "zz"), "0 events begin with 'zz'"),
        (("confirm", ""), "2 events begin with ''"),
        (("annotate", "bb22", "--note", ""), "needs a note"),
    ],
)
def test_what_cannot_be_done_is_one_clear_line(bess, words, part):
    done = bess(*words)
    assert done.exit_code == 1
    assert part in done.output
    assert Home().lake.read(catalog.EVENT_FEEDBACK).is_empty()


def test_events_of_the_safety_lane_cannot_be_muted(bess):
    put(catalog.ANOMALY_EVENTS, [happened("cc33", detector="safety", evidence=EVIDENCE)], AnomalyEvent)
    done = bess("dismiss", "cc33", "--mute-days", "5")
    assert done.exit_code == 1
    assert "safety" in done.output
    assert bess("dismiss", "cc33").exit_code == 0


def test_only_dismissals_mute(bess):
    with pytest.raises(ValueError, match="only a dismissal"):
        say(Home().lake, "bb22", "confirmed", by="anna", mute=DAY)


def test_two_who_speak_at_once_are_both_heard(bess):
    """Appends do not replace each other: the second lake object has not seen the first one's commit."""
    other = Lake(Home().lake.uri)
    other.read(catalog.EVENT_FEEDBACK)
    said = say(Home().lake, "bb22", "confirmed", by="anna")
    other.append(catalog.EVENT_FEEDBACK, said.with_columns(feedback_id=pl.lit("x"), given_by=pl.lit("ben")), Slice("f"))
    assert set(Home().lake.read(catalog.EVENT_FEEDBACK)["given_by"]) == {"anna", "ben"}
