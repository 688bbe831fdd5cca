"""Weeks beside the best they could have been: by hand, and made in parts."""

from datetime import UTC, date, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from bess_pipeline.analytics.dispatch_history import dispatch_daily
from bess_pipeline.sources.terms import Economics, Warranty, assumptions
from bess_pipeline.tables.degradation import Degradation
from bess_pipeline.tables.energy import BatteryDaily
from bess_pipeline.tables.health import StateOfHealth
from bess_pipeline.tables.lifecycle import DispatchDaily, MarketPrice
from bess_pipeline.tables.telemetry import Telemetry5min
from bess_pipeline_tests.analytics import made_cells

MONDAY = date(2026, 3, 2)
PLATES = made_cells.batteries("b", "c", chemistry="LFP")
RATED_MWH = made_cells.RATED_WH / 1e6


def agreed(**said):
    return assumptions("f", Warranty(), None, Economics.model_validate({"replacement_cost_per_kwh": 150} | said))


def prices(days=28, first=MONDAY):
    begin = datetime(first.year, first.month, first.day, tzinfo=UTC)
    at = pl.Series([begin + timedelta(hours=n) for n in range(24 * days)])
    money = 60 + 40 * np.sin(2 * np.pi * at.dt.hour().to_numpy() / 24) + at.dt.day().to_numpy()
    return made_cells.whole(
        pl.DataFrame({"timestamp": at, "price_per_mwh": money}), MarketPrice, fleet_id="f", hours=1.0
    )


def worked(days=28, first=MONDAY, power=5_000.0, names=("b", "c")):
    """Batteries that charge in the night and give at noon, an hour each."""
    parts = []
    for name in names:
        rows = prices(days, first).select("timestamp").upsample("timestamp", every="5m")
        hour = pl.col("timestamp").dt.hour()
        frame = rows.with_columns(
            date=pl.col("timestamp").dt.date(),
            power_watt=pl.when(hour == 2).then(power).when(hour == 12).then(-power).otherwise(0.0),
            soc_percent=pl.when(hour.is_between(3, 12)).then(60.0).otherwise(50.0),
        )
        parts.append(made_cells.whole(frame, Telemetry5min, fleet_id="f", battery_id=name))
    return pl.concat(parts)


def ageing(*as_of):
    frame = pl.DataFrame({"as_of": as_of, "calendar_unit_percent": 1000.0, "cycle_unit_percent": 2000.0})
    return pl.concat([made_cells.whole(frame, Degradation, fleet_id="f", battery_id=name) for name in ("b", "c")])


def health(soh=90.0, day=MONDAY - timedelta(days=1)):
    frame = pl.DataFrame({"date": [day], "soh_percent": [soh]})
    return pl.concat([made_cells.whole(frame, StateOfHealth, fleet_id="f", battery_id=name) for name in ("b", "c")])


def daily(efficiency=90.0, celsius=25.0):
    rows = {"round_trip_efficiency_30d_percent": efficiency, "temperature_mean_celsius": celsius}
    frame = pl.DataFrame({"date": [MONDAY + timedelta(days=n) for n in range(-28, 28)]}).with_columns(
        pl.lit(value, pl.Float64).alias(name) for name, value in rows.items()
    )
    return pl.concat([made_cells.whole(frame, BatteryDaily, fleet_id="f", battery_id=name) for name in ("b", "c")])


def history(telemetry=None, degradation=None, money=None, terms=None, soh=None, days=None):
    return dispatch_daily(
        agreed() if terms is None else terms,
        prices() if money is None else money,
        worked() if telemetry is None else telemetry,
        ageing(MONDAY - timedelta(days=1)) if degradation is None else degradation,
        health() if soh is None else soh,
        daily() if days is None else days,
        PLATES,
    )


