"""State of charge: charge counted between anchors, with what is left of its uncertainty."""

from __future__ import annotations

import numpy as np
import polars as pl
from numba import njit
from numpy.typing import NDArray

from bess_pipeline.analytics.anchors import HYSTERESIS_VOLT
from bess_pipeline.analytics.capacity import OFFSET_RATE
from bess_pipeline.analytics.ocv import ocv_table, rested_charge
from bess_pipeline.analytics.traces import INTERVAL_US, Floats, Ints, Traces, floats, traces
from bess_pipeline.tables.telemetry import Telemetry5min

_KEY = ["fleet_id", "battery_id"]
_US_PER_HOUR = 3.6e9
_NORMAL_90 = 1.6448536269514722

#: How far back an anchor may change what is said of the state of charge.
LAG_US = 14 * 86_400 * 1_000_000
#: An offset of the current makes an error that grows with time; as a random walk it is matched at one day [h].
_MATCHED_HOURS = 24.0
#: Error of gain and capacity together without, and least with, a known capacity; matched at a swing of 80 points.
_UNKNOWN_CAPACITY, _LEAST_CAPACITY = 0.05, 0.004
_MATCHED_SWING = 80.0
#: Open-circuit voltage under load: error per cell, and drop over the resistance at 1 C with its relative error [V].
_LOADED_VOLT, _DROP_VOLT, _DROP_ERROR = 0.015, 0.10, 0.5
#: Error of a reported state of charge [%]: of its level, and of its change (least, and as a share).
_REPORTED_LEVEL, _REPORTED_CHANGE, _REPORTED_SHARE = 10.0, 1.0, 0.1
#: Error of the current assumed where it was not seen: share of the current around it, and of 1 C.
_ASSUMED_SHARE, _ASSUMED_RATE = 0.5, 0.05
#: Fastest plausible change where nothing was seen [C], and where knowledge ends: an even guess from 0 to 100 [%].
_FASTEST_RATE, _NO_KNOWLEDGE = 2.0, 28.87
#: Voltage under load and report count once the count's variance is this many times theirs.
_WORSE = 4.0
#: Share of the variance of an anchor that all anchors have in common, so that many are no surer than this.
_COMMON_SHARE = 0.5
#: Squared innovations beyond this many times their variance widen the segment before them.
_SURPRISE = 4.0

_METHODS = (
    "no voltage",
    "nothing known",
    "coulomb count from voltage",
    "coulomb count to anchor",
    "coulomb count from anchor",
    "coulomb count between anchors",
)
_NO_VOLTAGE, _NOTHING, _VOLTAGE, _TO, _FROM, _BETWEEN = range(6)


def telemetry_5min(
    intervals: pl.DataFrame, anchors: pl.DataFrame, health: pl.DataFrame, batteries: pl.DataFrame, curves: pl.DataFrame
) -> pl.DataFrame:
    """Say how full each battery is at the start of each interval, with a 90 % interval.

    Charge is counted over the capacity of the day (rated where none is known).
    Forwards, each anchor corrects the count by inverse variance; then every row is
    blended with what the anchors of the 14 days after the segment it lies in say,
    counted backwards to it. The error of the count grows as a random walk that meets
    an offset of 0.1 % of C after a day and the error of capacity and gain after a
    swing of 80 points, so the blend spreads a drift evenly over time and throughput.
    Half of an anchor's variance, from curve and sensors, is common to all, and is added
    in the end. An anchor that surprises the count by more than two standard errors widens the
    segment before it, up to 14 days back.

    Where no current was seen, the change of the reported state of charge bridges the
    gap, or the mean current around it, whichever is the surer. At the start, and when
    the variance of the count has grown to four times theirs, voltage under load
    (15 mV, hysteresis and half the drop over the resistance) and the reported level
    (10 points) are evidence too. Where as little is known as a guess between 0 and
    100 would tell, the state of charge is null. Nothing is clamped.

    Args:
        intervals: `Interval5min` rows with midnights closed.
        anchors: `ChargeAnchor` rows.
        health: `StateOfHealth` rows.
        batteries: `Battery` rows.
        curves: `OcvPoint` rows.

    Returns:
        `Telemetry5min` rows, one per interval, sorted by battery and time.
    """
    series = traces(intervals, batteries)
    capacity, capacity_error = _capacities(series, health)
    own, own_variance, gap, gap_variance = _counted(series, capacity, capacity_error)
    reset, reset_sigma = _from_voltage(series, batteries, curves)
    reported = series.column("soc_bms_percent")
    reported = np.where((reported > 1.5) & (reported <= 105), reported, np.nan)
    plates = series.batteries.select(_KEY).with_row_index("battery_index")
    points = anchors.join(plates, on=_KEY, how="inner").sort("battery_index", "timestamp")
    soc, sigma, method = _states(
        series.start_us,
        series.offsets,
        np.stack([own, own_variance, gap, gap_variance, reset, reset_sigma, reported], axis=1),
        points["battery_index"].to_numpy().astype(np.int64),
        points["timestamp"].dt.epoch("us").to_numpy().astype(np.int64),
        np.stack([floats(points["soc_percent"]), floats(points["soc_sigma_percent"])], axis=1),
    )
    measured = series.cell_volt("voltage_volt", "cell_voltage_min_volt", "cell_voltage_max_volt")
    without_voltage = (
        np.bincount(series.battery_index, weights=~np.isnan(measured), minlength=series.batteries.height)[
            series.battery_index
        ]
        == 0
    )
    method = np.where(without_voltage, _NO_VOLTAGE, method)
    known = ~without_voltage & (sigma < _NO_KNOWLEDGE)
    return (
        series.rows.with_columns(
            soc_percent=_known(soc, known),
            soc_lower_percent=_known(soc - _NORMAL_90 * sigma, known),
            soc_upper_percent=_known(soc + _NORMAL_90 * sigma, known),
            soc_method=pl.Series(np.array(_METHODS, dtype=object)[method], dtype=pl.String),
            coverage_fraction=pl.Series(np.clip(np.nan_to_num(series.observed_us()) / INTERVAL_US, 0, 1)),
        )
        .select(list(Telemetry5min.columns()))
        .sort(*_KEY, "timestamp")
    )


