"""The jumps in the times of batteries, and which of them undo each other."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import NamedTuple

import polars as pl

from bess_pipeline.units import US_PER_DAY

#: A time astray longer than this is no slip of a clock but how it is set: that is for `source.timezone`. [µs]
_LONGEST_US = 31 * US_PER_DAY

#: Least length of a jump in usual intervals.
_LEAST_INTERVALS = 1.5

#: A battery with more jumps than this is too irregular to tell a clock by.
_MOST_JUMPS = 2000

#: Where there is one jump more than pairs, the shorter of two readings counts if it is this much shorter.
_SHORTER = 3.0


class Run(NamedTuple):
    """A run of a battery's rows in one file; times in whole microseconds since 1970."""

    path: str
    run: int
    first_row: int
    last_row: int
    rows: int
    first_us: int
    last_us: int
    is_ordered: bool


class Jump(NamedTuple):
    """Between two runs that came one after the other: how much more than one interval passes by their times."""

    battery_id: str
    place: int
    excess_us: int
    before: Run
    after: Run
    usual_us: int

    @property
    def about_us(self) -> float:
        """When it was, half way between the two clocks: late files tell of early jumps."""
        return (self.before.last_us + self.after.first_us) / 2


Pair = tuple[Jump, Jump]


def runs_in_order(files: pl.DataFrame, runs: pl.DataFrame) -> pl.DataFrame:
    """Runs in the order in which they were measured, as far as files tell it: by the latest time that each brings."""
    return (
        runs.join(files.select("path", "first_seen", usual_us="usual_interval_us"), on="path")
        .filter(pl.col("usual_us") > 0)
        .with_columns(
            first_us=pl.col("first_timestamp").to_physical(),
            last_us=pl.col("last_timestamp").to_physical(),
            latest=pl.col("last_timestamp").max().over("battery_id", "path"),
        )
        .sort("battery_id", "latest", "first_seen", "path", "run")
        .with_columns(place=pl.int_range(pl.len()).over("battery_id"))
    )


def undone(ordered: pl.DataFrame) -> list[Pair]:
    """The jumps of each battery that a later one undoes, with the one that does.

    Args:
        ordered: Runs as `runs_in_order` gives them.
    """
    return [pair for jumps in _jumps(ordered) for pair in _pairs(jumps)]


def _jumps(ordered: pl.DataFrame) -> Iterator[list[Jump]]:
    """The jumps of each battery that another of about the same length undoes.

    Where a run continues another, no clock has jumped: late rows go on where a gap begins,
    and the next file goes on where the rows before the late ones ended. A jump that was
    sent twice is one.
    """
    run = pl.struct(Run._fields)
    ends = ordered.select("battery_id", first_us=pl.col("last_us") + pl.col("usual_us"))
    ends = ends.with_columns(end_us=pl.col("first_us")).sort("first_us")
    jumps = (
        ordered.with_columns(
            excess_us=pl.col("first_us") - pl.col("last_us").shift().over("battery_id") - pl.col("usual_us"),
            before=run.shift().over("battery_id"),
            after=run,
        )
        .filter(pl.col("excess_us").abs() > _LEAST_INTERVALS * pl.col("usual_us"))
        .unique(["battery_id", "first_us", "excess_us"], keep="first", maintain_order=True)
        .sort("first_us", maintain_order=True)
        .join_asof(ends, on="first_us", by="battery_id", strategy="nearest", check_sortedness=False)
        .filter((pl.col("first_us") - pl.col("end_us")).abs() > pl.col("usual_us") // 2)
        .filter(pl.len().over("battery_id") <= _MOST_JUMPS)
        .with_columns(length=pl.col("excess_us").abs() // pl.col("usual_us"), ahead=pl.col("excess_us") > 0)
    )
    near = pl.concat(
        jumps.select("battery_id", pl.col("length") + step, ahead=~pl.col("ahead")) for step in (-1, 0, 1)
    ).unique()
    rows = jumps.join(near, on=["battery_id", "length", "ahead"], how="semi").sort("battery_id", "place")
    for _, of_battery in groupby(
        rows.select(Jump._fields).iter_rows(named=True), key=lambda row: str(row["battery_id"])
    ):
        yield [Jump(**{**row, "before": Run(**row["before"]), "after": Run(**row["after"])}) for row in of_battery]


def _pairs(jumps: list[Jump]) -> Iterator[Pair]:
    """A battery's jumps as pairs, the second of which undoes the first: exactly if any does, else to an interval."""
    for intervals in (0.1, 1.0):
        found = [pair for group in _of_one_length(jumps, intervals) for pair in _alternating(group, intervals)]
        yield from found
        paired = {jump.place for pair in found for jump in pair}
        jumps = [jump for jump in jumps if jump.place not in paired]


def _of_one_length(jumps: list[Jump], intervals: float) -> Iterator[list[Jump]]:
    """Jumps of about one length, in the order of time."""
    group: list[Jump] = []
    for jump in sorted(jumps, key=lambda one: abs(one.excess_us)):
        if group and abs(jump.excess_us) - abs(group[-1].excess_us) > intervals * jump.usual_us:
            yield sorted(group, key=lambda one: (one.about_us, one.place))
            group = []
        group.append(jump)
    yield sorted(group, key=lambda one: (one.about_us, one.place))


def _alternating(jumps: list[Jump], intervals: float) -> Iterator[Pair]:
    """Pairs out of jumps of one length, forth and back by turns."""
    chain: list[Jump] = []
    for jump in jumps:
        if chain and not _undoes(chain[-1], jump, intervals):
            yield from _paired(chain)
            chain = []
        chain.append(jump)
    yield from _paired(chain)


def _undoes(one: Jump, other: Jump, intervals: float) -> bool:
    apart = abs(other.before.last_us - one.after.first_us)
    return abs(one.excess_us + other.excess_us) <= intervals * one.usual_us and apart <= _LONGEST_US


def _paired(chain: list[Jump]) -> list[Pair]:
    """Which jumps belong together; of two readings of an odd number, the one that is astray much more briefly."""
    early = list(zip(chain[::2], chain[1::2], strict=False))
    if len(chain) % 2 == 0:
        return early
    late = list(zip(chain[1::2], chain[2::2], strict=True))
    early_us, late_us = (sum(_astray_us(*pair) for pair in reading) for reading in (early, late))
    if early_us * _SHORTER <= late_us:
        return early
    return late if late_us * _SHORTER <= early_us else []


def _astray_us(forth: Jump, back: Jump) -> int:
    return abs(back.before.last_us - forth.after.first_us)
