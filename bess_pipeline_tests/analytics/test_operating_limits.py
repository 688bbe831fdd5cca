"""What limits are worth, against cases worked out by hand."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from bess_pipeline.analytics.finance import net_present_value
from bess_pipeline.analytics.operating_limits import operating_limits
from bess_pipeline.tables.degradation import Degradation
from bess_pipeline.tables.energy import EnergyEvidence
from bess_pipeline.tables.lifecycle import MarketPrice
from bess_pipeline_tests.analytics import made_cells
from bess_pipeline_tests.analytics.test_decisions import TODAY, agreed, daily, forecast

PLATES = made_cells.batteries("b", chemistry="LFP")


def used(low=10.0, high=90.0, cycles=1.0, rate=0.4, celsius=30.0):
    """Ninety days of the same use."""
    days = [TODAY - timedelta(days=n) for n in range(90)]
    moved = 2 * cycles * made_cells.RATED_AH
    told = {
        "soc_min_percent": low, "soc_max_percent": high, "temperature_mean_celsius": celsius, "charged": moved / 2,
        "discharged": moved / 2, "active_hours": moved / (rate * made_cells.RATED_AH),
    }  # fmt: skip
    frame = pl.DataFrame({"date": days}).with_columns(pl.lit(value).alias(name) for name, value in told.items())
    return made_cells.whole(frame, EnergyEvidence, fleet_id="f", battery_id="b")


def ageing(calendar=1000.0, cycle=2000.0):
    frame = pl.DataFrame({"as_of": [TODAY], "calendar_unit_percent": [calendar], "cycle_unit_percent": [cycle]})
    return made_cells.whole(frame, Degradation, fleet_id="f", battery_id="b")


def prices(*day, days=30):
    at = [datetime(2025, 12, 1, tzinfo=UTC) + timedelta(hours=n) for n in range(24 * days)]
    rows = {"timestamp": at, "hours": 1.0, "price_per_mwh": [float(day[n % 24]) for n in range(24 * days)]}
    return made_cells.whole(pl.DataFrame(rows), MarketPrice, fleet_id="f")


def limits(loss=4.0, prices=None, degradation=None, use=None, **said):
    """All limits of a battery that loses so many points a year."""
    return operating_limits(
        agreed(**said), forecast(loss), daily(), use if use is not None else used(),
        ageing() if degradation is None else degradation, MarketPrice.create_empty() if prices is None else prices,
        PLATES, made_cells.curves(PLATES),
    )  # fmt: skip


def at(found, limited, percentile="p50", **levels):
    return found.filter(limited=limited, percentile=percentile, **levels).row(0, named=True)


def test_a_window_cuts_the_swing_and_sells_what_is_left():
    row = at(limits(), "soc_high", upper=70.0)
    assert row["energy_fraction"] == pytest.approx(60 / 80)
    assert (row["usual_lower"], row["usual_upper"]) == pytest.approx((10, 90))
    assert row["margin_fraction"] == 1.0
    assert 0 < row["loss_fraction"] < 1


def test_a_longer_life_is_worth_its_money_by_hand():
    found = limits(loss=4.0)
    row = at(found, "soc_high", upper=80.0)
    lost = 4.0 * row["loss_fraction"]
    assert row["life_years"] == pytest.approx(20 / lost, rel=0.03)
    assert row["life_gained_years"] == pytest.approx(20 / lost - 5, rel=0.1)

    def worth(loss, energy):
        level = np.where(np.arange(11) <= 20 / loss, 1 - loss / 100 * np.arange(11), 0)
        return net_present_value(0.08, np.append(0, 50 * 13.14 * energy * (level[:-1] + level[1:]) / 2))

    expected = worth(lost, row["energy_fraction"]) - worth(4.0, 1.0)
    assert row["net_present_value_gain"] == pytest.approx(expected, abs=15)
    assert row["worth_of_life"] == row["net_present_value_gain"]


def test_limits_that_lie_outside_of_use_are_not_told():
    found = limits(use=used(low=20, high=80))
    assert found.filter(limited="soc_high")["upper"].max() < 80
    assert found.filter(limited="soc_low")["lower"].min() > 20
    assert found.filter(limited="c_rate")["upper"].max() < 0.4
    assert found.filter(limited="temperature_high")["upper"].max() < 30


def test_a_limit_to_the_c_rate_is_worth_nothing_known_without_prices():
    row = at(limits(), "c_rate", upper=0.2)
    assert row["margin_fraction"] is None
    assert row["net_present_value_gain"] is None
    assert row["worth_of_life"] > 0


def test_prices_tell_what_longer_hours_cost():
    # Full cycles at 0.4 C take 2.5 h each way, at 0.2 C 5 h; two hours of the day are dear and two are cheap.
    day = [0, 0, *[50] * 20, 100, 100]
    row = at(limits(prices=prices(*day)), "c_rate", upper=0.2)
    spread = {hours: (200 + 0 * hours) / hours for hours in (2, 3, 5)}
    usual = (spread[2] + spread[3]) / 2
    assert row["margin_fraction"] == pytest.approx(spread[5] / usual, rel=1e-6)
    assert row["net_present_value_gain"] < row["worth_of_life"]
    # Flat prices earn nothing at all, and so nothing changes what a MWh earns.
    assert at(limits(prices=prices(*[50] * 24)), "c_rate", upper=0.2)["margin_fraction"] is None


def test_a_slower_battery_may_work_half_of_each_day_at_most():
    row = at(limits(use=used(cycles=2.0)), "c_rate", upper=0.1)
    assert row["energy_fraction"] == pytest.approx(12 * 0.1 / 2)


def test_cooling_is_worth_what_life_it_gives_less_its_costs():
    free = at(limits(), "temperature_high", upper=20.0)
    assert free["net_present_value_gain"] is None
    paid = at(limits(cooling_cost_per_kelvin_kwh_year=0.1), "temperature_high", upper=20.0)
    assert paid["worth_of_life"] == free["worth_of_life"] > 0
    # Ten kelvin of 36 kWh at 0.1 each: 36 a year as long as it is at work.
    years = round(paid["life_years"] + 0.5)
    costs = net_present_value(0.08, [0, *[36] * min(years, 10)])
    assert paid["worth_of_life"] - paid["net_present_value_gain"] == pytest.approx(costs, rel=0.15)


def test_one_level_of_each_limit_is_recommended_and_it_is_the_best():
    found = limits(loss=4.0, cooling_cost_per_kelvin_kwh_year=0.01)
    marked = found.filter("is_recommended", percentile="p50")
    assert "temperature_high" in marked["limited"].to_list()
    for limited in marked["limited"].unique():
        best = marked.filter(limited=limited)
        others = found.filter(limited=limited, percentile="p50")["net_present_value_gain"]
        assert best.height == 1
        assert best["net_present_value_gain"].item() == others.max() > 0
    # All three percentiles of what is recommended are told.
    assert found.filter("is_recommended").height == 3 * marked.height


def test_where_nothing_gains_nothing_is_recommended():
    # It lasts as long as anybody looks, whatever is done with it.
    found = limits(loss=0.1, cooling_cost_per_kelvin_kwh_year=100.0)
    assert not found["is_recommended"].any()
    assert found.filter(limited="soc_window").is_empty()
    assert (found["net_present_value_gain"].drop_nulls() < 0).all()


def test_without_money_or_ageing_there_are_none():
    assert limits(degradation=Degradation.create_empty()).is_empty()
    bare = agreed().filter(pl.col("name") != "energy_margin_per_mwh")
    assert operating_limits(
        bare, forecast(1.0), daily(), used(), ageing(), MarketPrice.create_empty(), PLATES, made_cells.curves(PLATES)
    ).is_empty()
