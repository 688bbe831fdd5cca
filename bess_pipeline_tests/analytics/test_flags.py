"""Each rule of what is wrong with a sample: where it speaks, where it must not, and what it must not depend on."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from bess_pipeline.analytics.flags import RULES
from bess_pipeline.analytics.telemetry import clean
from bess_pipeline.tables.telemetry import FLAGS, MEASUREMENTS
from bess_pipeline_tests.analytics import made_telemetry as made
from bess_pipeline_tests.analytics.made_samples import nameplates
from bess_pipeline_tests.analytics.made_telemetry import changed, counted, cycling, found, held, sampled, worked

SECONDS = made.grid(60)
TEMPERATURES = ("temperature_celsius", "temperature_min_celsius", "temperature_max_celsius")
CELLS = ("cell_voltage_min_volt", "cell_voltage_max_volt")


@pytest.fixture(scope="module")
def working():
    """A day of frequency regulation at a minute, with noise as large as the last digits; nothing is wrong."""
    return worked(SECONDS, made.regulating(SECONDS), sensors=made.SITE, noise=made.SITE_NOISE)


@pytest.fixture(scope="module")
def resting():
    """A day of idling with an offset of the current sensor."""
    return worked(SECONDS, made.idling(SECONDS), sensors=made.SITE, noise=made.SITE_NOISE, offset=0.3)


def marked(columns, flag, seconds=SECONDS, **plates):
    """Places of the samples that carry a flag."""
    return set(found(sampled(seconds, columns), **plates)[flag].arg_true().to_list())


def without(columns, *names):
    return {name: values for name, values in columns.items() if name not in names}


def times(columns, name, factor, place=700):
    return changed(columns, {name: columns[name][place] * factor}, place, place + 1)


def ramp(columns, names, first, after):
    """Straight lines between two samples, as somebody draws them who fills a gap."""
    return changed(columns, {name: np.linspace(columns[name][first], columns[name][after - 1], after - first)
                             for name in names}, first, after)  # fmt: skip


#: Rule → a fault on the working day, and the samples that must be flagged at least; others must not be.
FIRES = {
    "missing_value": (lambda day: changed(day, {"current_ampere": np.nan}, 100, 103), range(100, 103)),
    "frozen": (lambda day: held(day, list(day), 600, 660), range(600, 660)),
    "interpolated": (lambda day: ramp(day, ("voltage_volt", "current_ampere"), 600, 640), range(601, 639)),
    "voltage_out_of_range": (lambda day: changed(day, {"voltage_volt": 65535.0}, 9, 11), range(9, 11)),
    "voltage_spike": (lambda day: times(day, "voltage_volt", 1.2), range(700, 701)),
    "voltage_stuck": (lambda day: held(day, ["voltage_volt"], 600, 700), range(600, 700)),
    "current_out_of_range": (lambda day: changed(day, {"current_ampere": 2001.0}, 50, 51), range(50, 51)),
    "current_spike": (lambda day: changed(day, {"current_ampere": 150.0}, 701, 702), range(701, 702)),
    "current_stuck": (lambda day: held(day, ["current_ampere"], 600, 700), range(600, 700)),
    "power_out_of_range": (lambda day: day | {"power_watt": changed(day, {"voltage_volt": 1e6}, 7, 8)["voltage_volt"]},
                           range(7, 8)),
    "temperature_out_of_range": (lambda day: changed(day, {"temperature_max_celsius": 6553.5}, 3, 4), range(3, 4)),
    "temperature_spike": (lambda day: times(day, "temperature_celsius", 2.5), range(700, 701)),
    "temperature_stuck": (lambda day: held(day, ["temperature_celsius"], 600, 700), range(600, 700)),
    "ambient_temperature_out_of_range": (
        lambda day: day | {"ambient_temperature_celsius": np.where(SECONDS == 600, -273.15, 20.0)}, range(10, 11)),
    "cell_voltage_out_of_range": (lambda day: changed(day, {CELLS[0]: 0.0}, 33, 34), range(33, 34)),
    "cell_voltage_in_millivolt": (lambda day: day | {name: 1000 * day[name] for name in CELLS}, range(1440)),
    "cell_voltage_spike": (lambda day: times(day, CELLS[1], 1.1), range(700, 701)),
    "cell_voltage_stuck": (lambda day: held(day, [CELLS[0]], 600, 700), range(600, 700)),
    "soc_out_of_range": (lambda day: changed(day, {"soc_bms_percent": 6553.5}, 5, 7), range(5, 7)),
    "soc_spike": (lambda day: times(day, "soc_bms_percent", 1.5), range(700, 701)),
    "soc_jump": (lambda day: changed(day, {"soc_bms_percent": day["soc_bms_percent"][700:] + 5}, 700, 1440),
                 range(700, 701)),
}  # fmt: skip

#: Rules that need other days than that one, and the tests below that show where they speak.
ELSEWHERE = {"gap", "out_of_order", "soc_stuck"}

#: Flags that a fault rightly raises beside its own.
BESIDE = {
    "frozen": {"voltage_stuck", "current_stuck", "cell_voltage_stuck", "soc_stuck", "soc_jump", "temperature_stuck"},
    "current_stuck": {"soc_jump"},
}


def test_every_rule_is_shown_to_speak():
    assert {rule.flag for rule in RULES} | {"cell_voltage_in_millivolt"} == set(FIRES) | ELSEWHERE == set(FLAGS)


def test_nothing_is_said_of_the_days_that_the_faults_are_planted_on(working, resting):
    assert counted(found(sampled(SECONDS, working))) == {}
    assert counted(found(sampled(SECONDS, resting))) == {}


@pytest.mark.parametrize("flag", FIRES)
def test_a_fault_is_flagged_where_it_is_and_nowhere_else(working, flag):
    fault, expected = FIRES[flag]
    cleaned = found(sampled(SECONDS, fault(working)))
    assert set(cleaned[flag].arg_true()) == set(expected)
    assert set(counted(cleaned)) - {flag} <= BESIDE.get(flag, set())


def test_a_reported_charge_that_stands_still_while_charge_flows_is_stuck():
    day = worked(SECONDS, np.where((SECONDS >= 30_000) & (SECONDS < 46_800), 10.0, 0.0), sensors=made.SITE)
    assert marked(day, "soc_stuck") == set()
    assert marked(held(day, ["soc_bms_percent"], 600, 700), "soc_stuck") == set(range(600, 700))


def test_a_gap_is_flagged_where_samples_come_back_and_at_either_end_of_the_day(working):
    keep = np.ones(1440, np.bool_)
    keep[[*range(10), *range(500, 520), *range(1400, 1440)]] = False
    after = {name: values[keep] for name, values in working.items()}
    first, back, last = 0, 490, int(keep.sum()) - 1
    assert marked(after, "gap", SECONDS[keep]) == {first, back, last}


def test_a_sample_that_arrives_after_a_later_one_is_out_of_order(working):
    rows = sampled(SECONDS, working)
    arrival = np.arange(1440)
    arrival[[5, 9]] = [9, 5]
    late = found(rows.with_columns(arrival=pl.Series(arrival)))["out_of_order"].arg_true()
    assert set(late) == {5, 6, 7, 8}


#: Rule → days that come close to its fault and have none: an alteration of the working day.
SILENT = {
    "gap": [lambda day: day],
    "out_of_order": [lambda day: day],
    "missing_value": [
        lambda day: without(day, "soc_bms_percent"),
        lambda day: day | {"soh_bms_percent": np.where(SECONDS == 0, 99.0, np.nan)},
    ],
    "frozen": [lambda day: held(day, [name for name in day if name != "cell_voltage_max_volt"], 600, 608)],
    "interpolated": [lambda day: ramp(day, ("voltage_volt",), 600, 640), lambda day: held(day, list(day), 0, 1440)],
    "voltage_out_of_range": [lambda day: changed(day, {"voltage_volt": 20.0}, 9, 10)],
    "voltage_spike": [lambda day: times(day, "voltage_volt", 1.015),
                      lambda day: changed(day, {"voltage_volt": day["voltage_volt"][700:] + 3}, 700, 1440)],
    "voltage_stuck": [lambda day: held(day, ["voltage_volt"], 600, 605)],
    "current_out_of_range": [lambda day: changed(day, {"current_ampere": -1999.0}, 50, 51)],
    "current_spike": [lambda day: changed(day, {"current_ampere": day["current_ampere"][701] + 2}, 701, 702)],
    "current_stuck": [lambda day: held(day, ["current_ampere"], 600, 605)],
    "power_out_of_range": [lambda day: day | {"power_watt": day["voltage_volt"] * day["current_ampere"]}],
    "temperature_out_of_range": [lambda day: day | {name: day[name] + 100 for name in TEMPERATURES},
                                 lambda day: day | {name: day[name] - 75 for name in TEMPERATURES}],
    "temperature_spike": [lambda day: changed(day, {name: day[name][700:] + 40 for name in TEMPERATURES}, 700, 1440),
                          lambda day: times(day, "temperature_celsius", 1.05)],
    "temperature_stuck": [lambda day: held(day, ["temperature_celsius"], 600, 608),
                          lambda day: held(day, TEMPERATURES, 600, 700)],
    "ambient_temperature_out_of_range": [lambda day: day | {"ambient_temperature_celsius": np.full(1440, -45.0)}],
    "cell_voltage_out_of_range": [lambda day: changed(day, {CELLS[0]: 2.0}, 33, 40)],
    "cell_voltage_in_millivolt": [lambda day: day],
    "cell_voltage_spike": [lambda day: times(day, CELLS[1], 1.012)],
    "cell_voltage_stuck": [lambda day: held(day, [CELLS[0]], 600, 605)],
    "soc_out_of_range": [lambda day: changed(day, {"soc_bms_percent": 104.0}, 5, 7)],
    "soc_spike": [lambda day: times(day, "soc_bms_percent", 1.03)],
    "soc_stuck": [lambda day: held(day, ["soc_bms_percent"], 600, 605),
                  lambda day: day | {"soc_bms_percent": np.full(1440, 100.0)},
                  lambda day: day | {"soc_bms_percent": np.zeros(1440)}],
    "soc_jump": [lambda day: day | {"soc_bms_percent": np.round(day["soc_bms_percent"])},
                 lambda day: day | {"soc_bms_percent": 2 * np.round(day["soc_bms_percent"] / 2)}],
}  # fmt: skip


def test_every_rule_is_shown_to_be_silent():
    assert set(SILENT) == set(FLAGS)


@pytest.mark.parametrize(("flag", "near"), [(flag, near) for flag, days in SILENT.items() for near in days])
def test_what_only_comes_close_to_a_fault_is_not_flagged(working, flag, near):
    assert marked(near(working), flag) == set()


def test_a_recalibration_of_the_reported_charge_is_a_jump_and_nothing_else():
    day = worked(SECONDS, cycling(SECONDS), soc=20.0)
    for size in (2.0, -6.0, 12.0):
        jumped = changed(day, {"soc_bms_percent": day["soc_bms_percent"][500:] + size}, 500, 1440)
        assert counted(found(sampled(SECONDS, jumped))) == {"soc_jump": 1}


#: Name → resolution and noise of sensors.
SENSORS = {
    "fine, without noise": (made.FINE, made.QUIET),
    "fine, with noise": (made.FINE, made.NOISE),
    "of a plant, without noise": (made.PLANT, made.QUIET),
    "of a plant, with noise": (made.PLANT, made.NOISE),
    "in whole numbers, without noise": (made.COARSE, made.QUIET),
    "in whole numbers, with noise": (made.COARSE, made.NOISE),
}

#: Name → load [A] and first state of charge [%] of a healthy battery.
LOADS = {
    "cycled at constant current": (cycling, 20.0),
    "cycled slowly": (lambda seconds: np.where(seconds < 60_000, 4.0, -4.0), 20.0),
    "idle": (made.idling, 50.0),
    "trickled": (lambda seconds: np.where(seconds < 72_000, 0.8, 0.0), 20.0),
    "held at full": (lambda seconds: np.where(seconds < 10_000, 0.5, np.where(seconds > 70_000, -20.0, 0.0)), 100.0),
    "under the sun": (made.sunny, 50.0),
    "in frequency regulation": (made.regulating, 50.0),
    "pulsed at 3 C": (made.pulsed, 50.0),
    "charged to the knee": (made.full_and_back, 49.7),
}


#: Between neighbours without noise a cloudless sun is a straight line.
HARMLESS = {"interpolated"}


@pytest.mark.parametrize("sensors", SENSORS)
@pytest.mark.parametrize("load", LOADS)
@pytest.mark.parametrize(("step", "until"), [(1, 10_800), (10, made.DAY), (60, made.DAY), (300, made.DAY)])
def test_a_healthy_battery_has_no_flag(sensors, load, step, until):
    resolution, noise = SENSORS[sensors]
    current, soc = LOADS[load]
    seconds = made.grid(step, until=until)
    columns = worked(seconds, current(seconds), soc=soc, sensors=resolution, noise=noise)
    ends = {"gap": 1} if until < made.DAY else {}
    flags = counted(found(sampled(seconds, columns)))
    assert {flag: number for flag, number in flags.items() if flag not in HARMLESS} == ends


@pytest.mark.parametrize("sensors", SENSORS)
@pytest.mark.parametrize(("offset", "dead_band"), [(0.4, 0.0), (-0.6, 0.0), (0.3, 0.5)])
def test_an_idle_day_has_no_flag_whatever_the_offset_of_its_sensor(sensors, offset, dead_band):
    resolution, noise = SENSORS[sensors]
    day = worked(SECONDS, made.idling(SECONDS), sensors=resolution, noise=noise, offset=offset, dead_band=dead_band)
    assert counted(found(sampled(SECONDS, day))) == {}


#: Nameplates that say little, or wrong things; the battery has 0.01 Ω.
PLATES = [{"resistance_ohm": None}, {"resistance_ohm": 0.01 / 3}, {"resistance_ohm": 0.03}, {"chemistry": "NMC"}]


@pytest.mark.parametrize("plate", PLATES)
@pytest.mark.parametrize("load", LOADS)
def test_a_nameplate_that_is_wrong_by_a_factor_of_three_raises_no_flag(plate, load):
    current, soc = LOADS[load]
    columns = worked(SECONDS, current(SECONDS), soc=soc, sensors=made.SITE, noise=made.SITE_NOISE)
    assert counted(found(sampled(SECONDS, columns), **plate)) == {}


#: Channels that a battery may lack.
POOR = {
    "power only": ("power_watt",),
    "voltage only": ("voltage_volt",),
    "current only": ("current_ampere",),
    "voltage and current": ("voltage_volt", "current_ampere"),
    "no cells": ("voltage_volt", "current_ampere", "temperature_celsius", "soc_bms_percent"),
    "no current": ("voltage_volt", *TEMPERATURES, *CELLS, "soc_bms_percent"),
    "nothing": (),
}


@pytest.mark.parametrize("channels", POOR.values(), ids=POOR)
@pytest.mark.parametrize("load", LOADS)
@pytest.mark.parametrize("sensors", ["of a plant, without noise", "of a plant, with noise"])
def test_a_channel_that_a_battery_lacks_raises_no_flag(channels, load, sensors):
    resolution, noise = SENSORS[sensors]
    current, soc = LOADS[load]
    full = worked(SECONDS, current(SECONDS), soc=soc, sensors=resolution, noise=noise)
    full["power_watt"] = full["voltage_volt"] * full["current_ampere"]
    rows = sampled(SECONDS, {name: full[name] for name in channels})
    assert counted(found(rows)) == {}


@pytest.mark.parametrize("load", sorted(set(LOADS) - {"pulsed at 3 C"}))
def test_samples_at_odd_times_raise_no_flag_but_gaps(load):
    """A quarter of the minutes, drawn at random; a pulse that falls between two of them is seen by no sample."""
    current, soc = LOADS[load]
    columns = worked(SECONDS, current(SECONDS), soc=soc, sensors=made.SITE, noise=made.SITE_NOISE)
    keep = np.sort(np.random.default_rng(3).choice(1440, 360, replace=False))
    some = sampled(SECONDS[keep], {name: values[keep] for name, values in columns.items()})
    assert set(counted(found(some))) == {"gap"}


@pytest.mark.parametrize("load", LOADS)
def test_samples_that_are_sent_when_something_changes_raise_no_flag_but_gaps(load):
    current, soc = LOADS[load]
    columns = worked(SECONDS, current(SECONDS), soc=soc)
    changes = np.any([np.diff(values, prepend=np.inf) != 0 for values in columns.values()], axis=0)
    some = sampled(SECONDS[changes], {name: values[changes] for name, values in columns.items()})
    assert set(counted(found(some))) <= {"gap"}


@pytest.mark.parametrize("load", LOADS)
def test_channels_that_are_sampled_one_after_the_other_raise_no_flag(load):
    """A historian's rows: one channel each, some seconds apart."""
    current, soc = LOADS[load]
    columns = worked(SECONDS, current(SECONDS), soc=soc, sensors=made.SITE, noise=made.SITE_NOISE)
    every = np.concatenate([SECONDS + 7.5 * turn for turn in range(len(columns))])
    order = np.argsort(every, kind="stable")
    long = {name: np.full(len(every), np.nan) for name in columns}
    for turn, (name, values) in enumerate(columns.items()):
        long[name][turn * 1440 : (turn + 1) * 1440] = values
    assert counted(found(sampled(every[order], {name: values[order] for name, values in long.items()}))) == {}


