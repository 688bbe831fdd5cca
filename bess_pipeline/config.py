"""The settings of one deployment; the only reader of the environment."""

from __future__ import annotations

import os
import re
from datetime import date
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Annotated, Literal, Self, get_args
from urllib.parse import unquote, urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

#: Shapes that a webhook can take.
WebhookKind = Literal["slack", "teams", "json"]
Severity = Literal["info", "warning", "critical"]


class Webhook(BaseModel):
    """One webhook for alerts; whoever knows the address may post to it, so it is a secret."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    name: str = Field(pattern=r"^[A-Za-z0-9_-]+$")
    kind: WebhookKind
    url: SecretStr


def _is_address(text: str) -> bool:
    try:
        parts = urlsplit(text)
    except ValueError:  # its text would hold the address
        return False
    return parts.scheme in {"http", "https"} and bool(parts.hostname)


def _webhooks(value: object) -> object:
    """Webhooks as they are written: ``slack=https://…``, or ``name:slack=https://…``, with blanks in between.

    Raises:
        ValueError: If one is written otherwise; its address is not in the text.
    """
    if not isinstance(value, str):
        return value
    read = []
    for number, word in enumerate(value.split(), start=1):
        label, _, url = word.partition("=")
        name, _, kind = label.rpartition(":")
        if kind not in get_args(WebhookKind) or not _is_address(url):
            raise ValueError(f"webhook {number} must read kind=URL or name:kind=URL, of slack, teams or json")
        read.append(Webhook.model_validate({"name": name or kind, "kind": kind, "url": url}))
    names = [webhook.name for webhook in read]
    if len(set(names)) < len(names) or {"log", "email"} & set(names):
        raise ValueError("every webhook needs a name of its own, other than log and email: name:kind=URL")
    return tuple(read)


def _words(value: object) -> object:
    return tuple(value.replace(",", " ").split()) if isinstance(value, str) else value


def _pairs(value: object) -> object:
    return dict(word.partition("=")[::2] for word in value.split()) if isinstance(value, str) else value


def _page(value: str | None) -> str | None:
    if value is not None and not _is_address(value):
        raise ValueError("must be an address that begins with http:// or https://")
    return None if value is None else value.rstrip("/")


Page = Annotated[str | None, AfterValidator(_page)]

#: Variables whose values nobody may read in a log, by name.
_SECRET = re.compile(
    r"SECRET|TOKEN|PASSW|WEBHOOK|CREDENTIAL|(^|_)(PWD|SAS|KEY)(_|$)(?!ID$|FILE$|PATH$)|CONNECTION_STRING"
)


#: What a path on this machine may hold below which the files of tables are found again: all else is written as in
#: addresses and looked for by such names, or taken for the name of a partition.
_FOUND_AGAIN = re.compile(r"[A-Za-z0-9/!$&'()*+,\-.:;@_~]*")


class Settings(BaseSettings):
    """Where a deployment lives and how it behaves; each field is read from ``BESS_<FIELD>``.

    Examples:
        >>> Settings(home="/srv/bess").landing.as_posix()
        '/srv/bess/landing'
    """

    # A setting can be a secret: an error names it and says what is wrong, and never repeats what was written.
    model_config = SettingsConfigDict(
        env_prefix="BESS_", env_ignore_empty=True, frozen=True, extra="ignore", hide_input_in_errors=True
    )

    home: Path = Field(default=Path("data"), description="Folder that holds everything of a deployment.")
    lake_uri: str | None = Field(default=None, description="Where the lake is, when not below the home.")
    storage_patience_seconds: float = Field(
        default=300, ge=0, description="How long a storage that does not answer is waited for, in each run."
    )
    first_day: date = Field(default=date(2020, 1, 1), description="First UTC day that telemetry may have.")
    days_per_run: int = Field(default=30, ge=1, description="Longest range of days one run works on.")
    newest_first: bool = Field(default=False, description="Make the newest days of a fleet that joins first.")
    look_every_seconds: int = Field(
        default=30, ge=1, description="How often the daemon looks for what is to be done [s]."
    )
    settle_seconds: int = Field(
        default=10, ge=0, description="The daemon leaves a file alone until it has not been written to for so long [s]."
    )
    rows_per_batch: int = Field(
        default=2_000_000, ge=1, description="Raw rows held in memory at once, beyond a single day."
    )
    fleet_rows_at_once: int = Field(
        default=500_000, ge=1, description="5-minute rows of a fleet held in memory at once, beyond a few batteries'."
    )
    largest_file_bytes: int = Field(
        default=1 << 36,
        ge=1,
        description="Most bytes that a landing file may hold, decompressed; a larger one is refused (64 GiB).",
    )
    largest_compression_ratio: int = Field(
        default=250,
        ge=1,
        description="Most bytes that one byte of a compressed landing file may stand for; more is taken for a bomb.",
    )
    concurrent_runs: int = Field(
        default=2, ge=1, description="Most runs at once that Dagster's daemon starts; of one fleet it is one."
    )
    ray_address: str | None = Field(
        default=None,
        description="Job server of a Ray cluster that does the daemon's runs, http://head:8265; else this machine.",
    )
    ray_cpus_per_run: float = Field(default=1.0, gt=0, description="Processors that a run takes of the Ray cluster.")
    dagster_storage: SecretStr | None = Field(
        default=None,
        description="Where Dagster's records are: `sqlite`, in the home, or postgresql://user:password@host/database.",
    )
    old_files_kept_days: int = Field(
        default=7, ge=1, description="Days for which upkeep leaves files that no current version of a table needs."
    )
    records_kept_days: int = Field(
        default=30, ge=1, description="Days for which upkeep leaves Dagster's records of runs that others superseded."
    )
    late_after_hours: float | None = Field(
        default=None,
        ge=0,
        description="Hours after its end beyond which a day counts as late; later than the fleet's usual if absent.",
    )
    dagster_port: int = Field(default=3000, ge=1, le=65535, description="Port of Dagster's UI, on loopback.")
    api_host: str = Field(default="127.0.0.1", description="Address that the REST API listens on.")
    api_port: int = Field(default=8000, ge=1, le=65535, description="Port of the REST API.")
    api_needs_key: bool = Field(
        default=False, description="Whether the API wants a key on loopback, too; elsewhere it always does."
    )
    api_names: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_words)] = Field(
        default=(), description="Names by which the API may be asked; any where a key is needed and none is said."
    )
    api_origins: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_words)] = Field(
        default=(),
        description="Pages that may ask the API from a browser, such as https://ops.example; none but its own.",
    )
    api_proxies: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_words)] = Field(
        default=(), description="Addresses of proxies whose word on who asks, and how, is taken (X-Forwarded-…)."
    )
    api_requests_per_minute: int = Field(default=1200, ge=1, description="Most requests of one key in a minute.")
    api_largest_upload_bytes: int = Field(default=1 << 30, ge=1, description="Most bytes of an upload (1 GiB).")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        default="INFO", description="What the pipeline writes to its log."
    )
    log_format: Literal["console", "json"] = Field(
        default="console", description="How it writes it: lines for people, or one JSON object a line."
    )
    pages_url: Page = Field(default=None, description="Address at which people reach the pages; for links.")
    dagster_url: Page = Field(
        default=None, description="Address at which people reach Dagster's UI; that on loopback when not set."
    )
    alert_webhooks: Annotated[tuple[Webhook, ...], NoDecode, BeforeValidator(_webhooks)] = Field(
        default=(), description="Webhooks for alerts: kind=URL or name:kind=URL of slack, teams or json, with blanks."
    )
    alert_email_host: str | None = Field(default=None, description="Mail server for alerts; no mail without it.")
    alert_email_port: int = Field(default=587, ge=1, le=65535, description="Port of the mail server.")
    alert_email_security: Literal["starttls", "tls", "none"] = Field(
        default="starttls",
        description="How the way to the mail server is encrypted; a server that cannot gets no mail.",
    )
    alert_email_user: str | None = Field(default=None, description="User at the mail server; no login without.")
    alert_email_password: SecretStr | None = Field(default=None, description="Password of that user.")
    alert_email_from: str | None = Field(default=None, description="Sender of alerts.")
    alert_email_to: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_words)] = Field(
        default=(), description="Recipients of alerts, with blanks or commas."
    )
    alert_least_severity: Annotated[dict[str, Severity], NoDecode, BeforeValidator(_pairs)] = Field(
        default_factory=dict, description="Least severity that goes to a channel: name=severity, with blanks."
    )
    alert_quiet_hours: float = Field(default=24, ge=0, description="The same thing within this time is the same alert.")
    alert_history_days: int = Field(default=7, ge=1, description="What is older than this when it is found is history.")
    alert_late_days: int = Field(
        default=2, ge=0, description="A fleet is late after more whole days than this without data."
    )
    alert_single_messages: int = Field(
        default=5, ge=1, description="Most alerts that a channel gets one by one; more are folded into one message."
    )

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.alert_email_host and not (self.alert_email_from and self.alert_email_to):
            raise ValueError("alert_email_host needs alert_email_from and alert_email_to")
        if (self.alert_email_user is None) != (self.alert_email_password is None):
            raise ValueError("alert_email_user and alert_email_password are set together or not at all")
        if self.alert_email_password is not None and self.alert_email_security == "none":
            raise ValueError("a password is not sent unencrypted: set alert_email_security to starttls or tls")
        unknown = self.alert_least_severity.keys() - {
            "log",
            "email",
            *(webhook.name for webhook in self.alert_webhooks),
        }
        if unknown:
            raise ValueError(f"alert_least_severity names {', '.join(sorted(unknown))}, which is no channel")
        return self

    @model_validator(mode="after")
    def _can_be_read(self) -> Self:
        if "://" not in self.lake and not _FOUND_AGAIN.fullmatch(self.lake):
            raise ValueError(
                f"a lake at {self.lake} could not be read: its path may hold no blanks and no other characters than "
                "unaccented letters, digits and !$&'()*+,-.:;@_~; set BESS_HOME, or BESS_LAKE_URI, to another place"
            )
        return self

    @property
    def dagster_pages(self) -> str:
        """The address of Dagster's UI."""
        return self.dagster_url or f"http://127.0.0.1:{self.dagster_port}"

    @cached_property
    def root(self) -> Path:
        """The home as an absolute path."""
        return self.home.expanduser().resolve()

    @property
    def fleets(self) -> Path:
        """The fleet register: one YAML file per fleet."""
        return self.root / "fleets"

    @property
    def landing(self) -> Path:
        """The landing zone: one folder of telemetry files per fleet."""
        return self.root / "landing"

    @property
    def lake(self) -> str:
        """The address of the lake."""
        return self.lake_uri or str(self.root / "lake")

    @property
    def warehouse(self) -> Path:
        """The DuckDB file that analysts open."""
        return self.root / "warehouse" / "bess.duckdb"

    @property
    def api_keys(self) -> Path:
        """The keys of the API; what is kept of them cannot be used as one."""
        return self.root / "api" / "keys.json"

    @property
    def api_writes(self) -> Path:
        """What was changed by way of the API, and by whom: one JSON object a line."""
        return self.root / "api" / "writes.ndjson"

    @property
    def truth(self) -> Path:
        """The known truth of simulated fleets."""
        return self.root / "truth"

    @property
    def dagster_home(self) -> Path:
        """Dagster's own records: runs, events, schedules."""
        return self.root / "dagster_home"

    @property
    def records(self) -> Path:
        """Where a program of Dagster that is at work has its records: its own folder, as its environment says."""
        return Path(os.environ.get("DAGSTER_HOME") or self.dagster_home)

    def environment(self) -> dict[str, str]:
        """The environment for a program that is to work on this deployment."""
        return {**os.environ, "BESS_HOME": str(self.root), "DAGSTER_HOME": str(self.dagster_home)}

    @property
    def secrets(self) -> list[str]:
        """What must not stand in a log: values of variables whose names say so, and passwords in addresses."""
        named = [value for name, value in os.environ.items() if _SECRET.search(name.upper()) and value]
        parts = [part for value in named for part in re.findall(r"https?://[^\s,;\"']+", value)]
        addresses = [urlsplit(value).password for value in os.environ.values() if "://" in value and "@" in value]
        passwords = [password for password in addresses if password]
        return [*named, *parts, *passwords, *map(unquote, passwords)]


def at_least_two_threads(of_polars: int) -> None:
    """Have deltalake, before it begins, use as many threads as Polars does, and two at least.

    A write keeps one of them waiting for rows that may have to be read by way of another: with one alone it would
    wait for ever, where there is one processor or a container may use no more than one.

    Args:
        of_polars: Threads of Polars; both count processors, but for what `POLARS_MAX_THREADS` says.
    """
    os.environ.setdefault("TOKIO_WORKER_THREADS", str(max(2, of_polars)))


def settings_now() -> Settings:
    """The settings that the environment names at the moment, read anew only when it names others.

    A run asks for them some five hundred times, and pydantic takes half a millisecond to read them.

    Raises:
        pydantic.ValidationError: If a setting makes no sense.
    """
    named = frozenset((name, value) for name, value in os.environ.items() if name.upper().startswith("BESS_"))
    return _read(named, Path.cwd())


@lru_cache(maxsize=1)
def _read(_named: frozenset[tuple[str, str]], _below: Path) -> Settings:
    """The settings that these variables name, with relative paths below this folder."""
    return Settings()
