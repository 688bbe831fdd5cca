"""Resistance from the current steps of a day."""

import numpy as np
import polars as pl
import pytest

from bess_pipeline.analytics.normalized_resistance import normalized_resistance
from bess_pipeline.analytics.resistance import (
    day_resistance,
    resistance_daily,
    step_resistance,
)
from bess_pipeline.analytics.resistance_evidence import resistance_evidence
from bess_pipeline.sources.simulate import Plan, physics, simulate
from bess_pipeline_tests.analytics import made_cells
from bess_pipeline_tests.fleet_tables import plan_without_clocks, simulated_tables


def steps(ohms, celsius, *, count=10):
    """Rows of days whose steps show those resistances at those temperatures."""
    ohms, celsius = np.array(ohms, dtype=float), np.array(celsius, dtype=float)
    rows = made_cells.intervals(np.zeros(288 * len(ohms)), first_soc=50)[::288]
    return rows.with_columns(
        **{
            name: value
            for kind in ("step", "step_steady")
            for name, value in {
                f"{kind}_count": pl.lit(count, pl.Int64),
                f"{kind}_current_square_sum": pl.lit(100_000.0),
                f"{kind}_current_voltage_sum": pl.Series(100_000 * ohms),
                f"{kind}_voltage_square_sum": pl.Series(100_000 * ohms**2),
            }.items()
        },
        temperature_celsius=pl.Series(celsius).fill_nan(None),
        soc_bms_percent=pl.lit(50.0),
        ambient_temperature_celsius=pl.lit(None, pl.Float64),
    )


BATTERIES = made_cells.batteries("b")


def normalized(rows, plates=BATTERIES):
    return normalized_resistance(
        resistance_evidence(rows, plates), rows.select("fleet_id", "battery_id", "date"), plates
    ).days


def daily(rows):
    return resistance_daily(resistance_evidence(rows, BATTERIES), step_resistance(rows, BATTERIES), BATTERIES).daily


def test_the_day_as_measured_is_the_regression_over_its_steps():
    """Hand-computed: sums of 5 AV and 100 A² are 50 mΩ."""
    assert day_resistance(steps([0.05], [25]), BATTERIES)["internal_resistance_ohm"].to_list() == pytest.approx([0.05])


@pytest.mark.parametrize("column", ["soc_bms_percent", "voltage_volt"], ids=["by report", "by voltage"])
@pytest.mark.parametrize("end", [3.0, 99.0])
def test_steps_near_full_and_near_empty_tell_of_the_curve_and_do_not_count(column, end):
    """Regression: leaving full, cells of LFP at 60 s showed five times the resistance that they have."""
    middle = {"soc_bms_percent": 50.0, "voltage_volt": made_cells.CELLS * 3.2982}
    told = {"soc_bms_percent": end, "voltage_volt": made_cells.CELLS * (2.9 if end < 50 else 3.55)}
    plates = made_cells.batteries("b", chemistry="LFP")
    rows = steps([0.05, 0.25], [25, 25]).with_columns(pl.lit(value).alias(name) for name, value in middle.items())
    is_second = pl.int_range(pl.len()) == 1
    rows = rows.with_columns(pl.when(is_second).then(told[column]).otherwise(column).alias(column))
    assert day_resistance(rows, plates)["internal_resistance_ohm"].to_list() == pytest.approx([0.05])
    assert resistance_evidence(rows, plates)["date"].to_list() == [rows["date"][0]]


@pytest.mark.parametrize(("ohms", "count"), [(0.05, 1), (-0.05, 10)], ids=["too few steps", "wrong sign"])
def test_a_day_without_evidence_has_no_resistance(ohms, count):
    rows = steps([ohms], [25], count=count)
    assert day_resistance(rows, BATTERIES)["internal_resistance_ohm"].to_list() == [None]
    assert normalized(rows)["resistance_ohm"].to_list() == [None]


def test_the_temperature_is_taken_out():
    """Hand-computed: exp(20000/8.314·(1/283.15 − 1/298.15)) = 1.5332."""
    found = normalized(steps([0.05 * 1.5332] * 40, [10] * 40))
    assert found["resistance_ohm"].to_list() == pytest.approx([0.05] * 40, rel=1e-4)


def width(found):
    return (found["resistance_upper_ohm"] / found["resistance_lower_ohm"]).log().to_numpy() / 2 / 1.645


@pytest.mark.parametrize("missing", ["temperature_celsius", "soc_bms_percent"])
def test_without_a_sensor_the_resistance_stays_within_two_standard_errors_and_is_less_sure(missing):
    rows = steps([0.05 * 1.2] * 60, [18] * 60)
    known, blind = normalized(rows), normalized(rows.with_columns(pl.lit(None, pl.Float64).alias(missing)))
    off = (blind["resistance_ohm"] / known["resistance_ohm"]).log().abs().to_numpy()
    assert (off <= 2 * width(blind)).all()
    if missing == "temperature_celsius":
        assert (width(blind) > 5 * width(known)).all()


def test_air_stands_for_cells_whose_temperature_nobody_measures():
    rows = steps([0.05] * 40, [np.nan] * 40).with_columns(ambient_temperature_celsius=pl.lit(23.0))
    found = normalized(rows)
    assert found["resistance_ohm"].to_list() == pytest.approx([0.05] * 40, rel=1e-3)
    assert (width(found) < width(normalized(steps([0.05] * 40, [np.nan] * 40)))).all()


