"""Numbers as makers write them."""

from __future__ import annotations

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


def numbers(values: pl.Series, *, decimal_comma: bool = False) -> pl.Series:
    """Values as 64-bit floats: null where unknown, infinite where they cannot be read.

    An infinite value is no measurement either, so that one test finds both.

    Args:
        values: Numbers, or texts that hold numbers.
        decimal_comma: Whether the texts have a comma where others have a dot.

    Examples:
        >>> numbers(pl.Series(["1.5", " 2 ", "NaN", "", "broken", "inf"])).to_list()
        [1.5, 2.0, None, None, inf, inf]
        >>> numbers(pl.Series(["1,5", "1.500,0"]), decimal_comma=True).to_list()
        [1.5, inf]
    """
    if values.dtype != pl.String:
        return values.cast(pl.Float64, strict=False).fill_nan(None)
    if not decimal_comma:
        read = values.cast(pl.Float64, strict=False)
        if read.null_count() == 0 and not read.is_nan().any():
            return read
    known = texts(values)
    dotted = known.str.replace(",", ".", literal=True) if decimal_comma else known
    read = dotted.cast(pl.Float64, strict=False)
    unreadable = known.is_not_null() & (read.is_null() | read.is_nan())
    if decimal_comma:
        unreadable |= known.str.contains(".", literal=True).fill_null(value=False)
    return read.zip_with(~unreadable, pl.Series([float("inf")]))
