"""How much of the time a battery could be used."""

import dataframely as dy

from bess_pipeline.tables.columns import day, key, number, quantity


class Availability(dy.Schema):
    """One row per battery and UTC day from its first to its last data: for how much of it the battery was there.

    Hours add up to those from its first to its last data: observed at work or ready, at a standstill, and silent
    of three kinds.
    """

    fleet_id = key("Fleet the battery belongs to")
    battery_id = key("Battery within the fleet")
    date = day("UTC day")
    availability_percent = quantity(
        "%", "Hours without outage and standstill over hours without unknown; null where nothing is known"
    )
    observed_hours = number("Time with telemetry, and shorter silences [h]", low=0, nullable=False)
    lost_communication_hours = number(
        "Silence across which the reported charge moved: the battery was there [h]", low=0, nullable=False
    )
    outage_hours = number(
        "Silence across which the reported charge should have moved and did not [h]", low=0, nullable=False
    )
    unknown_hours = number("Silence that nothing tells anything of [h]", low=0, nullable=False)
    standstill_hours = number(
        "Of the time with telemetry: no current for hours while most others worked [h]", low=0, nullable=False
    )
