"""Control charts: the kernels say what plain Python says."""

from __future__ import annotations

import statistics
from itertools import pairwise
from math import isnan, nan, pi, sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bess_pipeline.analytics.chart_sums import cumulative_sums
from bess_pipeline.analytics.control_charts import CHART, others_median, robust_scores, unrest


class PlainChart:
    """The chart of one series, one day at a time, in plain Python."""

    def __init__(self):
        self.past = []  # [day, level, value, usable]
        self.renew(None)

    def renew(self, day):
        self.up = self.down = 0.0
        self.up_since = self.down_since = self.open_since = None
        self.scored = day

    def deviation(self, values):
        centre = statistics.median(values)
        sigma = 1.4826 * statistics.median(abs(value - centre) for value in values)
        jump = 1.4826 * statistics.median(abs(b - a) for a, b in pairwise(values))
        phi = max(1 - jump**2 / (2 * sigma**2), 0.0) if sigma > 0 else 0.0
        phi = min(phi + (1 + 3 * phi) / len(values), 0.95)
        memory = (1 + phi) / (1 - phi)
        ordered = sorted(values)
        tenth = (len(values) - 1) // 10
        sigma = max(sigma, (ordered[-1 - tenth] - ordered[tenth]) / 2.5631)
        return centre, sigma * sqrt(memory * (1 + pi / 2 * memory / len(values)))

    def start(self, day):
        if self.scored is None:
            self.renew(day)
        elif day - self.scored > 21 or (self.open_since is not None and day - self.open_since >= 90):
            self.renew(day)
            for row in self.past:
                row[3] = True

    def take(self, day, z):
        step = min(max(z, -4.0), 4.0)
        self.scored = day
        self.up = min(max(0.0, self.up + step - 1), 20.0)
        self.down = min(max(0.0, self.down - step - 1), 20.0)
        self.up_since = None if self.up == 0 else self.up_since if self.up_since is not None else day
        self.down_since = None if self.down == 0 else self.down_since if self.down_since is not None else day
        if max(self.up, self.down) < 10:
            self.open_since = None
        elif self.open_since is None:
            self.open_since = day

    def score(self, day, level, value, floor):
        self.start(day)
        was_open = self.open_since is not None
        if was_open:
            known = level == self.level
        else:
            window = [v for d, lv, v, usable in self.past if usable and lv == level and 7 < day - d <= 90]
            known = len(window) >= 14
            if known:
                self.centre, self.sigma = self.deviation(window)
                self.level = level
        self.past.append([day, level, value, True])
        if not known:
            return nan
        z = (value - self.centre) / max(self.sigma, floor)
        self.take(day, z)
        if self.open_since is not None:
            self.past[-1][3] = False
            if not was_open:
                since = self.up_since if self.up >= self.down else self.down_since
                for row in self.past:
                    row[3] = row[3] and row[0] < since
        return z


@st.composite
def series(draw):
    """Up to three batteries with gaps, noise, a shift, and two levels."""
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    rows = []
    for number in range(draw(st.integers(1, 3))):
        steps = np.where(random.random(260) < 0.02, random.integers(5, 40, 260), random.integers(1, 3, 260))
        values = random.normal(size=260).round(2)
        begin, end = sorted(random.integers(0, 260, 2))
        values[begin:end] += draw(st.sampled_from([0.0, 2.0, -6.0, 30.0]))
        levels = (random.random(260) < draw(st.sampled_from([0.0, 0.3]))).astype(int)
        rows += zip([number] * 260, steps.cumsum(), levels, values, strict=True)
    columns = list(zip(*rows, strict=True))
    return [np.array(column, dtype=np.int64) for column in columns[:3]] + [np.array(columns[3])]


@given(series())
@settings(max_examples=25, deadline=None)
def test_scores_and_sums_are_those_of_plain_python(rows):
    numbers, days, levels, values = rows
    found = robust_scores(numbers, days, levels, values, np.full(len(values), 0.1))
    sums = cumulative_sums(numbers, days, found)
    charts, again = {}, {}
    for i, number in enumerate(numbers):
        z = charts.setdefault(number, PlainChart()).score(int(days[i]), levels[i], values[i], 0.1)
        assert found[i] == pytest.approx(z, rel=1e-9, nan_ok=True)
        other = again.setdefault(number, PlainChart())
        other.start(int(days[i]))
        if not isnan(z):
            other.take(int(days[i]), z)
        expected = [other.up, other.down, *(nan if x is None else x for x in (other.up_since, other.down_since))]
        assert sums[i] == pytest.approx(expected, rel=1e-9, nan_ok=True)


