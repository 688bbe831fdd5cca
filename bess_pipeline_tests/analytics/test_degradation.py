"""How fast batteries age, and how long they will do: against lives whose end is known."""

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from bess_pipeline.analytics.degradation import ageing
from bess_pipeline.tables.degradation import CapacityForecast, Degradation
from bess_pipeline.tables.health import StateOfHealth
from bess_pipeline_tests.analytics import made_cells

START = date(2020, 1, 1)
#: What a day adds to the clocks of an LFP battery at 25 °C that does a cycle a day.
CALENDAR, CYCLE = 5e-6, 2.5e-6


def lived(days, *, pace=(1.0, 1.0), seed=0, error=0.002, knee=None, steep=2e-4, fade=True):
    """True capacity of a battery on each day [of rated], and beyond, and what an estimator says of it [%]."""
    at = np.arange(40 * 365)
    lost = pace[0] * np.sqrt(CALENDAR * at) + pace[1] * np.sqrt(CYCLE * at) if fade else np.zeros(len(at))
    true = 1.01 - lost - (steep * np.maximum(at - knee, 0) if knee is not None else 0)
    random = np.random.default_rng(seed)
    slow = np.interp(at[:days], np.arange(0, days + 200, 100), random.normal(0, error, (days + 200 + 99) // 100))
    said = true[:days] * (1 + random.normal(0, 0.003)) + slow + random.normal(0, 0.0003, days)
    return true, said


def tables(lives, sigma=0.003):
    """`StateOfHealth` rows and stress of some batteries."""
    rows, stress = [], []
    half = 100 * 1.645 * np.hypot(sigma, 0.004)
    for number, said in enumerate(lives):
        days = [START + timedelta(days=day) for day in range(len(said))]
        key = {"fleet_id": "f", "battery_id": f"b{number}"}
        rows.append(
            pl.DataFrame({"date": days, "soh_percent": 100 * said}).with_columns(
                **{name: pl.lit(value) for name, value in key.items()},
                soh_lower_percent=pl.col("soh_percent") - half,
                soh_upper_percent=pl.col("soh_percent") + half,
            )
        )
        stress.append(
            pl.DataFrame({"date": days}).with_columns(
                **{name: pl.lit(value) for name, value in key.items()},
                calendar=pl.lit(CALENDAR), cycle=pl.lit(CYCLE),
            )
        )  # fmt: skip
    health = pl.concat(rows)
    schema = StateOfHealth.create_empty().schema
    health = health.select(
        (pl.col(name) if name in health.columns else pl.lit(None)).cast(kind).alias(name)
        for name, kind in schema.items()
    )
    plates = made_cells.batteries(*(f"b{number}" for number in range(len(lives))), chemistry="LFP")
    return health, pl.concat(stress), plates


def said_of(*lives, **more):
    return ageing(*tables([said for _, said in lives], **more))


def life_of(true, after):
    return int(np.argmax(true < 0.8)) - after


def test_remaining_life_and_rate_are_found_after_two_years():
    lives = [lived(730, pace=(0.9 + 0.1 * k, 1.1 - 0.1 * k), seed=k) for k in range(5)]
    found = said_of(*lives).degradation
    last = found.filter(as_of=START + timedelta(days=729)).sort("battery_id")
    for row, (true, _) in zip(last.to_dicts(), lives, strict=True):
        left = life_of(true, 729)
        assert row["remaining_life_days_p50"] == pytest.approx(left, rel=0.25)
        assert row["remaining_life_days_p05"] < left < row["remaining_life_days_p95"]
        rate = 100 * (true[364] - true[729])
        low, high = (row[f"degradation_{end}_percent_per_year"] for end in ("lower", "upper"))
        assert low < rate < high
        assert row["degradation_percent_per_year"] == pytest.approx(rate, abs=0.3)
        assert row["knee_date"] is None
        assert row["end_of_life_percent"] == 80


def test_life_ends_where_the_fleet_file_says():
    """Known truth: the same two batteries, of which one may be used down to 70 %."""
    true, said = lived(900)
    health, stress, plates = tables([said, said])
    plates = plates.with_columns(end_of_life_percent=pl.Series([80.0, 70.0]))
    last = ageing(health, stress, plates).degradation.filter(as_of=START + timedelta(days=899))
    assert last["end_of_life_percent"].to_list() == [80.0, 70.0]
    ends = [int(np.argmax(true < end)) - 899 for end in (0.8, 0.7)]
    for left, end in zip(last["remaining_life_days_p50"], ends, strict=True):
        assert left == pytest.approx(end, rel=0.3)


def test_intervals_of_remaining_life_hold_the_truth_as_often_as_they_say():
    """Thirty lives of other pace: of the 90 % intervals 80 % or more hold the end."""
    lives = [lived(400, pace=tuple(np.random.default_rng(k).uniform(0.7, 1.4, 2)), seed=k) for k in range(30)]
    found = said_of(*lives).degradation.filter(as_of=START + timedelta(days=399)).sort("battery_id")
    ends = {f"b{k}": life_of(true, 399) for k, (true, _) in enumerate(lives)}
    hits = [
        row["remaining_life_days_p05"] <= ends[row["battery_id"]] <= row["remaining_life_days_p95"]
        for row in found.to_dicts()
    ]
    assert len(hits) == 30
    assert sum(hits) >= 24


def test_where_no_loss_is_significant_only_what_remains_at_least_is_said():
    row = said_of(lived(120, fade=False, error=0.01), sigma=0.01).degradation.row(-1, named=True)
    assert row["remaining_life_days_p50"] is None
    assert row["remaining_life_at_least_days"] > 365


def test_a_knee_is_found_and_its_end_of_life_is_nearer():
    true, said = lived(900, knee=600, steep=4e-4)
    found = said_of((true, said), lived(900, seed=4)).degradation
    of_knee, healthy = found.filter(battery_id="b0"), found.filter(battery_id="b1")
    assert healthy["knee_date"].null_count() == healthy.height
    detected = of_knee["knee_detected_on"].drop_nulls()[0]
    assert START + timedelta(days=600) < detected <= START + timedelta(days=690)
    assert abs((of_knee["knee_date"].drop_nulls()[0] - START).days - 600) <= 60
    last = of_knee.row(-1, named=True)
    assert last["remaining_life_days_p50"] == pytest.approx(life_of(true, 899), abs=120)
    assert last["knee_hazard_per_year"] is None
    assert healthy["knee_hazard_per_year"].min() > 0


def test_what_comes_later_changes_nothing():
    lives = [lived(500, seed=k)[1] for k in range(3)]
    whole, part = ageing(*tables(lives)), ageing(*tables([said[:330] for said in lives]))
    ends = pl.col("as_of") < START + timedelta(days=329)
    assert_frame_equal(part.degradation.filter(ends), whole.degradation.filter(ends), check_exact=True)
    assert_frame_equal(part.forecast.filter(ends), whole.forecast.filter(ends), check_exact=True)


def test_what_is_taken_up_at_an_epoch_is_that_of_the_whole():
    """Three batteries, of which one has a knee that is being proven while epochs begin, and one begins later."""
    lives = [lived(700, knee=350, steep=8e-4)[1], lived(700, seed=1)[1], lived(700, seed=2)[1]]
    health, stress, plates = tables(lives)
    late = (pl.col("battery_id") != "b2") | (pl.col("date") >= START + timedelta(days=200))
    health, stress = health.filter(late), stress.filter(late)
    whole = ageing(health, stress, plates)
    assert whole.degradation["knee_date"].count() > 0
    for epoch in whole.memory["date"].unique().sort():
        again = ageing(health, stress, plates, whole.memory.filter(date=epoch))
        assert_frame_equal(again.degradation, whole.degradation.filter(pl.col("as_of") >= epoch), check_exact=True)
        assert_frame_equal(again.forecast, whole.forecast.filter(pl.col("as_of") >= epoch), check_exact=True)
        assert_frame_equal(again.memory, whole.memory.filter(pl.col("date") > epoch), check_exact=True)
        before = pl.col("date") < epoch
        early = ageing(health.filter(before), stress.filter(before), plates)
        if early.memory.height:
            assert whole.memory.filter(pl.col("date") < epoch).equals(early.memory)


def test_the_order_of_rows_does_not_matter():
    health, stress, plates = tables([lived(200, seed=k)[1] for k in range(2)])
    found = ageing(health, stress, plates)
    other = ageing(
        health.sample(fraction=1, shuffle=True, seed=1),
        stress.sample(fraction=1, shuffle=True, seed=2),
        plates.reverse(),
    )
    assert_frame_equal(found.degradation, other.degradation, check_exact=True)


def test_forecasts_fall_and_widen():
    found = said_of(lived(500)).forecast
    last = found.filter(as_of=found["as_of"].max())
    assert (last["soh_p50_percent"].diff().drop_nulls() < 0).all()
    width = last["soh_p90_percent"] - last["soh_p10_percent"]
    assert width[-1] > 2 * width[0] > 0
    CapacityForecast.validate(found)


def test_months_and_the_last_day_have_a_row():
    found = Degradation.validate(said_of(lived(140)).degradation)
    assert found["as_of"].to_list() == [date(2020, 3, 31), date(2020, 4, 30), START + timedelta(days=139)]


def test_nothing_is_said_of_nothing():
    health, stress, plates = tables([lived(60)[1]])
    assert ageing(health, stress, plates).degradation.is_empty()
    assert ageing(health.clear(), stress, plates).forecast.is_empty()


def test_a_knee_is_told_within_a_month_of_its_proof():
    """What makes signals of knees rests on it: no month end says anything of days more than a month before."""
    lives = [lived(700, knee=knee, steep=8e-4, seed=knee)[1] for knee in (300, 345, 360)]
    told = ageing(*tables(lives)).degradation.drop_nulls("knee_detected_on")
    first = told.group_by("battery_id", "knee_detected_on").agg(pl.col("as_of").min())
    assert first.height == 3
    assert (first["as_of"] - first["knee_detected_on"]).dt.total_days().is_between(0, 30).all()
