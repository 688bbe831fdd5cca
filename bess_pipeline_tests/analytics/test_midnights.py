"""Midnights closed: held to the microsecond and the digit against exact arithmetic that knows nothing of days."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from itertools import pairwise, zip_longest
from statistics import median

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from bess_pipeline.analytics.intervals import closed, day_evidence, intervals_5min
from bess_pipeline.tables.telemetry import DayEvidence, Interval5min
from bess_pipeline_tests.analytics.made_samples import MIDNIGHT, clean_frame, nameplates, samples_around_midnights

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
BIN = 300_000_000
HOUR = 3_600_000_000
MEANS = {
    "voltage": "voltage_volt",
    "current": "current_ampere",
    "power": "power_watt",
    "temperature": "temperature_celsius",
    "ambient_temperature": "ambient_temperature_celsius",
    "power_ac": "power_ac_watt",
    "auxiliary_power": "auxiliary_power_watt",
}
AMOUNTS = {
    "current": ("charging_capacity_ah", "discharging_capacity_ah"),
    "power": ("charging_energy_wh", "discharging_energy_wh"),
    "power_ac": ("charging_energy_ac_wh", "discharging_energy_ac_wh"),
    "auxiliary_power": ("auxiliary_energy_wh", "auxiliary_energy_returned_wh"),
}


def _value(row: dict[str, object], channel: str) -> Fraction | None:
    def read(name: str) -> float | None:
        return None if row.get(f"{name}_out_of_range") else row[MEANS[name]]

    value = read(channel)
    if channel == "power" and read("voltage") is not None and read("current") is not None:
        value = read("voltage") * read("current")
    return None if value is None else Fraction(value)


def _usual(rows: list[dict[str, object]]) -> dict[object, int]:
    """The usual interval of the day of each sample [µs]."""
    days = defaultdict(list)
    for row in rows:
        days[row["timestamp"].date()].append(row["timestamp"])
    steps = {day: [(b - a) // MICROSECOND for a, b in pairwise(times)] for day, times in days.items()}
    return {day: min(int(median(found)), 900_000_000) if found else 60_000_000 for day, found in steps.items()}


def _reference(rows: list[dict[str, object]], channel: str, *, is_mean: bool) -> dict[int, list[Fraction]]:
    """Bin [µs] → observed time, integrals of the positive and of the negative part, in exact fractions."""
    usual = _usual(rows)
    known = [((row["timestamp"] - EPOCH) // MICROSECOND, _value(row, channel), row["timestamp"].date()) for row in rows]
    known = [entry for entry in known if entry[1] is not None]
    bins: dict[int, list[Fraction]] = defaultdict(lambda: [Fraction(0)] * 3)
    for here, following in zip_longest(known, known[1:]):
        (begin, first, day), end = here, here[0]
        last = first
        if is_mean:
            end = begin + usual[day] if following is None else min(begin + usual[day], following[0])
        elif following is not None and following[0] - begin <= max(5 * usual[day], 60_000_000):
            end, last = following[:2]
        borders = [border for border in range((begin // BIN + 1) * BIN, end + BIN, BIN) if border < end]
        for a, b in pairwise([begin, *borders, end]) if end > begin else ():
            found = [Fraction(b - a)]
            for sign in (1, -1):
                left, right = max(sign * first, 0), max(sign * last, 0)
                middle = Fraction(a + b - 2 * begin, 2 * (end - begin))
                found.append((left + (right - left) * middle) * (b - a))
            start = a // BIN * BIN
            bins[start] = [held + more for held, more in zip(bins[start], found, strict=True)]
    return bins


def _closed(rows: list[dict[str, object]], plates: pl.DataFrame) -> pl.DataFrame:
    """Each day condensed apart from the others, then closed."""
    days = [day for _, day in clean_frame(rows).group_by("date", maintain_order=True)]
    intervals = pl.concat(intervals_5min(day, plates) for day in days)
    return closed(intervals, pl.concat(day_evidence(day, plates) for day in days), plates)


def _same(found: float | None, expected: Fraction) -> bool:
    return found is not None and abs(found - float(expected)) <= 1e-9 * max(1.0, abs(float(expected)))


def _assert_equal(found: pl.DataFrame, rows: list[dict[str, object]], *, is_mean: bool) -> None:
    got = {(row["timestamp"] - EPOCH) // MICROSECOND: row for row in found.to_dicts()}
    occupied = {(row["timestamp"] - EPOCH) // MICROSECOND // BIN * BIN for row in rows}
    for channel, mean in MEANS.items():
        expected = _reference(rows, channel, is_mean=is_mean)
        occupied |= expected.keys()
        for start, row in got.items():
            observed, up, down = expected.get(start, [Fraction(0)] * 3)
            assert row[f"{channel}_observed_us"] == observed
            names = AMOUNTS.get(channel, ())
            if not observed:
                assert [row[name] for name in (mean, *names)] == [None] * (1 + len(names))
                continue
            assert _same(row[mean], (up - down) / observed)
            for name, part in zip(names, (up, down), strict=False):
                assert _same(row[name], part / HOUR)
    assert got.keys() == occupied


@pytest.mark.parametrize("sampling", ["instant", "mean"])
@settings(max_examples=40, deadline=None)
@given(rows=samples_around_midnights(batteries=("b",)))
def test_every_channel_of_days_condensed_apart_is_that_of_the_whole(sampling, rows):
    found = _closed(rows, nameplates(["b"], sampling=sampling))
    Interval5min.validate(found)
    _assert_equal(found, rows, is_mean=sampling == "mean")


@settings(max_examples=15, deadline=None)
@given(samples_around_midnights())
def test_batteries_of_both_kinds_of_sampling_do_not_mix(rows):
    kinds = {"a": "mean", "b": "instant"}
    plates = pl.concat(nameplates([name], sampling=kind) for name, kind in kinds.items())
    found = _closed(rows, plates)
    for name, kind in kinds.items():
        own = [row for row in rows if row["battery_id"] == name]
        _assert_equal(found.filter(battery_id=name), own, is_mean=kind == "mean")


@settings(max_examples=15, deadline=None)
@given(samples_around_midnights(), st.integers(0, 99))
def test_the_order_of_rows_does_not_matter(rows, seed):
    plates = nameplates(["a", "b"])
    intervals, evidence = (make(clean_frame(rows), plates) for make in (intervals_5min, day_evidence))
    DayEvidence.validate(evidence)

    def shuffled(frame: pl.DataFrame) -> pl.DataFrame:
        return frame.sample(fraction=1, shuffle=True, seed=seed)

    assert_frame_equal(
        closed(shuffled(intervals), shuffled(evidence), shuffled(plates)),
        closed(intervals, evidence, plates),
        check_exact=True,
    )


def _at(seconds: float, **values: object) -> dict[str, object]:
    return {"timestamp": MIDNIGHT + timedelta(seconds=seconds), "current_ampere": 36.0, **values}


def _charged(rows: list[dict[str, object]], sampling: str = "instant") -> dict[str, float]:
    """Charge by bin [Ah]: 36 A are 0.01 Ah a second."""
    found = _closed(rows, nameplates(["b"], sampling=sampling)).drop_nulls("charging_capacity_ah")
    return dict(found.select(pl.col("timestamp").dt.strftime("%d %H:%M"), "charging_capacity_ah").iter_rows())


@pytest.mark.parametrize(
    ("rows", "sampling", "charged"),
    [
        pytest.param(
            [_at(-90), _at(-30), _at(30), _at(90)], "instant", {"01 23:55": 0.9, "02 00:00": 0.9}, id="a minute over it"
        ),
        pytest.param([_at(-60), _at(0)], "instant", {"01 23:55": 0.6}, id="a sample at midnight closes the day before"),
        pytest.param([_at(-60), _at(241)], "instant", {}, id="a day of one sample is taken for one of minutes"),
        pytest.param(
            [_at(-60), _at(240)], "instant", {"01 23:55": 0.6, "02 00:00": 2.4}, id="which bridges five of them"
        ),
        pytest.param(
            [_at(-90), _at(-30), _at(400), _at(401)], "instant", {"01 23:55": 0.6, "02 00:05": 0.01}, id="too silent"
        ),
        pytest.param(
            [_at(-1200), _at(-600), _at(600), _at(601)],
            "instant",
            {
                "01 23:40": 3,
                "01 23:45": 3,
                "01 23:50": 3,
                "01 23:55": 3,
                "02 00:00": 3,
                "02 00:05": 3,
                "02 00:10": 0.01,
            },
            id="the rule is that of the day before; bins without samples appear",
        ),
        pytest.param(
            [_at(-30), _at(30, current_ampere=-36.0)],
            "instant",
            {"01 23:55": 0.225, "02 00:00": 0.075},
            id="the parts are taken apart before midnight cuts them",
        ),
        pytest.param(
            [_at(-960), _at(-60)],
            "mean",
            {
                "01 23:40": 0.6,
                **dict.fromkeys(("01 23:45", "01 23:50", "01 23:55", "02 00:00", "02 00:05"), 3.0),
                "02 00:10": 2.4,
            },
            id="a mean holds past midnight, into a day without samples",
        ),
        pytest.param(
            [_at(-960), _at(-60), _at(30)],
            "mean",
            {"01 23:40": 0.6, **dict.fromkeys(("01 23:45", "01 23:50", "01 23:55"), 3.0), "02 00:00": 0.3 + 0.6},
            id="but not past the next day's first sample",
        ),
    ],
)
def test_midnights_made_by_hand(rows, sampling, charged):
    assert _charged(rows, sampling) == pytest.approx(charged)
