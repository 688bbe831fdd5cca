"""The filter behind the resistance, against a plain computation of the same belief."""

import numpy as np
import pytest

from bess_pipeline.analytics import resistance_filter as following

ENERGY, ENERGY_SIGMA = 2.0, 0.5


def followed(day, measured, first=None, last=None):
    day = np.array(day, dtype=np.int64)
    first = np.arange(len(day)) if first is None else first
    last = first + 1 if last is None else last
    days = np.stack([day, first.astype(np.int64), last.astype(np.int64)], axis=1)
    (held,) = following.before(np.array([ENERGY]), np.array([ENERGY_SIGMA]))
    none = np.array([], dtype=np.int64)
    return following.followed(days, np.ascontiguousarray(measured), int(day[0]), held, 0, none)[0]


def measurements(log_ohm, *, sigma=0.02, cold=0.0, charge=0.0, unwarmed=0.0, steps=4.0):
    columns = (log_ohm, sigma**2, cold, charge, np.asarray(charge) ** 2, unwarmed, steps)
    return np.stack([np.broadcast_to(np.asarray(value, dtype=float), np.shape(log_ohm)) for value in columns], axis=1)


def joint(day, measured):
    """Level at the last day and its variance, from the joint normal distribution of all states and measurements."""
    n = len(day)
    mean = np.array([measured[0, 0] - ENERGY * measured[0, 2], 0, ENERGY, 0, 0])
    prior = np.diag([1.0, 3e-4**2, ENERGY_SIGMA**2, 0.15**2, 0.6**2])
    means, blocks = [mean], {(0, 0): prior}
    for k in range(1, n):
        days = day[k] - day[k - 1]
        kept = np.exp(-days / 180.0)
        step = np.eye(5)
        step[0, 1], step[1, 1] = 180.0 * (1 - kept), kept
        walk = np.diag([5e-4**2 * days, 1e-5**2 * days + 3e-4**2 * (1 - kept**2) / 4, *[5e-4**2 * days] * 3])
        means.append(step @ means[-1])
        for other in range(k):
            blocks[k, other] = step @ blocks[k - 1, other]
            blocks[other, k] = blocks[k, other].T
        blocks[k, k] = step @ blocks[k - 1, k - 1] @ step.T + walk
    sights = [np.array([1.0, 0.0, *row[2:5]]) for row in measured]
    seen = np.array([[sights[i] @ blocks[i, j] @ sights[j] for j in range(n)] for i in range(n)])
    seen += np.diag(measured[:, 1])
    across = np.array([blocks[n - 1, j][0] @ sights[j] for j in range(n)])
    off = measured[:, 0] - np.array([sight @ at for sight, at in zip(sights, means, strict=True)])
    weights = np.linalg.solve(seen, across)
    return means[-1][0] + weights @ off, blocks[n - 1, n - 1][0, 0] - weights @ across


def test_the_filter_says_what_the_joint_distribution_of_all_measurements_says():
    random = np.random.default_rng(1)
    day = 20_000 + np.cumsum(random.integers(1, 4, 40))
    cold, charge = random.uniform(-0.1, 0.2, 40), random.uniform(-0.4, 0.4, 40)
    measured = measurements(
        -3 + 2.3 * cold + 0.05 * charge + random.normal(0, 0.01, 40), sigma=0.02, cold=cold, charge=charge
    )
    level, variance = joint(day, measured)
    last = followed(day, measured)[-1]
    assert last[following.RESISTANCE] == pytest.approx(level, rel=1e-9)
    assert last[following.RESISTANCE_SIGMA] == pytest.approx(np.sqrt(variance), rel=1e-6)


def test_activation_energy_and_charge_dependence_are_found():
    random = np.random.default_rng(2)
    day = np.arange(20_000, 20_300)
    cold, charge = random.uniform(-0.1, 0.3, 300), random.uniform(-0.45, 0.45, 300)
    truth = -3 + 2.6 * cold - 0.2 * charge
    found = followed(day, measurements(truth + random.normal(0, 0.02, 300), cold=cold, charge=charge))[-1]
    assert found[following.ENERGY] == pytest.approx(2.6, abs=3 * found[following.ENERGY_SIGMA])
    assert found[following.ENERGY_SIGMA] < 0.1
    assert found[following.RESISTANCE] == pytest.approx(-3, abs=0.02)


def test_a_lasting_jump_is_followed_and_a_single_wild_day_is_not():
    day = np.arange(20_000, 20_100)
    jump, wild = np.full(100, -3.0), np.full(100, -3.0)
    jump[60:] += 0.3
    wild[80] += 1.0
    assert followed(day, measurements(jump))[-1, following.INCREASE] == pytest.approx(0.3, abs=0.02)
    assert np.abs(followed(day, measurements(wild))[81:, following.INCREASE]).max() < 0.02


def test_days_without_steps_make_the_level_less_certain_until_it_is_unknown():
    day = np.concatenate([np.arange(20_000, 20_060), np.arange(20_060, 20_200)])
    first = np.minimum(np.arange(200), 60)
    last = np.minimum(np.arange(200) + 1, 60)
    found = followed(day, measurements(np.full(60, -3.0)), first, last)
    sigma = found[:, following.RESISTANCE_SIGMA]
    known = np.isfinite(sigma)
    assert known[:149].all()
    assert not known[149:].any()
    assert (np.diff(sigma[60:149]) > 0).all()
