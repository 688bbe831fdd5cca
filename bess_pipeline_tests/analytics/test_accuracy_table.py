"""The table of accuracy: what becomes of errors."""

import polars as pl
import pytest

from bess_pipeline.analytics.accuracy import ERRORS
from bess_pipeline.analytics.accuracy_table import figures, table_rows


def errors(*rows):
    """Errors: metric, value, and other columns."""
    filled = [
        {"estimator": "bess", "battery_id": f"b{number}", "fleet_id": "f", "weight": 1.0} | row
        for number, row in enumerate(rows)
    ]
    return pl.DataFrame(
        [{name: row.get(name) for name in ERRORS} for row in filled], schema=pl.Schema(ERRORS), orient="row"
    )


def figure(table, section, name):
    (row,) = table.filter(pl.col("section").str.contains(section), pl.col("name") == name).iter_rows(named=True)
    return row


def test_figures_by_hand():
    """Errors of −1, 2 and 4 points: mean 7/3, median 2, 95th percentile 3.8."""
    table = figures(
        errors(
            *({"metric": "soh_error", "value": value, "day": 90, "anchor": "full"} for value in (-1.0, 2.0, 4.0)),
            {"metric": "soh_error", "value": 9.0, "day": 90, "anchor": "wide"},
            {"metric": "soh_error", "value": 5.0, "day": 90, "anchor": "full", "estimator": "as rated"},
        )
    )
    mean = figure(table, "Capacity on day 90", "MAE, full")
    assert (mean["n"], mean["batteries"], mean["value"]) == (3, 3, pytest.approx(7 / 3))
    assert (mean["baseline"], mean["baseline_n"], mean["baseline_value"]) == ("as rated", 1, 5.0)
    assert (mean["second_baseline"], mean["second_baseline_n"], mean["second_baseline_value"]) == ("BMS", 0, None)
    assert figure(table, "Capacity on day 90", "p95, full")["value"] == pytest.approx(3.8)
    assert figure(table, "Capacity on day 90", "MAE, all")["n"] == 4


def test_a_rate_is_a_sum_over_a_sum():
    table = figures(
        errors(*({"metric": "alarm_false", "value": float(n), "weight": years} for n, years in ((2, 0.5), (0, 3.5))))
    )
    assert figure(table, "Alarms", "false per healthy battery-year")["value"] == pytest.approx(0.5)


def test_remaining_life_beside_a_straight_line():
    rows = [
        {"metric": "life_error", "value": value, "estimator": who, "day": 400, "chemistry": "LFP", "battery_id": "b"}
        for who, value in (("bess", -10.0), ("bess", 20.0), ("straight line", 60.0), ("straight line", -60.0))
    ]
    row = figure(figures(errors(*rows)), "future", "remaining life, LFP: over a straight line")
    assert (row["value"], row["n"], row["batteries"]) == (pytest.approx(0.25), 2, 1)


def test_coverage_after_four_years_counts_later_estimates_alone():
    rows = [{"metric": "life_coverage_80", "value": value, "day": day} for value, day in ((1.0, 400), (0.0, 1500))]
    table = figures(errors(*rows))
    assert figure(table, "future", "remaining life: 80 % coverage after 1 year")["value"] == 0.5
    assert figure(table, "future", "remaining life: 80 % coverage after 4 years")["value"] == 0.0


@pytest.mark.parametrize(
    ("section", "name", "reason"),
    [
        ("Knees", "found, all", "no table degradation yet"),
        ("day 90", "usable capacity: MAE", "no column state_of_health.soh_usable_percent yet"),
        ("Capacity on day 730", "MAE, all", "the data end before"),
        ("Capacity on day 90", "MAE, narrow", "no such battery"),
        ("Cycles", "30-day efficiency, p50", "nothing to judge"),
    ],
)
def test_every_row_is_there_with_the_reason_where_there_is_no_figure(section, name, reason):
    some = errors({"metric": "soh_error", "value": 1.0, "day": 90, "anchor": "full"})
    missing = {("degradation", ""), ("state_of_health", "soh_usable_percent")}
    row = figure(figures(some, frozenset(missing)), section, name)
    assert (row["n"], row["value"], row["missing"]) == (0, None, reason)


def test_rows_have_names_of_their_own():
    names = [(row.section, row.name) for row in table_rows(errors())]
    assert len(names) == len(set(names))
    assert len(names) > 80
