"""All tables of a fleet judged at once: estimates that are the truth have no error, and what is not there is said."""

from datetime import UTC, timedelta

import polars as pl
import pytest

from bess_pipeline.analytics.accuracy import ERRORS
from bess_pipeline.analytics.fleet_accuracy import JUDGED, fleet_accuracy
from bess_pipeline.sources.simulate import Plan
from bess_pipeline_tests.analytics.made_alarms import alarms, no_features, signals
from bess_pipeline_tests.analytics.made_truth import FIRST, FLEET, day, plates, truth, values
from bess_pipeline_tests.benchmarks.accuracy import plan_accuracy, table_of

DAYS = 400
PLATES = plates("a").with_columns(rated_capacity_ah=pl.lit(100.0), rated_energy_wh=pl.lit(1000.0))
SWINGS = [0.5, 0.9, 0.1, 0.5]


def true_soc():
    times = [day(number + part / 4) - timedelta(minutes=5) for number in range(30, 61) for part in range(4)]
    return pl.DataFrame({"ts": pl.Series(times, dtype=pl.Datetime("us")), "rack_id": "A", "soc_true": SWINGS * 31})


TRUTH = truth("a", days=DAYS, end_of_life=1400, soc_true=true_soc(), cycles=60.0)


def perfect():
    """Tables that say what is true; the management system is 10 points, and one point of capacity, too high."""
    battery = {"fleet_id": FLEET, "battery_id": "a"}
    dates = [FIRST + timedelta(days=number) for number in range(DAYS)]
    soh = pl.Series([100 - 0.01 * number for number in range(DAYS)])
    soc = TRUTH.soc["soc_percent"]
    moved = {"charging_capacity_ah": 50.0, "discharging_capacity_ah": 50.0}
    telemetry = TRUTH.soc.with_columns(
        date=pl.col("timestamp").dt.date(),
        soc_lower_percent=soc - 1,
        soc_upper_percent=soc + 1,
        soc_bms_percent=soc + 10,
    )
    health = {
        "date": dates,
        "soh_percent": soh,
        "soh_lower_percent": soh - 1,
        "soh_upper_percent": soh + 1,
        "soh_usable_percent": soh - 2,
        "resistance_increase_percent": [0.1 * number for number in range(DAYS)],
    }
    intervals = {
        "timestamp": [day(number).replace(tzinfo=UTC) for number in range(DAYS)],
        "date": dates,
        "soh_bms_percent": soh + 1,
    }
    said = {
        "as_of": [dates[-1]],
        "degradation_percent_per_year": [3.6525],
        "remaining_life_days_p10": [900.0],
        "remaining_life_days_p50": [1001.0],
        "remaining_life_days_p90": [1100.0],
        "knee_detected_on": pl.Series([None], dtype=pl.Date),
    }
    ahead = {"as_of": [dates[-1]], "date": [dates[-1] + timedelta(days=365)], "soh_p50_percent": [100 - 0.01 * 764]}
    return {
        "telemetry_5min": telemetry,
        "closed_intervals": pl.DataFrame(battery | intervals | moved),
        "state_of_health": pl.DataFrame(battery | health),
        "battery_daily": pl.DataFrame(battery | {"date": dates, "round_trip_efficiency_30d_percent": 90.0} | moved)
        .with_columns(charging_energy_wh=pl.lit(100.0), discharging_energy_wh=pl.lit(90.0)),
        "cycles": pl.DataFrame(battery | {"depth_percent": [80.0], "count": [60.0]}),
        "degradation": pl.DataFrame(battery | said),
        "capacity_forecast": pl.DataFrame(battery | ahead),
        "anomaly_events": alarms(),
        "anomaly_signals": signals(),
        "daily_features": no_features(),
    }  # fmt: skip


def test_estimates_that_are_the_truth_have_no_error():
    found = fleet_accuracy(perfect(), PLATES, TRUTH)
    ours = found.errors.filter(estimator="bess")
    sizes = ours.filter(pl.col("metric").str.ends_with("_error") | (pl.col("metric") == "soc_rmse"))
    judged = {"soh", "soh_usable", "resistance", "efc", "cycles", "efficiency", "fade", "life", "forecast"}
    assert set(sizes["metric"].unique()) == {f"{name}_error" for name in judged} | {"soc_rmse"}
    assert sizes["value"].abs().max() < 0.05
    inside = ours.filter(pl.col("metric").str.contains("coverage"))
    assert set(inside["metric"].unique()) == {"soc_coverage", "soh_coverage", "life_coverage_80"}
    assert inside["value"].to_list() == [1.0] * inside.height
    assert values(found.errors, "soc_rmse", "BMS") == {("a", None): pytest.approx(10)}
    assert list(values(found.errors, "soh_error", "BMS").values()) == pytest.approx([1.0] * 5)
    assert found.missing == {("degradation", "remaining_life_days_p95")}


def test_tables_and_columns_that_are_not_there_are_said_and_the_rest_is_judged():
    tables = perfect()
    del tables["degradation"]
    tables["state_of_health"] = tables["state_of_health"].drop("resistance_increase_percent")
    found = fleet_accuracy(tables, PLATES, TRUTH)
    assert {("degradation", ""), ("state_of_health", "resistance_increase_percent")} <= found.missing
    metrics = set(found.errors["metric"].unique())
    assert {"soh_error", "forecast_error", "efc_error"} <= metrics
    assert not {"life_error", "fade_error", "knee_false", "resistance_error"} & metrics


def test_without_any_table_nothing_is_judged():
    found = fleet_accuracy({}, PLATES, TRUTH)
    assert found.errors.is_empty()
    assert dict(found.errors.schema) == ERRORS


def test_a_synthetic_fleet_is_judged_from_its_samples():
    plan = Plan("judged", batteries=2, days=33, seed=9, interval_seconds=300, faults=())
    found = plan_accuracy(plan)
    assert found.errors.filter(metric="soc_rmse", estimator="bess").height == 2
    table = table_of([found, found])
    assert table.filter(pl.col("name") == "RMSE of the median battery, all")["n"].to_list() == [4]
    assert set(JUDGED) >= {"telemetry_5min", "degradation", "capacity_forecast"}
