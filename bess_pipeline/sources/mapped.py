"""A file seen through what the fleet file says of its columns."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TypeVar

import polars as pl

from bess_pipeline.sources.cells import CellColumns
from bess_pipeline.sources.clock import Clock
from bess_pipeline.sources.numbers import numbers, texts
from bess_pipeline.sources.opening import RAW, RawFile, UnreadableFile, printable
from bess_pipeline.sources.source import (
    MOST_POWER,
    BatteryColumn,
    QuantityColumn,
    SignedColumn,
    Source,
    TextColumn,
    TimeColumn,
)
from bess_pipeline.units import conversion

_Column = TypeVar("_Column", bound=TextColumn)

#: What SunSpec's models write for a scale factor that is not there.
_NO_POWER = -32768
#: A file of tags that holds fewer of those that are mapped is a part of what was measured.
_FEWEST_TAGS = 2


class Mapped:
    """A file seen through what the fleet file says of its columns.

    Args:
        raw: The file.
        source: How it is read.
        path: Where it lies, with forward slashes: its name may tell the battery.

    Attributes:
        unmapped: Columns of the file that nobody reads.
        missing: Columns that the fleet file maps and the file does not have.

    Raises:
        UnreadableFile: If a column that is needed is not there, or holds what it cannot.
    """

    def __init__(self, raw: RawFile, source: Source, path: str) -> None:
        self.raw = raw
        self._source = source
        name = printable(path.rsplit("/", maxsplit=1)[-1])
        wanted = {column for spec in source.mapping.values() for column in _names_of(spec)}
        has = {column for column in wanted if raw.has(column)}
        self.quantities: dict[str, QuantityColumn] = {}
        self.status: str | None = None
        for house, spec in source.mapping.items():
            if isinstance(spec, BatteryColumn):
                continue
            there = _in_file(spec, has)
            if isinstance(there, QuantityColumn):
                self.quantities[house] = there
            elif there is not None and not isinstance(there, TimeColumn):
                self.status = there.from_
        time, battery = source.mapping["timestamp"], source.mapping["battery_id"]
        assert isinstance(time, TimeColumn)  # noqa: S101 - so made by `Source.mapping`
        assert isinstance(battery, BatteryColumn)  # noqa: S101 - so made by `Source.mapping`
        there = next((found for way in time.ways if (found := _in_file(way, has))), None)
        if there is None:
            lacking = " or ".join(_lacking(way, has) for way in time.ways)
            raise UnreadableFile(_lacks(name, lacking, "timestamp", raw.names))
        try:
            self.battery = battery.named_by(path)
        except ValueError as error:
            raise UnreadableFile(f"{name}: {error}") from None
        if absent := [column for column in self.battery.from_ or () if column not in has]:
            raise UnreadableFile(_lacks(name, ", ".join(absent), "battery_id", raw.names))
        self.time = there
        self._clock = Clock(self.time, source.timezone, source.decimal_comma)
        self.cells = CellColumns.of(source.cells, raw.names, file=name, decimal_comma=source.decimal_comma)
        if not self._is_enough():
            raise UnreadableFile(
                _lacks(name, _needed(source, has), "voltage_volt with current_ampere, or power_watt", raw.names)
            )
        self._check_types(name)
        self.unmapped = tuple(column for column in raw.names if column not in wanted | set(self.cells.names))
        self.missing = tuple(sorted(self._absent(has).union(self.cells.missing)))

    @property
    def keys(self) -> list[str]:
        """Columns of the file that tell when and which battery."""
        return [self.time.from_, *self.time.beside, *(self.battery.from_ or ())]

    @property
    def columns(self) -> list[str]:
        """Columns of the file that are read."""
        quantities = [column for spec in self.quantities.values() for column in (spec.from_, *spec.beside)]
        return [*self.keys, *quantities, *([] if self.status is None else [self.status]), *self.cells.names]

    def plan(self, columns: Sequence[str]) -> pl.LazyFrame:
        """Rows with columns of the file, ``battery_id``, and ``early`` and ``late``, what their time may mean."""
        battery = self.battery
        named = (
            pl.lit(battery.value)
            if battery.value is not None
            else pl.concat_str([_text(column) for column in battery.from_ or ()], separator="/")
        )
        return (
            self.raw.frame(list(dict.fromkeys(columns)))
            .with_columns(instants=self._clock.of_rows(), battery_id=named)
            .with_columns(pl.col("instants").struct.field("early"), pl.col("instants").struct.field("late"))
            .drop("instants")
        )

    def value(self, house: str) -> pl.Expr:
        """A measurement in the house's unit and sign; infinite where it cannot be read."""
        spec = self.quantities[house]
        read = self._number(spec.from_)
        if spec.sentinels:
            read = pl.when(~read.is_in(list(spec.sentinels)).fill_null(value=False)).then(read)
        if isinstance(spec.scale_factor, int):
            read = _scaled(read, pl.lit(spec.scale_factor))
        elif spec.scale_factor is not None:
            read = _scaled(read, self._number(spec.scale_factor))
        value = conversion(house, spec.unit).expression(read)
        if not isinstance(spec, SignedColumn):
            return value
        if spec.discharge is not None:
            out = _text(spec.discharge.from_).is_in(list(spec.discharge.values))
            return pl.when(out.fill_null(value=False)).then(0.0 - value.abs()).otherwise(value)
        return 0.0 - value if spec.positive == "discharge" else value

    def state(self) -> pl.Expr:
        """The state of the battery in the maker's words."""
        return pl.lit(None, dtype=pl.String) if self.status is None else _text(self.status)

    def _number(self, column: str) -> pl.Expr:
        read = partial(numbers, decimal_comma=self._source.decimal_comma, thousands=self._source.thousands)
        return pl.col(RAW + column).map_batches(read, return_dtype=pl.Float64, is_elementwise=True)

    def _is_enough(self) -> bool:
        """Whether a battery can be followed by what is there; tags that did not change for long may have no line."""
        if "power_watt" in self.quantities or {"voltage_volt", "current_ampere"} <= self.quantities.keys():
            return True
        if self._source.layout != "long":
            return False
        return len(self.quantities) >= _FEWEST_TAGS or set(self.raw.names) <= set(self.keys)

    def _absent(self, has: set[str]) -> set[str]:
        """Columns that are mapped and not there; of several names the first, none where the map is built in."""
        if self._source.columns.under_house_names or self._source.preset is not None:
            return set()
        mapped = self._source.mapping.values()
        specs = [spec for spec in mapped if isinstance(spec, TextColumn) and not isinstance(spec, TimeColumn)]
        alternatives = {spec.from_ for spec in specs if not has.intersection(spec.names)}
        return alternatives | {column for spec in specs for column in spec.beside if column not in has}

    def _check_types(self, name: str) -> None:
        schema = self.raw.schema
        kind = schema.get(self.time.from_, pl.String())
        if kind.is_numeric() and self.time.unit is None:
            raise UnreadableFile(
                f"{name}: {self.time.from_} holds numbers; say what they count in source.columns.timestamp.unit"
            )
        for column in (*(spec.from_ for spec in self.quantities.values()), *self.cells.names):
            kind = schema.get(column, pl.String())
            if not (kind.is_numeric() or kind in (pl.String, pl.Null, pl.Categorical)):
                raise UnreadableFile(f"{name}: {column} holds {kind}, not numbers; correct source.columns")


