"""CSV: delimited text, a row to a line."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from functools import cached_property

import polars as pl

from bess_pipeline.sources.opening import RAW, Lines, UnreadableFile

_BYTE_ORDER_MARK = "\ufeff"


class CsvFile:
    """One CSV file. Quoted fields may hold the separator, but no line break: a row is a line.

    A row has to have as many fields as the header; blank lines are no rows, but count
    in the numbers of the rows after them.

    Args:
        lines: The lines of the file.
        separator: What stands between fields.
        name: What the file is called in messages.

    Raises:
        UnreadableFile: If the file has no header, or columns of the same name.
    """

    def __init__(self, lines: Lines, separator: str, name: str) -> None:
        self._lines = lines
        self._separator = separator
        titled = next(((at, line) for at, line in enumerate(lines.first) if line.strip(_BYTE_ORDER_MARK).strip()), None)
        if titled is None:
            raise UnreadableFile(f"{name}: is empty; deliver it with a header and rows")
        self._header, title = titled
        fields = _fields(title.removeprefix(_BYTE_ORDER_MARK), separator) or []
        self.names = [field.strip() for field in fields]
        twice = sorted({field for field in self.names if self.names.count(field) > 1 and field})
        if twice:
            raise UnreadableFile(f"{name}: has several columns named {', '.join(twice)}; name each column differently")
        self.schema: dict[str, pl.DataType] = dict.fromkeys(self.names, pl.String())

    def has(self, name: str) -> bool:
        """Whether the header names a column."""
        return name in self.names

    def frame(self, columns: Sequence[str]) -> pl.LazyFrame:
        """``row_number``, ``is_ragged``, and columns of the file as texts."""
        if self._is_tidy:
            return self._parsed(columns)
        width = len(self.names)
        places = [str(place) for place in range(width + 1)]
        fields = pl.Struct(dict.fromkeys(places, pl.String()))
        split = pl.col("line").map_batches(self._split, return_dtype=fields, is_elementwise=True)
        return (
            self._rows()
            .select(row_number=pl.col("number") - self._header - 1, fields=split)
            .unnest("fields")
            .select(
                "row_number",
                *(pl.col(places[self.names.index(column)]).alias(RAW + column) for column in columns),
                is_ragged=pl.col(places[width - 1]).is_null() | pl.col(places[width]).is_not_null(),
            )
        )

    @cached_property
    def _is_tidy(self) -> bool:
        """Whether every line has the same number of separators and none has quotes, as almost all files do."""
        line = pl.col("line")
        odd = (line.str.count_matches(self._separator, literal=True) != len(self.names) - 1) | line.str.contains(
            '"', literal=True
        )
        below = self._lines.scan().filter(pl.col("number") > self._header)
        return len(self.names) > 1 and not below.select(odd.any()).collect(engine="streaming").item()

    def _parsed(self, columns: Sequence[str]) -> pl.LazyFrame:
        """A tidy file as Polars cuts it, which is faster than cutting its lines here."""
        places = [str(place) for place in range(len(self.names))]
        return pl.scan_csv(
            self._lines.source,
            separator=self._separator,
            schema=dict.fromkeys(places, pl.String()),
            has_header=False,
            skip_lines=self._header + 1,
            quote_char=None,
            empty_string_is_null=False,
            row_index_name="row_number",
            raise_if_empty=False,
            glob=False,
        ).select(
            pl.col("row_number").cast(pl.Int64),
            *(pl.col(places[self.names.index(column)]).alias(RAW + column) for column in columns),
            is_ragged=pl.lit(value=False),
        )

    def _rows(self) -> pl.LazyFrame:
        return self._lines.scan().filter(pl.col("number") > self._header, pl.col("line").str.strip_chars() != "")

    def originals(self, row_numbers: pl.Series) -> pl.DataFrame:
        """The rows as they came, as JSON; fields beyond the header are named ``+1``, ``+2`` and so on."""
        rows = []
        for number, line in self._lines.of(row_numbers + self._header + 1).iter_rows():
            fields = _fields(line, self._separator) or line.split(self._separator)
            names = [*self.names, *(f"+{place + 1}" for place in range(len(fields) - len(self.names)))]
            original = json.dumps(dict(zip(names, fields, strict=False)), ensure_ascii=False)
            rows.append((number - self._header - 1, original, len(fields)))
        return pl.DataFrame(
            rows, schema={"row_number": pl.Int64, "original": pl.String, "fields": pl.Int64}, orient="row"
        )

    def _split(self, lines: pl.Series) -> pl.Series:
        """Lines cut into one field more than the header has: the last is there only in rows that are too long."""
        width = len(self.names)
        cut = lines.str.split_exact(self._separator, width).struct.unnest()
        cut.columns = [str(place) for place in range(width + 1)]
        quoted = lines.str.contains('"', literal=True)
        if quoted.any():
            rows = []
            for line in lines.filter(quoted):
                fields = _fields(line, self._separator)
                if fields is None:
                    rows.append([*line.split(self._separator), *[""] * width][: width + 1])
                else:
                    rows.append([*fields, *[None] * width][: width + 1])
            table = pl.DataFrame(rows, schema=dict.fromkeys(cut.columns, pl.String), orient="row")
            at = quoted.arg_true()
            cut = cut.with_columns(cut[column].scatter(at, table[column]) for column in cut.columns)
        return cut.to_struct(lines.name)


def _fields(line: str, separator: str) -> list[str] | None:
    """The fields of a line, or nothing where its quotes do not match.

    Examples:
        >>> _fields('1;"2;5";x', ";")
        ['1', '2;5', 'x']
    """
    try:
        return next(csv.reader([line], delimiter=separator, strict=True), [])
    except csv.Error:
        return None
