"""Alerts: what a person was to be told of, and what became of telling it, channel by channel."""

from __future__ import annotations

import dataframely as dy

from bess_pipeline.tables.anomalies import SEVERITIES
from bess_pipeline.tables.columns import choice, count, flag, instant, key, label

#: Fleet of what is of no single fleet; no fleet can be called so, because names of fleets have no dots.
NO_FLEET = "no.fleet"

#: What can be worth an alert.
KINDS = (
    "run_failure",
    "failed_check",
    "missing_data",
    "register_mistake",
    "anomaly_event",
    "warranty_event",
    "early_notice",
)


class Alert(dy.Schema):
    """One row per alert: what a person was to be told of, and over which channels."""

    alert_id = key("Hash of what the alert is about and of the occasion; every message names it")
    fleet_id = label(f"Fleet that it is about; {NO_FLEET} for what is of none")
    about_id = label("Hash of what it is about; the same thing soon after is the same alert")
    kind = choice(KINDS, "What happened.")
    severity = choice(SEVERITIES, "How much it matters.")
    battery_id = label("Battery that it is about; null where it is about none or several", nullable=True)
    subject = label("What happened, in a few words")
    message = label("What is known of it, and what to do next")
    link = label("Page to look at; null where no address of the pages is set", nullable=True)
    occurred_at = instant("When it happened: in data time for events of a battery, else by the clock of the machine")
    raised_at = instant("When it was put down here, by the clock of the machine")
    channels = label("Names of the channels that it is to go to, in order, separated by commas")


class AlertDelivery(dy.Schema):
    """One row per alert and channel over which it was sent at least once: what became of it."""

    fleet_id = key(f"Fleet that the alert is about; {NO_FLEET} for what is of none")
    alert_id = key("The alert")
    channel = key("Name of the channel")
    attempts = count("How often it was tried")
    last_attempt_at = instant("When it was last tried")
    delivered_at = instant("When the channel took it; null while it waits", nullable=True)
    next_attempt_at = instant("Not tried again before; null once it was delivered", nullable=True)
    refused = flag("Whether the channel answered and refused this very message, so that others go on")
    in_digest = flag("Whether it was last sent folded into one message with others")
    error = label("What went wrong last; null where nothing did. No address or password is in it", nullable=True)
