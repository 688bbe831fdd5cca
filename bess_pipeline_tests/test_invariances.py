"""What must not matter to the numbers of a battery: the sign that its source uses, its size, and sensors it lacks."""

from datetime import date

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from bess_pipeline.sources.files import read_rows
from bess_pipeline.sources.simulate import Plan, simulate
from bess_pipeline.sources.simulate.data_faults import delivered
from bess_pipeline.sources.simulate.deliver import published_curve
from bess_pipeline.sources.source import Source
from bess_pipeline.tables.fleet import OcvPoint
from bess_pipeline.window import Window
from bess_pipeline_tests.analytics.made_fleets import plates_of
from bess_pipeline_tests.fleet_tables import fleet_tables

pytestmark = pytest.mark.whole_runs

PLAN = Plan("same", batteries=2, days=12, seed=71, interval_seconds=300, faults=(), data_faults=False)
WANTED = ("telemetry_5min", "cycles", "cycle_histogram", "battery_daily", "time_in_bands", "availability")
MEASURED = ("voltage_volt", "current_ampere", "temperature_celsius", "soc_bms_percent")


@pytest.fixture(scope="module")
def made():
    """Samples, nameplates and curves of two batteries over twelve days."""
    simulated = simulate(PLAN)
    plates = plates_of(simulated)
    points = published_curve(simulated.cells, PLAN)
    curves = plates.select("fleet_id", "battery_id").join(points, how="cross").cast(OcvPoint.create_empty().schema)
    rows = delivered(PLAN, simulated.samples).rows
    return rows.select("timestamp", "battery_id", *MEASURED).sort("battery_id", "timestamp"), plates, curves


def test_the_sign_that_a_source_uses_changes_nothing(made, tmp_path):
    samples, plates, curves = made
    tables = []
    for positive, sign in (("charge", 1.0), ("discharge", -1.0)):
        file = tmp_path / f"{positive}.csv"
        samples.with_columns(pl.col("current_ampere") * sign).write_csv(file)
        columns = {name: name for name in ("timestamp", "battery_id", *MEASURED)}
        columns["current_ampere"] = {"from": "current_ampere", "positive": positive}
        said = Source.model_validate({"format": "csv", "columns": columns})
        days = {"first_day": date(2020, 1, 1), "today": date(2026, 12, 31)}
        read = read_rows(file, said, Window(date(2020, 1, 1), date(2027, 1, 1)), **days).rows
        assert read.height == samples.height
        tables.append(fleet_tables(read.select("timestamp", "battery_id", *MEASURED), plates, curves, wanted=WANTED))
    for name in WANTED:
        assert tables[0][name].height > 0
        assert_frame_equal(tables[0][name], tables[1][name], check_exact=True)


def test_a_battery_of_eight_times_the_size_has_the_same_charge_cycles_and_efficiency(made):
    samples, plates, curves = made
    small = fleet_tables(samples, plates, curves, wanted=WANTED)
    large = fleet_tables(
        samples.with_columns(pl.col("current_ampere") * 8),
        plates.with_columns(pl.col("rated_capacity_ah", "rated_energy_wh") * 8, pl.col("resistance_ohm") / 8),
        curves,
        wanted=WANTED,
    )
    named = pl.selectors.matches("^(soc|equivalent|round_trip|coulombic|trips|depth|count|c_rate|observed)")
    relative = named | pl.selectors.by_name("date", require_all=False)
    for name in WANTED:
        found, expected = large[name].select(relative), small[name].select(relative)
        assert found.width > 1
        assert_frame_equal(found, expected, rel_tol=1e-6, abs_tol=1e-6)


#: What a battery may lack: columns of the source.
SENSORS = {
    "reported charge": ("soc_bms_percent", "soh_bms_percent"),
    "temperature": ("temperature_celsius", "temperature_min_celsius", "temperature_max_celsius"),
    "cell extremes": ("cell_voltage_min_volt", "cell_voltage_max_volt"),
    "terminal voltage": ("voltage_volt",),
}
#: Estimates with a 90 % interval: table, and beginning of their columns.
ESTIMATES = (
    ("telemetry_5min", "soc", "percent"),
    ("state_of_health", "soh", "percent"),
    ("state_of_health", "soh_usable", "percent"),
    ("state_of_health", "resistance", "ohm"),
)
#: Half an interval is so many standard errors.
HALF_90 = 1.645
#: No estimate may shift by more than so many standard errors. By voltage alone the plateau of LFP does not tell which
#: steps count for the resistance (docs/methods/resistance_and_balance.md).
MOST_SHIFT = 2.0
MORE_SHIFT = {("LFP", "reported charge", "resistance"): 2.7}


@pytest.fixture(scope="module", params=["LFP", "NMC"])
def with_all_sensors(request):
    """Samples, nameplates and curves of two batteries over 45 days, and their tables."""
    plan = Plan("less", batteries=2, days=45, seed=72, interval_seconds=300, faults=(), data_faults=False,
                chemistry=request.param)  # fmt: skip
    simulated = simulate(plan)
    plates = plates_of(simulated)
    points = published_curve(simulated.cells, plan)
    curves = plates.select("fleet_id", "battery_id").join(points, how="cross").cast(OcvPoint.create_empty().schema)
    samples = delivered(plan, simulated.samples).rows
    wanted = {table for table, _, _ in ESTIMATES}
    return samples, plates, curves, fleet_tables(samples, plates, curves, wanted=wanted)


@pytest.mark.parametrize("sensor", SENSORS)
def test_a_sensor_less_widens_estimates_and_shifts_none_by_more_than_two_standard_errors(with_all_sensors, sensor):
    samples, plates, curves, full = with_all_sensors
    chemistry = plates["chemistry"][0]
    less = fleet_tables(
        samples.drop(SENSORS[sensor], strict=False), plates, curves, wanted={table for table, _, _ in ESTIMATES}
    )
    judged = set()
    for table, name, unit in ESTIMATES:
        value, lower, upper = f"{name}_{unit}", f"{name}_lower_{unit}", f"{name}_upper_{unit}"
        key = ["battery_id", "timestamp" if table == "telemetry_5min" else "date"]
        both = (
            less[table]
            .select(*key, value, lower, upper)
            .join(full[table].select(*key, value, lower, upper), on=key, suffix="_full")
            .drop_nulls()
            .with_columns(
                width=pl.col(upper) - pl.col(lower), width_full=pl.col(f"{upper}_full") - pl.col(f"{lower}_full")
            )
        )
        if both.is_empty():
            continue
        judged.add(name)
        shifts = both.select((pl.col(value) - pl.col(f"{value}_full")).abs() / (pl.col("width") / 2 / HALF_90))
        assert shifts.to_series().max() <= MORE_SHIFT.get((chemistry, sensor, name), MOST_SHIFT), name
        wider = both["width"] / both["width_full"]
        # An interval also rests on the state that it is told for, which moves with the estimate: hence a few percent.
        assert wider.median() >= 0.98, (name, wider.median())
        assert wider.min() >= 0.95, (name, wider.min())
    assert judged >= {"soc", "soh"}
    assert ("soh_usable" in judged) == (sensor != "cell extremes")