@given(st.lists(st.lists(st.floats(-10, 10), min_size=1, max_size=7), min_size=1, max_size=4))
@settings(max_examples=40, deadline=None)
def test_the_median_of_the_others_leaves_each_one_out(groups):
    numbers = np.repeat(np.arange(len(groups)), [len(group) for group in groups]).astype(np.int64)
    values = np.concatenate([sorted(group) for group in groups])
    expected = [
        statistics.median(group[:i] + group[i + 1 :]) if len(group) > 1 else nan
        for group in map(sorted, groups)
        for i in range(len(group))
    ]
    assert others_median(numbers, values) == pytest.approx(expected, nan_ok=True)


def test_no_single_day_raises_an_alarm_however_wild():
    same = np.zeros(5, dtype=np.int64)
    sums = cumulative_sums(same, np.arange(5), np.array([0.0, 1e9, 0.0, -1e9, 0.0]))
    assert sums[:, :2].max() < CHART.threshold


@pytest.mark.parametrize("phi", [0.0, 0.5, 0.8])
def test_healthy_noise_with_memory_rarely_raises_an_alarm(phi):
    """Known truth: AR(1) noise without any fault, 100 series of 2 years; the bound is twice what was simulated once."""
    random = np.random.default_rng(11)
    length, count = 730, 100
    noise = random.standard_normal((count, length))
    for day in range(1, length):
        noise[:, day] = phi * noise[:, day - 1] + sqrt(1 - phi**2) * noise[:, day]
    numbers = np.repeat(np.arange(count), length)
    days = np.tile(np.arange(length), count)
    flat = np.zeros(len(days), dtype=np.int64)
    sums = cumulative_sums(numbers, days, robust_scores(numbers, days, flat, noise.ravel(), np.full(len(days), 1e-9)))
    alarm = (sums[:, :2].max(axis=1) >= CHART.threshold).reshape(count, length)
    starts = (alarm[:, 1:] & ~alarm[:, :-1]).sum()
    assert starts / (count * length / 365.25) < 0.15


def test_a_lasting_shift_stays_an_alarm_for_90_days_and_is_then_the_battery_s_own():
    random = np.random.default_rng(5)
    days = np.arange(300)
    values = random.normal(size=300) + 8.0 * (days >= 100)
    same = np.zeros(300, dtype=np.int64)
    sums = cumulative_sums(same, days, robust_scores(same, days, same, values, np.full(300, 0.1)))
    alarm = days[sums[:, 0] >= CHART.threshold]
    assert 103 <= alarm.min() <= 110
    assert 88 <= alarm.max() - alarm.min() <= 90


@given(st.lists(st.lists(st.floats(-10, 10), min_size=2, max_size=7), min_size=1, max_size=4))
@settings(max_examples=40, deadline=None)
def test_unrest_is_how_far_the_others_are_from_their_own_past(groups):
    groups = [sorted(group, key=abs) for group in groups]
    numbers = np.repeat(np.arange(len(groups)), [len(group) for group in groups]).astype(np.int64)
    expected = [
        max(1.0, 1.4826 * float(np.median(np.abs([*group[:i], *group[i + 1 :]]))))
        for group in groups
        for i in range(len(group))
    ]
    assert unrest(numbers, np.concatenate(groups)) == pytest.approx(expected)


def test_unrest_widens_the_scores_of_its_day():
    days = np.arange(60)
    same = np.zeros(60, dtype=np.int64)
    values = np.where(days >= 50, 5.0, days % 2.0)
    calm, restless = (
        robust_scores(same, days, same, values, np.full(60, 0.1), unrest=np.where(days >= 50, by, 1.0))
        for by in (1.0, 3.0)
    )
    assert restless[50:53] == pytest.approx(calm[50:53] / 3.0)
    assert restless[:50] == pytest.approx(calm[:50], nan_ok=True)
