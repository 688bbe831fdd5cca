"""Errors of estimates, computed by hand."""

from datetime import timedelta
from math import sqrt

import polars as pl
import pytest

from bess_pipeline.analytics.accuracy import (
    charge_errors,
    check_days,
    cycle_errors,
    efficiency_errors,
    full_cycle_errors,
    health_errors,
    resistance_errors,
)
from bess_pipeline_tests.analytics.made_truth import FIRST, FLEET, day, plates, truth, values


def of_days(battery="a", days=(), **columns):
    """One row per day, counted from 1."""
    dates = [FIRST + timedelta(days=number - 1) for number in days]
    return pl.DataFrame({"fleet_id": FLEET, "battery_id": battery, "date": dates, **columns})


def test_days_that_are_judged():
    assert check_days(truth("a", days=400)) == [30, 90, 180, 365, 400]
    assert check_days(truth("a", days=90)) == [30, 90]


def charge(offsets, *, soc=50.0, width=4.0, bms=60.0, begins=31.0):
    """Samples every 5 minutes from a day on: our errors, with an interval of so many points around."""
    size = len(offsets)
    times = pl.Series([day(begins) + timedelta(minutes=5 * step) for step in range(size)], dtype=pl.Datetime("us"))
    ours = pl.Series([None if off is None else soc + off for off in offsets], dtype=pl.Float64)
    return pl.DataFrame(
        {
            "fleet_id": FLEET,
            "battery_id": "a",
            "timestamp": times.dt.replace_time_zone("UTC"),
            "soc_percent": ours,
            "soc_lower_percent": ours - width / 2,
            "soc_upper_percent": ours + width / 2,
            "soc_bms_percent": bms,
        }
    )


def true_charge(size, *, soc=0.5, begins=31.0):
    times = [day(begins) + timedelta(minutes=5 * (step - 1)) for step in range(size)]
    return pl.DataFrame({"ts": pl.Series(times, dtype=pl.Datetime("us")), "rack_id": "A", "soc_true": soc})


def test_errors_of_the_state_of_charge_by_hand():
    """Off by 1, −1 and 3 points: the mean square is 11/3, two of three lie within ± 2; the BMS is off by 10."""
    found = charge_errors(charge([1.0, -1.0, 3.0]), truth("a", soc_true=true_charge(3)))
    assert values(found, "soc_rmse") == {("a", None): pytest.approx(sqrt(11 / 3))}
    assert values(found, "soc_coverage") == {("a", None): pytest.approx(2 / 3)}
    assert values(found, "soc_width") == {("a", None): pytest.approx(4.0)}
    assert values(found, "soc_rmse", "BMS") == {("a", None): pytest.approx(10.0)}
    assert values(found, "soc_availability") == {("a", None): 1.0}


def test_what_is_unknown_counts_against_availability_alone():
    """The last true value is 10 minutes from any of ours."""
    found = charge_errors(charge([1.0, None, None, None]), truth("a", soc_true=true_charge(4)))
    assert values(found, "soc_availability") == {("a", None): 0.5}
    assert values(found, "soc_rmse") == {("a", None): pytest.approx(1.0)}


def test_the_first_thirty_days_do_not_count():
    found = charge_errors(charge([1.0], begins=29.0), truth("a", soc_true=true_charge(1, begins=29.0)))
    assert found.is_empty()


def test_errors_of_the_capacity_by_hand():
    """On day 30 the truth is 99.71 %: we are 0.29 high, within ± 1; on day 90, 99.11 %, 2.11 low and outside."""
    health = of_days(
        days=[30, 90],
        soh_percent=[100.0, 97.0],
        soh_lower_percent=[99.0, 96.0],
        soh_upper_percent=[101.0, 98.0],
        soh_usable_percent=[98.71, None],
    )
    reported = of_days(days=[30], soh_bms_percent=[98.71])
    found = health_errors(health, reported, truth("a", days=90))
    assert values(found, "soh_error") == pytest.approx({("a", 30): 0.29, ("a", 90): -2.11})
    assert values(found, "soh_coverage") == {("a", 30): 1.0, ("a", 90): 0.0}
    assert values(found, "soh_width") == pytest.approx({("a", 30): 2.0, ("a", 90): 2.0})
    assert values(found, "soh_usable_error") == pytest.approx({("a", 30): 1.0})
    assert values(found, "soh_error", "as rated") == pytest.approx({("a", 30): 0.29, ("a", 90): 0.89})
    assert values(found, "soh_error", "BMS") == pytest.approx({("a", 30): -1.0})


