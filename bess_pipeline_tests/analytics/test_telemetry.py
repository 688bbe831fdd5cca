"""Which rows count, and what is flagged about those that do."""

from datetime import timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bess_pipeline.analytics.telemetry import accepted, clean, verdicts
from bess_pipeline.tables.telemetry import FLAGS, MEASUREMENTS, CleanTelemetry, RawTelemetry
from bess_pipeline_tests.analytics.made_samples import START, batteries

_SCHEMA = {name: kind for name, kind in RawTelemetry.create_empty().schema.items() if name != "verdict"}


def received(*rows):
    """Received rows; each is (path, row number, first seen, seconds, values)."""
    full = []
    for path, number, seen, seconds, values in rows:
        at = START + timedelta(seconds=seconds)
        full.append(
            {"fleet_id": "f", "battery_id": "b", "date": at.date(), "timestamp": at, "status": None}
            | dict.fromkeys(MEASUREMENTS)
            | {"path": path, "row_number": number, "first_seen": seen}
            | values
        )
    return pl.DataFrame(full, schema=_SCHEMA)


def decided(*rows):
    frame = verdicts(received(*rows))
    return {(row["path"], row["row_number"]): row["verdict"] for row in frame.to_dicts()}


ONE, TWO = {"voltage_volt": 780.0}, {"voltage_volt": 781.0}


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        pytest.param([("a", 0, 1, 0, ONE), ("a", 1, 1, 60, ONE)], ["accepted", "accepted"], id="other instants"),
        pytest.param([("a", 0, 1, 0, ONE), ("a", 1, 1, 0, ONE)], ["duplicate", "accepted"], id="equal rows"),
        pytest.param([("a", 0, 1, 0, {}), ("a", 1, 1, 0, {})], ["duplicate", "accepted"], id="null equals null"),
        pytest.param([("a", 0, 1, 0, ONE), ("a", 1, 1, 0, TWO)], ["conflict", "accepted"], id="the later row wins"),
        pytest.param(
            [("b", 0, 1, 0, ONE), ("a", 9, 2, 0, TWO)], ["conflict", "accepted"], id="the file seen later wins"
        ),
        pytest.param([("b", 0, 1, 0, ONE), ("a", 9, 1, 0, TWO)], ["accepted", "conflict"], id="then the later path"),
        pytest.param(
            [("a", 0, 1, 0, ONE), ("a", 1, 1, 0, TWO), ("a", 2, 1, 0, ONE)],
            ["duplicate", "conflict", "accepted"],
            id="equal to the winner is a duplicate",
        ),
        pytest.param(
            [("a", 0, 1, 0, ONE | {"status": "on"}), ("a", 1, 1, 0, ONE)], ["conflict", "accepted"], id="status counts"
        ),
        pytest.param(
            [("a", 0, 1, 0, ONE), ("a", 1, 1, 0, ONE | {"battery_id": "c"})], ["accepted"] * 2, id="other batteries"
        ),
    ],
)
def test_a_verdict_for_every_row(rows, expected):
    """Expected: the order of the contract, by hand."""
    found = decided(*rows)
    assert [found[row[0], row[1]] for row in rows] == expected


rows_of_few_instants = st.lists(
    st.tuples(st.sampled_from("abc"), st.integers(1, 3), st.integers(0, 3), st.sampled_from([ONE, TWO, {}])),
    max_size=25,
).map(lambda rows: [(path, number, seen, 60 * k, values) for number, (path, seen, k, values) in enumerate(rows)])


@settings(max_examples=60, deadline=None)
@given(rows_of_few_instants, st.randoms(use_true_random=False))
def test_one_row_an_instant_is_accepted_whatever_the_order_of_rows(rows, chance):
    frame = verdicts(received(*rows))
    RawTelemetry.validate(frame)
    assert frame.height == len(rows)
    kept = frame.filter(pl.col("verdict") == "accepted")
    assert kept.height == frame.select("battery_id", "timestamp").n_unique()
    shuffled = list(rows)
    chance.shuffle(shuffled)
    assert verdicts(received(*shuffled)).equals(frame)


def cleaned(**values):
    raw = verdicts(received(("a", 0, 1, 0, values)))
    frame = clean(accepted(raw), batteries("b"))
    CleanTelemetry.validate(frame)
    return frame.to_dicts()[0]


@pytest.mark.parametrize(
    ("values", "flag"),
    [
        ({"voltage_volt": 3000.0}, "voltage_out_of_range"),
        ({"voltage_volt": -1.0}, "voltage_out_of_range"),
        ({"current_ampere": 6000.0}, "current_out_of_range"),
        ({"current_ampere": -6000.0}, "current_out_of_range"),
        ({"power_watt": 1e9}, "power_out_of_range"),
        ({"temperature_celsius": 201.0}, "temperature_out_of_range"),
        ({"temperature_min_celsius": -61.0}, "temperature_out_of_range"),
        ({"cell_voltage_max_volt": 9.0}, "cell_voltage_out_of_range"),
        ({"cell_voltage_min_volt": -2.0}, "cell_voltage_out_of_range"),
        ({"cell_voltage_min_volt": 3300.0}, "cell_voltage_in_millivolt"),
        ({"soc_bms_percent": 106.0}, "soc_out_of_range"),
    ],
)
def test_what_cannot_be_is_flagged_and_nothing_else(values, flag):
    row = cleaned(**values)
    assert [name for name in FLAGS if row[name]] == [flag]
    if flag != "cell_voltage_in_millivolt":
        assert {name: row[name] for name in values} == values


def test_ordinary_and_unknown_values_are_not_flagged():
    row = cleaned(voltage_volt=780.0, current_ampere=-140.0, temperature_celsius=25.0, soc_bms_percent=104.0)
    assert not any(row[name] for name in FLAGS)
    assert not any(cleaned()[name] for name in FLAGS)


def test_cell_voltages_in_millivolts_become_volts():
    row = cleaned(cell_voltage_min_volt=3301.0, cell_voltage_max_volt=3315.0)
    assert (row["cell_voltage_min_volt"], row["cell_voltage_max_volt"]) == (3.301, 3.315)


def test_a_battery_without_a_nameplate_is_refused():
    raw = verdicts(received(("a", 0, 1, 0, ONE)))
    with pytest.raises(ValueError, match="no nameplate for b"):
        clean(accepted(raw), batteries("other"))


def test_nothing_in_gives_nothing_out():
    raw = RawTelemetry.validate(verdicts(received()))
    assert CleanTelemetry.validate(clean(accepted(raw), batteries("b"))).is_empty()
