"""Repairs that need history: which stretches of a battery's 5-minute rows are in another unit or of the wrong sign.

Such faults last for days, so a day cannot know of them by itself. They are found in
the whole history of a battery, where changing unit or sign has its price, and only
transforms that lose nothing are applied. The rows as they came stay in
`intervals_5min`; each repair is a row of `repairs` with what it rests on.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from bess_pipeline.analytics.likelihood import Price, likelier_opposite, likelier_reading
from bess_pipeline.analytics.traces import INTERVAL_US, Traces, floats, traces
from bess_pipeline.tables.quality import Repair
from bess_pipeline.tables.telemetry import STEP_COUNTS, STEP_SUMS, TEMPERATURES, ClosedInterval5min

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

_KEY = ("fleet_id", "battery_id")

#: A battery's mean temperature moves by this much between neighbours, and by this much more per hour of silence [K].
_HEAT_SLACK, _HEAT_SLACK_PER_HOUR, _HEAT_SLACK_MOST = 1.0, 0.5, 10.0
#: Most that a step of the temperature costs, and what a change of unit costs [K].
_HEAT_CLIP, _HEAT_SWITCH = 12.0, 6.0
#: Further from the ambient temperature no battery at work is [K], nor, where none is known, outside of these [°C];
#: what such a row costs.
_FROM_AMBIENT, _AT_WORK, _ODD_COST = 30.0, (-15.0, 65.0), 0.05

#: A change of unit of which no end is known yet is believed after a day [rows].
_PROVEN_ROWS = 288
#: A row beside a change of unit that leaps by this much holds both [K].
_MIXED = 3.0

#: Largest number that may be a fraction of the charge.
_MOST_FRACTION = 1.05
#: How far the reported charge may stray from the counted in an interval, as such and of what was moved [%].
_CHARGE_SLACK, _CHARGE_SHARE = 1.5, 0.2
_CHARGE_CLIP, _CHARGE_SWITCH = 10.0, 8.0
#: What a number that may be a fraction pays for straying as such.
_CHARGE_STRAY = 0.5

#: The plain reading is preferred by this per row, where nothing else tells.
_PLAIN = 1e-6

#: What a change of sign costs, as a logarithm of likelihood; less evidence than that for a whole stretch is none.
_SIGN_SWITCH = 15.0
#: Steps of one interval share the errors of the model: their evidence counts for this part, and at most so much.
_SIGN_SHARE, _SIGN_MOST = 0.3, 6.0
#: Evidence against a sign from which on a row tells of it.
_TELLING = 0.5
#: Least error of a reported change of charge in an interval [%].
_REPORT_SIGMA = 0.5
#: Current below which it does not matter which sign it has [C].
_REST_RATE = 0.01


@dataclass(frozen=True)
class _Reading:
    """What was found of one kind: rows to be converted, rows to be left out, and why."""

    kind: str
    channels: tuple[str, ...]
    converted: Bools
    excluded: Bools
    suspected: Bools
    evidence: str


_HEAT_CHANNELS = TEMPERATURES
_CURRENT_CHANNELS = ("current_ampere", "power_watt")
_CHARGE_CHANNELS = ("soc_bms_percent",)


def repairs(intervals: pl.DataFrame, batteries: pl.DataFrame) -> pl.DataFrame:
    """Find the stretches of each battery's history that are in another unit, or whose current has the wrong sign.

    * Temperatures are in Fahrenheit where the cheapest reading of the battery's whole
      history has them so: each step from one interval to the next costs what it
      exceeds an ordinary one by, up to 12 K, each change of unit 6 K. A stretch that does
      not begin and end at once, all probes going on as before, is suspected only: it may be a fire.
    * The reported charge is a fraction where numbers up to 1.05 follow the counted
      charge better when multiplied by 100.
    * The current has the wrong sign where steps of current and voltage, and the
      changes of counted and reported charge, are likelier so by a factor e¹⁵ at least.
      Where most of a battery's history would be of the wrong sign it is the fleet
      file that lies: that is suspected, and nothing is changed.

    An interval that holds both readings is left out. Beside a change of sign, where
    it cannot be told to the interval, one interval on either side is, unless the battery rests.

    Args:
        intervals: `Interval5min` rows of a fleet over all its days, midnights closed or not.
        batteries: `Battery` rows of the fleet.

    Returns:
        `Repair` rows, sorted by battery, kind and start.

    References:
        The cheapest path: A. J. Viterbi (1967), doi:10.1109/TIT.1967.1054010.
    """
    series = traces(intervals, batteries)
    charge = _charge(series)
    told = series.column("soc_bms_percent") * np.where(charge.converted, 100.0, 1.0)
    found = [_stretches(series, reading) for reading in (_sign(series, told), _heat(series), charge)]
    return pl.concat(found).select(Repair.column_names()).sort(*_KEY, "kind", "started_at")


def repaired(intervals: pl.DataFrame, found: pl.DataFrame) -> pl.DataFrame:
    """Read the rows as the repairs say.

    Charge and energy change places where the current has the wrong sign; temperatures
    in Fahrenheit become degrees Celsius; fractions become percent. What is left out is null.

    Args:
        intervals: `Interval5min` rows, midnights closed.
        found: `Repair` rows of the same fleet.

    Returns:
        `ClosedInterval5min` rows, sorted by battery and start.
    """
    rows = intervals.sort(*_KEY, "timestamp")
    acted = found.filter(pl.col("action") != "suspected").sort(*_KEY, "kind", "started_at")
    done: dict[str, pl.Expr] = {}
    for kind in Repair.columns()["kind"].metadata["options"]:  # type: ignore[index]
        stretches = acted.filter(kind=kind).select(
            *_KEY, timestamp="started_at", **{f"{kind}_until": "ended_at", f"{kind}_action": "action"}
        )
        rows = rows.join_asof(stretches.sort("timestamp"), on="timestamp", by=list(_KEY), check_sortedness=False)
        inside = pl.col("timestamp") < pl.col(f"{kind}_until")
        done[kind] = pl.when(inside).then(pl.col(f"{kind}_action"))
    rows = rows.with_columns(**{f"{kind}_done": action for kind, action in done.items()})
    named = pl.concat_list(
        pl.when(pl.col(f"{kind}_done").is_not_null()).then(pl.lit(kind)) for kind in done
    ).list.drop_nulls()
    return (
        rows.with_columns(*_read("current_sign", _turned()), *_read("temperature_unit", _celsius()))
        .with_columns(*_read("soc_unit", {"soc_bms_percent": 100 * pl.col("soc_bms_percent")}))
        .with_columns(repairs=pl.when(named.list.len() > 0).then(named.list.join(",")))
        .select(ClosedInterval5min.column_names())
        .sort(*_KEY, "timestamp")
    )


def _read(kind: str, readings: dict[str, pl.Expr]) -> list[pl.Expr]:
    """Columns as a repair of this kind reads them; unknown where the interval is left out."""
    done = pl.col(f"{kind}_done")
    emptied = ("current_observed_us", "power_observed_us", "temperature_observed_us", *STEP_COUNTS, *STEP_SUMS)
    nothing = dict.fromkeys(emptied, 0)
    return [
        pl.when(done == "converted")
        .then(value)
        .when(done == "excluded")
        .then(pl.lit(nothing.get(name)))
        .otherwise(pl.col(name))
        .alias(name)
        for name, value in readings.items()
    ]


def _turned() -> dict[str, pl.Expr]:
    """What a current of the opposite sign makes of a row."""
    pairs = (
        ("charging_capacity_ah", "discharging_capacity_ah"),
        ("charging_energy_wh", "discharging_energy_wh"),
    )
    swapped = {name: pl.col(other) for pair in pairs for name, other in (pair, pair[::-1])}
    # 0 − x, because −0.0 is a number that nobody expects.
    odd = ("step_current_voltage_sum", "step_steady_current_voltage_sum", "step_outside_current_sum")
    turned = {name: 0.0 - pl.col(name) for name in (*_CURRENT_CHANNELS, *odd)}
    same = ("current_observed_us", "power_observed_us", "current_abs_max_ampere", *STEP_COUNTS,
            *(name for name in STEP_SUMS if name not in odd))  # fmt: skip
    return swapped | turned | {name: pl.col(name) for name in same}


def _celsius() -> dict[str, pl.Expr]:
    """What degrees Fahrenheit in a row are in degrees Celsius."""
    # By a column: Polars divides a single row, but multiplies longer columns by the reciprocal of a number.
    names = (*TEMPERATURES,)
    values = {name: (pl.col(name) - 32) / (pl.col(name) * 0 + 1.8) for name in names}
    return values | {"temperature_observed_us": pl.col("temperature_observed_us")}


def _silence_hours(series: Traces) -> Floats:
    """Hours between a row and the one before, beyond their being neighbours."""
    start = series.start_us
    apart = np.diff(start, prepend=start[:1]) - INTERVAL_US
    return np.maximum(np.where(np.diff(series.battery_index, prepend=-1) == 0, apart, 0), 0) / 3.6e9


def _heat(series: Traces) -> _Reading:
    """Temperatures in Fahrenheit."""
    rows = series.rows
    plain = floats(rows.select(pl.coalesce("temperature_celsius", "temperature_max_celsius")).to_series())
    other = (plain - 32) / 1.8
    ambient = series.column("ambient_temperature_celsius")
    odd = np.stack([_is_odd(value, ambient) for value in (plain, other)], axis=1)
    extra = _ODD_COST * odd + np.array([0.0, _PLAIN])
    slack = _HEAT_SLACK + np.minimum(_HEAT_SLACK_PER_HOUR * _silence_hours(series), _HEAT_SLACK_MOST)
    found = likelier_reading(
        series.battery_index, np.where(_on_the_way(series, plain), np.nan, plain), other,
        change=np.zeros(len(plain)), slack=slack, extra=extra,
        price=Price(_HEAT_CLIP, _HEAT_SWITCH, 1.8),
    )  # fmt: skip
    proven = found & _is_change_of_unit(series, found, plain, odd[:, 0] > odd[:, 1])
    mixed = _mixed(series, proven, np.where(proven, other, plain))
    return _Reading(
        "temperature_unit", _HEAT_CHANNELS, proven & ~mixed, mixed, found & ~proven,
        "degrees Fahrenheit: the temperature leaps there and back, and as Fahrenheit it goes on as before",
    )  # fmt: skip


def _is_change_of_unit(series: Traces, state: Bools, plain: Floats, told: Bools) -> Bools:
    """Rows of stretches in Fahrenheit that begin and end as only a change of unit does, not a battery that burns.

    It takes an interval or two, all probes take part, and as Fahrenheit they go on as
    before. A stretch that has no end yet must have lasted for a day of which most rows
    are ``told`` by what is possible, for a fire may be as warm as Fahrenheit would be.
    """
    known = np.flatnonzero(~np.isnan(plain))
    battery, time = series.battery_index[known], series.start_us[known]
    probes = np.stack([series.column(name)[known] for name in _HEAT_CHANNELS])
    read = np.where(state[known], (probes - 32) / 1.8, probes)
    stretch = np.cumsum((np.diff(state[known].astype(np.int8), prepend=0) != 0) | (np.diff(battery, prepend=-1) != 0))
    begins = np.flatnonzero(np.diff(stretch, prepend=-1))
    ends = np.flatnonzero(np.diff(stretch, append=-1))

    def goes_on(last: int, first: int) -> bool:
        """Whether the probes go on from the last row, or last but one, of a stretch to the first two of another."""
        for before, after in ((last, first), (last - 1, first), (last, first + 1)):
            there = before >= 0 and after < len(known)
            if there and stretch[before] == stretch[last] and stretch[after] == stretch[first]:
                hours = (time[after] - time[before]) / 3.6e9
                leap = np.abs(read[:, after] - read[:, before])
                if not (leap > _MIXED + min(_HEAT_SLACK_PER_HOUR * hours, _HEAT_SLACK_MOST)).any():
                    return True
        return False

    proven = np.zeros(len(state), np.bool_)
    for begin, end in zip(begins.tolist(), ends.tolist(), strict=True):
        first = begin == 0 or battery[begin - 1] != battery[begin]
        last = end == len(known) - 1 or battery[end + 1] != battery[end]
        rows = known[begin : end + 1]
        lasts = len(rows) >= _PROVEN_ROWS and told[rows].mean() > 0.5 if last else goes_on(end, end + 1)
        if state[known[begin]] and lasts and (first or goes_on(begin - 1, begin)):
            proven[rows[0] : rows[-1] + 1] = True
    return proven


def _is_odd(value: Floats, ambient: Floats) -> Floats:
    low, high = _AT_WORK
    odd = np.where(np.isnan(ambient), (value < low) | (value > high), np.abs(value - ambient) > _FROM_AMBIENT)
    return odd.astype(np.float64)


def _charge(series: Traces) -> _Reading:
    """Reported charge as a fraction."""
    plain = series.column("soc_bms_percent")
    other = np.where(plain <= _MOST_FRACTION, 100 * plain, np.nan)
    into, out = series.charge()
    moved = (
        100 * (np.nan_to_num(into) - np.nan_to_num(out)) / series.nameplate("rated_capacity_ah")[series.battery_index]
    )
    # The report is of the start of an interval: what the interval before moved lies in between. Of either sign, for
    # a current of the wrong one is found later, with what is told here.
    change = np.concatenate([[0.0], moved[:-1]])
    slack = _CHARGE_SLACK + _CHARGE_SHARE * np.abs(change) + np.minimum(10 * _silence_hours(series), 60.0)
    # What may be a fraction pays for straying within the slack too: a slow battery never exceeds it.
    near = (np.diff(series.battery_index, prepend=-1) == 0) & (_silence_hours(series) == 0)
    strays = [np.abs(np.abs(np.diff(soc, prepend=np.nan)) - np.abs(change)) for soc in (plain, other)]
    unknown = ~near | np.isnan(strays[0]) | np.isnan(strays[1])
    extra = _CHARGE_STRAY * np.where(unknown[:, None], 0.0, np.minimum(np.stack(strays, axis=1), _CHARGE_SLACK))
    extra[:, 1] += _PLAIN
    found = likelier_reading(
        series.battery_index, plain, other, change=change, slack=slack, extra=extra,
        price=Price(_CHARGE_CLIP, _CHARGE_SWITCH, either_sign=True),
    )  # fmt: skip
    found &= ~np.isnan(plain)
    none = np.zeros(len(found), np.bool_)
    return _Reading(
        "soc_unit", _CHARGE_CHANNELS, found, none, none,
        "fractions: numbers up to 1.05 that follow the counted charge when multiplied by 100",
    )  # fmt: skip


def _sign(series: Traces, told: Floats) -> _Reading:
    """Current of the wrong sign, by steps and by the charge that is told [%]."""
    evidence = _by_steps(series) + _by_report(series, told)
    opposite = likelier_opposite(series.battery_index, evidence, switch=_SIGN_SWITCH)
    rate = np.abs(np.nan_to_num(series.current())) / series.nameplate("rated_capacity_ah")[series.battery_index]
    resting = rate < _REST_RATE
    working = np.bincount(series.battery_index, weights=~resting, minlength=series.batteries.height)
    wrong = np.bincount(series.battery_index, weights=~resting & opposite, minlength=series.batteries.height)
    mostly = (wrong > 0.5 * working)[series.battery_index]
    opposite = _from_first_to_last(series, opposite, told=evidence < -_TELLING)
    between = _beside_change(series, opposite) & ~resting & ~mostly
    return _Reading(
        "current_sign", _CURRENT_CHANNELS, opposite & ~mostly & ~between, between, opposite & mostly,
        "steps of voltage and changes of reported charge have the sign opposite to the current",
    )  # fmt: skip


def _from_first_to_last(series: Traces, state: Bools, *, told: Bools) -> Bools:
    """A state from the first to the last row that tells of it: before and after, at rest or at full, it is a guess."""
    table = (
        pl.DataFrame({"battery": series.battery_index, "state": state})
        .with_row_index("place")
        .with_columns(stretch=pl.struct("battery", "state").rle_id(), told=pl.Series(told))
        .with_columns(at=pl.when("told").then("place"))
    )
    inside = pl.col("place").is_between(pl.col("at").min().over("stretch"), pl.col("at").max().over("stretch"))
    return table.select(pl.col("state") & inside.fill_null(value=False)).to_series().to_numpy()


def _by_steps(series: Traces) -> Floats:
    """Evidence of the steps in an interval for the sign as it is: log-likelihood ratio."""
    product, square, volts = (
        series.column(name)
        for name in ("step_current_voltage_sum", "step_current_square_sum", "step_voltage_square_sum")
    )
    count = series.column("step_count")
    stepped = (count > 0) & (square > 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        slope = np.where(stepped, np.abs(product) / square, np.nan)
        ohm = _median(series, slope)
        error = np.maximum(volts - 2 * ohm * np.abs(product) + ohm**2 * square, 0.0) / count
        variance = np.maximum(_median(series, np.where(stepped, error, np.nan)), 1e-12)
        ratio = _SIGN_SHARE * 2 * ohm * product / variance
    known = np.where(stepped & ~np.isnan(ratio), ratio, 0.0)
    evidence: Floats = np.clip(known, -_SIGN_MOST, _SIGN_MOST)
    return evidence


def _by_report(series: Traces, soc: Floats) -> Floats:
    """Evidence of the reported charge in an interval for the sign as it is: log-likelihood ratio."""
    into, out = series.charge()
    rated = series.nameplate("rated_capacity_ah")[series.battery_index]
    moved = 100 * (np.nan_to_num(into) - np.nan_to_num(out)) / rated
    start = series.start_us
    follows = np.zeros(len(soc), np.bool_)
    follows[:-1] = (np.diff(series.battery_index) == 0) & (np.diff(start) == INTERVAL_US)
    reported = np.concatenate([np.diff(soc), [np.nan]])
    known = follows & ~np.isnan(reported) & (np.abs(reported) < 2 * np.abs(moved) + 2)
    sigma = np.maximum(_REPORT_SIGMA, 0.3 * np.abs(moved))
    ratio = np.where(known, 2 * np.nan_to_num(reported) * moved / sigma**2, 0.0)
    return np.clip(_SIGN_SHARE * ratio, -_SIGN_MOST / 2, _SIGN_MOST / 2)


def _median(series: Traces, values: Floats) -> Floats:
    """The median of each battery, at each of its rows; NaN where nothing is known."""
    table = pl.DataFrame({"battery": series.battery_index, "value": values}).with_columns(
        pl.col("value").fill_nan(None)
    )
    medians = table.group_by("battery").agg(pl.col("value").median()).sort("battery")
    out = np.full(series.batteries.height, np.nan)
    out[medians["battery"].to_numpy()] = floats(medians["value"])
    return out[series.battery_index]


def _beside_change(series: Traces, state: Bools) -> Bools:
    """Rows before and after which a state changes within a battery."""
    changes = (np.diff(state.astype(np.int8)) != 0) & (np.diff(series.battery_index) == 0)
    beside = np.zeros(len(state), np.bool_)
    beside[:-1] |= changes
    beside[1:] |= changes
    return beside


def _on_the_way(series: Traces, values: Floats) -> Bools:
    """Rows between two leaps in one direction, as an interval in which the unit changes."""
    step = np.where(np.diff(series.battery_index) == 0, np.diff(values), 0.0)
    found = np.zeros(len(values), np.bool_)
    found[1:-1] = (step[:-1] * step[1:] > 0) & (np.minimum(np.abs(step[:-1]), np.abs(step[1:])) > _MIXED)
    return found


def _mixed(series: Traces, state: Bools, read: Floats) -> Bools:
    """Rows at a change of state that leap from their neighbour on the same side of it: they hold both states."""
    battery = series.battery_index
    last = len(state) - 1
    changes = np.flatnonzero((np.diff(state.astype(np.int8)) != 0) & (np.diff(battery) == 0))
    mixed = np.zeros(len(state), np.bool_)
    for row, neighbour in ((changes, np.maximum(changes - 1, 0)), (changes + 1, np.minimum(changes + 2, last))):
        alike = (battery[row] == battery[neighbour]) & (state[row] == state[neighbour])
        mixed[row[alike & (np.abs(read[row] - read[neighbour]) > _MIXED)]] = True
    return mixed


def _stretches(series: Traces, reading: _Reading) -> pl.DataFrame:
    """Rows of what was found, joined to stretches of time."""
    actions = np.select([reading.converted, reading.excluded, reading.suspected], [1, 2, 3], 0)
    names = pl.Series([None, "converted", "excluded", "suspected"], dtype=pl.String)
    hit = series.rows.select(*_KEY, "timestamp").with_columns(
        action=names.gather(actions), place=pl.int_range(pl.len())
    )
    ends = pl.col("timestamp").max() + pl.duration(microseconds=INTERVAL_US)
    return (
        hit.with_columns(stretch=pl.struct(*_KEY, "action").rle_id())
        .drop_nulls("action")
        .group_by("stretch", maintain_order=True)
        .agg(
            pl.col(*_KEY, "action").first(),
            started_at=pl.col("timestamp").min(),
            ended_at=ends,
            intervals=pl.len().cast(pl.Int64),
        )
        .with_columns(
            kind=pl.lit(reading.kind),
            channels=pl.lit(",".join(reading.channels)),
            evidence=pl.lit(reading.evidence),
        )
    )
