"""The account of every row received."""

from datetime import date, timedelta

import polars as pl

from bess_pipeline.analytics.intervals import closed, day_evidence, intervals_5min
from bess_pipeline.analytics.quality import NO_DAY, battery_data_quality_daily, data_quality_daily, row_accounts
from bess_pipeline.tables.quality import BatteryDataQualityDaily, DataQualityDaily, RowAccount
from bess_pipeline_tests.strategies import batteries, clean, sample

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
    found = DataQualityDaily.validate(data_quality_daily(days((DAY, 6), (DAY, 4)), files(2), became))
    assert found.select("date", "rows_received", "rows_accepted", "rows_quarantined", "rows_duplicate").rows() == [
        (None, 2, 0, 2, 0),
        (DAY, 10, 7, 1, 2),
    ]


def test_a_day_that_only_one_side_knows_is_not_hidden():
    lost = data_quality_daily(days((DAY, 5)), files(0), accounts())
    assert lost.select("rows_received", "rows_accepted").row(0) == (5, 0)
    invented = data_quality_daily(days(), files(0), accounts((DAY, "b", "accepted", 5)))
    assert invented.select("rows_received", "rows_accepted").row(0) == (0, 5)


def test_coverage_and_counts_of_a_battery_by_hand():
    """Hand-computed: an hour of a day is a 24th."""
    rows = [sample(60 * k, current_ampere=1.0, cell_voltage_in_millivolt=k < 3) for k in range(61)]
    plates, frame = batteries("b"), clean(rows)
    evidence = day_evidence(frame, plates)
    intervals = closed(intervals_5min(frame, plates), evidence, plates)
    became = accounts((DAY, "b", "accepted", 61), (DAY, "b", "conflict", 4), (DAY, "b", "duplicate", 5))
    (row,) = BatteryDataQualityDaily.validate(battery_data_quality_daily(evidence, intervals, became)).to_dicts()
    assert row["coverage_fraction"] == 1 / 24
    assert (row["rows_accepted"], row["rows_quarantined"], row["rows_duplicate"]) == (61, 4, 5)
    assert row["cell_voltage_in_millivolt"] == 3
    assert row["longest_gap_us"] == 60_000_000


def test_a_battery_whose_rows_were_all_rejected_has_a_day():
    plates, nothing = batteries("b"), clean([])
    evidence = day_evidence(nothing, plates)
    became = accounts((NO_DAY, "b", "unreadable_time", 3), (DAY, "", "no_battery", 1), (DAY, "b", "ragged_row", 2))
    found = battery_data_quality_daily(evidence, intervals_5min(nothing, plates), became)
    (row,) = BatteryDataQualityDaily.validate(found).to_dicts()
    assert (row["battery_id"], row["date"], row["rows_quarantined"]) == ("b", DAY, 2)
    assert (row["coverage_fraction"], row["rows_accepted"], row["longest_gap_us"]) == (0.0, 0, 0)


def test_a_day_into_which_only_a_mean_reaches_is_covered_that_far():
    """Hand-computed: a quarter of an hour from 23:50 reaches 5 minutes into the next day."""
    rows = [sample(60 * minute, current_ampere=1.0) for minute in (1415, 1430)]
    plates, frame = batteries("b", sampling="mean"), clean(rows)
    evidence = day_evidence(frame, plates)
    intervals = closed(intervals_5min(frame, plates), evidence, plates)
    found = battery_data_quality_daily(evidence, intervals, accounts((DAY, "b", "accepted", 2)))
    assert found["date"].to_list() == [DAY, DAY + timedelta(days=1)]
    assert found["coverage_fraction"].to_list() == [25 / 1440, 5 / 1440]
    assert found["rows_accepted"].to_list() == [2, 0]
