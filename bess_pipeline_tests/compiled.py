"""Has Numba compile the pipeline, for all processes after this one: `python -m bess_pipeline_tests.compiled`."""

from bess_pipeline.sources.simulate import Plan, simulate
from bess_pipeline_tests.fleet_tables import simulated_tables

if __name__ == "__main__":
    # A few weeks of two batteries pass through every function that takes long to compile.
    simulated_tables(simulate(Plan("compiled", batteries=2, days=30, seed=1, interval_seconds=300)))
