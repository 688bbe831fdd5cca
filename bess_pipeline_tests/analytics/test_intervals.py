"""Condensing to 5 minutes, held against a reference that knows nothing of days, bins by kernel, or frames."""

from collections import defaultdict
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from statistics import median

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bess_pipeline.analytics.intervals import closed, day_evidence, intervals_5min
from bess_pipeline.tables.telemetry import DayEvidence, Interval5min
from bess_pipeline_tests.strategies import START, batteries, clean, histories, sample

HOUR, MINUTE = 3600, 60
BIN = timedelta(minutes=5)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def whole(rows, plates):
    frame = clean(rows)
    return closed(intervals_5min(frame, plates), day_evidence(frame, plates), plates)


def reference(rows, channel, *, sampling):
    """Bin start → [observed seconds, integral of the positive part, of the negative part], by plain arithmetic."""
    value = {
        "current": lambda row: row.get("current_ampere"),
        "power": lambda row: (
            None
            if row.get("current_ampere") is None or row.get("voltage_volt") is None
            else row["current_ampere"] * row["voltage_volt"]
        ),
        "temperature": lambda row: row.get("temperature_celsius"),
    }[channel]
    by_day = defaultdict(list)
    for row in rows:
        by_day[row["timestamp"].date()].append(row["timestamp"])
    usual = {}
    for day, times in by_day.items():
        steps = [(b - a).total_seconds() for a, b in pairwise(sorted(times))]
        usual[day] = min(median(steps), 900.0) if steps else 60.0
    known = sorted((row["timestamp"], value(row)) for row in rows if value(row) is not None)
    bins = defaultdict(lambda: [0.0, 0.0, 0.0])
    for position, (begin, first) in enumerate(known):
        following = known[position + 1] if position + 1 < len(known) else None
        own = usual[begin.date()]
        if sampling == "mean":
            end, last = begin + timedelta(seconds=own), first
            if following is not None:
                end = min(end, following[0])
        elif following is not None and (following[0] - begin).total_seconds() <= max(5 * own, 60):
            end, last = following
        else:
            continue
        length = (end - begin).total_seconds()
        at = begin
        while at < end:
            start = EPOCH + (at - EPOCH) // BIN * BIN
            stop = min(end, start + BIN)
            share = [(moment - begin).total_seconds() / length for moment in (at, stop)]
            for column, sign in ((1, 1.0), (2, -1.0)):
                a, b = max(sign * first, 0.0), max(sign * last, 0.0)
                heights = [a + (b - a) * part for part in share]
                bins[start][column] += sum(heights) / 2 * (stop - at).total_seconds()
            bins[start][0] += (stop - at).total_seconds()
            at = stop
    return dict(bins)


