"""Occasions and alerts to try things on."""

from datetime import UTC, datetime, timedelta

from bess_pipeline.alerting import outbox
from bess_pipeline.alerting.messages import Told, told
from bess_pipeline.alerting.occasions import Occasion

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
LINK = "https://bess.example/events/e1"


def occasion(name="rack-1", **columns):
    """An event of a battery, a minute ago."""
    facts = {
        "kind": "anomaly_event", "severity": "warning", "fleet_id": "alpha", "about": (name,), "episode": "e1",
        "subject": "thermal: hot_spot", "message": "Began yesterday. Look at the fan.",
        "occurred_at": NOW - timedelta(minutes=1), "link": LINK, "battery_id": name,
    }  # fmt: skip
    return Occasion(**facts | columns)


def alerts(*occasions, channels=None):
    """They, put down for a channel called ops."""
    return outbox.raised(occasions, channels or {"ops": "info"}, now=NOW)


def message(number=1, **columns) -> list[Told]:
    """A message that tells of so many alerts."""
    return told(alerts(*(occasion(f"rack-{each}", **columns) for each in range(number))))
