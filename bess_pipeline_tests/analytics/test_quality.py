"""The account of every row received, and how much of each day was seen."""

from datetime import date, timedelta

import polars as pl
import pytest

from bess_pipeline.analytics.intervals import closed, day_evidence, intervals_5min
from bess_pipeline.analytics.quality import (
    NO_DAY,
    battery_data_quality_daily,
    data_quality_daily,
    interval_quality,
    row_accounts,
)
from bess_pipeline.analytics.repairs import repaired
from bess_pipeline.tables.quality import BatteryDataQualityDaily, DataQualityDaily, Repair, RowAccount
from bess_pipeline_tests.analytics.made_quality import battery_days
from bess_pipeline_tests.strategies import START, batteries, clean, sample

DAY = date(2026, 3, 28)


def outcomes(**columns):
    return pl.DataFrame({"fleet_id": "f", **columns})


def days(*rows):
    schema = {"fleet_id": pl.String, "date": pl.Date, "rows": pl.Int64}
    return pl.DataFrame([("f", day, count) for day, count in rows], schema=schema, orient="row")


def files(without_day):
    return pl.DataFrame(
        {"fleet_id": ["f"], "rows_without_day": [without_day]}, schema_overrides={"rows_without_day": pl.Int64}
    )


def accounts(*rows):
    schema = RowAccount.create_empty().schema
    return pl.DataFrame([("f", *row) for row in rows], schema=schema, orient="row")


