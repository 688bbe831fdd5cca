"""What use costs: against the loss that was made, and cases worked out by hand."""

from datetime import UTC, date, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from bess_pipeline.analytics.degradation import ageing
from bess_pipeline.analytics.wear import LEVELS, cost_per_percent, wear_by_depth, wear_curves, wear_daily
from bess_pipeline.sources.terms import Economics, Warranty, assumptions
from bess_pipeline.tables.cycles import Cycle
from bess_pipeline.tables.degradation import Degradation
from bess_pipeline.tables.energy import BatteryDaily, EnergyEvidence
from bess_pipeline.tables.lifecycle import WearDaily
from bess_pipeline_tests.analytics import made_cells
from bess_pipeline_tests.analytics.test_degradation import CALENDAR, CYCLE, START, lived, tables

LAST = START + timedelta(days=999)


def agreed(**said):
    return assumptions("f", Warranty(), None, Economics.model_validate(said))


def energy(days=1000, discharged=30_000.0):
    frame = pl.DataFrame({"date": [START + timedelta(days=n) for n in range(days)]})
    told = frame.with_columns(discharging_energy_wh=pl.lit(discharged))
    return made_cells.whole(told, BatteryDaily, fleet_id="f", battery_id="b0")


def a_life(**said):
    """A battery of three years, what is known of its ageing, and what each of its days cost."""
    _, estimate = lived(1000)
    health, stress, plates = tables([estimate])
    found = ageing(health, stress, plates).degradation
    return found, wear_daily(agreed(**said), stress, found, energy(), plates)


def test_a_percent_is_worth_its_share_of_a_replacement():
    # 36 kWh at 100 each, for the 20 % until the end of life.
    worth = cost_per_percent(agreed(replacement_cost_per_kwh=100), made_cells.batteries("b"))
    assert worth["cost"].to_list() == [180.0]
    assert cost_per_percent(agreed(), made_cells.batteries("b"))["cost"].to_list() == [None]


def test_what_days_cost_adds_up_to_what_was_lost():
    known, days = a_life()
    year = days.filter(pl.col("date") > LAST - timedelta(days=365))
    lost = year["calendar_loss_percent"].sum() + year["cycle_loss_percent"].sum()
    rate = known.filter(pl.col("as_of") == LAST)["degradation_percent_per_year"].item()
    assert lost == pytest.approx(rate, rel=0.03)
    # Of the life that was made: two roots at the pace of the laboratory.
    at = np.array([634.0, 999.0])
    true = 100 * np.diff(np.sqrt(CALENDAR * at) + np.sqrt(CYCLE * at))[0]
    assert lost == pytest.approx(true, rel=0.25)


def test_money_is_capacity_times_its_worth_and_is_told_per_energy():
    _, days = a_life(replacement_cost_per_kwh=100)
    row = days.row(-1, named=True)
    assert row["cycle_cost"] == pytest.approx(180 * row["cycle_loss_percent"])
    assert row["calendar_cost"] == pytest.approx(180 * row["calendar_loss_percent"])
    assert row["cycle_cost_per_mwh"] == pytest.approx(row["cycle_cost"] / 0.03)


def test_without_a_cost_of_replacement_there_is_capacity_and_no_money():
    _, days = a_life()
    assert days["calendar_loss_percent"].null_count() == 0
    money = days.select("calendar_cost", "cycle_cost", "cycle_cost_per_mwh")
    assert money.null_count().row(0) == (days.height,) * 3


def test_since_a_knee_a_day_costs_what_is_lost_now():
    _, estimate = lived(1000, knee=600, steep=3e-4)
    health, stress, plates = tables([estimate])
    known = ageing(health, stress, plates).degradation.filter(pl.col("as_of") == LAST)
    assert known["knee_date"].item() is not None
    days = wear_daily(agreed(), stress, known, energy(), plates).tail(365)
    lost = days["calendar_loss_percent"].sum() + days["cycle_loss_percent"].sum()
    assert lost == pytest.approx(known["degradation_percent_per_year"].item(), rel=0.02)


def usual(**said):
    """One row of evidence a day: a swing between 20 and 80 % at 25 °C and a quarter of C, a cycle a day."""
    row = {
        "temperature_mean_celsius": 25.0, "soc_min_percent": 20.0, "soc_max_percent": 80.0,
        "charged": 100.0, "discharged": 100.0, "active_hours": 8.0, **said,
    }  # fmt: skip
    frame = pl.DataFrame({"date": [date(2026, 1, 1) + timedelta(days=n) for n in range(120)]})
    told = frame.with_columns(**{name: pl.lit(value) for name, value in row.items()})
    return made_cells.whole(told, EnergyEvidence, fleet_id="f", battery_id="b")


def curves(chemistry="LFP", **said):
    plates = made_cells.batteries("b", chemistry=chemistry)
    known = pl.DataFrame(
        {"as_of": [date(2026, 4, 30)], "calendar_unit_percent": [1000.0], "cycle_unit_percent": [1000.0]}
    )
    known = made_cells.whole(known, Degradation, fleet_id="f", battery_id="b")
    return wear_curves(agreed(replacement_cost_per_kwh=100), known, usual(**said), plates, made_cells.curves(plates))


