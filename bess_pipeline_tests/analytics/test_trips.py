"""Trips from a charge down and back, against hand-made courses and a search by plain loops."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from bess_pipeline.analytics.trips import LEAST_DEPTH_PERCENT, trips

START = datetime(2026, 1, 1, tzinfo=UTC)
FIVE_MINUTES = timedelta(minutes=5)


def rows_of(course, battery="b", **columns):
    """Rows whose charge goes from each value to the next: a point down gives 9 Wh, a point up takes 10, 3 Ah either."""
    soc, ahead = np.array(course[:-1], float), np.array(course[1:], float)
    step = ahead - soc
    frame = pl.DataFrame(
        {
            "timestamp": pl.datetime_range(
                START, START + (len(step) - 1) * FIVE_MINUTES, FIVE_MINUTES, time_unit="us", eager=True
            ),
            "soc": soc,
            "soc_next": ahead,
            "into": 10 * np.maximum(step, 0),
            "out": 9 * np.maximum(-step, 0),
            "charged": 3 * np.maximum(step, 0),
            "discharged": 3 * np.maximum(-step, 0),
        }
    ).with_columns(fleet_id=pl.lit("f"), battery_id=pl.lit(battery))
    return frame.with_columns(**columns).with_columns(pl.col(pl.Float64).fill_nan(None))


def steps(found):
    """First row, last row, depth, energies of each trip."""
    at = [(pl.col(name) - START).dt.total_minutes() // 5 for name in ("started_at", "ended_at")]
    return [tuple(row) for row in found.select(*at, "depth_percent", "into", "out").rows()]


@pytest.mark.parametrize(
    ("course", "expected"),
    [
        pytest.param([80, 50, 80], [(0, 1, 30, 300, 270)], id="down and up"),
        pytest.param([50, 80, 50, 80], [(1, 2, 30, 300, 270)], id="the way up before it belongs to no trip"),
        pytest.param([80, 50, 90], [(0, 1, 30, 300, 270)], id="the last row counts as far as the charge comes back"),
        pytest.param([90, 50, 80, 40], [(0, 1, 30, 300, 270)], id="turning below the summit begins the trip lower"),
        pytest.param([80, 71, 80], [], id="too shallow"),
        pytest.param([80, 71, 80, 60, 80], [(2, 3, 20, 200, 180)], id="a shallow dip makes room for the next"),
        pytest.param([80, 50, 79.5, 79.2, 80], [(0, 3, 30, 303, 272.7)], id="a ripple of less than a point is no turn"),
        pytest.param([80, 50, None, 50, 80], [], id="a row that does not count ends the search"),
        pytest.param([80, 50, 80, 50, 80], [(0, 1, 30, 300, 270), (2, 3, 30, 300, 270)], id="one after the other"),
        pytest.param([80, 50, 60, 50], [(0, 1, 10, 100, 90)], id="just deep enough"),
        pytest.param([], [], id="nothing"),
    ],
)
def test_trips_by_hand(course, expected):
    """Hand-computed."""
    assert steps(trips(rows_of(course))) == [pytest.approx(trip) for trip in expected]


@pytest.mark.parametrize(("rows", "expected"), [(800, 1), (900, 0)])
def test_after_three_days_the_search_begins_anew(rows, expected):
    """Three days are 864 rows: the way back up to 70 % comes before, or after."""
    assert trips(rows_of([90.0, *np.linspace(60, 40, rows), 70, 40])).height == expected


def test_without_charge_the_energies_are_still_told():
    found = trips(rows_of([80, 50, 80], charged=None, discharged=None).cast({"charged": float, "discharged": float}))
    assert steps(found) == [(0, 1, 30, 300, 270)]
    assert found["charged"].to_list() == [None]


def plainly(course):
    """First row, last row, depth of each trip, by looking from every summit at all that follows."""
    found, start, n = [], 0, len(course) - 1
    while start < n:
        summit, low, low_at = course[start], course[start], start
        end = None
        for k in range(start, n):
            since = course[low_at : k + 1]
            if since and max(since) - low >= 10 and course[k + 1] <= max(since) - 1:
                end, level = low_at + since.index(max(since)) - 1, max(since)
                break
            if course[k + 1] < low:
                low, low_at = course[k + 1], k + 1
            if course[k + 1] >= summit:
                end, level = k, summit
                break
        if end is None:
            return found
        if level - low >= 10:
            first = next(k for k in range(start, n) if course[k + 1] < level)
            found.append((first, end, level - low))
        start = end + 1
    return found


courses = st.lists(st.integers(0, 100).map(float), min_size=2, max_size=60)


@settings(max_examples=40, deadline=None)
@given(courses)
def test_a_trip_gives_back_what_it_takes(course):
    """In points of charge: down as much as up, at least 10, and no row belongs to two trips."""
    found = trips(rows_of(course))
    assert found["into"].to_list() == pytest.approx((found["out"] / 9 * 10).to_list())
    assert (found["depth_percent"] >= LEAST_DEPTH_PERCENT).all()
    assert (found["into"] / 10 >= found["depth_percent"] - 1e-9).all()
    assert (found["started_at"] <= found["ended_at"]).all()
    ends = found["ended_at"].shift(1).drop_nulls()
    assert (found["started_at"].slice(1) >= ends).all()


@settings(max_examples=40, deadline=None)
@given(courses)
def test_trips_are_those_of_a_plain_search(course):
    assert [trip[:3] for trip in steps(trips(rows_of(course)))] == plainly(course)


@settings(max_examples=20, deadline=None)
@given(courses, courses, st.integers(0, 99))
def test_batteries_do_not_mix_and_the_order_of_rows_does_not_matter(left, right, seed):
    both = pl.concat([rows_of(left, "a"), rows_of(right, "b")]).sample(fraction=1, shuffle=True, seed=seed)
    apart = pl.concat([trips(rows_of(left, "a")), trips(rows_of(right, "b"))])
    assert_frame_equal(trips(both), apart, check_exact=True)
