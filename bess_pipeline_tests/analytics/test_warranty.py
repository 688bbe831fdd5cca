"""What a warranty guarantees, what is left of it, and when it will be breached: against cases worked out by hand."""

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from bess_pipeline.analytics.terms import terms_of
from bess_pipeline.analytics.warranty import warranty_daily, warranty_forecast, warranty_years
from bess_pipeline.sources.terms import Warranty, assumptions
from bess_pipeline.tables.availability import Availability
from bess_pipeline.tables.degradation import CapacityForecast
from bess_pipeline.tables.energy import BatteryDaily
from bess_pipeline.tables.health import StateOfHealth
from bess_pipeline_tests.analytics import made_cells

START = date(2023, 1, 1)
AGREED = {"starts_on": START, "years": 10, "soh_by_years": [[0, 100], [10, 70]]}


def agreed(**said):
    return assumptions("f", Warranty.model_validate(AGREED | said), None)


def whole(frame, contract):
    return made_cells.whole(frame, contract, fleet_id="f", battery_id="b")


def health(soh, half=1.0):
    days = [START + timedelta(days=n) for n in range(len(soh))]
    frame = pl.DataFrame({"date": days, "soh_percent": np.asarray(soh, dtype=float)})
    edges = frame.with_columns(
        soh_lower_percent=pl.col("soh_percent") - half, soh_upper_percent=pl.col("soh_percent") + half
    )
    return whole(edges, StateOfHealth)


def daily(days, cycles=1.0, discharged=36_000.0):
    frame = pl.DataFrame({"date": [START + timedelta(days=n) for n in range(days)]})
    used = {"equivalent_full_cycles": cycles, "discharging_energy_wh": discharged}
    return whole(frame.with_columns(**{name: pl.lit(value) for name, value in used.items()}), BatteryDaily)


def stand(soh, cycles=1.0, half=1.0, **said):
    plates = made_cells.batteries("b")  # with 10 cycles before the first data
    return warranty_daily(agreed(**said), health(soh, half), daily(len(soh), cycles), plates)


def test_the_guarantee_is_the_lower_of_the_two_curves_and_ends_with_years_or_cycles():
    terms = terms_of(agreed(soh_by_equivalent_full_cycles=[[0, 100], [2000, 80], [4000, 60]]))
    told = terms.guaranteed(np.array([0.0, 5.0, 5.0, 5.0, 10.5, -0.1]), np.array([0.0, 0.0, 2000.0, 4001.0, 0.0, 0.0]))
    np.testing.assert_allclose(told, [100, 85, 80, np.nan, np.nan, np.nan])


def test_margin_and_standing_by_hand():
    # After half a year 98.5 % is guaranteed.
    soh = np.full(366, 99.0)
    soh[182:185] = 98.2, 97.0, 98.6
    rows = stand(soh).filter(pl.col("date").is_between(START + timedelta(days=182), START + timedelta(days=184)))
    np.testing.assert_allclose(rows["guaranteed_soh_percent"], [100 - 3 * n / 365 for n in (182, 183, 184)])
    assert rows["standing"].to_list() == ["doubtful", "breached", "within"]
    np.testing.assert_allclose(rows["margin_percent"][1], 97 - (100 - 3 * 183 / 365))


def test_budgets_and_when_they_run_out_by_hand():
    rows = stand(np.full(200, 99.0), cycles=2.0, equivalent_full_cycles=510, discharged_energy_mwh=10,
                 equivalent_full_cycles_per_year=400)  # fmt: skip
    row = rows.filter(date=START + timedelta(days=99)).row(0, named=True)
    assert row["equivalent_full_cycles"] == 10 + 200
    assert row["cycles_used_percent"] == pytest.approx(100 * 210 / 510)
    assert row["cycles_run_out_on"] == START + timedelta(days=99 + 150)
    assert row["energy_used_percent"] == pytest.approx(36.0)
    # 6.4 MWh are left, at 36 kWh a day.
    assert row["energy_runs_out_on"] == START + timedelta(days=99 + 178)
    assert (row["cycles_of_year"], row["cycles_of_year_percent"]) == (200.0, 50.0)
    assert rows.filter(pl.col("date") < START + timedelta(days=90))["cycles_run_out_on"].null_count() == 90


def test_a_budget_that_is_used_up_tells_since_when():
    rows = stand(np.full(120, 99.0), cycles=2.0, equivalent_full_cycles=110)
    assert rows["cycles_run_out_on"][-1] == START + timedelta(days=49)
    assert rows["cycles_used_percent"][-1] == pytest.approx(100 * 250 / 110)


def test_years_of_the_warranty_begin_on_its_anniversaries():
    rows = stand(np.full(800, 99.0), equivalent_full_cycles_per_year=365)
    by_year = rows.filter(pl.col("cycles_of_year") == 1.0)["date"].to_list()
    assert by_year == [date(2023, 1, 1), date(2024, 1, 1), date(2025, 1, 1)]


