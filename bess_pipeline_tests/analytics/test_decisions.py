"""Choices in money, against cases worked out by hand."""

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from bess_pipeline.analytics.decisions import augmentation_plan, decisions, sensitivities
from bess_pipeline.analytics.finance import net_present_value
from bess_pipeline.analytics.wear import LEVELS
from bess_pipeline.sources.terms import Economics, Warranty, assumptions
from bess_pipeline.tables.degradation import CapacityForecast
from bess_pipeline.tables.energy import BatteryDaily
from bess_pipeline.tables.health import StateOfHealth
from bess_pipeline.tables.lifecycle import WearCurve
from bess_pipeline_tests.analytics import made_cells

TODAY = date(2026, 1, 1)
MONEY = {
    "replacement_cost_per_kwh": 100,
    "discount_rate_percent": 8,
    "energy_margin_per_mwh": 50,
    "contract_years": 10,
    "augmentation_fade_percent_per_year": 2,
}


def agreed(**said):
    return assumptions("f", Warranty(), None, Economics.model_validate(MONEY | said))


def forecast(loss_a_year, names=("b",), spread=0.5):
    """Straight lines from 100 % today: the median loses so much a year, p10 more and p90 less by half as much."""
    ahead = np.arange(1, 121)
    frames = []
    for name in names:
        days = [TODAY + timedelta(days=round(n * 365.25 / 12)) for n in ahead]
        lost = {p: loss_a_year * factor for p, factor in (("p10", 1 + spread), ("p50", 1.0), ("p90", 1 - spread))}
        at = np.array([(day - TODAY).days for day in days]) / 365.25
        frame = pl.DataFrame({"date": days} | {f"soh_{p}_percent": 100 - rate * at for p, rate in lost.items()})
        frames.append(made_cells.whole(frame, CapacityForecast, fleet_id="f", battery_id=name, as_of=TODAY))
    return pl.concat(frames)


def daily(names=("b",), wh_a_day=36_000.0):
    days = [TODAY - timedelta(days=n) for n in range(365)]
    frame = pl.DataFrame({"date": days}).with_columns(discharging_energy_wh=pl.lit(wh_a_day))
    return pl.concat([made_cells.whole(frame, BatteryDaily, fleet_id="f", battery_id=name) for name in names])


def curves(names=("b",)):
    """Loss that is proportional to depth and to temperature; used at 50 % and 25 °C."""
    rows = [
        {"battery_id": name, "factor": factor, "level": level, "as_of": TODAY, "usual": usual,
         "calendar_loss_percent_per_year": level / usual if factor == "temperature" else 0.0,
         "cycle_loss_percent_per_year": 0.0 if factor == "temperature" else level / usual}
        for name in names
        for factor, usual in (("depth", 50.0), ("temperature", 25.0), ("c_rate", 0.25), ("state of charge", 50.0))
        for level in LEVELS[factor]
    ]  # fmt: skip
    return made_cells.whole(pl.DataFrame(rows), WearCurve, fleet_id="f")


def health(usable=98.0, names=("b",)):
    frame = pl.DataFrame({"date": [TODAY]}).with_columns(soh_percent=pl.lit(100.0), soh_usable_percent=pl.lit(usable))
    return pl.concat([made_cells.whole(frame, StateOfHealth, fleet_id="f", battery_id=name) for name in names])


def told(loss, option, percentile="p50", **said):
    found = decisions(agreed(**said), forecast(loss), daily(), curves(), health(), made_cells.batteries("b"))
    return found.filter(option=option, percentile=percentile).row(0, named=True)


def test_running_on_earns_the_margin_as_long_as_capacity_lasts_by_hand():
    # 36 kWh a day are 13.14 MWh a year, at 50 each; 1 point a year leaves 90 % after ten.
    row = told(1.0, "run on")
    level = 1 - 0.01 * np.arange(11)
    money = np.append(0, 50 * 13.14 * (level[:-1] + level[1:]) / 2)
    assert row["net_present_value"] == pytest.approx(net_present_value(0.08, money), rel=1e-3)
    assert row["life_years"] == 10
    assert row["internal_rate_of_return_percent"] is None


