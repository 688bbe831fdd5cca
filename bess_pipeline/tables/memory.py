"""What recursions over a battery's rows carry from one epoch into the next."""

import dataframely as dy

from bess_pipeline.tables.columns import day, key


class EpochMemory(dy.Schema):
    """One row per battery and epoch of 28 days: all that a recursion carries into it."""

    fleet_id = key("Fleet the battery belongs to")
    battery_id = key("Battery within the fleet")
    date = day("First UTC day of the epoch")
    carried = dy.List(
        dy.Float64(nullable=True),
        nullable=False,
        description="State of the recursion after the last row before the epoch",
    )
