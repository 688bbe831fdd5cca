"""What was done beside what could have been: by hand, and in the simulator, where batteries really age."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from bess_pipeline.analytics.what_if import Unit, what_if
from bess_pipeline.tables.lifecycle import SCHEDULES
from bess_pipeline_tests.wear_aware import UNIT, lives, two_peaks

START = datetime(2026, 1, 1, tzinfo=UTC)
CHEAP = Unit("b", "LFP", 1.0, 0.5, 1.0, 25.0, 1000.0, 1000.0, 1.0)


def priced(*prices, hours=1.0):
    at = [START + n * timedelta(hours=hours) for n in range(len(prices))]
    return pl.DataFrame({"timestamp": at, "hours": [hours] * len(prices), "price_per_mwh": [float(p) for p in prices]})


def seen(powers, socs, hours=1.0):
    """5-minute rows of a battery that gives or takes so many MW in each period."""
    count, rows = round(12 * hours), []
    for n, (power, soc) in enumerate(zip(powers, socs, strict=True)):
        row = {"battery_id": "b", "power_watt": None if power is None else 1e6 * power, "soc_percent": 100.0 * soc}
        rows += [row | {"timestamp": START + (n * count + k) * timedelta(minutes=5)} for k in range(count)]
    return pl.DataFrame(rows, schema_overrides={"power_watt": pl.Float64})


def test_revenue_energy_and_capture_of_what_was_done_by_hand():
    prices = priced(10, 20, 80, 50)
    found = what_if(prices, seen([0.5, 0.0, -0.5, 0.0], [0.2, 0.7, 0.7, 0.2]), [CHEAP])
    done = found.sums.filter(schedule="done").row(0, named=True)
    assert done["revenue"] == pytest.approx(0.5 * 80 - 0.5 * 10)
    assert (done["charged_mwh"], done["discharged_mwh"]) == (0.5, 0.5)
    assert done["equivalent_full_cycles"] == pytest.approx(0.5)
    # Two hours fill it: the dearest two are 130, the cheapest two 30, at half a MW.
    assert done["capture_fraction"] == pytest.approx(35 / 50)
    assert done["seen_fraction"] == 1.0
    assert done["profit"] == pytest.approx(done["revenue"] - done["wear_cost"])


def test_the_best_schedules_begin_and_end_where_the_battery_did_and_earn_no_less():
    prices = priced(*([20, 90] * 12))
    found = what_if(prices, seen([0.1, -0.1] * 12, [0.4, 0.5] * 12), [CHEAP])
    sums = {row["schedule"]: row for row in found.sums.to_dicts()}
    assert set(sums) == set(SCHEDULES)
    assert sums["revenue"]["revenue"] >= sums["done"]["revenue"] - 1e-9
    last = found.steps.filter(schedule="revenue")["soc_percent"][-1]
    assert last >= 50 - 1e-6


def test_counting_wear_cycles_less_and_earns_more_after_wear():
    dear = Unit("b", "LFP", 1.0, 0.5, 0.9, 25.0, 1000.0, 2000.0, 6000.0)
    prices = priced(*two_peaks(24 * 14))
    found = what_if(prices, seen([0.0] * 336, [0.5] * 336), [dear])
    sums = {row["schedule"]: row for row in found.sums.to_dicts()}
    naive, aware = sums["revenue"], sums["wear"]
    assert aware["equivalent_full_cycles"] < naive["equivalent_full_cycles"]
    assert aware["cycle_loss_percent"] < naive["cycle_loss_percent"]
    assert aware["profit"] > naive["profit"]


def test_periods_that_nobody_saw_bring_nothing_and_are_told():
    found = what_if(priced(10, 20, 80, 50), seen([0.5, None, None, 0.0], [0.2, 0.7, 0.7, 0.7]), [CHEAP])
    done = found.sums.filter(schedule="done").row(0, named=True)
    assert done["seen_fraction"] == 0.5
    assert done["revenue"] == pytest.approx(-5.0)


def test_a_battery_of_which_nothing_is_known_is_left_out():
    other = Unit("c", "LFP", 1.0, 0.5, 1.0, 25.0, 1.0, 1.0, 1.0)
    assert what_if(priced(10, 20), seen([0.1, 0.1], [0.1, 0.2]), [other]).sums.is_empty()


def test_periods_of_a_quarter_of_an_hour_are_what_they_are():
    found = what_if(
        priced(10, 20, 80, 50, hours=0.25), seen([0.4, 0, -0.4, 0], [0.2, 0.3, 0.3, 0.2], hours=0.25), [CHEAP]
    )
    done = found.sums.filter(schedule="done").row(0, named=True)
    assert done["revenue"] == pytest.approx(0.1 * 70)


def test_in_the_simulator_counting_wear_really_ages_less_for_its_revenue():
    """Both schedules are lived by the same battery; what it lost is the simulator's truth, and not the model's."""
    naive, aware = lives(days=120)
    assert aware.revenue > 0
    assert aware.lost_percent < naive.lost_percent
    assert aware.lost_percent / aware.revenue < naive.lost_percent / naive.revenue
    assert aware.profit > naive.profit
    assert np.isfinite([naive.profit, aware.profit]).all()
    assert UNIT.cost_per_percent > 0