def test_batteries_with_a_battery_fault_are_left_out():
    health = of_days(
        days=[30],
        soh_percent=[90.0],
        soh_lower_percent=[89.0],
        soh_upper_percent=[91.0],
        soh_usable_percent=[None],
    )
    sick = truth("a", days=30, faults={"a": ("isc", 10, 30)})
    assert health_errors(health, of_days(days=[30], soh_bms_percent=90.0), sick).is_empty()


@pytest.mark.parametrize(
    ("days", "increase", "error"),
    [
        pytest.param([15, 30], [0.0, 1.5], 100 * (1.015 / (1.029 / 1.014) - 1), id="from day 15 on"),
        pytest.param([15, 30], [10.0, 11.65], 100 * (1.015 / (1.029 / 1.014) - 1), id="whatever it is relative to"),
        pytest.param([20, 30], [0.0, 1.5], 100 * (1.015 / (1.029 / 1.019) - 1), id="from the first estimate on"),
    ],
)
def test_growth_of_resistance_by_hand(days, increase, error):
    """The true resistance is 1 + 0.001 × days since the first."""
    health = of_days(days=days, resistance_increase_percent=increase)
    found = resistance_errors(health, truth("a", days=30))
    assert values(found, "resistance_error") == pytest.approx({("a", 30): error})


def test_resistance_first_known_after_two_months_is_not_judged():
    health = of_days(days=[61, 90], resistance_increase_percent=[0.0, 1.0])
    assert resistance_errors(health, truth("a", days=90)).is_empty()


def test_equivalent_full_cycles_by_hand():
    """Rated 100 Ah, 101 Ah moved a day are 0.505 cycles where 0.5 are true; the plain sum has 110 Ah."""
    every = range(1, 31)
    ours = of_days(days=every, charging_capacity_ah=50.5, discharging_capacity_ah=50.5)
    plain = of_days(days=every, charging_capacity_ah=55.0, discharging_capacity_ah=55.0)
    plate = plates("a").with_columns(rated_capacity_ah=pl.lit(100.0))
    found = full_cycle_errors(ours, plain, plate, truth("a", days=30))
    assert values(found, "efc_error") == pytest.approx({("a", 30): 1.0})
    assert values(found, "efc_error", "plain sum") == pytest.approx({("a", 30): 10.0})


def test_cycles_deeper_than_five_percent_by_hand():
    def counted(*rows):
        depths, numbers = zip(*rows, strict=True)
        return pl.DataFrame({"fleet_id": FLEET, "battery_id": "a", "depth_percent": depths, "count": numbers})

    found = cycle_errors(counted((4.9, 50.0), (5.0, 97.5), (80.0, 0.5)), counted((50.0, 110.0)), truth("a"))
    assert values(found, "cycles_error") == pytest.approx({("a", None): -2.0})
    assert values(found, "cycles_error", "BMS") == pytest.approx({("a", None): 10.0})


def test_efficiency_over_thirty_days_by_hand():
    """3000 Wh in, 2700 out, and 20 points more in a battery of 1000 Wh at 99.71 %: 2700 / (3000 − 199.42) = 96.41 %."""
    soc = pl.DataFrame(
        {
            "ts": pl.Series([day(0), day(30) - timedelta(minutes=5)], dtype=pl.Datetime("us")),
            "rack_id": "A",
            "soc_true": [0.4, 0.6],
        }
    )
    daily = of_days(
        days=range(1, 31),
        charging_energy_wh=100.0,
        discharging_energy_wh=90.0,
        round_trip_efficiency_30d_percent=[None] * 29 + [97.0],
    )
    plate = plates("a").with_columns(rated_energy_wh=pl.lit(1000.0))
    found = efficiency_errors(daily, plate, truth("a", days=35, soc_true=soc))
    true = 100 * 2700 / (3000 - 0.2 * 997.1)
    assert values(found, "efficiency_error") == pytest.approx({("a", 30): 97.0 - true}, abs=1e-4)
    assert values(found, "efficiency_error", "plain sum") == pytest.approx({("a", 30): 90.0 - true}, abs=1e-4)
