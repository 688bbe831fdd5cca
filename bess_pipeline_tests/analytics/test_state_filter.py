"""The filter's kernel against plain matrices, and its derivatives against differences."""

import numpy as np
import pytest

from bess_pipeline.analytics import filter_states as at
from bess_pipeline.analytics import filter_voltage as voltage
from bess_pipeline.analytics import state_filter as f
from bess_pipeline.analytics.ageing_ocv import ageing_curves
from bess_pipeline_tests.analytics import made_cells

#: Standard error of a curve that is the battery's own, and of its chemistry's.
OWN, STRANGE = voltage.TABLE_SIGMA, 0.02


def curves_of(chemistry):
    plates = made_cells.batteries("b", chemistry=chemistry)
    aged = ageing_curves(plates, made_cells.curves(plates))
    return np.stack([aged.volt[0], aged.doubt[0]])


def a_life(seed, count=120, chemistry="NMC"):
    """Rows of a battery with rests, work, silences, and voltages that are now and then unknown."""
    random = np.random.default_rng(seed)
    rows = np.zeros((count, at.ROW_COLUMNS))
    rate = np.resize(np.repeat([0.0, 0.4, 0.0, -0.4], 8), count) * random.uniform(0.5, 1.0)
    silent = random.random(count) < 0.05
    soc = 0.5 + np.concatenate([[0], np.cumsum(rate / 12 + np.where(silent, 0.01, 0))[:-1]])
    rows[:, at.ACTIVE] = np.where(rate != 0, 1 / 12, 0)
    rows[:, at.NET], rows[:, at.GROSS], rows[:, at.RATE] = rate / 12, np.abs(rate) / 12, rate
    rows[:, at.HEAT] = random.uniform(0.9, 1.1, count)
    rows[:, at.SLOW_RATE], rows[:, at.BRANCH] = 0.8 * rate, np.sign(rate)
    curves = curves_of(chemistry)
    volt = [voltage.open_circuit(curves, 0.0, level, 0.02) for level in soc] + 0.074 * rate
    rows[:, at.VOLT] = volt + 0.004 * random.standard_normal(count)
    rows[random.random(count) < 0.1, at.VOLT] = np.nan
    rows[silent, at.SILENT], rows[silent, at.LEAP], rows[silent, at.LEAP_SIGMA] = 0.1, 0.01, 0.02
    hours = np.cumsum(np.where(silent, 0.2, 1 / 12))
    return rows, hours, np.array([0.05, 0.03, 0.004, 0.5, 0.1, 0.0035]), curves


def plain(rows, hours, plate, curves):
    """Filter with whole matrices, and the smoother of Rauch, Tung and Striebel over all rows."""
    x, p = np.empty(at.SIZE), np.empty((at.SIZE, at.SIZE))
    f.begun(plate, curves, x, p)
    kept = []
    misfit = 0.0
    for k in range(len(rows)):
        size = 0.0
        before = (x.copy(), p.copy())
        if not np.isnan(rows[k, at.VOLT]):
            prior, new = x.copy(), x.copy()
            for turn in range(3):
                slope = np.zeros(at.SIZE)
                volt, lacking, square = voltage.linearized(new, p, rows[k], plate, curves, slope)
                size = square if turn == 0 else size
                surprise = rows[k, at.VOLT] - volt - slope @ (prior - new)
                spread = max(slope @ p @ slope + lacking, surprise**2 / voltage.MOST_SURPRISE**2)
                last, new = new, prior + p @ slope * surprise / spread
                if abs(new[0] - last[0]) < 0.002:
                    break
            gain = p @ slope / spread
            joseph = np.eye(at.SIZE) - np.outer(gain, slope)
            misfit += (float(size > f.MISFIT_SIZE) - misfit) / f.MISFIT_ROWS
            noise = spread - slope @ p @ slope
            x, p = new, joseph @ p @ joseph.T + np.outer(gain, gain) * noise
        after = (x.copy(), p.copy())
        forward = np.eye(at.SIZE)
        if k + 1 < len(rows):
            on_offset, on_capacity = f.advanced(x, p, rows[k], hours[k + 1] - hours[k], misfit)
            p[0, 0] += rows[k, at.GROSS] ** 2 if size > f.UNBELIEVED else 0.0
            forward[0, at.OFFSET], forward[0, at.CAPACITY] = on_offset, on_capacity
            forward[at.CAPACITY, at.FADE] = -(hours[k + 1] - hours[k]) / 8766
            forward[at.FADE, at.FADE] = np.exp(-(hours[k + 1] - hours[k]) / 24 / f.FADE_DAYS)
        kept.append((before, after, forward, (x.copy(), p.copy())))
    soc, variance = np.empty(len(rows)), np.empty(len(rows))
    mean, cover = kept[-1][1]
    for k in range(len(rows) - 1, -1, -1):
        before, after, forward, ahead = kept[k]
        if k < len(rows) - 1:
            back = after[1] @ forward.T @ np.linalg.inv(ahead[1])
            mean, cover = after[0] + back @ (mean - ahead[0]), after[1] + back @ (cover - ahead[1]) @ back.T
        # The state at the start of the row, whose voltage says the same of it after the correction as before.
        soc[k], variance[k] = mean[0], cover[0, 0]
    return soc, variance, np.array([np.concatenate([a[0][: at.BIAS], np.diag(a[1])[: at.BIAS]]) for _, a, _, _ in kept])


