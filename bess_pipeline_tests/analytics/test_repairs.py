"""Units and signs in the history of a battery: what is found, what is left alone, and what can be taken back."""

from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from bess_pipeline.analytics.repairs import repaired
from bess_pipeline.analytics.repairs import repairs as searched
from bess_pipeline.sources.simulate import Plan
from bess_pipeline_tests.analytics.made_days import START, made_batteries, made_intervals
from bess_pipeline_tests.analytics.made_fleets import JUDGED_BY, fleet, judged


def repairs(intervals, batteries):
    return searched(intervals, batteries).repairs


PROFILES = ("arbitrage", "pv", "frequency", "peak_shaving")
OFTEN = {"unit_mv": 0.8, "unit_f": 1.1, "soc_frac": 0.8, "sign_flip": 0.8, "clock": 0.0}
HEAT = ("temperature_celsius", "temperature_min_celsius", "temperature_max_celsius")


@pytest.fixture(scope="module")
def fleets():
    """Eight fleets of five racks and 30 days, each chemistry in each use, with all faults that data have in life.

    A clock that is astray is repaired before there are rows, and left out.
    """
    kinds = [(chemistry, profile) for chemistry in ("LFP", "NMC") for profile in PROFILES]
    return [
        fleet(Plan(f"f{n}", batteries=5, days=30, seed=n, chemistry=chemistry, profile=profile, data_fault_rates=OFTEN))
        for n, (chemistry, profile) in enumerate(kinds)
    ]


@pytest.mark.parametrize("kind", JUDGED_BY)
def test_of_twenty_faults_and_more_nearly_every_row_is_recovered_and_no_good_one_altered(fleets, kind):
    rows = pl.concat([judged(made, kind).with_columns(fleet=pl.lit(n)) for n, made in enumerate(fleets)])
    struck = rows.drop_nulls("event")
    events = struck.select("fleet", "event").n_unique()
    assert events >= 20
    recovered = struck["right"].mean()
    assert recovered >= 0.95, f"{recovered:.4f} of {struck.height} rows in {events} events"
    good = rows.filter(~pl.col("beside"))
    altered = good["altered"].sum()
    assert altered <= 1e-4 * good.height, f"{altered} of {good.height} good rows"


def test_nothing_is_repaired_where_nothing_is_wrong(fleets):
    for made in fleets:
        assert repairs(made.true, made.batteries).is_empty()
        assert_frame_equal(
            repaired(made.true, repairs(made.true, made.batteries)),
            made.true.with_columns(repairs=pl.lit(None, pl.String)),
            check_exact=True,
        )


def test_the_order_of_rows_and_the_company_of_batteries_do_not_matter(fleets):
    made = fleets[0]
    shuffled = made.came.sample(fraction=1.0, shuffle=True, seed=1)
    assert_frame_equal(repairs(shuffled, made.batteries), made.found, check_exact=True)
    for battery in made.batteries["battery_id"]:
        alone = repairs(made.came.filter(battery_id=battery), made.batteries.filter(battery_id=battery))
        assert_frame_equal(alone, made.found.filter(battery_id=battery), check_exact=True)


def test_a_converted_row_can_be_taken_back_to_the_row_as_it_came(fleets):
    """A sign to the last digit, units to the rounding of one division."""
    for made in fleets:
        for kind in ("current_sign", "temperature_unit", "soc_unit"):
            mine = pl.col("repairs").str.split(",").list.contains(kind).fill_null(value=False)
            read = made.read.filter(mine)
            came = made.came.join(read, on=["battery_id", "timestamp"], how="semi").sort("battery_id", "timestamp")
            if kind == "current_sign":
                read = read.filter(pl.col("current_ampere").is_not_null())
                came = came.join(read, on=["battery_id", "timestamp"], how="semi").sort("battery_id", "timestamp")
                for name, of in (("current_ampere", -1), ("power_watt", -1), ("step_current_voltage_sum", -1),
                                 ("step_steady_current_voltage_sum", -1), ("step_outside_current_sum", -1),
                                 ("step_spread_magnitude_sum", 1)):  # fmt: skip
                    assert (of * read[name]).to_list() == came[name].to_list()
                for name, other in (("charging_capacity_ah", "discharging_capacity_ah"),
                                    ("charging_energy_wh", "discharging_energy_wh")):  # fmt: skip
                    assert read[name].to_list() == came[other].to_list()
                    assert read[other].to_list() == came[name].to_list()
            elif kind == "temperature_unit":
                for name in HEAT:
                    known = read[name].is_not_null()
                    back = read[name].filter(known) * 1.8 + 32
                    np.testing.assert_allclose(back, came[name].filter(known), rtol=1e-12)
            else:
                back = read["soc_bms_percent"] / 100
                np.testing.assert_allclose(back.drop_nulls(), came["soc_bms_percent"].drop_nulls(), rtol=1e-12)