def test_a_battery_at_its_end_of_life_earns_nothing_afterwards():
    # 5 points a year reach 80 % after four; the batteries of the tests end there.
    row = told(5.0, "run on")
    level = np.array([1, 0.95, 0.9, 0.85, 0.8] + [0] * 6)
    money = np.append(0, 50 * 13.14 * (level[:-1] + level[1:]) / 2)
    assert row["net_present_value"] == pytest.approx(net_present_value(0.08, money), rel=5e-3)
    assert row["life_years"] == pytest.approx(4.0, abs=0.02)


def test_replacing_at_the_end_of_life_pays_where_the_margin_does():
    # 36 kWh at 100 each, for five to six years of 13 MWh a year.
    rich = {option: told(5.0, option, energy_margin_per_mwh=150) for option in ("run on", "replace at end of life")}
    replaced = rich["replace at end of life"]
    assert replaced["net_present_value"] > rich["run on"]["net_present_value"]
    assert replaced["internal_rate_of_return_percent"] > 8
    assert 5 < replaced["payback_years"] < 10
    dear = told(5.0, "replace at end of life", energy_margin_per_mwh=150, replacement_cost_per_kwh=1000)
    assert dear["internal_rate_of_return_percent"] is None or dear["internal_rate_of_return_percent"] < 0
    assert dear["payback_years"] is None
    assert dear["place"] > replaced["place"]


def test_what_is_left_of_a_battery_makes_its_replacement_cheaper():
    worth = [told(5.0, "replace now", residual_value_percent=share)["net_present_value"] for share in (0, 30)]
    assert worth[1] - worth[0] == pytest.approx(0.3 * 36 * 100)


def test_operation_costs_as_long_as_the_battery_works():
    free, dear = (told(5.0, "run on", operating_cost_per_kwh_year=cost)["net_present_value"] for cost in (0, 10))
    assert free - dear == pytest.approx(net_present_value(0.08, [0, *[360] * 5]), rel=0.25)
    assert told(5.0, "run on", operating_cost_per_kwh_year=10)["levelized_cost_per_mwh"] > 0


def test_shallower_cycles_give_less_energy_and_a_longer_life():
    usual, shallow = told(5.0, "run on"), told(5.0, "shallower cycles")
    assert shallow["life_years"] > usual["life_years"]
    # Loss by cycling is in proportion to depth, and cycles to 80 %: 64 % of the loss are left.
    assert shallow["life_years"] == pytest.approx(4 / 0.64, rel=0.02)


def test_cooling_is_told_without_a_place_for_its_cost_is_not_known():
    row = told(5.0, "5 K cooler")
    assert row["place"] is None
    assert row["life_years"] == pytest.approx(4 / 0.8, rel=0.02)
    assert row["net_present_value"] > told(5.0, "run on")["net_present_value"]


@pytest.mark.parametrize(
    ("option", "left"), [("20 points emptier", 0.6), ("half the C-rate", 0.5), ("5 K cooler", 0.8)]
)
def test_gentler_use_lasts_longer_by_what_the_curves_tell(option, left):
    assert told(5.0, option)["life_years"] == pytest.approx(min(4 / left, 10), rel=0.02)
    assert told(5.0, option)["place"] is None


def test_rebalancing_gives_what_the_weakest_cells_lock_away():
    usual, balanced = told(1.0, "run on"), told(1.0, "rebalance")
    assert balanced["net_present_value"] == pytest.approx(usual["net_present_value"] * 100 / 98, rel=1e-9)
    assert balanced["life_years"] == usual["life_years"]


def test_a_module_costs_its_price_and_gives_what_its_cells_lock_away():
    usual, replaced = told(1.0, "run on"), told(1.0, "replace weakest module", module_cost_percent=5)
    gained = usual["net_present_value"] * (100 / 98 - 1)
    # 36 kWh at 100 each: a twentieth of it.
    assert replaced["net_present_value"] - usual["net_present_value"] == pytest.approx(gained - 180, rel=1e-6)
    assert replaced["place"] is not None
    found = decisions(agreed(), forecast(1.0), daily(), curves(), health(), made_cells.batteries("b"))
    assert "replace weakest module" not in found["option"].to_list()