def stretches(*rows):
    """Repairs of battery b: kind, action, first and last minute since `START`."""
    named = [
        {"fleet_id": "f", "battery_id": "b", "kind": kind, "action": action, "channels": "", "evidence": "",
         "started_at": START + timedelta(minutes=first), "ended_at": START + timedelta(minutes=last),
         "intervals": (last - first) // 5}
        for kind, action, first, last in rows
    ]  # fmt: skip
    return pl.DataFrame(named, schema=Repair.create_empty().schema)


def judged(rows, *, became=(), repairs=(), sampling="instant", names=("b",)):
    """`BatteryDataQualityDaily` rows of samples."""
    plates, frame, found = batteries(*names, sampling=sampling), clean(rows), stretches(*repairs)
    evidence = day_evidence(frame, plates)
    intervals = repaired(closed(intervals_5min(frame, plates), evidence, plates), found)
    return BatteryDataQualityDaily.validate(
        battery_data_quality_daily(evidence, interval_quality(intervals, found, plates), accounts(*became))
    )


def test_rows_are_counted_by_what_became_of_them():
    raw = outcomes(date=[DAY] * 3, battery_id=["b", "b", "c"], verdict=["accepted", "accepted", "conflict"])
    rejected = pl.DataFrame(
        [("f", DAY, None, "no_battery"), ("f", None, "b", "unreadable_time")],
        schema={"fleet_id": pl.String, "date": pl.Date, "battery_id": pl.String, "reason": pl.String},
        orient="row",
    )
    found = RowAccount.validate(row_accounts(raw, rejected))
    assert found.drop("fleet_id").rows() == [
        (NO_DAY, "b", "unreadable_time", 1),
        (DAY, "", "no_battery", 1),
        (DAY, "b", "accepted", 2),
        (DAY, "c", "conflict", 1),
    ]


def test_both_counts_of_a_day_stand_side_by_side():
    became = accounts((NO_DAY, "b", "unreadable_time", 2), (DAY, "b", "accepted", 7), (DAY, "b", "duplicate", 2),
                      (DAY, "c", "conflict", 1))  # fmt: skip
    found = DataQualityDaily.validate(data_quality_daily(days((DAY, 6), (DAY, 4)), files(2), became, battery_days()))
    assert found.select("date", "rows_received", "rows_accepted", "rows_quarantined", "rows_duplicate").rows() == [
        (None, 2, 0, 2, 0),
        (DAY, 10, 7, 1, 2),
    ]


def test_a_day_that_only_one_side_knows_is_not_hidden():
    lost = data_quality_daily(days((DAY, 5)), files(0), accounts(), battery_days())
    assert lost.select("rows_received", "rows_accepted").row(0) == (5, 0)
    invented = data_quality_daily(days(), files(0), accounts((DAY, "b", "accepted", 5)), battery_days())
    assert invented.select("rows_received", "rows_accepted").row(0) == (0, 5)


def test_a_day_of_which_nobody_knows_anything_is_a_day_without_rows():
    quality = DataQualityDaily.validate(
        data_quality_daily(
            days((DAY, 4), (DAY + timedelta(days=2), 4)),
            files(0),
            accounts((DAY, "b", "accepted", 4), (DAY + timedelta(days=2), "b", "accepted", 4)),
            battery_days(("b", 0, {}), ("b", 2, {})),
        )
    )
    assert quality["date"].to_list() == [DAY + timedelta(days=k) for k in range(3)]
    assert quality["rows_received"].to_list() == [4, 0, 4]
    assert quality["coverage_fraction"].to_list() == [1.0, 0.0, 1.0]
    assert quality["worst_battery_reason"].to_list() == [None, "nothing came of it", None]


def test_batteries_known_by_a_day_count_whether_they_report_or_not():
    """Hand-computed: of three batteries the third comes a day later; on that day the second is silent."""
    rows = battery_days(
        ("a", 0, {}), ("b", 0, {"coverage_fraction": 0.5}), ("a", 1, {"coverage_fraction": 0.9}), ("c", 1, {})
    )
    became = accounts(*((DAY + timedelta(days=k), name, "accepted", 9) for name, k in (("a", 0), ("b", 0), ("a", 1))))
    found = data_quality_daily(days((DAY, 18), (DAY + timedelta(days=1), 9)), files(0), became, rows)
    told = found.select("coverage_fraction", "batteries_expected", "batteries_reporting", "worst_battery_id")
    assert told.rows() == [(0.75, 2, 2, "b"), (pytest.approx(1.9 / 3), 3, 2, "b")]
    assert found["worst_battery_reason"].to_list() == ["50 % of the day without data", "nothing came of it"]


def test_nothing_is_said_of_the_batteries_of_a_day_that_is_still_to_be_made():
    rows = battery_days(("b", 0, {}))
    found = data_quality_daily(
        days((DAY, 4), (DAY + timedelta(days=1), 4)), files(0), accounts((DAY, "b", "accepted", 4)), rows
    )
    assert found["coverage_fraction"].to_list() == [1.0, None]
    assert found["batteries_expected"].to_list() == [1, None]
    assert found["worst_battery_id"].to_list() == [None, None]


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        pytest.param({}, None, id="nothing"),
        pytest.param({"coverage_fraction": 0.96}, None, id="not worth a word"),
        pytest.param({"coverage_fraction": 0.75}, "25 % of the day without data", id="unseen"),
        pytest.param({"excluded_fraction": 0.3}, "30 % of its current voided by flags", id="voided"),
        pytest.param(
            {"suspected_intervals": 288}, "100 % of the day with a current of the wrong sign, it seems", id="suspected"
        ),
        pytest.param(
            {"cell_voltage_mismatch_fraction": 0.6}, "voltage and cells disagree in 60 % of the day", id="cells"
        ),
        pytest.param(
            {"soc_bms_mismatch_fraction": 1.0},
            "reported and counted charge disagree in 100 % of its hours at work",
            id="reported",
        ),
        pytest.param(
            {"coverage_fraction": 0.9, "excluded_fraction": 0.3}, "30 % of its current voided by flags", id="the worse"
        ),
    ],
)
def test_the_worst_battery_of_a_day_is_named_with_what_is_wrong(columns, reason):
    rows = battery_days(("a", 0, {}), ("b", 0, columns))
    (day,) = data_quality_daily(days((DAY, 9)), files(0), accounts((DAY, "a", "accepted", 9)), rows).to_dicts()
    assert (day["worst_battery_id"], day["worst_battery_reason"]) == (reason and "b", reason)


def test_repairs_of_the_batteries_are_summed():
    rows = battery_days(
        ("a", 0, {"clock_shifted": 7, "mixed_intervals": 1}), ("b", 0, {"clock_shifted": 2, "soc_unit_intervals": 5})
    )
    (day,) = data_quality_daily(days((DAY, 9)), files(0), accounts((DAY, "a", "accepted", 9)), rows).to_dicts()
    assert (day["clock_shifted"], day["mixed_intervals"], day["soc_unit_intervals"]) == (9, 1, 5)


def test_coverage_and_counts_of_a_battery_by_hand():
    """Hand-computed: an hour of a day is a 24th."""
    rows = [
        sample(60 * k, current_ampere=1.0, cell_voltage_in_millivolt=k < 3, clock_shift_us=k % 2) for k in range(61)
    ]
    became = [(DAY, "b", "accepted", 61), (DAY, "b", "conflict", 4), (DAY, "b", "duplicate", 5)]
    (row,) = judged(rows, became=became).to_dicts()
    assert row["coverage_fraction"] == 1 / 24
    assert (row["rows_accepted"], row["rows_quarantined"], row["rows_duplicate"]) == (61, 4, 5)
    assert (row["cell_voltage_in_millivolt"], row["clock_shifted"]) == (3, 30)
    assert row["longest_gap_us"] == 60_000_000
    assert row["samples_expected"] == 1440


