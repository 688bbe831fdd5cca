"""What a day of use costs."""

from datetime import timedelta

import numpy as np
import polars as pl
import pytest

from bess_pipeline.analytics.ageing_clocks import daily_stress, run_through
from bess_pipeline.tables.telemetry import Telemetry5min
from bess_pipeline_tests.analytics import made_cells


def a_day(**columns):
    """A day of 5-minute rows of one battery of 100 Ah."""
    rows = pl.DataFrame(
        {"timestamp": [made_cells.START + timedelta(minutes=5 * row) for row in range(288)], **columns}
    ).with_columns(fleet_id=pl.lit("f"), battery_id=pl.lit("b"), date=pl.col("timestamp").dt.date())
    schema = Telemetry5min.create_empty().schema
    return rows.select(
        (pl.col(name) if name in rows.columns else pl.lit(None)).cast(kind).alias(name) for name, kind in schema.items()
    )


def states(rows):
    """The charge as the filter knew it on the day itself."""
    soc = pl.col("soc_percent")
    return rows.group_by("fleet_id", "battery_id", "date").agg(soc_min_percent=soc.min(), soc_max_percent=soc.max())


def stress(chemistry, **columns):
    rows = a_day(**columns)
    return daily_stress(rows, states(rows), made_cells.batteries("b", chemistry=chemistry)).row(0, named=True)


def test_a_day_of_rest_of_lfp_by_hand():
    """Naumann 2018 at 25 °C and half full: k = 1.2571e-5 · 0.60225 per √s; its square times 86,400 s."""
    found = stress("LFP", temperature_celsius=25.0, soc_percent=50.0)
    assert found["calendar"] == pytest.approx((1.2571e-5 * 0.60225) ** 2 * 86_400, rel=1e-9)
    assert found["cycle"] == 0


def test_a_day_of_work_of_lfp_by_hand():
    """Naumann 2020 at 0.5 C and a depth of 0.6: k = (0.0315 + 0.0971) · 1.0923 / 100 per √cycle; one cycle."""
    soc = 50 + 30 * np.sin(2 * np.pi * np.arange(288) / 288)
    found = stress("LFP", temperature_celsius=25.0, soc_percent=soc, current_ampere=50.0,
                   charging_capacity_ah=100 / 288, discharging_capacity_ah=100 / 288)  # fmt: skip
    assert found["cycle"] == pytest.approx(((0.0630 * 0.5 + 0.0971) * 1.0923 / 100) ** 2, rel=1e-3)


def test_a_day_of_rest_of_nmc_by_hand():
    """Schmalstieg 2014 at 25 °C and 3.8 V: k = (7.543 · 3.8 − 23.75) · 1e6 · exp(−6976 / 298.15) per day^0.75."""
    found = stress("NMC", temperature_celsius=25.0, soc_percent=60.0, voltage_volt=380.0)
    k = (7.543 * 3.8 - 23.75) * 1e6 * np.exp(-6976 / 298.15)
    assert found["calendar"] == pytest.approx(k ** (4 / 3), rel=1e-9)


def test_heat_ages_and_what_is_unknown_is_ordinary():
    warm, cool = (stress("LFP", temperature_celsius=t, soc_percent=50.0)["calendar"] for t in (40.0, 10.0))
    assert warm > 1.5 * stress("LFP")["calendar"] > 2 * cool


def test_a_clock_that_has_run_before_runs_on():
    """By hand: √(0.01² + 1) − 0.01 after one unit, √(0.01² + 2) − 0.01 after two."""
    found = run_through(np.array([1.0, 1.0]), 0.5, 0.01)
    assert found.tolist() == pytest.approx([np.sqrt(1.0001) - 0.01, np.sqrt(2.0001) - 0.01])


def test_charge_that_was_smoothed_later_does_not_count():
    rows, plates = a_day(soc_percent=50.0, current_ampere=10.0, charging_capacity_ah=0.1), made_cells.batteries("b")
    known = states(rows)
    later = rows.with_columns(soc_percent=pl.lit(60.0))
    assert daily_stress(later, known, plates).equals(daily_stress(rows, known, plates))