def _known(values: Floats, known: NDArray[np.bool_]) -> pl.Series:
    return pl.Series(np.where(known, values, np.nan)).fill_nan(None)


def _capacities(series: Traces, health: pl.DataFrame) -> tuple[Floats, Floats]:
    """Capacity of each row's day [Ah], and its relative error."""
    rows = (
        series.rows.select(*_KEY, "date")
        .join(
            health.select(*_KEY, "date", "capacity_ah", "soh_percent", "soh_lower_percent"),
            on=[*_KEY, "date"],
            how="left",
            maintain_order="left",
        )
        .with_columns(error=(1 - pl.col("soh_lower_percent") / pl.col("soh_percent")) / _NORMAL_90)
    )
    capacity, error = floats(rows["capacity_ah"]), floats(rows["error"])
    rated = series.nameplate("rated_capacity_ah")[series.battery_index]
    known = capacity > 0
    return (
        np.where(known, capacity, rated),
        np.where(known & (error > 0), np.maximum(error, _LEAST_CAPACITY), _UNKNOWN_CAPACITY),
    )


def _counted(series: Traces, capacity: Floats, capacity_error: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    """Change of the state of charge in each row, and from its end to the next row, with their variances [%], [%²]."""
    into, out = series.charge()
    current = series.current()
    battery, start = series.battery_index, series.start_us
    per_ah = 100 / capacity
    observed = np.minimum(np.nan_to_num(series.observed_us()), INTERVAL_US)
    net = (np.nan_to_num(into) - np.nan_to_num(out)) * per_ah
    moved = (np.nan_to_num(into) + np.nan_to_num(out)) * per_ah

    # Unseen parts of a row count at its mean current while at least half of it was seen; else they join the gap.
    partly = observed >= INTERVAL_US / 2
    missing_hours = (INTERVAL_US - observed) / _US_PER_HOUR
    filled = np.where(partly, np.nan_to_num(current) * missing_hours * per_ah, 0.0)
    hours = np.where(partly, INTERVAL_US, observed) / _US_PER_HOUR
    variance = (
        (100 * OFFSET_RATE) ** 2 * _MATCHED_HOURS * hours
        + capacity_error**2 * _MATCHED_SWING * (moved + np.abs(filled))
        + (_ASSUMED_SHARE * filled) ** 2
    )
    own = net + filled

    following = np.zeros(len(start), bool)
    following[:-1] = battery[1:] == battery[:-1]
    later = np.minimum(np.arange(len(start)) + 1, len(start) - 1)
    silent = np.where(following, start[later] - start - INTERVAL_US, 0) / _US_PER_HOUR
    silent = np.maximum(silent, 0) + np.where(partly, 0.0, missing_hours)
    rated = series.nameplate("rated_capacity_ah")[battery]

    around = np.nanmean(np.stack([np.nan_to_num(current), np.nan_to_num(current[later])]), axis=0)
    assumed = around * silent * per_ah
    assumed_sigma = (_ASSUMED_SHARE * np.abs(around) + _ASSUMED_RATE * rated) * silent * per_ah
    # Beyond an hour the current around a gap says nothing of the current in it.
    assumed = np.where(silent > 1, 0.0, assumed)
    assumed_sigma = np.where(silent > 1, np.minimum(0.3 * rated * silent * per_ah, 40.0), assumed_sigma)

    reported = series.column("soc_bms_percent")
    reported = np.where((reported > 1.5) & (reported <= 105), reported, np.nan)
    bridged = reported[later] - reported - own
    plausible = np.abs(bridged) <= np.minimum(100 * _FASTEST_RATE * silent + 3, 100)
    bridged_sigma = np.where(plausible, _REPORTED_CHANGE + _REPORTED_SHARE * np.abs(bridged), np.inf)
    by_report = bridged_sigma < assumed_sigma
    gap = np.where(by_report, np.nan_to_num(bridged), assumed)
    sigma = np.where(by_report, bridged_sigma, assumed_sigma)
    silence = following & (silent > 0)
    return own, variance, np.where(silence, gap, 0.0), np.where(silence, sigma**2, 0.0)


def _from_voltage(series: Traces, batteries: pl.DataFrame, curves: pl.DataFrame) -> tuple[Floats, Floats]:
    """State of charge that the voltage under load suggests, and its error [%]."""
    battery = series.battery_index
    rated = series.nameplate("rated_capacity_ah")
    own = series.nameplate("resistance_ohm") / series.cells()
    drop = np.where(own > 0, own, _DROP_VOLT / rated)[battery] * np.nan_to_num(series.current())
    volt = series.cell_volt("voltage_volt", "cell_voltage_min_volt", "cell_voltage_max_volt") - drop
    hysteresis = np.array([HYSTERESIS_VOLT[name] for name in series.batteries["chemistry"]])[battery]
    sigma_volt = np.sqrt(_LOADED_VOLT**2 + hysteresis**2 + (_DROP_ERROR * drop) ** 2)
    found = rested_charge(volt, battery, ocv_table(batteries, curves), sigma_volt=sigma_volt)
    # A voltage beyond the curve's end says "near the end", no more.
    return np.clip(found.soc_percent, 0, 100), np.minimum(np.maximum(found.sigma_percent, 3.0), 40.0)


@njit(cache=True)
def _states(start_us: Ints, offsets: Ints, rows: Floats, anchor_battery: Ints, anchor_us: Ints, anchor: Floats):  # type: ignore[no-untyped-def]  # noqa: ANN202, C901, PLR0912, PLR0915
    """State of charge at the start of each row, its standard error, and the method."""
    n = len(start_us)
    soc, variance = np.empty(n), np.empty(n)
    method, shared = np.empty(n, np.int64), np.empty(n)
    # Sums of changes and variances from the battery's first row to the start and to the end of each row's own count.
    at_start, spread_start = np.empty(n), np.empty(n)
    at_end, spread_end = np.empty(n), np.empty(n)
    first_anchor = 0
    for b in range(len(offsets) - 1):
        low, high = offsets[b], offsets[b + 1]
        if low == high:
            continue
        while first_anchor < len(anchor_us) and anchor_battery[first_anchor] < b:
            first_anchor += 1
        last_anchor = first_anchor
        while last_anchor < len(anchor_us) and anchor_battery[last_anchor] == b:
            last_anchor += 1
        count = spread = 0.0
        for k in range(low, high):
            at_start[k], spread_start[k] = count, spread
            count += rows[k, 0]
            spread += rows[k, 1]
            at_end[k], spread_end[k] = count, spread
            count += rows[k, 2]
            spread += rows[k, 3]

        # Evidence j lies at the end of row place[j]: an anchor, or a voltage under load where anchors are too far.
        place, value, error, firm = _evidence(
            start_us,
            low,
            high,
            rows,
            spread_end,
            anchor_us[first_anchor:last_anchor],
            anchor[first_anchor:last_anchor],
        )
        count_of = len(place)

        # Forwards, with each piece of evidence as it comes.
        level, doubt = _begun(rows[low])
        wider = np.ones(count_of)
        met, since, since_spread, anchored = 0, at_start[low], 0.0, False
        common = 0.0
        for k in range(low, high):
            soc[k] = level + at_start[k] - since
            variance[k] = doubt + spread_start[k] - since_spread
            method[k] = _FROM if anchored else _VOLTAGE
            shared[k] = common
            while met < count_of and place[met] == k:
                before = level + at_end[k] - since
                grown = spread_end[k] - since_spread
                total = doubt + grown + error[met]
                surprise = (value[met] - before) ** 2 / total
                extra = 0.0
                if surprise > _SURPRISE and grown > 0:
                    extra = total * (surprise - 1.0)
                    wider[met] = (grown + extra) / grown
                level, doubt = _updated(before, doubt + grown + extra, value[met], error[met])
                since, since_spread = at_end[k], spread_end[k]
                anchored = anchored or firm[met]
                common = _COMMON_SHARE * error[met]
                met += 1

        # Backwards: each segment, from its last row to its first, meets the evidence of the 14 days after its start.
        for j in range(count_of):
            begin = low if j == 0 else place[j - 1] + 1
            if begin > place[j]:
                continue
            ends = start_us[place[j]] + INTERVAL_US
            reach = max(start_us[begin] + LAG_US, ends)
            last = j
            while last + 1 < count_of and start_us[place[last + 1]] + INTERVAL_US <= reach:
                last += 1
            back, back_doubt = value[last], error[last]
            fixed = firm[last]
            for i in range(last - 1, j - 1, -1):
                here, there = place[i], place[i + 1]
                back -= at_end[there] - at_end[here]
                back_doubt += (spread_end[there] - spread_end[here]) * wider[i + 1]
                back, back_doubt = _updated(back, back_doubt, value[i], error[i])
                fixed = fixed or firm[i]
            origin = spread_start[begin]
            for k in range(begin, place[j] + 1):
                if start_us[k] < ends - LAG_US:
                    origin = spread_start[k]
                    continue
                ahead = back - (at_end[place[j]] - at_start[k])
                ahead_doubt = back_doubt + (spread_end[place[j]] - spread_start[k]) * wider[j]
                behind_doubt = variance[k] + (spread_start[k] - origin) * (wider[j] - 1.0)
                soc[k], variance[k] = _updated(soc[k], behind_doubt, ahead, ahead_doubt)
                nearest = _COMMON_SHARE * error[j]
                shared[k] = min(shared[k], nearest) if shared[k] > 0 else nearest
                if fixed:
                    method[k] = _BETWEEN if method[k] == _FROM else _TO
        first_anchor = last_anchor
    variance += shared
    for k in range(n):
        if variance[k] >= _NO_KNOWLEDGE**2:
            method[k] = _NOTHING
    return soc, np.sqrt(variance), method


@njit(cache=True)
def _begun(row: Floats) -> tuple[float, float]:
    """Level and variance at a battery's first row: what voltage under load and the report say of an even guess."""
    level, doubt = _updated(50.0, _NO_KNOWLEDGE**2, row[4], row[5] ** 2)
    return _updated(level, doubt, row[6], _REPORTED_LEVEL**2)


@njit(cache=True)
def _evidence(start_us: Ints, low: int, high: int, rows: Floats, spread_end: Floats, anchor_us: Ints, anchor: Floats):  # type: ignore[no-untyped-def]  # noqa: ANN202
    """Anchors of a battery, and what voltage under load or the report say where the count has become much worse."""
    place, firm = np.empty(high - low + len(anchor_us), np.int64), np.empty(high - low + len(anchor_us), np.bool_)
    value, error = np.empty(len(place)), np.empty(len(place))
    found = met = 0
    _, doubt = _begun(rows[low])
    since = 0.0
    for k in range(low, high):
        ends = start_us[k] + INTERVAL_US
        grown = doubt + spread_end[k] - since
        while met < len(anchor_us) and anchor_us[met] <= ends:
            place[found], value[found], firm[found] = k, anchor[met, 0], True
            error[found] = anchor[met, 1] ** 2
            doubt = grown * error[found] / (grown + error[found])
            grown, since = doubt, spread_end[k]
            met += 1
            found += 1
        by_voltage, by_report = rows[k, 5] ** 2, _REPORTED_LEVEL**2
        seen = np.nan
        if grown > _WORSE * by_voltage and not np.isnan(rows[k, 4]):
            seen, error[found] = rows[k, 4] + rows[k, 0] / 2, by_voltage
        elif grown > _WORSE * by_report and not np.isnan(rows[k, 6]):
            seen, error[found] = rows[k, 6] + rows[k, 0], by_report
        if not np.isnan(seen):
            place[found], value[found], firm[found] = k, seen, False
            doubt = grown * error[found] / (grown + error[found])
            since = spread_end[k]
            found += 1
    return place[:found], value[:found], error[:found], firm[:found]


@njit(cache=True)
def _updated(level: float, doubt: float, value: float, error: float) -> tuple[float, float]:
    """Mean weighted by inverse variance, and its variance; an unknown value changes nothing."""
    if np.isnan(value) or np.isnan(error):
        return level, doubt
    gain = doubt / (doubt + error)
    return level + gain * (value - level), (1 - gain) * doubt
