"""How much of the time a battery could be used."""

from bess_pipeline.tables.columns import choice, count, day, instant, number, quantity
from bess_pipeline.tables.keys import OfBattery, OfBatteryDay

PIECES = ("day", "silence", "idling")
#: What a silence was; what a battery's first and last day lack; all that interrupts its being there.
SILENCES = ("lost_communication", "outage", "unknown")
EDGES = ("before_first", "after_last")
INTERRUPTIONS = (*SILENCES, "standstill", *EDGES)


class PresenceEvidence(OfBatteryDay):
    """One row per battery, UTC day and piece of it: the whole from first to last row, a silence, or idling."""

    kind = choice(PIECES, "What the piece is.", primary_key=True)
    started_at = instant("Begin of the piece", primary_key=True)
    ended_at = instant("End of the piece")
    rate = number("Magnitude of the last known current before the end of the day, or the silence [C]", low=0)
    reported_before_percent = quantity("%", "Reported charge of the first row of the day; before a silence the last")
    reported_after_percent = quantity("%", "Reported charge of the last row of the day; after a silence the first")
    intervals = count("Intervals of 5 minutes of idling")
    worked = count("Of these, those in which the middle one of at least three others worked")
    soc_sum_percent = quantity("%", "Sum of the charges while idling")
    soc_known = count("Number of these charges")


class PresenceMemory(PresenceEvidence):
    """One row per battery, epoch of a week and piece before it that may still count.

    The pieces are its last day, and the idling that this ended with.
    """

    date = day("First UTC day of the epoch")


class Interruption(OfBattery):
    """One row per battery, kind and stretch of time in which it was silent, or stood still while others worked."""

    kind = choice(
        INTERRUPTIONS,
        "A silence in which only communication was lost, in which the battery was out, or that nothing tells anything "
        "of; a standstill; what its first day lacks before its first data, or its last after its last.",
        primary_key=True,
    )
    started_at = instant("Begin", primary_key=True)
    ended_at = instant("End; of what data end in, the midnight after")
    settled_at = instant("Start of the data that made it certain; null while later ones may change it", nullable=True)


class Availability(OfBatteryDay):
    """One row per battery and UTC day from its first to its last data: for how much of it the battery was there.

    Hours add up to those from its first to its last data: observed at work or ready, at a standstill, and silent
    of three kinds.
    """

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
