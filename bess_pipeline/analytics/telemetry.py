"""Telemetry rows: which of them count, and what is wrong with those that do."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import polars as pl

from bess_pipeline.analytics.flags import LEAST_MILLIVOLT, flagged
from bess_pipeline.tables import telemetry as contracts
from bess_pipeline.tables.keys import BATTERY
from bess_pipeline.tables.telemetry import CELL_LISTS, CELL_VOLTAGES, MEASUREMENTS, VERDICTS

_FACTS = (*MEASUREMENTS, "status", *CELL_LISTS)

#: Of rows of one battery and instant, the last in this order wins.
_ARRIVAL = ("first_seen", "path", "row_number")


def verdicts(received: pl.DataFrame) -> pl.DataFrame:
    """Decide of each received row whether it becomes a sample.

    Rows of one battery and instant belong together. The last of them, by the order
    in which their files were first seen, then by path and row, is accepted; rows
    equal to it in every measurement are duplicates, the others lost a conflict.

    Args:
        received: `RawTelemetry` columns without the verdict, in any order.

    Returns:
        `RawTelemetry` rows, sorted by battery, instant and the order above.
    """
    rows = in_order(received, arrival=True)
    if rows.is_empty():
        return rows.with_columns(verdict=pl.lit(None, pl.String)).select(contracts.RawTelemetry.column_names())
    keys = pl.struct(*BATTERY) if rows["fleet_id"].n_unique() > 1 else pl.col("battery_id")
    starts = rows.select((keys != keys.shift()) | (pl.col("timestamp") != pl.col("timestamp").shift())).to_series()
    starts = starts.fill_null(value=True)
    ends = starts.shift(-1, fill_value=True)
    verdict = np.full(rows.height, VERDICTS.index("accepted"), dtype=np.uint32)
    shared = (~(starts & ends)).arg_true()
    if len(shared):
        verdict[shared.to_numpy()] = _decided(rows.select(_FACTS)[shared], ends[shared])
    words = pl.Series(VERDICTS, dtype=pl.String).gather(verdict)
    return rows.with_columns(verdict=words).select(contracts.RawTelemetry.column_names())


def _decided(facts: pl.DataFrame, ends: pl.Series) -> npt.NDArray[np.uint32]:
    """Verdicts, as positions in `VERDICTS`, of rows that share their battery and instant with others.

    Args:
        facts: What the rows say, group after group, the winner of each group last.
        ends: Whether a row is the last of its group.
    """
    here = np.arange(facts.height)
    last = np.flatnonzero(ends.to_numpy())
    winner = last[np.searchsorted(last, here)]
    theirs = facts[winner].rename(lambda name: f"winning_{name}")
    equal = facts.hstack(theirs).select(
        pl.all_horizontal(pl.col(name).eq_missing(pl.col(f"winning_{name}")) for name in _FACTS)
    )
    words = np.where(equal.to_series().to_numpy(), VERDICTS.index("duplicate"), VERDICTS.index("conflict"))
    return np.where(here == winner, VERDICTS.index("accepted"), words).astype(np.uint32)


def in_order(rows: pl.DataFrame, *, arrival: bool = False) -> pl.DataFrame:
    """The rows sorted by fleet, battery and instant, and by their arrival where asked for.

    Stable sorts of a narrow table of numbers, one column at a time and least column
    first, take a fifth of the time of one sort of the rows by all columns; columns
    that are in order already are left alone.

    Args:
        rows: Columns fleet_id, battery_id, timestamp, and those of `RawTelemetry` that tell of the arrival.
        arrival: Whether rows of one battery and instant are sorted by the order they arrived in.
    """
    if _follows(rows):
        return rows
    names = (*BATTERY, "timestamp", *(_ARRIVAL if arrival else ()))
    keys = rows.select(_numbered(rows[name]) for name in names)
    if _is_in_order(keys):
        return rows
    keys = keys.with_row_index("row")
    for name in reversed(names):
        if not keys[name].is_sorted():
            keys = keys.sort(name, maintain_order=True)
    return rows[keys["row"]]


def _follows(rows: pl.DataFrame) -> bool:
    """Whether each row is of a later instant than the one before or begins the next battery: then any order is kept."""
    begins = pl.any_horizontal(pl.col(name) != pl.col(name).shift() for name in BATTERY).fill_null(value=True)
    later = (pl.col("timestamp") > pl.col("timestamp").shift()).fill_null(value=False)
    told = rows.select(begins=begins, follows=begins | later)
    if not told["follows"].all():
        return False
    names = rows.select(BATTERY).filter(told["begins"]).rows()
    return all(one < other for one, other in pairwise(names))


def by_battery(rows: pl.DataFrame, portion: int) -> Iterator[pl.DataFrame]:
    """Rows by the names of their batteries, in portions of about so many, cut between batteries.

    Rows of one battery keep their order. There is one portion at least, be it empty.

    Args:
        rows: Columns ``battery_id``, without nulls, and any others.
        portion: How many rows a portion has before it ends with its battery.

    Examples:
        >>> rows = pl.DataFrame({"battery_id": ["b", "a", "c", "a"], "n": [1, 2, 3, 4]})
        >>> [some["n"].to_list() for some in by_battery(rows, 2)]
        [[2, 4], [1, 3]]
    """
    code = _numbered(rows["battery_id"]).to_numpy()
    order = None
    if (code[1:] < code[:-1]).any():
        order = np.argsort(code.astype(np.uint16) if code.max() < 1 << 16 else code, kind="stable")
        code = code[order]
    first = 0
    for end in [*(np.flatnonzero(code[1:] != code[:-1]) + 1).tolist(), rows.height]:
        if end - first >= portion or end == rows.height:
            yield rows.slice(first, end - first) if order is None else rows[order[first:end]]
            first = end


def _numbered(column: pl.Series) -> pl.Series:
    """Numbers that sort as the column does."""
    if column.dtype == pl.String:
        column = column.cast(pl.Enum(column.unique().sort()))
    return column.to_physical()


def _is_in_order(keys: pl.DataFrame) -> bool:
    follows = pl.lit(value=True)
    for name in reversed(keys.columns):
        here, before = pl.col(name), pl.col(name).shift()
        follows = (here > before) | ((here == before) & follows)
    return bool(keys.select(follows.slice(1).all()).item())


def accepted(raw: pl.DataFrame) -> pl.DataFrame:
    """The accepted rows of `RawTelemetry`, each with its place in the order of arrival.

    A row that was resent arrived when the first row equal to it did.
    """
    rows = in_order(raw, arrival=True)
    arrival = _files(rows) * _MOST_ROWS + rows["row_number"]
    if (lost := rows["verdict"] == "conflict").any():
        rows, arrival = rows.filter(~lost), arrival.filter(~lost)
    counts = rows["verdict"] == "accepted"
    if not counts.all():
        names = (*BATTERY, "timestamp")
        follows = pl.all_horizontal(pl.col(name) == pl.col(name).shift() for name in names)
        starts = ~rows.select(follows.fill_null(value=False)).to_series()
        arrival = arrival.filter(starts).gather(starts.cum_sum() - 1).filter(counts)
        rows = rows.filter(counts)
    return rows.drop("path", "row_number", "first_seen", "verdict").with_columns(arrival=arrival)


#: No file has as many rows.
_MOST_ROWS = 2**40


def _files(rows: pl.DataFrame) -> pl.Series:
    """The file of each row, as its place in the order in which files arrived."""
    paths = _numbered(rows["path"])
    together = rows["first_seen"] * (paths.n_unique() + 1) + paths
    places: pl.Series = together.unique().sort().search_sorted(together).cast(pl.Int64)
    return places


def clean(samples: pl.DataFrame, batteries: pl.DataFrame) -> pl.DataFrame:
    """Flag what the samples of a day prove to be wrong, and bring cell voltages in millivolts to volts.

    Args:
        samples: Accepted rows with their place in the order of arrival; whole days of each battery.
        batteries: `Battery` rows of their batteries.

    Returns:
        `CleanTelemetry` rows, sorted by battery and instant. Values are those of the
        source but for cell voltages flagged as millivolts.

    Raises:
        ValueError: If a battery has no nameplate.
    """
    in_millivolt = pl.any_horizontal((pl.col(cell) > LEAST_MILLIVOLT).fill_null(value=False) for cell in CELL_VOLTAGES)
    volts = in_order(samples).with_columns(
        *(
            pl.when(pl.col(cell) > LEAST_MILLIVOLT).then(_volts(pl.col(cell))).otherwise(pl.col(cell)).alias(cell)
            for cell in CELL_VOLTAGES
        ),
        cell_voltage_in_millivolt=in_millivolt,
    )
    return flagged(volts, batteries).select(contracts.CleanTelemetry.column_names())


def _volts(millivolts: pl.Expr) -> pl.Expr:
    """A thousandth, the same to the last digit however many rows are divided at once.

    Polars multiplies a column by the reciprocal of a number, but divides a single row by it.
    """
    return millivolts / (millivolts * 0 + 1000)
