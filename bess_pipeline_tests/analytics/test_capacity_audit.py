from datetime import UTC, date, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from scipy.optimize import minimize_scalar

from bess_pipeline.analytics.capacity_audit import capacity_audit, total_least_squares
from bess_pipeline.tables.capacity import CapacityAudit, CapacityTest
from bess_pipeline.tables.health import CapacityObservation, ChargeAnchor, StateOfHealth
from bess_pipeline_tests.analytics.made_samples import nameplates

RATED = 100.0
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
PLATES = nameplates(["b"])


def sums(x, y, sigma_x, sigma_y):
    in_y, in_x = ([(x * x / s**2).sum(), (x * y / s**2).sum(), (y * y / s**2).sum()] for s in (sigma_y, sigma_x))
    return np.array([in_y + in_x])


def points(seed, ratio):
    """Pairs of a battery whose capacity is the slope, with errors of the two axes in a ratio."""
    random = np.random.default_rng(seed)
    count, slope = random.integers(3, 30), random.uniform(0.7, 1.05)
    change = random.uniform(0.3, 0.95, count) * random.choice([-1, 1], count)
    sigma_x = np.hypot(random.uniform(0.01, 0.05, count), random.uniform(0.01, 0.05, count))
    sigma_y = 0.03 / ratio * random.uniform(0.5, 1.5, count)
    x = change + sigma_x * random.standard_normal(count)
    return slope, x, slope * change + sigma_y * random.standard_normal(count), sigma_x, sigma_y


@pytest.mark.parametrize("ratio", [0.15, 1.0, 5.0])
def test_six_sums_do_nearly_as_well_as_the_exact_fit(ratio):
    """Known truth, seeds 1000 to 1099; the exact fit minimizes Σ (y − Qx)² / (σy² + Q²σx²) over all points."""
    ours, exact, held = [], [], 0
    for seed in range(1000, 1100):
        slope, x, y, sigma_x, sigma_y = points(seed, ratio)
        found = total_least_squares(sums(x, y, sigma_x, sigma_y))
        best = minimize_scalar(
            lambda q, x=x, y=y, u=sigma_x, v=sigma_y: ((y - q * x) ** 2 / (v**2 + (q * u) ** 2)).sum(),
            bounds=(0.1, 3), method="bounded",
        )  # fmt: skip
        ours.append(found.slope[0] - slope)
        exact.append(best.x - slope)
        held += abs(found.slope[0] - slope) <= 1.645 * np.sqrt(found.variance[0])
    assert np.sqrt(np.mean(np.square(ours))) <= 1.1 * np.sqrt(np.mean(np.square(exact)))
    assert held >= 76


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([0.2, 1.0, 4.0]))
def test_the_slope_is_a_root_of_the_derivative_and_the_best_of_them(seed, ratio):
    """The quartic of Plett (2011), solved by numpy, in units in which both errors are alike."""
    _, x, y, sigma_x, sigma_y = points(seed, ratio)
    whole = sums(x, y, sigma_x, sigma_y)
    k = np.sqrt(whole[0, 0] / whole[0, 3])
    c1, c2, c3, c4, c5, c6 = sums(x, k * y, sigma_x, k * sigma_y)[0]
    roots = np.roots([c5, 2 * c4 - c1 - c6, 3 * c2 - 3 * c5, c1 - 2 * c3 + c6, -c2])
    real = roots[(abs(roots.imag) < 1e-9) & (roots.real > 0)].real
    merit = (c4 * real**4 - 2 * c5 * real**3 + (c1 + c6) * real**2 - 2 * c2 * real + c3) / (real**2 + 1) ** 2
    assert total_least_squares(whole).slope[0] == pytest.approx(real[merit.argmin()] / k, rel=1e-6)


def test_nothing_gives_nothing():
    found = total_least_squares(np.zeros((1, 6)))
    assert np.isnan([found.slope, found.variance, found.merit]).all()


def anchors_and_pairs(capacity, *, count=30, every_days=2.0, seed=1):
    """Anchors at 10 and 90 % by turns, and a pair between each two, with errors as stated."""
    random = np.random.default_rng(seed)
    times = [BEGIN + timedelta(days=every_days * n) for n in range(count + 1)]
    socs = [10.0 + 80.0 * (n % 2) for n in range(count + 1)]
    anchors = pl.DataFrame(
        [
            {"fleet_id": "f", "battery_id": "b", "timestamp": at, "kind": "rest", "soc_percent": soc,
             "soc_sigma_percent": 1.0}
            for at, soc in zip(times, socs, strict=True)
        ],
        schema=ChargeAnchor.create_empty().schema,
    )  # fmt: skip
    off = random.standard_normal(count + 1)
    pairs = []
    for n in range(count):
        change = socs[n + 1] - socs[n]
        truly = change + off[n + 1] - off[n]
        relative = np.sqrt(2 * 0.01**2 / 0.8**2 + 0.002**2 + 0.004**2)
        value = capacity * truly / change * (1 + 0.002 * random.standard_normal())
        pairs.append({"fleet_id": "f", "battery_id": "b", "started_at": times[n], "ended_at": times[n + 1],
                      "capacity_ah": value, "capacity_sigma_ah": relative * value, "soc_change_percent": change,
                      "method": "rest to rest"})  # fmt: skip
    return anchors, pl.DataFrame(pairs, schema=CapacityObservation.create_empty().schema)


