"""Balance of cells at rest, and the usable capacity that follows."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from bess_pipeline.analytics.balance import cell_balance
from bess_pipeline.analytics.normalized_resistance import normalized_resistance
from bess_pipeline.analytics.resistance_evidence import resistance_evidence
from bess_pipeline.analytics.usable import with_usable_capacity
from bess_pipeline.sources.simulate import Plan, simulate
from bess_pipeline.sources.simulate.data_faults import delivered
from bess_pipeline.sources.simulate.truth import truth_tables
from bess_pipeline.tables.cells import CellEvidence
from bess_pipeline.tables.fleet import OcvPoint
from bess_pipeline.tables.health import StateOfHealth
from bess_pipeline_tests.analytics import made_cells, made_fleets

few = settings(max_examples=15, deadline=None)
BATTERIES = made_cells.batteries("b")
REST = np.zeros(24)


def resting(mean_soc, *, low=1.0, high=1.0, chemistry="NMC", rates=REST, **columns):
    """Two hours at rest: the lowest and the highest cell so many points below and above the mean one."""
    lowest, mean, highest = (float(made_cells.ocv(np.array([mean_soc + off]), chemistry)[0]) for off in (-low, 0, high))
    rows = made_cells.intervals(rates, first_soc=mean_soc, chemistry=chemistry)
    return rows.with_columns(
        voltage_volt=pl.lit(mean * made_cells.CELLS),
        cell_voltage_min_volt=pl.lit(lowest),
        cell_voltage_max_volt=pl.lit(highest),
        cell_voltage_spread_volt=pl.lit(highest - lowest),
    ).with_columns(**{name: pl.lit(value) for name, value in columns.items()})


def balance(rows, *, plates=BATTERIES, cells=None, **evidence):
    return cell_balance(
        rows,
        made_cells.evidence(rows, **evidence),
        CellEvidence.create_empty() if cells is None else cells,
        plates,
        made_cells.curves(plates),
    )


@given(soc=st.floats(5, 95), low=st.floats(0, 4), high=st.floats(0, 4))
@few
def test_planted_deviations_are_read_back(soc, low, high):
    (day,) = balance(resting(soc, low=low, high=high)).to_dicts()
    assert day["rest_intervals"] == 18
    if day["imbalance_percent"] is not None:
        assert day["imbalance_percent"] == pytest.approx(low + high, abs=0.2)
        assert day["imbalance_soc_percent"] == pytest.approx(soc, abs=0.1)


def test_nothing_is_read_where_the_curve_is_flat():
    """On the plateau of LFP a volt says nothing; the spread is told all the same."""
    plates = made_cells.batteries("b", chemistry="LFP")
    (flat,) = balance(resting(50, chemistry="LFP"), plates=plates).to_dicts()
    assert flat["imbalance_percent"] is None
    assert flat["deficit_middle_percent"] is None
    assert flat["rest_spread_middle_volt"] == pytest.approx(0.0029 * 1, abs=0.003)
    (steep,) = balance(resting(5, chemistry="LFP"), plates=plates).to_dicts()
    assert steep["imbalance_percent"] == pytest.approx(2, abs=0.3)


def test_rest_takes_half_an_hour():
    """Hand-counted: of 24 rows the first 6 of the rest do not count, nor the 7 after a load in the middle."""
    rates = REST.copy()
    assert balance(resting(50))["rest_intervals"].to_list() == [18]
    rates[12] = 0.5
    assert balance(resting(50, rates=rates))["rest_intervals"].to_list() == [11]
    assert balance(resting(50, rates=REST + 0.05))["rest_intervals"].to_list() == [0]


def test_noise_that_drives_the_extremes_of_a_row_apart_is_taken_off():
    """The extremes are of the samples of a row, the spread their mean."""
    quiet, noisy = (
        resting(50),
        resting(50).with_columns(
            cell_voltage_min_volt=pl.col("cell_voltage_min_volt") - 0.003,
            cell_voltage_max_volt=pl.col("cell_voltage_max_volt") + 0.003,
        ),
    )
    told = balance(noisy)["imbalance_percent"].item()
    assert told == pytest.approx(balance(quiet)["imbalance_percent"].item())


def test_without_cell_voltages_or_with_a_single_cell_there_is_no_balance():
    blind = resting(50, cell_voltage_min_volt=None, cell_voltage_max_volt=None)
    single = made_cells.batteries("b", cells=1)
    for rows, plates in ((blind, BATTERIES), (resting(50), single)):
        (day,) = balance(rows.cast({"cell_voltage_min_volt": pl.Float64}), plates=plates).to_dicts()
        assert day["rest_intervals"] == 0
        assert day["imbalance_percent"] is None


def test_without_the_voltage_of_the_battery_the_imbalance_stays_and_is_less_sure():
    known, blind = balance(resting(50)), balance(resting(50).with_columns(voltage_volt=pl.lit(None, pl.Float64)))
    off = abs(blind["imbalance_percent"].item() - known["imbalance_percent"].item())
    assert off < 2 * blind["imbalance_sigma_percent"].item()
    assert blind["imbalance_sigma_percent"].item() > known["imbalance_sigma_percent"].item()


def test_warming_and_cooling_are_told_per_hour():
    """Hand-computed: 0.1 K in 5 minutes are 1.2 K an hour; then the other way, half as fast."""
    heat = 20 + np.concatenate([0.1 * np.arange(24), 2.3 - 0.05 * np.arange(1, 25)])
    rows = made_cells.intervals(np.zeros(48), first_soc=50).with_columns(temperature_celsius=pl.Series(heat))
    (day,) = balance(rows, temperature_spread_p95_kelvin=pl.lit(1.5)).to_dicts()
    assert day["heating_kelvin_per_hour"] == pytest.approx(1.2)
    assert day["cooling_kelvin_per_hour"] == pytest.approx(0.6)
    assert (day["hot_spot_p95_kelvin"], day["temperature_range_p95_kelvin"]) == (1.5, None)


def test_the_weakest_cell_is_named_where_cells_are_told_one_by_one():
    rows = resting(50)
    row = {name: None if kind == pl.Float64 else 0 for name, kind in CellEvidence.create_empty().schema.items()}
    row |= {"fleet_id": "f", "battery_id": "b", "date": rows["date"][0], "kind": "voltage"}
    told = [("cell_1", -0.01, None), ("cell_2", None, -0.03), ("cell_3", 0.02, None)]
    cells = pl.DataFrame(
        [row | {"component": name, "low_deviation": low, "resting_deviation": rest} for name, low, rest in told],
        schema=CellEvidence.create_empty().schema,
    )
    (day,) = balance(rows, cells=cells).to_dicts()
    assert (day["weakest_cell"], day["weakest_cell_deviation_volt"]) == ("cell_2", -0.03)


def days_at(socs, **deviations):
    """A day each, two hours at rest at that state of charge."""
    parts = [
        resting(soc, **deviations).with_columns(pl.col("timestamp") + pl.duration(days=number))
        for number, soc in enumerate(socs)
    ]
    return pl.concat(parts).with_columns(date=pl.col("timestamp").dt.date())


def health(rows, soh=90.0):
    schema = StateOfHealth.create_empty().schema
    given = rows.select("fleet_id", "battery_id", "date").unique().sort("date").with_columns(
        soh_percent=pl.lit(soh), soh_lower_percent=pl.lit(soh - 1.0), soh_upper_percent=pl.lit(soh + 1.0),
        observations=pl.lit(1), observability=pl.lit("full"), method=pl.lit("x"),
    )  # fmt: skip
    missing = [pl.lit(None).cast(kind).alias(name) for name, kind in schema.items() if name not in given.columns]
    return given.with_columns(missing).select(list(schema))


def usable(rows, *, plates=BATTERIES, soh=90.0):
    return with_usable_capacity(health(rows, soh), balance(rows, plates=plates), plates)


def test_what_the_lowest_cell_leaves_at_empty_and_the_highest_takes_at_full_cannot_be_used():
    """Hand-computed: 90 % × (1 − 3 % − 2 %) = 85.5 %."""
    rows = days_at([4, 96] * 20, low=3.0, high=2.0)
    last = usable(rows).row(-1, named=True)
    assert last["soh_usable_percent"] == pytest.approx(85.5, abs=0.7)
    assert last["soh_usable_lower_percent"] < 85.5 < last["soh_usable_upper_percent"]
    assert last["soh_usable_upper_percent"] - last["soh_usable_lower_percent"] >= 2 * 0.95


def test_a_single_cell_can_use_all_it_has_and_without_evidence_nothing_is_said():
    rows = days_at([50, 50])
    single = usable(rows, plates=made_cells.batteries("b", cells=1))
    assert single["soh_usable_percent"].to_list() == [90.0, 90.0]
    blind = usable(rows.with_columns(cell_voltage_min_volt=pl.lit(None, pl.Float64)))
    assert blind["soh_usable_percent"].null_count() == 2


def test_usable_capacity_of_a_day_knows_nothing_of_later_days_and_no_order_of_rows():
    rows = days_at([4, 50, 96, 10, 90, 50], low=2.5, high=0.5)
    whole = usable(rows)
    first = rows.filter(pl.col("date") <= rows["date"].unique().sort()[2])
    assert_frame_equal(usable(first), whole.head(3))
    assert_frame_equal(usable(rows.sample(fraction=1.0, shuffle=True, seed=1)), whole, check_exact=True)


@given(soh=st.floats(60, 110))
@few
def test_usable_capacity_scales_with_capacity(soh):
    rows = days_at([4, 96, 50])
    share = usable(rows, soh=soh)["soh_usable_percent"] / soh
    np.testing.assert_allclose(share, usable(rows, soh=100.0)["soh_usable_percent"] / 100)


def plain_loss(observations, last_day):
    """Deficit at empty and its variance by the same belief, in plain arithmetic: one observation after the other."""
    low, high = 1.0, 0.7
    var_low, var_high, both = 1.0, 1.0, 0.6
    wrong_low = wrong_high = 0.0
    before = None
    for day, soc, value, sigma in observations:
        if before is not None:
            var_low, var_high = var_low + 0.03**2 * (day - before), var_high + 0.03**2 * (day - before)
        before = day
        a, b = 1 - soc, soc
        seen_low, seen_high = a * var_low + b * both, a * both + b * var_high
        total = a * seen_low + b * seen_high + 12 * sigma**2
        off = value - a * low - b * high
        total *= max(abs(off) / total**0.5 / 3, 1)
        new = sigma - a * wrong_low - b * wrong_high
        wrong_low, wrong_high = wrong_low + seen_low / total * new, wrong_high + seen_high / total * new
        low, high = low + seen_low / total * off, high + seen_high / total * off
        var_low, both, var_high = (
            var_low - seen_low**2 / total, both - seen_low * seen_high / total, var_high - seen_high**2 / total
        )  # fmt: skip
    return low, var_low + wrong_low**2 + 0.03**2 * (last_day - before)


def test_the_kernel_says_what_plain_arithmetic_says():
    random = np.random.default_rng(3)
    rows = days_at([50] * 12)
    found = balance(rows).with_columns(
        pl.lit(None, pl.Float64).alias(name)
        for name in balance(rows).columns
        if name.startswith("excess") or "middle" in name
    )
    low = pl.DataFrame(
        {"deficit_low_percent": random.uniform(0, 9, 12), "deficit_low_sigma_percent": random.uniform(0.3, 2, 12),
         "deficit_low_soc_percent": random.uniform(0, 20, 12)}
    )  # fmt: skip
    found = found.with_columns(low).with_columns(
        excess_low_percent=0.0, excess_low_sigma_percent=1e-9, excess_low_soc_percent=0.0
    )
    last = with_usable_capacity(health(rows, 100.0), found, BATTERIES).row(-1, named=True)
    seen = list(zip(range(12), low["deficit_low_soc_percent"] / 100, low["deficit_low_percent"],
                    low["deficit_low_sigma_percent"], strict=True))  # fmt: skip
    deficit, variance = plain_loss(seen, 11)
    blank = plain_other_end([(day, 0.0, 0.0, 1e-9) for day in range(12)])
    assert last["soh_usable_percent"] == pytest.approx(100 - deficit - blank[0], abs=1e-6)
    reach = (last["soh_usable_upper_percent"] - last["soh_usable_lower_percent"]) / 2 / 1.6448536
    share = 1 - (deficit + blank[0]) / 100
    assert reach**2 == pytest.approx((share / 1.6448536) ** 2 + variance + blank[1], rel=1e-5)


def plain_other_end(observations):
    """Excess at full after exact observations at empty: what is left of the prior, and what may have changed since."""
    state, spread = np.array([0.7, 0.6]), np.array([[1.0, 0.6], [0.6, 1.0]])
    before = 0
    for day, _, value, sigma in observations:
        spread = spread + np.eye(2) * 0.03**2 * (day - before)
        before = day
        total = spread[0, 0] + 12 * sigma**2
        total *= max(abs(value - state[0]) / np.sqrt(total) / 3, 1)
        gain = spread[:, 0] / total
        state = state + gain * (value - state[0])
        spread = spread - np.outer(gain, spread[0])
    return state[1], spread[1, 1]


def test_a_synthetic_battery_shows_its_imbalance_its_usable_capacity_and_its_resistance():
    """Known truth of a simulated NMC battery, 40 days at a sample a minute, without data faults."""
    plan = Plan("bal", batteries=1, days=40, seed=77, chemistry="NMC", faults=(), data_faults=False)
    simulated = simulate(plan)
    plates = made_fleets.plates_of(simulated)
    rows = made_fleets.condensed(plan, delivered(plan, simulated.samples), plates)
    truth = truth_tables(simulated)["daily"].row(-1, named=True)
    cells = CellEvidence.create_empty()
    found = cell_balance(rows, made_cells.evidence(rows), cells, plates, OcvPoint.create_empty())
    days = health(rows, 100 * truth["q_mean"])
    last = with_usable_capacity(days, found, plates).row(-1, named=True)
    assert last["soh_usable_percent"] == pytest.approx(100 * truth["soh_usable"], abs=0.8)
    seen = found.row(-1, named=True)
    off = seen["imbalance_percent"] - 100 * truth["soc_imbalance"]
    assert abs(off) < 3 * seen["imbalance_sigma_percent"]
    days = rows.select("fleet_id", "battery_id", "date")
    ohm = normalized_resistance(resistance_evidence(rows, plates), days, plates).days.to_dicts()[-1]
    assert ohm["resistance_ohm"] == pytest.approx(truth["r0_ohm_25c"], rel=0.05)
    assert ohm["resistance_lower_ohm"] < truth["r0_ohm_25c"] < ohm["resistance_upper_ohm"]
    assert ohm["activation_energy_joule_per_mole"] == pytest.approx(
        simulated.cells.activation, abs=3 * ohm["activation_energy_sigma_joule_per_mole"]
    )
