"""Evidence on single cells, held against plain arithmetic, and against cells whose faults were planted."""

from collections import defaultdict
from datetime import timedelta
from math import sqrt
from statistics import median

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bess_pipeline.analytics.cells import cell_evidence
from bess_pipeline.analytics.telemetry import verdicts
from bess_pipeline.tables.cells import CellEvidence
from bess_pipeline.tables.telemetry import CELL_LISTS, MEASUREMENTS, RawTelemetry
from bess_pipeline_tests.strategies import START, batteries, clean, sample

PROPERTY = settings(max_examples=40, deadline=None)
RATED_AH, CELLS_IN_SERIES = 280.0, 240
COLUMNS = [name for name in CellEvidence.column_names() if name not in {"fleet_id", "kind", "component"}]
#: Columns that are not described by deviations.
ASIDE = {
    "battery_id", "date", "position", "unknown_samples", "implausible_samples", "lowest_samples", "highest_samples",
}  # fmt: skip


BOUNDS = {"cell_voltages_volt": (1.0, 4.5), "probe_temperatures_celsius": (-60.0, 200.0)}


def reference(rows, column):
    """`CellEvidence` columns of one list by battery, day and place: one number after the other, no arrays."""
    days = defaultdict(list)
    for row in sorted(rows, key=lambda row: (row["battery_id"], row["timestamp"])):
        if any(row.get(name) is not None for name in CELL_LISTS):
            days[row["battery_id"], row["timestamp"].date()].append(row)
    found = []
    for (battery, day), samples in days.items():
        lists = [[] if row.get("frozen") else row.get(column) or [] for row in samples]
        width = max(map(len, lists))
        state, step = states(samples)
        known = [[x for x in values if plausible(x, column)] for values in lists]
        mid = [median(values) if len(values) > 1 else None for values in known]
        for place in range(width):
            here = [(values[place] if place < len(values) else None) if values else "" for values in lists]
            told = {"battery_id": battery, "date": day, "position": place + 1}
            told["implausible_samples"] = sum(x not in {None, ""} and not plausible(x, column) for x in here)
            usable = {i: x for i, x in enumerate(here) if plausible(x, column) and mid[i] is not None}
            told["unknown_samples"] = sum(x != "" for x in here) - told["implausible_samples"] - len(usable)
            told["lowest_samples"] = sum(x == min(known[i]) for i, x in usable.items())
            told["highest_samples"] = sum(x == max(known[i]) for i, x in usable.items())
            deviation = {i: x - mid[i] for i, x in usable.items()}
            steps = step if column == "cell_voltages_volt" else [None] * len(step)
            found.append(told | described(deviation, usable, mid, state, steps))
        if width and column == "cell_voltages_volt":
            told = {"battery_id": battery, "date": day, "position": 0, "implausible_samples": 0}
            told |= {"lowest_samples": 0, "highest_samples": 0}
            volt = [row["voltage_volt"] for row in samples]
            usable = {
                i: u for i, u in enumerate(volt) if u is not None and mid[i] is not None and 2 * len(known[i]) >= width
            }
            told["unknown_samples"] = sum(map(bool, lists)) - len(usable)
            deviation = {i: u - CELLS_IN_SERIES * sum(known[i]) / len(known[i]) for i, u in usable.items()}
            found.append(told | described(deviation, usable, mid, state, step))
    return sorted(found, key=lambda told: (told["battery_id"], told["date"], told["position"]))


def plausible(value, column):
    low, high = BOUNDS[column]
    return value not in {None, ""} and low <= value <= high


