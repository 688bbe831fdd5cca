"""What a file holds, counted a few rows at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date, datetime

import polars as pl

from bess_pipeline.sources.runs import RUN, runs
from bess_pipeline.tables.columns import UTC_MICROSECONDS
from bess_pipeline.window import Window

_DAY = pl.Schema({"date": pl.Date(), "battery_id": pl.String(), "rows": pl.Int64()})
_KEY = pl.Schema({"row_number": pl.Int64(), "code": pl.UInt32(), "timestamp": UTC_MICROSECONDS})

#: Rows whose times are sorted at once, beyond those of one battery.
_ROWS = 2_000_000


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
        times_backwards: Places at which the time of a battery runs backwards, in the order of the file.
        unmapped_columns: Columns of the file that the fleet file does not map.
        missing_columns: Columns that the fleet file maps and the file does not have.
        awaits: First day after today in the file.
        runs: `RUN` rows: where the times of its batteries jump.
    """

    rows: int
    rows_without_day: int
    days: pl.DataFrame
    first_timestamp: datetime | None
    last_timestamp: datetime | None
    usual_interval_us: int | None
    times_backwards: int
    unmapped_columns: tuple[str, ...]
    missing_columns: tuple[str, ...]
    awaits: date | None
    runs: pl.DataFrame


def surveyed(
    batches: Iterable[pl.DataFrame],
    usable: Window,
    today: date,
    *,
    unmapped: tuple[str, ...],
    missing: tuple[str, ...],
) -> Survey:
    """Count the rows of a file.

    Of each row with a usable time 20 bytes are held until the end; all else is of one batch.

    Args:
        batches: ``row_number``, ``battery_id``, ``timestamp`` and ``date`` of every row, in the order of the file.
        usable: The UTC days that telemetry may have.
        today: Last UTC day that telemetry may have.
        unmapped: Columns of the file that the fleet file does not map.
        missing: Columns that the fleet file maps and the file does not have.
    """
    rows, awaited = 0, []
    keys = _Keys()
    days = [_DAY.to_frame()]
    for batch in batches:
        rows += batch.height
        inside = batch.filter(usable.days())
        awaited += batch["date"].filter(batch["date"].is_between(today, date.max, closed="right")).unique().to_list()
        counted = inside.group_by("date", pl.col("battery_id").fill_null("")).agg(rows=pl.len().cast(pl.Int64))
        days.append(counted.select(_DAY.names()))
        keys.add(inside)
    counts = pl.concat(days).group_by("date", "battery_id").agg(pl.col("rows").sum()).sort("date", "battery_id")
    cut, steps, ends = [RUN.to_frame()], [], []
    backwards = 0
    for some in keys.by_battery():
        cut.append(runs(some))
        steps.append(_steps(some))
        backwards += _backwards(some)
        ends.append(some.select(first=pl.col("timestamp").min(), last=pl.col("timestamp").max()))
    first, last = pl.concat(ends).select(pl.col("first").min(), pl.col("last").max()).row(0) if ends else (None, None)
    return Survey(
        rows=rows,
        rows_without_day=rows - int(counts["rows"].sum()),
        days=counts,
        first_timestamp=first,
        last_timestamp=last,
        usual_interval_us=_median(pl.concat(steps)) if steps else None,
        times_backwards=backwards,
        unmapped_columns=unmapped,
        missing_columns=missing,
        awaits=min(awaited, default=None),
        runs=pl.concat(cut),
    )


@dataclass
class _Keys:
    """When and of which battery each row is, in few bytes."""

    batches: list[pl.DataFrame] = field(default_factory=list)
    codes: dict[str, int] = field(default_factory=dict)

    def add(self, rows: pl.DataFrame) -> None:
        for name in rows["battery_id"].drop_nulls().unique().sort():
            self.codes.setdefault(name, len(self.codes))
        code = pl.col("battery_id").replace_strict(self.codes, default=None, return_dtype=pl.UInt32)
        self.batches.append(rows.select("row_number", code.alias("code"), "timestamp"))

    def by_battery(self) -> Iterator[pl.DataFrame]:
        """``row_number``, ``battery_id`` and ``timestamp`` of some batteries at a time, in order of their names."""
        keys = pl.concat([_KEY.to_frame(), *self.batches])
        self.batches.clear()
        names = pl.Series(list(self.codes), dtype=pl.String)
        rows = dict(keys.group_by("code").len().iter_rows())
        some: list[int | None] = [None]
        for name in sorted(self.codes):
            if sum(rows.get(one, 0) for one in some) + rows.get(self.codes[name], 0) > _ROWS:
                yield self._of(keys, some, names)
                some = []
            some.append(self.codes[name])
        yield self._of(keys, some, names)

    @staticmethod
    def _of(keys: pl.DataFrame, codes: list[int | None], names: pl.Series) -> pl.DataFrame:
        known = [code for code in codes if code is not None]
        wanted = pl.col("code").is_in(known)
        if None in codes:
            wanted |= pl.col("code").is_null()
        found = keys.filter(wanted)
        return found.select("row_number", names.gather(found["code"]).alias("battery_id"), "timestamp")


def _steps(rows: pl.DataFrame) -> pl.DataFrame:
    """How often each time from one sample of a battery to its next occurs."""
    steps = (
        rows.group_by("battery_id")
        .agg(pl.col("timestamp").sort().diff().dt.total_microseconds())
        .explode("timestamp", empty_as_null=True)
    )
    return steps.filter(pl.col("timestamp") > 0).group_by(step="timestamp").agg(times=pl.len().cast(pl.Int64))


def _backwards(rows: pl.DataFrame) -> int:
    """How often the time of a battery runs against its usual direction; a file may begin with its newest row."""
    step = pl.col("timestamp").diff().dt.total_microseconds()
    counted = rows.group_by("battery_id").agg(back=(step < 0).sum(), ahead=(step > 0).sum())
    return int(counted.select(pl.min_horizontal("back", "ahead").sum()).item() or 0)


def _median(steps: pl.DataFrame) -> int | None:
    """The median of steps that occur so often; the mean of the middle two where their number is even."""
    if steps.is_empty():
        return None
    ordered = (
        steps.group_by("step").agg(pl.col("times").sum()).sort("step").with_columns(upto=pl.col("times").cum_sum())
    )
    total = int(ordered["times"].sum())
    low, high = (int(ordered.filter(pl.col("upto") > place)["step"][0]) for place in ((total - 1) // 2, total // 2))
    return round((low + high) / 2)
