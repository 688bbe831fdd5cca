"""Resistance from 5-minute means."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bess_pipeline.analytics import resistance_means as means
from bess_pipeline.analytics.resistance_evidence import resistance_evidence
from bess_pipeline_tests.analytics import made_cells

OHM, HISTORY, NEAR = made_cells.OHM, 12, 5


def plates(chemistry="NMC", **columns):
    return made_cells.batteries("b", chemistry=chemistry).with_columns(sampling=pl.lit("mean"), **columns)


def traded(days, *, seed=0):
    """Rates of days that charge by night and discharge in the evening, each at a rate and an hour of its own."""
    random = np.random.default_rng(seed)
    rates = np.zeros(days * 288)
    for day in range(days):
        rate, night, evening = random.uniform(0.2, 0.4), random.integers(12, 48), random.integers(180, 220)
        long = round(0.4 / rate * 12)
        rates[288 * day + night : 288 * day + night + long] = 0.4 * 12 / long
        rates[288 * day + evening : 288 * day + evening + long] = -0.4 * 12 / long
    return rates


def slow_drop(rates, rows=3.0):
    """A drop that follows the current in a quarter of an hour, of so many rows, as means of the rows."""
    drop, means_of_rows = 0.0, []
    for rate in rates:
        means_of_rows.append(rate + (drop - rate) * (1 - np.exp(-1 / rows)) * rows)
        drop = rate + (drop - rate) * np.exp(-1 / rows)
    return np.array(means_of_rows)


def branch(rates):
    """The branch of the hysteresis, between -1 and 1, as means of the rows."""
    at, means_of_rows = 0.0, []
    for rate in rates:
        ahead = np.sign(rate) + (at - np.sign(rate)) * np.exp(-abs(rate) / 12 / 0.04)
        means_of_rows.append((at + ahead) / 2)
        at = ahead
    return np.array(means_of_rows)


def rows_of(rates, *, chemistry="NMC", slow=0.0, gap=0.0, noise=0.0):
    """Rows of a battery whose voltage also follows the current slowly [share of the ohm] and lags [V a cell]."""
    soc = made_cells.soc_of(rates, first_soc=40)[:-1]
    rows = made_cells.intervals(rates, first_soc=40, chemistry=chemistry, soc_bms_percent=pl.Series(soc))
    added = slow * OHM * made_cells.RATED_AH * slow_drop(rates) + made_cells.CELLS * gap * branch(rates)
    added += made_cells.CELLS * noise * np.random.default_rng(5).standard_normal(len(rates))
    return rows.with_columns(pl.col("voltage_volt") + pl.Series(added))


def ohms(rows, batteries):
    found = resistance_evidence(rows, batteries).filter(method="means")
    return np.exp(found["log_resistance"].to_numpy()), np.sqrt(found["variance"].to_numpy())


@pytest.mark.parametrize(
    ("chemistry", "slow", "gap"),
    [("NMC", 0.0, 0.0), ("NMC", 0.5, 0.0), ("LFP", 0.0, 0.0), ("LFP", 0.5, 0.009)],
    ids=["an ohm alone", "a slow drop", "a plateau", "a plateau with a slow drop and hysteresis"],
)
def test_the_ohm_is_found_whatever_else_moves_the_voltage(chemistry, slow, gap):
    """Known truth: 50 mΩ; a slow drop of half that, a gap of 9 mV and a curve with kinks are hardly in it."""
    found, _ = ohms(rows_of(traded(20), chemistry=chemistry, slow=slow, gap=gap), plates(chemistry))
    assert len(found) >= 18
    assert np.median(found) == pytest.approx(OHM, rel=0.025)
    assert found == pytest.approx(np.full(len(found), OHM), rel=0.06)


def test_steps_within_a_row_say_the_same_as_steps_between_rows():
    """Known truth: rows of 5 minutes of a battery that was sampled every minute, whose steps fall anywhere."""
    rates = np.repeat(traded(20), 5)
    for number, at in enumerate(np.flatnonzero(np.diff(rates)) + 1):
        rates[at : at + number % 5] = rates[at - 1]
    soc = 40 + np.cumsum(100 * rates / 60)
    volts = made_cells.CELLS * made_cells.ocv(soc) + OHM * made_cells.RATED_AH * (rates + 0.5 * slow_drop(rates, 15.0))
    averaged = [values.reshape(-1, 5).mean(axis=1) for values in (rates, volts)]
    rows = rows_of(averaged[0]).with_columns(voltage_volt=pl.Series(averaged[1]))
    found, _ = ohms(rows, plates())
    assert found == pytest.approx(np.full(len(found), np.median(found)), rel=0.05)


def test_noise_of_the_voltage_is_in_the_error():
    """Of 60 days with 1 mV of noise a cell, three in four lie within one and a half of what is said."""
    found, sigma = ohms(rows_of(traded(60), noise=0.001), plates())
    assert 0.02 < np.median(sigma) < 0.1
    assert (np.abs(np.log(found / OHM)) < 1.5 * sigma).mean() > 0.75


def test_cells_that_nobody_counted_are_told_by_the_rated_voltage():
    rows = rows_of(traded(10))
    counted, _ = ohms(rows, plates())
    told, _ = ohms(rows, plates(cells_in_series=pl.lit(None, pl.Int64)))
    assert told == pytest.approx(counted, rel=0.03)


def test_a_current_without_steps_tells_nothing():
    found, _ = ohms(rows_of(0.1 * np.sin(2 * np.pi * np.arange(288 * 5) / 288)), plates())
    assert len(found) == 0


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 1000), first=st.integers(1, 6))
def test_a_day_rests_on_its_rows_and_those_of_the_day_before(seed, first):
    rows = rows_of(traded(8, seed=seed), chemistry="LFP", slow=0.4, gap=0.009)
    rows = rows.sample(fraction=0.998, seed=seed)
    day = made_cells.START.date() + pl.duration(days=first)
    whole = resistance_evidence(rows, plates("LFP")).filter(pl.col("date") >= day)
    assert (
        resistance_evidence(rows.filter(pl.col("date") >= day - pl.duration(days=1)), plates("LFP"))
        .filter(pl.col("date") >= day)
        .equals(whole)
    )


def plain_drives(battery, day, row, rate, is_known):
    """What moves the voltage, row by row, from the definition."""
    n = len(rate)
    out = np.zeros((n, 5))

    def follows(k):
        return k > 0 and battery[k] == battery[k - 1] and row[k] == row[k - 1] + 1 and is_known[k] and is_known[k - 1]

    def has_history(k, rows=HISTORY):
        return k >= rows and all(follows(j) for j in range(k - rows + 1, k + 1))

    def branch_since(first, k):
        return branch(rate[first : k + 1])[-1] if first <= k else 0.0

    def is_split(k):
        """Whether a step falls into the row before row k."""
        turns = np.diff(rate[k - 3 : k + 1])
        step = turns[1] + turns[2]
        shares = turns[1:] / step if step else np.zeros(2)
        return abs(step) >= means.STEP_RATE and min(shares) >= 0.1 and abs(turns[0]) <= 0.2 * abs(step)

    for k in range(n):
        if not follows(k):
            continue
        out[k, 0] = rate[k] - rate[k - 1]
        own = [j for j in range(k) if battery[j] == battery[k] and day[j] >= day[k] - 1]
        out[k, 2] = branch_since(own[0], k) - branch_since(own[0], k - 1)
        if has_history(k):
            held = slow_drop(rate[k - HISTORY : k + 1] - rate[k - HISTORY])
            out[k, 1] = held[-1] - held[-2]
    single = out.copy()
    for k in range(n):
        out[k, 4] = float(has_history(k, HISTORY + 1) and is_split(k))
        out[k, :3] += out[k, 4] * single[k - 1, :3]
    for k in range(n):
        near = (abs(row - row[k]) <= NEAR) & (battery == battery[k]) & (day == day[k])
        steps = [
            j for j in np.flatnonzero(near) if has_history(j) and (abs(single[j, 0]) >= means.STEP_RATE or out[j, 4])
        ]
        holds_step = k + 1 < n and day[k + 1] == day[k] and out[k + 1, 4]
        out[k, 3] = float(has_history(k) and len(steps) > 0 and not holds_step)
    return out


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_the_kernel_follows_the_definition(seed):
    """Days of 30 rows, so that midnights come often; steps within rows; rows that are missing, unknown, another's."""
    random = np.random.default_rng(seed)
    row = np.flatnonzero(random.random(200) < 0.98)
    battery = (row >= random.integers(50, 200)).astype(np.int64)
    held = np.repeat(random.normal(0, 0.2, 34), 60)
    rate = np.convolve(held[random.integers(0, 10) :], np.ones(10) / 10, mode="valid")[::10][:200][row]
    rate *= random.random(len(row)) < 0.99
    known = random.random(len(row)) < 0.99
    given_rows = battery, row // 30, row, rate, known
    found, plain = means.drives(*given_rows), plain_drives(*given_rows)
    has_history = plain[:, 3] > 0
    np.testing.assert_array_equal(found[:, 3:], plain[:, 3:])
    np.testing.assert_allclose(found[:, [0, 2]], plain[:, [0, 2]], atol=1e-12)
    np.testing.assert_allclose(found[has_history, 1], plain[has_history, 1], atol=1e-12)
