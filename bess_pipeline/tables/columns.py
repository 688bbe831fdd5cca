"""The vocabulary that contracts are written in: keys, times, quantities, counts, labels, flags."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import dataframely as dy
import polars as pl

#: Half of an interval, which holds the truth nine times in ten [standard deviations].
NORMAL_90 = 1.6448536269514722

#: Unit of a quantity → suffix of its column's name.
SUFFIXES: dict[str, str] = {
    "1": "_fraction",
    "%": "_percent",
    "%/a": "_percent_per_year",
    "A": "_ampere",
    "Ah": "_ah",
    "V": "_volt",
    "W": "_watt",
    "Wh": "_wh",
    "°C": "_celsius",
    "K": "_kelvin",
    "K/h": "_kelvin_per_hour",
    "J/mol": "_joule_per_mole",
    "Ω": "_ohm",
    "s": "_seconds",
    "d": "_days",
    "µs": "_us",
}

UTC_MICROSECONDS = pl.Datetime("us", "UTC")


def key(description: str) -> dy.String:
    """A name that identifies a row."""
    return dy.String(primary_key=True, description=description)


def day(description: str, *, primary_key: bool = True, nullable: bool = False) -> dy.Date:
    """A UTC day; part of the key unless told otherwise."""
    return dy.Date(primary_key=primary_key, nullable=nullable, description=description)


def instant(description: str, *, primary_key: bool = False, nullable: bool = False) -> dy.Datetime:
    """An instant in UTC, to the microsecond."""
    return dy.Datetime(
        time_unit="us", time_zone="UTC", primary_key=primary_key, nullable=nullable, description=description
    )


def quantity(
    unit: str, description: str, *, low: float | None = None, high: float | None = None, nullable: bool = True
) -> dy.Float64:
    """A physical quantity with its unit; unknown is null."""
    return dy.Float64(nullable=nullable, min=low, max=high, description=description, metadata={"unit": unit})


def quantities(unit: str, description: str) -> dy.List:
    """A physical quantity of each of several parts, in a fixed order, with its unit; unknown is null."""
    return dy.List(dy.Float64(nullable=True), nullable=True, description=description, metadata={"unit": unit})


def duration(description: str, *, nullable: bool = False) -> dy.Int64:
    """A length of time in whole microseconds, so that sums of parts equal the whole."""
    return dy.Int64(nullable=nullable, min=0, description=description, metadata={"unit": "µs"})


def shift(description: str) -> dy.Int64:
    """A length of time in whole microseconds that may point backwards."""
    return dy.Int64(description=description, nullable=False, metadata={"unit": "µs"})


def count(description: str, *, nullable: bool = False) -> dy.Int64:
    """How many; never negative."""
    return dy.Int64(nullable=nullable, min=0, description=description)


def number(
    description: str, *, low: float | None = None, high: float | None = None, nullable: bool = True
) -> dy.Float64:
    """A number without a unit: a score, a weight, a count in halves."""
    return dy.Float64(nullable=nullable, min=low, max=high, description=description)


def label(description: str, *, nullable: bool = False) -> dy.String:
    """A text that does not identify the row."""
    return dy.String(nullable=nullable, description=description)


def choice(options: Sequence[str], description: str, *, nullable: bool = False, primary_key: bool = False) -> dy.String:
    """One of a few words."""
    allowed = list(options)

    def known(column: pl.Expr) -> pl.Expr:
        return column.is_in(allowed)

    return dy.String(
        nullable=nullable,
        primary_key=primary_key,
        check={"known_option": known},
        description=f"{description} One of: {', '.join(allowed)}.",
        metadata={"options": allowed},
    )


def flag(description: str, *, nullable: bool = False) -> dy.Bool:
    """True or false about the row."""
    return dy.Bool(nullable=nullable, description=description)


def unit_of(column: dy.Column) -> str | None:
    """The unit of a quantity, or nothing for what has none."""
    metadata: dict[str, Any] = column.metadata or {}
    unit = metadata.get("unit")
    return None if unit is None else str(unit)


def meaning_of(column: dy.Column) -> str:
    """What a column says, with its unit in brackets."""
    unit = unit_of(column)
    return f"{column.description or ''}{f' [{unit}]' if unit else ''}"