DAY = 288


def history(heat, **columns):
    """5-minute rows of one battery with these temperatures [°C]; the probes are one kelvin apart."""
    heat = np.asarray(heat, float)
    told = dict(zip(HEAT, (heat, heat - 1, heat + 1), strict=True)) | columns
    at = [START + timedelta(minutes=5 * number) for number in range(len(heat))]
    return made_intervals(pl.DataFrame({"battery_id": "b0", "timestamp": at, **told}).to_dicts())


def fahrenheit(heat):
    return 1.8 * np.asarray(heat) + 32


def days_at(celsius, days=3):
    return celsius + 2 * np.sin(2 * np.pi * np.arange(days * DAY) / DAY)


def done(intervals):
    found = repairs(intervals, made_batteries(1))
    return found, {(row["kind"], row["action"], row["intervals"]) for row in found.to_dicts()}


@pytest.mark.parametrize("celsius", [-20.0, 5.0, 25.0, 35.0, 60.0])
@pytest.mark.parametrize("first", [1, 400])
def test_days_in_fahrenheit_are_found_to_the_interval(celsius, first):
    heat = days_at(celsius, 4)
    struck = heat.copy()
    struck[first : first + 500] = fahrenheit(heat[first : first + 500])
    rows = history(struck, ambient_temperature_celsius=np.full(len(heat), celsius))
    found, kinds = done(rows)
    assert kinds == {("temperature_unit", "converted", 500)}
    assert found["started_at"].item() == START + timedelta(minutes=5 * first)
    np.testing.assert_allclose(repaired(rows, found)["temperature_celsius"], heat, atol=1e-9)


def test_fahrenheit_is_found_though_it_began_or_ends_beyond_what_is_known():
    heat = days_at(25.0, 4)
    for hit in (slice(0, 500), slice(700, None), slice(None)):
        struck = heat.copy()
        struck[hit] = fahrenheit(heat[hit])
        found, kinds = done(history(struck))
        assert kinds == {("temperature_unit", "converted", len(heat[hit]))}
        np.testing.assert_allclose(repaired(history(struck), found)["temperature_celsius"], heat, atol=1e-9)


def test_a_silence_in_a_fault_does_not_end_it():
    heat = days_at(25.0, 5)
    struck = heat.copy()
    struck[300:900] = fahrenheit(heat[300:900])
    keep = np.ones(len(heat), bool)
    keep[500:640] = False
    rows = history(struck).filter(pl.Series(keep))
    found, _ = done(rows)
    np.testing.assert_allclose(repaired(rows, found)["temperature_celsius"], heat[keep], atol=1e-9)


def test_an_interval_that_holds_both_units_is_left_out():
    heat = days_at(25.0, 4)
    struck = heat.copy()
    struck[400:900] = fahrenheit(heat[400:900])
    struck[400] = (heat[400] + struck[401]) / 2
    found, kinds = done(history(struck))
    assert kinds == {("temperature_unit", "excluded", 1), ("temperature_unit", "converted", 499)}
    assert repaired(history(struck), found)["temperature_celsius"][400] is None


#: From the heat of a day to its peak in so many intervals, then so many at the peak, then what follows.
FIRES = [
    (peak, rise, hold, after)
    for peak in (70.0, 77.0, 85.0, 90.0, 95.0, 150.0)
    for rise in (1, 4, 12)
    for hold in (1, 12, 72)
    for after in ("nothing", "cooling")
]


@pytest.mark.parametrize("ambient", [None, 20.0])
def test_a_battery_that_burns_is_never_read_as_fahrenheit(ambient):
    """25 to 70 °C and more within five minutes, twenty, or an hour; 77 °C is what 25 °C is in Fahrenheit."""
    for peak, rise, hold, after in FIRES:
        calm = days_at(25.0)
        heat = np.concatenate([calm, np.linspace(calm[-1], peak, rise + 1)[1:], np.full(hold, peak)])
        if after == "cooling":
            heat = np.concatenate([heat, 25 + (peak - 25) * np.exp(-np.arange(2 * DAY) / 60)])
        rows = history(heat, ambient_temperature_celsius=np.full(len(heat), ambient))
        found = repairs(rows, made_batteries(1))
        assert set(found["action"]) <= {"suspected"}, (peak, rise, hold, after)
        assert repaired(rows, found)["temperature_celsius"].to_list() == rows["temperature_celsius"].to_list()