def described(deviation, value, mid, state, step):
    """What is said of one component: deviation and value by sample, median cell, state and step of every sample."""
    told = dict.fromkeys(COLUMNS) | {"samples": len(deviation)}
    settled = sorted(m for m in mid if m is not None)
    tenth = (len(settled) + 9) // 10
    chosen = {
        "resting": [i for i, word in enumerate(state) if word == "rest" and mid[i] is not None],
        "charging": [i for i, word in enumerate(state) if word == "in"],
        "discharging": [i for i, word in enumerate(state) if word == "out"],
        "low": [i for i, m in enumerate(mid) if m is not None and m <= settled[tenth - 1]],
        "high": [i for i, m in enumerate(mid) if m is not None and m >= settled[-tenth]],
    }
    for name, samples in chosen.items():
        now = [deviation[i] for i in samples if i in deviation]
        told[f"{name}_samples"] = len(now)
        told[f"{name}_deviation"] = median(now) if now else None
        told[f"{name}_reference"] = median(mid[i] for i in samples) if now and name[:3] not in {"cha", "dis"} else None
    steps = [(step[i], deviation[i] - deviation[i - 1]) for i in deviation if step[i] and i - 1 in deviation]
    told["step_count"] = len(steps)
    if steps:
        squares = sum(di * di for di, _ in steps)
        slope = told["resistance_deviation_ohm"] = sum(di * dd for di, dd in steps) / squares
        left = sum((dd - slope * di) ** 2 for di, dd in steps)
        told["resistance_deviation_error_ohm"] = sqrt(left / (len(steps) - 1) / squares) if len(steps) > 1 else None
    if deviation:
        d, x = sorted(deviation.values()), value.values()
        rank = 3 * (len(d) - 1) // 100
        told |= {"value_min": min(x), "value_max": max(x), "deviation_min": d[0], "deviation_max": d[-1]}
        told |= {"deviation_mean": sum(d) / len(d), "deviation_rms": sqrt(sum(x * x for x in d) / len(d))}
        told |= {"deviation_median": median(d), "deviation_mad": median(abs(x - median(d)) for x in d)}
        told |= {"deviation_p03": d[rank], "deviation_p97": d[-1 - rank]}
    return {name: told[name] for name in COLUMNS if name in told and name not in ASIDE}


def states(samples):
    """What a battery of 280 Ah does at each sample, and the steps of its current."""
    state, step, since = [], [], None
    for i, row in enumerate(samples):
        current = None if row.get("current_stuck") or row.get("frozen") else row.get("current_ampere")
        before = samples[i - 1] if i else None
        apart = row["timestamp"] - before["timestamp"] if i else None
        step.append(None)
        if current is None:
            since = None
            state.append("")
            continue
        came_from = None if not i or before.get("current_stuck") or before.get("frozen") else before["current_ampere"]
        if came_from is not None and apart <= timedelta(seconds=60) and abs(current - came_from) >= 0.05 * RATED_AH:
            step[-1] = current - came_from
        if abs(current) > 0.02 * RATED_AH:
            since = None
            state.append("in" if current > 0 else "out")
            continue
        if since is None or apart > timedelta(minutes=15):
            since = row["timestamp"]
        state.append("rest" if row["timestamp"] - since >= timedelta(minutes=10) else "")
    return state, step


_volts = st.none() | st.sampled_from([3.25, 3.3, 3.3125, 3.35, 0.0, 6.0])
_celsius = st.none() | st.sampled_from([20.0, 21.0, 25.0, -273.0])


@st.composite
def histories(draw, battery="b"):
    """Samples over two days whose lists now and then are missing, short, or hold what no cell can have."""
    step = draw(st.sampled_from([30, 60, 200, 1000]))
    begin = draw(st.integers(86400 - 20 * step, 86400))
    return [
        sample(
            begin + step * k,
            battery,
            current_ampere=draw(st.sampled_from([0.0, 0.0, 0.0, 1.0, 20.0, -20.0, None])),
            voltage_volt=draw(st.sampled_from([790.0, 792.5, None])),
            current_stuck=draw(st.booleans()) and draw(st.booleans()),
            frozen=draw(st.integers(0, 9)) == 0,
            cell_voltages_volt=draw(st.none() | st.lists(_volts, max_size=5)),
            probe_temperatures_celsius=draw(st.none() | st.lists(_celsius, max_size=3)),
        )
        for k in range(draw(st.integers(1, 40)))
    ]


