"""Prices from files: any resolution, local periods, and mistakes that are told."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from bess_pipeline.sources.prices import PricesError, read_prices


def written(tmp_path, *lines, name="prices.csv"):
    path = tmp_path / name
    path.write_text("\n".join(["timestamp,price_per_mwh", *lines]) + "\n")
    return path


def test_prices_are_read_with_their_periods_in_order_of_time(tmp_path):
    path = written(tmp_path, "2026-01-01 01:00,20", "2026-01-01 00:00,10.5", "2026-01-01 01:15,-5")
    rows = read_prices(path)
    at = datetime(2026, 1, 1, tzinfo=UTC)
    assert rows.rows() == [
        (at, 1.0, 10.5), (at + timedelta(hours=1), 0.25, 20.0), (at + timedelta(minutes=75), 0.25, -5.0),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("day", "local_hours", "hours"),
    [("2026-03-29", [*range(2), *range(3, 24)], 23), ("2025-10-26", [*range(3), *range(2, 24)], 25)],
    ids=["clocks put forward", "clocks put back"],
)
def test_days_of_local_time_are_as_long_as_they_are(tmp_path, day, local_hours, hours):
    path = written(tmp_path, *(f"{day} {hour:02d}:00,{hour}" for hour in local_hours))
    rows = read_prices(path, "Europe/Berlin")
    assert rows.height == hours
    assert rows["hours"].to_list() == [1.0] * hours
    assert rows["price_per_mwh"].to_list() == [float(hour) for hour in local_hours]


def test_offsets_and_parquet_are_read_as_they_are(tmp_path):
    path = written(tmp_path, "2026-01-01T00:00:00+01:00,1", "2026-01-01T01:00:00+01:00,2")
    assert read_prices(path, "Asia/Tokyo")["timestamp"][0] == datetime(2025, 12, 31, 23, tzinfo=UTC)
    at = [datetime(2026, 1, 1, hour, tzinfo=UTC) for hour in range(3)]
    pl.DataFrame({"timestamp": at, "price_per_mwh": [1, 2, 3]}).write_parquet(tmp_path / "prices.parquet")
    assert read_prices(tmp_path / "prices.parquet")["timestamp"].to_list() == at


def test_a_gap_of_days_is_no_long_period(tmp_path):
    path = written(tmp_path, "2026-01-01 00:00,1", "2026-01-01 01:00,2", "2026-01-05 00:00,3", "2026-01-05 01:00,4")
    assert read_prices(path)["hours"].to_list() == [1.0] * 4


@pytest.mark.parametrize(
    ("lines", "complaint"),
    [
        (["2026-01-01 00:00,1", "2026-01-01 01:00,"], "row 2 has no price"),
        (["2026-01-01 00:00,1", "2026-01-01 01:00,dear"], "row 2 has no price"),
        (["2026-01-01 00:00,1", "2026-01-01 00:00,2"], "comes twice"),
        (["2026-01-01 00:00,1"], "two prices"),
        (["yesterday,1", "today,2"], "timestamp"),
    ],
)
def test_mistakes_are_told(tmp_path, lines, complaint):
    with pytest.raises(PricesError, match=complaint):
        read_prices(written(tmp_path, *lines))


def test_an_hour_that_there_was_not_is_told(tmp_path):
    with pytest.raises(PricesError, match="timestamp"):
        read_prices(written(tmp_path, "2026-03-29 02:30,1", "2026-03-29 03:30,1"), "Europe/Berlin")


def test_columns_that_are_missing_are_named(tmp_path):
    path = tmp_path / "prices.csv"
    path.write_text("when,price_per_mwh\n2026-01-01,1\n")
    with pytest.raises(PricesError, match="lacks timestamp; it has when"):
        read_prices(path)
    with pytest.raises(PricesError, match="cannot be read"):
        read_prices(tmp_path / "nothing.csv")
