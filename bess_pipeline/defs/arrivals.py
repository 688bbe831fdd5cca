"""Files that have arrived, as rows with a verdict: where the sources, the cleaning rules and the lake meet."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

import polars as pl

from bess_pipeline import logs
from bess_pipeline.analytics import quality, telemetry
from bess_pipeline.defs.batches import ahead
from bess_pipeline.defs.resources import Home
from bess_pipeline.lake.ledger import WHOLE_FLEET
from bess_pipeline.lake.portions import PORTION
from bess_pipeline.lake.slices import Slice
from bess_pipeline.sources import conflicts, landing
from bess_pipeline.sources.opening import printable
from bess_pipeline.sources.register import Fleet
from bess_pipeline.tables import catalog
from bess_pipeline.window import Window, batched

_LOG = logs.logger(__name__)


def reindex(home: Home, fleet_id: str) -> landing.Index:
    """Bring the quarantine of rows without a usable time up to date with a fleet's landing folder.

    The index itself is returned, to be written last: a run that dies before that is
    done again from the start.

    Raises:
        ValueError: If the clock says a day before the first that telemetry may have.
    """
    if home.today < home.settings.first_day:
        raise ValueError(
            f"the clock says {home.today}, which is before {home.settings.first_day}, the first day that telemetry may "
            "have (BESS_FIRST_DAY): set it right; nothing was changed"
        )
    fleet = home.fleet(fleet_id)
    known = home.landing_files(fleet_id)
    index = landing.indexed(
        fleet,
        home.folder(fleet_id),
        known,
        home.landing_days(fleet_id),
        known_runs=home.landing_runs(fleet_id),
        known_repairs=home.clock_repairs(fleet_id),
        first_day=home.settings.first_day,
        today=home.today,
        now=home.now,
        limits=home.limits,
    )
    timeless = Slice(fleet_id, no_day=True)
    held = home.lake.read(catalog.QUARANTINE, timeless)
    rejected = pl.concat([held.filter(~pl.col("path").is_in(index.reread)), index.rejected.select(held.columns)])
    if not rejected.equals(held):
        home.lake.replace(catalog.QUARANTINE, rejected, timeless)
    accounts = quality.row_accounts(raw=home.lake.read(catalog.RAW_TELEMETRY, timeless), rejected=rejected)
    home.lake.replace(catalog.ROW_ACCOUNTS, accounts, Slice(fleet_id, Window.of_day(WHOLE_FLEET)))
    _tell(fleet_id, index)
    return index


def _tell(fleet_id: str, index: landing.Index) -> None:
    read = index.files.filter(pl.col("path").is_in(index.reread))
    bad = read.filter(pl.col("status") == "unreadable")
    for path, error in bad.select("path", "error").iter_rows():
        _LOG.warning("%s/%s cannot be read: %s", fleet_id, printable(path), printable(str(error)))
    count = {
        "files_read": read.height,
        "files_unreadable": bad.height,
        "rows_received": int(read["rows_received"].sum()),
    }
    _LOG.info("landing folder of %s indexed: %d files read", fleet_id, read.height, extra=count)


def remarks(fleet: Fleet, index: landing.Index) -> dict[str, str | int]:
    """What a person should know of a fleet's files: columns that nobody reads, the sampling, what is unreadable."""
    names = index.files["unmapped_columns"].str.split(",").explode().drop_nulls().unique().sort()
    return {
        "unmapped_columns": ", ".join(name for name in names if name) or "none",
        "sampling": f"{landing.sampling(fleet, index.files)}{'' if fleet.source.sampling else ', detected'}",
        "times_backwards": int(index.files["times_backwards"].sum()),
        "repaired_clocks": index.repairs.filter("is_confident")["battery_id"].n_unique(),
        "unreadable_files": index.files.filter(pl.col("status") == "unreadable").height,
    }


@dataclass(frozen=True)
class Arrivals:
    """What the files of a fleet bring for a window of days.

    Attributes:
        part: The fleet and the days.
        signatures: What each day is made from, read before the files are.
    """

    home: Home
    part: Slice
    signatures: dict[date, str]

    @classmethod
    def of(cls, home: Home, part: Slice) -> "Arrivals":
        """What the index says now that the files bring for a slice."""
        return cls(home, part, home.wanted(part.fleet_id))

    def __iter__(self) -> Iterator[dict[str, pl.DataFrame]]:
        """Rows a few at a time: raw telemetry with verdicts, the quarantine, and the account of both."""
        assert self.part.window is not None  # noqa: S101
        days = self.home.landing_days(self.part.fleet_id).filter(self.part.window.days())
        rows = dict(days.group_by("date").agg(pl.col("rows").sum()).iter_rows())
        for window in batched(self.part.window, rows, budget=self.home.rows_per_batch(self.part.fleet_id)):
            yield from self._batch(window)

    def record(self, run_id: str, accounts: pl.DataFrame) -> None:
        """Note in the ledger what the days were made from, and tell how many rows came.

        Args:
            run_id: The run that read them.
            accounts: `RowAccount` rows of the days.
        """
        assert self.part.window is not None  # noqa: S101
        made = {day: self.signatures.get(day, "") for day in self.part.window}
        self.home.ledger.record(self.part.fleet_id, catalog.RAW_TELEMETRY.name, made, run_id=run_id)
        received, accepted = (int(rows["rows"].sum()) for rows in (accounts, accounts.filter(outcome="accepted")))
        count = {"days": len(made), "rows_received": received, "rows_accepted": accepted}
        _LOG.info("%s read: %d of %d rows accepted", self.part, accepted, received, extra=count)

    def _batch(self, window: Window) -> Iterator[dict[str, pl.DataFrame]]:
        home, fleet = self.home, self.home.fleet(self.part.fleet_id)
        part = Slice(fleet.fleet_id, window)
        held_rejected = home.lake.scan(catalog.QUARANTINE, part)
        arrived = landing.received(
            fleet,
            home.folder(fleet.fleet_id),
            home.landing_files(fleet.fleet_id),
            home.landing_days(fleet.fleet_id),
            window,
            repairs=home.clock_repairs(fleet.fleet_id),
            first_day=home.settings.first_day,
            today=home.today,
            limits=home.limits,
            held=home.lake.scan(catalog.RAW_TELEMETRY, part),
            held_rejected=held_rejected,
        )
        rejected, lost = arrived.rejected, []
        for raw in ahead(telemetry.by_battery(arrived.rows, PORTION), telemetry.verdicts):
            lost.append(raw.filter(pl.col("verdict") == "conflict"))
            accounts = quality.row_accounts(raw, rejected.clear())
            yield {catalog.RAW_TELEMETRY.name: raw, catalog.ROW_ACCOUNTS.name: accounts}
        folder, losers = home.folder(fleet.fleet_id), pl.concat(lost)
        came = conflicts.losers(fleet, folder, losers, held_rejected, limits=home.limits)
        yield {
            catalog.QUARANTINE.name: pl.concat([rejected, came]),
            catalog.ROW_ACCOUNTS.name: quality.row_accounts(losers.clear(), rejected),
        }
