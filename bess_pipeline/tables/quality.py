"""Data quality: rows that were rejected and why, and the account of every row received."""

import dataframely as dy

from bess_pipeline.tables.columns import choice, count, day, duration, instant, key, label, quantity
from bess_pipeline.tables.keys import OfBattery, OfBatteryDay
from bess_pipeline.tables.telemetry import BatteryDay, FlagCounts

#: Why a row is in the quarantine.
REASONS = (
    "unreadable_time",
    "outside_calendar",
    "no_battery",
    "unreadable_value",
    "ragged_row",
    "conflict",
)

#: What is repaired in the 5-minute rows of a fleet.
REPAIRS = ("current_sign", "temperature_unit", "soc_unit")

#: Converted: read otherwise. Excluded: unknown, because the interval holds both kinds. Suspected: left as it is.
REPAIR_ACTIONS = ("converted", "excluded", "suspected")


class QuarantinedRow(dy.Schema):
    """One row per rejected row: where it came from, why it was rejected, and the row as it came."""

    fleet_id = key("Fleet whose landing folder holds the file")
    date = day("UTC day of the row's own timestamp; null without a usable time", primary_key=False, nullable=True)
    path = key("File that brought the row, below the fleet's landing folder")
    row_number = dy.Int64(primary_key=True, min=0, description="Number of the row in the file, from 0")
    battery_id = label("Battery the row names, if it names one", nullable=True)
    timestamp = instant("Time of the row, if it has a usable one", nullable=True)
    reason = choice(REASONS, "Why the row was rejected.")
    detail = label("The column and value that led to it", nullable=True)
    original = label("The row as it came, as JSON")


class RowAccount(dy.Schema):
    """One row per fleet, UTC day, battery and outcome: how many received rows ended there."""

    fleet_id = key("Fleet")
    date = day("UTC day of the rows' own timestamps; 1970-01-01 for rows without a usable time")
    battery_id = key("Battery the rows name; empty where they name none")
    outcome = choice(
        ["accepted", "duplicate", *REASONS],
        "Accepted, duplicate, or the reason of the quarantine.",
        primary_key=True,
    )
    rows = count("Received rows with this outcome")


class RepairCounts(dy.Schema):
    """One row per day: how much of it was repaired, and how much only seems to be wrong."""

    clock_shifted = count("Samples whose time was repaired, because the clock was astray")
    current_sign_intervals = count("Intervals of 5 minutes whose charge and discharge changed places")
    temperature_unit_intervals = count("Intervals of 5 minutes brought from degrees Fahrenheit to Celsius")
    soc_unit_intervals = count("Intervals of 5 minutes whose reported charge was brought from a fraction to percent")
    mixed_intervals = count("Intervals of 5 minutes left out, because the unit or the sign changes within them")
    suspected_intervals = count("Intervals of 5 minutes that seem to be of the wrong sign or unit, left as they are")


#: What is repaired, or suspected, by battery and day.
REPAIR_COUNTS = ("cell_voltage_in_millivolt", *RepairCounts.column_names())


class DataQualityDaily(RepairCounts):
    """One row per fleet and UTC day, from its first to its last: what became of every row received."""

    fleet_id = label("Fleet")
    date = day("UTC day; null for rows without a usable time", primary_key=False, nullable=True)
    rows_received = count("Rows in the current versions of all files, counted when the files were indexed")
    rows_accepted = count("Rows that became samples")
    rows_quarantined = count("Rows in the quarantine")
    rows_duplicate = count("Rows equal to one that was accepted")
    unreadable_time = count("Quarantined: no time could be read")
    outside_calendar = count("Quarantined: outside the days that telemetry may have")
    no_battery = count("Quarantined: the row names no battery")
    unreadable_value = count("Quarantined: a value is no number")
    ragged_row = count("Quarantined: more or fewer fields than the header")
    conflict = count("Quarantined: another row gives other values for the same battery and instant")
    cell_voltage_in_millivolt = count("Samples whose cell voltages were brought from millivolts to volts")
    coverage_fraction = quantity(
        "1", "Share of the day observed, mean over the batteries expected; null until the day is made", low=0, high=1
    )
    batteries_expected = count("Batteries known up to this day; null until the day is made", nullable=True)
    batteries_reporting = count("Batteries with a sample on this day; null until the day is made", nullable=True)
    worst_battery_id = label("Battery of which most of the day is missing or doubtful, if any is", nullable=True)
    worst_battery_reason = label("What is wrong with it", nullable=True)