def health(capacity, days, *, sigma=0.01):
    rows = [
        {"fleet_id": "f", "battery_id": "b", "date": date(2026, 1, 1) + timedelta(days=n), "capacity_ah": capacity,
         "soh_percent": capacity, "soh_lower_percent": capacity * (1 - 1.645 * sigma),
         "soh_upper_percent": capacity * (1 + 1.645 * sigma), "observability": "wide", "observations": 7,
         "method": "anchors"}
        for n in range(days)
    ]  # fmt: skip
    return pl.DataFrame(rows, schema=StateOfHealth.create_empty().schema)


def measured(capacity, day, kind="full discharge"):
    ended = BEGIN + timedelta(days=day)
    row = {"fleet_id": "f", "battery_id": "b", "started_at": ended - timedelta(hours=5), "ended_at": ended,
           "kind": kind, "capacity_ah": capacity, "capacity_at_crossing_ah": capacity,
           "capacity_lower_ah": capacity * 0.99, "capacity_upper_ah": capacity * 1.01, "c_rate": 0.2,
           "current_variation_fraction": 0.01, "unobserved_us": 0}  # fmt: skip
    return pl.DataFrame([row], schema=CapacityTest.create_empty().schema)


NO_TESTS = CapacityTest.create_empty()


@pytest.mark.parametrize("seed", [11, 12, 13, 14])
def test_the_capacity_of_the_anchors_is_found_and_its_interval_holds_it(seed):
    """Known truth: 90 Ah."""
    anchors, pairs = anchors_and_pairs(90.0, seed=seed)
    last = capacity_audit(health(90.0, 61), pairs, anchors, NO_TESTS, PLATES).row(-1, named=True)
    assert last["anchors_capacity_ah"] == pytest.approx(90.0, rel=0.01)
    assert last["anchors_lower_ah"] < 90.0 < last["anchors_upper_ah"]
    assert last["anchors_observations"] == 30
    assert abs(last["estimate_to_anchors_errors"]) < 2


def test_methods_stand_side_by_side_and_disagreement_is_shown():
    anchors, pairs = anchors_and_pairs(90.0)
    tests = pl.concat([measured(84.0, 20.5), measured(70.0, 30.5, "full charge")])
    found = CapacityAudit.validate(capacity_audit(health(90.0, 61), pairs, anchors, tests, PLATES))
    before, after = found.filter(pl.col("date") == date(2026, 1, 21)), found.filter(pl.col("date") == date(2026, 2, 20))
    assert before["tests"].item() == 1
    assert (after["estimate_capacity_ah"].item(), after["test_capacity_ah"].item()) == (90.0, 84.0)
    assert after["estimate_to_test_errors"].item() > 3
    assert after["largest_disagreement_errors"].item() > 3
    assert found.filter(pl.col("date") < date(2026, 1, 21))["test_capacity_ah"].null_count() == 20


def test_a_gain_that_all_methods_share_is_no_disagreement():
    """Hand-computed: ±1.645 · √(0.01² + 0.004²) each; without the gain the difference of 2 has √2 · 0.01 · 100."""
    sigma = np.hypot(0.01, 0.004)
    whole = health(100.0, 1, sigma=sigma)
    half = 1.645 * sigma * 100
    tests = measured(100.0, 0.5).with_columns(
        capacity_lower_ah=pl.lit(100.0 - half), capacity_upper_ah=pl.lit(100.0 + half), sensor_offset_ah=pl.lit(2.0)
    )
    empty = ChargeAnchor.create_empty(), CapacityObservation.create_empty()
    found = capacity_audit(whole, empty[1], empty[0], tests, PLATES)
    assert found["test_capacity_ah"].item() == 98.0
    assert found["estimate_to_test_errors"].item() == pytest.approx(2 / (np.sqrt(2) * 0.01 * 100), rel=0.02)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 99), st.integers(1, 59))
def test_days_add_up_in_any_order_and_later_ones_change_nothing(seed, days):
    anchors, pairs = anchors_and_pairs(90.0)
    tests = pl.concat([measured(84.0, 20.5), measured(83.0, 45.5)])
    until = date(2026, 1, 1) + timedelta(days=days)
    whole = capacity_audit(health(90.0, 61), pairs, anchors, tests, PLATES)
    shuffled = [
        frame.sample(fraction=1, shuffle=True, seed=seed) for frame in (health(90.0, 61), pairs, anchors, tests)
    ]
    assert_frame_equal(capacity_audit(*shuffled, PLATES), whole, check_exact=True)
    ended = pl.col("ended_at").dt.date() < until
    part = capacity_audit(health(90.0, days), pairs.filter(ended), anchors, tests.filter(ended), PLATES)
    assert_frame_equal(part, whole.filter(pl.col("date") < until), check_exact=True)


def test_pairs_older_than_ninety_days_are_forgotten():
    anchors, pairs = anchors_and_pairs(90.0, count=4)
    found = capacity_audit(health(90.0, 120), pairs, anchors, NO_TESTS, PLATES)
    assert found["anchors_observations"].max() == 4
    assert found.row(-1, named=True)["anchors_capacity_ah"] is None
    assert found.row(-1, named=True)["estimate_to_anchors_errors"] is None


def test_without_anything_there_is_nothing():
    empty = (StateOfHealth.create_empty(), CapacityObservation.create_empty(), ChargeAnchor.create_empty(), NO_TESTS)
    assert CapacityAudit.validate(capacity_audit(*empty, PLATES)).is_empty()
