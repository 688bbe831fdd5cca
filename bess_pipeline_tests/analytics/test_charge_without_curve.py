"""The state of charge of LFP cells of which no open-circuit curve is known but that of the chemistry."""

import numpy as np
import polars as pl
import pytest

from bess_pipeline.analytics import state_filter as f
from bess_pipeline.analytics.ageing_ocv import ageing_curves
from bess_pipeline.analytics.filter_states import BIAS, BIAS_POINTS, HEAT, ROW_COLUMNS, SIZE, SOC, VOLT
from bess_pipeline.sources.simulate import Plan
from bess_pipeline.tables.chemistry import CHEMISTRY
from bess_pipeline_tests.analytics import made_cells
from bess_pipeline_tests.benchmarks.charge_honesty import GROSS, charge_beside_truth

#: Full every day, with a battery that a tangent to the curve took 50 points away; and about half full for ever.
FLEETS = {"arbitrage": 208, "reserve": 202}


@pytest.fixture(scope="module", params=FLEETS)
def rows(request):
    plan = Plan(
        "strange", batteries=6, days=4, seed=FLEETS[request.param], interval_seconds=300, profile=request.param,
        faults=(),
    )  # fmt: skip
    return charge_beside_truth(plan, maker=False)


def test_no_battery_is_grossly_wrong_outside_its_interval(rows):
    assert rows.filter((pl.col("error").abs() > GROSS) & ~pl.col("inside")).is_empty()


def test_an_interval_of_90_percent_holds_90_percent(rows):
    assert rows["inside"].mean() > 0.9
    assert rows.group_by("battery_id").agg(pl.col("inside").mean())["inside"].min() > 0.5


def rested(volt, count):
    """Rows at rest, 5 minutes each, of a battery believed to be 86 ± 7 % full that has another make's curve."""
    plates = made_cells.batteries("b", chemistry="LFP")
    aged = ageing_curves(plates, made_cells.curves(plates))
    curves = np.stack([aged.volt[0], aged.doubt[0]])
    plate = np.array([0.05, 0.03, 0.01, 0.86, 0.07, 0.02])
    x, p = np.empty(SIZE), np.empty((SIZE, SIZE))
    f.begun(plate, curves, x, p)
    row = np.zeros(ROW_COLUMNS)
    row[VOLT], row[HEAT] = volt, 1.0
    slope, gain = np.zeros(SIZE), np.zeros(SIZE)
    for _ in range(count):
        f.corrected(x, p, row, plate, curves, slope, gain)
    return x, p


def test_a_voltage_above_the_plateau_is_that_of_a_full_battery_not_an_error_of_the_curve():
    """At 3.45 V LFP cells are full to a point or two, whoever made them; no plateau is 100 mV off."""
    x, p = rested(3.45, 24)
    assert x[SOC] == pytest.approx(0.99, abs=0.025)
    assert np.abs(x[BIAS:-2]).max() < 0.02
    assert abs(x[SOC] - 0.99) < 2 * np.sqrt(p[SOC, SOC])


def test_a_voltage_on_the_plateau_says_no_more_than_that_it_is_on_the_plateau():
    curve = np.array(CHEMISTRY["LFP"].ocv)
    _, p = rested(np.interp(86, curve[:, 0], curve[:, 1]) - 0.02, 288)
    assert np.sqrt(p[SOC, SOC]) > 0.03


def test_a_curve_of_another_make_errs_by_the_same_everywhere_or_along():
    """A maker's table errs here and there; another make's plateau lies higher as a whole, and its ends elsewhere."""
    plates = made_cells.batteries("b", chemistry="LFP")
    aged = ageing_curves(plates, made_cells.curves(plates))
    curves = np.stack([aged.volt[0], aged.doubt[0]])

    def known(sigma):
        x, p = np.empty(SIZE), np.empty((SIZE, SIZE))
        f.begun(np.array([0.05, 0.03, 0.01, 0.5, 0.1, sigma]), curves, x, p)
        return p[BIAS:, BIAS:]

    maker, strange = known(f.TABLE_SIGMA), known(0.02)
    middle = slice(3, BIAS_POINTS - 3)
    assert np.sqrt(np.diag(maker)) == pytest.approx(f.TABLE_SIGMA)
    assert maker[3, -4] < 0.05 * maker[3, 3]
    assert strange[3, -4] > 0.5 * strange[3, 3]
    assert strange[0, 0] > 4 * np.diag(strange)[middle].max()