@given(histories(), histories("c"))
@PROPERTY
def test_the_evidence_is_what_plain_arithmetic_gives(ours, theirs):
    found = cell_evidence(clean(ours + theirs), batteries("b", "c"))
    CellEvidence.validate(found)
    for column, kinds in zip(CELL_LISTS, (["voltage", "terminals"], ["temperature"]), strict=True):
        of_kind = found.filter(pl.col("kind").is_in(kinds)).sort("battery_id", "date", "position")
        rows = of_kind.select(COLUMNS).to_dicts()
        assert [approximately(row) for row in rows] == reference(ours + theirs, column)


def approximately(row):
    return {
        name: pytest.approx(value, rel=1e-9, abs=1e-9) if isinstance(value, float) else value
        for name, value in row.items()
    }


@given(histories(), histories("c"), st.randoms(), st.integers(1, 60))
@PROPERTY
def test_neither_the_order_of_rows_nor_how_many_are_worked_on_at_once_matters(ours, theirs, random, at_once):
    plates, rows = batteries("b", "c"), ours + theirs
    whole = cell_evidence(clean(rows), plates)
    random.shuffle(rows)
    assert cell_evidence(clean(rows), plates, values_at_once=at_once).equals(whole)
    alone = [cell_evidence(clean(of_one), plates) for of_one in (ours, theirs)]
    assert pl.concat(alone).equals(whole)


@given(histories())
@PROPERTY
def test_what_is_not_known_is_counted(rows):
    """Every value of the lists, and every place that a list is short of, is known, unknown or implausible."""
    found = cell_evidence(clean(rows), batteries("b"))
    days = defaultdict(list)
    for row in rows:
        if row["cell_voltages_volt"] and not row["frozen"]:
            days[row["timestamp"].date()].append(row["cell_voltages_volt"])
    for day, lists in days.items():
        of_day = found.filter(pl.col("date") == day, pl.col("kind") == "voltage")
        counted = of_day.select(pl.sum_horizontal("samples", "unknown_samples", "implausible_samples")).to_series()
        assert counted.to_list() == [len(lists)] * max(map(len, lists))


# Faults that were planted.


def pack(*, ohm=0.0, short_of_volt=0.0, of_cell=2, joint_ohm=0.0, cells=8, seed=0):
    """An hour at 10 s of a pack whose cells differ by noise of 0.2 mV, but for one; a string of 8."""
    random = np.random.default_rng(seed)
    current = np.repeat(random.choice([-140.0, 0.0, 70.0], 36), 10)
    volt = 3.3 + 2e-4 * current[:, None] + random.normal(0, 2e-4, (360, cells))
    volt[:, of_cell] += ohm * current - short_of_volt
    terminal = volt.sum(axis=1) + joint_ohm * current
    rows = [
        sample(10 * k, current_ampere=float(i), voltage_volt=float(u), cell_voltages_volt=v.tolist())
        for k, (i, u, v) in enumerate(zip(current, terminal, volt, strict=True))
    ]
    return clean(rows), batteries("b").with_columns(cells_in_series=pl.lit(cells, dtype=pl.Int64))


def test_a_cell_with_more_resistance_is_told_from_one_that_lacks_charge():
    """Planted: 0.3 mΩ in one pack, 40 mV in the other; each shows only where it belongs."""
    worn = cell_evidence(*pack(ohm=3e-4)).filter(component="cell_3")
    assert worn["resistance_deviation_ohm"].item() == pytest.approx(3e-4, rel=0.02)
    assert worn["resistance_deviation_error_ohm"].item() < 1e-5
    assert worn["discharging_deviation"].item() == pytest.approx(-0.042, abs=2e-4)
    empty = cell_evidence(*pack(short_of_volt=0.04)).filter(component="cell_3")
    assert abs(empty["resistance_deviation_ohm"].item()) < 5 * empty["resistance_deviation_error_ohm"].item()
    assert empty["deviation_median"].item() == pytest.approx(-0.04, abs=1e-4)
    assert empty["lowest_samples"].item() == empty["samples"].item() == 360


