"""Samples of battery-days as arrays."""

import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bess_pipeline.analytics.samples import SampleArrays, or_zero, portions
from bess_pipeline_tests.analytics.made_samples import nameplates
from bess_pipeline_tests.analytics.made_telemetry import SITE, SITE_NOISE, grid, regulating, sampled, worked

NAN = math.nan


def arrays(seconds, battery="b", **columns):
    return SampleArrays(sampled(np.array(seconds, float), columns, battery=battery), nameplates([battery]))


@pytest.mark.parametrize(
    ("seconds", "usual"),
    [
        pytest.param([0, 60, 120, 4000], 60, id="the median"),
        pytest.param([0, 5000, 10000], 900, id="at most 15 minutes"),
        pytest.param([0], 60, id="a minute where there is one sample"),
    ],
)
def test_the_usual_interval(seconds, usual):
    assert arrays(seconds).usual.tolist() == [usual * 1_000_000]
    assert arrays(seconds).reach.tolist() == [max(3 * usual, 60) * 1_000_000]


@pytest.mark.parametrize(
    ("values", "least", "shown"),
    [
        pytest.param([33.0, 33.5, 33.25], 0.25, 0.25, id="the least change"),
        pytest.param([33.0, NAN, 33.5, NAN, NAN, 33.4], 0.1, 0.1, id="what is unknown in between does not hide it"),
        pytest.param([33.0, 33.0], 0.0, 1.0, id="never changes, whole"),
        pytest.param([33.1, 33.1], 0.0, 0.1, id="never changes, tenths"),
        pytest.param([33.14, 33.14], 0.0, 0.01, id="never changes, hundredths"),
        pytest.param([NAN, NAN], 0.0, 0.01, id="unknown"),
    ],
)
def test_what_a_display_may_hide(values, least, shown):
    samples = arrays(60 * np.arange(len(values)), voltage_volt=values)
    assert samples.digit("voltage_volt").tolist() == pytest.approx([least])
    assert samples.shown("voltage_volt").tolist() == pytest.approx([shown])


def test_the_resistance_is_that_of_the_battery_or_a_third_of_the_nameplate():
    """Frequency regulation at 10 s: 6 mΩ at once; the nameplate says nothing, 0.1 V per cell at 1 C are assumed."""
    seconds = grid(10)
    day = worked(seconds, regulating(seconds), sensors=SITE, noise=SITE_NOISE)
    ohm, noise = SampleArrays(sampled(seconds, day), nameplates(["b"])).response
    assert 0.005 < ohm.item() < 0.0065
    assert 0.01 < noise.item() < 0.05
    still = dict.fromkeys(day, day["voltage_volt"]) | {"current_ampere": np.zeros(len(seconds))}
    assert SampleArrays(sampled(seconds, still), nameplates(["b"])).response[0].item() == pytest.approx(0.3 * 0.01)


def test_a_battery_without_a_nameplate_is_refused():
    with pytest.raises(ValueError, match="no nameplate for a"):
        SampleArrays(sampled(np.zeros(1), {}, battery="a"), nameplates(["b"]))


@settings(max_examples=20, deadline=None)
@given(st.lists(st.sampled_from([1, 2, 40_000, 79_999, 80_000, 80_001, 120_000]), min_size=1, max_size=5))
def test_portions_are_whole_days_of_batteries_in_order(sizes):
    owner = np.repeat(np.arange(len(sizes)), sizes)
    rows = pl.DataFrame({"battery_id": owner.astype(str), "row": np.arange(len(owner))}).with_columns(
        fleet_id=pl.lit("f"), date=pl.lit("2026-01-01")
    )
    parts = list(portions(rows))
    assert pl.concat(parts)["row"].to_list() == list(range(len(owner)))
    assert sum(part["battery_id"].n_unique() for part in parts) == len(sizes)
    assert all(part.height <= 80_000 + max(sizes) for part in parts)


def test_what_is_unknown_counts_as_nothing_in_a_sum():
    assert or_zero(np.array([NAN, -0.5])).tolist() == [0.0, -0.5]
    samples = arrays([0, 60, 120], voltage_volt=[1.0, NAN, 2.0])
    assert samples.summed(samples.column("voltage_volt")).tolist() == [3.0]
    assert samples.median(samples.column("voltage_volt")).tolist() == [1.5]
