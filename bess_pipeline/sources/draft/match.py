"""Which column of a sample is which house column: what its name says, held against its values."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import polars as pl

from bess_pipeline.sources.draft.magnitudes import fitting_unit, quantile
from bess_pipeline.sources.draft.sample import Sample, Told
from bess_pipeline.sources.draft.times import TimeGuess, time_guess
from bess_pipeline.sources.draft.vocabulary import RULES, Name, name
from bess_pipeline.sources.numbers import numbers, texts
from bess_pipeline.tables.telemetry import MEASUREMENTS
from bess_pipeline.units import accepted_units, conversion

_MOST_BATTERIES = 5000
_MOST_STATES = 100
_READABLE = 0.8
_FEWEST_CELLS = 2
_FEW_ROWS = 10
#: Probes of a pack do not differ by this much [°C].
_OFFSET_CELSIUS = 8
_SAID_UNITS = {"degC": " °C", "degF": " °F", "percent": " %", "fraction": ""}
_SENTINELS = (0.0, 255.0, 254.0, 511.0, 65535.0, 65534.0, 6553.5, 655.35, 32767.0, -32768.0, -999.0, 9999.0, -9999.0)


@dataclass(frozen=True)
class Match:
    """A house column, and the column of the file that is taken for it.

    Attributes:
        house: The house column.
        column: The file's column, or the pattern of cells.
        keys: Other keys of the fleet file: ``unit``, ``positive``, ``format``, ``origin``, ``offset`` and so on.
        why: The evidence that it is this one.
        sure: ``sure``, ``likely`` or ``guess``.
        values: Its values in house units, where it is a measurement.
        others: Other columns that might be it.
    """

    house: str
    column: str
    keys: dict[str, Told] = field(default_factory=dict)
    why: str = ""
    sure: str = "sure"
    values: pl.Series | None = None
    others: tuple[str, ...] = ()


@dataclass(frozen=True)
class Matched:
    """All that was recognized in a sample.

    Attributes:
        columns: House column → its match.
        cells: ``voltage_volt`` and ``temperature_celsius`` of cells and probes → their match.
        members: Pattern → the columns that fit it.
        time: How the clock is read.
        left: Column → why it is not mapped, where something can be said.
        first_cell: The number of the first cell.
    """

    columns: dict[str, Match]
    cells: dict[str, Match]
    members: dict[str, tuple[str, ...]]
    time: TimeGuess | None
    left: dict[str, str]
    first_cell: int = 1


def matched(sample: Sample) -> Matched:
    """Recognize the columns of a sample."""
    names = {column: name(column, unit=sample.units.get(column)) for column in sample.frame.columns}
    left: dict[str, str] = {}
    times: dict[str, TimeGuess] = {}
    cells, members, first = _cells(sample)
    in_cells = {column for group in members.values() for column in group}
    candidates: dict[str, list[tuple[tuple[int, ...], Match]]] = {}
    for column, said in names.items():
        series = sample.frame[column]
        if column in in_cells:
            continue
        if (texts(series) if series.dtype == pl.String else series).null_count() == len(series):
            left[column] = "no values"
            continue
        for house, score, match in _candidates(said, sample, times, left):
            candidates.setdefault(house, []).append((score, match))
    columns: dict[str, Match] = {}
    for house in ("timestamp", "battery_id", *MEASUREMENTS, "status"):
        chosen = _chosen(house, candidates.get(house, []), {match.column for match in columns.values()}, left)
        if chosen is not None:
            columns[house] = chosen
    if "timestamp" not in columns:
        columns |= _unnamed_clock(sample, names, times)
    _leave_to_cells(columns, cells, left)
    clock = times.get(columns["timestamp"].column) if "timestamp" in columns else None
    return Matched(columns, cells, members, clock, left, first)


def _candidates(
    said: Name, sample: Sample, times: dict[str, TimeGuess], left: dict[str, str]
) -> Iterator[tuple[str, tuple[int, ...], Match]]:
    """House columns that a column may be, how well its name fits, and the match."""
    digits = sum(letter.isdigit() for letter in said.text)
    for reading in said.readings:
        for rule in RULES:
            if not rule.needs <= reading or not reading <= rule.needs | rule.allows:
                continue
            if rule.house == "timestamp":
                found = _clock(said, sample, times, left)
            elif rule.house in {"battery_id", "status"}:
                found = _label(rule.house, said, sample)
            else:
                found = _quantity(rule.house, said, sample, left)
            if found is not None:
                ranked = times[said.text].rank if rule.house == "timestamp" else 0
                yield rule.house, (ranked, rule.rank, -len(said.unknown), said.unit is not None, -digits), found


def _clock(said: Name, sample: Sample, times: dict[str, TimeGuess], left: dict[str, str]) -> Match | None:
    unit = said.unit[1] if said.unit and said.unit[0] == "time" else None
    guess = time_guess(sample.frame[said.text], unit, decimal_comma=sample.decimal_comma)
    if guess is None:
        return None
    if guess.rank == 0:
        left[said.text] = guess.why
        return None
    times[said.text] = guess
    return Match("timestamp", said.text, guess.keys, guess.why)


def _quantity(house: str, said: Name, sample: Sample, left: dict[str, str]) -> Match | None:
    read = _numbers(sample.frame[said.text], sample)
    if read is None:
        left[said.text] = f"is called like {house}, but holds no numbers"
        return None
    fit = fitting_unit(house, read, said.unit[1] if said.unit else None)
    if fit is None:
        left[said.text] = f"is called like {house}, but its values ({_span(read)}) are not"
        return None
    unit = str(fit.value)
    values = pl.select(conversion(house, unit).expression(pl.lit(read))).to_series()
    is_house_unit = unit == next(iter(accepted_units(house)))
    why = f"{_span(read)}{_SAID_UNITS.get(unit, f' {unit}')}"
    if is_house_unit and fit.why:
        why += f"; {fit.why}"
    keys = {} if is_house_unit else {"unit": fit}
    if read.drop_nulls().n_unique() == 1 and sample.frame.height > _FEW_ROWS:
        return Match(house, said.text, keys, f"always {why}: a placeholder?", "guess", values)
    return Match(house, said.text, keys, why, fit.sure, values)


def _label(house: str, said: Name, sample: Sample) -> Match | None:
    series = sample.frame[said.text]
    kind = series.dtype
    if len(said.unknown) > 1 or kind.is_temporal() or kind.is_nested() or (kind.is_float() and house == "battery_id"):
        return None
    known = texts(series).drop_nulls()
    kinds = known.n_unique()
    if kinds > min(_MOST_BATTERIES if house == "battery_id" else _MOST_STATES, max(2, len(series) // 4)):
        return None
    few = ", ".join(known.unique(maintain_order=True).head(3).to_list())
    return Match(house, said.text, {}, f"{kinds} {'different values' if kinds > 1 else 'value'}: {few}", "likely")


def _chosen(
    house: str, found: list[tuple[tuple[int, ...], Match]], taken: set[str], left: dict[str, str]
) -> Match | None:
    """The best of the candidates; of optional columns none, where several are equally good."""
    free: dict[str, tuple[tuple[int, ...], Match]] = {}
    for score, match in sorted(found, key=lambda item: item[0], reverse=True):
        if match.column not in taken:
            free.setdefault(match.column, (score, match))
    if not free:
        return None
    (best, match), *rest = free.values()
    equal = [other.column for score, other in rest if score == best]
    needed = house in {"timestamp", "battery_id", "voltage_volt", "current_ampere"}
    if equal and not needed:
        for column in (match.column, *equal):
            left.setdefault(column, f"one of {len(equal) + 1} that may be {house}")
        return None
    others = tuple(other.column for _, other in rest)
    return replace(match, others=others, sure="likely" if equal else match.sure)


def _unnamed_clock(sample: Sample, names: dict[str, Name], times: dict[str, TimeGuess]) -> dict[str, Match]:
    """A column of instants whose name nobody knows."""
    for column, said in names.items():
        if said.readings and said.readings != (frozenset(),):
            continue
        guess = time_guess(sample.frame[column], None, decimal_comma=sample.decimal_comma)
        if guess is not None and guess.rank > 1:
            times[column] = guess
            return {"timestamp": Match("timestamp", column, guess.keys, guess.why, "likely")}
    return {}


def _leave_to_cells(columns: dict[str, Match], cells: dict[str, Match], left: dict[str, str]) -> None:
    """Lowest and highest follow from the cells themselves where the file has those."""
    follows = {
        "voltage_volt": ("cell_voltage_min_volt", "cell_voltage_max_volt"),
        "temperature_celsius": ("temperature_celsius", "temperature_min_celsius", "temperature_max_celsius"),
    }
    for kind, houses in follows.items():
        if kind not in cells:
            continue
        for house in houses:
            if house in columns:
                match = columns.pop(house)
                left[match.column] = f"{house} follows from {cells[kind].column}"
                if kind == "temperature_celsius":
                    cells[kind] = _with_offset(cells[kind], match)


def _with_offset(cells: Match, summary: Match) -> Match:
    """Whole degrees between the probes and the file's own lowest or highest of them are an offset of the probes."""
    if cells.values is None or summary.values is None or "offset" in cells.keys:
        return cells
    apart = quantile(cells.values - summary.values, 0.5)
    if apart is None or abs(apart) < _OFFSET_CELSIUS:
        return cells
    offset = -5 * round(apart / 5)
    why = f"the probes are {apart:.0f} above {summary.column}"
    return replace(cells, keys={**cells.keys, "offset": Told(offset, why, "likely")}, sure="likely")


