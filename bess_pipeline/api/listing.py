"""Rows of a table of the warehouse, page by page, as JSON, CSV or Arrow."""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Annotated

import dataframely as dy
import polars as pl
from fastapi import Depends, HTTPException, Query
from pydantic import BeforeValidator
from pydantic_core import to_json

from bess_pipeline.lake.reading import Seen
from bess_pipeline.lake.warehouse import sql_type
from bess_pipeline.tables.catalog import Table

#: Most rows of a page.
LONGEST_PAGE = 10_000

JSON, CSV, ARROW = "application/json", "text/csv", "application/vnd.apache.arrow.stream"
FORMS = (JSON, CSV, ARROW)
_ISO_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_QUALITY = re.compile(r"[01](\.\d{0,3})?")

#: What stands for nothing where rows are ordered, so that it comes first.
_LEAST: dict[type[dy.Column], str] = {
    dy.String: "''",
    dy.Int64: "-9223372036854775808",
    dy.Float64: "'-infinity'::DOUBLE",
    dy.Date: "DATE '0001-01-01'",
    dy.Datetime: "TIMESTAMPTZ '0001-01-01 00:00:00+00'",
}
_MARK = "cursor_"


def _as_iso(said: object) -> object:
    """A day as it has to be written: a number alone would be taken for seconds since 1970."""
    if isinstance(said, str) and not _ISO_DAY.fullmatch(said):
        raise ValueError("is no day: write it as 2026-03-31")
    return said


Day = Annotated[date, BeforeValidator(_as_iso)]


@dataclass(frozen=True)
class PageQuery:
    """Which page."""

    limit: Annotated[int, Query(ge=1, le=LONGEST_PAGE, description="Most rows of the page.")] = 100
    cursor: Annotated[str | None, Query(max_length=2000, description="`next_cursor` of the page before.")] = None


@dataclass(frozen=True)
class DaysQuery(PageQuery):
    """Which days, and which page of them."""

    since: Annotated[Day | None, Query(alias="from", description="First UTC day.")] = None
    until: Annotated[Day | None, Query(alias="to", description="Last UTC day.")] = None


Page = Annotated[PageQuery, Depends()]
Days = Annotated[DaysQuery, Depends()]


@dataclass(frozen=True)
class Listing:
    """What is listed.

    Attributes:
        source: Table or view of the warehouse.
        columns: Its columns.
        order: Columns by which rows are ordered, and by which they are told apart.
        time: Column with the day or the instant that days bound, if there is one.
        newest_first: Whether rows come in the opposite order.
    """

    source: str
    columns: Mapping[str, dy.Column]
    order: tuple[str, ...]
    time: str | None = None
    newest_first: bool = False

    @classmethod
    def of(cls, table: Table, time: str | None = None) -> Listing:
        """The rows of a table, in its order."""
        order = dict.fromkeys(("fleet_id", *table.sort, *table.contract.primary_key()))
        return cls(table.name, table.columns, tuple(order), time)

    def page(
        self,
        publication: Seen,
        query: PageQuery,
        where: Mapping[str, object | None],
        also: Sequence[str] = (),
    ) -> tuple[pl.DataFrame, str | None]:
        """One page, and the cursor of the next.

        Args:
            publication: What is read.
            query: Which page, and of which days.
            where: Column → what it has to be; null where it may be anything.
            also: What else has to hold, in the words of the warehouse.

        Raises:
            HTTPException: 422 if the cursor is none of this listing.
        """
        conditions = [*also, *(f"{_name(name)} = ${name}" for name, value in where.items() if value is not None)]
        values = {name: value for name, value in where.items() if value is not None}
        if isinstance(query, DaysQuery) and self.time is not None:
            if query.since is not None:
                conditions.append(f'"{self.time}" >= $since_')
                values["since_"] = query.since
            if query.until is not None:
                conditions.append(f'"{self.time}" < $until_')
                values["until_"] = _day_after(query.until)
        if query.cursor is not None:
            conditions.append(self._is_after())
            values |= {f"{_MARK}{place}": value for place, value in enumerate(self._told(publication, query.cursor))}
        marks = [f"{self._ordered(name)}::VARCHAR AS {_MARK}{place}" for place, name in enumerate(self.order)]
        way = "DESC" if self.newest_first else "ASC"
        sql = (
            f"SELECT {', '.join([*map(_name, self.columns), *marks])} FROM {self.source} "  # noqa: S608 - of the catalog
            f"WHERE {' AND '.join(conditions) or 'true'} "
            f"ORDER BY {', '.join(f'{self._ordered(name)} {way}' for name in self.order)} LIMIT {query.limit + 1}"
        )
        rows = publication.ask(sql, values)
        shown = rows.head(query.limit)
        marked, shown = shown.select(pl.selectors.starts_with(_MARK)), shown.select(*self.columns)
        if rows.height <= query.limit:
            return shown, None
        return shown, base64.urlsafe_b64encode(json.dumps(marked.row(-1)).encode()).decode().rstrip("=")

    def _ordered(self, name: str) -> str:
        column = self.columns[name]
        return f"coalesce({_name(name)}, {_LEAST[type(column)]})" if column.nullable else _name(name)

    def _is_after(self) -> str:
        """Rows behind the one of the cursor: the first columns alike, the next beyond it."""
        ways, beyond = [], "<" if self.newest_first else ">"
        for place, name in enumerate(self.order):
            alike = [f"{self._ordered(before)} = {self._told_of(at)}" for at, before in enumerate(self.order[:place])]
            ways.append(" AND ".join([*alike, f"{self._ordered(name)} {beyond} {self._told_of(place)}"]))
        return f"({' OR '.join(f'({way})' for way in ways)})"

    def _told_of(self, place: int) -> str:
        return f"TRY_CAST(${_MARK}{place} AS {sql_type(self.columns[self.order[place]])})"

    def _told(self, publication: Seen, cursor: str) -> list[str]:
        try:
            told = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        except (ValueError, RecursionError):  # of the base, of the text, of the JSON
            told = None
        if not isinstance(told, list) or len(told) != len(self.order) or not all(_is_text(one) for one in told):
            raise HTTPException(422, _NO_CURSOR)
        values = {f"{_MARK}{place}": value for place, value in enumerate(told)}
        unreadable = " OR ".join(f"{self._told_of(place)} IS NULL" for place in range(len(told)))
        if publication.ask(f"SELECT {unreadable}", values).item():
            raise HTTPException(422, _NO_CURSOR)
        return told


