"""What is worth an alert, and how it is told: facts in, occasions out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any
from urllib.parse import quote

import polars as pl
import xxhash

from bess_pipeline.tables.alerts import NO_FLEET
from bess_pipeline.tables.anomalies import SEVERITIES

#: Longest text that is kept of an error or a check; the page tells the rest.
_LONGEST = 600


#: Tags that say on what a run worked; keys of a fleet's days begin with the day.
_PARTS = ("dagster/partition", "dagster/asset_partition_range_start", "dagster/asset_partition_range_end")


def _digest(*parts: str) -> str:
    return xxhash.xxh3_64_hexdigest("\x1f".join(parts).encode())


def one_line(text: str, *, longest: int = _LONGEST) -> str:
    r"""A text of somebody else on one line, not too long.

    Examples:
        >>> one_line("two\nlines\x1b[31m")
        'two lines [31m'
        >>> one_line("x" * 9, longest=5)
        'xxxx…'
    """
    line = " ".join("".join(one if one.isprintable() else " " for one in text).split())
    return line if len(line) <= longest else line[: longest - 1] + "…"


@dataclass(frozen=True)
class Occasion:
    """Something that a person should know of.

    Attributes:
        kind: One of `KINDS`.
        severity: One of `SEVERITIES`.
        fleet_id: The fleet, or `NO_FLEET`.
        about: What it is about, beside kind and severity: the same soon after is the same alert.
        episode: What tells this time from other times that it was about the same.
        subject: What happened, in a few words.
        message: What is known of it, and what to do.
        occurred_at: When it happened.
        link: Page to look at.
        battery_id: The battery, if it is about one.
    """

    kind: str
    severity: str
    fleet_id: str
    about: tuple[str, ...]
    episode: str
    subject: str
    message: str
    occurred_at: datetime
    link: str | None = None
    battery_id: str | None = None

    @property
    def about_id(self) -> str:
        """Identity of what it is about."""
        return _digest(self.kind, self.severity, self.fleet_id, *self.about)

    @property
    def alert_id(self) -> str:
        """Identity of the alert: of the same facts it is always the same."""
        return _digest(self.about_id, self.episode)


@dataclass(frozen=True)
class Pages:
    """Addresses that people reach.

    Attributes:
        dagster: Of Dagster's UI.
        pages: Of the pages of batteries; null where there are none.
    """

    dagster: str
    pages: str | None = None

    def run(self, run_id: str) -> str:
        """A run."""
        return f"{self.dagster}/runs/{quote(run_id, safe='')}"

    def check(self, asset: str, check: str) -> str:
        """A check of an asset."""
        return f"{self.dagster}/assets/{quote(asset, safe='')}?view=checks&checkDetail={quote(check, safe='')}"

    def fleet(self, fleet_id: str) -> str | None:
        """A fleet."""
        return None if self.pages is None else f"{self.pages}/fleets/{quote(fleet_id, safe='')}"

    def lifecycle(self, fleet_id: str) -> str | None:
        """Warranty and wear of a fleet."""
        fleet = self.fleet(fleet_id)
        return None if fleet is None else f"{fleet}/lifecycle"

    def event(self, event_id: str) -> str | None:
        """An event of a battery."""
        return None if self.pages is None else f"{self.pages}/events/{quote(event_id, safe='')}"


@dataclass(frozen=True)
class StepError:
    """Why a step of a run failed: the step, the kind of its innermost error, and the first line of that."""

    step: str
    error: str
    reason: str


#: What Dagster has a step end with that somebody, or the end of its server, stopped.
_STOPPED = "DagsterExecutionInterruptedError"


def of_run(
    run_id: str, job: str, tags: Mapping[str, str], errors: Sequence[StepError], *, ended_at: datetime, pages: Pages
) -> Occasion:
    """A run that failed.

    The same job of the same fleet that fails in the same steps by the same kinds of error is about the same.

    Args:
        run_id: The run.
        job: Its job.
        tags: Its tags.
        errors: Of the steps that failed; none where the process died.
        ended_at: When it was over.
        pages: Addresses.
    """
    fleet = tags.get("bess/fleet", NO_FLEET)
    parts = [tags[name].partition("|")[0] for name in _PARTS if name in tags]
    what = " to ".join(part for part in dict.fromkeys(parts) if part != fleet)
    told = [f"{one.step}: {one.error}: {one.reason}" for one in errors] or ["no step failed: its process ended early"]
    was_stopped = bool(errors) and all(one.error == _STOPPED for one in errors)
    if was_stopped:
        told = ["it was stopped, as when its server is, or ran out of its time; what it did not do is done by itself"]
    return Occasion(
        kind="run_failure",
        severity="warning" if was_stopped else "critical",
        fleet_id=fleet,
        about=(job, *sorted({f"{one.step}/{one.error}" for one in errors})),
        episode=run_id,
        subject=f"run of {job} failed",
        message=one_line(f"{what + ': ' if what else ''}{'; '.join(told)}"),
        occurred_at=ended_at,
        link=pages.run(run_id),
    )


@dataclass(frozen=True)
class FailedCheck:
    """A check whose newest answer is that all is not well.

    Attributes:
        asset: The table that it is about.
        check: Its name.
        fleet_id: The fleet, or `NO_FLEET`.
        day: The UTC day, where each day is checked.
        is_error: Whether what follows from the data cannot be relied upon.
        summary: What it says.
        evaluated_at: When it said so.
        since: What tells this stretch of failures from others: the last answer before it that all was well.
    """

    asset: str
    check: str
    fleet_id: str
    day: date | None
    is_error: bool
    summary: str
    evaluated_at: datetime
    since: str


def of_check(failed: FailedCheck, *, pages: Pages) -> Occasion | None:
    """A check that failed; nothing where only a single day is worth a look, which the checks of its fleet sum up."""
    if failed.day is not None and not failed.is_error:
        return None
    day = "" if failed.day is None else f" of {failed.day}"
    return Occasion(
        kind="failed_check",
        severity="critical" if failed.is_error else "warning",
        fleet_id=failed.fleet_id,
        about=(failed.asset, failed.check, str(failed.day or "")),
        episode=failed.since,
        subject=f"check {failed.check}{day} {'failed' if failed.is_error else 'warns'}",
        message=one_line(failed.summary),
        occurred_at=failed.evaluated_at,
        link=pages.check(failed.asset, failed.check),
    )


def of_missing_data(fleet_id: str, newest: date, late_days: int, *, now: datetime, pages: Pages) -> Occasion:
    """A fleet of which nothing comes any more.

    Args:
        fleet_id: The fleet.
        newest: Newest UTC day of which something came.
        late_days: Whole days that have gone by since.
        now: The present: while old files are brought in, the newest day moves, and is not told each time.
        pages: Addresses.
    """
    return Occasion(
        kind="missing_data",
        severity="warning",
        fleet_id=fleet_id,
        about=(),
        episode=newest.isoformat(),
        subject=f"no data for {late_days} days",
        message=f"Nothing came since {newest}. Look at what delivers the files, and at the landing folder.",
        occurred_at=now,
        link=pages.fleet(fleet_id),
    )


def of_register(file: str, mistakes: Sequence[str], *, now: datetime, pages: Pages) -> Occasion:
    """A file of the fleet register that cannot be used: nothing starts for its fleet.

    Args:
        file: Name of the file.
        mistakes: What is wrong with it, a line each.
        now: The present.
        pages: Addresses.
    """
    said = one_line("; ".join(mistakes), longest=1000)
    return Occasion(
        kind="register_mistake",
        severity="warning",
        fleet_id=NO_FLEET,
        about=(file,),
        episode=_digest(*mistakes),
        subject=f"{file} cannot be used",
        message=f"{said}. Until it is mended nothing starts for this fleet; its data stay.",
        occurred_at=now,
        link=pages.dagster,
    )


def of_events(events: pl.DataFrame, *, since: datetime, pages: Pages) -> list[Occasion]:
    """Events that matter now.

    Args:
        events: Rows of the view `event_verdicts`.
        since: Events that were detected earlier are history.
        pages: Addresses.

    Returns:
        One occasion for each event whose severity, after what people said of it, is more than info.
    """
    worth = events.filter(pl.col("effective_severity") != SEVERITIES[0], pl.col("detected_at") >= since)
    return [_of_event(row, pages) for row in worth.sort("detected_at", "event_id").iter_rows(named=True)]


def of_warranty_events(events: pl.DataFrame, *, since: datetime, pages: Pages) -> list[Occasion]:
    """Terms of a warranty that are not kept.

    Args:
        events: `WarrantyEvent` rows.
        since: What began earlier is history.
        pages: Addresses.

    Returns:
        One occasion for each stretch of time in which a term was not kept.
    """
    new = events.filter(pl.col("started_at") >= since).sort("started_at", "fleet_id", "battery_id", "term")
    return [
        _of_warranty(
            "warranty_event",
            row,
            (row["battery_id"], row["term"]),
            row["started_at"],
            f"{row['term'].replace('_', ' ')} not kept",
            f"Since {row['started_at']:%Y-%m-%d %H:%M} UTC; {_figure(row['worst'], row['unit'])} at the worst,"
            f" agreed is {_figure(row['agreed'], row['unit'])}. The {row['party']} answers for it;"
            f" shown by {row['evidence']}",
            pages,
        )
        for row in new.iter_rows(named=True)
    ]


def _of_warranty(
    kind: str,
    row: Mapping[str, Any],
    about: tuple[str, ...],
    began: datetime,
    subject: str,
    known: str,
    pages: Pages,
) -> Occasion:
    """What a person should know of a battery's warranty, from a time on; the same from the same time is the same."""
    return Occasion(
        kind=kind,
        severity="warning",
        fleet_id=row["fleet_id"],
        about=about,
        episode=began.isoformat(),
        subject=f"warranty: {subject}",
        message=one_line(f"{known} (bess warranty report {row['fleet_id']})"),
        occurred_at=began,
        link=pages.lifecycle(row["fleet_id"]),
        battery_id=row["battery_id"],
    )


