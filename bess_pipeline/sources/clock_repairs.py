"""Clocks that were astray: which rows are brought back, and on what evidence."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import xxhash

from bess_pipeline.sources import files as landed
from bess_pipeline.sources.astray import ASTRAY
from bess_pipeline.sources.clock_shifts import Shift, Stretch, shifts
from bess_pipeline.sources.opening import Limits
from bess_pipeline.sources.register import Fleet
from bess_pipeline.tables.landing import ClockRepair
from bess_pipeline.tables.telemetry import MEASUREMENTS
from bess_pipeline.window import Window

#: Of rows that share their time with a row of the wrong clock, this share and this many have to differ from it.
_LEAST_SHARE, _LEAST_ROWS = 0.2, 3

#: One battery on its own has to be astray by this many intervals, or by whole hours as clocks that are set wrong:
#: dropouts that short are too many to tell them from a clock.
_LEAST_ALONE, _HOUR_US = 5, 3_600_000_000

#: How often a clock may go astray further before it comes back.
_MOST_ROUNDS = 3

_REPAIR = ClockRepair.create_empty().schema
_ROW = ("battery_id", "path", "first_row")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FACTS = (*MEASUREMENTS, "status")


@dataclass(frozen=True)
class Zone:
    """A landing folder, and the days that its telemetry may have.

    Attributes:
        fleet: The fleet.
        folder: Its landing folder.
        first_day: First UTC day that telemetry may have.
        today: Last UTC day that telemetry may have.
        limits: How much a file may hold.
    """

    fleet: Fleet
    folder: Path
    first_day: date
    today: date
    limits: Limits = field(default_factory=Limits)


def clock_repairs(
    zone: Zone, files: pl.DataFrame, runs: pl.DataFrame, known: pl.DataFrame, reread: Collection[str]
) -> pl.DataFrame:
    """The rows whose clock was astray; where that is new, the rows that share their times are compared.

    A clock may go astray twice before it comes back: what is found is put right, and
    looked at again.

    Args:
        zone: The landing folder.
        files: `LandingFile` rows of the fleet.
        runs: `LandingRun` rows of the fleet.
        known: `ClockRepair` rows of the fleet so far; what is said of files that are gone stays.
        reread: Files that are new or another version: what rests on them is looked at again.

    Returns:
        `ClockRepair` rows, by battery and time.
    """
    present = set(files.filter(pl.col("present") & (pl.col("status") == "ok"))["path"])
    court = _Court(zone, present, frozenset(reread), {_key(row): row for row in known.iter_rows(named=True)})
    certain = _REPAIR.to_frame()
    doubtful: list[dict[str, Any]] = []
    for _ in range(_MOST_ROUNDS):
        at = _brought_back(runs, certain)
        verdicts = [court.verdict(shift, at, certain) for shift in shifts(files, at)]
        doubtful = [row for rows in verdicts for row in rows if not row["is_confident"]]
        fresh = pl.DataFrame([row for rows in verdicts for row in rows if row["is_confident"]], schema=_REPAIR)
        if fresh.is_empty():
            break
        certain = _added(certain, _once(fresh), runs)
    doubts = _once(pl.DataFrame(doubtful, schema=_REPAIR))
    found = pl.concat([certain, doubts.join(certain, on=_ROW, how="anti")]).filter(pl.col("path").is_in(present))
    gone = known.filter(~pl.col("path").is_in(present) & pl.col("path").is_in(runs["path"].unique().implode()))
    return pl.concat([gone.select(_REPAIR.names()), found]).sort("battery_id", "started_at", "path", "first_row")


def _once(repairs: pl.DataFrame) -> pl.DataFrame:
    """Each stretch once: as the shift has it that most batteries share."""
    by_batteries = repairs.sort("batteries", descending=True, maintain_order=True)
    return by_batteries.unique(_ROW, keep="first", maintain_order=True)


def _brought_back(runs: pl.DataFrame, repairs: pl.DataFrame) -> pl.DataFrame:
    """Runs at the times that they have once their clock is right."""
    by = pl.col("shift_us").fill_null(0).cast(pl.Duration("us"))
    return (
        runs.join(repairs.select(*_ROW, "shift_us"), on=_ROW, how="left", maintain_order="left")
        .with_columns(pl.col("first_timestamp", "last_timestamp") - by)
        .drop("shift_us")
    )


def _added(certain: pl.DataFrame, fresh: pl.DataFrame, runs: pl.DataFrame) -> pl.DataFrame:
    """Repairs one on top of the other, with the times as they are told."""
    both = certain.join(fresh, on=_ROW, how="inner", suffix=":fresh")
    told = runs.select(*_ROW, started="first_timestamp", ended="last_timestamp")
    twice = (
        both.with_columns(
            shift_us=pl.col("shift_us") + pl.col("shift_us:fresh"),
            evidence=pl.concat_str("evidence", "evidence:fresh", separator="; moreover "),
        )
        .join(told, on=_ROW)
        .with_columns(started_at="started", ended_at="ended")
    )
    once = [frame.join(both, on=_ROW, how="anti") for frame in (certain, fresh)]
    return pl.concat([*once, twice.select(_REPAIR.names())])


def astray(repairs: pl.DataFrame, path: str) -> pl.DataFrame:
    """The rows of one file that are brought back: `ASTRAY` rows."""
    certain = repairs.filter(pl.col("is_confident"), pl.col("path") == path)
    return certain.select(ASTRAY.names()).sort("battery_id", "first_row")


def clock_versions(repairs: pl.DataFrame) -> dict[str, str]:
    """Path of each file with rows that are brought back → fingerprint of which and by how much."""
    paths = repairs.filter(pl.col("is_confident"))["path"].unique().sort()
    return {path: xxhash.xxh3_128_hexdigest(repr(astray(repairs, path).rows()).encode()) for path in paths}


def _key(row: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(row[name] for name in ("battery_id", "path", "first_row", "started_at", "ended_at", "shift_us"))


@dataclass(frozen=True)
class _Court:
    """Who hears the evidence: the landing folder, the files that can be read, those that are new, what was said."""

    zone: Zone
    present: set[str]
    reread: frozenset[str]
    said: dict[tuple[Any, ...], dict[str, Any]]

    def verdict(self, shift: Shift, runs: pl.DataFrame, certain: pl.DataFrame) -> list[dict[str, Any]]:
        """`ClockRepair` rows of a shift.

        Args:
            shift: The shift.
            runs: Runs at the times that earlier repairs give them.
            certain: The earlier repairs.
        """
        batteries = len({stretch.battery_id for stretch in shift.stretches})
        rows = [_row(self.zone.fleet.fleet_id, shift, stretch, batteries) for stretch in shift.stretches]

        def said(evidence: str, *, is_confident: bool) -> list[dict[str, Any]]:
            return [{**row, "is_confident": is_confident, "evidence": evidence} for row in rows]

        sharing = _sharing(shift, runs)
        concerned = {stretch.path for stretch in shift.stretches} | set(sharing)
        before = [self.said.get(_key(row)) for row in rows]
        if not concerned & self.reread and all(before) and certain.is_empty():
            return [old for old in before if old is not None]
        if missing := sorted(concerned - self.present):
            return said(f"{_told(shift)}; to be certain, {', '.join(missing)} is needed", is_confident=False)
        try:
            shared, differing, alone = _compared(self.zone, shift, sharing, certain)
        except landed.UnreadableFile as unreadable:
            return said(f"{_told(shift)}; to be certain, {unreadable}", is_confident=False)
        is_long = abs(shift.shift_us) >= _LEAST_ALONE * shift.usual_us or shift.shift_us % _HOUR_US == 0
        differs = differing >= max(_LEAST_ROWS, _LEAST_SHARE * shared) if shared else alone >= _LEAST_ROWS
        compared = (
            f"{differing} of {shared} rows with these times differ from others with the same time"
            if shared
            else f"{alone} rows lie between the times of others"
        )
        return said(f"{_told(shift)}; {compared}", is_confident=(batteries > 1 or is_long) and differs)


def _row(fleet_id: str, shift: Shift, stretch: Stretch, batteries: int) -> dict[str, Any]:
    return {
        "fleet_id": fleet_id,
        "battery_id": stretch.battery_id,
        "path": stretch.path,
        "first_row": stretch.first_row,
        "last_row": stretch.last_row,
        "started_at": _instant(stretch.started_us),
        "ended_at": _instant(stretch.ended_us),
        "shift_us": shift.shift_us,
        "rows": stretch.rows,
        "batteries": batteries,
    }


def _told(shift: Shift) -> str:
    ways = ("ahead", "back") if shift.is_fast else ("back", "ahead")
    length = timedelta(microseconds=abs(shift.shift_us))
    begun, ended = (f"{_instant(at):%Y-%m-%dT%H:%M:%SZ}" for at in (shift.before_us, shift.last_us))
    return (
        f"times of {len(shift.witnesses)} of {shift.reporting} batteries jump {ways[0]} by {length} "
        f"after {begun} and {ways[1]} after {ended}"
    )


def _sharing(shift: Shift, runs: pl.DataFrame) -> list[str]:
    """Files with rows at the times that wrong and right rows share."""
    start, end = (_instant(at) for at in shift.doubly)
    names = {stretch.battery_id for stretch in shift.stretches}
    there = runs.filter(
        pl.col("battery_id").is_in(names), pl.col("last_timestamp") >= start, pl.col("first_timestamp") <= end
    )
    return there["path"].unique().sort().to_list()


def _compared(zone: Zone, shift: Shift, sharing: list[str], certain: pl.DataFrame) -> tuple[int, int, int]:
    """Of the times that wrong and right rows share: how many rows have one, how many of them differ, how many none."""
    start, end = (_instant(at) for at in shift.doubly)
    window = Window(start.date(), end.date() + timedelta(days=1))
    names = {stretch.battery_id for stretch in shift.stretches}
    wrong, right = [], []
    for path in sharing:
        read = landed.read_rows(
            zone.folder / path,
            zone.fleet.source,
            window,
            first_day=zone.first_day,
            today=zone.today,
            astray=astray(certain, path),
            limits=zone.limits,
        )
        there = read.rows.filter(pl.col("battery_id").is_in(names), pl.col("timestamp").is_between(start, end))
        is_wrong = pl.lit(value=False)
        for one in shift.stretches:
            if one.path == path:
                is_wrong |= (
                    (pl.col("battery_id") == one.battery_id)
                    & pl.col("row_number").is_between(one.first_row, one.last_row)
                    & pl.col("timestamp").is_between(_instant(one.started_us), _instant(one.ended_us))
                )
        facts = there.with_columns(is_wrong=is_wrong).select("battery_id", "timestamp", *_FACTS, "is_wrong")
        wrong.append(facts.filter("is_wrong").drop("is_wrong"))
        right.append(facts.filter(~pl.col("is_wrong")).drop("is_wrong"))
    ours = pl.concat(wrong).unique(maintain_order=True)
    others = pl.concat(right).unique(maintain_order=True)
    both = ours.join(others, on=["battery_id", "timestamp"], how="inner", suffix=":other")
    differs = pl.any_horizontal(pl.col(name).ne_missing(pl.col(f"{name}:other")) for name in _FACTS)
    return both.height, both.filter(differs).height, min(ours.height, others.height)


def _instant(us: int) -> datetime:
    return _EPOCH + timedelta(microseconds=us)
