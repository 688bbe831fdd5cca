"""Time in bands: hand-made rows, and sums that must be those of the rows."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from bess_pipeline.analytics.bands import EDGES, time_in_bands
from bess_pipeline.tables.bands import TimeInBand
from bess_pipeline_tests.analytics import made_cells

PLATES = made_cells.batteries("b")


def bands(rates, *, first_soc=50.0, **columns):
    rows = made_cells.intervals(np.array(rates, float), first_soc=first_soc).with_columns(**columns)
    soc = made_cells.soc_of(np.array(rates, float), first_soc=first_soc)[:-1]
    return time_in_bands(made_cells.telemetry(rows, soc), rows, PLATES), rows


def hours(found, quantity):
    own = found.filter(quantity=quantity).select("band", "observed_hours")
    return {band: pytest.approx(hour) for band, hour in own.rows()}


def test_bands_by_hand():
    """Hand-computed: 55 minutes at 0.6 C from 34.9 to 89.9 %, then five of idling; the first five minutes at 25 °C."""
    rates = [0.6] * 11 + [0.0]
    found, _ = bands(rates, first_soc=34.9, temperature_celsius=pl.Series([25.0] + [30.0] * 11))
    assert hours(found, "c_rate") == {"0.5 to 1": 11 / 12, "-0.01 to 0.01": 1 / 12}
    assert hours(found, "temperature") == {"25 to 30": 1 / 12, "30 to 35": 11 / 12}
    by_tens = {"30 to 40": 1, "40 to 50": 2, "50 to 60": 2, "60 to 70": 2, "70 to 80": 2, "80 to 90": 3}
    assert hours(found, "soc") == {band: pytest.approx(rows / 12) for band, rows in by_tens.items()}


@pytest.mark.parametrize(
    ("celsius", "band"),
    [(-0.1, "below 0"), (0.0, "0 to 10"), (44.9, "40 to 45"), (45.0, "45 to 60"), (61.0, "60 and above")],
)
def test_a_band_holds_its_lower_end(celsius, band):
    found, _ = bands([0.0], temperature_celsius=pl.lit(celsius))
    assert hours(found, "temperature") == {band: 1 / 12}


def test_what_is_unknown_is_in_no_band():
    found, _ = bands([0.1, 0.1], temperature_celsius=pl.lit(None, pl.Float64), current_ampere=pl.Series([None, 10.0]))
    assert hours(found, "temperature") == {}
    assert hours(found, "c_rate") == {"0.1 to 0.25": 1 / 12}


@settings(max_examples=20, deadline=None)
@given(st.lists(st.floats(-1.5, 1.5), min_size=1, max_size=400), st.integers(0, 99))
def test_the_time_in_all_bands_is_the_time_that_was_seen(rates, seed):
    random = np.random.default_rng(seed)
    seen = pl.Series(random.integers(1, 300_000_000, len(rates)))
    columns = {"temperature_observed_us": seen, "current_observed_us": seen, "power_observed_us": seen}
    found, rows = bands(rates, temperature_celsius=pl.Series(random.normal(20, 20, len(rates))), **columns)
    TimeInBand.validate(found)
    summed = found.group_by("date", "quantity").agg(pl.col("observed_hours").sum())
    by_day = rows.group_by("date").agg(hours=pl.col("current_observed_us").sum() / 3.6e9)
    assert summed.height == len(EDGES) * by_day.height
    for _, _, found_hours, day_hours in summed.join(by_day, on="date").rows():
        assert found_hours == pytest.approx(day_hours)


@settings(max_examples=5, deadline=None)
@given(st.integers(0, 99))
def test_the_order_of_rows_does_not_matter(seed):
    rates = made_cells.cycling(2, low=20, high=80)
    rows = made_cells.intervals(rates, first_soc=20)
    telemetry = made_cells.telemetry(rows, made_cells.soc_of(rates, first_soc=20)[:-1])
    shuffled = (frame.sample(fraction=1, shuffle=True, seed=seed) for frame in (telemetry, rows))
    assert_frame_equal(time_in_bands(*shuffled, PLATES), time_in_bands(telemetry, rows, PLATES), check_exact=True)
