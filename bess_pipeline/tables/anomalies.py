"""Anomalies: features of a day, scores of the detectors, events with a life."""

import dataframely as dy

from bess_pipeline.tables.columns import choice, count, day, instant, key, label, number

FAMILIES = ("thermal", "electrical", "cell", "capacity", "sensor", "data", "limit")
SEVERITIES = ("info", "warning", "critical")


class DailyFeature(dy.Schema):
    """One row per battery, UTC day and feature: the value, what it is beside its peers, and beside its own past."""

    fleet_id = key("Fleet the battery belongs to")
    battery_id = key("Battery within the fleet")
    date = day("UTC day")
    feature = key("Name of the feature")
    value = number("Value in the unit of the feature", nullable=False)
    adjusted = number("Value minus the median of the battery's peers that day, where there are at least five")
    z = number("Robust z-score of the adjusted value against the battery's own trailing 90 days")
    peers = count("Other batteries of the fleet with a value that day")
    observed_until = instant("End of the day's last 5-minute interval with data")


class LimitEpisode(dy.Schema):
    """One row per battery, alarm code and stretch of time outside a limit of the nameplate."""

    fleet_id = key("Fleet the battery belongs to")
    battery_id = key("Battery within the fleet")
    code = key("SunSpec 802 name of the alarm")
    started_at = instant("Start of the first 5-minute interval outside the limit", primary_key=True)
    ended_at = instant("Start of the interval that is back inside by the margin; null while open", nullable=True)
    detected_at = instant("End of the second interval outside the limit")
    settled_at = instant("Start of the interval that made the end certain; null while open", nullable=True)
    limit = number("The limit, in volt or degrees Celsius", nullable=False)
    extreme = number("The value furthest outside, in the unit of the limit", nullable=False)
    intervals = count("Intervals of 5 minutes outside the limit")


class AnomalyScore(dy.Schema):
    """One row per battery, UTC day and detector: how unusual the day was."""

    fleet_id = key("Fleet the battery belongs to")
    battery_id = key("Battery within the fleet")
    date = day("UTC day")
    detector = key("Detector")
    score = number("0 is ordinary, 1 is certain; comparable between detectors", low=0, high=1, nullable=False)


class AnomalyEvent(dy.Schema):
    """One row per event: something unusual that was raised, and how long it lasted."""

    event_id = key(
        "Hash of fleet, battery, component, family (for limits and data the kind) and the instant of detection"
    )
    fleet_id = label("Fleet the battery belongs to")
    battery_id = label("Battery within the fleet")
    family = choice(FAMILIES, "What part of the system is unusual.")
    kind = label("What it looks like; SunSpec event names for limits")
    detector = label("Detector that raised it")
    severity = choice(SEVERITIES, "How much it matters.")
    component = label("Cell, probe or sensor; null for the battery as a whole", nullable=True)
    started_at = instant("Start of the unusual data")
    ended_at = instant("End of the unusual data; null while open", nullable=True)
    detected_at = instant("End of the last sample needed to raise the event, in data time")
    detected_on = day("UTC day of the detection", primary_key=False)
    score = number("0 to 1, comparable between detectors", low=0, high=1, nullable=False)
    evidence = label("What the event rests on, as JSON")