def test_a_loose_joint_shows_at_the_terminals_and_at_no_cell():
    """Planted: 2 mΩ between the cells; of 8 sound cells none is more than 5 standard errors off."""
    found = cell_evidence(*pack(joint_ohm=2e-3))
    assert found.filter(kind="terminals")["resistance_deviation_ohm"].item() == pytest.approx(2e-3, rel=1e-6)
    sound = found.filter(kind="voltage")
    assert (sound["resistance_deviation_ohm"].abs() < 5 * sound["resistance_deviation_error_ohm"]).all()


def test_a_battery_voltage_that_is_not_the_sum_of_the_cells_is_seen():
    """Planted: a string that is said to have one cell more than it has."""
    rows, plates = pack()
    found = cell_evidence(rows, plates.with_columns(cells_in_series=pl.lit(9, dtype=pl.Int64)))
    assert found.filter(kind="terminals")["deviation_median"].item() == pytest.approx(-3.3, abs=0.05)


def test_cells_in_millivolts_are_the_same_cells():
    rows, plates = pack(short_of_volt=0.04)
    millivolts = rows.with_columns(pl.col("cell_voltages_volt").list.eval(pl.element() * 1000))
    found = cell_evidence(millivolts, plates)
    expected = cell_evidence(rows, plates)
    assert found["deviation_median"].to_list() == pytest.approx(expected["deviation_median"].to_list(), abs=1e-9)


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        pytest.param({}, "cell_3", id="a nameplate without names"),
        pytest.param({"cell_component": "V_*", "first_component": 1}, "V_3", id="counted from one"),
        pytest.param({"cell_component": "U*_mV", "first_component": 0}, "U2_mV", id="counted from zero"),
    ],
)
def test_a_cell_is_called_what_the_source_calls_it(columns, expected):
    rows, plates = pack(short_of_volt=0.04)
    found = cell_evidence(rows, plates.with_columns(pl.lit(value).alias(name) for name, value in columns.items()))
    assert found.filter(kind="voltage").sort("deviation_median")["component"][0] == expected


def test_a_fleet_without_cells_has_no_evidence_on_them():
    found = cell_evidence(clean([sample(0, voltage_volt=790.0, current_ampere=1.0)]), batteries("b"))
    assert found.equals(CellEvidence.create_empty())


def test_a_battery_without_a_nameplate_is_refused():
    rows = clean([sample(0, cell_voltages_volt=[3.3, 3.3])])
    with pytest.raises(ValueError, match="no nameplate for b"):
        cell_evidence(rows, batteries("c"))


# Verdicts.


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        pytest.param([3.3, None], [3.3, None], "duplicate", id="the same cells"),
        pytest.param([3.3, 3.3], [3.3, 3.31], "conflict", id="another cell"),
        pytest.param([3.3, 3.3], [3.3, None], "conflict", id="a cell that is not known"),
        pytest.param([3.3], None, "conflict", id="no cells"),
        pytest.param(None, None, "duplicate", id="no cells in either"),
    ],
)
@pytest.mark.parametrize("column", CELL_LISTS)
def test_rows_that_differ_in_a_single_cell_are_in_conflict(column, first, second, expected):
    both = [
        {"fleet_id": "f", "date": START.date(), "path": path, "row_number": 0, "battery_id": "b", "timestamp": START}
        | {
            "first_seen": 1,
            "clock_shift_us": 0,
            "status": None,
            **dict.fromkeys((*MEASUREMENTS, *CELL_LISTS)),
            column: values,
        }
        for path, values in (("a.csv", first), ("b.csv", second))
    ]
    schema = {name: dtype for name, dtype in RawTelemetry.create_empty().schema.items() if name != "verdict"}
    assert verdicts(pl.DataFrame(both, schema=schema))["verdict"].to_list() == [expected, "accepted"]
