"""How alerts read: one of them in full, many as a list, in the shape that each channel takes."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from email.message import EmailMessage
from email.utils import format_datetime, parseaddr

import polars as pl
import xxhash

from bess_pipeline.alerting.occasions import one_line
from bess_pipeline.tables.alerts import NO_FLEET
from bess_pipeline.tables.anomalies import SEVERITIES

#: Slack takes 3000 characters in a block, and 150 in a header.
_SLACK_BLOCK = 2900
_MAIL_WIDTH = 72
_COLOURS = {"critical": "attention", "warning": "warning", "info": "default"}
_MARKS = {"critical": ":red_circle:", "warning": ":large_orange_circle:", "info": ":white_circle:"}


@dataclass(frozen=True)
class Told:
    """What a message says of one alert."""

    alert_id: str
    kind: str
    severity: str
    fleet_id: str
    battery_id: str | None
    subject: str
    message: str
    link: str | None
    occurred_at: datetime
    raised_at: datetime

    @property
    def title(self) -> str:
        """Fleet, battery and what happened, on one line."""
        where = [name for name in (self.fleet_id, self.battery_id) if name and name != NO_FLEET]
        return one_line(f"{' / '.join(where)}: {self.subject}" if where else self.subject, longest=200)


def told(rows: pl.DataFrame) -> list[Told]:
    """What a message says of `Alert` rows."""
    return [Told(**row) for row in rows.select(list(Told.__dataclass_fields__)).iter_rows(named=True)]


def headline(alerts: Sequence[Told]) -> str:
    """The first line of a message: the alert, or how many of which severity there are."""
    if len(alerts) == 1:
        return f"{alerts[0].severity}: {alerts[0].title}"
    severities = [one.severity for one in alerts]
    counts = [f"{severities.count(name)} {name}" for name in reversed(SEVERITIES) if name in severities]
    return f"{len(alerts)} alerts: {', '.join(counts)}"


def message_id(alerts: Sequence[Told]) -> str:
    """Identity of a message: the same alerts together have the same; of one alert it is that of the alert."""
    ids = sorted(one.alert_id for one in alerts)
    return ids[0] if len(ids) == 1 else xxhash.xxh3_64_hexdigest("\x1f".join(ids).encode())


def _when(instant: datetime) -> str:
    return f"{instant:%Y-%m-%d %H:%M} UTC"


def _foot(one: Told) -> str:
    return f"{one.kind}, {_when(one.occurred_at)}, alert {one.alert_id}"


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _mrkdwn(text: str) -> dict[str, object]:
    return {"type": "mrkdwn", "text": text, "verbatim": True}


def _slack_title(one: Told) -> str:
    title = _escaped(one.title)
    return f"{_MARKS[one.severity]} " + (f"<{one.link}|{title}>" if one.link else f"*{title}*")


def slack(alerts: Sequence[Told]) -> dict[str, object]:
    """The body for an incoming webhook of Slack."""
    if len(alerts) == 1:
        (one,) = alerts
        texts = [f"{_slack_title(one)}\n{_escaped(one.message)}"]
        foot = _foot(one)
    else:
        lines = [f"{_slack_title(one)}  `{one.alert_id}`" for one in alerts]
        texts = _packed([f"*{headline(alerts)}*", *lines])
        foot = f"message {message_id(alerts)}"
    blocks: list[dict[str, object]] = [{"type": "section", "text": _mrkdwn(text)} for text in texts]
    blocks.append({"type": "context", "elements": [_mrkdwn(foot)]})
    return {"text": _escaped(headline(alerts)), "blocks": blocks}


def _packed(lines: Sequence[str]) -> list[str]:
    """Lines in as few texts as can hold them."""
    texts: list[str] = []
    for line in lines:
        if texts and len(texts[-1]) + len(line) < _SLACK_BLOCK:
            texts[-1] += "\n" + line
        else:
            texts.append(line)
    return texts


def _run(text: str, **style: object) -> dict[str, object]:
    return {"type": "TextRun", "text": text, **style}


def _rich(*runs: dict[str, object]) -> dict[str, object]:
    """A line of a card whose text is taken as it is: a name may hold what Markdown would make something of."""
    return {"type": "RichTextBlock", "inlines": list(runs)}


def teams(alerts: Sequence[Told]) -> dict[str, object]:
    """The body for a webhook of Teams Workflows: an Adaptive Card."""
    title = _run(headline(alerts), weight="bolder", size="medium", color=_COLOURS[alerts[0].severity])
    body = [_rich(title)]
    actions: list[dict[str, object]] = []
    if len(alerts) == 1:
        (one,) = alerts
        body += [_rich(_run(one.message)), _rich(_run(_foot(one), isSubtle=True, size="small"))]
        actions = [{"type": "Action.OpenUrl", "title": "Open the page", "url": one.link}] if one.link else []
    else:
        body += [
            _rich(
                _run(one.severity, color=_COLOURS[one.severity]),
                _run(f" {one.title} "),
                _run(one.alert_id, isSubtle=True, size="small"),
            )
            for one in alerts
        ]
        body.append(_rich(_run(f"message {message_id(alerts)}", isSubtle=True, size="small")))
    card = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "msteams": {"width": "Full"},
        "body": body,
        "actions": actions,
    }
    attachment = {"contentType": "application/vnd.microsoft.card.adaptive", "contentUrl": None, "content": card}
    return {"type": "message", "attachments": [attachment]}


def plain(alerts: Sequence[Told]) -> dict[str, object]:
    """The body for a webhook that takes JSON of ours: always a list, of one or of many alerts."""
    return {
        "message_id": message_id(alerts),
        "summary": headline(alerts),
        "alerts": [
            asdict(one)
            | {
                "fleet_id": None if one.fleet_id == NO_FLEET else one.fleet_id,
                "occurred_at": one.occurred_at.isoformat(),
                "raised_at": one.raised_at.isoformat(),
            }
            for one in alerts
        ],
    }


def email(alerts: Sequence[Told], *, sender: str, recipients: Sequence[str], now: datetime) -> EmailMessage:
    """A mail in plain text; sent twice, it has the same identity twice."""
    mail = EmailMessage()
    mail["Subject"] = f"[BESS] {headline(alerts)}"
    mail["From"] = sender
    mail["To"] = ", ".join(recipients)
    mail["Date"] = format_datetime(now)
    mail["Message-ID"] = f"<{message_id(alerts)}@{parseaddr(sender)[1].rpartition('@')[2] or 'localhost'}>"
    mail["Auto-Submitted"] = "auto-generated"
    mail["X-BESS-Alert-IDs"] = " ".join(one.alert_id for one in alerts)
    mail.set_content("\n\n".join(map(_paragraph, alerts)) + "\n", cte="quoted-printable")
    return mail


def _paragraph(one: Told) -> str:
    message = textwrap.fill(one.message, _MAIL_WIDTH, break_long_words=False, break_on_hyphens=False)
    lines = [f"{one.severity.upper()}  {one.title}", message, *([one.link] if one.link else []), _foot(one)]
    return "\n".join(lines)


def log_line(alerts: Sequence[Told]) -> str:
    """One line for a log."""
    if len(alerts) > 1:
        return f"{headline(alerts)}: " + "; ".join(f"{one.severity}: {one.title} ({one.alert_id})" for one in alerts)
    (one,) = alerts
    return f"{headline(alerts)}: {one.message} ({', '.join([*([one.link] if one.link else []), _foot(one)])})"
