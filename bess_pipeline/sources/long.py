"""Long layout: a line per measurement, as historians write them, seen as a row per battery and instant."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cached_property, partial

import polars as pl

from bess_pipeline.sources.clock import Clock
from bess_pipeline.sources.opening import RAW, RawFile, UnreadableFile
from bess_pipeline.sources.source import BatteryColumn, Source, TextColumn, TimeColumn

#: The column that a pattern of tags makes.
_BATTERY = "battery_id"
_CHANNEL = "channel"


class LongFile:
    """A file of lines that name a measurement and give its value.

    Lines of one battery and one time, as texts, are one row, whose number is that of
    its first line. Nothing is filled from other times: a row holds what its lines say.
    A tag that comes again for the same battery and time opens another row, which holds
    what the lines before it said of that instant, too: what is resent is a duplicate,
    what is corrected wins with the rest of its instant. Times that local clocks show
    twice are not taken for one instant. Lines without a time or a battery are rows of
    their own, and so are lines that are ragged. Lines of tags that are not mapped
    belong to no row, like columns that are not mapped.

    Args:
        lines: The file, a line to a row.
        source: How it is read.
        name: What the file is called in messages.

    Raises:
        UnreadableFile: If a column is not there.
    """

    def __init__(self, lines: RawFile, source: Source, name: str) -> None:
        self._lines = lines
        self._tag, self._value = source.tag or "", source.value or ""
        self._pattern = source.tag_pattern
        time, battery = source.mapping["timestamp"], source.mapping["battery_id"]
        assert isinstance(time, TimeColumn)  # noqa: S101 - so made by `Source.mapping`
        assert isinstance(battery, BatteryColumn)  # noqa: S101 - so made by `Source.mapping`
        told = [way.model_copy(update={"from_": one}) for way in time.ways for one in way.names]
        there = next((way for way in told if all(map(lines.has, (way.from_, *way.beside)))), told[0])
        self._clock = Clock(there, source.timezone, source.decimal_comma)
        self._keys = [
            there.from_,
            *there.beside,
            *(one for one in battery.from_ or () if one != _BATTERY or not self._pattern),
        ]
        absent = [one for one in (*self._keys, self._tag, self._value) if not lines.has(one)]
        if absent:
            raise UnreadableFile(
                f"{name}: lacks {', '.join(absent)}, needed for layout: long; it has {', '.join(lines.names[:30])}"
            )
        self._wanted = {
            column
            for spec in source.mapping.values()
            if isinstance(spec, TextColumn) and not isinstance(spec, TimeColumn)
            for column in (*spec.names, *spec.beside)
        } - set(self._keys)

    @property
    def schema(self) -> dict[str, pl.DataType]:
        """The types of the columns that tell time and battery; values are of any."""
        return {name: self._lines.schema.get(name, pl.String()) for name in self._keys}

    @cached_property
    def names(self) -> list[str]:
        """The columns that tell time and battery, and the tags of the file."""
        tags = (
            self._tagged(self._lines.frame([self._tag])).select(pl.col(_CHANNEL).unique()).collect(engine="streaming")
        )
        own = [_BATTERY] if self._pattern else []
        return [*self._keys, *own, *tags[_CHANNEL].drop_nulls().sort().to_list()]

    def has(self, name: str) -> bool:
        """Whether a column, or a tag, is there."""
        return name in self.names

    @property
    def size_bytes(self) -> int:
        """About how many bytes it holds, decompressed."""
        return self._lines.size_bytes

    @property
    def version(self) -> tuple[str, int, int]:
        """Path, size and modification time [ns] of the file as it was opened."""
        return self._lines.version

    def verify(self) -> None:
        """Decode every value, so that a file that is counted can also be read."""
        self._lines.verify()

    def frame(self, columns: Sequence[str]) -> pl.LazyFrame:
        """``row_number``, ``is_ragged``, and columns: those of time and battery as they are, tags with their values."""
        keys = [RAW + key for key in self._keys] + ([RAW + _BATTERY] if self._pattern else [])
        said = self._tagged(self._lines.frame([*self._keys, self._tag, self._value]))
        known = pl.all_horizontal(pl.col(key).is_not_null() for key in keys) & ~pl.col("is_ragged")
        alone = pl.when(~known).then("row_number")
        lines = said.filter(pl.col(_CHANNEL).is_in(sorted(self._wanted)) | ~known).sort("row_number")
        row = [*keys, "alone", "again"]
        values = [column for column in columns if RAW + column not in keys]
        return (
            lines.with_columns(alone=alone)
            .with_columns(again=pl.int_range(pl.len()).over([*keys, "alone", _CHANNEL]))
            .group_by(row, maintain_order=True)
            .agg(
                pl.col("row_number").min(),
                pl.col("is_ragged").any(),
                *(
                    pl.col(RAW + self._value).filter(pl.col(_CHANNEL) == column).first().alias(RAW + column)
                    for column in values
                ),
            )
            .sort("row_number")
            .map_batches(partial(self._with_what_was_said, keys=[*keys, "alone"]), streamable=False)
            .select("row_number", *(RAW + column for column in columns), "is_ragged")
        )

    def _with_what_was_said(self, rows: pl.DataFrame, keys: list[str]) -> pl.DataFrame:
        """Rows with the values that lines before them gave for the same battery and instant."""
        if not (rows["again"] > 0).any():
            return rows
        values = [name for name in rows.columns if name not in {*keys, "row_number", "again", "is_ragged"}]
        instants = rows.select(self._clock.of_rows()).to_series().struct
        is_once = pl.lit(instants["early"] == instants["late"])
        return rows.with_columns(
            pl.when(is_once).then(pl.col(name).forward_fill().over(keys)).otherwise(pl.col(name)).alias(name)
            for name in values
        )

    def originals(self, row_numbers: pl.Series) -> pl.DataFrame:
        """The rows as they came: time and battery, and each tag with its value."""
        own = [_BATTERY] if self._pattern else []
        said = self.frame([*self._keys, *own, *sorted(self._wanted.intersection(self.names))])
        found = said.filter(pl.col("row_number").is_in(row_numbers.implode())).drop("is_ragged")
        rows = []
        for row in found.collect(engine="streaming").iter_rows(named=True):
            number = row.pop("row_number")
            told = {name.removeprefix(RAW): value for name, value in row.items() if value is not None}
            rows.append((number, json.dumps(told, default=str, ensure_ascii=False), None))
        return pl.DataFrame(
            rows, schema={"row_number": pl.Int64, "original": pl.String, "fields": pl.Int64}, orient="row"
        )

    def _tagged(self, lines: pl.LazyFrame) -> pl.LazyFrame:
        """Lines with the channel that they are about, and their battery where the tag says it."""
        tag = pl.col(RAW + self._tag).cast(pl.String).str.strip_chars()
        if self._pattern is None:
            return lines.with_columns(tag.alias(_CHANNEL))
        parts = tag.str.extract_groups(self._pattern)
        return lines.with_columns(
            parts.struct.field(_CHANNEL).alias(_CHANNEL), parts.struct.field(_BATTERY).alias(RAW + _BATTERY)
        )
