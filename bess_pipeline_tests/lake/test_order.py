"""The order of rows, whatever they come in."""

from datetime import date, timedelta

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bess_pipeline.lake.contracts import in_order, is_in_order

ROWS = st.lists(
    st.tuples(st.sampled_from(["b10", "b2", "b3"]), st.integers(0, 4) | st.none(), st.integers(0, 2)), max_size=30
)


def frame(rows):
    days = [(battery, None if day is None else date(2026, 3, 1) + timedelta(days=day), at) for battery, day, at in rows]
    schema = {"battery_id": pl.String, "date": pl.Date, "feature": pl.Int64}
    return pl.DataFrame(days, schema=schema, orient="row").with_columns(fleet_id=pl.lit("f")).with_row_index("place")


@pytest.mark.parametrize("by", [("battery_id", "date"), ("battery_id", "date", "feature"), ("battery_id", "feature")])
@given(rows=ROWS)
def test_rows_in_order_are_those_sorted_with_equal_ones_as_they_came(by, rows):
    by = ("fleet_id", *by)
    assert in_order(frame(rows), by).equals(frame(rows).sort(*by, maintain_order=True))


def test_one_row_out_of_place_among_thousands_is_put_in_order():
    days = [("b1", day, 0) for day in range(5000)]
    days[1501], days[1502] = days[1502], days[1501]
    by = ("fleet_id", "battery_id", "date")
    assert not is_in_order(frame(days), by)
    assert in_order(frame(days), by)["date"].is_sorted()