def test_what_was_done_is_told_day_by_day_by_hand():
    found = history()
    assert found.height == 28 * 2 * 3
    day = found.filter(battery_id="b", date=MONDAY + timedelta(days=8), schedule="done").row(0, named=True)
    at_two, at_noon = (60 + 40 * np.sin(2 * np.pi * hour / 24) + 10 for hour in (2, 12))
    assert day["revenue"] == pytest.approx(0.005 * (at_noon - at_two))
    assert (day["charged_mwh"], day["discharged_mwh"]) == pytest.approx((0.005, 0.005))
    # What it holds is what is left of its capacity.
    assert day["equivalent_full_cycles"] == pytest.approx(0.005 / (0.9 * RATED_MWH))
    assert day["seen_fraction"] == 1.0
    assert day["profit"] == pytest.approx(day["revenue"] - day["wear_cost"])


def test_the_best_of_a_week_earns_no_less_and_the_wear_aware_one_leaves_the_most():
    week = (
        history()
        .group_by("battery_id", pl.col("date").dt.truncate("1w"), "schedule")
        .agg(pl.col("revenue", "cycle_loss_percent", "equivalent_full_cycles").sum())
    )
    for _, rows in week.group_by("battery_id", "date"):
        told = {row["schedule"]: row for row in rows.to_dicts()}
        assert told["revenue"]["revenue"] >= told["done"]["revenue"] - 1e-9
        assert told["wear"]["revenue"] <= told["revenue"]["revenue"] + 1e-9
        assert told["wear"]["cycle_loss_percent"] <= told["revenue"]["cycle_loss_percent"] + 1e-9


def test_a_week_is_told_by_what_one_knew_when_it_began():
    late = history(degradation=ageing(MONDAY + timedelta(days=7)))
    # Known on the second Monday, which is too late for the week that begins with it.
    assert late["date"].min() == MONDAY + timedelta(days=14)
    same_day = health(soh=50.0, day=MONDAY)
    both = history(soh=pl.concat([health(), same_day]))
    first = both.filter(date=MONDAY, schedule="done", battery_id="b")["equivalent_full_cycles"].item()
    second = both.filter(date=MONDAY + timedelta(days=7), schedule="done", battery_id="b")["equivalent_full_cycles"]
    assert second.item() == pytest.approx(first * 90 / 50)


def test_the_last_week_goes_as_far_as_data_do():
    found = history(telemetry=worked(days=10))
    assert found["date"].max() == MONDAY + timedelta(days=9)
    assert history(money=prices(days=5))["date"].max() == MONDAY + timedelta(days=4)


def test_made_in_parts_it_is_the_same_as_made_at_once():
    """A day that changes touches its week and what follows: six days back, and thirteen more are read."""
    telemetry = worked()
    whole = history(telemetry)
    for changed in range(14, 28):
        since = MONDAY + timedelta(days=changed - 6)
        part = telemetry.filter(pl.col("date") >= since - timedelta(days=13))
        again = history(part).filter(pl.col("date") >= since)
        assert again.equals(whole.filter(pl.col("date") >= since)), changed


def test_the_order_in_which_rows_come_changes_no_bit():
    telemetry = worked()
    assert history(telemetry.sample(fraction=1, shuffle=True, seed=1)).equals(history(telemetry))


def test_stated_power_goes_before_what_was_seen():
    slow = history(terms=agreed(power_kw=1)).filter(schedule="revenue")
    fast = history(terms=agreed(power_kw=10)).filter(schedule="revenue")
    assert slow["discharged_mwh"].max() <= 0.001 * 24
    assert fast["revenue"].sum() > slow["revenue"].sum()


def test_without_prices_money_power_or_ageing_there_is_nothing_to_tell():
    nothing = DispatchDaily.create_empty()
    assert history(money=MarketPrice.create_empty()).equals(nothing)
    assert history(terms=assumptions("f", Warranty(), None, Economics())).equals(nothing)
    assert history(degradation=Degradation.create_empty()).equals(nothing)
    assert history(telemetry=worked(power=0.0)).equals(nothing)
    assert history(soh=StateOfHealth.create_empty()).equals(nothing)
    assert history(days=BatteryDaily.create_empty()).equals(nothing)
    assert history(days=daily(efficiency=104.0)).equals(nothing), "more out than in tells of the meter"
    assert history(days=daily(celsius=None)).equals(nothing)
    assert history(money=prices(first=MONDAY + timedelta(days=365))).equals(nothing)
