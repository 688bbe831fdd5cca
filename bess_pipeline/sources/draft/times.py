"""Which of a file's columns is the clock, and how it is read."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime

import polars as pl

from bess_pipeline.sources.draft.magnitudes import quantile
from bess_pipeline.sources.draft.sample import Told
from bess_pipeline.sources.numbers import numbers, texts
from bess_pipeline.sources.source import chrono_format
from bess_pipeline.units import US_PER_DAY

_WALL = pl.Datetime("us")
_FIRST, _LAST = datetime(2000, 1, 1, tzinfo=UTC).timestamp(), datetime(2080, 1, 1, tzinfo=UTC).timestamp()
_PER_SECOND = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}
_DAY_COUNTS = {"1899-12-30 (a spreadsheet's clock)": (36_500, 65_000), "the year 0 (a datenum)": (730_000, 770_000)}
_TRIED = 400
#: A relative clock runs forward in this share of the rows.
_FORWARD = 0.9

_DAYS = {
    "-": ("%Y-%m-%d", "%d-%m-%Y", "%m-%d-%Y", "%d-%b-%Y", "%d-%b-%y"),
    ".": ("%d.%m.%Y", "%d.%m.%y", "%Y.%m.%d"),
    "/": ("%d/%m/%Y", "%m/%d/%Y", "%Y/%m/%d", "%d/%m/%y", "%m/%d/%y", "%d/%b/%Y"),
    " ": ("%d %b %Y", "%b %d %Y"),
    "": ("%Y%m%d",),
}
_HOURS = ("%H:%M:%S", "%H:%M:%S.%f", "%H:%M:%S,%f", "%H:%M", "%I:%M:%S %p", "%I:%M %p", "%H.%M.%S", "%H%M%S")
_ZONES = ("", "Z", "%z", " %z")
_SWAPPED = {"%d/%m": "%m/%d", "%d-%m": "%m-%d", "%m/%d": "%d/%m", "%m-%d": "%d-%m"}
_DURATION = re.compile(r"(\d+d )?\s*\d{1,4}:\d{2}(:\d{2}([.,]\d+)?)?")


@dataclass(frozen=True)
class TimeGuess:
    """How a column of times is read.

    Attributes:
        rank: Of two columns, the one of higher rank is the clock: 4 instants, 3 local times, 1 relative, 0 unusable.
        keys: Keys of the fleet file: ``format``, ``unit``, ``origin``.
        at: Its values [µs], for the analysis of the sample; null where unknown.
        needs_zone: Whether the times name no zone.
        why: What the values look like.
    """

    rank: int
    keys: dict[str, Told]
    at: pl.Series
    needs_zone: bool
    why: str


def time_guess(values: pl.Series, unit: str | None, *, decimal_comma: bool = False) -> TimeGuess | None:
    """How a column would be read as times; nothing where it holds none.

    Args:
        values: The column.
        unit: Unit in its name.
        decimal_comma: Whether numbers have a decimal comma.

    Examples:
        >>> guess = time_guess(pl.Series(["13.02.2024 10:00:00", "13.02.2024 10:00:01"]), None)
        >>> guess.keys["format"].value, guess.needs_zone
        ('%d.%m.%Y %H:%M:%S', True)
        >>> time_guess(pl.Series([1672531200000, 1672531260000]), None).keys["unit"].value
        'ms'
    """
    if values.dtype == pl.Date or isinstance(values.dtype, pl.Datetime):
        return _typed(values)
    if values.dtype == pl.String:
        known = texts(values).drop_nulls()
        read = numbers(known.head(_TRIED), decimal_comma=decimal_comma)
        if read.is_infinite().any():
            return _written(texts(values), known)
        return None if known.is_empty() else _counted(numbers(values, decimal_comma=decimal_comma), unit)
    return _counted(numbers(values), unit) if values.dtype.is_numeric() else None


def _typed(values: pl.Series) -> TimeGuess:
    if not isinstance(values.dtype, pl.Datetime):
        return _unusable(values, "days without a time of day")
    at = values.dt.cast_time_unit("us").dt.epoch("us")
    zone = values.dtype.time_zone
    if zone is None:
        return TimeGuess(3, {}, at, needs_zone=True, why="timestamps that name no zone")
    return TimeGuess(5, {}, at, needs_zone=False, why=f"timestamps of zone {zone}")


def _unusable(values: pl.Series, why: str) -> TimeGuess:
    """Times of some kind that no fleet file can say how to read."""
    at = pl.Series(values.name, [None] * len(values), dtype=pl.Int64)
    return TimeGuess(0, {}, at, needs_zone=False, why=why)


def _counted(values: pl.Series, unit: str | None) -> TimeGuess | None:
    finite = values.replace([float("inf"), float("-inf")], [None, None])
    low, high = quantile(finite, 0.05), quantile(finite, 0.95)
    if low is None or high is None:
        return None
    for name, per_second in _PER_SECOND.items():
        if low >= _FIRST * per_second and high <= _LAST * per_second and high > low:
            at = (finite / per_second * 1e6).round(0).cast(pl.Int64, strict=False)
            first = datetime.fromtimestamp(low / per_second, UTC)
            told = Told(name, f"{low:.0f} is {first:%Y-%m-%d}", "sure" if unit == name else "likely")
            return TimeGuess(4, {"unit": told}, at, needs_zone=False, why=f"counts {name} since 1970")
    step = quantile(finite.diff().abs(), 0.5)
    for what, (earliest, latest) in _DAY_COUNTS.items():
        if low > earliest and high < latest and step is not None and step < 1:
            return _unusable(values, f"days since {what}, which no fleet file can say")
    if unit in {"h", "min", "d"}:
        return _unusable(values, f"counts {unit}, which no fleet file can say")
    return _relative(finite, unit)


def _relative(values: pl.Series, unit: str | None) -> TimeGuess | None:
    """A count from an instant that the file does not tell: it runs forward, from zero or more."""
    steps, least = values.diff().drop_nulls(), quantile(values, 0.0)
    runs_on = not steps.is_empty() and (steps >= 0).sum() >= _FORWARD * len(steps)
    if not runs_on or least is None or least < 0 or values.n_unique() * 20 < len(values) or steps.max() == 0:
        return None
    told = Told(unit, "the name says so") if unit in _PER_SECOND else Told("s", "no unit in the name", "guess")
    at = (values / _PER_SECOND[str(told.value)] * 1e6).round(0).cast(pl.Int64, strict=False)
    origin = Told("TODO", f"the clock is relative: its smallest value is {least:g}; when was that?", "TODO")
    return TimeGuess(
        1, {"unit": told, "origin": origin}, at, needs_zone=False, why=f"counts {told.value} from {least:g}"
    )


def _written(values: pl.Series, known: pl.Series) -> TimeGuess | None:
    few = known.unique(maintain_order=True).head(_TRIED)
    fits: list[tuple[str, pl.Series]] = []
    for pattern in _patterns(few[0]):
        read = _read(few, pattern)
        if read.null_count() == 0:
            fits.append((pattern, read))
    if not fits:
        if all(_DURATION.fullmatch(text) for text in few):
            return _unusable(values, "times of day, or durations, without a date")
        if any(_read(few, day).null_count() == 0 for days in _DAYS.values() for day in days):
            return _unusable(values, "days without a time of day")
        return None
    pattern = fits[0][0]
    at = _read(values, pattern)
    zoned = pattern.endswith(("Z", "%z"))
    other = next((swap for swap in _other_orders(pattern) if any(swap == name for name, _ in fits)), None)
    keys: dict[str, Told] = {}
    if other is not None:
        keys["format"], at = _ordered(values, known, pattern, other)
    elif not (pattern.startswith("%Y-%m-%d") and re.match(r"%Y-%m-%d[ T]%H:%M(:%S(\.%f)?)?(%z|Z)?$", pattern)):
        bad = at.null_count() - values.null_count()
        share = f", {bad} do not" if bad else ""
        keys["format"] = Told(pattern, f"all {len(known) - bad} values of the sample fit{share}")
    why = "ISO 8601" if "format" not in keys else f"written as {few[0]}"
    return TimeGuess(5 if zoned else 3, keys, at.dt.epoch("us"), needs_zone=not zoned, why=why)


def _patterns(example: str) -> list[str]:
    """Patterns that may fit a text."""
    days = [day for mark, named in _DAYS.items() if mark in example for day in named]
    joins = [join for join in (" ", "T", "  ", ", ", "-", "_") if join in example] + [""]
    zones = [zone for zone in _ZONES if not zone or example.endswith("Z") == (zone == "Z")]
    return [day + join + hour + zone for day in days for join in joins for hour in _HOURS for zone in zones]


def _read(values: pl.Series, pattern: str) -> pl.Series:
    if ",%f" in pattern:
        values = values.str.replace(",", ".", literal=True)
    try:
        read = values.str.to_datetime(chrono_format(pattern), time_unit="us", strict=False)
    except pl.exceptions.ComputeError:
        return pl.Series(values.name, [None] * len(values), dtype=_WALL)
    if isinstance(read.dtype, pl.Datetime) and read.dtype.time_zone is not None:
        read = read.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
    plausible = read.dt.year().is_between(1970, 2099)
    return read.zip_with(plausible.fill_null(value=False), pl.Series([None], dtype=_WALL))


def _other_orders(pattern: str) -> list[str]:
    return [pattern.replace(one, other) for one, other in _SWAPPED.items() if pattern.startswith(one)]


def _ordered(values: pl.Series, known: pl.Series, pattern: str, other: str) -> tuple[Told, pl.Series]:
    """Day or month first: the one that reads every value, else the one whose times run on."""
    reads = {name: _read(known, name) for name in (pattern, other)}
    failing = {name: read.null_count() for name, read in reads.items()}
    names = sorted(reads, key=lambda name: failing[name])
    if failing[names[0]] < failing[names[1]]:
        text = next(text for text, at in zip(known, reads[names[1]], strict=True) if at is None)
        return Told(names[0], f"{names[1]} cannot read {text}"), _read(values, names[0])
    longest = {name: quantile(read.dt.epoch("us").diff().abs(), 1.0) or 0.0 for name, read in reads.items()}
    if longest[pattern] == longest[other]:
        why = f"day or month first? {known[0]} fits {pattern} and {other}: no value of the sample tells"
        return Told("TODO", why, "TODO"), _read(values, pattern)
    best, worse = sorted(longest, key=lambda name: longest[name])
    why = f"with {worse} the times would jump by {longest[worse] / US_PER_DAY:.0f} days"
    return Told(best, why, "likely"), _read(values, best)
