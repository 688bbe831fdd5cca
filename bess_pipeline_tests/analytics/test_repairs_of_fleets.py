"""Repairs of units and signs on synthetic fleets, held against what was planted."""

import polars as pl
import pytest

from bess_pipeline.analytics.repairs import repairs
from bess_pipeline.sources.simulate import Plan
from bess_pipeline_tests.analytics.made_fleets import JUDGED_BY, fleet, judged

#: Faults per battery and 30 days, more than any site has, so that they meet one another.
_RATES = {"unit_f": 0.6, "soc_frac": 0.6, "sign_flip": 0.5, "unit_mv": 0.6, "clock": 0.0}


@pytest.fixture(scope="module")
def fleets():
    loads = [("LFP", "arbitrage", 911), ("NMC", "frequency", 912)]
    return [
        fleet(
            Plan(
                "repairs",
                batteries=6,
                days=60,
                seed=seed,
                interval_seconds=60,
                chemistry=chemistry,
                profile=profile,
                data_fault_rates=_RATES,
            )
        )
        for chemistry, profile, seed in loads
    ]


@pytest.mark.parametrize("kind", JUDGED_BY)
def test_what_was_planted_is_brought_back_and_what_was_right_stays(fleets, kind):
    rows = pl.concat([judged(made, kind) for made in fleets])
    planted = rows.filter(pl.col("event").is_not_null())
    others = rows.filter(pl.col("event").is_null(), ~pl.col("beside"))
    assert planted.height > 1000
    assert planted["right"].mean() >= 0.95
    assert others.filter(pl.col("altered"), ~pl.col("right")).height <= 0.001 * others.height


def test_a_fleet_without_faults_needs_no_repair(fleets):
    for made in fleets:
        assert repairs(made.true, made.batteries).is_empty()
