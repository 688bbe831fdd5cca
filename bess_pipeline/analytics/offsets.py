"""The offset of each current sensor, and charge and energy without it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl

from bess_pipeline.analytics.traces import INTERVAL_US, Traces, floats, traces
from bess_pipeline.tables.health import CurrentOffset
from bess_pipeline.tables.telemetry import ClosedInterval5min

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

_KEY = ["fleet_id", "battery_id"]
_DAY_US = 86_400_000_000

#: Days up to each that its offset rests on.
_WINDOW_DAYS = 30
#: Anchors from this on are full charges, at which errors of the curve are the same each time [%].
_FULL_PERCENT = 97.0
#: Time between two anchors that tells of an offset [h].
_LEAST_HOURS = 6.0
#: A battery idles below this current [C], in so many rows on end; its logger knows no zero if at most this share is.
_IDLE_RATE, _IDLE_ROWS, _ZERO_SHARE = 0.01, 6, 0.1
#: What a battery's own electronics may draw while it idles, which is no offset [C].
_STANDBY_RATE = 0.0005
#: Offsets less sure than this are not told [C].
_LEAST_SURE = 0.001


def current_offsets(intervals: pl.DataFrame, anchors: pl.DataFrame, batteries: pl.DataFrame) -> pl.DataFrame:
    """Estimate the offset of each battery's current sensor from the 30 days up to each day.

    Two witnesses are weighted by their variances:

    * Balance: between two full charges without a gap the charge adds up to the change
      between them; what is left over, per hour with a current, is offset. A current
      that the logger reports as exactly zero carries none.
    * Idle: where the logger never reports zero, the current at which a battery idles;
      its electronics may draw 0.0005 C of it.

    Args:
        intervals: `ClosedInterval5min` rows of a fleet.
        anchors: `ChargeAnchor` rows of the fleet.
        batteries: `Battery` rows of the fleet.

    Returns:
        `CurrentOffset` rows, one per battery and day, sorted; null where neither is sure to 0.001 C.
    """
    series = traces(intervals, batteries)
    rated = series.nameplate("rated_capacity_ah")
    days = series.rows.select(*_KEY, "date", "battery_index").unique(maintain_order=True)
    found = pl.concat([_balances(series, anchors, rated), _idles(series, rated)])
    group = ["battery_index", "method"]
    asked = days.select("battery_index", "date").join(pl.DataFrame({"method": ["balance", "idle"]}), how="cross")
    told = (
        pl.concat([found, asked], how="diagonal")
        .sort(*group, "date", "weight", "offset")
        .rolling("date", period=f"{_WINDOW_DAYS}d", group_by=group)
        .agg(
            offset=(pl.col("offset") * pl.col("weight")).sum() / pl.col("weight").sum(),
            precision=1 / pl.col("sigma").min() ** 2,
        )
        .drop_nulls("precision")
        .unique([*group, "date"], keep="last", maintain_order=True)
        .sort("battery_index", "date", "method")
        .group_by("battery_index", "date", maintain_order=True)
        .agg(
            offset_ampere=(pl.col("offset") * pl.col("precision")).sum() / pl.col("precision").sum(),
            offset_sigma_ampere=(1 / pl.col("precision").sum()).sqrt(),
            method=pl.col("method").str.join(" and "),
        )
    )
    least = pl.Series("least", _LEAST_SURE * rated)
    sure = pl.col("offset_sigma_ampere") <= pl.col("least")
    return (
        days.join(told, on=["battery_index", "date"], how="left")
        .with_columns(least=least.gather(days["battery_index"]))
        .select(
            *_KEY,
            "date",
            *(
                pl.when(sure).then(pl.col(name)).alias(name)
                for name in ("offset_ampere", "offset_sigma_ampere", "method")
            ),
        )
        .sort(*_KEY, "date")
        .pipe(CurrentOffset.validate)
    )


def _balances(series: Traces, anchors: pl.DataFrame, rated: Floats) -> pl.DataFrame:
    """What each full charge says beside the first of the last 30 days without a gap in between."""
    into, out = series.charge()
    net = np.nan_to_num(into) - np.nan_to_num(out)
    observed = series.observed_us()
    flowing = np.where(np.nan_to_num(series.current()) != 0, np.nan_to_num(observed), 0.0) / 3.6e9
    start, battery = series.start_us, series.battery_index
    breaks = np.diff(battery, prepend=-1) != 0
    breaks |= np.diff(start, prepend=start[:1]) > INTERVAL_US
    breaks |= np.nan_to_num(observed) < 0.99 * INTERVAL_US
    chain = np.cumsum(breaks)
    charge, hours = np.cumsum(net), np.cumsum(flowing)
    plates = series.batteries.select(_KEY).with_row_index("battery_index")
    points = (
        anchors.filter(pl.col("soc_percent") >= _FULL_PERCENT)
        .join(plates, on=_KEY, how="inner")
        .sort("battery_index", "timestamp")
    )
    keys = battery * 2**42 + start // INTERVAL_US
    at_us = points["timestamp"].dt.epoch("us").to_numpy().astype(np.int64)
    owner = points["battery_index"].to_numpy().astype(np.int64)
    row = np.searchsorted(keys, owner * 2**42 + at_us // INTERVAL_US - 1)
    row = np.minimum(row, max(len(keys) - 1, 0))
    soc, error = floats(points["soc_percent"]), floats(points["soc_sigma_percent"])
    first = _first_of_chain(chain[row] if len(row) else row, at_us)
    span = hours[row] - hours[row[first]] if len(row) else np.zeros(0)
    left = charge[row] - charge[row[first]] - (soc - soc[first]) / 100 * rated[owner] if len(row) else span
    told = span >= _LEAST_HOURS
    with np.errstate(divide="ignore", invalid="ignore"):
        sigma = np.hypot(error, error[first]) / 100 * rated[owner] / span
    return _told(
        owner[told], at_us[told], (left / np.where(told, span, 1.0))[told], sigma[told], span[told] ** 2, "balance"
    )


def _first_of_chain(chain: Ints, at_us: Ints) -> Ints:
    """For each anchor, the first of its chain that is at most 30 days older."""
    reach = _WINDOW_DAYS * _DAY_US
    starts = np.searchsorted(chain, chain)
    first = np.empty(len(chain), np.int64)
    for i in range(len(chain)):
        j = first[i - 1] if i and first[i - 1] >= starts[i] else starts[i]
        while at_us[i] - at_us[j] > reach:
            j += 1
        first[i] = j
    return first


def _idles(series: Traces, rated: Floats) -> pl.DataFrame:
    """What each day's idle rows say, where the logger knows no zero."""
    battery = series.battery_index
    largest, current = series.column("current_abs_max_ampere"), series.column("current_ampere")
    still = largest < _IDLE_RATE * rated[battery]
    runs = pl.DataFrame({"battery": battery, "still": still}).select(
        pl.len().over(pl.struct("battery", "still").rle_id())
    )
    idle = still & (runs.to_series().to_numpy() >= _IDLE_ROWS)
    table = series.rows.select("battery_index", "date").with_columns(current=pl.Series(current)).filter(pl.Series(idle))
    day = table.group_by("battery_index", "date", maintain_order=True).agg(
        offset=pl.col("current").filter(pl.col("current") != 0).median(),
        rows=pl.len(),
        zeros=(pl.col("current") == 0).mean(),
    )
    day = day.filter(pl.col("zeros") <= _ZERO_SHARE, pl.col("rows") >= _IDLE_ROWS).drop_nulls("offset")
    owner = day["battery_index"].to_numpy().astype(np.int64)
    at_us = day["date"].cast(pl.Datetime("us")).to_physical().to_numpy()
    sigma = _STANDBY_RATE * rated[owner]
    return _told(owner, at_us, floats(day["offset"]), sigma, floats(day["rows"]), "idle")