_NO_CURSOR = "cursor: is not one that this listing gave; begin without it"


def _is_text(value: object) -> bool:
    """Whether a value is text that can be written down: JSON may hold halves of characters."""
    return isinstance(value, str) and not any("\ud800" <= one <= "\udfff" for one in value)


def one_of(words: Iterable[str]) -> str:
    """The pattern of a query that has to be one of some words."""
    return f"^({'|'.join(words)})$"


def _name(name: str) -> str:
    return f'"{name}"'


def _day_after(day: date) -> date:
    return day if day == date.max else day + timedelta(days=1)


def form_of(accept: str) -> str:
    """The form that a client wants most of those that there are.

    Args:
        accept: What it said it accepts.

    Raises:
        HTTPException: 406 if it wants none of them.

    Examples:
        >>> form_of("text/html, text/csv;q=0.5, */*;q=0.1")
        'text/csv'
    """
    wanted: dict[str, float] = {}
    for word in accept.split(","):
        kind, *parameters = (part.strip().lower() for part in word.split(";"))
        quality = next((told[2:] for told in parameters if told.startswith("q=")), "1")
        wanted.setdefault(kind, float(quality) if _QUALITY.fullmatch(quality) else 0.0)

    def liking(form: str) -> float:
        """How much a form is wanted, by the closest that was said of it."""
        kinds = form, f"{form.partition('/')[0]}/*", "*/*"
        return next((wanted[kind] for kind in kinds if kind in wanted), 0.0)

    best = max(FORMS, key=liking)
    if not liking(best):
        raise HTTPException(406, f"there are {', '.join(FORMS)}")
    return best


def written(rows: pl.DataFrame, form: str, next_cursor: str | None) -> bytes:
    """A page in a form.

    Args:
        rows: Its rows.
        form: One of `FORMS`.
        next_cursor: Of the next page; CSV and Arrow have no place for it.
    """
    if form == CSV:
        return rows.write_csv(datetime_format="%Y-%m-%dT%H:%M:%S%.fZ").encode()
    if form == ARROW:
        with io.BytesIO() as stream:
            rows.write_ipc_stream(stream)
            return stream.getvalue()
    return to_json({"items": rows.to_dicts(), "next_cursor": next_cursor}, inf_nan_mode="null")
