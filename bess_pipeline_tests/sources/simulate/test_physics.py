"""What a simulated battery does is what batteries do."""

from datetime import date

import numpy as np
import polars as pl
import pytest

from bess_pipeline.sources.simulate import FAULTS, Plan, physics, simulate
from bess_pipeline.sources.simulate.cells import MAKES
from bess_pipeline.sources.simulate.truth import truth_tables

START = date(2025, 3, 1)


def plan(**changes):
    return Plan(**({"fleet_id": "t", "batteries": 2, "days": 6, "seed": 2, "start": START, "faults": ()} | changes))


@pytest.fixture(scope="module")
def healthy():
    return simulate(plan(batteries=3, days=10))


def steps(simulated, column, battery=0):
    return simulated.life.steps[battery, :, column]


@pytest.mark.parametrize(("chemistry", "low", "high"), [("LFP", 2.5, 3.6), ("NMC", 2.5, 4.2)])
def test_the_open_circuit_voltage_rises_from_empty_to_full(chemistry, low, high):
    volt = MAKES[chemistry].ocv(np.linspace(0, 1, 400))
    assert (np.diff(volt) > 0).all()
    assert low < volt[0] < volt[-1] < high


@pytest.mark.parametrize("chemistry", ["LFP", "NMC"])
def test_lost_lithium_shifts_the_curve(chemistry):
    soc = np.linspace(0.1, 0.9, 50)
    shift = MAKES[chemistry].ocv(soc, 0.15) - MAKES[chemistry].ocv(soc)
    assert 0.003 < np.abs(shift).max() < 0.12


def test_charge_is_conserved(healthy):
    """State of charge follows the current, less what the cells' leaks and their efficiency take."""
    hours = healthy.plan.interval_seconds / 3600
    for battery in range(healthy.plan.batteries):
        moved = steps(healthy, physics.MEAN_CURRENT, battery).sum() * hours
        soc = steps(healthy, physics.MEAN_SOC, battery)
        capacity = healthy.life.days[battery, :, physics.Q_MEAN].mean() * healthy.cells.capacity_ah
        held = (soc[-1] - healthy.battery[battery, physics.SOC]) * capacity
        through = np.abs(steps(healthy, physics.MEAN_CURRENT, battery)).sum() * hours
        assert held == pytest.approx(moved, abs=0.002 * through + 0.01 * capacity)


def test_the_truth_of_a_day_is_the_sum_of_its_steps(healthy):
    daily = truth_tables(healthy)["daily"]
    hours = healthy.plan.interval_seconds / 3600
    for battery in range(healthy.plan.batteries):
        current = steps(healthy, physics.MEAN_CURRENT, battery)
        own = daily.filter(rack_id=healthy.plan.battery_id(battery))
        assert own["ah_chg"].sum() - own["ah_dis"].sum() == pytest.approx(current.sum() * hours)
        assert own["wh_chg"].sum() > own["wh_dis"].sum() > 0


def test_limits_hold_a_healthy_battery(healthy):
    assert healthy.life.steps[:, :, physics.HIGHEST].max() < healthy.cells.high_volt + 0.06
    assert healthy.life.steps[:, :, physics.LOWEST].min() > healthy.cells.low_volt - 0.06
    soc = healthy.life.steps[:, :, physics.MEAN_SOC]
    assert 0.0 < soc.min() < 0.2
    assert 0.95 < soc.max() < 1.03


def test_charging_lies_above_discharging_at_the_same_charge():
    """Hysteresis and polarization of LFP, in the middle of the plateau."""
    fleet = simulate(plan(profile="arbitrage", days=8))
    current, soc = steps(fleet, physics.CURRENT), steps(fleet, physics.MEAN_SOC)
    volt = steps(fleet, physics.VOLT) / fleet.cells.in_series
    middle = (soc > 0.45) & (soc < 0.55)
    assert volt[middle & (current > 50)].mean() - volt[middle & (current < -50)].mean() > 0.03


@pytest.mark.parametrize("chemistry", ["LFP", "NMC"])
def test_a_battery_in_reserve_stays_near_the_middle_for_months(chemistry):
    """So that use which never shows the ends of the charge can be judged after long."""
    lived = simulate(plan(profile="reserve", chemistry=chemistry, days=120, interval_seconds=300, data_faults=False))
    soc = lived.life.steps[:, 288:, physics.MEAN_SOC]
    assert 0.2 < soc.min() < 0.45
    assert 0.55 < soc.max() < 0.8
    assert (soc.max(axis=1) - soc.min(axis=1) > 0.15).all()