def _told(owner: Ints, at_us: Ints, offset: Floats, sigma: Floats, weight: Floats, method: str) -> pl.DataFrame:
    return pl.DataFrame(
        {"battery_index": owner, "date": at_us, "offset": offset, "sigma": sigma, "weight": weight},
        schema={
            "battery_index": pl.UInt32,
            "date": pl.Int64,
            "offset": pl.Float64,
            "sigma": pl.Float64,
            "weight": pl.Float64,
        },
    ).with_columns(pl.col("date").cast(pl.Datetime("us")).dt.date(), method=pl.lit(method))


def without_offset(intervals: pl.DataFrame, offsets: pl.DataFrame, batteries: pl.DataFrame) -> pl.DataFrame:
    """Charge and energy of each row as they are once the sensor's offset is taken off.

    A current reported as exactly zero carries no offset. In a row that goes one way
    the offset is taken off that way; in one that goes both ways half of it off each.
    Of a row in which the battery idles the net remains: what goes to and fro is noise.

    Args:
        intervals: `ClosedInterval5min` rows.
        offsets: `CurrentOffset` rows; rows of days without one stay as they are.
        batteries: `Battery` rows.

    Returns:
        `ClosedInterval5min` rows, sorted by battery and start.
    """
    hours = pl.col("current_observed_us") / (pl.col("current_observed_us") * 0 + 3.6e9)
    known = intervals.join(offsets.select(*_KEY, "date", "offset_ampere"), on=[*_KEY, "date"], how="left").join(
        batteries.select(*_KEY, "rated_capacity_ah"), on=_KEY, how="left"
    )
    idle = pl.col("current_abs_max_ampere") < _IDLE_RATE * pl.col("rated_capacity_ah")
    off = pl.when(pl.col("current_ampere") != 0).then("offset_ampere").fill_null(0.0) * hours
    volt = pl.coalesce("voltage_volt", pl.col("power_watt") / pl.col("current_ampere"))
    return (
        known.with_columns(
            *_shifted("charging_capacity_ah", "discharging_capacity_ah", off, idle),
            *_shifted("charging_energy_wh", "discharging_energy_wh", off * volt.fill_null(0.0).fill_nan(0.0), idle),
        )
        .select(ClosedInterval5min.column_names())
        .sort(*_KEY, "timestamp")
    )


def _shifted(into: str, out: str, off: pl.Expr, idle: pl.Expr) -> list[pl.Expr]:
    up, down = pl.col(into), pl.col(out)
    share = pl.when(down == 0).then(1.0).when(up == 0).then(0.0).otherwise(0.5)
    new_up, new_down = up - share * off, down + (1 - share) * off
    net = new_up - new_down
    crossed = (new_up < 0) | (new_down < 0) | idle.fill_null(value=False)
    return [
        pl.when(off == 0).then(up).when(crossed).then(pl.max_horizontal(net, 0.0)).otherwise(new_up).alias(into),
        pl.when(off == 0).then(down).when(crossed).then(pl.max_horizontal(-net, 0.0)).otherwise(new_down).alias(out),
    ]
