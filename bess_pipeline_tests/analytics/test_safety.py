"""The hourly lane: precursors within hours, and nothing of what is no precursor."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bess_pipeline.analytics.hours import hourly_evidence
from bess_pipeline.analytics.safety import BEFORE, FEWEST, HOLD, SIGNS, safety_signals
from bess_pipeline.tables.anomalies import AnomalySignal
from bess_pipeline.tables.hours import HourlyEvidence
from bess_pipeline_tests.analytics.made_days import START, made_days

HOUR = timedelta(hours=1)


def made_hours(days=80, batteries=1, seed=0, gap=0.0):
    """Quiet hours: the lowest cell 5 mV below, the hottest probe 0.8 K above, with a little noise."""
    random = np.random.default_rng(seed)
    grid = pl.DataFrame({"battery_id": [f"b{number}" for number in range(batteries)]}).join(
        pl.DataFrame({"timestamp": pl.datetime_range(START, START + days * 24 * HOUR - HOUR, "1h", eager=True)}),
        how="cross",
    )
    rows = grid.with_columns(
        fleet_id=pl.lit("f"),
        date=pl.col("timestamp").dt.date(),
        observed_until=pl.col("timestamp") + HOUR,
        intervals=pl.lit(12, pl.Int64),
        cell_below_volt=pl.Series(0.005 + 0.0005 * random.normal(size=grid.height)),
        hot_spot_kelvin=pl.Series((0.8 + 0.1 * random.normal(size=grid.height)).round(1)),
        cell_voltage_mean_volt=pl.lit(3.7),
        temperature_celsius=pl.lit(25.0),
    ).select(HourlyEvidence.column_names())
    return rows.filter(pl.Series(random.random(rows.height) >= gap))


def signals_of(hours):
    return AnomalySignal.validate(safety_signals(hours))


def raised_in(hours):
    return signals_of(hours).drop_nulls("raised_at")


def after(hours):
    """Hours since day 70."""
    return (pl.col("timestamp") - (START + timedelta(days=70))).dt.total_hours() - hours


def test_quiet_hours_raise_nothing():
    assert raised_in(made_hours(150, 3)).is_empty()


@pytest.mark.parametrize(
    ("column", "by", "family"), [("cell_below_volt", 0.020, "cell"), ("hot_spot_kelvin", 1.5, "thermal")]
)
def test_a_precursor_is_raised_with_the_end_of_the_third_hour(column, by, family):
    """Known truth: from 06:00 of day 70 on the battery is off by more than an alarm asks."""
    hours = made_hours().with_columns(pl.when(after(6) >= 0).then(pl.col(column) + by).otherwise(pl.col(column)))
    first = raised_in(hours).head(1).to_dicts()[0]
    assert (first["family"], first["severity"], first["feature"]) == (family, "critical", column)
    assert first["started_at"] == START + timedelta(days=70, hours=6)
    assert first["raised_at"] == START + timedelta(days=70, hours=6 + HOLD)


def test_a_hot_spot_that_grows_for_five_days_is_seen_three_days_before_it_has_grown():
    """Known truth: 5 K within five days, the least of the simulated precursors."""
    grows = (after(0) / 24).clip(0, 5)
    hours = made_hours().with_columns(pl.col("hot_spot_kelvin") + grows)
    raised = raised_in(hours)["raised_at"].min()
    assert START + timedelta(days=70) < raised < START + timedelta(days=72)


@pytest.mark.parametrize("lasts", [1, 2])
def test_an_hour_or_two_raise_nothing(lasts):
    off = (after(6) >= 0) & (after(6) < lasts)
    assert raised_in(
        made_hours().with_columns(pl.col("hot_spot_kelvin") + pl.when(off).then(9.0).otherwise(0.0))
    ).is_empty()


def test_what_all_batteries_show_at_once_is_no_battery_s():
    hot = pl.when(after(6) >= 0).then(3.0).otherwise(0.0)
    assert raised_in(made_hours(80, 5).with_columns(pl.col("hot_spot_kelvin") + hot)).is_empty()
    alone = pl.when((after(6) >= 0) & (pl.col("battery_id") == "b3")).then(3.0).otherwise(0.0)
    found = raised_in(made_hours(80, 5).with_columns(pl.col("hot_spot_kelvin") + alone))
    assert found["battery_id"].unique().to_list() == ["b3"]


def test_hours_of_a_month_that_were_no_quieter_are_the_reference():
    """A day each week with a hot spot of 4 K: another such day is none of a precursor."""
    weekly = pl.when(pl.col("date").dt.weekday() == 7).then(4.0).otherwise(0.0)
    assert (
        raised_in(made_hours(120).with_columns(pl.col("hot_spot_kelvin") + weekly))
        .filter(pl.col("date") > START.date() + timedelta(days=30))
        .is_empty()
    )


def test_there_is_no_reference_before_two_weeks_of_hours_are_a_week_old():
    hot = pl.when(pl.col("timestamp") >= START + timedelta(days=18)).then(5.0).otherwise(0.0)
    found = raised_in(made_hours(40).with_columns(pl.col("hot_spot_kelvin") + hot))
    assert found["date"].min() == START.date() + timedelta(days=FEWEST // 24 + 7)


@given(st.integers(0, 999), st.integers(69, 79), st.sampled_from([0.0, 0.3]))
@settings(max_examples=8, deadline=None)
def test_later_days_earlier_days_and_order_change_nothing(seed, cut, gap):
    hours = made_hours(80, 2, seed, gap).with_columns(
        pl.when((after(0) >= 0) & (pl.col("battery_id") == "b1"))
        .then(pl.col("hot_spot_kelvin") + after(0) / 40)
        .otherwise("hot_spot_kelvin")
        .alias("hot_spot_kelvin")
    )
    whole = signals_of(hours)
    assert whole.equals(signals_of(hours.sample(fraction=1.0, shuffle=True, seed=seed)))
    day = START.date() + timedelta(days=cut)
    assert whole.filter(pl.col("date") < day).equals(signals_of(hours.filter(pl.col("date") < day)))
    tail = signals_of(hours.filter(pl.col("date") >= day - BEFORE))
    assert whole.filter(pl.col("date") >= day).equals(tail.filter(pl.col("date") >= day))


@given(st.integers(0, 999))
@settings(max_examples=6, deadline=None)
def test_the_kernel_says_what_plain_python_says(seed):
    """The reference of a day: the second largest hour of the days 8 to 67 before it."""
    sign = SIGNS[1]
    random = np.random.default_rng(seed)
    hours = made_hours(75, 1, seed, 0.2)
    hours = hours.with_columns(
        hot_spot_kelvin=pl.col("hot_spot_kelvin") + pl.Series(np.where(random.random(hours.height) < 0.3, 2.0, 0.0)),
    )
    value = {row["timestamp"]: row["hot_spot_kelvin"] for row in hours.iter_rows(named=True)}
    past_of = {
        day: sorted(v for t, v in value.items() if timedelta(days=8) <= day - t.date() <= timedelta(days=67))
        for day in {at.date() for at in value}
    }
    most = {}
    for at, own in value.items():
        past = past_of[at.date()]
        run = [at]
        while len(run) < HOLD:
            earlier = [t for t in value if run[-1] - 2 * HOUR <= t < run[-1]]
            if not earlier:
                break
            run.append(max(earlier))
        if len(past) < FEWEST or len(run) < HOLD:
            continue
        asked = max(sign.share * past[-2], sign.margin)
        excess = min((value[t] - past[-2]) / asked for t in run)
        most[at.date()] = max(excess, most.get(at.date(), -9.0))
        assert own is not None
    found = signals_of(hours).filter(feature=sign.column)
    expected = {day: size for day, size in most.items() if size >= 0.5}
    assert dict(found.select("date", "statistic").iter_rows()) == pytest.approx(expected)


def test_an_hour_is_the_median_of_its_intervals():
    """Known truth: three intervals an hour, probes 1 K apart; one that is off moves nothing."""

    def spiked(rows):
        off = pl.col("timestamp") == datetime(2026, 1, 1, 3, 15, tzinfo=UTC)
        return rows.with_columns(
            temperature_max_celsius=pl.col("temperature_max_celsius") + pl.when(off).then(50.0).otherwise(0.0)
        )

    frames = made_days(2, 2, change=spiked)
    hours = HourlyEvidence.validate(hourly_evidence(frames["intervals"], frames["batteries"]))
    assert hours.height == 2 * 48
    assert hours["hot_spot_kelvin"].to_list() == pytest.approx([1.0] * 96)
    assert hours["cell_below_volt"].to_list() == pytest.approx([0.0055] * 96, abs=0.001)
    first = hourly_evidence(frames["intervals"].filter(pl.col("date") == START.date()), frames["batteries"])
    assert first.equals(hours.filter(pl.col("date") == START.date()))
