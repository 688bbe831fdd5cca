"""What recursions over a battery's rows carry from one epoch into the next."""

import dataframely as dy

from bess_pipeline.tables.columns import day, key
from bess_pipeline.tables.keys import OfBattery


class EpochMemory(OfBattery):
    """One row per battery and epoch of 28 days: all that a recursion carries into it."""

    date = day("First UTC day of the epoch")
    carried = dy.List(
        dy.Float64(nullable=True),
        nullable=False,
        description="State of the recursion after the last row before the epoch",
    )


class FeatureMemory(OfBattery):
    """One row per battery, feature and epoch of 28 days: all that the feature's control charts carry into it."""

    feature = key("Feature")
    date = day("First UTC day of the epoch")
    alone = dy.List(
        dy.Float64(nullable=True), nullable=False, description="State of the chart without regard to the peers"
    )
    beside = dy.List(
        dy.Float64(nullable=True), nullable=False, description="State of the chart that is held against their unrest"
    )