def _cells(sample: Sample) -> tuple[dict[str, Match], dict[str, tuple[str, ...]], int]:
    groups: dict[str, list[tuple[int, str]]] = {}
    for column in sample.frame.columns:
        for digits in re.finditer(r"\d+", column):
            pattern = f"{column[: digits.start()]}*{column[digits.end() :]}"
            groups.setdefault(pattern, []).append((int(digits[0]), column))
    found: dict[str, Match] = {}
    members: dict[str, tuple[str, ...]] = {}
    first = 1
    for pattern, numbered in sorted(groups.items(), key=lambda item: -len(item[1])):
        numbered.sort()
        count = len(numbered)
        if count < _FEWEST_CELLS or numbered[0][0] > 1 or numbered[-1][0] - numbered[0][0] >= count * 1.2 + 1:
            continue
        said = name(pattern.replace("*", "1"), unit=sample.units.get(numbered[0][1]))
        for house, quantity in (("voltage_volt", "voltage"), ("temperature_celsius", "temperature")):
            fits = any(quantity in reading and reading <= _CELL_WORDS | {quantity} for reading in said.readings)
            if not fits or house in found:
                continue
            match = _cell_match(house, pattern, [column for _, column in numbered], said, sample)
            if match is not None:
                found[house] = match
                members[pattern] = tuple(column for _, column in numbered)
                first = min(first, numbered[0][0])
    return found, members, first


