"""Rainflow cycles of the state of charge."""

import dataframely as dy

from bess_pipeline.tables.columns import day, instant, number, quantity
from bess_pipeline.tables.keys import OfBattery


class Cycle(OfBattery):
    """One row per battery and rainflow cycle of its state of charge; half cycles are those not yet closed."""

    started_at = instant("First of the two turning points that span the cycle", primary_key=True)
    ended_at = instant("Second of the two turning points that span the cycle", primary_key=True)
    depth_percent = quantity("%", "Range of the cycle", low=0, high=200, nullable=False)
    mean_soc_percent = quantity("%", "Middle of the cycle", nullable=False)
    count = number("1 for a closed cycle, 0.5 for a half", low=0.5, high=1, nullable=False)
    counted_at = instant("Row that made the cycle certain; null as long as later data may change it", nullable=True)
    temperature_mean_celsius = quantity("°C", "Mean cell temperature between the two turning points")
    c_rate_mean = number("Mean magnitude of the current between them, of rated capacity in an hour", low=0)
    c_rate_max = number("Largest mean of 5 minutes of that magnitude between them", low=0)


class CycleHistogram(OfBattery):
    """One row per battery, UTC day in which cycles ended, bin of their depth and bin of their middle.

    The sum over the days is the histogram of the whole history.
    """

    date = day("UTC day of the second turning point that spans the cycles")
    depth_lower_percent = dy.Float64(
        primary_key=True, description="Least range of the bin; the bin holds it", metadata={"unit": "%"}
    )
    depth_upper_percent = quantity("%", "Range at which the next bin begins", nullable=False)
    mean_soc_lower_percent = dy.Float64(
        primary_key=True, description="Lowest middle of the bin; the bin holds it", metadata={"unit": "%"}
    )
    mean_soc_upper_percent = quantity("%", "Middle at which the next bin begins", nullable=False)
    count = number("Cycles; those not yet closed count half", low=0.5, nullable=False)
