"""What a file holds, counted a few rows at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date, datetime

import numpy as np
import polars as pl

from bess_pipeline.sources.runs import RUN, InTurn, runs_of
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
        cut.append(runs_of(some))
        steps.append(_steps(some))
        backwards += _backwards(some)
        ends += [some.at.min(), some.at.max()] if len(some.at) else []
    instants = pl.Series(ends, dtype=pl.Int64).cast(UTC_MICROSECONDS)
    return Survey(
        rows=rows,
        rows_without_day=rows - int(counts["rows"].sum()),
        days=counts,
        first_timestamp=_instant(instants.min()),
        last_timestamp=_instant(instants.max()),
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

    def by_battery(self) -> Iterator[InTurn]:
        """The rows of some batteries at a time, in order of their names; those without a battery come first."""
        keys = pl.concat([_KEY.to_frame(), *self.batches])
        self.batches.clear()
        names = pl.Series(sorted(self.codes), dtype=pl.String)
        places = np.zeros(len(names) + 1, np.uint16 if len(names) < 1 << 16 else np.int64)
        places[[self.codes[name] for name in names]] = np.arange(1, len(names) + 1)
        code = places[keys["code"].fill_null(len(names)).to_numpy()]
        at, row = (keys[name].to_physical().to_numpy() for name in ("timestamp", "row_number"))
        if (code[1:] < code[:-1]).any():
            order = np.argsort(code, kind="stable")
            code, at, row = code[order], at[order], row[order]
        first = 0
        for end in [*(np.flatnonzero(code[1:] != code[:-1]) + 1).tolist(), len(code)]:
            if end - first >= _ROWS or end == len(code):
                some = slice(first, end)
                yield InTurn(names, code[some].astype(np.int64) - 1, at[some], row[some])
                first = end


def _steps(rows: InTurn) -> pl.DataFrame:
    """How often each time from one sample of a battery to its next occurs."""
    at = rows.at
    same = rows.code[1:] == rows.code[:-1]
    if (np.diff(at)[same] < 0).any():
        at = at[np.lexsort((at, rows.code))]
    steps = pl.Series("step", np.diff(at)[same])
    return steps.filter(steps > 0).value_counts(name="times").cast({"times": pl.Int64})


def _backwards(rows: InTurn) -> int:
    """How often the time of a battery runs against its usual direction; a file may begin with its newest row."""
    step, code = np.diff(rows.at), rows.code[1:] + 1
    same = rows.code[1:] == rows.code[:-1]
    back, ahead = (np.bincount(code[same & one], minlength=len(rows.names) + 1) for one in (step < 0, step > 0))
    return int(np.minimum(back, ahead).sum())


def _instant(value: object) -> datetime | None:
    return value if isinstance(value, datetime) else None


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