@pytest.mark.parametrize("load", LOADS)
def test_means_of_five_minutes_raise_no_flag(load):
    current, soc = LOADS[load]
    columns = worked(SECONDS, current(SECONDS), soc=soc, sensors=made.SITE, noise=made.SITE_NOISE)
    means = {name: values.reshape(-1, 5).mean(axis=1) for name, values in columns.items()}
    assert counted(found(sampled(SECONDS[::5], means), sampling="mean")) == {}


@pytest.mark.parametrize("count", [0, 1, 2])
def test_hardly_any_samples_raise_no_flag_but_gaps(working, count):
    few = sampled(SECONDS[:count], {name: values[:count] for name, values in working.items()})
    cleaned = found(few) if count else clean(few, nameplates(["b"]))
    assert cleaned.height == count
    assert set(counted(cleaned)) <= {"gap"}


def test_a_silence_within_a_constant_current_makes_nothing_of_it_stuck():
    """Thirteen minutes are lost while 0.5 C flow: the report moves by 11 %, and so does the charge."""
    for begins in range(60, 400, 20):
        keep = ~((60 * begins <= SECONDS) & (60 * (begins + 13) > SECONDS))
        columns = worked(SECONDS, cycling(SECONDS, depth=70), soc=15.0, sensors=made.SITE)
        some = sampled(SECONDS[keep], {name: values[keep] for name, values in columns.items()})
        assert counted(found(some)) == {"gap": 1}