def estimated(rows, hours, block, plate, curves):
    """The smoothed charge and what was known at the time, from the first row on."""
    smooth, passed = np.empty((len(rows), 2)), np.empty((len(rows), 2 * at.BIAS))
    f.estimated(
        rows, hours, block, plate, curves, f.fresh(plate, curves, hours[0]), np.zeros(0, np.int64), smooth, passed
    )
    return smooth, passed


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("chemistry", ["NMC", "LFP"])
@pytest.mark.parametrize("sigma", [OWN, STRANGE])
def test_filter_and_smoother_do_what_whole_matrices_do(seed, chemistry, sigma):
    rows, hours, plate, curves = a_life(seed, chemistry=chemistry)
    plate[at.CURVE_SIGMA] = sigma
    smooth, passed = estimated(rows, hours, np.zeros(len(rows), np.int64), plate, curves)
    soc, variance, states = plain(rows, hours, plate, curves)
    assert passed == pytest.approx(states, rel=1e-6, abs=1e-10)
    assert smooth[:, 0] == pytest.approx(soc, abs=1e-7)
    assert smooth[:, 1] == pytest.approx(variance, rel=1e-4, abs=1e-10)


def assert_slopes_are_those_of_differences(x, p, row, plate, curves, states):
    slope, scratch = np.zeros(at.SIZE), np.zeros(at.SIZE)
    voltage.linearized(x, p, row, plate, curves, slope)
    for i in states:
        step = np.zeros(at.SIZE)
        step[i] = 0.005 if i in {at.SOC, at.CAPACITY, at.NEW} else 1e-4
        up = voltage.linearized(x + step, p, row, plate, curves, scratch)[0]
        down = voltage.linearized(x - step, p, row, plate, curves, scratch)[0]
        assert slope[i] == pytest.approx((up - down) / (2 * step[i]), rel=0.2, abs=0.06), i


def some_state(random, bias):
    x = np.zeros(at.SIZE)
    x[at.SOC], x[at.OFFSET], x[at.CAPACITY] = random.uniform(0.1, 0.9), 1e-3, random.uniform(-0.2, 0)
    x[at.OHM : at.BIAS] = 0.1 * random.standard_normal(at.BIAS - at.OHM)
    x[at.BIAS :] = bias * random.standard_normal(at.BIAS_POINTS)
    return x


@pytest.mark.parametrize("chemistry", ["NMC", "LFP"])
def test_slopes_are_those_of_differences(chemistry):
    random = np.random.default_rng(1)
    curves = curves_of(chemistry)
    plate = np.array([0.05, 0.03, 0.01, 0.5, 0.1, OWN])
    for _ in range(50):
        x, p = some_state(random, 0.004), np.zeros((at.SIZE, at.SIZE))
        p[at.SOC, at.SOC] = 0.01**2
        row = np.array([1 / 12, 0.03, 0.03, 0.36, 3.3, 1.1, 0, 0, 0, 0.2, 0.7])
        assert_slopes_are_those_of_differences(x, p, row, plate, curves, range(at.SIZE))


@pytest.mark.parametrize("chemistry", ["NMC", "LFP"])
def test_slopes_through_what_is_likely_are_those_of_differences_but_by_the_charge(chemistry):
    """The line is through all of the charge that is possible, and not at the one that is believed."""
    random = np.random.default_rng(1)
    curves = curves_of(chemistry)
    plate = np.array([0.05, 0.03, 0.01, 0.5, 0.1, STRANGE])
    for _ in range(50):
        x, p = some_state(random, 0.001), np.zeros((at.SIZE, at.SIZE))
        row = np.array([1 / 12, 0.03, 0.03, 0.36, 0.0, 1.1, 0, 0, 0, 0.2, 0.7])
        row[at.VOLT] = voltage.linearized(x, p, row, plate, curves, np.zeros(at.SIZE))[0]
        p[at.SOC, at.SOC] = 0.02**2
        row[at.VOLT] = voltage.linearized(x, p, row, plate, curves, np.zeros(at.SIZE))[0]
        assert_slopes_are_those_of_differences(x, p, row, plate, curves, set(range(at.SIZE)) - {at.SOC, at.OFFSET})


