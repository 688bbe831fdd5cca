"""Availability: silences and standstills made by hand."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from bess_pipeline.analytics.availability import availability, interruptions, presence_evidence
from bess_pipeline.tables.availability import SILENCES, Availability
from bess_pipeline.tables.telemetry import Telemetry5min
from bess_pipeline_tests.analytics import made_cells

START = datetime(2026, 1, 1, tzinfo=UTC)
DAY = 288


def telemetry(days=1, *, battery="b", rate=0.25, bms=50.0, soc=50.0, silent=()):
    """Rows of a battery of 100 Ah; rate and charge by row or for all of them; no rows from each hour to another."""
    count = days * DAY
    schema = Telemetry5min.create_empty().schema
    frame = pl.DataFrame(
        {
            "timestamp": pl.datetime_range(
                START, START + timedelta(minutes=5 * (count - 1)), timedelta(minutes=5), time_unit="us", eager=True
            ),
            "current_ampere": 100 * np.broadcast_to(rate, count),
            "soc_percent": np.broadcast_to(soc, count),
            "soc_bms_percent": np.broadcast_to(bms, count),
        }
    ).with_columns(fleet_id=pl.lit("f"), battery_id=pl.lit(battery), date=pl.col("timestamp").dt.date())
    for begin, end in silent:
        hour = (pl.col("timestamp") - START).dt.total_minutes() / 60
        frame = frame.filter((hour < begin) | (hour >= end))
    return frame.select(
        (pl.col(name) if name in frame.columns else pl.lit(None)).cast(kind).fill_nan(None).alias(name)
        if kind == pl.Float64
        else (pl.col(name) if name in frame.columns else pl.lit(None)).cast(kind).alias(name)
        for name, kind in schema.items()
    )


def available(evidence):
    return availability(evidence, interruptions(evidence).interruptions)


def days_of(*frames):
    rows = pl.concat(frames)
    plates = made_cells.batteries(*sorted(set(rows["battery_id"])))
    found = available(presence_evidence(rows, plates))
    by_day = [presence_evidence(day, plates) for _, day in rows.group_by("date", maintain_order=True)]
    assert_frame_equal(available(pl.concat(by_day)), found, check_exact=True)
    Availability.validate(found)
    return found


def step(before, after, hour, days=1):
    """A charge that is another from an hour on."""
    return np.where(np.arange(days * DAY) < 12 * hour, before, after)


IDLE_FIRST = np.where(np.arange(DAY) < 12 * 6, 0.0, 0.25)


@pytest.mark.parametrize(
    ("rows", "percent", "silence"),
    [
        pytest.param(telemetry(), 100, {}, id="always there"),
        pytest.param(
            telemetry(silent=[(6, 12)], bms=step(50, 60, 8)), 100, {"lost_communication": 6}, id="the counter moved"
        ),
        pytest.param(telemetry(silent=[(6, 12)]), 75, {"outage": 6}, id="it should have moved"),
        pytest.param(telemetry(silent=[(6, 12)], bms=np.nan), 100, {"unknown": 6}, id="there is no counter"),
        pytest.param(telemetry(silent=[(6, 12)], rate=IDLE_FIRST), 100, {"unknown": 6}, id="it idled before"),
        pytest.param(
            telemetry(silent=[(6, 12), (14, 17)], bms=step(50, 60, 15)),
            75,
            {"outage": 6, "lost_communication": 3},
            id="each silence on its own",
        ),
        pytest.param(
            telemetry(silent=[(2, 4), (6, 12)], bms=step(np.nan, 50, 3)),
            100 * 16 / 22,
            {"unknown": 2, "outage": 6},
            id="unknown hours count neither for nor against",
        ),
        pytest.param(telemetry(silent=[(6, 6.4)]), 100, {}, id="a short silence is no outage"),
    ],
)
def test_a_day_by_hand(rows, percent, silence):
    """Hand-computed."""
    (day,) = days_of(rows).to_dicts()
    assert day["availability_percent"] == pytest.approx(percent)
    for kind in SILENCES:
        assert day[f"{kind}_hours"] == pytest.approx(silence.get(kind, 0))
    assert day["observed_hours"] == pytest.approx(24 - sum(silence.values()))


def test_a_silence_over_midnights_is_cut_there_and_whole_days_without_rows_appear():
    """Hand-computed: from 18:00 for 36 hours."""
    found = days_of(telemetry(4, silent=[(18, 54)]))
    assert found["outage_hours"].to_list() == pytest.approx([6, 24, 6, 0])
    assert found["availability_percent"].to_list() == pytest.approx([75, 0, 75, 100])


def test_a_day_counts_from_the_first_to_the_last_data():
    """Hand-computed: six hours of outage in a day that begins at noon."""
    found = days_of(telemetry(silent=[(0, 12), (15, 18)]))
    assert found["availability_percent"].to_list() == pytest.approx([75])
    assert found["observed_hours"].to_list() == pytest.approx([9])


def others(rate=0.3):
    return [telemetry(battery=name, rate=rate) for name in ("a", "c", "d")]


STANDS = np.where(np.arange(DAY) // 12 < 8, 0.0, 0.25)


@pytest.mark.parametrize(
    ("own", "peers", "still"),
    [
        pytest.param({"rate": STANDS}, others(), 8, id="the others work"),
        pytest.param({"rate": STANDS}, others(0.0), 0, id="nobody works"),
        pytest.param({"rate": STANDS}, others()[:2], 0, id="too few others"),
        pytest.param({"rate": STANDS, "soc": 99.0, "bms": 99.0}, others(), 0, id="it is full"),
        pytest.param({"rate": np.where(np.arange(DAY) // 12 < 5, 0.0, 0.25)}, others(), 0, id="not for long"),
    ],
)
def test_a_standstill_while_the_others_work(own, peers, still):
    """Hand-computed: hours without current."""
    found = days_of(telemetry(**own), *peers).filter(battery_id="b")
    assert found["standstill_hours"].to_list() == [pytest.approx(still)]
    assert found["availability_percent"].to_list() == [pytest.approx(100 * (24 - still) / 24)]


@settings(max_examples=20, deadline=None)
@given(st.lists(st.booleans(), min_size=72, max_size=72), st.integers(0, 99))
def test_hours_add_up_and_the_order_of_rows_does_not_matter(there, seed):
    random = np.random.default_rng(seed)
    rows = telemetry(3, bms=np.cumsum(random.normal(0, 0.3, 3 * DAY)) + 50)
    rows = rows.filter(pl.Series(np.repeat(there, 12)))
    found = days_of(rows, telemetry(3, battery="c"))
    kinds = ("observed_hours", "lost_communication_hours", "outage_hours", "unknown_hours")
    own = rows.select((pl.col("timestamp").max() - pl.col("timestamp").min()).dt.total_minutes() / 60 + 1 / 12).item()
    total = found.filter(battery_id="b").select(pl.sum_horizontal(kinds).sum()).item()
    assert total == pytest.approx(own or 0)
    shuffled = rows.sample(fraction=1, shuffle=True, seed=seed)
    assert_frame_equal(days_of(shuffled, telemetry(3, battery="c")), found, check_exact=True)


def test_nothing_in_gives_nothing_out():
    found = interruptions(presence_evidence(telemetry().clear(), made_cells.batteries("b")))
    assert found.interruptions.is_empty()
    assert found.memory.is_empty()
    assert available(presence_evidence(telemetry().clear(), made_cells.batteries("b"))).is_empty()


def at(day, hour=0):
    return START + timedelta(days=day, hours=hour)


def test_interruptions_by_hand():
    """Hand-computed: begins at 06:00, is out over a midnight, stands still on two days that no data follow."""
    rates = np.concatenate([np.full(5 * DAY, 0.25), np.zeros(2 * DAY)])
    own = telemetry(7, rate=rates, silent=[(0, 6), (40, 52)])
    peers = [telemetry(7, battery=name, rate=0.3) for name in ("a", "c", "d")]
    evidence = presence_evidence(pl.concat([own, *peers]), made_cells.batteries(*"abcd"))
    found = interruptions(evidence).interruptions.filter(battery_id="b")
    assert found.select("kind", "started_at", "ended_at", "settled_at").rows() == [
        ("before_first", at(0), at(0, 6), at(0, 6)),
        ("outage", at(1, 16), at(2, 4), at(2, 4)),
        ("standstill", at(5), at(7), None),
    ]


def test_what_the_last_day_lacks_is_not_settled():
    """Hand-computed: data until 18:00."""
    found = interruptions(presence_evidence(telemetry(silent=[(18, 24)]), made_cells.batteries("b"))).interruptions
    assert found.select("kind", "started_at", "ended_at", "settled_at").rows() == [
        ("after_last", at(0, 18), at(1), None)
    ]


def test_a_standstill_is_settled_by_the_next_data_however_late():
    """Hand-computed: it stands still up to a midnight, and is silent for ten days."""
    rates = np.concatenate([np.zeros(DAY), np.full(13 * DAY, 0.25)])
    own = telemetry(14, rate=rates, silent=[(24, 24 * 11)])
    peers = [telemetry(14, battery=name, rate=0.3) for name in ("a", "c", "d")]
    evidence = presence_evidence(pl.concat([own, *peers]), made_cells.batteries(*"abcd"))
    found = interruptions(evidence).interruptions.filter(battery_id="b", kind="standstill")
    assert found.select("ended_at", "settled_at").rows() == [(at(1), at(11))]


@pytest.fixture(scope="module")
def restless():
    """Evidence of seven batteries that fall silent and stand still for hours to weeks, and of their peers: 60 days."""
    random = np.random.default_rng(4)
    frames = [telemetry(60, battery=name, rate=0.3) for name in ("x", "y", "z")]
    for name in "abcdefg":
        spells = np.repeat(random.integers(0, 4, 400), random.choice([5, 40, 200, 900, 2500], 400))[: 60 * DAY]
        charge = 50 + np.clip(np.cumsum(random.normal(0, 0.1, 60 * DAY)), -40, 40) * (name in "bdf")
        rows = telemetry(60, battery=name, rate=np.where(spells >= 2, 0.0, 0.25), bms=charge, soc=charge)
        frames.append(rows.filter(pl.Series(spells != 1 if name < "d" else (spells != 1) & (spells != 2))))
    return presence_evidence(pl.concat(frames), made_cells.batteries(*"abcdefgxyz"))


def test_what_is_taken_up_at_an_epoch_goes_on_as_if_it_had_been_begun_at_the_beginning(restless):
    whole = interruptions(restless)
    epochs = whole.memory["date"].unique().sort()
    assert len(epochs) == 8
    assert set(whole.interruptions["kind"]) > {*SILENCES, "standstill"}
    for epoch in epochs:
        since = datetime(epoch.year, epoch.month, epoch.day, tzinfo=UTC)
        later = interruptions(restless.filter(pl.col("date") >= epoch), whole.memory.filter(date=epoch))
        speaks = (pl.col("settled_at") >= since).fill_null(value=True)
        assert_frame_equal(later.interruptions.filter(speaks), whole.interruptions.filter(speaks), check_exact=True)
        assert_frame_equal(later.memory, whole.memory.filter(pl.col("date") > epoch), check_exact=True)


def test_days_after_a_day_rest_on_interruptions_that_end_after_it(restless):
    whole = interruptions(restless).interruptions
    days = availability(restless, whole)
    for day in sorted(set(days["date"]))[5::7]:
        since = datetime(day.year, day.month, day.day, tzinfo=UTC)
        read = whole.filter((pl.col("settled_at") >= since).fill_null(value=True))
        later = availability(restless.filter(pl.col("date") >= day), read)
        assert_frame_equal(later.filter(pl.col("date") >= day), days.filter(pl.col("date") >= day), check_exact=True)