@pytest.mark.parametrize(
    ("loss_a_year", "half", "noticed"),
    [(12.0, 0.8, True), (5.0, 0.8, False), (2.5, 0.8, False), (7.0, 3.0, False)],
    ids=["four times as fast", "less than twice", "as agreed", "twice as fast, within error"],
)
def test_an_early_notice_is_given_for_what_is_fast_beyond_error(loss_a_year, half, noticed):
    soh = 101 - loss_a_year * np.arange(200) / 365.25
    row = stand(soh, half=half).row(-1, named=True)
    assert row["loss_90d_percent_per_year"] == pytest.approx(loss_a_year)
    assert row["guaranteed_loss_percent_per_year"] == pytest.approx(3.0, rel=0.01)
    assert row["is_early_notice"] is noticed


def test_nothing_is_told_where_nothing_was_agreed_or_the_warranty_has_ended():
    plates = made_cells.batteries("b")
    assert warranty_daily(assumptions("f", Warranty(), START), health([99.0] * 9), daily(9), plates).is_empty()
    late = warranty_daily(agreed(starts_on=date(2013, 1, 3)), health([99.0] * 9), daily(9), plates)
    assert late["date"].to_list() == [date(2023, 1, 1), date(2023, 1, 2)]


def forecast(low, middle, high, as_of=START + timedelta(days=99), years=12):
    """Percentiles that fall on straight lines from 100 % today, by so many points a year."""
    at = np.arange(30, years * 365, 30)
    rows = {"date": [as_of + timedelta(days=int(n)) for n in at], "as_of": [as_of] * len(at)}
    for name, rate in (("p10", low), ("p50", middle), ("p90", high)):
        rows[f"soh_{name}_percent"] = 100 - rate * at / 365.25
    return whole(pl.DataFrame(rows), CapacityForecast)


def test_the_day_of_the_breach_is_that_of_each_percentile_by_hand():
    stands = stand(np.full(100, 100.0), half=0.0, soh_by_years=[[0, 90], [10, 90]])
    (row,) = warranty_forecast(agreed(soh_by_years=[[0, 90], [10, 90]]), stands, forecast(4, 2, 0.5)).to_dicts()
    today = START + timedelta(days=99)
    for name, years in (("p10", 2.5), ("p50", 5.0)):
        assert abs((row[f"breach_date_{name}"] - today).days - 365.25 * years) <= 1
    assert row["breach_date_p90"] is None
    assert row["warranty_ends_on"] == date(2033, 1, 1)
    assert 0.5 < row["breach_probability"] < 0.99


def test_a_battery_that_is_far_below_has_breached_today_and_one_far_above_never():
    today = START + timedelta(days=99)
    below = warranty_forecast(agreed(), stand(np.full(100, 80.0)), forecast(4, 3, 2)).row(0, named=True)
    assert [below[f"breach_date_p{p}"] for p in (10, 50, 90)] == [today] * 3
    assert below["breach_probability"] > 0.999
    flat = {"soh_by_years": [[0, 60], [10, 50]]}
    above = warranty_forecast(agreed(**flat), stand(np.full(100, 100.0), **flat), forecast(3, 2, 1)).row(0, named=True)
    assert [above[f"breach_date_p{p}"] for p in (10, 50, 90)] == [None] * 3
    assert above["breach_probability"] < 0.001


def test_availability_is_settled_by_the_clause_without_excluded_days():
    """PREPA's clause: two points of the payment for each point below 98; 95 % are settled at 94 %."""
    days = [START + timedelta(days=n) for n in range(100)]
    outage = [24.0 if n in {50, 51, 52, 53, 54} else 0.0 for n in range(100)]
    outage[0] = 24.0  # excluded, as is the next day
    frame = pl.DataFrame({"date": days, "outage_hours": outage}).with_columns(
        observed_hours=24 - pl.col("outage_hours"),
        lost_communication_hours=pl.lit(0.0), unknown_hours=pl.lit(0.0), standstill_hours=pl.lit(0.0),
    )  # fmt: skip
    excluded = {"first": START, "last": START, "reason": "grid works"}
    said = {"availability": {"percent": 98, "points_per_point": 2, "exclusions": [excluded]}}
    hours = frame.slice(0, 101)
    (row,) = warranty_years(
        agreed(**said), daily(100), whole(hours, Availability), made_cells.batteries("b")
    ).to_dicts()
    assert row["hours"] == 99 * 24
    assert row["availability_percent"] == pytest.approx(100 * 94 / 99)
    assert row["settled_percent"] == pytest.approx(100 - 2 * (98 - 100 * 94 / 99))