def test_a_short_silence_hides_no_standstill(working):
    keep = np.ones(1440, np.bool_)
    keep[640:650] = False
    stuck = held(working, ["current_ampere"], 600, 700)
    some = {name: values[keep] for name, values in stuck.items()}
    assert marked(some, "current_stuck", SECONDS[keep]) == set(range(600, 690))


#: Days of several batteries, faulty and not, for what must not matter.
KINDS = ["frozen", "voltage_stuck", "current_stuck", "soc_spike", "missing_value", "cell_voltage_in_millivolt"]


@pytest.fixture(scope="module")
def several(working):
    fleet = [
        sampled(
            SECONDS[540:760], {name: values[540:760] for name, values in FIRES[kind][0](working).items()}, battery=kind
        )
        for kind in KINDS
    ]
    late = sampled(SECONDS, working, battery="frozen", start=made.MIDNIGHT + made.timedelta(days=1)).head(150)
    return pl.concat([*fleet, late]).with_columns(arrival=pl.int_range(pl.len()))


def cleaned(rows):
    return clean(rows, nameplates(KINDS))


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_the_order_of_rows_does_not_matter(several, seed):
    assert_frame_equal(
        cleaned(several.sample(fraction=1.0, shuffle=True, seed=seed)), cleaned(several), check_exact=True
    )


