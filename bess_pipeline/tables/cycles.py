"""Rainflow cycles of the state of charge."""

import dataframely as dy

from bess_pipeline.tables.columns import instant, key, number, quantity


class Cycle(dy.Schema):
    """One row per battery and rainflow cycle of its state of charge; half cycles are those not yet closed."""

    fleet_id = key("Fleet the battery belongs to")
    battery_id = key("Battery within the fleet")
    started_at = instant("First of the two turning points that span the cycle", primary_key=True)
    ended_at = instant("Second of the two turning points that span the cycle", primary_key=True)
    depth_percent = quantity("%", "Range of the cycle", low=0, high=200, nullable=False)
    mean_soc_percent = quantity("%", "Middle of the cycle", nullable=False)
    count = number("1 for a closed cycle, 0.5 for a half", low=0.5, high=1, nullable=False)