def test_a_day_alone_is_told_at_the_same_reference():
    """A jump of 20 % is there on its own day, at 10 °C as at 25 °C; a day without steps has none."""
    rows = steps([0.05 * 1.5332] * 20 + [0.05 * 1.2] + [0.05], [10] * 20 + [25, 25])
    rows = rows.with_columns(
        pl.when(pl.int_range(pl.len()) == 21).then(0).otherwise("step_steady_count").alias("step_steady_count")
    )
    found = normalized(rows)["day_resistance_ohm"].to_list()
    assert found[:20] == pytest.approx([0.05] * 20, rel=2e-3)
    assert found[20] == pytest.approx(0.06, rel=1e-6)
    assert found[21] is None


def test_growth_is_over_the_first_30_days_and_over_those_so_far_until_they_are_over():
    """The median of three days or more stands for the battery when new, and 0.06 over 0.05 is 20 % more."""
    found = normalized(steps([0.05] * 30 + [0.06] * 100, [25] * 130))["resistance_increase_percent"].to_list()
    assert found[:2] == [None] * 2
    assert found[2:30] == pytest.approx([0] * 28, abs=1e-6)
    assert found[-1] == pytest.approx(20, abs=0.7)


def test_the_dependence_on_charge_is_learned_and_taken_out():
    """Days alternate between 20 % and 80 %, where the resistance is 10 % higher and lower than at 50 %."""
    even = np.arange(200) % 2 == 0
    rows = steps(np.where(even, 0.055, 0.045), [25] * 200).with_columns(
        soc_bms_percent=pl.Series(np.where(even, 20.0, 80.0))
    )
    assert normalized(rows)["resistance_ohm"][-1] == pytest.approx(0.05, rel=0.02)


@pytest.mark.parametrize("factor", [0.01, 7.0])
def test_resistance_scales_and_growth_does_not(factor):
    ohms = np.linspace(0.05, 0.06, 50)
    plates = made_cells.batteries("b", cells=None)
    one, other = normalized(steps(ohms, [20] * 50), plates), normalized(steps(factor * ohms, [20] * 50), plates)
    np.testing.assert_allclose(other["resistance_ohm"], factor * one["resistance_ohm"], rtol=1e-9)
    growth = [frame["resistance_increase_percent"].drop_nulls().to_numpy() for frame in (one, other)]
    np.testing.assert_allclose(growth[0], growth[1], atol=1e-7)


def test_connections_are_told_from_cells_by_what_is_seen_beyond_them():
    """Hand-computed: 2 AV of 1000 A² are 2 mΩ; with a scatter of 5 degrees of freedom, Student's 2.015."""
    rows = steps([0.05], [25]).with_columns(
        step_cell_count=pl.lit(6, pl.Int64),
        step_cell_current_square_sum=pl.lit(1000.0), step_magnitude_square_sum=pl.lit(1000.0),
        step_outside_current_sum=pl.lit(2.0), step_outside_square_sum=pl.lit(0.004 + 0.005),
        step_spread_magnitude_sum=pl.lit(0.5), step_spread_square_sum=pl.lit(0.00025),
    )  # fmt: skip
    (day,) = daily(rows).to_dicts()
    assert day["outside_cell_resistance_ohm"] == pytest.approx(0.002)
    assert day["outside_cell_resistance_upper_ohm"] == pytest.approx(0.002 + 2.015 * 0.001, rel=1e-3)
    assert day["cell_loop_resistance_ohm"] == pytest.approx(0.0005)
    assert day["cell_loop_resistance_lower_ohm"] == pytest.approx(0.0005)
    assert day["method"] == "steps"


def test_too_few_steps_tell_nothing_of_connections():
    (day,) = daily(steps([0.05], [25])).to_dicts()
    assert day["outside_cell_resistance_ohm"] is None
    assert day["cell_loop_resistance_ohm"] is None


def test_five_minute_means_give_the_resistance_too():
    """Current alternates in the flat middle of the curve; the rows hold 50 mΩ without polarization."""
    rates = np.tile(np.repeat([0.3, 0.0, -0.3, 0.0], 12), 6 * 40)
    rows = made_cells.intervals(rates, first_soc=50).with_columns(soc_bms_percent=pl.lit(50.0))
    plates = made_cells.batteries("b").with_columns(sampling=pl.lit("mean"))
    found = normalized(rows, plates)
    assert found["method"].unique().to_list() == ["means"]
    assert found["resistance_ohm"][-1] == pytest.approx(made_cells.OHM, rel=0.05)
    assert found["resistance_increase_percent"][-1] == pytest.approx(0, abs=2)
    assert normalized(rows)["resistance_ohm"].null_count() == found.height


def test_the_interval_of_the_growth_holds_the_truth():
    """Known truth: simulated batteries that trade, by 5-minute means; nine days in ten is what is promised."""
    plan = plan_without_clocks(
        Plan("traded", batteries=3, days=150, seed=2301, interval_seconds=300, chemistry="LFP", faults=())
    )
    simulated = simulate(plan)
    growth = simulated.life.days[:, :, physics.R_REL] / np.median(
        simulated.life.days[:, :30, physics.R_REL], axis=1, keepdims=True
    )
    found = simulated_tables(simulated, wanted=["resistance_daily"])["resistance_daily"]
    lower, upper = (
        found[f"resistance_increase_{end}_percent"].to_numpy().reshape(3, 150)[:, 60:] for end in ("lower", "upper")
    )
    true = 100 * (growth[:, 60:] - 1)
    assert ((lower < true) & (true < upper)).mean() > 0.85
    assert np.median(upper - lower) < 8


def test_a_day_knows_nothing_of_later_days():
    rows = steps(np.linspace(0.05, 0.07, 60), np.linspace(10, 30, 60))
    assert normalized(rows).head(45).equals(normalized(rows.head(45)))
