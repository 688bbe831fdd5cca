"""Repairs that need history: which stretches of a battery's 5-minute rows are in another unit or of the wrong sign.

Such faults last for days, so a day cannot know of them by itself. They are found in
the history of a battery, where changing unit or sign has its price, and only
transforms that lose nothing are applied. The rows as they came stay in
`intervals_5min`; each repair is a row of `repairs` with what it rests on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import polars as pl

from bess_pipeline.analytics import repair_evidence as telling
from bess_pipeline.analytics.likelihood import WEEK_DAYS, WEEK_US, Path, Records, Weeks, weeks
from bess_pipeline.analytics.repair_heat import HeatRows, end_of_heat, of_heat
from bess_pipeline.analytics.repair_memory import Epochs, Recalled, recalled, remembered
from bess_pipeline.analytics.repair_signs import SignRows, end_of_sign, of_sign
from bess_pipeline.analytics.repair_stretches import ChargeRows, end_of_charge, of_charge
from bess_pipeline.analytics.traces import Traces, traces
from bess_pipeline.arrays import Floats
from bess_pipeline.tables.keys import BATTERY
from bess_pipeline.tables.quality import Repair
from bess_pipeline.tables.telemetry import INTERVAL_US, STEP_COUNTS, STEP_SUMS, TEMPERATURES, ClosedInterval5min

#: Columns of 5-minute rows that are read to find repairs.
READS = telling.READS
#: Days of rows after a day that may change what is repaired on it: the rest of its week, and the next two.
AHEAD_DAYS = 3 * WEEK_DAYS

_CURRENT_CHANNELS = ("current_ampere", "power_watt")
#: Columns that each kind of repair is made to, and what it rests on.
_CHANNELS = {
    "current_sign": _CURRENT_CHANNELS,
    "temperature_unit": TEMPERATURES,
    "soc_unit": ("soc_bms_percent",),
}
_EVIDENCE = {
    "current_sign": "steps of voltage and changes of reported charge have the sign opposite to the current",
    "temperature_unit": "degrees Fahrenheit: the temperature leaps there and back, and goes on as before when read so",
    "soc_unit": "fractions: numbers up to 1.05 that follow the counted charge when multiplied by 100",
}
#: At most so many rows before the first may still wait to be noted.
_HELD = 8
#: What is done, by its number in `repair_stretches`; what is undecided yet is suspected.
_ACTIONS = ("", "converted", "excluded", "suspected", "suspected")


@dataclass(frozen=True)
class Repaired:
    """What was found, and what of it must be known to go on from an epoch.

    Attributes:
        repairs: `Repair` rows, sorted by battery, kind and start.
        memory: `EpochMemory` rows, sorted by battery and day.
    """

    repairs: pl.DataFrame
    memory: pl.DataFrame


def repairs(intervals: pl.DataFrame, batteries: pl.DataFrame, memory: pl.DataFrame | None = None) -> Repaired:
    """Find the stretches of each battery's history that are in another unit, or whose current has the wrong sign.

    * Temperatures are in Fahrenheit where the cheapest reading has them so: each step
      from one interval to the next costs what it exceeds an ordinary one by, up to 12 K,
      each change of unit 6 K. A stretch that does not begin and end at once, all probes
      going on as before, is suspected only: it may be a fire.
    * The reported charge is a fraction where numbers up to 1.05 follow the counted
      charge better when multiplied by 100.
    * The current has the wrong sign where steps of current and voltage, and the
      changes of counted and reported charge, are likelier so by a factor e¹⁵ at least.
      Where it is so from a battery's first row on, and beyond the week after, it is the
      fleet file that lies: that is suspected, and nothing is changed. A reversal after
      the sign was right is converted, however long it lasts.

    An interval that holds both readings is left out. Beside a change of sign, where
    it cannot be told to the interval, one interval on either side is, unless the battery rests.

    A week (seven days counted from 1970-01-01) is read with the next in hindsight, and
    judged by what the next is read as then: its repairs are final when the week after
    the next is over, so that rows change what was repaired up to `AHEAD_DAYS` before, and no more.

    Args:
        intervals: `Interval5min` rows of a fleet, midnights closed or not, of which `READS` are read: over all
            its days, or from the epoch of the memory on.
        batteries: `Battery` rows of the fleet.
        memory: `EpochMemory` rows of one epoch, as an earlier call gave them back; nothing to begin at the beginning.

    Returns:
        All repairs that end after the beginning of the epoch, also those that began before, and the memory of later
        epochs. Repairs that ended by then are as they were.

    Raises:
        ValueError: If the memory is of several epochs, or there are rows before it.

    References:
        The cheapest path: A. J. Viterbi (1967), doi:10.1109/TIT.1967.1054010.
    """
    series = traces(intervals.select(READS), batteries)
    cut = weeks(series.battery_index, series.start_us)
    before = recalled(memory, series.batteries)
    if cut.number.min(initial=before.week) < before.week:
        raise ValueError(f"there are rows before {before.since}, of which the memory is")
    epochs = Epochs.within(cut, before)
    later = before.known[epochs.battery].copy()
    rows = _Rows(series, cut, before, epochs)
    found = [_stretches(name, kind, rows, later[name]) for name, kind in _searched(rows, later).items()]
    return Repaired(
        pl.concat(found)
        .filter(pl.col("ended_at").dt.epoch("us") > before.week * WEEK_US)
        .select(Repair.column_names())
        .sort(*BATTERY, "kind", "started_at"),
        remembered(epochs, later, series.batteries),
    )


@dataclass(frozen=True)
class _Rows:
    """The rows of a fleet, what was before them, and the epochs in them that are to be remembered."""

    series: Traces
    weeks: Weeks
    before: Recalled
    epochs: Epochs


@dataclass(frozen=True)
class _Kind:
    """How the stretches of one kind are found.

    Attributes:
        path: What each row reads better as.
        follow: Follows rows of a battery, see `of_charge`.
        end: Notes what is open after the last.
        rows: What the first is told of the rows.
    """

    path: Path
    follow: Callable[..., int]
    end: Callable[..., int]
    rows: ChargeRows | HeatRows | SignRows


def _searched(rows: _Rows, later: Records) -> dict[str, _Kind]:
    """What each row reads better as, by kind; fills what is carried into later epochs."""
    series, cut, known = rows.series, rows.weeks, rows.before.known
    heat = telling.heat(series, cut, known["last"], known["temperature_unit"]["path"])
    charge = telling.charge(series, cut, known["last"], known["soc_unit"]["path"])
    sign = telling.sign(series, cut, charge, known["steps"], known["current_sign"]["path"])
    start, week = series.start_us, series.start_us // WEEK_US
    of_signs = SignRows(start, week, sign.path.states, sign.told, sign.resting)
    of_temperatures = HeatRows(start, week, heat.path.states, heat.known, heat.probes, heat.told)
    of_charges = ChargeRows(start, week, charge.path.states, charge.known)
    kinds = {
        "current_sign": _Kind(sign.path, of_sign, end_of_sign, of_signs),
        "temperature_unit": _Kind(heat.path, of_heat, end_of_heat, of_temperatures),
        "soc_unit": _Kind(charge.path, of_charge, end_of_charge, of_charges),
    }
    seen = np.flatnonzero(rows.epochs.last_week >= 0)
    week = rows.epochs.last_week[seen]
    last_row = cut.offsets[week + 1] - 1
    for name, values in (("start_us", series.start_us), ("moved", charge.moved), ("soc", charge.soc)):
        later["last"][name][seen] = values[last_row]
    later["steps"][seen] = sign.steps[week]
    for name, kind in kinds.items():
        later[name]["path"][seen] = kind.path.carried[week]
    return kinds


def _stretches(name: str, kind: _Kind, rows: _Rows, later: Records) -> pl.DataFrame:
    """Stretches of one kind; fills what they leave open at later epochs."""
    batteries = rows.series.batteries
    first_epoch = np.searchsorted(rows.epochs.battery, np.arange(batteries.height + 1))
    left = rows.before.known[name]
    found = []
    for battery in range(batteries.height):
        of_battery = slice(int(first_epoch[battery]), int(first_epoch[battery + 1]))
        found.append(_followed(battery, kind, rows, left[battery], later["stretches"], of_battery))
    numbers = np.concatenate([np.zeros((0, 4)), *found])
    owner = np.repeat(np.arange(batteries.height), [len(own) for own in found])
    start, end = (pl.Series(numbers[:, at].astype(np.int64)).cast(pl.Datetime("us", "UTC")) for at in (1, 2))
    return batteries.select(pl.col(BATTERY).gather(owner)).with_columns(
        kind=pl.lit(name),
        started_at=start,
        ended_at=end + timedelta(microseconds=INTERVAL_US),
        action=pl.Series(_ACTIONS, dtype=pl.String).gather(numbers[:, 0].astype(np.int64)),
        channels=pl.lit(",".join(_CHANNELS[name])),
        intervals=pl.Series(numbers[:, 3].astype(np.int64)),
        evidence=pl.lit(_EVIDENCE[name]),
    )


def _followed(battery: int, kind: _Kind, rows: _Rows, left: Records, later: Records, of_battery: slice) -> Floats:
    """The stretches of a battery; fills what they leave open, for either state of the last row, at later epochs."""
    cut, before, path = rows.weeks, rows.before, kind.path
    at, last = (int(row) for row in rows.series.offsets[battery : battery + 2])
    first_week = int(np.searchsorted(cut.offsets, at))
    known_by_next = at < last and cut.number[first_week] == before.week
    state = int(path.entries[first_week]) if known_by_next else int(left["path"]["dearer"] < 0)
    open_now = left["stretches"][state].copy()
    found, n = np.empty((last - at + _HELD, 4)), 0
    for epoch in range(of_battery.start, of_battery.stop):
        w = rows.epochs.last_week[epoch]
        either = [open_now, open_now]
        if w >= 0 and cut.offsets[w + 1] > at:
            begins, ends = int(cut.offsets[w]), int(cut.offsets[w + 1])
            n = kind.follow(open_now, found, n, at, begins, kind.rows)
            either = [open_now.copy(), open_now.copy()]
            for state, might in enumerate(either):
                as_if = kind.rows._replace(states=path.ending_in(state, begins, ends))
                kind.follow(might, np.empty((ends - begins + _HELD, 4)), 0, begins, ends, as_if)
            n = kind.follow(open_now, found, n, begins, ends, kind.rows)
            at = ends
        next_week = w >= 0 and cut.number[w] + 1 == rows.epochs.number[epoch]
        later[epoch] = either if next_week else [open_now, open_now]
    n = kind.follow(open_now, found, n, at, last, kind.rows)
    return found[: kind.end(open_now, found, n)]


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
    rows = intervals.sort(*BATTERY, "timestamp")
    acted = found.filter(pl.col("action") != "suspected").sort(*BATTERY, "kind", "started_at")
    done: dict[str, pl.Expr] = {}
    for kind in Repair.columns()["kind"].metadata["options"]:  # type: ignore[index]
        stretches = acted.filter(kind=kind).select(
            *BATTERY, timestamp="started_at", **{f"{kind}_until": "ended_at", f"{kind}_action": "action"}
        )
        rows = rows.join_asof(stretches.sort("timestamp"), on="timestamp", by=list(BATTERY), check_sortedness=False)
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
        .sort(*BATTERY, "timestamp")
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
