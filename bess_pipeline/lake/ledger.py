"""What has been made of which inputs: the ledger that makes every run idempotent.

A step that has replaced its slices records a fingerprint of what it read. A day
or a fleet is stale when the fingerprint of what it would read now is another.
The record comes after the data, so a run that dies in between is done again.
"""

from __future__ import annotations

import uuid
from datetime import date

import polars as pl
import xxhash

from bess_pipeline.lake.contracts import stored_contract
from bess_pipeline.lake.day_versions import DayVersions
from bess_pipeline.lake.slices import Named, Slice
from bess_pipeline.lake.store import Lake
from bess_pipeline.tables import catalog
from bess_pipeline.window import Window, contiguous

#: The day under which a step that works on a whole fleet is recorded.
WHOLE_FLEET = date(1970, 1, 1)
#: How the name of a mark among the notes begins; see `Notes`. It is part of a path: no letter of it may need escaping.
MARK = "unsettled-"
_DAYS = {"date": pl.Date, "files": pl.Int64}
_NOTED = _DAYS | {"step": pl.String, "signature": pl.String}
_NOTHING = pl.DataFrame(schema={"date": pl.Date, "signature": pl.Int64})


def fingerprint(*parts: object) -> str:
    """A stable digest of what is given.

    Examples:
        >>> fingerprint("a", 1) == fingerprint("a", 1) != fingerprint("a", 2)
        True
    """
    return xxhash.xxh3_128_hexdigest("\x1f".join(map(str, parts)).encode())


def day_signatures(landing_days: pl.DataFrame, landing_files: pl.DataFrame, *basis: object) -> dict[date, str]:
    """What each day of a fleet would be made from now.

    Args:
        landing_days: `LandingDay` rows of one fleet.
        landing_files: `LandingFile` rows of the same fleet.
        basis: What else every day rests on, such as the version of the fleet file.

    Returns:
        UTC day → fingerprint of the files that hold the day, their order, the repairs of their clocks, and the basis.
    """
    versions = (
        landing_days.select("date", "path", "checksum", "clock_version")
        .unique()
        .join(landing_files.select("path", "first_seen"), on="path", how="left")
        .sort("date", "path")
        .group_by("date", maintain_order=True)
        .agg(pl.concat_str("path", "checksum", "first_seen", "clock_version", separator="\x1f"))
    )
    return {day: fingerprint(*basis, *files) for day, files in versions.iter_rows()}


class Ledger:
    """The record of finished steps, kept in the lake.

    It has a file a day. What was read of a day is remembered together with the names of its files, so that whoever asks
    again and again, as the daemon does, reads what is new.

    Args:
        lake: The lake.
    """

    def __init__(self, lake: Lake) -> None:
        self._lake = lake
        self._known: dict[str, pl.DataFrame] = {}

    def signatures(self, fleet_id: str, step: str) -> dict[date, str]:
        """What each day of a fleet was last made from by a step."""
        rows = self._rows(fleet_id).filter(pl.col("step") == step)
        return dict(rows.select("date", "signature").iter_rows())

    def _rows(self, fleet_id: str) -> pl.DataFrame:
        """What all steps have noted of a fleet: `date`, the fingerprint `files` of its files, `step`, `signature`."""
        while True:
            days = self._days(fleet_id)
            known = self._known.get(fleet_id, pl.DataFrame(schema=_NOTED)).join(days, on=["date", "files"], how="semi")
            unknown = days.join(known, on="date", how="anti")
            rows = pl.concat([known, *(self._read(fleet_id, window, unknown) for window in _windows(unknown))])
            if unknown.is_empty() or self._days(fleet_id).equals(days):  # nobody wrote while they were read
                self._known[fleet_id] = rows
                return rows

    def _read(self, fleet_id: str, window: Window, days: pl.DataFrame) -> pl.DataFrame:
        rows = self._lake.ask(catalog.LEDGER, Slice(fleet_id, window), lambda rows: rows)
        return rows.join(days, on="date").select(*_NOTED)

    def _days(self, fleet_id: str) -> pl.DataFrame:
        """The days of a fleet that have files, and a fingerprint of their names."""
        files = self._lake.files(catalog.LEDGER)
        if files.is_empty():
            return pl.DataFrame(schema=_DAYS)
        of_fleet = files.filter(pl.col("fleet_id") == fleet_id).select("date", files=pl.col("path").hash())
        return of_fleet.group_by("date").agg(pl.col("files").sum().reinterpret(signed=True)).sort("date")

    def record(self, fleet_id: str, step: str, signatures: dict[date, str], *, run_id: str) -> None:
        """Note that a step has made days of a fleet from these inputs; other steps' notes stay."""
        if not signatures:
            return
        part = Slice(fleet_id, Window.hull(signatures))
        fresh = pl.DataFrame(
            {
                "fleet_id": fleet_id,
                "step": step,
                "date": list(signatures),
                "signature": list(signatures.values()),
                "run_id": run_id,
            },
        )
        held = self._lake.read(catalog.LEDGER, part)
        kept = held.join(fresh, on=["fleet_id", "step", "date"], how="anti")
        self._lake.replace(catalog.LEDGER, pl.concat([kept, fresh]), part)


