"""One landing file: what it holds, and its rows in house names, units and signs."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TypeVar

import polars as pl

from bess_pipeline.sources.clock import Clock, second_passes
from bess_pipeline.sources.delimited import CsvFile
from bess_pipeline.sources.ndjson import NdjsonFile
from bess_pipeline.sources.numbers import numbers, texts
from bess_pipeline.sources.opening import RAW, Lines, RawFile, UnreadableFile, refusing
from bess_pipeline.sources.parquet import ParquetFile
from bess_pipeline.sources.source import BatteryColumn, QuantityColumn, SignedColumn, Source, TextColumn, TimeColumn
from bess_pipeline.tables.columns import UTC_MICROSECONDS
from bess_pipeline.tables.telemetry import MEASUREMENTS
from bess_pipeline.units import conversion
from bess_pipeline.window import Window

__all__ = ["Rows", "Survey", "UnreadableFile", "originals", "read_rows", "survey"]

_T = TypeVar("_T")

#: A row of the file that became a sample.
SAMPLE = pl.Schema(
    {
        "row_number": pl.Int64(),
        "battery_id": pl.String(),
        "timestamp": UTC_MICROSECONDS,
        "date": pl.Date(),
        **dict.fromkeys(MEASUREMENTS, pl.Float64()),
        "status": pl.String(),
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
class Survey:
    """What a file holds.

    Attributes:
        rows: Data rows.
        rows_without_day: Rows whose time is unreadable, or outside the days that telemetry may have.
        days: ``date``, ``battery_id`` (empty where the rows name none) and ``rows`` of the other rows.
        first_timestamp: Earliest usable time.
        last_timestamp: Latest usable time.
        usual_interval_us: Median time from one sample of a battery to its next [µs].
        unmapped_columns: Columns of the file that the fleet file does not map.
        missing_columns: Columns that the fleet file maps and the file does not have.
        awaits: First day after today in the file.
    """

    rows: int
    rows_without_day: int
    days: pl.DataFrame
    first_timestamp: datetime | None
    last_timestamp: datetime | None
    usual_interval_us: int | None
    unmapped_columns: tuple[str, ...]
    missing_columns: tuple[str, ...]
    awaits: date | None


@dataclass(frozen=True)
class Rows:
    """Rows of a file: those that became samples, and those that were rejected.

    Attributes:
        rows: `SAMPLE` rows, in the order of the file.
        rejected: `REJECTED` rows, in the order of the file.
    """

    rows: pl.DataFrame
    rejected: pl.DataFrame


def survey(path: Path, source: Source, *, first_day: date, today: date) -> Survey:
    """Count the rows of a file by day and battery; only times and batteries are looked at.

    Args:
        path: The file.
        source: How it is read.
        first_day: First UTC day that telemetry may have.
        today: Last UTC day that telemetry may have.

    Raises:
        UnreadableFile: If the file cannot be read as a whole.
    """
    return _opened(path, source, lambda mapped: mapped.survey(first_day, today))


def read_rows(path: Path, source: Source, window: Window | None, *, first_day: date, today: date) -> Rows:
    """Read the rows of some days, or those that belong to no day.

    Args:
        path: The file.
        source: How it is read.
        window: UTC days, of which only those from ``first_day`` to ``today`` count; nothing for the rows
            whose time is unreadable or outside those days.
        first_day: First UTC day that telemetry may have.
        today: Last UTC day that telemetry may have.

    Raises:
        UnreadableFile: If the file cannot be read as a whole.
    """
    usable = Window(first_day, today + timedelta(days=1))
    if window is None:
        return _opened(path, source, lambda mapped: mapped.without_day(usable))
    start, end = max(window.start, usable.start), min(window.end, usable.end)
    if start >= end:
        return Rows(SAMPLE.to_frame(), REJECTED.to_frame())
    return _opened(path, source, lambda mapped: mapped.of_days(Window(start, end)))


def originals(path: Path, source: Source, row_numbers: pl.Series) -> pl.DataFrame:
    """Rows of a file as they came.

    Returns:
        ``row_number`` and ``original``, the row as JSON, in the order of the file.

    Raises:
        UnreadableFile: If the file cannot be read as a whole.
    """
    return _opened(path, source, lambda mapped: mapped.raw.originals(row_numbers).select("row_number", "original"))


def _opened(path: Path, source: Source, work: Callable[[_Mapped], _T]) -> _T:
    with refusing(path.name):
        if source.format == "parquet":
            return work(_Mapped(ParquetFile(path), source, path.name))
        lines = Lines(path)
        try:
            return work(_Mapped(_text_file(lines, source, path.name), source, path.name))
        except pl.exceptions.ComputeError as broken:
            if "utf8" not in str(broken) or lines.decoded is not None:
                raise
        lines.decode()
        return work(_Mapped(_text_file(lines, source, path.name), source, path.name))


def _text_file(lines: Lines, source: Source, name: str) -> RawFile:
    return CsvFile(lines, source.separator, name) if source.format == "csv" else NdjsonFile(lines)


class _Mapped:
    """A file seen through what the fleet file says of its columns."""

    def __init__(self, raw: RawFile, source: Source, name: str) -> None:
        self.raw = raw
        self._comma = source.decimal_comma
        wanted = {column for spec in source.mapping.values() for column in _columns_of(spec)}
        has = {column for column in wanted if raw.has(column)}
        self._quantities: dict[str, QuantityColumn] = {}
        self._status: str | None = None
        for house, spec in source.mapping.items():
            present = all(column in has for column in _columns_of(spec))
            if isinstance(spec, (TimeColumn, BatteryColumn)):
                if not present:
                    missing = ", ".join(column for column in _columns_of(spec) if column not in has)
                    raise UnreadableFile(_missing(name, missing, house, raw.names))
            elif isinstance(spec, QuantityColumn):
                if present:
                    self._quantities[house] = spec
            elif present:
                self._status = spec.from_
        time, battery = source.mapping["timestamp"], source.mapping["battery_id"]
        assert isinstance(time, TimeColumn)  # noqa: S101 - so made by `Source.mapping`
        assert isinstance(battery, BatteryColumn)  # noqa: S101 - so made by `Source.mapping`
        self._time, self._battery = time, battery
        self._clock = Clock(time, source.timezone, self._comma)
        if "power_watt" not in self._quantities and not {"voltage_volt", "current_ampere"} <= self._quantities.keys():
            raise UnreadableFile(
                _missing(name, _needed(source), "voltage_volt with current_ampere, or power_watt", raw.names)
            )
        self._check_types(name)
        self.unmapped = tuple(column for column in raw.names if column not in wanted)
        self.missing = () if source.columns.under_house_names else tuple(sorted(wanted - has))

    def survey(self, first_day: date, today: date) -> Survey:
        timed = self._timed(lambda plan: plan, self._keys)
        usable = Window(first_day, today + timedelta(days=1))
        dated = timed.filter(pl.col("timestamp").is_not_null())
        inside = dated.filter(usable.days())
        later = dated.filter(pl.col("date").is_between(today, date.max, closed="right"))["date"]
        days = (inside.group_by("date", pl.col("battery_id").fill_null("")).agg(rows=pl.len().cast(pl.Int64))).sort(
            "date", "battery_id"
        )
        apart = (
            inside.group_by("battery_id")
            .agg(pl.col("timestamp").sort().diff().dt.total_microseconds())
            .explode("timestamp", empty_as_null=True)["timestamp"]
        )
        usual = apart.filter(apart > 0).median()
        first, last = inside.select(first=pl.col("timestamp").min(), last=pl.col("timestamp").max()).row(0)
        return Survey(
            rows=timed.height,
            rows_without_day=timed.height - inside.height,
            days=days,
            first_timestamp=first,
            last_timestamp=last,
            usual_interval_us=round(usual) if isinstance(usual, (int, float)) else None,
            unmapped_columns=self.unmapped,
            missing_columns=self.missing,
            awaits=later.min() if len(later) else None,  # type: ignore[arg-type]
        )

    def without_day(self, usable: Window) -> Rows:
        def outside(plan: pl.LazyFrame) -> pl.LazyFrame:
            early, late = (usable.times(end).fill_null(value=False) for end in ("early", "late"))
            return plan.filter(~(early & late))

        found = self._timed(outside, self._keys)
        found = found.filter(~usable.days().fill_null(value=False))
        reason = (
            pl.when(pl.col("timestamp").is_null()).then(pl.lit("unreadable_time")).otherwise(pl.lit("outside_calendar"))
        )
        rejected = found.select(
            "row_number",
            "battery_id",
            reason=reason,
            culprit=pl.lit([self._time.from_]),
            date=pl.lit(None, dtype=pl.Date),
            timestamp=pl.lit(None, dtype=UTC_MICROSECONDS),
        )
        return Rows(SAMPLE.to_frame(), self._explained(rejected))

    def of_days(self, window: Window) -> Rows:
        def inside(plan: pl.LazyFrame) -> pl.LazyFrame:
            return plan.filter(window.times("early") | window.times("late")).select(
                *("row_number", "battery_id", "early", "late", "is_ragged"),
                *(self._value(house).alias(house) for house in MEASUREMENTS),
                status=pl.lit(None, dtype=pl.String) if self._status is None else _text(self._status),
            )

        found = self._timed(inside, self._all).filter(window.days())
        unreadable = pl.any_horizontal(pl.col(house).is_infinite() for house in self._quantities).fill_null(value=False)
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
            .then(pl.lit(list(self._battery.from_ or ())))
            .otherwise(
                pl.concat_list(
                    pl.when(pl.col(house).is_infinite()).then(pl.lit(spec.from_))
                    for house, spec in self._quantities.items()
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
        found = narrowed(self._plan(columns)).collect(engine="streaming")
        if not found["row_number"].is_sorted():
            found = found.sort("row_number")
        timestamp = pl.col("early")
        if found.select((pl.col("early") != pl.col("late")).any()).item():
            plan = self._plan(self._keys).select("row_number", "battery_id", "early", "late")
            second = second_passes(plan.filter(pl.col("early").is_not_null()).collect(engine="streaming"))
            timestamp = pl.when(pl.col("row_number").is_in(second.implode())).then(pl.col("late")).otherwise(timestamp)
        return found.with_columns(timestamp=timestamp).with_columns(date=pl.col("timestamp").dt.date())

    @property
    def _keys(self) -> list[str]:
        """Columns of the file that tell when and which battery."""
        return [self._time.from_, *(self._battery.from_ or ())]

    @property
    def _all(self) -> list[str]:
        """Columns of the file that are mapped."""
        quantities = [spec.from_ for spec in self._quantities.values()]
        return [*self._keys, *quantities, *([] if self._status is None else [self._status])]

    def _plan(self, columns: list[str]) -> pl.LazyFrame:
        battery = self._battery
        named = (
            pl.lit(battery.value)
            if battery.value is not None
            else pl.concat_str([_text(column) for column in battery.from_ or ()], separator="/")
        )
        return (
            self.raw.frame(list(dict.fromkeys(columns)))
            .with_columns(instants=self._clock.instants(pl.col(RAW + self._time.from_)), battery_id=named)
            .with_columns(pl.col("instants").struct.field("early"), pl.col("instants").struct.field("late"))
            .drop("instants")
        )

    def _value(self, house: str) -> pl.Expr:
        spec = self._quantities.get(house)
        if spec is None:
            return pl.lit(None, dtype=pl.Float64)
        read = pl.col(RAW + spec.from_).map_batches(
            partial(numbers, decimal_comma=self._comma), return_dtype=pl.Float64, is_elementwise=True
        )
        value = conversion(house, spec.unit).expression(read)
        return 0.0 - value if isinstance(spec, SignedColumn) and spec.positive == "discharge" else value

    def _explained(self, rejected: pl.DataFrame) -> pl.DataFrame:
        """Rejected rows with what led to it, and as they came."""
        if rejected.is_empty():
            return REJECTED.to_frame()
        came = self.raw.originals(rejected["row_number"])
        width = len(self.raw.names)
        told = rejected.join(came, on="row_number", how="left", maintain_order="left", validate="1:1")
        details = [
            f"{fields} fields, the header has {width}" if reason == "ragged_row" else _culprit(original, culprit)
            for reason, fields, original, culprit in told.select("reason", "fields", "original", "culprit").iter_rows()
        ]
        return told.with_columns(detail=pl.Series(details, dtype=pl.String)).select(REJECTED.names())

    def _check_types(self, name: str) -> None:
        schema = self.raw.schema
        kind = schema.get(self._time.from_, pl.String())
        if kind.is_numeric() and self._time.unit is None:
            raise UnreadableFile(
                f"{name}: {self._time.from_} holds numbers; say what they count in source.columns.timestamp.unit"
            )
        for spec in self._quantities.values():
            kind = schema.get(spec.from_, pl.String())
            if not (kind.is_numeric() or kind in (pl.String, pl.Null, pl.Categorical)):
                raise UnreadableFile(f"{name}: {spec.from_} holds {kind}, not numbers; correct source.columns")


def _columns_of(spec: TextColumn | BatteryColumn) -> tuple[str, ...]:
    return (spec.from_ or ()) if isinstance(spec, BatteryColumn) else (spec.from_,)


def _text(column: str) -> pl.Expr:
    return pl.col(RAW + column).map_batches(texts, return_dtype=pl.String, is_elementwise=True)


def _needed(source: Source) -> str:
    needed = [source.mapping.get(house) for house in ("voltage_volt", "current_ampere", "power_watt")]
    return ", ".join(spec.from_ for spec in needed if isinstance(spec, QuantityColumn))


def _missing(name: str, columns: str, house: str, names: list[str]) -> str:
    held = ", ".join(names[:30]) + (", …" if len(names) > 30 else "")
    return (
        f"{name}: lacks {columns}, needed for {house}; it has {held or 'no columns'}; "
        "correct source.columns (or source.separator) in the fleet file, or deliver the file again"
    )


def _culprit(original: str, columns: list[str]) -> str | None:
    """The columns that led to the rejection, with their values."""
    said = json.loads(original, parse_constant=str)
    values = {column: said.get(column) for column in columns}
    shown = {column: "" if value is None else value for column, value in values.items()}
    return ", ".join(f"{column}={value}" for column, value in shown.items()) or None