_CELL_WORDS = frozenset({"cell", "battery", "probe", "auxiliary", "plain", "id"})


def _cell_match(house: str, pattern: str, columns: list[str], said: Name, sample: Sample) -> Match | None:
    read = [values for column in columns if (values := _numbers(sample.frame[column], sample)) is not None]
    if len(read) < len(columns) / 2:
        return None
    together = pl.concat([values.alias("v") for values in read])
    sentinels = _sentinels(together)
    keys: dict[str, Told] = {}
    if sentinels:
        text = ", ".join(f"{value:g} stands {count} times" for value, count in sentinels.items())
        told = [int(value) if value.is_integer() else value for value in sentinels]
        keys["sentinels"] = Told(told, f"{text} far from all other values", "likely")
        together = together.filter(~together.is_in(list(sentinels)))
        read = [values.replace(dict.fromkeys(sentinels)) for values in read]
    unit = said.unit[1] if said.unit else None
    target = "cell_voltage_min_volt" if house == "voltage_volt" else "temperature_celsius"
    fit = fitting_unit(target, together, unit)
    if fit is None:
        return None
    change = conversion(target, str(fit.value))
    if fit.value != next(iter(accepted_units(target))):
        keys["unit"] = fit
    mean = pl.DataFrame([values.alias(str(at)) for at, values in enumerate(read)]).mean_horizontal()
    values = pl.select(change.expression(pl.lit(mean))).to_series()
    why = f"{len(columns)} columns, {_span(together)}{_SAID_UNITS.get(str(fit.value), f' {fit.value}')}"
    return Match(house, pattern, keys, why, fit.sure, values)


def _sentinels(values: pl.Series) -> dict[float, int]:
    """Values that makers write for "unknown" and that lie far from all others, and how often they stand."""
    known = values.drop_nulls()
    rest = known.filter(~known.is_in(list(_SENTINELS)))
    low, middle, high = (quantile(rest, share) for share in (0.0005, 0.5, 0.9995))
    if low is None or middle is None or high is None:
        return {}
    reach = max(high - low, abs(middle) * 0.1)
    return {
        value: int(count)
        for value in _SENTINELS
        if (count := (known == value).sum()) and not low - reach / 2 <= value <= high + reach / 2
    }


def _numbers(series: pl.Series, sample: Sample) -> pl.Series | None:
    """A column as numbers, unknown ones null; nothing where most cannot be read."""
    if not (series.dtype.is_numeric() or series.dtype == pl.String):
        return None
    read = numbers(series, decimal_comma=sample.decimal_comma)
    known = read.drop_nulls()
    if known.is_empty() or known.is_infinite().sum() > (1 - _READABLE) * len(known):
        return None
    return read.replace([float("inf"), float("-inf")], [None, None])


def _span(values: pl.Series) -> str:
    """Where the values lie, without their outermost thousandths.

    Examples:
        >>> _span(pl.Series([3.0, 3.25, 4.0]))
        '3 to 4'
    """
    low, high = (values.quantile(share, interpolation="nearest") for share in (0.001, 0.999))
    if low is None or high is None:
        return "no values"
    return f"{low:.4g}" if low == high else f"{low:.4g} to {high:.4g}"
