"""Times as makers write them, as instants in UTC."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import polars as pl

from bess_pipeline.sources.numbers import numbers, texts
from bess_pipeline.sources.opening import RAW
from bess_pipeline.sources.source import TimeColumn, TimeUnit, chrono_format
from bess_pipeline.tables.columns import UTC_MICROSECONDS

#: An instant, and the later one that the same local time may also mean: they differ in the hour that is lived twice.
INSTANTS = pl.Struct({"early": UTC_MICROSECONDS, "late": UTC_MICROSECONDS})

_WALL = pl.Datetime("us")
_MICROSECONDS: dict[TimeUnit, float] = {
    "s": 1e6,
    "ms": 1e3,
    "us": 1.0,
    "ns": 1e-3,
    "min": 6e7,
    "h": 3.6e9,
    "d": 8.64e10,
}
#: ``1d 02:03:04.5``, ``26:03:04``, ``02:03``: days, hours, minutes, seconds.
_DURATION = r"^\s*(?:(\d+)\s*d\s+)?(\d+):(\d{1,2})(?::(\d{1,2}(?:[.,]\d+)?))?\s*$"
_FARTHEST_US = 2.5e17
_ISO = (
    *(f"%Y-%m-%d{t}%H:%M{s}{zone}" for zone in ("%#z", "") for s in (":%S%.f", "") for t in ("T", " ")),
    "%Y-%m-%d",
)
_FIRST_YEAR, _LAST_YEAR = 1970, 2100


@dataclass(frozen=True)
class Clock:
    """How the times of a source are read.

    Attributes:
        column: What the fleet file says of the time column.
        timezone: Zone of times that name none.
        decimal_comma: Whether fractions come after a comma.
    """

    column: TimeColumn
    timezone: str
    decimal_comma: bool = False

    def of_rows(self) -> pl.Expr:
        """The instants of rows of a file, as `INSTANTS`, from the columns that tell the time."""
        told = pl.col(RAW + self.column.from_)
        if self.column.with_:
            parts = (pl.col(RAW + name) for name in (self.column.from_, *self.column.with_))
            cleaned = (part.map_batches(texts, return_dtype=pl.String, is_elementwise=True) for part in parts)
            told = pl.concat_str(list(cleaned), separator=" ")
        return self.instants(told)

    def instants(self, values: pl.Expr) -> pl.Expr:
        """The instants of a column, as `INSTANTS`; null where no time can be read."""
        return values.map_batches(self.read, return_dtype=INSTANTS, is_elementwise=True)

    def read(self, values: pl.Series) -> pl.Series:
        """The instants of some values, as `INSTANTS`.

        Examples:
            >>> berlin = Clock(TimeColumn(**{"from": "t"}), "Europe/Berlin")
            >>> berlin.read(pl.Series(["2023-03-26T02:30", "2023-03-26T03:30"])).struct["early"].to_list()
            [None, datetime.datetime(2023, 3, 26, 1, 30, tzinfo=zoneinfo.ZoneInfo(key='UTC'))]
        """
        if values.dtype == pl.Date:
            values = values.cast(_WALL)
        if isinstance(values.dtype, pl.Datetime):
            zoned = values.dtype.time_zone is not None
            at = values.dt.cast_time_unit("us")
            return _once(at.dt.convert_time_zone("UTC")) if zoned else self._in_zone(at)
        if self.column.unit == "duration":
            return _once(self._lasted(values.cast(pl.String)))
        if self.column.unit is not None:
            return _once(self._counted(values, self.column.unit))
        if values.dtype != pl.String:
            return _once(pl.Series(values.name, [None] * len(values), dtype=UTC_MICROSECONDS))
        if self.column.format is not None:
            return self._formatted(texts(values), self.column.format)
        return self._iso(texts(values))

    def _formatted(self, values: pl.Series, python_format: str) -> pl.Series:
        pattern = chrono_format(python_format)
        if ",%f" in python_format:
            values = values.str.replace(",", ".", literal=True)
        at = values.str.to_datetime(pattern, time_unit="us", strict=False)
        if isinstance(at.dtype, pl.Datetime) and at.dtype.time_zone is not None:
            return _once(at.dt.convert_time_zone("UTC"))
        return _once(at.dt.replace_time_zone("UTC")) if python_format.endswith("Z") else self._in_zone(at)

    def _iso(self, values: pl.Series) -> pl.Series:
        """Texts read by whichever pattern fits; the patterns exclude one another, the likely one goes first."""
        wanted = len(values) - values.null_count()
        sample = values.drop_nulls().head(1)
        likely = sorted(_ISO, key=lambda pattern: _parsed(sample, pattern).null_count())
        early, late = (pl.Series([None] * len(values), dtype=UTC_MICROSECONDS) for _ in range(2))
        for pattern in likely:
            if len(early) - early.null_count() == wanted:
                break
            at = _parsed(values, pattern)
            if at.null_count() == len(at):
                continue
            read = (_once(at) if pattern.endswith("%#z") else self._in_zone(at)).struct
            early, late = (
                read[end] if found.null_count() == len(found) else found.zip_with(found.is_not_null(), read[end])
                for end, found in (("early", early), ("late", late))
            )
        return pl.select(pl.struct(early=early, late=late)).to_series()

    def _lasted(self, values: pl.Series) -> pl.Series:
        """Instants that lie a duration after the origin."""
        parts = values.str.extract_groups(_DURATION).struct
        days, hours, minutes = (parts[place].cast(pl.Float64) for place in range(3))
        seconds = parts[3].str.replace(",", ".", literal=True).cast(pl.Float64).fill_null(0.0)
        lasted = ((days.fill_null(0.0) * 24 + hours) * 60 + minutes) * 60 + seconds
        near = (lasted * 1e6 < _FARTHEST_US).fill_null(value=False)
        counted = (lasted.zip_with(near, pl.Series([None], dtype=pl.Float64)) * 1e6).round(0).cast(pl.Int64)
        return pl.select(
            (pl.lit(self._origin) + pl.lit(counted).cast(pl.Duration("us"))).cast(UTC_MICROSECONDS)
        ).to_series()

    def _counted(self, values: pl.Series, unit: TimeUnit) -> pl.Series:
        factor = _MICROSECONDS[unit] / self.column.counts_per_unit
        is_whole = self.column.counts_per_unit == 1 and not values.dtype.is_float()
        whole = values.cast(pl.Int64, strict=False) if is_whole else None
        real = numbers(values, decimal_comma=self.decimal_comma)
        near = (real * factor).abs() < _FARTHEST_US
        real = real.zip_with(near.fill_null(value=False), pl.Series([None], dtype=pl.Float64))
        counted = (real * factor).round(0).cast(pl.Int64, strict=False)
        if whole is not None:
            exact = whole // 1000 if unit == "ns" else whole * int(factor)
            counted = exact.zip_with((whole.is_not_null() & counted.is_not_null()), counted)
        return pl.select(
            (pl.lit(self._origin) + pl.lit(counted).cast(pl.Duration("us"))).cast(UTC_MICROSECONDS)
        ).to_series()

    @property
    def _origin(self) -> datetime:
        origin = self.column.origin
        if origin is None:
            return datetime(1970, 1, 1, tzinfo=UTC)
        return (origin if origin.tzinfo else origin.replace(tzinfo=ZoneInfo(self.timezone))).astimezone(UTC)

    def _in_zone(self, wall: pl.Series) -> pl.Series:
        """Local times as instants: null where the clocks skip the time, two where they live it twice."""
        if self.timezone == "UTC":
            return _once(wall.dt.replace_time_zone("UTC"))
        zone = _zone(self.timezone)
        at = wall.to_physical().fill_null(0).to_numpy()
        segment = np.searchsorted(zone.starts, at, side="right")
        known = wall.is_not_null() & pl.Series(zone.exists[segment])
        early, late = (
            pl.Series(at - offsets[segment]).zip_with(known, pl.Series([None], dtype=pl.Int64))
            for offsets in (zone.early, zone.late)
        )
        return pl.select(pl.struct(early=early.cast(UTC_MICROSECONDS), late=late.cast(UTC_MICROSECONDS))).to_series()


def second_passes(rows: pl.DataFrame) -> pl.Series:
    """Rows in an hour that the clocks live twice which belong to its second pass.

    Times run forward: where the rows of a battery, in the order of the file, step back
    by about the length of the hour, its second pass begins. A row that strays back over
    that seam is recognized by the two jumps around it. Without a seam, rows that
    connect only to what follows the hour are of the second pass; where that cannot be
    told either, the rows stay in the first.

    Args:
        rows: ``row_number``, ``battery_id``, ``early`` and ``late`` of every row of the file with a time.

    Returns:
        Row numbers.
    """
    fold, step, usual = pl.col("fold"), pl.col("step"), pl.col("usual")
    ordered = (
        rows.sort("battery_id", "row_number")
        .with_columns(
            fold=(pl.col("late") - pl.col("early")).dt.total_microseconds(),
            apart=pl.col("early").diff().over("battery_id").dt.total_microseconds(),
        )
        .with_columns(
            usual=pl.col("apart").filter(pl.col("apart") > 0).median().over("battery_id"),
            run=pl.struct("battery_id", pl.col("fold") > 0, pl.col("early").dt.year() * (pl.col("fold") > 0)).rle_id(),
        )
        .with_columns(step=pl.when(pl.col("run") == pl.col("run").shift()).then(pl.col("apart")))
    )
    nearest = pl.max_horizontal(fold / 2, usual * 1.5)
    before = pl.col("early").shift().over("battery_id")
    after = pl.col("early").shift(-1).over("battery_id")
    passes = (
        ordered.with_columns(
            seam=((step <= 0) & (step + fold <= nearest)).fill_null(value=False),
            from_before=(pl.col("early") - before).dt.total_microseconds(),
            to_after=(after - pl.col("late")).dt.total_microseconds(),
        )
        .filter(fold > 0)
        .with_columns(seams=pl.col("seam").cum_sum().over("run"), all_seams=pl.col("seam").sum().over("run"))
        .with_columns(
            strays=((step >= fold / 2) & (pl.col("seams") > 0) & (pl.col("seams") < pl.col("all_seams")))
            .fill_null(value=False)
            .cum_sum()
            .over("run"),
            starts_alone=~pl.col("from_before").first().over("run").is_between(0, nearest).fill_null(value=False),
            ends_joined=pl.col("to_after").last().over("run").is_between(0, nearest).fill_null(value=False),
        )
    )
    after_seam = pl.col("seams").cast(pl.Int64) - pl.col("strays").cast(pl.Int64) > 0
    only_second = (pl.col("all_seams") == 0) & pl.col("starts_alone") & pl.col("ends_joined")
    return passes.filter(after_seam | only_second)["row_number"].sort()


@dataclass(frozen=True)
class _Zone:
    """The local times of a zone cut where its clocks change: offsets from UTC of each piece [µs]."""

    starts: npt.NDArray[np.int64]
    early: npt.NDArray[np.int64]
    late: npt.NDArray[np.int64]
    exists: npt.NDArray[np.bool_]


@lru_cache(maxsize=64)
def _zone(name: str) -> _Zone:
    """Cut the local times of a zone; before 1970 and after 2100 the nearest offset holds."""
    zone = ZoneInfo(name)
    step, second = timedelta(days=1), timedelta(seconds=1)

    def offset(at: datetime) -> timedelta:
        return at.astimezone(zone).utcoffset() or timedelta(0)

    at, end = datetime(_FIRST_YEAR, 1, 1, tzinfo=UTC), datetime(_LAST_YEAR, 1, 1, tzinfo=UTC)
    now = offset(at)
    starts: list[timedelta] = []
    pieces: list[tuple[timedelta, timedelta, bool]] = [(now, now, True)]
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    while at < end:
        if (then := offset(at + step)) != now:
            low, high = at, at + step
            while high - low > second:
                middle = low + (high - low) // 2 // second * second
                low, high = (middle, high) if offset(middle) == now else (low, middle)
            starts += [high - epoch + min(now, then), high - epoch + max(now, then)]
            pieces += [(now, then, then < now), (then, then, True)]
            now = then
        at += step
    microseconds = [
        [offset // timedelta(microseconds=1) for offset in column]
        for column in zip(*((a, b) for a, b, _ in pieces), strict=True)
    ]
    return _Zone(
        np.array([start // timedelta(microseconds=1) for start in starts], dtype=np.int64),
        np.array(microseconds[0], dtype=np.int64),
        np.array(microseconds[1], dtype=np.int64),
        np.array([exists for *_, exists in pieces], dtype=np.bool_),
    )


def _once(at: pl.Series) -> pl.Series:
    return pl.select(pl.struct(early=at, late=at)).to_series()


def _parsed(values: pl.Series, pattern: str) -> pl.Series:
    return values.str.to_datetime(pattern, time_unit="us", strict=False)
