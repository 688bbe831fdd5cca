"""Limits: when a battery counts as outside its nameplate."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bess_pipeline.analytics.limits import limit_episodes
from bess_pipeline.tables.anomalies import LimitEpisode
from bess_pipeline_tests.analytics.made_days import FIVE_MINUTES, START, made_batteries, made_intervals


def intervals_of(column, values, **others):
    """One battery whose column takes these values, 5 minutes apart; None leaves the interval out."""
    return made_intervals(
        [
            {"battery_id": "b0", "timestamp": START + number * FIVE_MINUTES, column: value, **others}
            for number, value in enumerate(values)
            if value is not None
        ]
    )


def episodes_of(column, values):
    """Code, first interval, interval of the end, and interval after which it was known."""
    found = limit_episodes(intervals_of(column, values), made_batteries(1)).episodes
    LimitEpisode.validate(found)
    return [
        (
            row["code"],
            (row["started_at"] - START) // FIVE_MINUTES,
            None if row["ended_at"] is None else (row["ended_at"] - START) // FIVE_MINUTES,
            (row["detected_at"] - START) // FIVE_MINUTES,
        )
        for row in found.to_dicts()
    ]


@pytest.mark.parametrize(
    ("column", "values", "expected"),
    [
        pytest.param("cell_voltage_max_volt", [4.1, 4.2, 4.21, 4.22, 4.1], [], id="the sensors' error is no alarm"),
        pytest.param("cell_voltage_max_volt", [4.1, 4.3, 4.1, 4.3, 4.1], [], id="single intervals are not enough"),
        pytest.param(
            "cell_voltage_max_volt",
            [4.1, 4.25, 4.25, 4.2, 4.25, 4.1, 4.1],
            [("OVER_VOLT_WARNING", 1, 5, 3)],
            id="a return within the margin does not end it",
        ),
        pytest.param(
            "cell_voltage_max_volt",
            [4.1, 4.35, 4.35, 4.35],
            [("OVER_VOLT_ALARM", 1, None, 3), ("OVER_VOLT_WARNING", 1, None, 3)],
            id="open at the end of the data",
        ),
        pytest.param(
            "cell_voltage_min_volt",
            [3.1, 2.95, 2.95, 3.2],
            [("UNDER_VOLT_WARNING", 1, 3, 3)],
            id="a lower limit",
        ),
        pytest.param(
            "voltage_max_volt",
            [410.0, 425.0, 425.0, 410.0],
            [("OVER_VOLT_WARNING", 1, 3, 3)],
            id="the average cell where none is known",
        ),
        pytest.param(
            "temperature_celsius",
            [44.0, 47.0, 47.0, 45.5, 43.0],
            [("OVER_TEMP_WARNING", 1, 4, 3)],
            id="the mean where no probe is known",
        ),
        pytest.param(
            "temperature_celsius",
            [25.0, 32.0, 40.0, 47.0, 54.0],
            [("OVER_TEMP_WARNING", 3, None, 5)],
            id="real heating is",
        ),
        pytest.param(
            "cell_voltage_max_volt",
            [4.25, 4.25, *[None] * 20, 4.25, 4.1],
            [("OVER_VOLT_WARNING", 0, 2, 2)],
            id="silence ends it",
        ),
    ],
)
def test_limit_episodes(column, values, expected):
    """Hand-computed: limits 3.0 and 4.2 V, 0 and 45 °C; warnings begin 0.5 % or 1 K beyond, alarms 2.5 % or 5 K."""
    assert episodes_of(column, values) == expected


levels = st.lists(st.sampled_from([4.1, 4.19, 4.22, 4.25, 4.35, None]), min_size=1, max_size=40)


@given(levels, st.integers(0, 40), st.randoms())
@settings(max_examples=30, deadline=None)
def test_what_was_known_before_stays_known_whatever_follows_in_any_order(values, cut, random):
    whole = intervals_of("cell_voltage_max_volt", [*values, 4.0])
    order = list(range(whole.height))
    random.shuffle(order)
    found = limit_episodes(whole[order], made_batteries(1)).episodes
    assert found.equals(limit_episodes(whole, made_batteries(1)).episodes)
    instant = START + cut * FIVE_MINUTES
    earlier = limit_episodes(whole.filter(pl.col("timestamp") < instant), made_batteries(1)).episodes
    identity = ["code", "started_at", "detected_at"]
    assert found.filter(pl.col("detected_at") <= instant).select(identity).equals(earlier.select(identity))


def test_no_intervals_give_no_episodes():
    nothing = intervals_of("cell_voltage_max_volt", [4.1]).clear()
    assert limit_episodes(nothing, made_batteries(1)).episodes.is_empty()