def test_completeness_is_the_share_of_samples_in_which_a_channel_is_usable():
    """Hand-computed: of ten samples, two have no current and one more is a spike; a voltage is missing in five."""
    rows = [
        sample(
            60 * k, current_ampere=None if k < 2 else 5.0, current_spike=k == 2, voltage_volt=780.0 if k % 2 else None
        )
        for k in range(10)
    ]
    (row,) = judged(rows).to_dicts()
    assert row["current_completeness_fraction"] == 0.7
    assert row["voltage_completeness_fraction"] == 0.5
    assert row["power_completeness_fraction"] == 0.4
    assert row["excluded_fraction"] == 1 / 8
    for channel in ("temperature", "cell_voltage", "soc_bms"):
        assert row[f"{channel}_completeness_fraction"] is None


def test_a_channel_that_is_missing_for_a_day_is_not_complete_on_it():
    rows = [sample(60 * k, current_ampere=1.0, temperature_celsius=25.0) for k in range(5)]
    rows += [sample(86400 + 60 * k, current_ampere=1.0) for k in range(5)]
    assert judged(rows)["temperature_completeness_fraction"].to_list() == [1.0, 0.0]


def test_a_mean_temperature_that_stands_still_is_not_saved_by_its_extremes():
    rows = [
        sample(60 * k, current_ampere=1.0, temperature_celsius=25.0, temperature_max_celsius=26.0 + k,
               temperature_stuck=k < 4)
        for k in range(8)
    ]  # fmt: skip
    assert judged(rows)["temperature_completeness_fraction"].to_list() == [0.5]


def test_of_a_battery_that_measures_power_alone_the_power_counts():
    rows = [sample(60 * k, power_watt=900.0, power_out_of_range=k == 0) for k in range(4)]
    (row,) = judged(rows).to_dicts()
    assert (row["power_completeness_fraction"], row["excluded_fraction"]) == (0.75, 0.25)
    assert row["current_completeness_fraction"] is None


def test_the_samples_expected_of_a_day_with_few_are_those_of_the_days_before():
    """Hand-computed: a sample a minute on three days, then one in 10 minutes: the median of four days is a minute."""
    rows = [sample(86400 * day + 60 * k, current_ampere=1.0) for day in range(3) for k in range(20)]
    rows += [sample(86400 * 3 + 600 * k, current_ampere=1.0) for k in range(20)]
    assert judged(rows)["samples_expected"].to_list() == [1440] * 4


def test_repaired_intervals_are_counted_on_the_day_in_which_they_lie():
    """Hand-computed: three hours of samples around a midnight; repairs from 23:00 to 00:30, and one interval mixed."""
    rows = [sample(86400 - 5400 + 60 * k, current_ampere=9.0, temperature_celsius=77.0) for k in range(180)]
    found = judged(
        rows,
        repairs=[
            ("temperature_unit", "converted", 1380, 1470),
            ("temperature_unit", "excluded", 1470, 1475),
            ("current_sign", "suspected", 1380, 1500),
        ],
    )
    assert found["temperature_unit_intervals"].to_list() == [12, 6]
    assert found["mixed_intervals"].to_list() == [0, 1]
    assert found["suspected_intervals"].to_list() == [12, 12]
    assert found["current_sign_intervals"].to_list() == [0, 0]


def test_a_battery_whose_rows_were_all_rejected_has_a_day():
    became = [(NO_DAY, "b", "unreadable_time", 3), (DAY, "", "no_battery", 1), (DAY, "b", "ragged_row", 2)]
    (row,) = judged([], became=became).to_dicts()
    assert (row["battery_id"], row["date"], row["rows_quarantined"]) == ("b", DAY, 2)
    assert (row["coverage_fraction"], row["rows_accepted"], row["longest_gap_us"]) == (0.0, 0, 0)
    assert (row["samples_expected"], row["current_completeness_fraction"]) == (None, None)


def test_a_day_into_which_only_a_mean_reaches_is_covered_that_far():
    """Hand-computed: a quarter of an hour from 23:50 reaches 5 minutes into the next day."""
    rows = [sample(60 * minute, current_ampere=1.0) for minute in (1415, 1430)]
    found = judged(rows, sampling="mean", became=[(DAY, "b", "accepted", 2)])
    assert found["date"].to_list() == [DAY, DAY + timedelta(days=1)]
    assert found["coverage_fraction"].to_list() == [25 / 1440, 5 / 1440]
    assert found["rows_accepted"].to_list() == [2, 0]
