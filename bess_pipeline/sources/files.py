"""One landing file: what it holds, and its rows in house names, units and signs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import polars as pl

from bess_pipeline.sources.astray import ASTRAY, brought_back, may_be_in, may_be_outside
from bess_pipeline.sources.clock import second_passes
from bess_pipeline.sources.delimited import CsvFile, Preamble
from bess_pipeline.sources.long import LongFile
from bess_pipeline.sources.mapped import Mapped
from bess_pipeline.sources.ndjson import NdjsonFile, decoded
from bess_pipeline.sources.opening import Limits, Lines, RawFile, UnreadableFile, printable, refusing
from bess_pipeline.sources.parquet import ParquetFile
from bess_pipeline.sources.slices import Slices, slices
from bess_pipeline.sources.source import Source
from bess_pipeline.sources.surveys import Survey, surveyed
from bess_pipeline.tables.columns import UTC_MICROSECONDS
from bess_pipeline.tables.telemetry import CELL_LISTS, MEASUREMENTS
from bess_pipeline.window import Window

__all__ = ["Rows", "Survey", "UnreadableFile", "originals", "read_rows", "survey"]

_T = TypeVar("_T")
_LIMITS = Limits()
_ROWS_AT_ONCE = 1_000_000

#: A row of the file that became a sample.
SAMPLE = pl.Schema(
    {
        "row_number": pl.Int64(),
        "battery_id": pl.String(),
        "timestamp": UTC_MICROSECONDS,
        "date": pl.Date(),
        **dict.fromkeys(MEASUREMENTS, pl.Float64()),
        "status": pl.String(),
        **dict.fromkeys(CELL_LISTS, pl.List(pl.Float64())),
        "clock_shift_us": pl.Int64(),
    }
)
#: A row of the file that was rejected.
REJECTED = pl.Schema(
    {
        "row_number": pl.Int64(),
        "date": pl.Date(),
        "battery_id": pl.String(),
        "timestamp": UTC_MICROSECONDS,
        "reason": pl.String(),
        "detail": pl.String(),
        "original": pl.String(),
    }
)


@dataclass(frozen=True)
class Rows:
    """Rows of a file: those that became samples, and those that were rejected.

    Attributes:
        rows: `SAMPLE` rows, in the order of the file.
        rejected: `REJECTED` rows, in the order of the file.
    """

    rows: pl.DataFrame
    rejected: pl.DataFrame


def survey(
    path: Path,
    source: Source,
    *,
    first_day: date,
    today: date,
    astray: pl.DataFrame | None = None,
    limits: Limits = _LIMITS,
) -> Survey:
    """Count the rows of a file by day and battery; only times and batteries are looked at.

    Args:
        path: The file.
        source: How it is read.
        first_day: First UTC day that telemetry may have.
        today: Last UTC day that telemetry may have.
        astray: `ASTRAY` rows of the file: rows to be counted at other times than they tell.
        limits: How much a file may hold.

    Raises:
        UnreadableFile: If the file cannot be read as a whole.
    """
    return _opened(path, source, lambda mapped: mapped.survey(first_day, today), limits, astray)


def read_rows(
    path: Path,
    source: Source,
    window: Window | None,
    *,
    first_day: date,
    today: date,
    astray: pl.DataFrame | None = None,
    limits: Limits = _LIMITS,
    is_all: bool = False,
) -> Rows:
    """Read the rows of some days, or those that belong to no day.

    Args:
        path: The file.
        source: How it is read.
        window: UTC days, of which only those from ``first_day`` to ``today`` count; nothing for the rows
            whose time is unreadable or outside those days.
        first_day: First UTC day that telemetry may have.
        today: Last UTC day that telemetry may have.
        astray: `ASTRAY` rows of the file: rows that belong to other times than they tell.
        limits: How much a file may hold.
        is_all: Whether no other days of the file are to be read: then a long file is not cut into slices first.

    Raises:
        UnreadableFile: If the file cannot be read as a whole.
    """
    usable = Window(first_day, today + timedelta(days=1))
    if window is None:
        return _opened(path, source, lambda mapped: mapped.without_day(usable), limits, astray)
    start, end = max(window.start, usable.start), min(window.end, usable.end)
    if start >= end:
        return Rows(SAMPLE.to_frame(), REJECTED.to_frame())
    return _opened(path, source, lambda mapped: mapped.of_days(Window(start, end), is_all=is_all), limits, astray)


def originals(path: Path, source: Source, row_numbers: pl.Series, limits: Limits = _LIMITS) -> pl.DataFrame:
    """Rows of a file as they came.

    Returns:
        ``row_number`` and ``original``, the row as JSON, in the order of the file.

    Raises:
        UnreadableFile: If the file cannot be read as a whole.
    """
    return _opened(
        path, source, lambda mapped: mapped.raw.originals(row_numbers).select("row_number", "original"), limits
    )


def _opened(
    path: Path, source: Source, work: Callable[[_Mapped], _T], limits: Limits, astray: pl.DataFrame | None = None
) -> _T:
    name = printable(path.name)
    with refusing(name):
        if source.format == "parquet":
            with closing(ParquetFile(path, limits)) as file:
                return work(_Mapped(_laid_out(file, source, name), source, path, astray, limits))
        with closing(Lines(path, limits, source.encoding)) as lines:
            try:
                return work(_Mapped(_text_file(lines, source, name), source, path, astray, limits))
            except pl.exceptions.ComputeError as broken:
                if "utf8" not in str(broken) or lines.is_decoded:
                    raise
            lines.decode()
            return work(_Mapped(_text_file(lines, source, name), source, path, astray, limits))


def _text_file(lines: Lines, source: Source, name: str) -> RawFile:
    if source.format == "ndjson":
        return _laid_out(NdjsonFile(lines), source, name)
    preamble = Preamble(source.skip_lines, source.header, source.comment, source.skip_after_header)
    return _laid_out(CsvFile(lines, source.separator, name, preamble, source.quote), source, name)


def _laid_out(file: RawFile, source: Source, name: str) -> RawFile:
    return LongFile(file, source, name) if source.layout == "long" else file


class _Mapped(Mapped):
    """A file seen through what the fleet file says of its columns, and its rows."""

    def __init__(self, raw: RawFile, source: Source, path: Path, astray: pl.DataFrame | None, limits: Limits) -> None:
        super().__init__(raw, source, path.as_posix())
        self._astray = ASTRAY.to_frame() if astray is None else astray
        self._long_bytes = limits.long_bytes
        self._slices: Slices | None = None

    def plan(self, columns: Sequence[str]) -> pl.LazyFrame:
        """Rows with their instants, their battery and columns of the file; all columns where they are cut already."""
        return super().plan(columns) if self._slices is None else self._slices.scan()

    def survey(self, first_day: date, today: date) -> Survey:
        self.raw.verify()
        usable = Window(first_day, today + timedelta(days=1))
        return surveyed(self._batches(), usable, today, unmapped=self.unmapped, missing=self.missing)

    def without_day(self, usable: Window) -> Rows:
        def outside(plan: pl.LazyFrame) -> pl.LazyFrame:
            return plan.filter(
                may_be_outside(usable, "early", self._astray) | may_be_outside(usable, "late", self._astray)
            )

        found = self._timed(outside, self.keys)
        found = found.filter(~usable.days().fill_null(value=False))
        reason = (
            pl.when(pl.col("timestamp").is_null()).then(pl.lit("unreadable_time")).otherwise(pl.lit("outside_calendar"))
        )
        rejected = found.select(
            "row_number",
            "battery_id",
            reason=reason,
            culprit=pl.lit([self.time.from_, *self.time.with_]),
            date=pl.lit(None, dtype=pl.Date),
            timestamp=pl.lit(None, dtype=UTC_MICROSECONDS),
        )
        return Rows(SAMPLE.to_frame(), self._explained(rejected))

    def of_days(self, window: Window, *, is_all: bool) -> Rows:
        def inside(plan: pl.LazyFrame) -> pl.LazyFrame:
            return plan.filter(
                may_be_in(window, "early", self._astray) | may_be_in(window, "late", self._astray)
            ).select(
                *("row_number", "battery_id", "early", "late", "is_ragged"),
                *(self.value(house).alias(house) for house in self.quantities),
                *self.cells.values(),
                *(() if self.status is None else (self.state().alias("status"),)),
            )

        if self.raw.size_bytes >= self._long_bytes and not is_all:
            self._slices = slices(
                (*self.raw.version, self._source.model_dump_json()), lambda: super(_Mapped, self).plan(self.columns)
            )
        found = self._timed(inside, self.columns).filter(window.days())
        # What the file does not have is not held row by row.
        nothing = [pl.lit(None, dtype=SAMPLE[name]).alias(name) for name in SAMPLE if name not in found.columns]
        found = found.with_columns(nothing).with_columns(self.cells.derived(tuple(self.quantities)))
        unreadable = pl.any_horizontal(
            pl.lit(value=False),
            *(pl.col(house).is_infinite().fill_null(value=False) for house in self.quantities),
            *self.cells.unreadable(),
        )
        bad = pl.col("is_ragged") | pl.col("battery_id").is_null() | unreadable
        good = found.select(bad.alias("bad"))["bad"]
        rows = (found.filter(~good) if good.any() else found).select(SAMPLE.names())
        rejected = found.filter(good).select(
            "row_number",
            "battery_id",
            "date",
            "timestamp",
            reason=pl.when("is_ragged")
            .then(pl.lit("ragged_row"))
            .when(pl.col("battery_id").is_null())
            .then(pl.lit("no_battery"))
            .otherwise(pl.lit("unreadable_value")),
            culprit=pl.when(pl.col("battery_id").is_null() & ~pl.col("is_ragged"))
            .then(pl.lit(list(self.battery.from_ or ())))
            .otherwise(
                pl.concat_list(
                    pl.lit(None, dtype=pl.String),
                    *(
                        pl.when(pl.col(house).is_infinite()).then(pl.lit(spec.from_))
                        for house, spec in self.quantities.items()
                    ),
                    *self.cells.culprits(),
                ).list.drop_nulls()
            ),
        )
        return Rows(rows, self._explained(rejected))

    def _timed(self, narrowed: Callable[[pl.LazyFrame], pl.LazyFrame], columns: list[str]) -> pl.DataFrame:
        """Rows with ``timestamp`` and ``date``, the twice lived hours settled.

        Args:
            narrowed: Picks rows by their ``early`` and ``late`` instants, before they are held in memory.
            columns: Columns of the file to read.
        """
        return self._settled(narrowed(self.plan(columns)).collect(engine="streaming"))

    def _batches(self) -> Iterator[pl.DataFrame]:
        """Row number, battery, time and date of all rows in the order of the file, not too many at once."""
        plan = self.plan(self.keys)
        batches: Iterable[pl.DataFrame] = (
            [plan.collect(engine="streaming")]
            if self.raw.size_bytes < self._long_bytes
            else plan.collect_batches(chunk_size=_ROWS_AT_ONCE, engine="streaming")
        )
        return (self._settled(batch).select("row_number", "battery_id", "timestamp", "date") for batch in batches)

    def _settled(self, found: pl.DataFrame) -> pl.DataFrame:
        if not found["row_number"].is_sorted():
            found = found.sort("row_number")
        timestamp = pl.col("early")
        if found.select((pl.col("early") != pl.col("late")).any()).item():
            is_second = pl.col("row_number").is_in(self._second_passes)
            timestamp = pl.when(is_second).then(pl.col("late")).otherwise(timestamp)
        found = brought_back(found.with_columns(timestamp=timestamp), self._astray)
        return found.with_columns(date=pl.col("timestamp").dt.date())

    @cached_property
    def _second_passes(self) -> pl.Series:
        plan = self.plan(self.keys).select("row_number", "battery_id", "early", "late")
        return second_passes(plan.filter(pl.col("early").is_not_null()).collect(engine="streaming")).implode()

    def _explained(self, rejected: pl.DataFrame) -> pl.DataFrame:
        """Rejected rows with what led to it, and as they came."""
        if rejected.is_empty():
            return REJECTED.to_frame()
        came = self.raw.originals(rejected["row_number"])
        width = len(self.raw.names)
        told = rejected.join(came, on="row_number", how="left", maintain_order="left", validate="1:1")
        ragged = pl.format("{} fields, the header has {}", "fields", pl.lit(width))
        detail = pl.when(pl.col("reason") == "ragged_row").then(ragged).otherwise(_culprits(told))
        return told.with_columns(detail=detail).select(REJECTED.names())


def _culprits(told: pl.DataFrame) -> pl.Series:
    """The columns that led to each rejection, with their values; nothing where none did."""
    columns = told["culprit"].explode(empty_as_null=False).unique(maintain_order=True).to_list()
    values = decoded(told["original"], pl.Struct(dict.fromkeys(columns, pl.String)))
    named = [
        pl.when(pl.col("culprit").list.contains(column)).then(
            pl.lit(f"{column}=") + pl.lit(values.struct[column]).fill_null("")
        )
        for column in columns
    ]
    if not named:
        return pl.Series([None] * told.height, dtype=pl.String)
    told_of = told.select(pl.concat_str(named, separator=", ", ignore_nulls=True)).to_series()
    return told_of.set(told_of == "", None)
