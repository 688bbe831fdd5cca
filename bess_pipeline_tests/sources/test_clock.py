"""Times of Europe/Berlin by hand.

2023-03-26 01:00 UTC the clocks go from 02:00 to 03:00; 2023-10-29 01:00 UTC they go from 03:00 to 02:00.
"""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bess_pipeline.sources.clock import Clock, second_passes
from bess_pipeline.sources.source import TimeColumn


def clock(zone="UTC", **said):
    decimal_comma = said.pop("decimal_comma", False)
    return Clock(TimeColumn.model_validate({"from": "t", **said}), zone, decimal_comma)


def at(*parts):
    return datetime(*parts, tzinfo=UTC)


NOON = at(2023, 6, 1, 12)
BEFORE, AFTER = at(2023, 10, 28, 23), at(2023, 10, 29, 3)


@pytest.mark.parametrize(
    ("said", "zone", "text", "expected"),
    [
        ({}, "UTC", "2023-06-01T12:00:00Z", NOON),
        ({}, "Europe/Berlin", "2023-06-01T12:00:00Z", NOON),
        ({}, "Europe/Berlin", "2023-06-01T12:00:00", at(2023, 6, 1, 10)),
        ({}, "UTC", "2023-06-01T14:00:00+02:00", NOON),
        ({}, "UTC", "2023-06-01 14:00:00+0200", NOON),
        ({}, "UTC", "2023-06-01 14:00:00+02", NOON),
        ({}, "UTC", "2023-06-01 12:00", NOON),
        ({}, "UTC", " 2023-06-01 12:00:00 ", NOON),
        ({}, "UTC", "2023-06-01T12:00:00.123456", at(2023, 6, 1, 12, 0, 0, 123456)),
        ({}, "UTC", "2023-06-01T12:00:00.5Z", at(2023, 6, 1, 12, 0, 0, 500000)),
        ({}, "UTC", "2023-06-01", at(2023, 6, 1)),
        ({}, "UTC", "2023-06-31T12:00:00", None),
        ({}, "UTC", "1685620800", None),
        ({}, "UTC", "yesterday", None),
        ({}, "UTC", "", None),
        ({"format": "%d.%m.%Y %H:%M:%S"}, "Europe/Berlin", "01.06.2023 14:00:00", NOON),
        ({"format": "%d.%m.%Y %H:%M:%S"}, "UTC", "2023-06-01T12:00:00", None),
        ({"format": "%d.%m.%Y %H:%M:%S.%f"}, "UTC", "01.06.2023 12:00:00.25", at(2023, 6, 1, 12, 0, 0, 250000)),
        ({"format": "%d.%m.%Y %H:%M:%S,%f"}, "UTC", "01.06.2023 12:00:00,25", at(2023, 6, 1, 12, 0, 0, 250000)),
        ({"format": "%m/%d/%Y %I:%M %p"}, "UTC", "06/01/2023 12:00 PM", NOON),
        ({"format": "%Y%m%dT%H%M%SZ"}, "Europe/Berlin", "20230601T120000Z", NOON),
        ({"format": "%Y-%m-%d %H:%M:%S %z"}, "Europe/Berlin", "2023-06-01 13:00:00 +0100", NOON),
        ({"unit": "s"}, "Europe/Berlin", "1685620800", NOON),
        ({"unit": "s"}, "UTC", "1685620800.25", at(2023, 6, 1, 12, 0, 0, 250000)),
        ({"unit": "s", "decimal_comma": True}, "UTC", "1685620800,25", at(2023, 6, 1, 12, 0, 0, 250000)),
        ({"unit": "ms"}, "UTC", "1685620800123", at(2023, 6, 1, 12, 0, 0, 123000)),
        ({"unit": "us"}, "UTC", "1685620800123456", at(2023, 6, 1, 12, 0, 0, 123456)),
        ({"unit": "ns"}, "UTC", "1685620800123456789", at(2023, 6, 1, 12, 0, 0, 123456)),
        ({"unit": "s"}, "UTC", "9" * 18, None),
        ({"unit": "s"}, "UTC", "inf", None),
        ({"unit": "s"}, "UTC", "x", None),
        ({"unit": "s", "origin": "2023-06-01"}, "UTC", "43200", NOON),
        ({"unit": "s", "origin": "2023-06-01"}, "Europe/Berlin", "50400", NOON),
        ({"unit": "s", "origin": "2023-06-01T00:00:00Z"}, "Europe/Berlin", "43200", NOON),
    ],
)  # fmt: skip
def test_a_time_as_text_is_an_instant(said, zone, text, expected):
    """Expected values: by hand."""
    read = clock(zone, **said).read(pl.Series([text]))
    assert read.struct["early"].to_list() == [expected]
    assert read.struct["late"].to_list() == [expected]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (pl.Series([NOON.replace(tzinfo=None)], dtype=pl.Datetime("ms")), at(2023, 6, 1, 10)),
        (pl.Series([NOON], dtype=pl.Datetime("ns", "UTC")), NOON),
        (pl.Series([NOON], dtype=pl.Datetime("us", "UTC")).dt.convert_time_zone("Asia/Tokyo"), NOON),
        (pl.Series([NOON.date()]), at(2023, 5, 31, 22)),
        (pl.Series([12.5]), None),
    ],
    ids=["naive milliseconds", "nanoseconds", "another zone", "a date", "numbers without a unit"],
)
def test_a_time_with_a_type_is_an_instant(values, expected):
    assert clock("Europe/Berlin").read(values).struct["early"].to_list() == [expected]


