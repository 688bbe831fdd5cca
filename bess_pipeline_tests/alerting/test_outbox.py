"""What waits, what is the same, what is tried again and when."""

from datetime import timedelta

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bess_pipeline.alerting import outbox
from bess_pipeline.alerting.outbox import Failure
from bess_pipeline.lake.contracts import checked
from bess_pipeline.lake.slices import Slice
from bess_pipeline.tables import catalog
from bess_pipeline.tables.alerts import Alert, AlertDelivery
from bess_pipeline_tests.alerting.made_alerts import HOUR, NOW, alerts, occasion

NONE = AlertDelivery.create_empty()
NOTHING_KNOWN = Alert.create_empty()
DAY = 24 * HOUR
DOWN, REFUSED = Failure("no answer"), Failure("answered 400", refused=True)


def fresh(*occasions, known=NOTHING_KNOWN):
    return outbox.fresh(occasions, known, quiet=DAY)


def test_the_same_soon_after_is_the_same_alert_and_later_another():
    first = occasion()
    soon = occasion(episode="e2", occurred_at=first.occurred_at + DAY - HOUR)
    later = occasion(episode="e3", occurred_at=first.occurred_at + DAY)
    assert fresh(soon, later, first) == [first, later]
    assert fresh(soon, later, first, known=alerts(first)) == [later]
    assert fresh(soon, later, first, known=alerts(first, later)) == []


def test_something_worse_of_the_same_battery_is_another_alert():
    assert len(fresh(occasion(), occasion(severity="critical"))) == 2


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 200)), max_size=12), st.integers(1, 4))
def test_looking_again_finds_nothing_new_whatever_was_found(facts, looks):
    found = [occasion(name, episode=str(hour), occurred_at=NOW + hour * HOUR) for name, hour in facts]
    known = NOTHING_KNOWN
    for _ in range(looks):
        known = pl.concat([known, alerts(*fresh(*found, known=known))])
    assert known.height == len(fresh(*found)) == known["alert_id"].n_unique()


def test_an_alert_goes_to_the_channels_that_want_its_severity():
    put = alerts(occasion(), channels={"log": "info", "ops": "warning", "email": "critical"})
    assert put["channels"].item() == "log,ops"
    assert outbox.undelivered(put, NONE)["channel"].to_list() == ["log", "ops"]


def test_an_alert_that_no_channel_wants_waits_for_none():
    assert outbox.undelivered(alerts(occasion(), channels={"email": "critical"}), NONE).is_empty()


def due(rows, deliveries, now=NOW, channel="ops"):
    return outbox.due(outbox.undelivered(rows, deliveries), channel, now=now)


def names(rows):
    return rows["battery_id"].to_list()


def test_the_worst_goes_first_and_what_was_refused_last():
    rows = alerts(occasion("a"), occasion("b", severity="critical"), occasion("c", severity="critical"))
    refused = outbox.attempted(due(rows, NONE).head(1), REFUSED, now=NOW - HOUR)
    assert sorted(names(due(rows, NONE).head(2))) == ["b", "c"]
    assert names(due(rows, refused))[1:] == ["a", names(due(rows, NONE).head(1))[0]]


def test_a_channel_that_failed_is_left_alone_for_longer_each_time_and_the_others_are_not():
    rows = alerts(occasion("a"), occasion("b"), channels={"ops": "info", "log": "info"})
    deliveries, now, pauses = NONE, NOW, []
    for _ in range(6):
        deliveries = outbox.attempted(due(rows, deliveries, now).head(1), DOWN, now=now)
        again = deliveries["next_attempt_at"].item()
        assert due(rows, deliveries, again - timedelta(seconds=1)).is_empty()
        assert due(rows, deliveries, now, "log").height == 2
        pauses.append((again - now).total_seconds())
        now = again
    assert pauses == [30, 60, 120, 240, 480, 900]


def test_a_message_that_is_refused_does_not_hold_up_the_others():
    rows = alerts(occasion("a"), occasion("b"))
    first = due(rows, NONE).head(1)
    assert names(due(rows, outbox.attempted(first, REFUSED, now=NOW))) == names(due(rows, NONE).tail(1))


def test_a_channel_that_asks_for_more_time_gets_it():
    asked = Failure("answered 429", retry_after=timedelta(minutes=20))
    put = outbox.attempted(due(alerts(occasion()), NONE), asked, now=NOW)
    assert put["next_attempt_at"].item() == NOW + timedelta(minutes=20)


def test_what_was_delivered_does_not_wait():
    rows = alerts(occasion("a"), occasion("b"))
    first = due(rows, NONE).head(1)
    assert due(rows, outbox.attempted(first, None, now=NOW)).height == 1


@pytest.mark.parametrize("failure", [None, DOWN, REFUSED])
def test_what_became_of_a_message_is_what_the_table_holds(failure):
    put = outbox.attempted(due(alerts(occasion("a"), occasion("b")), NONE), failure, now=NOW)
    assert checked(catalog.ALERT_DELIVERIES, put, Slice("alpha")).height == 2
    assert put["in_digest"].all()


def test_few_go_one_by_one_many_in_one_message_and_the_refused_alone():
    rows = alerts(*(occasion(f"r{number}") for number in range(100)))
    waiting = due(rows, NONE)
    sizes = [[batch.height for batch in outbox.batches(waiting.head(number), single=5)] for number in (0, 5, 6, 100)]
    assert sizes == [[], [1] * 5, [6], [outbox.MOST_IN_DIGEST]]
    later = due(rows, outbox.attempted(waiting.head(40), REFUSED, now=NOW), NOW + HOUR)
    assert [batch.height for batch in outbox.batches(later, single=5)] == [outbox.MOST_IN_DIGEST, 1, 1, 1, 1, 1]