def assert_equal(rows, found, *, sampling):
    columns = {"current": "current_ampere", "power": "power_watt", "temperature": "temperature_celsius"}
    amounts = {
        "current": ("charging_capacity_ah", "discharging_capacity_ah"),
        "power": ("charging_energy_wh", "discharging_energy_wh"),
    }
    for channel, mean in columns.items():
        expected = reference(rows, channel, sampling=sampling)
        got = {row["timestamp"]: row for row in found.to_dicts() if row[f"{channel}_observed_us"]}
        assert set(got) == {start for start, (seconds, *_) in expected.items() if seconds > 0}
        for start, (seconds, up, down) in expected.items():
            assert got[start][f"{channel}_observed_us"] == pytest.approx(seconds * 1e6, abs=0.6)
            assert got[start][mean] == pytest.approx((up - down) / seconds, rel=1e-9, abs=1e-9)
            for part, column in zip((up, down), amounts.get(channel, ()), strict=False):
                assert got[start][column] == pytest.approx(part / HOUR, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("sampling", ["instant", "mean"])
@settings(max_examples=60, deadline=None)
@given(rows=histories())
def test_days_condensed_apart_and_closed_are_the_whole(sampling, rows):
    plates = batteries("b", sampling=sampling)
    found = whole(rows, plates)
    Interval5min.validate(found)
    assert_equal(rows, found, sampling=sampling)


@settings(max_examples=30, deadline=None)
@given(histories(), st.integers(0, 99))
def test_neither_the_order_of_rows_nor_the_batching_of_days_matters(rows, seed):
    plates = batteries("b")
    frame = clean(rows)
    shuffled = frame.sample(fraction=1, shuffle=True, seed=seed)
    together = intervals_5min(frame, plates)
    assert intervals_5min(shuffled, plates).equals(together)
    assert day_evidence(shuffled, plates).equals(day_evidence(frame, plates))
    days = [day for _, day in frame.group_by("date", maintain_order=True)]
    assert pl.concat([intervals_5min(day, plates) for day in days]).sort("timestamp").equals(together)


@settings(max_examples=30, deadline=None)
@given(histories())
def test_reversing_the_current_swaps_the_accounts(rows):
    plates = batteries("b")
    turned = [row | {"current_ampere": None if (i := row["current_ampere"]) is None else -i} for row in rows]
    one, other = whole(rows, plates), whole(turned, plates)
    for ours, theirs in (("charging", "discharging"), ("discharging", "charging")):
        for kind in ("capacity_ah", "energy_wh"):
            assert one[f"{ours}_{kind}"].equals(other[f"{theirs}_{kind}"], check_names=False)


@settings(max_examples=30, deadline=None)
@given(histories(), histories(battery="c"))
def test_batteries_do_not_mix(left, right):
    plates = batteries("b", "c")
    apart = pl.concat([whole(left, plates), whole(right, plates)])
    assert whole(left + right, plates).equals(apart)


def amps(*pairs, **more):
    return [sample(second, current_ampere=float(value), **more) for second, value in pairs]


@pytest.mark.parametrize(
    ("rows", "charged", "discharged", "observed"),
    [
        pytest.param(amps((0, 60), (60, 60)), 1.0, 0.0, 60, id="constant current between neighbours"),
        pytest.param(amps((0, 60), (60, -60)), 0.5, 0.5, 60, id="the signs are split before integrating"),
        pytest.param(amps((0, 60), (60, 60), (6 * HOUR, 60)), 1.0, 0.0, 60, id="a gap is not bridged"),
        pytest.param(amps((0, 60)), None, None, 0, id="one sample observes nothing"),
        pytest.param(amps((0, 0), (60, 60), (120, 0)), 1.0, 0.0, 120, id="a triangle"),
        pytest.param(
            amps((0, 60), (60, 60)) + amps((30, 99), current_out_of_range=True), 1.0, 0.0, 60, id="a flagged value"
        ),
    ],
)
def test_charge_by_hand(rows, charged, discharged, observed):
    """Hand-computed [Ah]: 60 A over a minute is 1 Ah."""
    found = whole(rows, batteries("b"))
    assert found["current_observed_us"].sum() == observed * 1_000_000
    if charged is None:
        assert found["charging_capacity_ah"].to_list() == [None]
    else:
        assert found["charging_capacity_ah"].sum() == pytest.approx(charged)
        assert found["discharging_capacity_ah"].sum() == pytest.approx(discharged)


def test_a_border_splits_by_interpolation():
    """Hand-computed: 0 to 60 A within 4:30 to 5:30, half a minute at a mean of 15 A and half at 45 A."""
    found = whole(amps((270, 0), (330, 60)), batteries("b"))
    assert found["current_ampere"].to_list() == pytest.approx([15.0, 45.0])
    assert found["charging_capacity_ah"].to_list() == pytest.approx([0.125, 0.375])


def test_the_interval_across_midnight_belongs_to_both_days():
    """Hand-computed: 60 A from 23:59 to 00:02, samples every minute but at midnight."""
    rows = amps(
        *((23 * HOUR + 50 * MINUTE + 60 * k, 60) for k in range(10)),
        *((24 * HOUR + 120 + 60 * k, 60) for k in range(9)),
    )
    apart = intervals_5min(clean(rows), batteries("b"))
    assert apart.group_by("date").agg(pl.col("charging_capacity_ah").sum()).sort("date")[
        "charging_capacity_ah"
    ].to_list() == pytest.approx([9.0, 8.0])
    days = whole(rows, batteries("b")).group_by("date").agg(pl.col("charging_capacity_ah").sum()).sort("date")
    assert days["charging_capacity_ah"].to_list() == pytest.approx([10.0, 10.0])


def test_a_mean_holds_past_midnight():
    """Hand-computed: hourly means capped to 15 minutes; the last of the day starts at 23:50 and holds till 00:05."""
    rows = amps((23 * HOUR + 20 * MINUTE, 60), (23 * HOUR + 35 * MINUTE, 60), (23 * HOUR + 50 * MINUTE, 60))
    plates = batteries("b", sampling="mean")
    days = whole(rows, plates).group_by("date").agg(pl.col("charging_capacity_ah").sum()).sort("date")
    assert days["charging_capacity_ah"].to_list() == pytest.approx([40.0, 5.0])


def test_power_alone_gives_energy_and_no_charge():
    rows = [sample(60 * k, power_watt=-6000.0) for k in range(3)]
    found = whole(rows, batteries("b"))
    assert found["discharging_energy_wh"].sum() == pytest.approx(200.0)
    assert found["discharging_capacity_ah"].to_list() == [None]


def test_states_are_read_and_extremes_survive():
    rows = [
        sample(0, soc_bms_percent=None, cell_voltage_min_volt=3.2, cell_voltage_max_volt=3.3, temperature_celsius=20.0),
        sample(
            60, soc_bms_percent=41.0, cell_voltage_min_volt=3.1, cell_voltage_max_volt=3.5, temperature_celsius=26.0
        ),
        sample(
            120, soc_bms_percent=49.0, cell_voltage_min_volt=3.3, cell_voltage_max_volt=3.4, temperature_celsius=22.0
        ),
    ]
    (row,) = whole(rows, batteries("b")).to_dicts()
    assert row["samples"] == 3
    assert row["soc_bms_percent"] == 41.0
    assert (row["cell_voltage_min_volt"], row["cell_voltage_max_volt"]) == (3.1, 3.5)
    assert row["cell_voltage_spread_volt"] == pytest.approx((0.1 + 0.4 + 0.1) / 3)
    assert (row["temperature_min_celsius"], row["temperature_max_celsius"]) == (20.0, 26.0)


def test_the_evidence_of_a_day_by_hand():
    rows = [
        sample(0, current_ampere=0.0, voltage_volt=780.0, temperature_celsius=20.0),
        sample(60, current_ampere=100.0, voltage_volt=790.0, temperature_celsius=22.0),
        sample(120, current_ampere=100.0, voltage_volt=791.0, temperature_celsius=22.0),
        sample(180, current_ampere=-20.0, voltage_volt=778.0, temperature_celsius=24.0, soc_out_of_range=True),
        sample(4000, current_ampere=90.0, voltage_volt=789.0),
    ]
    evidence = day_evidence(clean(rows), batteries("b"))
    DayEvidence.validate(evidence)
    (row,) = evidence.to_dicts()
    assert (row["samples"], row["usual_interval_us"], row["max_gap_us"]) == (5, 60_000_000, 300_000_000)
    assert row["longest_gap_us"] == 3820 * 1_000_000
    assert row["soc_out_of_range"] == 1
    (steps, *rest) = intervals_5min(clean(rows), batteries("b")).to_dicts()
    assert steps["step_count"] == 2
    assert steps["step_current_voltage_sum"] == pytest.approx(100 * 10 + 120 * 13)
    assert steps["step_current_square_sum"] == pytest.approx(100**2 + 120**2)
    assert steps["step_voltage_square_sum"] == pytest.approx(10**2 + 13**2)
    assert all(row["step_count"] == 0 for row in rest)
    edges = {edge["channel"]: edge for edge in row["edges"]}
    assert set(edges) == {"voltage", "current", "power", "temperature"}
    assert edges["temperature"]["last_timestamp"] == START + timedelta(seconds=180)
    assert edges["power"]["first_value"] == 0.0


def test_a_day_of_few_samples_does_not_take_its_gaps_for_usual():
    (row,) = day_evidence(clean(amps((0, 1), (6 * HOUR, 1), (12 * HOUR, 1))), batteries("b")).to_dicts()
    assert row["usual_interval_us"] == 15 * MINUTE * 1_000_000


def test_a_battery_without_a_nameplate_is_refused():
    with pytest.raises(ValueError, match="no nameplate for b"):
        intervals_5min(clean(amps((0, 1))), batteries("c"))


def test_nothing_in_gives_nothing_out():
    empty, plates = clean([]), batteries("b")
    assert Interval5min.validate(intervals_5min(empty, plates)).is_empty()
    assert DayEvidence.validate(day_evidence(empty, plates)).is_empty()
    assert Interval5min.validate(closed(intervals_5min(empty, plates), day_evidence(empty, plates), plates)).is_empty()


def test_the_day_is_that_of_the_bin():
    found = whole(amps((0, 1), (60, 1)), batteries("b"))
    assert found["date"].to_list() == [date(2026, 3, 28)]


def test_a_flagged_ambient_temperature_is_unknown():
    rows = [
        sample(60 * k, ambient_temperature_celsius=value, ambient_temperature_out_of_range=not -60 < value < 200)
        for k, value in enumerate((20.0, 3276.7, 22.0, -61.0))
    ]
    (row,) = whole(rows, batteries("b")).to_dicts()
    assert row["ambient_temperature_celsius"] == pytest.approx(21.0)
    assert row["ambient_temperature_observed_us"] == 120 * 1_000_000


def test_means_have_no_steps():
    """The change from one mean to the next says nothing of what current and voltage did at the same time."""
    rows = [sample(60 * k, current_ampere=100.0 * k, voltage_volt=780.0 + 10 * k) for k in range(3)]
    (instant,) = intervals_5min(clean(rows), batteries("b")).to_dicts()
    (mean,) = intervals_5min(clean(rows), batteries("b", sampling="mean")).to_dicts()
    assert (instant["step_count"], mean["step_count"]) == (2, 0)
    assert mean["step_current_square_sum"] == 0.0


def test_steps_of_the_cell_extremes_and_steady_steps_are_added_up_apart():
    """Hand-computed, 240 cells in series: a step of 100 A up and one down.

    Before the second the voltage drifted by 1 V while the current stood at 100 A: it is taken off. Before
    the first there is no sample, so that nobody knows whether the current stood still.
    """
    rows = [
        sample(0, current_ampere=0.0, voltage_volt=780.0, cell_voltage_min_volt=3.24, cell_voltage_max_volt=3.26),
        sample(60, current_ampere=100.0, voltage_volt=790.0, cell_voltage_min_volt=3.275, cell_voltage_max_volt=3.3),
        sample(120, current_ampere=100.0, voltage_volt=791.0, cell_voltage_min_volt=3.28, cell_voltage_max_volt=3.305),
        sample(180, current_ampere=0.0, voltage_volt=782.0, cell_voltage_min_volt=3.245, cell_voltage_max_volt=3.265),
    ]
    (row,) = intervals_5min(clean(rows), batteries("b")).to_dicts()
    first = (790.0 - 240 * 3.2875) - (780.0 - 240 * 3.25)
    second = (782.0 - 240 * 3.255) - (791.0 - 240 * 3.2925)
    assert (row["step_count"], row["step_cell_count"], row["step_steady_count"]) == (2, 2, 1)
    assert row["step_steady_current_voltage_sum"] == pytest.approx(-100 * -10)
    assert row["step_steady_current_square_sum"] == pytest.approx(100**2)
    assert row["step_steady_voltage_square_sum"] == pytest.approx(10**2)
    assert row["step_cell_current_square_sum"] == pytest.approx(2 * 100**2)
    assert row["step_outside_current_sum"] == pytest.approx(100 * first - 100 * second)
    assert row["step_outside_square_sum"] == pytest.approx(first**2 + second**2)
    assert row["step_magnitude_square_sum"] == pytest.approx(2 * 100**2)
    assert row["step_spread_magnitude_sum"] == pytest.approx(100 * 0.005 + 100 * 0.005)
    assert row["step_spread_square_sum"] == pytest.approx(2 * 0.005**2)


@pytest.mark.parametrize(
    ("seconds", "amperes", "steps"),
    [
        pytest.param(60, 14.0, 1, id="0.05 C of 280 Ah within a minute"),
        pytest.param(61, 14.0, 0, id="too far apart"),
        pytest.param(60, 13.9, 0, id="too small"),
        pytest.param(60, -14.0, 1, id="downwards"),
    ],
)
def test_what_counts_as_a_step(seconds, amperes, steps):
    rows = [
        sample(second, current_ampere=value, voltage_volt=780.0) for second, value in ((0, 0.0), (seconds, amperes))
    ]
    assert intervals_5min(clean(rows), batteries("b"))["step_count"].sum() == steps


def test_the_spread_of_the_day_is_told_by_its_95th_percentile():
    """Hand-computed: of 0, 1, ..., 20 mK and mV the 95th percentile is the 20th of 21."""
    rows = [
        sample(
            60 * k,
            cell_voltage_min_volt=3.0,
            cell_voltage_max_volt=3.0 + k / 1000,
            temperature_celsius=20.0,
            temperature_max_celsius=20.0 + k / 1000,
        )
        for k in range(21)
    ]
    (row,) = day_evidence(clean(rows), batteries("b")).to_dicts()
    assert row["cell_voltage_spread_p95_volt"] == pytest.approx(0.019)
    assert row["temperature_spread_p95_kelvin"] == pytest.approx(0.019)


def test_no_step_leads_from_one_day_or_battery_or_fleet_to_the_next():
    """Half a minute lies between the two of each pair."""

    def jump(battery, seconds, amperes, **more):
        return sample(seconds, battery, current_ampere=amperes, voltage_volt=780.0, **more)

    midnight = 24 * HOUR
    rows = [
        jump("b", midnight - 15, 0.0),
        jump("b", midnight + 15, 100.0),
        jump("c", midnight + 45, 0.0),
        jump("c", midnight + 75, 0.0),
        jump("c", midnight + 105, 100.0, fleet_id="g"),
    ]
    plates = pl.concat([batteries("b", "c"), batteries("c", fleet="g")])
    found = intervals_5min(clean(rows), plates)
    assert found.group_by("fleet_id", "battery_id", "date", maintain_order=True).agg(
        pl.col("samples", "step_count").sum()
    ).drop("date").rows() == [("f", "b", 1, 0), ("f", "b", 1, 0), ("f", "c", 2, 0), ("g", "c", 1, 0)]


def test_the_meters_of_converter_and_auxiliaries_are_integrated_apart():
    """Hand-computed: 6 kW in for a minute are 100 Wh, 3 kW out 50; 600 W for two minutes are 20 Wh."""
    powers = (6000.0, 6000.0, -3000.0, -3000.0)
    rows = [
        sample(second, power_ac_watt=power, auxiliary_power_watt=600.0 if second <= 120 else None)
        for second, power in zip((0, 60, 60.000001, 120), powers, strict=True)
    ]
    (row,) = whole(rows, batteries("b")).to_dicts()
    assert row["charging_energy_ac_wh"] == pytest.approx(100)
    assert row["discharging_energy_ac_wh"] == pytest.approx(50)
    assert row["auxiliary_energy_wh"] == pytest.approx(20)
    assert row["auxiliary_energy_returned_wh"] == 0
    assert (row["power_ac_observed_us"], row["auxiliary_power_observed_us"]) == (120_000_000, 120_000_000)
    assert row["charging_energy_wh"] is None


def test_without_meters_there_is_no_energy_of_theirs():
    (row,) = whole(amps((0, 60), (60, 60)), batteries("b")).to_dicts()
    assert row["charging_energy_ac_wh"] is None
    assert row["auxiliary_energy_wh"] is None
    assert (row["power_ac_observed_us"], row["auxiliary_power_observed_us"]) == (0, 0)