@pytest.mark.parametrize(
    ("local", "early", "late"),
    [
        ("2023-03-26T01:59:59", at(2023, 3, 26, 0, 59, 59), None),
        ("2023-03-26T02:00:00", None, None),
        ("2023-03-26T02:59:59", None, None),
        ("2023-03-26T03:00:00", at(2023, 3, 26, 1), None),
        ("2023-10-29T01:59:59", at(2023, 10, 28, 23, 59, 59), None),
        ("2023-10-29T02:00:00", at(2023, 10, 29, 0), at(2023, 10, 29, 1)),
        ("2023-10-29T02:59:59", at(2023, 10, 29, 0, 59, 59), at(2023, 10, 29, 1, 59, 59)),
        ("2023-10-29T03:00:00", at(2023, 10, 29, 2), None),
    ],
)
def test_skipped_local_times_do_not_exist_and_repeated_ones_are_two_instants(local, early, late):
    read = clock("Europe/Berlin").read(pl.Series([local]))
    assert read.to_list() == [{"early": early, "late": late or early}]


@given(
    st.sampled_from(["Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe", "America/Sao_Paulo", "Asia/Kolkata"]),
    st.lists(
        st.datetimes(at(1971, 1, 1).replace(tzinfo=None), at(2090, 1, 1).replace(tzinfo=None)), min_size=1, max_size=30
    ),
)
@settings(max_examples=60, deadline=None)
def test_local_times_agree_with_polars(zone, local):
    read = clock(zone).read(pl.Series(local, dtype=pl.Datetime("us")))
    naive = pl.Series(local, dtype=pl.Datetime("us"))
    for end, which in (("early", "earliest"), ("late", "latest")):
        theirs = naive.dt.replace_time_zone(zone, ambiguous=which, non_existent="null").dt.convert_time_zone("UTC")
        assert read.struct[end].to_list() == theirs.to_list()


@given(
    st.lists(
        st.datetimes(at(1990, 1, 1).replace(tzinfo=None), at(2060, 1, 1).replace(tzinfo=None)), min_size=1, max_size=20
    ),
    st.randoms(),
)
@settings(max_examples=40, deadline=None)
def test_a_mix_of_ways_to_write_iso_reads_each_as_its_own_would(times, random):
    ways = [
        lambda t: (t.isoformat(), t.replace(tzinfo=UTC)),
        lambda t: (t.isoformat(sep=" ") + "Z", t.replace(tzinfo=UTC)),
        lambda t: (t.isoformat() + "+05:30", t.replace(tzinfo=UTC) - timedelta(hours=5.5)),
        lambda t: (f"{t:%Y-%m-%d %H:%M}", t.replace(second=0, microsecond=0, tzinfo=UTC)),
    ]
    written = [random.choice(ways)(t) for t in times]
    read = clock().read(pl.Series([text for text, _ in written]))
    assert read.struct["early"].to_list() == [expected for _, expected in written]


def hours_of(instants, battery="b"):
    """Rows as they come from local times of Berlin that say nothing of summer time."""
    berlin = [instant.astimezone(ZoneInfo("Europe/Berlin")).replace(tzinfo=None) for instant in instants]
    read = clock("Europe/Berlin").read(pl.Series(berlin, dtype=pl.Datetime("us")))
    numbered = pl.DataFrame(
        {"row_number": range(len(instants)), "battery_id": battery}, schema_overrides={"row_number": pl.Int64}
    )
    return numbered.with_columns(early=read.struct["early"], late=read.struct["late"])


def settled(rows):
    late = pl.col("row_number").is_in(second_passes(rows).implode())
    return rows.select(pl.when(late).then("late").otherwise("early").alias("t"))["t"].to_list()


def every(minutes, start=BEFORE, end=AFTER):
    return [
        start + timedelta(minutes=minutes) * step for step in range(int((end - start) / timedelta(minutes=minutes)))
    ]


@pytest.mark.parametrize("minutes", [1 / 60, 1, 5, 15, 30, 60])
def test_times_run_forward_through_the_hour_that_is_lived_twice(minutes):
    instants = every(minutes)
    assert settled(hours_of(instants)) == instants


def test_each_battery_has_its_own_seam():
    instants = every(5)
    rows = pl.concat([hours_of(instants, "a"), hours_of(instants, "b")])
    rows = rows.with_columns(row_number=pl.int_range(pl.len(), dtype=pl.Int64))
    assert settled(rows) == instants * 2


def test_a_gap_in_the_second_pass_is_no_way_back_into_the_first():
    instants = [t for t in every(1) if not at(2023, 10, 29, 1, 5) <= t < at(2023, 10, 29, 1, 50)]
    assert settled(hours_of(instants)) == instants


def test_a_row_that_strays_over_the_seam_keeps_its_pass():
    instants = every(1)
    seam = instants.index(at(2023, 10, 29, 1))
    instants[seam - 1], instants[seam] = instants[seam], instants[seam - 1]
    assert settled(hours_of(instants)) == instants


def test_rows_shuffled_within_a_pass_stay_in_it():
    instants = every(1)
    first, second = instants.index(at(2023, 10, 29, 0, 20)), instants.index(at(2023, 10, 29, 1, 20))
    for start in (first, second):
        instants[start : start + 6] = reversed(instants[start : start + 6])
    assert settled(hours_of(instants)) == instants


def test_rows_that_connect_only_to_what_follows_are_of_the_second_pass():
    instants = every(5, start=at(2023, 10, 29, 1))
    assert settled(hours_of(instants)) == instants


def test_where_it_cannot_be_told_the_hour_is_its_first_pass():
    rows = hours_of(every(5, start=at(2023, 10, 29, 1), end=at(2023, 10, 29, 2)))
    assert settled(rows) == rows["early"].to_list()
