"""CSV: delimited text, a row to a line."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import polars as pl

from bess_pipeline.sources.opening import RAW, Lines, UnreadableFile, printable

_BYTE_ORDER_MARK = "\ufeff"

#: The separator of columns that any number of blanks and tabs sets apart.
BLANKS = "blanks"

#: Fields beyond the header that are told apart in the quarantine.
_MOST_EXTRA = 100


@dataclass(frozen=True)
class Preamble:
    """What stands before the rows of a file, and between them.

    Attributes:
        skip_lines: Lines before the one with the names of the columns.
        header: What that line begins with; the first that does so counts.
        comment: What lines begin with that are no rows.
        skip_after_header: Lines between the one with the names and the first row, such as one with units.
    """

    skip_lines: int = 0
    header: str | None = None
    comment: str | None = None
    skip_after_header: int = 0

    def title(self, lines: Sequence[str]) -> tuple[int, str] | None:
        """Number and text of the line with the names of the columns."""
        for at, line in enumerate(lines):
            text = line.strip(_BYTE_ORDER_MARK).strip()
            begins = text.startswith(self.header) if self.header is not None else not self._is_comment(text)
            if at >= self.skip_lines and text and begins:
                return at, line
        return None

    def _is_comment(self, line: str) -> bool:
        return self.comment is not None and line.startswith(self.comment)


class CsvFile:
    """One CSV file. Quoted fields may hold the separator, but no line break: a row is a line.

    A row has to have as many fields as the header; where the header ends with a
    separator, so may its rows. Blank lines are no rows, but count in the numbers of
    the rows after them.

    Args:
        lines: The lines of the file.
        separator: What stands between fields; `BLANKS` for any number of blanks and tabs.
        name: What the file is called in messages.
        preamble: What stands before the rows, and between them.
        quote: What stands around fields that may hold the separator.

    Raises:
        UnreadableFile: If the file has no header, or columns of the same name.
    """

    def __init__(
        self, lines: Lines, separator: str, name: str, preamble: Preamble = Preamble(), quote: str = '"'
    ) -> None:
        self._lines = lines
        self._is_aligned = separator == BLANKS
        self._separator = "\t" if self._is_aligned else separator
        self._quote = quote
        self._comment = preamble.comment
        titled = preamble.title(lines.first)
        if titled is None and preamble.header is not None:
            raise UnreadableFile(
                f"{name}: none of its first {len(lines.first)} lines begins with {preamble.header!r}; correct "
                "source.header in the fleet file, or deliver the file again"
            )
        if titled is None:
            raise UnreadableFile(f"{name}: is empty; deliver it with a header and rows")
        at, title = titled
        self._header = at + preamble.skip_after_header
        title = title.removeprefix(_BYTE_ORDER_MARK)
        fields = self._fields("\t".join(title.split()) if self._is_aligned else title) or []
        self.names = [field.strip() for field in fields]
        self._ends_open = len(self.names) > 1 and not self.names[-1]
        if self._ends_open:
            self.names.pop()
        twice = sorted(field for field, times in Counter(self.names).items() if times > 1 and field)
        if twice:
            raise UnreadableFile(
                f"{name}: has several columns named {printable(', '.join(twice))}; name each column differently"
            )
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
        beyond = pl.col(places[width]).is_not_null()
        if self._ends_open:
            beyond &= pl.col(places[width]) != ""
        split = pl.col("line").map_batches(self._split, return_dtype=fields, is_elementwise=True)
        return (
            self._rows()
            .select(row_number=pl.col("number") - self._header - 1, fields=split)
            .unnest("fields")
            .select(
                "row_number",
                *(pl.col(places[self.names.index(column)]).alias(RAW + column) for column in columns),
                is_ragged=pl.col(places[width - 1]).is_null() | beyond,
            )
        )

    @cached_property
    def _is_tidy(self) -> bool:
        """Whether every line has the same number of separators and none has quotes, as almost all files do."""
        line = pl.col("line")
        odd = (line.str.count_matches(self._separator, literal=True) != len(self.names) - 1) | line.str.contains(
            self._quote, literal=True
        )
        below = self._lines.scan().filter(pl.col("number") > self._header)
        return (
            self._comment is None
            and not self._is_aligned
            and len(self.names) > 1
            and not below.select(odd.any()).collect(engine="streaming").item()
        )

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
        rows = self._lines.scan().filter(pl.col("number") > self._header, pl.col("line").str.strip_chars() != "")
        if self._comment is not None:
            rows = rows.filter(~pl.col("line").str.strip_chars_start().str.starts_with(self._comment))
        return rows.with_columns(_tabbed()) if self._is_aligned else rows

    @property
    def size_bytes(self) -> int:
        """How many bytes its text has."""
        return self._lines.size_bytes

    @property
    def version(self) -> tuple[str, int, int]:
        """Path, size and modification time [ns] of the file as it was opened."""
        return self._lines.version

    def verify(self) -> None:
        """Nothing is left to do: text that cannot be decoded shows when its lines are counted."""

    def originals(self, row_numbers: pl.Series) -> pl.DataFrame:
        """The rows as they came, as JSON; fields beyond the header are named ``+1``, ``+2`` and so on."""
        lines = self._lines.of(row_numbers + self._header + 1)
        if self._is_aligned:
            lines = lines.with_columns(_tabbed())
        separators = lines["line"].str.count_matches(self._separator, literal=True)
        plain = ~lines["line"].str.contains(self._quote, literal=True) & (separators < len(self.names) + _MOST_EXTRA)
        told = [
            self._told(some, int(width) + 1)
            for (width,), some in lines.filter(plain)
            .with_columns(separators=separators.filter(plain))
            .partition_by(["separators"], as_dict=True, maintain_order=True)
            .items()
        ]
        told.append(self._told_by_hand(lines.filter(~plain)))
        return (
            pl.concat(told)
            .sort("number")
            .select(row_number=pl.col("number") - self._header - 1, original="original", fields="fields")
        )

    def _told(self, lines: pl.DataFrame, width: int) -> pl.DataFrame:
        """Lines without quotes that all have the same number of fields."""
        place_of = {name: place for place, name in enumerate(self._names(width))}
        fields = lines["line"].str.split_exact(self._separator, width - 1).struct.unnest()
        named = fields.select(fields.to_series(place).alias(name) for name, place in place_of.items())
        return lines.select(
            "number",
            original=named.to_struct().struct.json_encode(),
            fields=pl.lit(width, dtype=pl.Int64),
        )

    def _told_by_hand(self, lines: pl.DataFrame) -> pl.DataFrame:
        """Any lines; of one that is far too long the fields beyond the most that are told apart stay together."""
        rows = []
        for number, line in lines.select("number", "line").iter_rows():
            fields = self._fields(line) or line.split(self._separator)
            most = len(self.names) + _MOST_EXTRA
            shown = fields if len(fields) <= most else [*fields[: most - 1], self._separator.join(fields[most - 1 :])]
            said = dict(zip(self._names(len(shown)), shown, strict=True))
            rows.append((number, json.dumps(said, ensure_ascii=False, separators=(",", ":")), len(fields)))
        return pl.DataFrame(rows, schema={"number": pl.Int64, "original": pl.String, "fields": pl.Int64}, orient="row")

    def _names(self, width: int) -> list[str]:
        """What the fields of a row are called that has so many."""
        return [*self.names, *(f"+{place + 1}" for place in range(width - len(self.names)))][:width]

    def _split(self, lines: pl.Series) -> pl.Series:
        """Lines cut into one field more than the header has: the last is there only in rows that are too long."""
        width = len(self.names)
        cut = lines.str.split_exact(self._separator, width).struct.unnest()
        cut.columns = [str(place) for place in range(width + 1)]
        quoted = lines.str.contains(self._quote, literal=True)
        if quoted.any():
            rows = []
            for line in lines.filter(quoted):
                fields = self._fields(line)
                if fields is None:
                    rows.append([*[*line.split(self._separator), *["?"] * width][:width], "?"])
                else:
                    rows.append([*fields, *[None] * width][: width + 1])
            table = pl.DataFrame(rows, schema=dict.fromkeys(cut.columns, pl.String), orient="row")
            at = quoted.arg_true()
            cut = cut.with_columns(cut[column].scatter(at, table[column]) for column in cut.columns)
        return cut.to_struct(lines.name)

    def _fields(self, line: str) -> list[str] | None:
        """The fields of a line, or nothing where its quotes do not match."""
        try:
            return next(csv.reader([line], delimiter=self._separator, quotechar=self._quote, strict=True), [])
        except csv.Error:
            return None


def _tabbed() -> pl.Expr:
    """Lines with one tab in the place of all that sets two columns apart."""
    return pl.col("line").str.strip_chars().str.replace_all(r"\s+", "\t")
