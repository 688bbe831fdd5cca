"""The ways to people: webhooks, mail, the log. Whatever goes wrong comes back as a failure without a secret in it."""

from __future__ import annotations

import errno
import logging
import re
import smtplib
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

import requests

from bess_pipeline.alerting import messages
from bess_pipeline.alerting.messages import Told
from bess_pipeline.alerting.outbox import Failure
from bess_pipeline.config import Settings, Webhook
from bess_pipeline.tables.alerts import NO_FLEET

#: Longest that a channel may keep us waiting for a connection, and for an answer [s].
_PATIENCE_SECONDS = 10.0
#: Longest that we stay away because a channel asked for it.
_LONGEST_AWAY = timedelta(hours=1)
#: Answers that speak of the message, not of the channel: bad, too large, of another type, not understood.
_OF_THE_MESSAGE = frozenset({400, 413, 415, 422})
#: Words that a service answers with, such as Slack's invalid_blocks; a longer text might repeat the address.
_CODE = re.compile(r"[a-z][a-z_]{1,40}")

# Its lines hold the paths of addresses, which are the secrets of webhooks.
logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)

_log = logging.getLogger("bess_pipeline.alerts")


class Channel(Protocol):
    """A way to people."""

    @property
    def name(self) -> str:
        """How it is called; its address is a secret."""

    def send(self, alerts: Sequence[Told], *, now: datetime) -> Failure | None:
        """Send one message about one or more alerts.

        Returns:
            What went wrong; nothing when the channel took it.
        """


@dataclass(frozen=True)
class LogChannel:
    """The log of the process."""

    name: str = "log"

    def send(self, alerts: Sequence[Told], *, now: datetime) -> Failure | None:  # noqa: ARG002
        """Write one line, marked with its fleet where it is of one."""
        level = logging.ERROR if any(one.severity == "critical" for one in alerts) else logging.WARNING
        fleets = {one.fleet_id for one in alerts} - {NO_FLEET}
        of_one = {"fleet": fleets.pop()} if len(fleets) == 1 else {}
        _log.log(level, "%s", messages.log_line(alerts), extra=of_one)
        return None


_SHAPES: dict[str, Callable[[Sequence[Told]], dict[str, Any]]] = {
    "slack": messages.slack,
    "teams": messages.teams,
    "json": messages.plain,
}


@dataclass(frozen=True)
class WebhookChannel:
    """Somebody who takes a POST."""

    webhook: Webhook

    @property
    def name(self) -> str:
        """Name of the webhook."""
        return self.webhook.name

    def send(self, alerts: Sequence[Told], *, now: datetime) -> Failure | None:  # noqa: ARG002
        """Post one message; a redirection is a failure, because following it would not post again."""
        body = _SHAPES[self.webhook.kind](alerts)
        url = self.webhook.url.get_secret_value()
        try:
            with requests.post(url, json=body, timeout=_PATIENCE_SECONDS, allow_redirects=False, stream=True) as answer:
                if 200 <= answer.status_code < 300:
                    return None
                code = next(answer.iter_content(100), b"").decode(errors="replace").strip()
        except (requests.RequestException, OSError) as error:
            return Failure(f"no answer: {_reason(error)}")
        said = f" {code}" if _CODE.fullmatch(code) else ""
        asked = answer.headers.get("Retry-After", "")
        return Failure(
            f"answered {answer.status_code}{said}",
            refused=answer.status_code in _OF_THE_MESSAGE,
            retry_after=min(timedelta(seconds=int(asked)), _LONGEST_AWAY) if asked.isdecimal() else timedelta(0),
        )


@dataclass(frozen=True)
class EmailChannel:
    """A mail server."""

    settings: Settings
    name: str = "email"

    def send(self, alerts: Sequence[Told], *, now: datetime) -> Failure | None:
        """Hand one mail to the server; one that cannot encrypt as it was told to gets none."""
        recipients = self.settings.alert_email_to
        mail = messages.email(alerts, sender=self.settings.alert_email_from or "", recipients=recipients, now=now)
        try:
            with self._server() as server:
                refused = server.send_message(mail)
        except smtplib.SMTPResponseException as error:
            of_message = isinstance(error, smtplib.SMTPDataError) and error.smtp_code >= 500
            return Failure(f"{type(error).__name__}: answered {error.smtp_code}", refused=of_message)
        except smtplib.SMTPRecipientsRefused as error:
            return Failure(f"all {len(error.recipients)} recipients were refused")
        except (smtplib.SMTPException, OSError) as error:
            return Failure(_reason(error))
        if refused:
            _log.warning("%d of %d recipients of an alert by mail were refused", len(refused), len(recipients))
        return None

    def _server(self) -> smtplib.SMTP:
        host, port = str(self.settings.alert_email_host), self.settings.alert_email_port
        if self.settings.alert_email_security == "tls":
            server: smtplib.SMTP = smtplib.SMTP_SSL(
                host, port, timeout=_PATIENCE_SECONDS, context=ssl.create_default_context()
            )
        else:
            server = smtplib.SMTP(host, port, timeout=_PATIENCE_SECONDS)
        try:
            if self.settings.alert_email_security == "starttls":
                server.starttls(context=ssl.create_default_context())
            password = self.settings.alert_email_password
            if self.settings.alert_email_user is not None and password is not None:
                server.login(self.settings.alert_email_user, password.get_secret_value())
        except BaseException:
            server.close()
            raise
        return server


def _reason(error: BaseException) -> str:
    """What an error was, by its kind and that of its first cause alone: their texts may hold addresses."""
    first = error
    while (cause := first.__cause__ or first.__context__) is not None:
        first = cause
    number = first.errno if isinstance(first, OSError) else None
    told = [type(error).__name__, type(first).__name__, errno.errorcode.get(number or 0, "")]
    return ", ".join(dict.fromkeys(word for word in told if word))


def channels(settings: Settings) -> list[Channel]:
    """The channels of a deployment; the log is always one."""
    found: list[Channel] = [LogChannel()]
    found += [WebhookChannel(webhook) for webhook in settings.alert_webhooks]
    return [*found, EmailChannel(settings)] if settings.alert_email_host else found


def least_severities(settings: Settings) -> dict[str, str]:
    """Least severity that goes to each channel, by name."""
    return {one.name: settings.alert_least_severity.get(one.name, "info") for one in channels(settings)}