def test_a_day_at_the_reading_of_fahrenheit_is_not_converted_where_one_probe_burns_alone():
    calm = days_at(25.0)
    heat = np.concatenate([calm, np.full(2 * DAY, 77.0)])
    hottest = np.concatenate([calm + 1, np.full(2 * DAY, 140.0)])
    assert set(repairs(history(heat, temperature_max_celsius=hottest), made_batteries(1))["action"]) <= {"suspected"}


@pytest.mark.parametrize("celsius", [60.0, -20.0, 0.0, 45.0])
def test_heat_and_frost_are_no_fahrenheit(celsius):
    slow = celsius + np.concatenate([np.linspace(-15, 0, 600), np.zeros(600), np.linspace(0, -15, 600)])
    assert repairs(history(slow), made_batteries(1)).is_empty()


def charged(days=4):
    """Reported charge [%] and what flows [Ah] of a battery of 100 Ah that swings between 20 and 90 %."""
    level = 55 - 35 * np.cos(2 * np.pi * np.arange(days * DAY) / DAY)
    moved = np.diff(level, append=level[:1])
    return level, {
        "charging_capacity_ah": np.maximum(moved, 0),
        "discharging_capacity_ah": np.maximum(-moved, 0),
        "charging_energy_wh": 360 * np.maximum(moved, 0),
        "discharging_energy_wh": 360 * np.maximum(-moved, 0),
        "current_ampere": 12 * moved,
        "current_abs_max_ampere": np.abs(12 * moved),
        "power_watt": 12 * 360 * moved,
    }


def turned(flow, hit):
    """The same with charge and discharge exchanged in some rows."""
    other = {name: values.copy() for name, values in flow.items()}
    for into, out in (
        ("charging_capacity_ah", "discharging_capacity_ah"),
        ("charging_energy_wh", "discharging_energy_wh"),
    ):
        other[into][hit], other[out][hit] = flow[out][hit], flow[into][hit]
    for name in ("current_ampere", "power_watt"):
        other[name][hit] = -flow[name][hit]
    return other


@pytest.mark.parametrize("hit", [slice(300, 900), slice(0, 500), slice(600, None), slice(None)],
                         ids=["within", "from the first", "to the last", "from the first to the last"])  # fmt: skip
def test_a_charge_that_is_reported_as_a_fraction_becomes_percent(hit):
    level, flow = charged()
    told = level.copy()
    told[hit] = np.round(level[hit] / 100, 3)
    rows = history(days_at(25.0, 4), soc_bms_percent=told, **flow)
    found, kinds = done(rows)
    assert kinds == {("soc_unit", "converted", len(level[hit]))}
    np.testing.assert_allclose(repaired(rows, found)["soc_bms_percent"], level, atol=0.051)


def test_a_battery_that_is_nearly_empty_reports_no_fraction():
    level = np.concatenate([np.linspace(5, 0.4, 200), np.full(600, 0.4), np.linspace(0.4, 5, 200)])
    moved = np.diff(level, append=level[-1:])
    flow = {"charging_capacity_ah": np.maximum(moved, 0), "discharging_capacity_ah": np.maximum(-moved, 0)}
    assert repairs(history(np.full(1000, 25.0), soc_bms_percent=level, **flow), made_batteries(1)).is_empty()


@pytest.mark.parametrize("fraction", [False, True])
def test_a_current_of_the_wrong_sign_is_turned_though_the_charge_is_told_as_a_fraction(fraction):
    """Two faults at once: what is told of the charge proves the sign only once it is read in percent."""
    level, flow = charged(5)
    hit = slice(500, 900)
    told = np.where(
        (np.arange(5 * DAY) >= 400) & (np.arange(5 * DAY) < 1000) & fraction, np.round(level / 100, 3), level
    )
    rows = history(days_at(25.0, 5), soc_bms_percent=told, **turned(flow, hit))
    found, kinds = done(rows)
    assert {kind for kind, action, _ in kinds if action == "converted"} == {"current_sign"} | (
        {"soc_unit"} if fraction else set()
    )
    read = repaired(rows, found)
    known = read["current_ampere"].is_not_null() & (pl.Series(np.abs(flow["current_ampere"])) > 1)
    assert known.sum() >= 0.98 * (np.abs(flow["current_ampere"]) > 1).sum()
    np.testing.assert_allclose(read["current_ampere"].filter(known), flow["current_ampere"][known.to_numpy()])
    np.testing.assert_allclose(read["soc_bms_percent"], level, atol=0.051)