@settings(max_examples=15, deadline=None)
@given(share=st.lists(st.integers(0, 3), min_size=7, max_size=7))
def test_whole_days_of_batteries_may_be_looked_at_in_any_company(several, share):
    days = several.partition_by("battery_id", "date", maintain_order=True)
    batches = [
        pl.concat(some)
        for turn in range(4)
        if (some := [day for day, at in zip(days, share, strict=True) if at == turn])
    ]
    apart = pl.concat([cleaned(batch) for batch in batches]).sort("battery_id", "timestamp")
    assert_frame_equal(apart, cleaned(several), check_exact=True)


def test_so_many_rows_that_they_are_looked_at_in_portions_are_flagged_as_each_alone(several):
    many = pl.concat([several.with_columns(battery_id=pl.col("battery_id") + f"_{turn:02}") for turn in range(70)])
    assert many.height > 80_000
    ids = many["battery_id"].unique().sort().to_list()
    together = clean(many, nameplates(ids))
    alone = cleaned(several).drop("battery_id", "fleet_id")
    for turn in (0, 33, 69):
        mine = together.filter(pl.col("battery_id").str.ends_with(f"_{turn:02}")).drop("battery_id", "fleet_id")
        assert_frame_equal(mine, alone, check_exact=True)


def test_no_rule_alters_a_value(several):
    kept = [name for name in MEASUREMENTS if name not in CELLS]
    assert_frame_equal(
        cleaned(several).select(kept), several.sort("battery_id", "timestamp").select(kept), check_exact=True
    )
    before = several.sort("battery_id", "timestamp")
    for name in CELLS:
        expected = pl.Series([value / 1000 if value is not None and value > 500 else value for value in before[name]])
        assert cleaned(several)[name].to_list() == expected.to_list()


def test_a_battery_without_a_nameplate_is_refused(several):
    with pytest.raises(ValueError, match="no nameplate for frozen"):
        clean(several, nameplates(KINDS[1:]))
