"""Cell-level columns: which columns of a file are the cells and the probes, and their values as lists."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial, reduce
from operator import or_
from typing import Annotated

import polars as pl
from pydantic import BeforeValidator, Field, field_validator, model_validator
from pydantic_core.core_schema import ValidationInfo

from bess_pipeline.sources.numbers import numbers
from bess_pipeline.sources.opening import RAW, UnreadableFile
from bess_pipeline.sources.strict import Strict
from bess_pipeline.tables.telemetry import CELL_LISTS
from bess_pipeline.units import Affine, conversion

#: No pack has more cells than this; a pattern that counts on is that of something else, such as dates.
MOST_CELLS = 10_000

#: What a fleet file calls the cells and the probes → the house column with their list.
HOUSE = dict(zip(("voltage_volt", "temperature_celsius"), CELL_LISTS, strict=True))

#: House column → how it follows from the lists, where no column of the file is mapped to it.
DERIVED = {
    "cell_voltage_min_volt": pl.col("cell_voltages_volt").list.min(),
    "cell_voltage_max_volt": pl.col("cell_voltages_volt").list.max(),
    "temperature_celsius": pl.col("probe_temperatures_celsius").list.mean(),
    "temperature_min_celsius": pl.col("probe_temperatures_celsius").list.min(),
    "temperature_max_celsius": pl.col("probe_temperatures_celsius").list.max(),
}


def _as_pattern(value: object) -> object:
    """``voltage_volt: "V_*"`` stands for ``voltage_volt: {from: "V_*"}``."""
    return {"from": value} if isinstance(value, str) else value


class CellPattern(Strict):
    """The columns of all cells, or of all probes: a name in which ``*`` stands for their number.

    Attributes:
        from_: The name.
        unit: Unit of the numbers in the file; the house unit when absent.
        offset: What is added to a number of the file, in the file's unit.
        sentinels: Numbers of the file, before the offset, that stand for an unknown value.
    """

    from_: str = Field(alias="from", min_length=1)
    unit: str | None = None
    offset: float = Field(default=0.0, allow_inf_nan=False)
    sentinels: tuple[float, ...] = ()

    @field_validator("from_")
    @classmethod
    def _has_one_star(cls, value: str) -> str:
        if value.count("*") != 1:
            raise ValueError(f"{value!r} must hold one '*', which stands for the number of the cell")
        return value

    def numbered(self, names: Sequence[str]) -> list[tuple[int, str]]:
        """Number and name of the columns that fit, in order of the numbers.

        Examples:
            >>> CellPattern.model_validate({"from": "V_*"}).numbered(["V_10", "V_9", "V_max", "T_1"])
            [(9, 'V_9'), (10, 'V_10')]
        """
        before, after = map(re.escape, self.from_.split("*"))
        fits = re.compile(f"{before}([0-9]{{1,9}}){after}")
        return sorted((int(found[1]), name) for name in names if (found := fits.fullmatch(name)))


_Pattern = Annotated[CellPattern | None, BeforeValidator(_as_pattern)]


class Cells(Strict):
    """Which columns hold the voltage of each cell and the temperature of each probe.

    Attributes:
        voltage_volt: Columns of the cell voltages.
        temperature_celsius: Columns of the probes.
        offset: Offset of the temperatures, where their pattern states none of its own.
        sentinels: Sentinels of each pattern that states none of its own.
        first: The number that the first cell and the first probe have in their names.
    """

    voltage_volt: _Pattern = None
    temperature_celsius: _Pattern = None
    offset: float | None = Field(default=None, allow_inf_nan=False)
    sentinels: tuple[float, ...] = ()
    first: int = Field(default=1, ge=0)

    @field_validator("voltage_volt", "temperature_celsius")
    @classmethod
    def _unit_is_known(cls, value: CellPattern | None, info: ValidationInfo) -> CellPattern | None:
        if value is not None:
            conversion(str(info.field_name), value.unit)
        return value

    @model_validator(mode="after")
    def _is_about_something(self) -> Cells:
        if self.voltage_volt is None and self.temperature_celsius is None:
            raise ValueError('name the columns: voltage_volt: "V_*", or temperature_celsius: "T_*", or both')
        if self.offset is not None and self.temperature_celsius is None:
            raise ValueError("offset stands here for the temperatures; that of voltages: {from: …, offset: …}")
        return self

    def patterns(self) -> dict[str, CellPattern]:
        """House column of the list → its pattern, with the offset and the sentinels that hold for it.

        Examples:
            >>> told = {"voltage_volt": "V_*", "temperature_celsius": "T_*", "offset": -40, "sentinels": [255]}
            >>> [(name, p.offset, p.sentinels) for name, p in Cells.model_validate(told).patterns().items()]
            [('cell_voltages_volt', 0.0, (255.0,)), ('probe_temperatures_celsius', -40.0, (255.0,))]
        """
        found = {}
        for name, house in HOUSE.items():
            own: CellPattern | None = getattr(self, name)
            if own is None:
                continue
            shared: dict[str, object] = {"sentinels": self.sentinels}
            if name == "temperature_celsius" and self.offset is not None:
                shared["offset"] = self.offset
            found[house] = own.model_copy(
                update={key: value for key, value in shared.items() if key not in own.model_fields_set}
            )
        return found


@dataclass(frozen=True)
class CellColumns:
    """The cell-level columns of one file.

    Attributes:
        lists: House column → the file's column of each place; nothing where the file has none.
        missing: Patterns that no column of the file fits.
        patterns: House column → its pattern.
        decimal_comma: Whether texts have a comma where others have a dot.
    """

    lists: dict[str, tuple[str | None, ...]]
    missing: tuple[str, ...]
    patterns: dict[str, CellPattern]
    decimal_comma: bool

    @classmethod
    def of(cls, cells: Cells | None, names: Sequence[str], *, file: str, decimal_comma: bool) -> CellColumns:
        """What a fleet file says of cells, held against the columns of one file.

        Args:
            cells: What the fleet file says; nothing is no cells.
            names: Columns of the file.
            file: What the file is called in messages.
            decimal_comma: Whether texts have a comma where others have a dot.

        Raises:
            UnreadableFile: If two columns have the same number, or a number is none that a cell can have.
        """
        lists: dict[str, tuple[str | None, ...]] = {}
        missing: list[str] = []
        patterns = {} if cells is None else cells.patterns()
        first = 1 if cells is None else cells.first
        for house, pattern in patterns.items():
            numbered = pattern.numbered(names)
            if not numbered:
                missing.append(pattern.from_)
                continue
            places: list[str | None] = [None] * max(0, min(MOST_CELLS, numbered[-1][0] - first + 1))
            for number, name in numbered:
                if not first <= number < first + MOST_CELLS:
                    raise UnreadableFile(
                        f"{file}: {name} is no cell from {first} to {first + MOST_CELLS - 1}; "
                        f"correct source.cells ({pattern.from_}, first: {first})"
                    )
                if places[number - first] is not None:
                    raise UnreadableFile(
                        f"{file}: {places[number - first]} and {name} both are number {number} of {pattern.from_}; "
                        "name each column differently"
                    )
                places[number - first] = name
            lists[house] = tuple(places)
        return cls(lists, tuple(missing), patterns, decimal_comma)

    @property
    def names(self) -> list[str]:
        """All columns of the file that are cells or probes."""
        return [name for places in self.lists.values() for name in places if name is not None]

    def values(self) -> list[pl.Expr]:
        """The house columns with the lists that the file has columns for."""
        return [self._list(house).alias(house) for house in CELL_LISTS if house in self.lists]

    def derived(self, mapped: Sequence[str]) -> list[pl.Expr]:
        """House columns that follow from the lists: those that no column of the file is mapped to.

        Args:
            mapped: House columns that are taken from the file itself.
        """
        return [
            value.alias(house)
            for house, value in DERIVED.items()
            if house not in mapped and any(name in self.lists for name in value.meta.root_names())
        ]

    def unreadable(self) -> list[pl.Expr]:
        """For each list, whether any value in it cannot be read, by rows that hold the lists."""
        lists = [pl.col(house).list for house in self.lists]
        return [(values.max().is_infinite() | values.min().is_infinite()).fill_null(value=False) for values in lists]

    def culprits(self) -> list[pl.Expr]:
        """For each column, its name where its value cannot be read, by rows that hold the lists."""
        return [
            pl.when(pl.col(house).list.get(place, null_on_oob=True).is_infinite()).then(pl.lit(name))
            for house, places in self.lists.items()
            for place, name in enumerate(places)
            if name is not None
        ]

    def _list(self, house: str) -> pl.Expr:
        pattern = self.patterns[house]
        read = partial(_known, pattern=pattern, decimal_comma=self.decimal_comma)
        unit = conversion(house, pattern.unit)
        places = [_place(name, read_by=read, unit=unit) for name in self.lists[house]]
        return pl.concat_arr(places).arr.to_list()  # in a hundredth of the time of `concat_list`


def _place(name: str | None, *, read_by: partial[pl.Series], unit: Affine) -> pl.Expr:
    if name is None:
        return pl.lit(None, dtype=pl.Float64)
    return unit.expression(pl.col(RAW + name).map_batches(read_by, return_dtype=pl.Float64, is_elementwise=True))


def _known(values: pl.Series, *, pattern: CellPattern, decimal_comma: bool) -> pl.Series:
    """Numbers with the offset, null where one stands for an unknown value, infinite where they cannot be read."""
    read = numbers(values, decimal_comma=decimal_comma)
    if pattern.sentinels:
        said = pl.Series(pattern.sentinels, dtype=pl.Float64)
        if values.dtype == pl.Float32:
            said = said.cast(pl.Float32).cast(pl.Float64)
        stands_for_none = reduce(or_, (read == sentinel for sentinel in said))
        if stands_for_none.any():
            read = read.set(stands_for_none.fill_null(value=False), None)
    return read + pattern.offset if pattern.offset else read
