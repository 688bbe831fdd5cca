"""Schedules: against every schedule there is on small cases, and what has to hold of any."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bess_pipeline.analytics.dispatch import (
    DispatchError,
    Storage,
    optimal_schedule,
    top_bottom_spread,
    with_layers,
)

PRICES = st.lists(st.integers(-50, 200), min_size=2, max_size=6)


def best_of_all(prices, storage):
    """The profit of the best schedule in whole MWh without losses, by trying what each layer may do in each hour."""
    layers = len(storage.wear)
    size = round(storage.energy_mwh / layers)
    first = tuple(int(np.clip(storage.begins_mwh - size * k, 0, size)) for k in range(layers))
    moves = [
        move
        for move in itertools.product(range(-size, size + 1), repeat=layers)
        if sum(max(one, 0) for one in move) / storage.charge_mw
        + sum(max(-one, 0) for one in move) / storage.discharge_mw
        <= 1
    ]
    best = {first: 0.0}
    for price in prices:
        following = {}
        for held, money in best.items():
            for move in moves:
                after = tuple(one + step for one, step in zip(held, move, strict=True))
                if min(after) < 0 or max(after) > size:
                    continue
                wear = sum(cost * max(-step, 0) for cost, step in zip(storage.wear, move, strict=True))
                earned = money - price * sum(move) - wear - storage.holding * sum(after)
                following[after] = max(following.get(after, -np.inf), earned)
        best = following
    ends = storage.begins_mwh if storage.ends_mwh is None else storage.ends_mwh
    return max(money for held, money in best.items() if sum(held) >= ends - 1e-9)


@settings(max_examples=150, deadline=None)
@given(
    prices=PRICES, size=st.integers(1, 2), power=st.integers(1, 3), layers=st.integers(1, 2), begins=st.integers(0, 2),
    wear=st.lists(st.integers(0, 60), min_size=2, max_size=2), holding=st.sampled_from([0.0, 0.5, 3.0]),
)  # fmt: skip
def test_the_program_finds_what_trying_everything_finds(prices, size, power, layers, begins, wear, holding):
    """Without losses the program is a flow in a network, whose best answer is in whole numbers."""
    storage = Storage(
        energy_mwh=size * layers, charge_mw=power, discharge_mw=power, begins_mwh=min(begins, size * layers),
        wear=tuple(sorted(wear[:layers])), holding=holding,
    )  # fmt: skip
    found = optimal_schedule(np.array(prices, dtype=float), storage)
    assert found.profit == pytest.approx(best_of_all(prices, storage), abs=1e-6)


def losses(storage, schedule, prices):
    """What a schedule does that it may not."""
    hours = schedule.hours
    held = np.append(storage.begins_mwh, schedule.stored_mwh)
    gained = (storage.efficiency_in * schedule.charge_mw - schedule.discharge_mw / storage.efficiency_out) * hours
    np.testing.assert_allclose(np.diff(held), gained, atol=1e-6)
    assert (held > -1e-7).all()
    assert (held < storage.energy_mwh + 1e-7).all()
    shared = schedule.charge_mw / storage.charge_mw + schedule.discharge_mw / storage.discharge_mw
    assert (shared < 1 + 1e-7).all()
    assert schedule.revenue == pytest.approx(prices @ ((schedule.discharge_mw - schedule.charge_mw) * hours), abs=1e-6)


STORES = st.builds(
    Storage,
    energy_mwh=st.floats(0.5, 5), charge_mw=st.floats(0.3, 3), discharge_mw=st.floats(0.3, 3),
    efficiency_in=st.floats(0.8, 1), efficiency_out=st.floats(0.8, 1),
    wear=st.lists(st.floats(0, 80), min_size=1, max_size=4).map(lambda costs: tuple(sorted(costs))),
    holding=st.floats(0, 0.5),
)  # fmt: skip


@settings(max_examples=80, deadline=None)
@given(
    storage=STORES, prices=st.lists(st.floats(-50, 300), min_size=2, max_size=40), hours=st.sampled_from([0.25, 1.0])
)
def test_a_schedule_keeps_to_the_battery_and_never_loses_money(storage, prices, hours):
    money = np.array(prices)
    found = optimal_schedule(money, storage, hours)
    losses(storage, found, money)
    assert found.profit >= -1e-6


@settings(max_examples=60, deadline=None)
@given(storage=STORES, prices=st.lists(st.floats(0, 300), min_size=4, max_size=48), dearer=st.floats(1.01, 5))
def test_a_higher_cost_of_replacement_never_raises_throughput(storage, prices, dearer):
    """Of best answers x and x' to costs w and w', (w' − w)·(x' − x) ≤ 0: layers count by what they cost."""
    money = np.array(prices)
    one = replace(storage, holding=0.0)
    other = replace(one, wear=tuple(dearer * cost for cost in one.wear))
    cheap, dear = optimal_schedule(money, one), optimal_schedule(money, other)
    assert dear.wear_cost / dearer <= cheap.wear_cost + 1e-6
    if len(one.wear) == 1 and one.wear[0] > 0:
        assert dear.discharged_mwh <= cheap.discharged_mwh + 1e-6


def test_the_value_of_stored_energy_is_what_one_more_brings():
    prices = np.array([30.0, 20.0, 90.0, 40.0, 110.0, 25.0])
    storage = Storage(2.0, 1.0, 1.0, 0.9, 0.9, begins_mwh=0.5, ends_mwh=0.0, wear=(5.0, 15.0))
    found = optimal_schedule(prices, storage)
    step = 1e-4
    more = optimal_schedule(prices, replace(storage, begins_mwh=0.5 + step))
    assert (more.profit - found.profit) / step == pytest.approx(found.value[0], rel=1e-6)


def test_energy_is_worth_between_its_cheapest_and_its_dearest_hour():
    prices = np.array([10.0, 100.0, 10.0, 100.0])
    storage = Storage(1.0, 1.0, 1.0, 0.9, 0.9, wear=(0.0,))
    value = optimal_schedule(prices, storage).value
    assert (value >= 10 / 0.9 - 1e-6).all()
    assert (value <= 100 * 0.9 + 1e-6).all()


def test_wear_that_costs_more_than_the_spread_leaves_the_battery_at_rest():
    prices = np.array([20.0, 60.0] * 12)
    busy = optimal_schedule(prices, Storage(1.0, 1.0, 1.0, wear=(39.0,)))
    idle = optimal_schedule(prices, Storage(1.0, 1.0, 1.0, wear=(41.0,)))
    assert busy.discharged_mwh == pytest.approx(12.0)
    assert idle.discharged_mwh == pytest.approx(0.0)


def test_deep_layers_are_used_only_for_prices_that_pay_for_them():
    prices = np.array([20.0, 45.0, 20.0, 90.0])
    found = optimal_schedule(prices, Storage(2.0, 2.0, 2.0, wear=(10.0, 40.0)))
    np.testing.assert_allclose(found.discharge_mw, [0, 1, 0, 2], atol=1e-9)


def test_an_end_that_cannot_be_reached_and_prices_that_are_missing_are_refused():
    with pytest.raises(DispatchError, match="no schedule"):
        optimal_schedule(np.array([1.0]), Storage(5.0, 1.0, 1.0, ends_mwh=4.0))
    for prices in ([1.0, np.nan], []):
        with pytest.raises(DispatchError, match="every interval"):
            optimal_schedule(np.array(prices), Storage(1.0, 1.0, 1.0))
    with pytest.raises(DispatchError, match="length"):
        optimal_schedule(np.array([1.0, 2.0]), Storage(1.0, 1.0, 1.0), np.array([1.0, 0.0]))


@pytest.mark.parametrize(
    "said",
    [
        {"energy_mwh": 0},
        {"charge_mw": -1},
        {"efficiency_in": 1.2},
        {"begins_mwh": 3},
        {"wear": (2.0, 1.0)},
        {"wear": ()},
    ],
)
def test_a_battery_that_cannot_be_is_refused(said):
    with pytest.raises(ValueError, match=r"."):
        Storage(**{"energy_mwh": 1.0, "charge_mw": 1.0, "discharge_mw": 1.0} | said)


@given(costs=st.lists(st.floats(0, 100), min_size=1, max_size=8))
def test_layers_are_the_largest_convex_function_below_what_was_given(costs):
    depth = np.cumsum(costs)
    layers = with_layers(depth)
    assert list(layers) == sorted(layers)
    below = np.cumsum(layers) / len(layers)
    assert (below <= depth + 1e-6).all()
    assert below[-1] == pytest.approx(depth[-1], abs=1e-6)


def test_convex_costs_are_kept_as_they_are():
    np.testing.assert_allclose(with_layers([1.0, 4.0, 9.0]), [3.0, 9.0, 15.0])


def test_spread_of_the_dearest_over_the_cheapest_hours():
    prices = np.array([10, 20, 60, 40, 0, 0, 5, 1], dtype=float)
    np.testing.assert_allclose(top_bottom_spread(prices, 1, per_day=4), [50, 5])
    np.testing.assert_allclose(top_bottom_spread(prices, 1.5, per_day=4), [60, 5.5])