def test_curves_by_hand():
    """Naumann et al.: at 25 °C and 50 % the calendar's clock adds (1.2571e-5·0.60225)² a second."""
    rows = curves()
    assert rows.height == sum(len(levels) for levels in LEVELS.values())
    at_half = rows.filter(factor="state of charge", level=50.0).row(0, named=True)
    a_day = (1.2571e-5 * 0.60225) ** 2 * 86_400
    assert at_half["calendar_loss_percent_per_year"] == pytest.approx(a_day * 1000 * 365.25)
    deep = rows.filter(factor="depth", level=100.0).row(0, named=True)
    a_cycle = ((0.0630 * 0.25 + 0.0971) * (4.0253 * 0.4**3 + 1.0923) / 100) ** 2
    assert deep["cycle_loss_percent_per_year"] == pytest.approx(a_cycle * 1000 * 365.25)
    assert deep["cycle_loss_percent_per_mwh"] == pytest.approx(a_cycle * 1000 / 0.036)
    assert deep["cycle_cost_per_mwh"] == pytest.approx(180 * a_cycle * 1000 / 0.036)
    told = dict(rows.select("factor", "usual").unique().iter_rows())
    assert told == {"c_rate": 0.25, "depth": 60.0, "state of charge": 50.0, "temperature": 25.0}


@pytest.mark.parametrize("chemistry", ["LFP", "NMC"])
def test_more_of_anything_never_wears_less(chemistry):
    rows = curves(chemistry)
    for factor, column in (
        ("depth", "cycle_loss_percent_per_year"),
        ("c_rate", "cycle_loss_percent_per_year"),
        ("temperature", "calendar_loss_percent_per_year"),
        ("state of charge", "calendar_loss_percent_per_year"),
    ):
        assert (rows.filter(factor=factor).sort("level")[column].diff().drop_nulls() >= 0).all(), factor


def test_a_battery_that_does_nothing_has_no_cost_per_energy():
    rows = curves(charged=0.0, discharged=0.0, active_hours=0.0)
    assert rows["cycle_loss_percent_per_year"].max() == 0
    assert rows["cycle_cost_per_mwh"].null_count() == rows.height


def test_batteries_whose_ageing_is_not_known_have_no_rows():
    plates = made_cells.batteries("b")
    nothing = Degradation.create_empty()
    assert wear_curves(agreed(), nothing, usual(), plates, made_cells.curves(plates)).is_empty()
    _, stress, plates = tables([lived(50)[1]])
    assert wear_daily(agreed(), stress, nothing, energy(50), plates).is_empty()


def test_the_order_in_which_rows_come_changes_no_bit():
    random, day = np.random.default_rng(3), datetime(2026, 3, 5, tzinfo=UTC)
    frame = pl.DataFrame({"depth_percent": random.uniform(1, 100, 5000), "c_rate_mean": random.uniform(0, 1, 5000)})
    at = [day + timedelta(minutes=int(n)) for n in range(5000)]
    frame = frame.with_columns(
        count=pl.lit(0.5), mean_soc_percent=50.0, started_at=pl.Series(at), ended_at=pl.Series(at)
    )
    cycles = made_cells.whole(frame, Cycle, fleet_id="f", battery_id="b")
    days = pl.DataFrame(
        {"date": [date(2026, 3, 1 + n) for n in range(30)], "cycle_loss_percent": random.uniform(size=30)}
    )
    worn = made_cells.whole(days, WearDaily, fleet_id="f", battery_id="b")
    plates = made_cells.batteries("b", chemistry="LFP")
    usual = wear_by_depth(worn, cycles, plates)
    for seed in range(5):
        shuffled = wear_by_depth(
            worn.sample(fraction=1, shuffle=True, seed=seed), cycles.sample(fraction=1, shuffle=True, seed=seed), plates
        )
        assert shuffled.equals(usual)


def test_a_months_loss_is_shared_out_by_what_cycles_of_each_depth_do():
    day = datetime(2026, 3, 5, tzinfo=UTC)
    rows = [
        {"depth_percent": depth, "count": count, "ended_at": day, "mean_soc_percent": 50.0, "c_rate_mean": 0.25}
        for depth, count in ((90.0, 1.0), (85.0, 0.5), (10.0, 4.0))
    ]
    cycles = made_cells.whole(pl.DataFrame(rows), Cycle, fleet_id="f", battery_id="b")
    worn = pl.DataFrame({"date": [date(2026, 3, 1), date(2026, 3, 2)], "cycle_loss_percent": [0.01, 0.02]})
    worn = made_cells.whole(worn, WearDaily, fleet_id="f", battery_id="b")
    told = wear_by_depth(worn, cycles, made_cells.batteries("b", chemistry="LFP"))
    assert told["depth_lower_percent"].to_list() == [0.0, 80.0]
    assert told["cycles"].to_list() == [4.0, 1.5]
    np.testing.assert_allclose(told["equivalent_full_cycles"], [0.4, 1.325])
    assert told["cycle_loss_percent"].sum() == pytest.approx(0.03)

    def k(depth):
        return (4.0253 * (depth - 0.6) ** 3 + 1.0923) ** 2

    shallow, deep = 0.4 * k(0.1), 0.9 * k(0.9) + 0.425 * k(0.85)
    assert told["cycle_loss_percent"][0] == pytest.approx(0.03 * shallow / (shallow + deep))
    assert told["cycle_cost"].null_count() == 2
    assert wear_by_depth(worn, cycles.clear(), made_cells.batteries("b")).is_empty()
