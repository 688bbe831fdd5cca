"""The Dagster code location of the BESS Analytics Platform."""

from bess_pipeline.loading import kept

with kept():
    from bess_pipeline.defs.build import code_location

    defs = code_location()
