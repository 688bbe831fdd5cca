"""The Dagster code location of the BESS Analytics Platform."""

import gc

# What is loaded here stays: to look through it for garbage while it grows, at every full collection afterwards and at
# the end took a third of what a process needs that loads it, as each run of the daemon does.
_collected = gc.isenabled()
gc.disable()
try:
    from bess_pipeline.defs.build import code_location

    defs = code_location()
finally:
    if _collected:
        gc.enable()
gc.freeze()
