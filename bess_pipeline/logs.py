"""What the pipeline writes to its log: one stream, for people or for machines, without secrets.

Every module says what it has to say with a logger of `logger`; one handler at the root of the standard `logging`
writes all of it, and what libraries say, to standard error. What runs a step adds to each line which run, fleet and
days it is of.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Iterable
from typing import Any, Literal, TextIO

#: How a line looks: for people, or one JSON object a line.
Form = Literal["console", "json"]

ROOT = "bess_pipeline"
HIDDEN = "***"

#: A shorter secret would hide half of every line, and be guessed anyway.
_SHORTEST_SECRET = 5
_SIGNED = (
    "sig|signature|x-amz-signature|x-amz-security-token|x-goog-signature|accountkey|sharedaccesssignature"
    "|access_token|token|api[_-]?key|password|passwd|pwd|secret|secret_access_key"
)
_PATTERNS = (
    # scheme://user:password@host, scheme://token@host
    (
        re.compile(r"(?P<kept>\b[a-z][a-z0-9+.-]*://(?:[^\s/?#:@\"']*:)?)[^\s/?#\"']+@", re.IGNORECASE),
        rf"\g<kept>{HIDDEN}@",
    ),
    # ?sig=…, AccountKey=…;, password=… of a connection string, "token": "…"
    (
        re.compile(rf"(?P<kept>\b(?:{_SIGNED})[\"']?\s*[=:]\s*[\"']?)[^\s&;,\"'}}]+", re.IGNORECASE),
        rf"\g<kept>{HIDDEN}",
    ),
    (re.compile(r"(?P<kept>\b(?:bearer|basic)\s+)[a-z0-9._~+/=-]{8,}", re.IGNORECASE), rf"\g<kept>{HIDDEN}"),
    # Whoever knows the path of a webhook may post to it.
    (
        re.compile(
            r"(?P<kept>https?://[^\s/\"']+/(?:[^\s\"']*/)?(?:services|hooks?|webhooks?|webhookb2|workflows)/)[^\s\"']+",
            re.IGNORECASE,
        ),
        rf"\g<kept>{HIDDEN}",
    ),
)


class Redactor:
    """Takes secrets out of texts: those that are known, and what looks like one.

    Args:
        secrets: Values that must not be written anywhere.

    Examples:
        >>> Redactor(["hunter22"]).text("postgresql://bess:pw@db/dagster and hunter22")
        'postgresql://bess:***@db/dagster and ***'
        >>> Redactor([]).text("az://lake/a.parquet?sv=2024&sig=abc%3D")
        'az://lake/a.parquet?sv=2024&sig=***'
    """

    def __init__(self, secrets: Iterable[str]) -> None:
        # The longest first: one may be part of another.
        known = sorted({one for one in secrets if len(one) >= _SHORTEST_SECRET}, key=lambda one: (-len(one), one))
        self._known = re.compile("|".join(map(re.escape, known))) if known else None

    def text(self, text: str) -> str:
        """A text without secrets."""
        if self._known is not None:
            text = self._known.sub(HIDDEN, text)
        for pattern, shown in _PATTERNS:
            text = pattern.sub(shown, text)
        return text

    def value(self, value: Any) -> Any:  # noqa: ANN401 - whatever somebody logs
        """Whatever a line holds, without secrets; what is no text, number or truth becomes text."""
        if value is None or isinstance(value, bool | int | float):
            return value
        if isinstance(value, dict):
            return {self.text(str(name)): self.value(held) for name, held in value.items()}
        if isinstance(value, list | tuple):
            return [self.value(held) for held in value]
        return self.text(str(value))


class _WithoutSecrets(logging.Filter):
    """Takes secrets out of what a module says before anybody, Dagster's event log included, hears it."""

    redactor = Redactor([])

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = self.redactor.text(record.getMessage()), ()
        record.said_by = record.name
        return True


_WITHOUT_SECRETS = _WithoutSecrets()


def logger(name: str) -> logging.Logger:
    """The logger of a module of this package; secrets never leave it.

    Args:
        name: The module's `__name__`.
    """
    made = logging.getLogger(name)
    made.addFilter(_WITHOUT_SECRETS)
    return made


class _Stderr(logging.StreamHandler[TextIO]):
    """Writes to what standard error is at the moment: a progress bar puts itself in its place."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:
        return sys.stderr

    @stream.setter
    def stream(self, _: TextIO) -> None:
        raise AttributeError("it is always standard error")


def configure(level: str, form: Form, secrets: Iterable[str] = ()) -> logging.Handler:
    """Write what this process logs to standard error, in place of what was set up before.

    Args:
        level: The least that the pipeline's own lines must matter; of libraries, warnings are written.
        form: How a line looks.
        secrets: Values that must not be written.

    Returns:
        The handler, to which may be added what tells more of a line.
    """
    root, handler = logging.getLogger(), _Stderr()
    for other in [held for held in root.handlers if isinstance(held, _Stderr)]:
        root.removeHandler(other)
    _WithoutSecrets.redactor = Redactor(secrets)
    handler.setFormatter(_formatter(form, _WithoutSecrets.redactor))
    root.addHandler(handler)
    logging.getLogger(ROOT).setLevel(level)
    return handler


def configured() -> logging.Handler | None:
    """The handler of this process, if `configure` has made one."""
    return next((handler for handler in logging.getLogger().handlers if isinstance(handler, _Stderr)), None)


def _formatter(form: Form, redactor: Redactor) -> logging.Formatter:
    import structlog  # noqa: PLC0415 - a tenth of a second that `bess --help` does not need

    def redacted(_: object, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        return {name: redactor.value(value) for name, value in event.items()}

    def own(_: object, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        for name in ("said_by", "message", "asctime"):  # the last two are left by formatters of others
            event.pop(name, None)
        return event

    chain: list[structlog.typing.Processor] = [
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.stdlib.ExtraAdder(),
        own,
    ]
    shown: structlog.typing.Processor = (
        structlog.processors.JSONRenderer(ensure_ascii=False)
        if form == "json"
        else structlog.dev.ConsoleRenderer(
            colors=False, pad_event_to=0, exception_formatter=structlog.dev.plain_traceback
        )
    )
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=chain,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            redacted,
            shown,
        ],
    )