def _in_file(spec: _Column, has: set[str]) -> _Column | None:
    """A column under the name that the file has for it; nothing where it, or one that it needs, is not there."""
    name = next((name for name in spec.names if name in has), None)
    if name is None or not has.issuperset(spec.beside):
        return None
    return spec if name == spec.from_ else spec.model_copy(update={"from_": name})


def _scaled(value: pl.Expr, power: pl.Expr) -> pl.Expr:
    """A number times a power of ten; divided where the power is negative, so that 532 and −1 become 53.2.

    Nothing where the power says that it is not there; infinite, so unreadable, where it is none.
    """
    size = pl.lit(10.0).pow(power.abs())
    is_power = (power.abs() <= MOST_POWER) & (power == power.round())
    scaled = pl.when(power < 0).then(value / size).otherwise(value * size)
    odd = pl.when(value.is_not_null() & (power != _NO_POWER)).then(pl.lit(float("inf")))
    return pl.when(is_power).then(scaled).otherwise(odd)


def _names_of(spec: TextColumn | BatteryColumn) -> tuple[str, ...]:
    if isinstance(spec, BatteryColumn):
        return spec.from_ or ()
    ways = spec.ways if isinstance(spec, TimeColumn) else (spec,)
    return tuple(name for way in ways for name in (*way.names, *way.beside))


def _lacking(spec: TextColumn, has: set[str]) -> str:
    """The columns that would have to be there for one to be read."""
    lacking = [] if has.intersection(spec.names) else [" or ".join(spec.names)]
    return ", ".join([*lacking, *(column for column in spec.beside if column not in has)])


def _text(column: str) -> pl.Expr:
    return pl.col(RAW + column).map_batches(texts, return_dtype=pl.String, is_elementwise=True)


def _needed(source: Source, has: set[str]) -> str:
    needed = [source.mapping.get(house) for house in ("voltage_volt", "current_ampere", "power_watt")]
    lacking = (_lacking(spec, has) for spec in needed if isinstance(spec, QuantityColumn))
    return ", ".join(one for one in lacking if one)


def _lacks(name: str, columns: str, house: str, names: Sequence[str]) -> str:
    held = ", ".join(printable(one, longest=60) for one in names[:30]) + (", …" if len(names) > 30 else "")
    return (
        f"{name}: lacks {columns}, needed for {house}; it has {held or 'no columns'}; "
        "correct source.columns (or source.separator) in the fleet file, or deliver the file again"
    )
