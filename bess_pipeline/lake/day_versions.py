"""What each UTC day of a table holds, as a fingerprint: whether anything has to be made again is read off these."""

from __future__ import annotations

import logging
from datetime import date

import polars as pl

from bess_pipeline.lake.changes import VERSIONS, on_days, whole_months
from bess_pipeline.lake.contracts import stored_schema
from bess_pipeline.lake.failures import DamagedError
from bess_pipeline.lake.slices import NOT_YET, Months, Slice, month_of
from bess_pipeline.lake.store import Lake
from bess_pipeline.tables import catalog
from bess_pipeline.tables.catalog import MONTH, Table
from bess_pipeline.window import Window

_log = logging.getLogger(__name__)

_KEPT = stored_schema(catalog.DAY_VERSIONS)
_OF_MONTHS = {"of_month": pl.Date, "files": pl.Int64}


class DayVersions:
    """Fingerprints of the days of a fleet's tables.

    A day that has files of its own is the names of these, so that nothing is read; it may change without a change of
    rows, and then is looked at once more than needed. Of tables of months only those months are read whose files
    are others than those that their days were last read from: what was read is kept in the lake. Other tables are read.
    What has a beginning and an end, and no day of its own, counts on each day that it touches.

    Args:
        lake: The lake.
        fleet_id: The fleet.
    """

    def __init__(self, lake: Lake, fleet_id: str) -> None:
        self._lake, self._fleet_id = lake, fleet_id
        try:
            rows = lake.read(catalog.DAY_VERSIONS, Slice(fleet_id))
        except DamagedError as damaged:
            _log.warning("the days of all tables of %s are read again: %s", fleet_id, damaged)
            rows = pl.DataFrame(schema=_KEPT)
        self._kept = {str(name): held for (name,), held in rows.partition_by("name", as_dict=True).items()}
        self._told: dict[str, tuple[int, pl.DataFrame]] = {}

    def of(self, table: Table) -> pl.DataFrame:
        """What each day of a table holds now.

        Returns:
            Columns `date` and `version`, sorted; `date` is null for rows that are of no day.
        """
        version = self._lake.version(table)
        known = self._told.get(table.name)
        if known is None or known[0] != version:
            known = self._told[table.name] = version, self._now(table)
        return known[1]

    def close(self) -> None:
        """Write down what was read."""
        if self._kept:
            rows = pl.concat(held.select(_KEPT.names()) for held in self._kept.values())
            self._lake.replace_changed(catalog.DAY_VERSIONS, rows, Slice(self._fleet_id))

    def _now(self, table: Table) -> pl.DataFrame:
        if table.by_day:
            files = self._files(table)
            if files.is_empty():
                return pl.DataFrame(schema=VERSIONS)
            return _added_up(files.select("date", version=pl.col("path").hash()))
        if not table.by_month:
            return _added_up(on_days(table, self._lake.read(table, Slice(self._fleet_id))))
        while True:
            months = self._months(table)
            days = self._of_months(table, months)
            if self._months(table).equals(months):  # nobody wrote while they were read
                self._kept[table.name] = days
                return _added_up(days.with_columns(pl.col("date").replace(NOT_YET, None)))

    def _of_months(self, table: Table, months: pl.DataFrame) -> pl.DataFrame:
        """The days of a table, those of months that have the files that they had taken as known."""
        kept = self._kept.get(table.name, pl.DataFrame(schema=_KEPT))
        same = kept.join(months, on=["of_month", "files"], how="semi")
        others = months.join(same, on="of_month", how="anti").sort("of_month")
        if others.is_empty():
            return same
        # Windows, and not a list of months: what is not asked for is not even opened.
        read = [
            self._lake.ask(table, Months(self._fleet_id, window, table.until), lambda rows: rows)
            for window in _windows(others["of_month"].to_list())
        ]
        fresh = (
            _added_up(
                on_days(table, pl.concat(read).with_columns(of_month=month_of(table.until)), "of_month"), "of_month"
            )
            .with_columns(pl.col("date").fill_null(NOT_YET), fleet_id=pl.lit(self._fleet_id), name=pl.lit(table.name))
            .join(others, on="of_month")
        )
        return pl.concat([same, fresh.select(_KEPT.names())])

    def _months(self, table: Table) -> pl.DataFrame:
        """The months of a table and the names of their files, as a fingerprint."""
        files = self._files(table)
        if files.is_empty():
            return pl.DataFrame(schema=_OF_MONTHS)
        named = files.select(of_month=MONTH, files=pl.col("path").hash())
        return named.group_by("of_month").agg(pl.col("files").sum().reinterpret(signed=True)).sort("of_month")

    def _files(self, table: Table) -> pl.DataFrame:
        files = self._lake.files(table)
        return files if files.is_empty() else files.filter(pl.col("fleet_id") == self._fleet_id)


def _added_up(rows: pl.DataFrame, *beside: str) -> pl.DataFrame:
    return rows.group_by("date", *beside).agg(pl.col("version").sum().reinterpret(signed=True)).sort("date")


def _windows(months: list[date]) -> list[Window]:
    """Months as one window, and what is not settled as another."""
    settled = [month for month in months if month != NOT_YET]
    return [*whole_months(settled), *(whole_months([NOT_YET]) if len(settled) < len(months) else [])]
