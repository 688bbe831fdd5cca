"""Limits: how long a battery was outside its nameplate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numba import njit

from bess_pipeline.analytics.memory import Recalled, Stretch
from bess_pipeline.analytics.traces import Traces, traces
from bess_pipeline.arrays import Floats, Ints
from bess_pipeline.tables.anomalies import LimitEpisode
from bess_pipeline.tables.chemistry import CHEMISTRY
from bess_pipeline.tables.keys import BATTERY, BATTERY_DAY
from bess_pipeline.tables.telemetry import INTERVAL_US

#: Silence after which an episode has ended: unknown is no alarm [µs].
_SILENCE_US = 3_600_000_000
#: What the average cell is read from where the cells' extremes are unknown.
_AVERAGES = {"cell_voltage_min_volt": "voltage_min_volt", "cell_voltage_max_volt": "voltage_max_volt"}


@dataclass(frozen=True)
class Limit:
    """One threshold alarm.

    Attributes:
        code: Name of the event in SunSpec information model 802, `Evt1`.
        watched: Column that must stay inside; the first that is known.
        nameplate: Column of the battery's nameplate with the limit.
        upper: Whether the limit is an upper one.
        beyond: How far outside the nameplate the alarm begins: relative for voltages, in kelvin for temperatures.
        release: How far back inside of where it began the value must come for the alarm to end, likewise.
    """

    code: str
    watched: tuple[str, ...]
    nameplate: str
    upper: bool
    beyond: float
    release: float

    @property
    def relative(self) -> bool:
        """Whether the margins are shares of the limit."""
        return "voltage" in self.nameplate


#: A warning begins beyond the nameplate by what the extreme of several samples of many sensors may err
#: (0.5 % of a cell's voltage, 1 K), an alarm 2.5 % or 5 K beyond. Both end 1 % or 2 K inside of where they began.
LIMITS: tuple[Limit, ...] = tuple(
    Limit(f"{name}_{level}", watched, nameplate, upper=upper, beyond=beyond, release=release)
    for name, watched, nameplate, upper, margins, release in (
        ("OVER_VOLT", ("cell_voltage_max_volt",), "cell_voltage_high_volt", True, (0.005, 0.025), 0.01),
        ("UNDER_VOLT", ("cell_voltage_min_volt",), "cell_voltage_low_volt", False, (0.005, 0.025), 0.01),
        (
            "OVER_TEMP",
            ("temperature_max_celsius", "temperature_celsius"),
            "temperature_high_celsius",
            True,
            (1.0, 5.0),
            2.0,
        ),
        (
            "UNDER_TEMP",
            ("temperature_min_celsius", "temperature_celsius"),
            "temperature_low_celsius",
            False,
            (1.0, 5.0),
            2.0,
        ),
    )
    for level, beyond in zip(("WARNING", "ALARM"), margins, strict=True)
)


_WATCHED = sorted({name for limit in LIMITS for name in limit.watched} | {*_AVERAGES.values()})

#: What is carried from row to row of one limit: whether an episode may have begun, whether the battery is inside, start
#: of the first row outside and of the last known row [µs], the extreme and how far outside it is, the limit, rows
#: outside, end of the second of them [µs].
_BEGUN, _INSIDE, _BEGUN_AT, _LAST_AT, _EXTREME, _OUTSIDE, _LIMIT, _COUNT, _DETECTED = range(9)
_CARRIED = 9
#: What is told of an episode; NaN as end while it is open.
_STARTED, _ENDED, _SETTLED = range(3)
_TOLD = 3 + _CARRIED


@njit(cache=True)
def _ended(told: Floats, state: Floats, ended_us: float, settled_us: float) -> None:
    """Fill in an episode."""
    told[_STARTED], told[_ENDED], told[_SETTLED] = state[_BEGUN_AT], ended_us, settled_us
    told[3:] = state


@njit(cache=True)
def _episodes(  # noqa: C901, PLR0912 - one state machine, read from top to bottom
    times: Ints, rows: Floats, carried: Floats, keep_at: Ints, kept: Floats
) -> Floats:
    """Episodes of one battery outside one limit; the last one may be open.

    Args:
        times: Start of each row [µs].
        rows: Value, NaN where unknown; its limit; how far it is outside; how far inside it must come to end an episode.
        carried: What is carried into the first row.
        keep_at: Numbers of rows after which it is asked what is carried on.
        kept: Filled with that, shape (asked, _CARRIED).
    """
    n = len(times)
    told = np.empty((n + 2, _TOLD))
    found = next_kept = 0
    state = carried.copy()
    for i in range(n + 1):
        while next_kept < len(keep_at) and keep_at[next_kept] == i:
            kept[next_kept] = state
            next_kept += 1
        if i == n:
            break
        value, limit, outside, release = rows[i]
        if np.isnan(value):
            continue
        if state[_BEGUN] > 0 and times[i] - state[_LAST_AT] > _SILENCE_US:
            if state[_INSIDE] == 0:
                _ended(told[found], state, state[_LAST_AT] + INTERVAL_US, float(times[i]))
                found += 1
            state[_BEGUN], state[_INSIDE] = 0.0, 1.0
        if outside > 0:
            state[_COUNT] += 1
            if state[_BEGUN] == 0:
                state[_BEGUN], state[_BEGUN_AT], state[_COUNT] = 1.0, times[i], 1.0
                state[_EXTREME], state[_OUTSIDE], state[_LIMIT] = value, outside, limit
            elif state[_INSIDE] > 0:
                state[_INSIDE], state[_DETECTED] = 0.0, times[i] + INTERVAL_US
            if outside > state[_OUTSIDE]:
                state[_EXTREME], state[_OUTSIDE], state[_LIMIT] = value, outside, limit
        elif state[_INSIDE] > 0:
            state[_BEGUN] = 0.0
        elif outside <= -release:
            _ended(told[found], state, float(times[i]), float(times[i]))
            found += 1
            state[_BEGUN], state[_INSIDE] = 0.0, 1.0
        state[_LAST_AT] = times[i]
    if state[_INSIDE] == 0:
        _ended(told[found], state, np.nan, np.nan)
        found += 1
    return told[:found]


@dataclass(frozen=True)
class Episodes:
    """What was found.

    Attributes:
        episodes: `LimitEpisode` rows by battery, start and code.
        memory: `EpochMemory` rows of the epochs that begin within the rows.
    """

    episodes: pl.DataFrame
    memory: pl.DataFrame


def limit_episodes(intervals: pl.DataFrame, batteries: pl.DataFrame, memory: pl.DataFrame | None = None) -> Episodes:
    """The times that a battery spent outside its nameplate, by alarm code.

    An episode needs two neighbouring known intervals outside the limit, so that a single sample is
    never enough, and ends with the first that is back inside by the release margin, or with the
    last before an hour of silence. Where no cell voltages are known, the battery's voltage speaks for its average cell.

    Args:
        intervals: `ClosedInterval5min` rows in any order; with a memory, those from its epoch on.
        batteries: `Battery` rows.
        memory: `EpochMemory` rows of one epoch; none to begin at the beginning.

    Returns:
        All episodes whose end was not certain before the epoch. One that its battery's data end in has no end.

    References:
        SunSpec Alliance, Energy Storage Information Models 802, `Evt1`.
    """
    series = traces(intervals.select(*BATTERY_DAY, "timestamp", *_WATCHED), batteries)
    start = series.start_us
    rows = [_rows_of(limit, series) for limit in LIMITS]
    recalled = Recalled(series, memory)
    found: list[pl.DataFrame] = []

    def looked(part: Stretch) -> list[Floats]:
        carried = _nothing() if part.carried is None else part.carried.reshape(len(LIMITS), _CARRIED)
        kept = np.empty((len(LIMITS), len(part.keep_at), _CARRIED))
        for at, limit in enumerate(LIMITS):
            told = _episodes(start[part.rows], rows[at][part.rows], carried[at], part.keep_at, kept[at])
            if len(told):
                found.append(_named(series.batteries[part.battery], limit, told))
        return [kept[:, number].ravel() for number in range(len(part.keep_at))]

    recalled.over(looked)
    episodes = pl.concat([LimitEpisode.create_empty(), *found]).sort(*BATTERY, "started_at", "code")
    return Episodes(episodes.pipe(LimitEpisode.validate), recalled.memory())


def _nothing() -> Floats:
    """What is carried into the first row of a battery."""
    carried = np.full((len(LIMITS), _CARRIED), np.nan)
    carried[:, _BEGUN], carried[:, _INSIDE], carried[:, _COUNT] = 0.0, 1.0, 0.0
    return carried


def _rows_of(limit: Limit, series: Traces) -> Floats:
    """Value, limit, how far it is outside, and how far inside it must come, for each row."""
    own = series.nameplate(limit.nameplate)
    size = np.abs(own) if limit.relative else np.ones_like(own)
    side = 1.0 if limit.upper else -1.0
    edge = (own + side * limit.beyond * size)[series.battery_index]
    value = _first_known([_known_cells(series, name) for name in limit.watched])
    value = np.where(np.isnan(edge), np.nan, value)
    return np.stack([value, edge, side * (value - edge), (limit.release * size)[series.battery_index]], axis=1)


def _first_known(columns: Sequence[Floats]) -> Floats:
    value = columns[0]
    for other in columns[1:]:
        value = np.where(np.isnan(value), other, value)
    return value


def _known_cells(series: Traces, name: str) -> Floats:
    """A column; unknown cell extremes are those of the average cell: a limit that it leaves, some cell leaves."""
    own = series.column(name)
    if name not in _AVERAGES:
        return own
    low, high = np.array([CHEMISTRY[kind].plausible_cell_volt for kind in series.batteries["chemistry"]]).T
    average = series.column(_AVERAGES[name]) / series.cells()[series.battery_index]
    inside = (average >= low[series.battery_index]) & (average <= high[series.battery_index])
    return np.where(np.isnan(own) & inside, average, own)


def _named(battery: pl.DataFrame, limit: Limit, told: Floats) -> pl.DataFrame:
    """One battery's episodes outside one limit with the names of the contract."""
    fleet, name = battery.select(BATTERY).row(0)
    times = {"started_at": _STARTED, "ended_at": _ENDED, "settled_at": _SETTLED, "detected_at": 3 + _DETECTED}
    return (
        pl.DataFrame(
            {
                column: pl.Series(told[:, at]).fill_nan(None).cast(pl.Int64).cast(pl.Datetime("us", "UTC"))
                for column, at in times.items()
            }
            | {"limit": told[:, 3 + _LIMIT], "extreme": told[:, 3 + _EXTREME]}
            | {"intervals": told[:, 3 + _COUNT].astype(np.int64)}
        )
        .select(
            pl.lit(fleet).alias("fleet_id"),
            pl.lit(name).alias("battery_id"),
            pl.lit(limit.code).alias("code"),
            pl.all(),
        )
        .select(LimitEpisode.column_names())
    )
