"""Prices of energy from a file: any resolution, periods of local time, days of 23 and 25 hours."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import polars as pl

#: Columns that a file needs.
COLUMNS = ("timestamp", "price_per_mwh")
_LONGEST = timedelta(days=1)


class PricesError(ValueError):
    """Prices that cannot be used; the message says why."""


def read_prices(path: Path, timezone: str = "UTC") -> pl.DataFrame:
    """Read prices: the beginning of each delivery period, and what a MWh costs in it.

    Times may carry an offset; those that do not are of the time zone. Where clocks are put back an hour comes twice:
    the first of two equal times is the earlier one, as files that are in order have them.

    Args:
        path: A CSV or Parquet file with `timestamp` and `price_per_mwh`.
        timezone: Of times without an offset.

    Returns:
        `timestamp` (UTC, microseconds), `hours` until the next period and `price_per_mwh`, in order of time. The last
        period is as long as the one before it; one that is followed by none within a day ends as usual.

    Raises:
        PricesError: If a column is missing, a value is no number or no time, or periods overlap.
    """
    try:
        table = pl.read_parquet(path) if path.suffix == ".parquet" else pl.read_csv(path, infer_schema_length=None)
    except (pl.exceptions.PolarsError, OSError) as broken:
        raise PricesError(f"{path}: cannot be read: {str(broken).splitlines()[0]}") from None
    missing = [name for name in COLUMNS if name not in table.columns]
    if missing:
        raise PricesError(f"{path}: lacks {', '.join(missing)}; it has {', '.join(table.columns)}")
    rows = table.select(
        timestamp=_instants(path, table["timestamp"], timezone),
        price_per_mwh=pl.col("price_per_mwh").cast(pl.Float64, strict=False),
    )
    bad = rows.with_row_index("row").filter(~pl.col("price_per_mwh").is_finite().fill_null(value=False))
    if bad.height:
        raise PricesError(f"{path}: row {bad['row'][0] + 1} has no price")
    ordered = rows.sort("timestamp")
    if ordered.height < 2:
        raise PricesError(f"{path}: two prices at least tell how long a period is")
    step = ordered["timestamp"].diff().drop_nulls()
    if (step <= timedelta(0)).any():
        twice = ordered["timestamp"][int((step <= timedelta(0)).arg_max() or 0)]
        raise PricesError(f"{path}: {twice:%Y-%m-%d %H:%M} UTC comes twice")
    usual = step.mode().sort()[0]
    until = pl.Series([gap if gap <= _LONGEST else usual for gap in step] + [usual], dtype=pl.Duration("us"))
    return ordered.select("timestamp", hours=until.dt.total_microseconds() / 3.6e9, price_per_mwh="price_per_mwh")


def _instants(path: Path, told: pl.Series, timezone: str) -> pl.Series:
    """Instants in UTC of times as a file has them."""
    try:
        if isinstance(told.dtype, pl.Datetime) and told.dtype.time_zone is not None:
            return told.dt.convert_time_zone("UTC").cast(pl.Datetime("us", "UTC"))
        if told.dtype == pl.String and told.str.contains(r"(Z|[+-]\d\d:?\d\d)$").all():
            return told.str.to_datetime(time_unit="us", time_zone="UTC")
        naive = told.str.to_datetime(time_unit="us") if told.dtype == pl.String else told.cast(pl.Datetime("us"))
        seen = pl.DataFrame({"at": naive}).select(pl.int_range(pl.len()).over("at") > 0).to_series()
        later = naive.dt.replace_time_zone(timezone, ambiguous=seen.replace_strict({False: "earliest", True: "latest"}))
        return later.dt.convert_time_zone("UTC")
    except (pl.exceptions.PolarsError, TypeError) as broken:
        raise PricesError(f"{path}: timestamp: {str(broken).splitlines()[0]}") from None
