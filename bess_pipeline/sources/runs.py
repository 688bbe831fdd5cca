"""The rows of a file in the order they came: runs of a battery's times without a jump."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import polars as pl

from bess_pipeline.tables.columns import UTC_MICROSECONDS

#: What is known of a run; the fleet, the file and its version are told elsewhere.
RUN = pl.Schema(
    {
        "battery_id": pl.String(),
        "run": pl.Int64(),
        "first_row": pl.Int64(),
        "last_row": pl.Int64(),
        "rows": pl.Int64(),
        "first_timestamp": UTC_MICROSECONDS,
        "last_timestamp": UTC_MICROSECONDS,
        "is_ordered": pl.Boolean(),
    }
)

_Whole = npt.NDArray[np.int64]


@dataclass(frozen=True)
class InTurn:
    """Rows battery by battery, each battery's in the order of the file.

    Attributes:
        names: Names of batteries, in order.
        code: Place of each row's battery among the names; below 0 where it has none: shape (n,).
        at: Its time [µs]: shape (n,).
        row: Its number in the file: shape (n,).
    """

    names: pl.Series
    code: _Whole
    at: _Whole
    row: _Whole


#: A time this many usual intervals after the one before it begins a new run: one sample may be missing, two not.
_JUMP_INTERVALS = 2.5

#: Neighbouring runs shorter than this many rows, three or more with a step back among them, are rows out of order.
_SHORT_ROWS, _FEW_RUNS = 8, 3

#: No more runs than these are told of one battery in one file: then its times are too irregular to tell a clock by.
_MOST_RUNS = 200

#: The usual interval is the median of about this many steps, evenly chosen.
_ENOUGH_STEPS = 10_000


def runs(rows: pl.DataFrame) -> pl.DataFrame:
    """Cut the rows of a file, battery by battery, where the time jumps ahead or steps back.

    Rows out of order are one run, from their earliest to their latest time. A battery whose
    latest time comes first is read from its end.

    Args:
        rows: ``row_number``, ``battery_id`` and ``timestamp`` in the order of the file.

    Returns:
        `RUN` rows by battery, numbered in the direction of time. Rows without a battery or a time are in none.

    Examples:
        >>> from datetime import UTC, datetime
        >>> times = [datetime(2024, 1, 1, 0, minute, tzinfo=UTC) for minute in (0, 1, 2, 30, 31, 32)]
        >>> rows = pl.DataFrame({"row_number": range(6), "battery_id": "b", "timestamp": times})
        >>> runs(rows).select("run", "first_row", "last_row", "rows").rows()
        [(0, 0, 2, 3), (1, 3, 5, 3)]
    """
    named = rows.select("row_number", "battery_id", "timestamp").drop_nulls()
    batteries = named["battery_id"].unique().sort()
    code = named["battery_id"].cast(pl.Enum(batteries)).to_physical().cast(pl.Int64).to_numpy()
    order = np.argsort(code, kind="stable")
    at, row = named["timestamp"].to_physical().to_numpy(), named["row_number"].to_numpy()
    return runs_of(InTurn(batteries, code[order], at[order], row[order]))


def runs_of(rows: InTurn) -> pl.DataFrame:
    """Cut rows that are in turn already; see `runs`."""
    is_named = rows.code >= 0
    if not is_named.any():
        return RUN.to_frame()
    code, at, row = (rows.code, rows.at, rows.row) if is_named.all() else _of_named(rows, is_named)
    at, row = _in_direction_of_time(code, at, row)
    batteries, begins = rows.names, _begins(code, at)
    heads = np.flatnonzero(begins)
    tails = np.append(heads[1:], len(at)) - 1
    cut = pl.DataFrame(
        {
            "code": code[heads],
            "first_row": np.minimum(row[heads], row[tails]),
            "last_row": np.maximum(row[heads], row[tails]),
            "is_ordered": True,
            "rows": tails - heads + 1,
            "first": at[heads],
            "last": at[tails],
        }
    )
    joined = _scrambles_joined(cut)
    return (
        joined.with_columns(
            batteries.gather(joined["code"]).alias("battery_id"), run=pl.int_range(pl.len()).over("code")
        )
        .select(
            "battery_id",
            "run",
            "first_row",
            "last_row",
            "rows",
            first_timestamp=pl.col("first"),
            last_timestamp=pl.col("last"),
            is_ordered="is_ordered",
        )
        .cast(pl.Schema(RUN))
    )


def _of_named(rows: InTurn, is_named: npt.NDArray[np.bool_]) -> tuple[_Whole, _Whole, _Whole]:
    return rows.code[is_named], rows.at[is_named], rows.row[is_named]


def _in_direction_of_time(code: _Whole, at: _Whole, row: _Whole) -> tuple[_Whole, _Whole]:
    """Times and row numbers, those of a battery whose latest time comes first from its end."""
    if (at[1:] < at[:-1])[code[1:] == code[:-1]].any():
        at, row = at.copy(), row.copy()
        for start, end in _of_battery(code):
            steps = np.sign(np.diff(at[start:end]))
            if steps.sum() < 0:
                at[start:end], row[start:end] = at[start:end][::-1], row[start:end][::-1]
    return at, row


def _of_battery(code: _Whole) -> Iterator[tuple[int, int]]:
    """Where the rows of each battery start and end."""
    return pairwise([0, *(np.flatnonzero(code[1:] != code[:-1]) + 1).tolist(), len(code)])


def _begins(code: _Whole, at: _Whole) -> npt.NDArray[np.bool_]:
    """Whether a row begins a run."""
    apart = np.diff(at, prepend=at[0])
    begins: npt.NDArray[np.bool_] = apart < 0
    for start, end in _of_battery(code):
        steps = apart[start + 1 : end]
        some = steps[:: max(1, len(steps) // _ENOUGH_STEPS)]
        usual = np.median(some[some > 0]) if (some > 0).any() else np.inf
        ahead = np.flatnonzero(steps > _JUMP_INTERVALS * usual) + start + 1
        if len(ahead) > _MOST_RUNS:  # irregular times: only the widest gaps count
            ahead = ahead[np.argsort(-apart[ahead], kind="stable")[:_MOST_RUNS]]
        begins[ahead] = True
        begins[start] = True
    return begins


def _scrambles_joined(cut: pl.DataFrame) -> pl.DataFrame:
    """Runs with those joined that are rows out of order; all of a battery's where there are too many."""
    steps_back = (pl.col("first") < pl.col("last").shift()) & (pl.col("code") == pl.col("code").shift())
    marked = (
        cut.with_columns(is_short=pl.col("rows") < _SHORT_ROWS, steps_back=steps_back.fill_null(value=False))
        .with_columns(stretch=pl.struct("code", "is_short").rle_id())
        .with_columns(
            is_scramble=pl.col("is_short")
            & (pl.len().over("stretch") >= _FEW_RUNS)
            & pl.col("steps_back").any().over("stretch"),
        )
        .with_columns(
            group=(~pl.col("is_scramble") | pl.col("stretch").ne_missing(pl.col("stretch").shift())).cum_sum()
        )
    )
    joined = _joined(marked)
    crowded = pl.len().over("code") > 2 * _MOST_RUNS
    if not joined.select(crowded.any()).item():
        return joined
    alone = joined.with_columns(group=pl.when(crowded).then(-1 - pl.col("code")).otherwise(pl.int_range(pl.len())))
    return _joined(alone)


def _joined(cut: pl.DataFrame) -> pl.DataFrame:
    """Runs of the same group as one."""
    return cut.group_by("group", maintain_order=True).agg(
        pl.col("code", "first", "first_row").min(),
        pl.col("last", "last_row").max(),
        pl.col("rows").sum(),
        is_ordered=(pl.len() == 1) & pl.col("is_ordered").all(),
    )
