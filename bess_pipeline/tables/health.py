"""State of health: what was observed of the capacity, and what follows from it."""

import dataframely as dy

from bess_pipeline.tables.columns import choice, count, day, instant, label, quantity
from bess_pipeline.tables.keys import OfBattery, OfBatteryDay

OBSERVABILITY = ("full", "wide", "narrow")

#: Usable capacity and the ends of its interval, which balance evidence adds to the state of health.
USABLE = ("soh_usable_percent", "soh_usable_lower_percent", "soh_usable_upper_percent")


class ChargeAnchor(OfBattery):
    """One row per battery and instant at which the state of charge is known without counting."""

    timestamp = instant("Instant of the anchor", primary_key=True)
    kind = choice(["full", "empty", "rest"], "What makes the state of charge known.")
    soc_percent = quantity("%", "State of charge", nullable=False)
    soc_sigma_percent = quantity("%", "Standard error of that state of charge", low=0, nullable=False)


class CapacityObservation(OfBattery):
    """One row per battery and pair of anchors between which charge was counted without a gap."""

    started_at = instant("Instant of the first anchor", primary_key=True)
    ended_at = instant("Instant of the second anchor", primary_key=True)
    capacity_ah = quantity("Ah", "Charge over change of state of charge", low=0, nullable=False)
    capacity_sigma_ah = quantity("Ah", "Standard error of that capacity", low=0, nullable=False)
    soc_change_percent = quantity("%", "Change of the state of charge between the anchors", nullable=False)
    method = label("Kinds of the two anchors")


class ChargeEstimate(OfBattery):
    """One row per battery and 5 minutes: its state of charge, from rows up to two weeks later."""

    date = day("UTC day of the interval", primary_key=False)
    timestamp = instant("Start of the interval, to which the state of charge belongs", primary_key=True)
    soc_percent = quantity("%", "State of charge, relative to today's capacity; null where no voltage is known at all")
    soc_sigma_percent = quantity("%", "Its standard error, as the filter has it", low=0)


class BatteryState(OfBatteryDay):
    """One row per battery and UTC day: what is known of it at the end of the day, from data up to then."""

    corrections = count("Intervals up to the end of the day whose voltage corrected the estimate")
    soc_min_percent = quantity("%", "Lowest state of charge of the day, as known at the time")
    soc_max_percent = quantity("%", "Highest state of charge of the day, as known at the time")
    capacity_ah = quantity("Ah", "Capacity, average of the string", low=0, nullable=False)
    capacity_sigma_ah = quantity("Ah", "Its standard error, as the filter has it", low=0, nullable=False)
    new_capacity_ah = quantity(
        "Ah", "Capacity when new, as the shape of the voltage curve tells", low=0, nullable=False
    )
    offset_ampere = quantity("A", "Current that the sensor adds", nullable=False)
    offset_sigma_ampere = quantity("A", "Its standard error, as the filter has it", low=0, nullable=False)
    fast_resistance_ohm = quantity("Ω", "Resistance within minutes, at 25 °C", low=0)
    slow_resistance_ohm = quantity("Ω", "Resistance that follows in a quarter of an hour, at 25 °C", low=0)
    hysteresis_volt = quantity("V", "Half the gap between charge and discharge branch of a cell", nullable=False)


class FilterMemory(OfBattery):
    """One row per battery and epoch of a week: all that the state filter carries into it."""

    date = day("First UTC day of the epoch")
    last_at = instant("Start of the last interval before the epoch")
    corrections = count("Intervals before that one whose voltage corrected the estimate")
    own = dy.List(dy.Float64(nullable=True), nullable=False, description="What that interval says by itself")
    owed = dy.List(dy.Float64(nullable=True), nullable=False, description="What it owes to those before")
    plate = dy.List(
        dy.Float64(nullable=True), nullable=True, description="What was known at first; null before any voltage was"
    )
    carried = dy.List(
        dy.Float64(nullable=True), nullable=True, description="State of the filter before that interval, and covariance"
    )


class CurrentOffset(OfBatteryDay):
    """One row per battery and UTC day: the offset of its current sensor, from data up to the end of the day."""

    offset_ampere = quantity("A", "Current that the sensor adds; null where it is not known well enough")
    offset_sigma_ampere = quantity("A", "Standard error of the offset", low=0)
    method = label("How it was found", nullable=True)


class StateOfHealth(OfBatteryDay):
    """One row per battery and UTC day from the first estimate on, from data up to the end of that day only."""

    capacity_ah = quantity("Ah", "Capacity, average of the string", low=0)
    soh_percent = quantity("%", "Capacity over rated capacity", low=0)
    soh_lower_percent = quantity("%", "Lower end of the 90 % interval")
    soh_upper_percent = quantity("%", "Upper end of the 90 % interval")
    soh_usable_percent = quantity("%", "Usable capacity, limited by the weakest cells, over rated capacity")
    soh_usable_lower_percent = quantity("%", "Lower end of its 90 % interval")
    soh_usable_upper_percent = quantity("%", "Upper end of its 90 % interval")
    resistance_ohm = quantity("Ω", "Resistance at 25 °C and 50 % state of charge", low=0)
    resistance_lower_ohm = quantity("Ω", "Lower end of its 90 % interval", low=0)
    resistance_upper_ohm = quantity("Ω", "Upper end of its 90 % interval", low=0)
    resistance_increase_percent = quantity("%", "Increase over the battery's first 30 days, or those so far")
    resistance_increase_lower_percent = quantity("%", "Lower end of its 90 % interval")
    resistance_increase_upper_percent = quantity("%", "Upper end of its 90 % interval")
    observability = choice(
        OBSERVABILITY, "full: reaches 98.5 % in most 30-day windows; wide: swings by 60 points; narrow: less."
    )
    observations = count("Intervals whose voltage corrected the estimate")
    method = label("How the capacity was found")