def _figure(value: float | None, unit: str) -> str:
    return "something unknown" if value is None else f"{value:.4g} {unit}"


def of_early_notices(days: pl.DataFrame, *, since: datetime, pages: Pages) -> list[Occasion]:
    """Batteries that lose more than twice what their guarantee allows.

    Args:
        days: `WarrantyDaily` rows.
        since: What began earlier is history.
        pages: Addresses.

    Returns:
        One occasion for each battery whose last day says so, and has not for longer.
    """
    told = days.sort("fleet_id", "battery_id", "date").with_columns(
        noticed=pl.col("is_early_notice").fill_null(value=False)
    )
    of = ("fleet_id", "battery_id")
    # The last stretch of days that say so: what comes after the last one that does not.
    before = pl.col("date").filter(~pl.col("noticed")).max().over(of)
    last = told.filter(pl.col("noticed"), (pl.col("date") > before) | before.is_null())
    begun = last.group_by(*of, maintain_order=True).agg(
        pl.col("date").min(), pl.col("loss_90d_percent_per_year", "guaranteed_loss_percent_per_year").last()
    )
    return [
        _of_warranty(
            "early_notice",
            row,
            (row["battery_id"],),
            datetime.combine(row["date"], datetime.min.time(), UTC),
            "loses capacity at more than twice the guaranteed rate",
            f"{_figure(row['loss_90d_percent_per_year'], '%')} a year over 90 days, where the guarantee allows"
            f" {_figure(row['guaranteed_loss_percent_per_year'], '%')}. Tell the supplier early",
            pages,
        )
        for row in begun.filter(pl.col("date") >= since.date()).iter_rows(named=True)
    ]


def _of_event(row: Mapping[str, object], pages: Pages) -> Occasion:
    battery, event, detected = str(row["battery_id"]), str(row["event_id"]), row["detected_at"]
    if not isinstance(detected, datetime):
        raise TypeError(f"event {event} was detected at {detected!r}")
    component = str(row["component"] or "")
    own = str(row["kind"]) if row["family"] in {"data", "limit"} else ""
    began = f"{row['started_at']:%Y-%m-%d %H:%M}"
    message = (
        f"Began {began} UTC, seen by the lane {row['detector']} at {detected.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
        f"{', in ' + component if component else ''}. {row['next_step']} (bess event show {event})"
    )
    return Occasion(
        kind="anomaly_event",
        severity=str(row["effective_severity"]),
        fleet_id=str(row["fleet_id"]),
        about=(battery, component, str(row["family"]), own),
        episode=event,
        subject=one_line(f"{row['family']}: {row['kind']}", longest=120),
        message=one_line(message),
        occurred_at=detected,
        link=pages.event(event),
        battery_id=battery,
    )