class Repair(OfBattery):
    """One row per battery, kind and stretch of time in which 5-minute rows were read otherwise than they came."""

    kind = choice(REPAIRS, "What was wrong.", primary_key=True)
    started_at = instant("Start of the first interval", primary_key=True)
    ended_at = instant("End of the last interval")
    action = choice(REPAIR_ACTIONS, "What was done.")
    channels = label("Columns it was done to, separated by commas")
    intervals = count("Intervals of 5 minutes")
    evidence = label("What it rests on")


def completeness(channel: str) -> dy.Float64:
    """The share of samples in which a channel can be used."""
    text = f"Share of the samples whose {channel} is known and not voided; null if there was none in 31 days"
    return quantity("1", text, low=0, high=1)


class BatteryDataQualityDaily(BatteryDay, FlagCounts, RepairCounts):
    """One row per battery and UTC day: how much was seen, and what was wrong with it."""

    coverage_fraction = quantity("1", "Share of the day observed", low=0, high=1, nullable=False)
    longest_gap_us = duration("Longest silence between two samples of the day")
    rows_accepted = count("Rows that became samples")
    rows_quarantined = count("Rows of this battery in the quarantine")
    rows_duplicate = count("Rows equal to one that was accepted")
    samples_expected = count(
        "Samples of a whole day at the battery's usual interval, the median over 30 days", nullable=True
    )
    voltage_completeness_fraction = completeness("voltage")
    current_completeness_fraction = completeness("current")
    power_completeness_fraction = completeness("power, or voltage and current,")
    temperature_completeness_fraction = completeness("cell temperature")
    cell_voltage_completeness_fraction = completeness("cell voltage")
    soc_bms_completeness_fraction = completeness("reported state of charge")
    excluded_fraction = quantity(
        "1", "Share of the known currents, or powers where there is no current, that a flag voids", low=0, high=1
    )
    cell_voltage_mismatch_fraction = quantity(
        "1", "Share of the 5-minute rows in which voltage and cells in series differ by more than 3 %", low=0, high=1
    )
    soc_bms_deviation_percent = quantity(
        "%", "Change of the reported state of charge in an hour against the charge counted, median difference", low=0
    )
    soc_bms_mismatch_fraction = quantity(
        "1", "Share of the hours at work in which these changes differ by half or more", low=0, high=1
    )


class IntervalQuality(OfBatteryDay):
    """One row per battery and UTC day with 5-minute rows: what these say of the quality of the day's data."""

    seen_us = duration("Time over which a channel is known")
    current_sign_intervals = count("Intervals of 5 minutes whose charge and discharge changed places")
    temperature_unit_intervals = count("Intervals of 5 minutes brought from degrees Fahrenheit to Celsius")
    soc_unit_intervals = count("Intervals of 5 minutes whose reported charge was brought from a fraction to percent")
    mixed_intervals = count("Intervals of 5 minutes left out, because the unit or the sign changes within them")
    suspected_intervals = count("Intervals of 5 minutes that seem to be of the wrong sign or unit, left as they are")
    cell_voltage_mismatch_fraction = quantity(
        "1", "Share of the 5-minute rows in which voltage and cells in series differ by more than 3 %", low=0, high=1
    )
    soc_bms_deviation_percent = quantity(
        "%", "Change of the reported state of charge in an hour against the charge counted, median difference", low=0
    )
    soc_bms_mismatch_fraction = quantity(
        "1", "Share of the hours at work in which these changes differ by half or more", low=0, high=1
    )
