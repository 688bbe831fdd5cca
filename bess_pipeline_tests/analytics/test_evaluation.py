"""Scores of what was found, on cases computed by hand."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from bess_pipeline.analytics.evaluation import (
    flag_scores,
    flags_of,
    repair_scores,
    row_scores,
    struck_batteries,
    throughput_errors,
)
from bess_pipeline.tables.telemetry import FLAGS
from bess_pipeline_tests.analytics import made_cells
from bess_pipeline_tests.analytics.made_samples import clean_frame, nameplates

START = datetime(2026, 3, 2, tzinfo=UTC)
PLATES = nameplates(["B-R00", "B-R01"], fleet_id="b")


def planted(*events):
    """Data faults as planted: kind, column, first and last minute, battery or site."""
    rows = [
        {
            "rack_id": where,
            "scope": "rack" if "-R" in where else "site",
            "kind": kind,
            "column": column,
            "t_on": (START + timedelta(minutes=begin)).replace(tzinfo=None),
            "t_off": (START + timedelta(minutes=end)).replace(tzinfo=None),
        }
        for kind, column, begin, end, where in events
    ]
    return struck_batteries(pl.DataFrame(rows), PLATES)


def samples(*flagged, minutes=60, without=()):
    """A sample a minute of the first battery, some of them flagged."""
    raised = {minute: flag for flag, minute in flagged}
    rows = [
        {"battery_id": "B-R00", "timestamp": START + timedelta(minutes=minute)}
        | ({raised[minute]: True} if minute in raised else {})
        for minute in range(minutes)
        if minute not in without
    ]
    return clean_frame(rows).with_columns(fleet_id=pl.lit("b"))


def test_a_fault_of_a_site_strikes_all_of_its_batteries():
    struck = planted(("late", "", 0, 10, "B"), ("dropout", "", 5, 6, "B-R01"))
    assert struck.select("battery_id", "kind").rows() == [("B-R00", "late"), ("B-R01", "late"), ("B-R01", "dropout")]


def test_found_and_right_by_hand():
    """Two spikes of which one is flagged; a third flag lies nowhere."""
    struck = planted(("spike", "current_a", 3, 4, "B-R00"), ("spike", "current_a", 9, 10, "B-R00"))
    (score,) = flag_scores(samples(("current_spike", 3), ("current_out_of_range", 40)), struck).to_dicts()
    assert (score["events"], score["found"], score["samples"], score["right"]) == (2, 1, 2, 1)


def test_a_stuck_channel_in_a_freeze_is_no_false_alarm():
    struck = planted(("freeze", "", 0, 20, "B-R00"), ("stuck", "voltage_v", 40, 50, "B-R00"))
    scores = flag_scores(samples(("voltage_stuck", 10), ("voltage_stuck", 45)), struck)
    stuck = scores.filter(kind="stuck").row(0, named=True)
    assert (stuck["found"], stuck["samples"], stuck["right"]) == (1, 2, 2)


def test_a_gap_is_told_by_the_sample_behind_it():
    struck = planted(("dropout", "", 10, 20, "B-R00"))
    (score,) = flag_scores(samples(("gap", 20), without=range(10, 20)), struck).to_dicts()
    assert (score["found"], score["right"]) == (1, 1)


@pytest.mark.parametrize(("kind", "column"), [("stuck", "temp_avg_c"), ("spike", "bms_soc_pct"), ("nan", "voltage_v")])
def test_the_flags_of_a_fault_are_flags(kind, column):
    assert flags_of(kind, column)
    assert set(flags_of(kind, column)) <= set(FLAGS)


def test_repaired_intervals_by_hand():
    """A fault from minute 12 to 31 holds the intervals of 15 to 30 wholly, and those of 10 and 30 in part."""
    struck = planted(("unit_f", "", 12, 31, "B-R00"))
    rows = made_cells.intervals(np.zeros(12), first_soc=50).with_columns(
        fleet_id=pl.lit("b"),
        battery_id=pl.lit("B-R00"),
        timestamp=pl.Series([START + timedelta(minutes=5 * step) for step in range(12)]).dt.cast_time_unit("us"),
        repairs=pl.Series([None, None, "temperature_unit", "current_sign,temperature_unit", *[None] * 7, "soc_unit"]),
    )
    score = repair_scores(rows, struck, PLATES).filter(kind="unit_f").row(0, named=True)
    assert score == {"kind": "unit_f", "events": 1, "intervals": 3, "recovered": 1, "converted": 2, "right": 2}


def test_samples_that_a_dropout_took_are_not_expected():
    struck = planted(("late", "", 0, 30, "B-R00"), ("dropout", "", 10, 20, "B-R00"))
    found = row_scores(samples(without=[*range(10, 20), 25]), struck, seconds=60)
    late = found.filter(kind="late").row(0, named=True)
    assert (late["events"], late["expected"], late["present"]) == (1, 19, 18)


def test_the_gain_of_the_sensor_is_divided_out():
    """Hand-computed: 102 Ah with a gain of 1.02 are the true 100 Ah; a day of less than 0.1 cycles does not count."""
    day = START.date()
    daily = pl.DataFrame(
        {
            "fleet_id": "b",
            "battery_id": ["B-R00", "B-R01"],
            "date": day,
            "charging_capacity_ah": [51.0, 3.0],
            "discharging_capacity_ah": [51.0, 3.0],
        }
    )
    truth = pl.DataFrame({"rack_id": ["B-R00", "B-R01"], "date": day, "ah_chg": [50.0, 3.0], "ah_dis": [50.0, 3.0]})
    racks = pl.DataFrame({"rack_id": ["B-R00", "B-R01"], "current_gain": [1.02, 1.0]})
    (row,) = throughput_errors(daily, truth, racks, PLATES).to_dicts()
    assert row["error_percent"] == pytest.approx(0.0, abs=1e-9)
