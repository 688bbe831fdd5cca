"""Money over years: against numpy-financial, published cases, and what has to hold of any numbers."""

import numpy as np
import numpy_financial
import polars as pl
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from bess_pipeline.analytics.finance import (
    augmentation,
    internal_rate_of_return,
    levelized_cost,
    net_present_value,
    payback_years,
)

MONEY = st.floats(-1e6, 1e6, allow_nan=False).map(lambda value: round(value, 2))
RATES = st.floats(-0.5, 1.0)


@given(rate=RATES, flows=st.lists(MONEY, min_size=1, max_size=30))
def test_present_value_is_that_of_numpy_financial(rate, flows):
    assert net_present_value(rate, flows) == pytest.approx(numpy_financial.npv(rate, flows), rel=1e-9, abs=1e-6)


@given(invested=st.floats(1, 1e6), earned=st.lists(st.floats(0.01, 1e6), min_size=1, max_size=25))
def test_rate_of_return_is_that_of_numpy_financial_and_makes_the_value_nothing(invested, earned):
    flows = [-invested, *earned]
    rate = internal_rate_of_return(flows)
    assume(rate is not None and -0.9 < rate < 100)  # beyond that a cent moves it by more than numbers are told apart
    assert net_present_value(rate, flows) == pytest.approx(0, abs=1e-7 * invested)
    theirs = numpy_financial.irr(flows)
    if np.isfinite(theirs):
        assert rate == pytest.approx(theirs, rel=1e-9, abs=1e-9)


def test_rates_of_return_by_hand():
    assert internal_rate_of_return([-100, 110]) == pytest.approx(0.1, abs=1e-12)
    assert internal_rate_of_return([-100, 0, 121]) == pytest.approx(0.1, abs=1e-12)
    assert internal_rate_of_return([-100, 39, 59, 55, 20]) == pytest.approx(0.28094842115996116, abs=1e-12)


@pytest.mark.parametrize("flows", [[100, 10], [-100, -10], [0, 0], [-100, 230, -132]])
def test_where_no_rate_or_no_single_one_makes_the_value_nothing_none_is_told(flows):
    assert internal_rate_of_return(flows) is None


@given(rate=RATES, flows=st.lists(MONEY, min_size=2, max_size=20), other=st.lists(MONEY, min_size=2, max_size=20))
def test_values_add_up(rate, flows, other):
    size = min(len(flows), len(other))
    both = np.add(flows[:size], other[:size])
    apart = net_present_value(rate, flows[:size]) + net_present_value(rate, other[:size])
    assert net_present_value(rate, both) == pytest.approx(apart, rel=1e-9, abs=1e-3)


def test_a_rate_of_total_loss_is_refused():
    with pytest.raises(ValueError, match="above -1"):
        net_present_value(-1.0, [1, 2])


@pytest.mark.parametrize(
    ("flows", "years"),
    [([-100, 50, 50, 10], 2.0), ([-100, 10], None), ([10, 10], 0.0), ([-100, 200, -150, 60], 2.0 + 5 / 6)],
)
def test_payback_is_when_the_sum_is_made_up_for_good(flows, years):
    assert payback_years(flows) == (None if years is None else pytest.approx(years))


def test_levelized_cost_by_hand_and_of_nothing():
    # 1000 now, 50 a year; 100 MWh in each of two years, at 10 %.
    expected = (1000 + 50 / 1.1 + 50 / 1.21) / (100 / 1.1 + 100 / 1.21)
    assert levelized_cost(0.1, [1000, 50, 50], [0, 100, 100]) == pytest.approx(expected, rel=1e-12)
    assert levelized_cost(0.1, [1000], [0]) is None


@pytest.mark.parametrize(
    ("contracted", "fade", "floor", "years", "added", "when"),
    [(100.0, 0.03, 0.90, 12, 11.47, [4, 8, 12]), (80.0, 0.025, 0.85, 15, 12.99, [7, 14])],
    ids=["100 MWh, 3 % a year, floor 90 %", "80 MWh, 2.5 % a year, floor 85 %"],
)
def test_augmentation_of_the_worked_cases(contracted, fade, floor, years, added, when):
    """The cases of design/metrics.md: every cohort loses the same share a year."""
    remaining = (1 - fade) ** np.arange(years + 1)
    plan = augmentation(contracted, floor, remaining, remaining).filter(pl.col("added") > 0)
    assert plan["year"].to_list() == when
    np.testing.assert_allclose(plan["added"], added, atol=0.005)
    np.testing.assert_allclose(plan["energy_after"], contracted)


def test_new_modules_age_from_their_own_beginning_and_the_old_ones_go_on():
    remaining = np.array([1.0, 0.8, 0.7, 0.65])
    new = np.array([1.0, 0.9, 0.85, 0.8])
    plan = augmentation(10.0, 0.9, remaining, new)
    # Year 1: 8, so 2 are added. Year 2: 7 + 1.8, so 1.2. Year 3: 6.5 + 1.7 + 1.08 is above 9.
    np.testing.assert_allclose(plan["added"], [0, 2, 1.2, 0])
    np.testing.assert_allclose(plan["energy_before"], [10, 8, 8.8, 9.28])


def test_what_is_more_than_contracted_today_is_used_up_first():
    plan = augmentation(10.0, 1.0, [1.0, 0.9, 0.8], [1.0, 1.0, 1.0], installed=12.0)
    np.testing.assert_allclose(plan["added"], [0, 0, 0.4])


@given(
    floor=st.floats(0.5, 1.0), old=st.lists(st.floats(0.8, 1.0), min_size=1, max_size=25),
    new=st.floats(0.8, 1.0), contracted=st.floats(1, 1000),
)  # fmt: skip
def test_the_energy_never_ends_a_year_below_the_floor(floor, old, new, contracted):
    remaining = np.cumprod([1.0, *old])
    plan = augmentation(contracted, floor, remaining, new ** np.arange(len(remaining)))
    assert (plan["energy_after"] >= floor * contracted * (1 - 1e-6)).all()
    assert (plan.filter(pl.col("added") > 0)["energy_before"] < floor * contracted).all()


def test_what_cannot_be_is_refused():
    with pytest.raises(ValueError, match="share"):
        augmentation(1.0, 1.2, [1.0], [1.0])
    with pytest.raises(ValueError, match="followed"):
        augmentation(1.0, 0.9, [1.0, 0.9], [1.0])