def test_rows_of_a_block_are_not_changed_by_rows_after_the_next_block():
    rows, hours, plate, curves = a_life(5, count=300)
    block = np.arange(300) // 60
    smooth, passed = estimated(rows, hours, block, plate, curves)
    part, other = estimated(rows[:180], hours[:180], block[:180], plate, curves)
    assert (part[:120] == smooth[:120]).all()
    assert (other == passed[:180]).all()
    assert (part[120:] != smooth[120:180]).any()


def test_a_count_that_has_lost_its_current_begins_anew_at_the_end():
    """A current that stands still while the battery has long been full."""
    rows, hours, plate, curves = a_life(2, count=200)
    rows[:, at.NET], rows[:, at.GROSS], rows[:, at.RATE], rows[:, at.VOLT] = 0.05, 0.05, 0.6, np.nan
    _, passed = estimated(rows, hours, np.zeros(200, np.int64), plate, curves)
    assert passed[:, at.SOC].max() <= f.ABOVE_FULL
    assert passed[-1, at.BIAS + at.SOC] > 0.1**2


def test_a_current_that_the_voltage_does_not_follow_is_not_believed():
    """A lone spike of the current sensor: nobody knows how much charge there was."""
    rows, hours, plate, curves = a_life(4, count=200)
    plain_rows = rows.copy()
    rows[150, [at.NET, at.GROSS, at.RATE]] = 0.4, 0.4, 4.8
    rows[150, at.VOLT] = plain_rows[149:152, at.VOLT].mean()
    spiked, without = (estimated(r, hours, np.zeros(200, np.int64), plate, curves)[1] for r in (rows, plain_rows))
    assert spiked[151, at.BIAS + at.SOC] > 4 * without[151, at.BIAS + at.SOC]
    assert spiked[-1, at.CAPACITY] == pytest.approx(without[-1, at.CAPACITY], abs=0.01)


def cycled(days, lost):
    """Five-minute rows of a cell between a tenth and nine tenths, three cycles a day; its capacity at each row."""
    random = np.random.default_rng(8)
    curves, plate = curves_of("NMC"), np.array([0.05, 0.03, 0.0, 0.1, 0.1, 0.0035])
    hours = np.arange(288 * days) / 12
    q = 1.02 * (1 - lost * np.sqrt(hours / hours[-1]))
    rate = np.resize(np.repeat([0.2, -0.2], 48), len(hours))
    rows = np.zeros((len(hours), at.ROW_COLUMNS))
    rows[:, at.ACTIVE], rows[:, at.NET], rows[:, at.GROSS] = 1 / 12, rate / 12, abs(rate) / 12
    rows[:, at.RATE], rows[:, at.HEAT] = rate, 1.0
    soc = 0.1 + np.concatenate([[0.0], np.cumsum(rate / 12 / q)[:-1]])
    middle = soc + rate / 24 / q
    volt = np.array([voltage.open_circuit(curves, 0.9, *each) for each in zip(middle, 1 - q / 1.02, strict=True)])
    rows[:, at.VOLT] = volt + 0.05 * rate + 0.002 * random.standard_normal(len(hours))
    return rows, hours, plate, curves, q


def test_the_capacity_of_a_battery_unlike_the_model_is_not_believed():
    """Voltages that are a tenth of a volt off, to this side and to that, hour by hour over ten days."""
    rows, hours, plate, curves, _ = cycled(10, lost=0.0)
    odd = rows.copy()
    odd[:, at.VOLT] += np.resize(np.repeat([0.1, -0.1], 12), len(rows))
    block = np.zeros(len(rows), np.int64)
    like, unlike = (estimated(r, hours, block, plate, curves)[1][-1, at.BIAS + at.CAPACITY] ** 0.5 for r in (rows, odd))
    assert like < 0.01
    assert unlike > 3 * like


def test_a_fade_that_slows_is_followed():
    """A capacity that falls by 4 % in two months, and ever more slowly: four times as fast as is believed at first."""
    rows, hours, plate, curves, q = cycled(60, lost=0.04)
    _, passed = estimated(rows, hours, np.zeros(len(rows), np.int64), plate, curves)
    late = slice(len(rows) // 3, None)
    assert np.exp(passed[late, at.CAPACITY]) == pytest.approx(q[late], abs=0.007)