def test_a_sign_that_is_wrong_throughout_is_suspected_and_left():
    level, flow = charged()
    rows = history(days_at(25.0, 4), soc_bms_percent=level, **turned(flow, slice(None)))
    found, kinds = done(rows)
    assert {(kind, action) for kind, action, _ in kinds} == {("current_sign", "suspected")}
    assert sum(count for *_, count in kinds) > 3 * DAY
    assert_frame_equal(repaired(rows, found), rows.with_columns(repairs=pl.lit(None, pl.String)), check_exact=True)


@pytest.mark.parametrize(("days", "right"), [(24, 8), (16, 2)])
def test_a_reversal_that_lasts_longer_than_what_was_right_before_is_turned(days, right):
    level, flow = charged(days)
    hit = slice(right * DAY + 100, None)
    rows = history(np.full(days * DAY, 25.0), soc_bms_percent=level, **turned(flow, hit))
    found, kinds = done(rows)
    assert {(kind, action) for kind, action, _ in kinds} == {
        ("current_sign", "converted"),
        ("current_sign", "excluded"),
    }
    read = repaired(rows, found)["current_ampere"]
    np.testing.assert_allclose(read.drop_nulls(), flow["current_ampere"][read.is_not_null().to_numpy()])


def test_fahrenheit_that_could_be_celsius_is_believed_after_a_week():
    """5 °C is 41 °F, as possible as any; only an end, or a time for which no fire lasts, proves it."""
    heat = days_at(5.0, 12)
    struck = heat.copy()
    struck[DAY:] = fahrenheit(heat[DAY:])
    for days, action in ((7, "suspected"), (9, "converted")):
        _, kinds = done(history(struck[: days * DAY]))
        assert kinds == {("temperature_unit", action, (days - 1) * DAY)}


def test_all_three_faults_at_once_are_told_apart():
    level, flow = charged(6)
    heat = days_at(25.0, 6)
    struck, told = heat.copy(), level.copy()
    struck[600:1200] = fahrenheit(heat[600:1200])
    told[700:1300] = np.round(level[700:1300] / 100, 3)
    rows = history(struck, soc_bms_percent=told, **turned(flow, slice(650, 1100)))
    found, kinds = done(rows)
    assert {kind for kind, *_ in kinds} == {"temperature_unit", "soc_unit", "current_sign"}
    read = repaired(rows, found)
    np.testing.assert_allclose(read["temperature_celsius"], heat, atol=1e-9)
    np.testing.assert_allclose(read["soc_bms_percent"], level, atol=0.051)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([0.0, 0.3, 1.0]), st.floats(-10, 45), st.sampled_from([None, 0.0, 8.0]))
def test_an_ordinary_history_is_never_repaired(seed, noise, celsius, apart):
    """Any climate, noise and silences; the ambient temperature may be unknown."""
    random = np.random.default_rng(seed)
    level, flow = charged(3)
    heat = days_at(celsius, 3) + noise * random.standard_normal(3 * DAY)
    ambient = np.full(3 * DAY, np.nan if apart is None else celsius - apart)
    told = level + noise * random.standard_normal(3 * DAY)
    rows = history(heat, soc_bms_percent=told, ambient_temperature_celsius=ambient, **flow).with_columns(
        pl.col("ambient_temperature_celsius").fill_nan(None)
    )
    begin, length = random.integers(0, 700), random.integers(0, 300)
    rows = rows.filter(~pl.int_range(pl.len()).is_between(begin, begin + length))
    found = repairs(rows, made_batteries(1))
    assert found.is_empty()
    assert_frame_equal(repaired(rows, found), rows, check_exact=True)


def test_nothing_is_repaired_of_nothing():
    empty = history([25.0]).clear()
    found = repairs(empty, made_batteries(1))
    assert found.is_empty()
    assert repaired(empty, found).is_empty()
