"""Anomalies: features of a day, scores of the detectors, events with a life."""

import dataframely as dy

from bess_pipeline.tables.columns import choice, count, day, instant, key, label, number, quantity
from bess_pipeline.tables.keys import OfBattery, OfBatteryDay

FAMILIES = ("thermal", "electrical", "cell", "capacity", "sensor", "data", "limit")
SEVERITIES = ("info", "warning", "critical")
#: What a person can say of an event; the latest counts, remarks apart.
VERDICTS = ("confirmed", "dismissed", "annotated", "withdrawn")


class FeatureEvidence(OfBatteryDay):
    """One row per battery and UTC day: what its 5-minute rows and its evidence say, before any comparison."""

    observed_until = instant("End of the day's last interval")
    depth = count("How far the day reached into the steep lower end of the open-circuit curve, in steps")
    height = count("How far it reached into the steep upper end")
    current_sign_fraction = quantity("1", "Share of the intervals of another sign", low=0)
    temperature_unit_fraction = quantity("1", "Share of the intervals in degrees Fahrenheit", low=0)
    soc_unit_fraction = quantity("1", "Share of the intervals whose charge is reported as a fraction", low=0)
    soc_jumps = count(
        "Times that the reported charge changed by 3 points within 5 minutes beyond what the current moved"
    )
    cell_low = number("How far the lowest cell lies below the mean one, 97 % of the day no further [V]")
    cell_high = number("How far the highest cell lies above the mean one, likewise [V]")
    rest_spread = number("Spread of the cells at rest [V]")
    outside_cell_resistance = number("Slope of the voltage outside the cells on the current [V]")
    cell_loop_resistance = number("Slope of the spread of the cells on the magnitude of the current [V]")
    temperature_mean = number("Mean temperature [°C]")
    temperature_over_ambient = number("Mean temperature above the air [K]")
    throughput = number("Logarithm of the mean magnitude of the current [C]")
    current_share = number("Median logarithm of the current over the median current of the peers")
    idle_current = number("Median current while the battery idles [C]")
    flagged_fraction = quantity("1", "Share of the samples out of range", low=0)
    still_fraction = quantity("1", "Share of the samples that stand still", low=0)
    spread_p95 = number("Spread of the cells, 95 % of the samples [V]")
    temperature_hot_spot = number("Hottest probe above the mean, 95 % of the samples [K]")


class DailyFeature(OfBatteryDay):
    """One row per battery, UTC day and feature: the value, what it is beside its peers, and beside its own past."""

    feature = key("Name of the feature")
    value = number("Value in the unit of the feature", nullable=False)
    adjusted = number("Value minus the median of the battery's peers that day, where there are at least five")
    z = number("Robust z-score of the adjusted value against the battery's own trailing 90 days")
    peers = count("Other batteries of the fleet with a value that day")
    observed_until = instant("End of the day's last 5-minute interval with data")


class LimitEpisode(OfBattery):
    """One row per battery, alarm code and stretch of time outside a limit of the nameplate."""

    code = key("SunSpec 802 name of the alarm")
    started_at = instant("Start of the first 5-minute interval outside the limit", primary_key=True)
    ended_at = instant("Start of the interval that is back inside by the margin; null while open", nullable=True)
    detected_at = instant("End of the second interval outside the limit")
    settled_at = instant("Start of the interval that made the end certain; null while open", nullable=True)
    limit = number("The limit, in volt or degrees Celsius", nullable=False)
    extreme = number("The value furthest outside, in the unit of the limit", nullable=False)
    intervals = count("Intervals of 5 minutes outside the limit")


class AnomalySignal(OfBatteryDay):
    """One row per battery, UTC day, lane, component, feature and direction in which a lane saw something."""

    lane = key("Lane that saw it")
    component = key("Cell, probe or sensor; empty for the battery as a whole")
    feature = key("What moved")
    direction = choice(("up", "down"), "Where to.", primary_key=True)
    statistic = number("What the lane has gathered up to the end of the day, in its own unit", low=0, nullable=False)
    family = choice(FAMILIES, "What part of the system is unusual.")
    kind = label("What it looks like")
    severity = choice(SEVERITIES, "How much it matters once it is raised.")
    started_at = instant("Start of the unusual data")
    raised_at = instant("End of the last sample needed to raise it that day; null while not raised", nullable=True)
    value = number("Value of the feature that day, in its unit")
    z = number("Robust z-score of the value, where the lane has one")
    peers = count("What it was compared with that day: batteries, or cells", nullable=True)


class AnomalyModel(dy.Schema):
    """One row per fleet, epoch of 28 days and model: what was learned before it, and what an alarm has to reach."""

    fleet_id = key("Fleet")
    date = day("First UTC day of the epoch in which the model is in force")
    model = key("What is learned: principal_components or isolation_forest")
    trained_from = day("First UTC day of the rows that it was trained on", primary_key=False)
    trained_until = day("Last UTC day of them", primary_key=False)
    training_rows = count("Battery-days that it was fitted to")
    training_version = label("Fingerprint of these rows")
    library = label("What fitted it, with its version")
    features = label("Features of a row, in order, as JSON")
    level = number("Value that an alarm has to reach", low=0, nullable=False)
    parameters = label("The fitted model: JSON, or a compressed NumPy archive in base 64")


class AnomalyScore(OfBatteryDay):
    """One row per battery, UTC day and detector: how unusual the day was."""

    detector = key("Detector")
    score = number(
        "Share of healthy battery-days that are less unusual; comparable between detectors",
        low=0,
        high=1,
        nullable=False,
    )


class EventOnset(OfBatteryDay):
    """One row per battery, component, family, stream and UTC day on which an event begins: what stays as it is."""

    component = key("Cell, probe or sensor; empty for the battery as a whole")
    family = key("What part of the system is unusual")
    stream = key("Signals that may be of one event: those of the battery, information, or one kind of data fault")
    kind = label("What it looks like")
    detector = label("Detector that raised it")
    started_at = instant("Start of the unusual data")
    detected_at = instant("End of the last sample needed to raise the event, in data time")
    score = number("Share of healthy battery-days that are less unusual", low=0, high=1, nullable=False)
    evidence = label("What the event rests on, as JSON: features of the day, and a series of the 60 days up to it")


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
    score = number(
        "Share of healthy battery-days that are less unusual than that of detection", low=0, high=1, nullable=False
    )
    evidence = label("What the event rests on, as JSON: features of the day of detection, and a series to plot")
    next_step = label("What to do next")


class EventFeedback(OfBattery):
    """One row per saying of a person about an event, kept for good; see `event_verdicts` for what holds now.

    It is about a battery, a component, a family and a stretch of time, not about an identity, and so stays
    with what it is about when late data move an onset or merge two events.
    """

    feedback_id = key("Identity of the saying")
    event_id = label("Event that it was said of, as it was called then")
    family = choice(FAMILIES, "Family of the event.")
    kind = label("Kind of the event")
    severity = choice(SEVERITIES, "Severity of the event.")
    component = label("Component of the event; null for the battery as a whole", nullable=True)
    started_at = instant("Start of the event")
    until_at = instant("End of the event; of the battery's data so far while it was open")
    verdict = choice(VERDICTS, "What was said; withdrawn takes back what was said before.")
    note = label("Remark", nullable=True)
    given_by = label("Who said it")
    given_at = instant("When it was said, by the clock of the machine")
    mute_until = instant("Instant, in data time, up to which alike events are no more than info", nullable=True)
