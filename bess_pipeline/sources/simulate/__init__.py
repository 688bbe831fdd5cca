"""Synthetic fleets with known truth: batteries, planted battery faults, planted data faults."""

from bess_pipeline.sources.simulate.deliver import write_fleet
from bess_pipeline.sources.simulate.fleet import Simulated
from bess_pipeline.sources.simulate.fleet import lived_fleet as simulate
from bess_pipeline.sources.simulate.plan import FAULTS, Plan

__all__ = ["FAULTS", "Plan", "Simulated", "simulate", "write_fleet"]