def _windows(days: pl.DataFrame) -> list[Window]:
    return contiguous(days["date"], longest=366)


class Notes:
    """From what each day of a fleet's tables was last made, table by table.

    Read once, and written once, when they are closed: a run makes dozens of tables. Before a table is changed a mark in
    the lake tells the day from which on nothing is settled; whoever finds the mark of a run that died before it closed
    its notes takes nothing from that day on as known.

    Args:
        lake: The lake.
        fleet_id: The fleet.

    Attributes:
        versions: What the days of the fleet's tables hold now.
    """

    def __init__(self, lake: Lake, fleet_id: str) -> None:
        self._lake, self._fleet_id = lake, fleet_id
        self.versions = DayVersions(lake, fleet_id)
        rows, is_mark = lake.read(catalog.MADE_FROM, Slice(fleet_id)), pl.col("name").str.starts_with(MARK)
        marks = rows.filter(is_mark)
        self._mark, self._since = MARK + uuid.uuid4().hex, date.max
        self._marks: list[str] = marks["name"].to_list()
        self._held = {
            str(name): held.select("date", "signature")
            for (name,), held in rows.filter(~is_mark).group_by("name", maintain_order=True)
        }
        self._known = dict(self._held)
        unsettled = marks["date"].min()
        if isinstance(unsettled, date):
            for name in self._held:
                self._forget(name, unsettled)

    def signatures(self, name: str) -> pl.DataFrame:
        """Columns `date` and `signature` of one table: what is known of its days."""
        return self._known.get(name, _NOTHING)

    def begin(self, name: str, since: date | None) -> None:
        """Say, before it is, that a table is changed from a day on, or everywhere."""
        day = since or WHOLE_FLEET
        if day < self._since:
            mark = self._rows(self._mark, pl.DataFrame({"date": [day], "signature": [0]}))
            self._lake.replace(catalog.MADE_FROM, mark, Named(self._fleet_id, (self._mark,)))
            self._marks, self._since = [*self._marks, self._mark], day
        self._forget(name, day)

    def record(self, name: str, signatures: pl.DataFrame) -> None:
        """Note what each day of a table has been made from: columns `date` and `signature`, all of them."""
        self._known[name] = signatures

    def close(self) -> None:
        """Write what is new, in one commit, and take away the marks; then what was read of the days of tables."""
        self._settle()
        self.versions.close()

    def _settle(self) -> None:
        changed = [name for name, known in self._known.items() if not known.equals(self._held.get(name, _NOTHING))]
        if not changed and not self._marks:
            return
        fresh = pl.concat(
            [
                stored_contract(catalog.MADE_FROM).create_empty(),
                *(self._rows(name, self._known[name]) for name in changed),
            ]
        )
        self._lake.replace(catalog.MADE_FROM, fresh, Named(self._fleet_id, (*changed, *dict.fromkeys(self._marks))))
        self._held, self._marks, self._since = dict(self._known), [], date.max

    def _rows(self, name: str, signatures: pl.DataFrame) -> pl.DataFrame:
        return signatures.select(pl.lit(self._fleet_id).alias("fleet_id"), pl.lit(name).alias("name"), pl.all())

    def _forget(self, name: str, since: date) -> None:
        self._known[name] = self.signatures(name).filter(pl.col("date") < since)


def stale_days(wanted: dict[date, str], made: dict[date, str]) -> list[date]:
    """Days that were made from other inputs than they would be made from now, in order.

    A day that has lost its last file counts: it has to be emptied.

    Examples:
        >>> stale_days({date(2026, 1, 2): "b", date(2026, 1, 3): "c"}, {date(2026, 1, 1): "a", date(2026, 1, 2): "b"})
        [datetime.date(2026, 1, 1), datetime.date(2026, 1, 3)]
    """
    return sorted(day for day in wanted.keys() | made.keys() if wanted.get(day, "") != made.get(day, ""))
