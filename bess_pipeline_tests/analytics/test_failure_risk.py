"""Batteries ranked by what speaks for an early failure, worked out by hand."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest

from bess_pipeline.analytics.failure_risk import COUNTS, MOST, PRECURSOR_LEAD, URGENT, failure_risk
from bess_pipeline.analytics.lanes import AGEING, CELLS, DATA_CHECKS, FOREST, MODELS, SAFETY, STATISTICS
from bess_pipeline.tables.anomalies import AnomalySignal, DailyFeature
from bess_pipeline.tables.degradation import Degradation
from bess_pipeline.tables.risk import FailureRisk

FIRST = date(2026, 1, 1)


def day(number):
    return FIRST + timedelta(days=number)


def instant(number):
    return datetime.combine(day(number), datetime.min.time(), UTC)


def features(*batteries, days=100, scored_from=20):
    rows = [
        {"fleet_id": "f", "battery_id": name, "date": day(number), "feature": "cell_low", "value": 0.01,
         "adjusted": 0.0, "z": 0.1 if number >= scored_from else None, "peers": 5,
         "observed_until": instant(number + 1)}
        for name in batteries for number in range(days)
    ]  # fmt: skip
    return pl.DataFrame(rows, schema=DailyFeature.create_empty().schema)


def signal(battery, on, lane=STATISTICS, family="cell", **columns):
    row = {
        "fleet_id": "f", "battery_id": battery, "date": day(on), "lane": lane, "component": "", "feature": "x",
        "direction": "up", "statistic": 12.0 if lane == STATISTICS else 1.5, "family": family, "kind": "low_cell",
        "severity": "critical" if lane == SAFETY else "warning", "started_at": instant(on - 3),
        "raised_at": instant(on + 1), "value": 1.0, "z": 1.0, "peers": 5,
    }  # fmt: skip
    return row | columns


def lives(*rows):
    """Battery, day and 10th percentile of the days that remain."""
    known = {"fleet_id": "f", "end_of_life_percent": 80.0, "days_known": 30, "method": "m"}
    frame = [known | {"battery_id": name, "as_of": day(on), "remaining_life_days_p10": left} for name, on, left in rows]
    return pl.DataFrame(frame, schema=Degradation.create_empty().schema)


def risk(signals, *batteries, degradation=None, **kwargs):
    told = pl.DataFrame(signals, schema=AnomalySignal.create_empty().schema)
    found = failure_risk(
        features(*(batteries or ("a",)), **kwargs), told, lives() if degradation is None else degradation
    )
    return FailureRisk.validate(found)


def at(found, number, battery="a"):
    return found.row(by_predicate=(pl.col("battery_id") == battery) & (pl.col("date") == day(number)), named=True)


def test_what_nobody_watches_yet_is_no_evidence_of_nothing():
    found = risk([])
    assert [at(found, number)["level"] for number in (0, 19, 20, 99)] == ["unwatched"] * 2 + ["no evidence"] * 2
    assert found["rank"].null_count() == found.height
    assert found["surprise"].sum() == 0.0


def test_a_battery_whose_scores_stop_is_unwatched_after_three_weeks():
    rows = features("a", days=90)
    deaf = rows.with_columns(z=pl.when(pl.col("date") < day(50)).then("z"))
    found = failure_risk(deaf, AnomalySignal.create_empty(), lives())
    last = 49 + COUNTS.days
    assert [at(found, number)["level"] for number in (last, last + 1)] == ["no evidence", "unwatched"]


def test_evidence_counts_for_three_weeks_and_says_what_it_is():
    found = risk([signal("a", 40)])
    assert [at(found, number)["level"] for number in (39, 40, 40 + COUNTS.days - 1, 40 + COUNTS.days)] == [
        "no evidence", "watch", "watch", "no evidence",
    ]  # fmt: skip
    row = at(found, 50)
    assert (row["rank"], row["family"], row["kind"]) == (1, "cell", "low_cell")
    (rested,) = json.loads(row["rests_on"])
    assert (rested["lane"], rested["since"]) == (STATISTICS, instant(37).isoformat())
    assert row["lead_days"] is None
    assert "rank, not a time" in row["lead_rests_on"]


@pytest.mark.parametrize(
    ("signals", "level"),
    [
        ([signal("a", 40, severity="critical")], "raised"),
        ([signal("a", 40), signal("a", 45, family="thermal")], "raised"),
        ([signal("a", 40), signal("a", 45, MODELS)], "watch"),
        ([signal("a", 40, SAFETY)], "urgent"),
        ([signal("a", 40, CELLS, component="V_3")], "watch"),
        ([signal("a", 40, AGEING, "capacity", statistic=1.0)], "watch"),
    ],
)
def test_levels(signals, level):
    assert at(risk(signals), 46)["level"] == level


@pytest.mark.parametrize(
    "columns",
    [{"family": "sensor"}, {"family": "data", "lane": DATA_CHECKS}, {"severity": "info"}, {"raised_at": None},
     {"lane": FOREST}, {"family": "limit", "lane": "thresholds"}],
)  # fmt: skip
def test_what_is_no_sign_of_a_failing_battery_does_not_count(columns):
    assert at(risk([signal("a", 40, **columns)]), 40)["level"] == "no evidence"


def test_a_precursor_is_urgent_for_two_weeks_and_its_time_runs_out():
    found = risk([signal("a", 40, SAFETY, "thermal"), signal("a", 42, SAFETY, "thermal")])
    assert [at(found, number)["lead_days"] for number in (40, 41, 43, 50)] == [
        PRECURSOR_LEAD,
        PRECURSOR_LEAD - 1,
        0.0,
        0.0,
    ]
    last = 42 + URGENT.days - 1
    assert [at(found, number)["level"] for number in (last, last + 1)] == ["urgent", "raised"]


def test_the_time_of_a_capacity_that_fades_is_what_remains_of_its_life():
    left = lives(("a", 35, 400.0), ("a", 60, 300.0))
    found = risk([signal("a", 50, AGEING, "capacity", statistic=1.0)], degradation=left)
    assert [at(found, number)["lead_days"] for number in (50, 59, 60, 65)] == [385.0, 376.0, 300.0, 295.0]
    assert at(found, 50)["lead_rests_on"] == "10th percentile of the remaining life"
    assert at(risk([signal("a", 50, AGEING, "capacity")]), 50)["lead_days"] is None


def test_the_ranking_is_by_level_and_then_by_surprise():
    signals = [
        signal("a", 40),
        signal("b", 40, statistic=18.0),
        signal("c", 40, severity="critical", statistic=10.0),
        signal("d", 40, SAFETY),
    ]
    found = risk(signals, "a", "b", "c", "d", "e")
    assert {name: at(found, 41, name)["rank"] for name in "abcde"} == {"d": 1, "c": 2, "b": 3, "a": 4, "e": None}


def test_surprise_is_the_sum_over_families_and_bounded():
    one = at(risk([signal("a", 40)]), 40)["surprise"]
    same = at(risk([signal("a", 40), signal("a", 40, feature="y")]), 40)["surprise"]
    both = at(risk([signal("a", 40), signal("a", 40, family="thermal")]), 40)["surprise"]
    assert (same, both) == (one, pytest.approx(2 * one))
    assert at(risk([signal("a", 40, SAFETY, statistic=1e6)]), 40)["surprise"] == pytest.approx(MOST)


def test_tomorrow_changes_nothing_of_today():
    signals = [signal("a", 40), signal("a", 60, SAFETY), signal("b", 70)]
    whole = risk(signals, "a", "b")
    told = pl.DataFrame(signals, schema=AnomalySignal.create_empty().schema)
    for cut in (41, 55, 65):
        part = failure_risk(features("a", "b", days=cut + 1), told.filter(pl.col("date") <= day(cut)), lives())
        assert part.equals(whole.filter(pl.col("date") <= day(cut)))
