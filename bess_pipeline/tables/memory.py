"""What recursions over a battery's rows carry from one epoch into the next."""

import dataframely as dy

from bess_pipeline.tables.columns import choice, day, key
from bess_pipeline.tables.keys import OfBattery
from bess_pipeline.tables.resistance import METHODS


class EpochMemory(OfBattery):
    """One row per battery and epoch of a week: all that a recursion carries into it."""

    date = day("First UTC day of the epoch")
    carried = dy.List(
        dy.Float64(nullable=True),
        nullable=False,
        description="State of the recursion after the last row before the epoch",
    )


class HealthMemory(OfBattery):
    """One row per battery and epoch of a week: all that its state of health rests on from before the epoch."""

    date = day("First UTC day of the epoch")
    begun_on = day("First UTC day of the battery; null before any", primary_key=False, nullable=True)
    learnt_on = day(
        "First UTC day at whose end data had told of the capacity; null while they have not",
        primary_key=False,
        nullable=True,
    )
    deficit = dy.List(
        dy.Float64(nullable=True),
        nullable=False,
        description="What has been seen of the lowest cell: whether anything was, the day of the last, the deviation "
        "at empty and at full, its covariance, and the share that all observations have in common",
    )
    excess = dy.List(
        dy.Float64(nullable=True), nullable=False, description="The same of the highest cell, as `deficit`"
    )


class ResistanceMemory(OfBattery):
    """One row per battery, method and epoch of a week: all that the filter of its resistance carries."""

    method = choice(METHODS, "Whether it rests on current steps, or on 5-minute means.", primary_key=True)
    date = day("First UTC day of the epoch")
    begun_on = day("First UTC day of the battery", primary_key=False)
    carried = dy.List(
        dy.Float64(nullable=True),
        nullable=False,
        description="State of the filter after the last day before the epoch, and behind it the means of its first "
        "days; nothing before the first measurement",
    )


class ChartMemory(OfBattery):
    """One row per battery, feature and epoch of a week: all that the sums of the feature's scores carry into it."""

    feature = key("Feature")
    date = day("First UTC day of the epoch")
    carried = dy.List(
        dy.Float64(nullable=True),
        nullable=False,
        description="State of the sums, the last score, and the last ones with which each sum was told",
    )
    reads_high = dy.Bool(
        nullable=False, description="Whether a temperature sensor that reads high is behind the upper sum"
    )


class FeatureMemory(OfBattery):
    """One row per battery, feature and epoch of a week: all that the feature's control charts carry into it."""

    feature = key("Feature")
    date = day("First UTC day of the epoch")
    alone = dy.List(
        dy.Float64(nullable=True), nullable=False, description="State of the chart without regard to the peers"
    )
    beside = dy.List(
        dy.Float64(nullable=True), nullable=False, description="State of the chart that is held against their unrest"
    )
