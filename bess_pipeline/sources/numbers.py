"""Numbers as makers write them."""

from __future__ import annotations

import re

import polars as pl

#: Texts that stand for an unknown value.
UNKNOWN = ("", "NaN", "nan", "null", "NA", "N/A")


def texts(values: pl.Series) -> pl.Series:
    """Texts without blanks around them; null where they stand for an unknown value.

    Examples:
        >>> texts(pl.Series([" rack-1", "N/A", ""])).to_list()
        ['rack-1', None, None]
    """
    stripped = values.cast(pl.String).str.strip_chars()
    unknown = stripped.is_in(list(UNKNOWN))
    return stripped.zip_with(~unknown, pl.Series([None], dtype=pl.String)) if unknown.any() else stripped


def numbers(values: pl.Series, *, decimal_comma: bool = False, thousands: str | None = None) -> pl.Series:
    """Values as 64-bit floats: null where unknown, infinite where they cannot be read.

    An infinite value is no measurement either, so that one test finds both.

    Args:
        values: Numbers, or texts that hold numbers.
        decimal_comma: Whether the texts have a comma where others have a dot.
        thousands: What stands between thousands; elsewhere than before three digits it makes a text unreadable.

    Examples:
        >>> numbers(pl.Series(["1.5", " 2 ", "NaN", "", "broken", "inf"])).to_list()
        [1.5, 2.0, None, None, inf, inf]
        >>> numbers(pl.Series(["1,5", "1.500,0"]), decimal_comma=True).to_list()
        [1.5, inf]
        >>> numbers(pl.Series(["1.234.500,5", "12.34"]), decimal_comma=True, thousands=".").to_list()
        [1234500.5, inf]
    """
    if values.dtype != pl.String:
        return values.cast(pl.Float64, strict=False).fill_nan(None)
    if not decimal_comma and thousands is None:
        read = values.cast(pl.Float64, strict=False)
        if read.null_count() == 0 and not read.is_nan().any():
            return read
    known = texts(values)
    if thousands is not None:
        known = _without_thousands(known, thousands)
    dotted = known.str.replace(",", ".", literal=True) if decimal_comma else known
    read = dotted.cast(pl.Float64, strict=False)
    unreadable = known.is_not_null() & (read.is_null() | read.is_nan())
    if decimal_comma:
        unreadable |= known.str.contains(".", literal=True).fill_null(value=False)
    return read.zip_with(~unreadable, pl.Series([float("inf")]))


def _without_thousands(known: pl.Series, mark: str) -> pl.Series:
    """Texts without the mark where it stands before every three digits; elsewhere as they are, to be unreadable."""
    escaped = re.escape(mark)
    grouped = known.str.contains(rf"^[+-]?\d{{1,3}}(?:{escaped}\d{{3}})+(?:\D|$)").fill_null(value=False)
    plain = known.str.replace_all(mark, "", literal=True)
    odd = known.str.contains(mark, literal=True).fill_null(value=False) & ~grouped
    unreadable = pl.Series(["?"], dtype=pl.String)
    return plain.zip_with(grouped, known).zip_with(~odd, unreadable)