def test_full_charges_are_worth_what_they_make_sure_less_their_wear():
    doubt = health().with_columns(soh_lower_percent=pl.lit(94.0))
    # A full cycle costs 0.01 % a MWh at all depths: four of 36 kWh a year, of 1 % a year.
    dear = curves().with_columns(cycle_loss_percent_per_mwh=pl.lit(0.01))
    args = (agreed(), forecast(1.0, spread=0.0), daily(), dear)
    found = decisions(*args, doubt, made_cells.batteries("b")).filter(percentile="p50")
    worth = dict(found.select("option", "net_present_value").iter_rows())
    # From 94 sure to 99 sure; the wear takes a little of it.
    assert 1.05 < worth["full charge"] / worth["run on"] < 99 / 94
    assert found.filter(option="full charge")["place"].to_list() == [None]
    sure = health().with_columns(soh_lower_percent=pl.lit(99.5))
    assert "full charge" not in decisions(*args, sure, made_cells.batteries("b"))["option"].to_list()


def test_the_worse_future_is_worth_less_and_places_are_told_for_each():
    found = decisions(agreed(), forecast(4.0), daily(), curves(), health(), made_cells.batteries("b"))
    worth = {row["percentile"]: row["net_present_value"] for row in found.filter(option="run on").to_dicts()}
    assert worth["p10"] < worth["p50"] < worth["p90"]
    for percentile in ("p10", "p50", "p90"):
        assert sorted(found.filter(percentile=percentile)["place"].drop_nulls()) == [1, 2, 3, 4]


def test_what_would_change_the_best_choice_is_told():
    found = sensitivities(agreed(), forecast(5.0), daily(), curves(), health(), made_cells.batteries("b"))
    assert found.height == 10
    best = decisions(agreed(), forecast(5.0), daily(), curves(), health(), made_cells.batteries("b"))
    best = best.filter(percentile="p50", place=1)["option"].item()
    assert (found.filter(~pl.col("is_another"))["best_option"] == best).all()
    assert (found.filter("is_another")["best_option"] != best).all()


def test_without_prices_there_are_no_choices():
    money = assumptions("f", Warranty(), None, Economics.model_validate({"discount_rate_percent": 8}))
    assert decisions(money, forecast(1.0), daily(), curves(), health(), made_cells.batteries("b")).is_empty()
    assert sensitivities(money, forecast(1.0), daily(), curves(), health(), made_cells.batteries("b")).is_empty()
    assert augmentation_plan(money, forecast(1.0), made_cells.batteries("b")).is_empty()


def test_augmentation_of_a_fleet_is_that_of_its_energy_by_hand():
    """Two batteries of 36 kWh that lose 5 points a year: 72, 68.4, 64.8 kWh; of 70 kWh 95 % have to be there."""
    names = ("b", "c")
    said = agreed(
        contracted_energy_mwh=0.07, contract_floor_percent=95, augmentation_cost_per_kwh=200,
        augmentation_fade_percent_per_year=10, contract_years=3,
    )  # fmt: skip
    plan = augmentation_plan(said, forecast(5.0, names), made_cells.batteries(*names)).filter(percentile="p50")
    np.testing.assert_allclose(plan["energy_before_mwh"], [0.072, 0.0684, 0.0648, 0.0612 + 0.9 * 0.0052], rtol=5e-3)
    np.testing.assert_allclose(plan["added_mwh"], [0, 0, 0.0052, 0.07 - 0.0612 - 0.9 * 0.0052], atol=3e-4)
    np.testing.assert_allclose(plan["cost"], plan["added_mwh"] * 200_000)
    np.testing.assert_allclose(plan["present_cost"], plan["cost"] / 1.08 ** plan["year"].to_numpy())


def test_the_worse_future_needs_more_modules():
    said = agreed(contracted_energy_mwh=0.036, contract_floor_percent=90, augmentation_cost_per_kwh=200)
    plan = augmentation_plan(said, forecast(3.0), made_cells.batteries("b"))
    added = dict(plan.group_by("percentile").agg(pl.col("added_mwh").sum()).iter_rows())
    assert added["p10"] > added["p50"] > added["p90"]


def test_a_capacity_that_falls_below_nothing_counts_as_nothing():
    said = agreed(contracted_energy_mwh=0.036, contract_floor_percent=100)
    plan = augmentation_plan(said, forecast(60.0), made_cells.batteries("b"))
    assert (plan["energy_before_mwh"] >= 0).all()
    assert (plan["energy_after_mwh"] >= 0.036 - 1e-9).all()
    rows = decisions(said, forecast(60.0), daily(), curves(), health(), made_cells.batteries("b"))
    assert rows["net_present_value"].is_finite().all()