@pytest.mark.parametrize("lfp", [1, 0])
def test_warmth_depth_and_a_high_charge_wear(lfp):
    volt = 3.7
    calendar = [physics.calendar_stress(lfp, 0.5, volt, kelvin) for kelvin in (283.0, 298.0, 313.0)]
    assert calendar == sorted(calendar)
    assert physics.calendar_stress(lfp, 0.95, 4.1, 298.0) > physics.calendar_stress(lfp, 0.2, 3.5, 298.0)
    assert physics.cycle_stress(lfp, 0.5, 0.9, volt) > physics.cycle_stress(lfp, 0.5, 0.2, volt)


def test_calendar_loss_of_lfp_is_that_of_the_paper():
    """Hand-computed from Naumann et al. 2018: 25 °C, half charged, one year: 1.2571e-5 · 0.60225 · √(365 · 86400)."""
    sums = np.zeros(2)
    for _ in range(365):
        physics.aged(1, sums, physics.calendar_stress(1, 0.5, 3.3, 298.15), 0.0, 1.0, 0.0)
    assert physics.losses(1, sums)[0] == pytest.approx(1.2571e-5 * 0.60225 * np.sqrt(365 * 86400))


def test_the_compiled_kernel_lives_as_the_plain_one(monkeypatch):
    """The reference is the kernel's own text, run by Python without compiling."""
    short = plan(batteries=1, days=1, interval_seconds=900, faults=("conn_res",))
    compiled = simulate(short)
    for name in ("interpolated", "calendar_stress", "cycle_stress", "aged", "losses", "ramp", "lived"):
        monkeypatch.setattr(physics, name, getattr(physics, name).py_func)
    plain = simulate(short)
    assert np.allclose(compiled.life.steps, plain.life.steps, rtol=1e-9, atol=1e-9)
    assert np.allclose(compiled.life.days, plain.life.days, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("kind", FAULTS)
def test_a_planted_fault_shows_after_its_onset_and_only_on_its_battery(kind):
    fleet = simulate(plan(days=40, faults=(kind,), seed=4, interval_seconds=300))
    without = simulate(plan(days=40, faults=(), seed=4, interval_seconds=300))
    (fault,) = fleet.faults
    assert fault.kind == kind
    own = pl.col("battery_id") == fleet.plan.battery_id(fault.battery)
    quiet = pl.col("timestamp") < fault.onset.replace(hour=0, minute=0)
    true = fleet.life.steps, without.life.steps
    onset = int(fault.row[physics.ONSET])
    others = [number for number in range(fleet.plan.batteries) if number != fault.battery]
    assert np.array_equal(true[0][others], true[1][others])
    # A fault that begins within a day changes the cells' capacity from that day's start on.
    begins = onset - onset % fleet.plan.steps_per_day
    assert np.array_equal(true[0][fault.battery, :begins], true[1][fault.battery, :begins])
    assert not fleet.samples.filter(own & ~quiet).equals(without.samples.filter(own & ~quiet))
    assert fleet.samples.filter(own & quiet).equals(without.samples.filter(own & quiet))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batteries": 0}, "positive"),
        ({"interval_seconds": 7}, "divide an hour"),
        ({"chemistry": "NCA"}, "chemistry"),
        ({"profile": "idle"}, "profile"),
        ({"faults": ("gremlins",)}, "gremlins"),
        ({"faults": ("isc",) * 3}, "as many batteries"),
    ],
)
def test_a_plan_that_cannot_be_carried_out_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        plan(**changes)


@pytest.mark.parametrize("kind", ["knee", "weak_cell", "isc", "capacity_drop"])
def test_a_fault_that_is_left_alone_for_years_ends_in_a_spent_battery_and_not_in_nonsense(kind):
    plan = Plan(
        "spent", batteries=2, days=1461, seed=1721, interval_seconds=3600, faults=(kind, kind), data_faults=False
    )
    life = simulate(plan).life
    assert np.isfinite(life.steps).all()
    assert np.isfinite(life.days).all()
    assert life.days[:, :, physics.Q_MEAN].min() > 0.1
    assert life.days[:, :, physics.WEAKEST].min() > 0
    charge = life.steps[:, :, physics.MEAN_SOC]
    assert charge.min() > -0.2
    assert charge.max() < 1.2
