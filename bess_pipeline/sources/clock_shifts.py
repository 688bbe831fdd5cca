"""Times at which a clock was astray, told from the order in which its rows came.

A clock that goes ahead by an hour leaves a hole of an hour where it jumps, and
where it comes back, rows carry times that other rows carry already. Moved back by
the hour, the rows between the two jumps fill the hole and meet nobody. A dropout
leaves a hole and no step back; late rows step back into a hole; rows that are sent
again step back over no hole.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import median
from typing import Literal

import polars as pl

from bess_pipeline.sources.clock_jumps import Jump, Pair, Run, runs_in_order, undone

#: Of the batteries that report, this share has to show both jumps before the others are taken to share the clock.
_SHARE_OF_SITE = 0.5

_ROUND_US = (3_600_000_000, 1_800_000_000, 900_000_000, 60_000_000, 1_000_000, 1_000, 1)


@dataclass(frozen=True)
class Stretch:
    """Rows of one battery in one file whose times are wrong: numbers of the first and last, and their times."""

    battery_id: str
    path: str
    first_row: int
    last_row: int
    rows: int
    started_us: int
    ended_us: int


@dataclass(frozen=True)
class Shift:
    """A time over which a clock was astray.

    Attributes:
        shift_us: What has to be subtracted from the times [µs]; negative where the clock was slow.
        before_us: Last time before the clock went astray.
        first_us: First wrong time.
        last_us: Last wrong time.
        after_us: First time after the clock was right again.
        usual_us: Usual time from one sample to the next.
        witnesses: Batteries that show both jumps.
        reporting: Batteries with rows at that time.
        stretches: The rows with wrong times.
    """

    shift_us: int
    before_us: int
    first_us: int
    last_us: int
    after_us: int
    usual_us: int
    witnesses: tuple[str, ...]
    reporting: int
    stretches: tuple[Stretch, ...] = field(default=(), repr=False)

    @property
    def is_fast(self) -> bool:
        """Whether the clock was ahead."""
        return self.shift_us > 0

    @property
    def doubly(self) -> tuple[int, int]:
        """First and last time that wrong and right rows may share."""
        if self.is_fast:
            return max(self.after_us, self.first_us), self.last_us
        return self.first_us, min(self.before_us, self.last_us)

    @property
    def hole(self) -> tuple[int, int]:
        """The last time before and the first after the hole that the wrong rows belong in."""
        if self.is_fast:
            return self.before_us, min(self.first_us, self.after_us)
        return max(self.before_us, self.last_us), self.after_us

    def is_surely_wrong(self, run: Run) -> bool:
        """Whether a run has times that only a wrong clock gives."""
        half = self.usual_us // 2
        if self.is_fast:
            return run.first_us < self.after_us - half and run.last_us >= self.first_us
        return run.last_us > self.before_us + half and run.first_us <= self.last_us

    def goes_beyond(self, run: Run) -> bool:
        """Whether a run has times that the wrong clock did not give, beyond those that it shares with right rows."""
        half = self.usual_us // 2
        return run.last_us > self.last_us + half if self.is_fast else run.first_us < self.first_us - half


def shifts(files: pl.DataFrame, runs: pl.DataFrame) -> list[Shift]:
    """The times at which clocks were astray, as far as the order of rows tells.

    Args:
        files: `LandingFile` rows of one fleet.
        runs: `LandingRun` rows of the same fleet.

    Returns:
        Shifts with the rows concerned, by time. Whether the rows at the shared times
        differ, which rows that were sent twice do not, is not looked at here.
    """
    ordered = runs_in_order(files, runs)
    found: list[Shift] = []
    for shift, seen in sorted(_by_site(undone(ordered)), key=lambda one: -len(one[1])):
        if not any(_is_explained(jump, found) for pair in seen for jump in pair):
            settled = _settled(shift, seen, ordered)
            found += [] if settled is None else [settled]
    return sorted(found, key=lambda shift: (shift.before_us, shift.shift_us, shift.witnesses))


def _is_explained(jump: Jump, found: list[Shift]) -> bool:
    """Whether a shift that more batteries show has this jump: then it is no part of another."""
    return any(
        abs(jump.before.last_us - before) <= 2 * shift.usual_us
        and abs(jump.after.first_us - after) <= 2 * shift.usual_us
        for shift in found
        if any(stretch.battery_id == jump.battery_id for stretch in shift.stretches)
        for before, after in ((shift.before_us, shift.first_us), (shift.last_us, shift.after_us))
    )


def _by_site(pairs: Iterable[Pair]) -> list[tuple[Shift, list[Pair]]]:
    """Pairs of several batteries at one time are one shift."""
    groups: list[list[Pair]] = []
    for pair in sorted(pairs, key=lambda pair: (pair[0].before.last_us, pair[0].battery_id, pair[0].place)):
        for group in reversed(groups):
            if _is_same(group[0], pair):
                group.append(pair)
                break
        else:
            groups.append([pair])
    return [(_shift(group), group) for group in groups]


def _is_same(one: Pair, other: Pair) -> bool:
    near = 2 * one[0].usual_us
    return (
        abs(one[0].excess_us - other[0].excess_us) <= one[0].usual_us
        and abs(one[0].before.last_us - other[0].before.last_us) <= near
        and abs(one[1].before.last_us - other[1].before.last_us) <= near
    )


def _shift(group: list[Pair]) -> Shift:
    usual = round(median(forth.usual_us for forth, _ in group))
    lengths = [_length(abs(forth.excess_us), abs(back.excess_us), usual) for forth, back in group]
    length = max(sorted(set(lengths)), key=lengths.count)
    return Shift(
        shift_us=length if group[0][0].excess_us > 0 else -length,
        before_us=max(forth.before.last_us for forth, _ in group),
        first_us=min(forth.after.first_us for forth, _ in group),
        last_us=max(back.before.last_us for _, back in group),
        after_us=min(back.after.first_us for _, back in group),
        usual_us=usual,
        witnesses=tuple(sorted({forth.battery_id for forth, _ in group})),
        reporting=0,
    )


def _length(forth_us: int, back_us: int, usual_us: int) -> int:
    """The length of a shift: what both jumps say, or the roundest that leaves neither a gap nor a collision.

    Examples:
        >>> _length(1_200_000_000, 1_260_000_000, 60_000_000) / 60e6
        20.5
    """
    if forth_us == back_us:
        return forth_us
    low, high = max(forth_us, back_us) - usual_us // 2, min(forth_us, back_us) + usual_us // 2
    middle = (low + high) // 2
    for unit in _ROUND_US:
        nearest = (middle + unit // 2) // unit * unit
        if low <= nearest <= high:
            return nearest
    return middle


def _settled(shift: Shift, group: list[Pair], ordered: pl.DataFrame) -> Shift | None:
    """A shift with the rows it concerns; nothing where the rows contradict it."""
    near = 2 * shift.usual_us
    begins, ends = min(shift.before_us, shift.first_us) - near, max(shift.after_us, shift.last_us) + near
    there = ordered.filter(pl.col("last_us") >= begins, pl.col("first_us") <= ends).sort("battery_id", "place")
    runs = {
        str(name): [Run(*row) for row in rows.select(Run._fields).iter_rows()]
        for (name,), rows in there.partition_by(["battery_id"], as_dict=True, maintain_order=True).items()
    }
    shares_clock = len(shift.witnesses) > 1 and len(shift.witnesses) >= _SHARE_OF_SITE * len(runs)
    known = {forth.battery_id: _known(forth, back) for forth, back in group}
    stretches: list[Stretch] = []
    witnesses = []
    for name, of_battery in runs.items():
        if name not in known and not shares_clock:
            continue
        wrong = _wrong_runs(shift, of_battery, known.get(name, {}))
        if wrong is None:
            continue
        stretches += [_stretch(shift, name, run) for run in wrong]
        witnesses += [name] if name in known else []
    if not witnesses or (shares_clock and len(witnesses) < _SHARE_OF_SITE * len(runs)):
        return None
    said = {name: getattr(shift, name) for name in Shift.__dataclass_fields__}
    said |= {"witnesses": tuple(witnesses), "reporting": len(runs), "stretches": tuple(stretches)}
    return Shift(**said)


_Verdict = Literal["wrong", "right"]


def _known(forth: Jump, back: Jump) -> dict[Run, _Verdict]:
    return {forth.before: "right", back.after: "right", forth.after: "wrong", back.before: "wrong"}


def _wrong_runs(shift: Shift, runs: list[Run], known: dict[Run, _Verdict]) -> list[Run] | None:
    """Runs of a battery with wrong times; nothing where its rows contradict the shift."""
    usual = shift.usual_us
    low, high = shift.hole
    if any(run.is_ordered and run.first_us < high - usual and run.last_us > low + usual for run in runs):
        return None
    verdicts: dict[Run, _Verdict] = {}
    for run in runs:
        surely, beyond = shift.is_surely_wrong(run), shift.goes_beyond(run)
        if surely and beyond and run.is_ordered:
            return None
        if surely:
            verdicts[run] = "wrong"
        elif run in known:
            verdicts[run] = known[run]
        elif beyond or run.last_us < shift.first_us or run.first_us > shift.last_us:
            verdicts[run] = "right"
    _spread(verdicts, runs, usual)
    return [run for run in runs if verdicts.get(run) == "wrong"] or None


def _spread(verdicts: dict[Run, _Verdict], runs: list[Run], usual_us: int) -> None:
    """Give runs at shared times the verdict of those that they continue, or else of those before and after.

    Where these do not agree, there is none.
    """
    links = _links(runs, usual_us)
    while True:
        settled: dict[Run, _Verdict] = {}
        for run in runs:
            said = {verdicts[other] for other in links[run] if other in verdicts}
            if run not in verdicts and len(said) == 1:
                settled |= {run: said.pop()}
        if not settled:
            break
        verdicts |= settled
    for place, run in enumerate(runs):
        if run not in verdicts:
            before = _neighbour(verdicts, run, runs[:place][::-1], is_later=False)
            after = _neighbour(verdicts, run, runs[place + 1 :], is_later=True)
            if {before, after} - {None} == {"wrong"}:
                verdicts[run] = "wrong"


def _neighbour(verdicts: dict[Run, _Verdict], run: Run, onwards: Iterable[Run], *, is_later: bool) -> _Verdict | None:
    """The verdict of the nearest run that has one, over gaps, but not over a step against the direction of time."""
    for other in onwards:
        early, late = (run, other) if is_later else (other, run)
        if early.last_us >= late.first_us:
            return None
        if other in verdicts:
            return verdicts[other]
        run = other
    return None


def _links(runs: list[Run], usual_us: int) -> dict[Run, set[Run]]:
    """Which runs continue which: the next of the same file if it does, else whichever does in any file."""

    def continues(one: Run, other: Run) -> bool:
        return abs(other.first_us - one.last_us - usual_us) <= usual_us // 2

    links: dict[Run, set[Run]] = {run: set() for run in runs}
    beside = [(one, other) for one, other in pairwise(runs) if one.path == other.path and one.run + 1 == other.run]
    joined = [(one, other) for one, other in beside if continues(one, other)]
    ends, begins = {one for one, _ in joined}, {other for _, other in joined}
    beginning: dict[int, list[Run]] = {}
    for run in runs:
        if run not in begins:
            beginning.setdefault(run.first_us // usual_us, []).append(run)
    apart = [
        (one, other)
        for one in runs
        if one not in ends
        for bin_ in range(one.last_us // usual_us, one.last_us // usual_us + 3)
        for other in beginning.get(bin_, [])
        if continues(one, other)
    ]
    for one, other in (*joined, *apart):
        links[one].add(other)
        links[other].add(one)
    return links


def _stretch(shift: Shift, battery_id: str, run: Run) -> Stretch:
    started, ended = max(run.first_us, shift.first_us), min(run.last_us, shift.last_us)
    if not run.is_ordered and shift.goes_beyond(run):  # out of order about the jump: only what is certain
        if shift.is_fast:
            ended = min(ended, shift.after_us - 1)
        else:
            started = max(started, shift.before_us + 1)
    return Stretch(battery_id, run.path, run.first_row, run.last_row, run.rows, started, ended)
