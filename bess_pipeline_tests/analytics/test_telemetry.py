"""Which rows count, and what is flagged about those that do."""

from datetime import timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bess_pipeline.analytics.telemetry import accepted, clean, verdicts
from bess_pipeline.tables.telemetry import FLAGS, MEASUREMENTS, CleanTelemetry, RawTelemetry
from bess_pipeline_tests.analytics.made_samples import nameplates, received_frame, received_rows
from bess_pipeline_tests.strategies import START, batteries

_SCHEMA = {name: kind for name, kind in RawTelemetry.create_empty().schema.items() if name != "verdict"}


def received(*rows):
    """Received rows; each is (path, row number, first seen, seconds, values)."""
    full = []
    for path, number, seen, seconds, values in rows:
        at = START + timedelta(seconds=seconds)
        full.append(
            {"fleet_id": "f", "battery_id": "b", "date": at.date(), "timestamp": at, "status": None}
            | dict.fromkeys(MEASUREMENTS)
            | {"path": path, "row_number": number, "first_seen": seen, "clock_shift_us": 0}
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


def raised(row):
    """Flags of a sample but that of the gap around it: it is the only one of its day."""
    assert row["gap"]
    return [name for name in FLAGS if row[name] and name != "gap"]


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
    assert raised(row) == [flag]
    if flag != "cell_voltage_in_millivolt":
        assert {name: row[name] for name in values} == values


def test_ordinary_and_unknown_values_are_not_flagged():
    row = cleaned(voltage_volt=780.0, current_ampere=-140.0, temperature_celsius=25.0, soc_bms_percent=104.0)
    assert raised(row) == raised(cleaned()) == []


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


def by_the_rule(frame):
    """Verdict of each row, in plain Python."""
    groups = {}
    for row in frame.to_dicts():
        groups.setdefault((row["battery_id"], row["timestamp"]), []).append(row)
    found = {}
    for rows in groups.values():
        winner = max(rows, key=lambda row: (row["first_seen"], row["path"], row["row_number"]))
        for row in rows:
            same = all(row[fact] == winner[fact] for fact in (*MEASUREMENTS, "status"))
            verdict = "accepted" if row is winner else "duplicate" if same else "conflict"
            found[row["path"], row["row_number"]] = verdict
    return found


@settings(max_examples=60, deadline=None)
@given(received_rows())
def test_verdicts_are_those_of_the_rule_in_plain_words(frame):
    ruled = verdicts(frame)
    assert {(row["path"], row["row_number"]): row["verdict"] for row in ruled.to_dicts()} == by_the_rule(frame)
    assert ruled.equals(ruled.sort("battery_id", "timestamp", "first_seen", "path", "row_number"))


def test_row_numbers_are_compared_as_numbers():
    assert decided(("a", 10, 1, 0, ONE), ("a", 9, 1, 0, TWO)) == {("a", 9): "conflict", ("a", 10): "accepted"}


def test_fleets_whose_batteries_bear_equal_names_do_not_meet():
    row = {"battery_id": "b", "timestamp": START}
    raw = verdicts(
        received_frame([row | {"fleet_id": "f", "voltage_volt": 3.3}, row | {"fleet_id": "g", "voltage_volt": 3.4}])
    )
    assert raw["verdict"].to_list() == ["accepted", "accepted"]
    plates = pl.concat([nameplates("b", fleet_id="f", cells_in_series=1), nameplates("b", fleet_id="g")])
    assert clean(accepted(raw), plates)["voltage_out_of_range"].to_list() == [False, True]


def test_millivolts_are_told_one_value_at_a_time():
    """A fleet file that names the unit of one of the two columns and forgets that of the other."""
    row = cleaned(cell_voltage_min_volt=3.2, cell_voltage_max_volt=3300.0)
    assert (row["cell_voltage_min_volt"], row["cell_voltage_max_volt"]) == (3.2, 3.3)
    assert raised(row) == ["cell_voltage_in_millivolt"]


@pytest.mark.parametrize(
    ("values", "is_flagged"),
    [
        pytest.param({"voltage_volt": 240.0}, False, id="240 cells of 1.0 V: the least that LFP can have"),
        pytest.param({"voltage_volt": 239.9}, True, id="less than that"),
        pytest.param({"voltage_volt": 1080.0}, False, id="240 cells of 4.5 V: the most"),
        pytest.param({"voltage_volt": 1080.1}, True, id="more than that"),
        pytest.param({"current_ampere": -5600.0}, False, id="20 C of 280 Ah"),
        pytest.param({"current_ampere": -5600.1}, True, id="more than 20 C"),
        pytest.param({"power_watt": 5600.0 * 1080}, False, id="20 C at the highest voltage"),
        pytest.param({"power_watt": 5600.0 * 1080 + 1}, True, id="more than that"),
        pytest.param({"temperature_min_celsius": -60.0, "temperature_max_celsius": 200.0}, False, id="-60 to 200 °C"),
        pytest.param({"soc_bms_percent": -5.0}, False, id="a little less than empty"),
        pytest.param({"soc_bms_percent": -5.1}, True, id="less than that"),
        pytest.param({"cell_voltage_max_volt": 65_535.0}, True, id="no cell, not even in millivolts"),
    ],
)
def test_the_ends_of_each_range_belong_to_it(values, is_flagged):
    row = cleaned(**values)
    assert any(name != "cell_voltage_in_millivolt" for name in raised(row)) == is_flagged


def test_a_repaired_value_is_the_same_to_the_last_digit_alone_and_among_others():
    """A thousandth of a number times the reciprocal is another number than the number divided."""
    row = {"battery_id": "b"}
    rows = [
        row | {"timestamp": START + timedelta(seconds=second), "cell_voltage_min_volt": 3300.0 + second}
        for second in range(900)
    ]
    cleaned_rows = clean(accepted(verdicts(received_frame(rows))), nameplates("b"))
    assert cleaned_rows["cell_voltage_min_volt"].to_list() == [(3300 + step) / 1000 for step in range(900)]
