"""The landing zone by content: which file holds which days, and what has been made of it."""

import dataframely as dy

from bess_pipeline.tables.columns import choice, count, day, duration, flag, instant, key, label, shift


class LandingFile(dy.Schema):
    """One row per fleet and file ever seen in its landing folder, as of the file's current version."""

    fleet_id = key("Fleet whose landing folder holds the file")
    path = key("Path below the fleet's landing folder, with forward slashes")
    size_bytes = count("Size of the file as it lies there")
    modified_ns = count("Modification time of the file, nanoseconds since 1970")
    checksum = label("XXH3-128 of the file's bytes")
    first_seen = count("Number of the landing scan that first saw this path; earlier files lose conflicts")
    first_seen_at = instant(
        "When that scan was made, by the clock of the machine; null if nobody noted it", nullable=True
    )
    changed_at = instant("When a scan first saw the file's bytes as they are now, likewise", nullable=True)
    source_version = label("Fingerprint of the fleet file's source section the file was read with")
    rows_received = count("Rows in the file")
    rows_without_day = count("Rows whose time is unreadable, or outside the days that telemetry may have")
    first_timestamp = instant("Earliest usable time in the file", nullable=True)
    last_timestamp = instant("Latest usable time in the file", nullable=True)
    usual_interval_us = duration("Median time from one sample of a battery to its next", nullable=True)
    times_backwards = count("Places at which the time of a battery runs backwards in the file")
    unmapped_columns = label("Columns of the file that the fleet file does not map, separated by commas")
    missing_columns = label("Columns that the fleet file maps and the file does not have, separated by commas")
    awaits = day("First day after today in the file: it becomes usable then", primary_key=False, nullable=True)
    status = choice(["ok", "unreadable"], "Whether the file could be read.")
    error = label("Why the file could not be read, and what to do", nullable=True)
    present = flag("Whether the file was there at the last scan; a vanished file keeps its rows")


class LandingDay(dy.Schema):
    """One row per fleet, file, UTC day and battery: how many rows the file's current version brings."""

    fleet_id = key("Fleet whose landing folder holds the file")
    path = key("Path below the fleet's landing folder")
    date = day("UTC day of the rows' own timestamps")
    battery_id = key("Battery the rows name; empty where they name none")
    checksum = label("Version of the file that was counted")
    clock_version = label("Fingerprint of the clock repairs that the rows were counted with; empty without any")
    rows = count("Rows of that day and battery in the file")
    first_seen_at = instant(
        "When a landing scan first saw rows of that day and battery in the file; null if nobody noted it", nullable=True
    )
    changed_at = instant("When their number last changed, or is first known to be what it is", nullable=True)


class LandingRun(dy.Schema):
    """One row per fleet, file, battery and run of rows: where, in the order of the file, its times jump."""

    fleet_id = key("Fleet whose landing folder holds the file")
    path = key("Path below the fleet's landing folder")
    battery_id = key("Battery the rows name")
    run = dy.Int64(primary_key=True, min=0, description="Number of the run, in the direction of time")
    checksum = label("Version of the file that was read")
    first_row = count("Number of the run's first row in the file; rows of other batteries may lie between")
    last_row = count("Number of the run's last row in the file")
    rows = count("Rows of the run")
    first_timestamp = instant("Earliest time of the run, as it is told")
    last_timestamp = instant("Latest time of the run, as it is told")
    is_ordered = flag("Whether time runs forward in it; rows out of order are one run")


class ClockRepair(dy.Schema):
    """One row per stretch of a battery's rows in a file whose clock was astray, or seems to have been."""

    fleet_id = key("Fleet the battery belongs to")
    battery_id = key("Battery")
    path = key("File that brought the rows, below the fleet's landing folder")
    first_row = dy.Int64(primary_key=True, min=0, description="Number of the first of the rows in the file")
    last_row = count("Number of the last of the rows in the file")
    started_at = instant("Earliest of their times, as it is told")
    ended_at = instant("Latest of their times, as it is told")
    shift_us = shift("What has to be subtracted from their times; positive where the clock was ahead")
    rows = count("Rows of this battery between the two", nullable=True)
    batteries = count("Batteries whose clock was astray with it, itself included")
    is_confident = flag("Whether the evidence is strong: then the times are repaired, else they stay as they are")
    evidence = label("What the repair rests on")


class LedgerEntry(dy.Schema):
    """One row per fleet, step and day: the inputs from which the step's tables were last made."""

    fleet_id = key("Fleet")
    step = key("Step of the pipeline")
    date = day("UTC day; 1970-01-01 for a step that works on a whole fleet")
    signature = label("Fingerprint of everything the step read")
    run_id = label("Run that wrote the tables")


class DayVersion(dy.Schema):
    """One row per fleet, table of months, month and UTC day: what the month's files say of the day."""

    fleet_id = key("Fleet")
    name = key("Table")
    of_month = day("First day of the month whose files were read; 9000-01-01 for what later days may still change")
    date = day("UTC day of which they say something; 9000-01-01 for what is of no day")
    files = dy.Int64(nullable=False, description="Fingerprint of the names of these files")
    version = dy.Int64(nullable=False, description="Fingerprint of their rows of the day")


class MadeFrom(dy.Schema):
    """One row per fleet, table of the fleet level and UTC day: the inputs of that day from which it was last made."""

    fleet_id = key("Fleet")
    name = key("Table")
    date = day("UTC day of the inputs")
    signature = dy.Int64(nullable=False, description="Fingerprint of the day in all tables that were read")
